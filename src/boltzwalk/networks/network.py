r"""Networks that the architectures build: energies, decoders, encoders, autoencoders.

An energy network is a trunk of any architecture, a linear head and a sum,

.. math:: U(x) = \sum_j \big( W h(x) + b \big)_j .

Most have one output; the cooperative networks of Xie et al. add up a hundred, which multiplies the
learning rate of the head. A decoder g and an encoder, together a variational autoencoder, are

.. math:: z \sim N(0, I_d), \qquad x = g(z), \qquad
    q(z \mid x) = N\big( \mu(x), \mathrm{diag} \exp(2 s(x)) \big) .

All of them stay in evaluation mode, so that each row of a result depends on its own row alone. Only
:func:`.batch_statistics` enables batch statistics and dropout, for a training step of the network
itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energy import require_event_shape

Module = TypeVar("Module", bound=nn.Module)

__all__ = [
    "Decoder",
    "Encoder",
    "Network",
    "ResidualBlock",
    "VariationalAutoencoder",
    "keep_eval_mode",
    "reparametrise",
    "require_latent",
    "require_shape",
    "require_widths",
    "standard_normal",
    "without_gradient",
]


def keep_eval_mode(module: Module, mode: bool = True) -> Module:
    """Stays in evaluation mode for every ``mode``; the ``train`` method of the networks."""
    del mode
    nn.Module.train(module, False)
    return module


def standard_normal(
    module: nn.Module, n: int, latent: int, rng: torch.Generator
) -> Float[Tensor, "n d"]:
    """Draws n rows from N(0, I), with the dtype and on the device of the parameters.

    Arguments:
        module: The module.
        n: The number of rows.
        latent: The number d of latent variables.
        rng: The random generator.
    """
    like = next(module.parameters())
    return torch.randn(n, latent, generator=rng, dtype=like.dtype, device=like.device)


class Network(nn.Module):
    r"""An energy network: maps events of one shape to energies.

    Convolutions take images in the channels-last layout, which makes the short-run network 1.2
    times as fast on one processor core. The head and the sum run in the precision of the parameters
    even under `torch.autocast`: methods use differences of energies, and bfloat16 has three digits.

    A network has no training mode: :math:`U` must be the same function at every call, so spectral
    normalisation iterates only in :func:`~boltzwalk.networks.spectral.power_iteration`.

    Arguments:
        event_shape: The shape of one event.
        trunk: Maps (N, \*event) to features (N, F).
        head: The last layer, from F features to the outputs that are summed.
    """

    def __init__(self, event_shape: tuple[int, ...], trunk: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.trunk = trunk
        self.head = head
        self.channels_last = any(isinstance(layer, nn.Conv2d) for layer in trunk.modules())
        if self.channels_last:
            nn.utils.convert_conv2d_weight_memory_format(self.trunk, torch.channels_last)
        self.eval()

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, self.event_shape)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        features = self.trunk(x)
        with torch.autocast(x.device.type, enabled=False):
            if features.dtype in (torch.bfloat16, torch.float16):
                features = features.float()
            outputs: Tensor = self.head(features)
            return outputs.sum(1)

    train = keep_eval_mode


class ResidualBlock(nn.Module):
    r"""Returns :math:`s(x) + f(x)`: a residual block.

    Arguments:
        inner: The map :math:`f`.
        shortcut: The map :math:`s`; the identity by default.

    Example:
        >>> ResidualBlock(nn.Flatten(0))(torch.ones(2)).tolist()
        [2.0, 2.0]
    """

    def __init__(self, inner: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """Returns the sum of both maps."""
        y: Tensor = self.shortcut(x) + self.inner(x)
        return y


class Decoder(nn.Module):
    r"""A decoder: maps latent variables z, shape (N, d), to events g(z), shape (N, \*event).

    Arguments:
        event_shape: The shape of one event.
        latent: The number d of latent variables.
        trunk: The network g.
        bounded: Whether events are within [-1, 1].

    Example:
        >>> decoder = Decoder((2,), 3, nn.Linear(3, 2), bounded=False)
        >>> decoder.decode(decoder.latents(5, torch.Generator())).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, event_shape: tuple[int, ...], latent: int, trunk: nn.Module, bounded: bool
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.latent = latent
        self.trunk = trunk
        self.bounded = bounded
        self.eval()

    def forward(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z)`, shape (N, \*event)."""
        instead = "draw z with latents(n, rng), one row an event"
        require_shape("this decoder", "z", tuple(z.shape), (self.latent,), instead)
        x: Tensor = self.trunk(z)
        return x.to(z.dtype)  # samples stay in full precision under autocast

    def decode(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z)`, shape (N, \*event): the same as a call."""
        x: Tensor = self(z)
        return x

    def latents(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draws n latent rows from N(0, I), with the dtype and device of the parameters."""
        return standard_normal(self, n, self.latent, rng)

    train = keep_eval_mode


class Encoder(nn.Module):
    r"""An encoder: maps events to the means and log-deviations of their latent variables.

    .. math:: \mu(x) = A h(x) + a, \qquad s(x) = \tfrac12 \big( B h(x) + b \big)

    The second dense layer gives the logarithm of the variance; s is half of it, as in the published
    code.

    Arguments:
        event_shape: The shape of one event.
        latent: The number d of latent variables.
        trunk: Maps (N, \*event) to features h, shape (N, F).
        features: The number F of features.

    Example:
        >>> mean, log_std = Encoder((2,), 3, nn.Identity(), 2)(torch.zeros(5, 2))
        >>> mean.shape, log_std.shape
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """

    def __init__(
        self, event_shape: tuple[int, ...], latent: int, trunk: nn.Module, features: int
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.latent = latent
        self.trunk = trunk
        self.mean = nn.Linear(features, latent)
        self.log_variance = nn.Linear(features, latent)
        self.eval()

    def forward(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, "N d"]]:
        r"""Returns :math:`\mu(x)` and :math:`s(x)`, each of shape (N, d)."""
        instead = f"build it for events of shape {tuple(x.shape[1:])}"
        require_shape("this encoder", "x", tuple(x.shape), self.event_shape, instead)
        features = self.trunk(x)
        return self.mean(features).to(x.dtype), self.log_variance(features).to(x.dtype) / 2

    train = keep_eval_mode


def reparametrise(
    mean: Float[Tensor, "N d"], log_std: Float[Tensor, "N d"], rng: torch.Generator
) -> Float[Tensor, "N d"]:
    r"""Draws :math:`z = \mu + e^s \xi` with :math:`\xi \sim N(0, I)`, differentiable.

    Arguments:
        mean: The means :math:`\mu`, shape (N, d).
        log_std: The log-deviations s, shape (N, d).
        rng: The random generator.
    """
    noise = torch.randn(mean.shape, generator=rng, dtype=mean.dtype, device=mean.device)
    return mean + log_std.exp() * noise


class VariationalAutoencoder(nn.Module):
    """An encoder and a decoder for the same events and latent variables.

    Arguments:
        encoder: Maps x to the mean and the log-deviation of z.
        decoder: Maps z to x.

    Example:
        >>> encoder = Encoder((2,), 3, nn.Identity(), 2)
        >>> vae = VariationalAutoencoder(encoder, Decoder((2,), 3, nn.Linear(3, 2), False))
        >>> z = vae.reparametrise(*vae.encode(torch.zeros(5, 2)), torch.Generator())
        >>> vae.decode(z).shape
        torch.Size([5, 2])
    """

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.event_shape = decoder.event_shape
        self.latent = decoder.latent
        self.eval()

    def encode(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, "N d"]]:
        r"""Returns :math:`\mu(x)` and :math:`s(x)`, each of shape (N, d)."""
        mean, log_std = self.encoder(x)
        return mean, log_std

    def reparametrise(
        self, mean: Float[Tensor, "N d"], log_std: Float[Tensor, "N d"], rng: torch.Generator
    ) -> Float[Tensor, "N d"]:
        r"""Draws :math:`z = \mu + e^s \xi` with :math:`\xi \sim N(0, I)`, differentiable."""
        return reparametrise(mean, log_std, rng)

    def decode(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z)`, shape (N, \*event)."""
        x: Tensor = self.decoder(z)
        return x

    def latents(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draws n latent rows from N(0, I), with the dtype and device of the parameters."""
        return self.decoder.latents(n, rng)

    train = keep_eval_mode


def require_latent(latent: int) -> None:
    """Raises unless there is a latent variable.

    Raises:
        ValueError: If ``latent`` is below 1.

    Example:
        >>> require_latent(1)
    """
    if latent < 1:
        raise ValueError(
            f"latent must be at least 1, got {latent}; write the number of latent variables, "
            "such as latent=16"
        )


def require_widths(name: str, widths: tuple[int, ...]) -> None:
    """Raises unless all widths, sides or numbers of channels are positive.

    Arguments:
        name: The name of the numbers, for the message.
        widths: The numbers.

    Raises:
        ValueError: If one is below 1.

    Example:
        >>> require_widths("widths", (128, 128))
    """
    if min(widths, default=1) < 1:
        raise ValueError(f"{name} must be at least 1 each, got {widths}; write {name} such as 64")


def require_shape(
    network: str, rows: str, got: tuple[int, ...], expected: tuple[int, ...], instead: str
) -> None:
    """Raises unless rows have the shape that a network takes.

    Arguments:
        network: The network, for the message.
        rows: The symbol of the rows.
        got: The shape of the rows, with their number.
        expected: The shape of one row.
        instead: The instead, for the message.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> require_shape("this decoder", "z", (5, 2), (2,), "...")
    """
    if not got or got[1:] != expected:
        shape = ", ".join(["N", *map(str, expected)])
        raise ValueError(f"{network} takes {rows} of shape ({shape}), got {got}; {instead}")


@contextmanager
def without_gradient(network: nn.Module) -> Iterator[None]:
    """Disables the gradients of the parameters of a network within a ``with`` block.

    Arguments:
        network: The network.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
