r"""What the settings build: a decoder, an encoder, and both as a variational autoencoder.

.. math:: z \sim N(0, I_d), \qquad x = g(z), \qquad
    q(z \mid x) = N\big( \mu(x), \mathrm{diag} \exp(2 s(x)) \big) .

They stay in evaluation mode whatever ``train`` is told: a row of the result depends on its own row
alone. Only :func:`.learning` changes that, for a network's own step of learning.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .checks import require_shape

__all__ = ["Decoder", "Encoder", "VariationalAutoencoder", "reparametrised"]


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
