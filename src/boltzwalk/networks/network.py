r"""A network as an energy: trunk, linear head, sum.

.. math:: U(x) = \sum_j \big( W h(x) + b \big)_j

with features :math:`h` from a trunk of any architecture. Most networks have one output; the
cooperative networks of Xie et al. add up a hundred, which multiplies the learning rate of the head.

What the settings build: a decoder, an encoder, and both as a variational autoencoder.

.. math:: z \sim N(0, I_d), \qquad x = g(z), \qquad
    q(z \mid x) = N\big( \mu(x), \mathrm{diag} \exp(2 s(x)) \big) .

They stay in evaluation mode whatever ``train`` is told: a row of the result depends on its own row
alone. Only :func:`.learning` changes that, for a network's own step of learning.

What the settings of this room have in common: their checks, and how weights start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energy import require_event_shape
from .layers import Initial, initialise

__all__ = [
    "Decoder",
    "Encoder",
    "Network",
    "Skip",
    "VariationalAutoencoder",
    "initialise_all",
    "reparametrised",
    "require_latent",
    "require_shape",
    "require_widths",
]


class Network(nn.Module):
    r"""Maps events of one shape to energies.

    Images run through convolutions in the channels-last layout, with which the short-run network
    is 1.2 times as fast on one processor core. The head and the sum run in the precision of the
    parameters even under `torch.autocast`: what counts is differences of energies, and bfloat16
    has three digits.

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

    def train(self, mode: bool = True) -> Network:
        """Stays in evaluation mode whatever ``mode`` says."""
        return super().train(False)


class Skip(nn.Module):
    r"""Returns :math:`s(x) + f(x)`: a residual block.

    Arguments:
        inner: The map :math:`f`.
        shortcut: The map :math:`s`; the identity by default.

    Example:
        >>> Skip(nn.Flatten(0))(torch.ones(2)).tolist()
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
    r"""Maps latent variables z, shape (N, d), to events g(z), shape (N, \*event).

    Arguments:
        event_shape: The shape of one event.
        latent: The number d of latent variables.
        trunk: The map.
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
        remedy = "draw z with latents(n, rng), one row an event"
        require_shape("this decoder", "z", tuple(z.shape), (self.latent,), remedy)
        x: Tensor = self.trunk(z)
        return x.to(z.dtype)  # what is drawn stays in full precision under autocast

    def decode(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z)`, shape (N, \*event): the same as a call."""
        x: Tensor = self(z)
        return x

    def latents(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draws n latent rows from N(0, I), of the type and on the device of the parameters."""
        like = next(self.parameters())
        return torch.randn(n, self.latent, generator=rng, dtype=like.dtype, device=like.device)

    def train(self, mode: bool = True) -> Decoder:
        """Stays in evaluation mode whatever ``mode`` says."""
        return super().train(False)


class Encoder(nn.Module):
    r"""Maps events to the means and the logarithms of the deviations of their latent variables.

    .. math:: \mu(x) = A h(x) + a, \qquad s(x) = \tfrac12 \big( B h(x) + b \big)

    The second dense layer gives the logarithm of the variance; its half is s, as in the published
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
        remedy = f"build it for events of shape {tuple(x.shape[1:])}"
        require_shape("this encoder", "x", tuple(x.shape), self.event_shape, remedy)
        features = self.trunk(x)
        return self.mean(features).to(x.dtype), self.log_variance(features).to(x.dtype) / 2

    def train(self, mode: bool = True) -> Encoder:
        """Stays in evaluation mode whatever ``mode`` says."""
        return super().train(False)


def reparametrised(
    mean: Float[Tensor, "N d"], log_std: Float[Tensor, "N d"], rng: torch.Generator
) -> Float[Tensor, "N d"]:
    r"""Draws :math:`z = \mu + e^s \xi` with :math:`\xi \sim N(0, I)`, differentiable.

    Arguments:
        mean: The means :math:`\mu`, shape (N, d).
        log_std: The logarithms s of the deviations, shape (N, d).
        rng: The source of the noise.
    """
    noise = torch.randn(mean.shape, generator=rng, dtype=mean.dtype, device=mean.device)
    return mean + log_std.exp() * noise


class VariationalAutoencoder(nn.Module):
    """An encoder and a decoder of the same events and latent variables.

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
        return reparametrised(mean, log_std, rng)

    def decode(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z)`, shape (N, \*event)."""
        x: Tensor = self.decoder(z)
        return x

    def latents(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draws n latent rows from N(0, I), of the type and on the device of the parameters."""
        return self.decoder.latents(n, rng)

    def train(self, mode: bool = True) -> VariationalAutoencoder:
        """Stays in evaluation mode whatever ``mode`` says."""
        return super().train(False)


def require_latent(latent: int) -> None:
    """Raises where there is no latent variable.

    Raises:
        ValueError: If ``latent`` is below 1.

    Example:
        >>> require_latent(1)
    """
    if latent < 1:
        raise ValueError(
            f"latent must be at least 1, got {latent}; write how many latent variables there are, "
            "such as latent=16"
        )


def require_widths(name: str, widths: tuple[int, ...]) -> None:
    """Raises where a width, a side or a number of channels is not positive.

    Arguments:
        name: What the numbers are, for the message.
        widths: The numbers.

    Raises:
        ValueError: If one is below 1.

    Example:
        >>> require_widths("widths", (128, 128))
    """
    if min(widths, default=1) < 1:
        raise ValueError(f"{name} must be at least 1 each, got {widths}; write {name} such as 64")


def require_shape(
    what: str, rows: str, got: tuple[int, ...], expected: tuple[int, ...], remedy: str
) -> None:
    """Raises where rows have another shape than a network takes.

    Arguments:
        what: The network, for the message.
        rows: The symbol of the rows.
        got: The shape of the rows, with their number.
        expected: The shape of one row.
        remedy: What to write instead.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> require_shape("this decoder", "z", (5, 2), (2,), "...")
    """
    if not got or got[1:] != expected:
        shape = ", ".join(["N", *map(str, expected)])
        raise ValueError(f"{what} takes {rows} of shape ({shape}), got {got}; {remedy}")


def initialise_all(network: nn.Module, initial: Initial) -> None:
    """Draws the weights of all linear, convolution and transposed layers anew, in place.

    The numbers are those of PyTorch's generator, which :class:`.Generator` and :class:`.Vae` seed
    and restore.

    Arguments:
        network: The network.
        initial: How to draw, see :mod:`boltzwalk.networks.layers`.

    Raises:
        ValueError: If there is no such way.

    Example:
        >>> layer = nn.ConvTranspose2d(64, 64, 4)
        >>> initialise_all(layer, 0.02)
        >>> round(layer.weight.std().item(), 3)
        0.02
    """
    initialise(network, initial)
    if initial == "default":
        return
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            if isinstance(initial, float):
                nn.init.normal_(layer.weight, std=initial)
            else:
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@contextmanager
def without_gradient(network: nn.Module) -> Iterator[None]:
    """Keeps the parameters of a network from getting a gradient within the block.

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
