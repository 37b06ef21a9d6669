r"""Networks that propose given a condition, one for each row.

.. math:: z \sim N(0, I_d), \qquad x = g\big( z, f(c) \big), \qquad q(z \mid x, c)

A class enters the decoder as further latent entries. A picture of which a part is hidden is first
summed up by a network f, and what is decoded keeps its visible entries, so that the hidden ones
alone are learnt. What c is, see :mod:`boltzwalk.energies.conditional`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energies.conditional import held, joined, joined_shape
from ..networks.dense import DenseEncoder
from ..networks.network import Decoder, Encoder, reparametrised
from .generator import EncoderSettings, Generator, Vae

__all__ = ["ConditionalBase", "GivenBase", "build_conditional"]


class ConditionalBase(nn.Module):
    """A decoder of latent variables and conditions, with an encoder where there is one.

    Arguments:
        decoder: Maps latent variables, followed by what sums up the condition, to events.
        latent: The number d of latent variables that are drawn.
        encoder: Maps events joined with their conditions to latent variables; None for none.
        summary: Sums up a condition as a row of numbers; None where it is one.
        flat: Whether the encoder takes event and condition as one row; else as channels.

    Example:
        >>> base = ConditionalBase(Decoder((1,), 3, nn.Linear(3, 1), bounded=False), latent=1)
        >>> rows = base.given(torch.eye(2))
        >>> rows.decode(rows.latents(2, torch.Generator())).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        decoder: Decoder,
        latent: int,
        encoder: Encoder | None = None,
        summary: nn.Module | None = None,
        flat: bool = True,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.latent = latent
        self.encoder = encoder
        self.summary = nn.Identity() if summary is None else summary
        self.flat = flat
        self.event_shape = decoder.event_shape
        self.eval()

    def given(self, c: Float[Tensor, "N ..."]) -> GivenBase:
        """Returns the networks given one condition for each row.

        Arguments:
            c: The conditions.
        """
        return GivenBase(self, c)

    def train(self, mode: bool = True) -> ConditionalBase:
        """Stays in evaluation mode whatever ``mode`` says."""
        return super().train(False)


class GivenBase(nn.Module):
    r"""What can be drawn from given one condition for each row: a base like any other.

    Arguments:
        base: The networks.
        c: The conditions, one for each row that will be decoded or encoded.
    """

    def __init__(self, base: ConditionalBase, c: Float[Tensor, "N ..."]) -> None:
        super().__init__()
        self.base = base
        self.c = c
        self.event_shape = base.event_shape
        self.latent = base.latent
        self.training = False

    def forward(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z, f(c))`, shape (N, \*event), with the visible entries of c."""
        x: Tensor = self.base.decoder(torch.cat([z, self.base.summary(self.c)], 1))
        return held(x, self.c)

    def decode(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z, f(c))`, shape (N, \*event): the same as a call."""
        x: Tensor = self(z)
        return x

    def encode(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, "N d"]]:
        r"""Returns :math:`\mu(x, c)` and :math:`s(x, c)`, each of shape (N, d)."""
        encoder = self.base.encoder
        assert encoder is not None
        mean, log_std = encoder(joined(held(x, self.c), self.c, self.base.flat))
        return mean, log_std

    def reparametrise(
        self, mean: Float[Tensor, "N d"], log_std: Float[Tensor, "N d"], rng: torch.Generator
    ) -> Float[Tensor, "N d"]:
        r"""Draws :math:`z = \mu + e^s \xi` with :math:`\xi \sim N(0, I)`, differentiable."""
        return reparametrised(mean, log_std, rng)

    def latents(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draws n latent rows from N(0, I), of the type and on the device of the parameters."""
        like = next(self.base.parameters())
        return torch.randn(n, self.latent, generator=rng, dtype=like.dtype, device=like.device)


def build_conditional(
    settings: Generator | Vae,
    c_shape: tuple[int, ...],
    summary: EncoderSettings | None,
    features: int,
    event_shape: tuple[int, ...],
    rng_seed: int,
    data: Tensor | None = None,
) -> ConditionalBase:
    r"""Returns the networks that propose given a condition, on the CPU and in the default dtype.

    The same seed gives the same parameters; no global generator is touched.

    Arguments:
        settings: The networks that propose.
        c_shape: The shape of one condition.
        summary: The architecture of the network that sums up a condition; None where it is a row.
        features: The numbers that sum it up.
        event_shape: The shape of one event.
        rng_seed: The seed of the initial parameters.
        data: Rows that the decoder is to reach, shape (M, \*event); None for no check.

    Raises:
        ValueError: If the networks do not fit such events, or the data lie beyond the range of
            the decoder.

    Example:
        >>> from boltzwalk.networks.published_bases import digits
        >>> base = build_conditional(digits(latent=4), (10,), None, 10, (1, 8, 8), 0)
        >>> base.latent, base.decoder.latent, base.encoder.event_shape
        (4, 14, (74,))
    """
    generator = settings.generator() if isinstance(settings, Vae) else settings
    whole = replace(generator, latent=generator.latent + features)
    decoder = whole.build(event_shape, rng_seed, data)
    encoder, network, flat = None, None, True
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(rng_seed + 1)
        if isinstance(settings, Vae):
            flat = isinstance(settings.encoder, DenseEncoder)
            shape = joined_shape(event_shape, c_shape, flat)
            encoder = settings.encoder.build(shape, settings.latent)
        if summary is not None:
            built = summary.build(c_shape, features)
            network = nn.Sequential(built.trunk, built.mean)
    return ConditionalBase(decoder, generator.latent, encoder, network, flat)
