r"""Bases conditioned on a class or on observed pixels, one condition per row.

.. math:: z \sim N(0, I_d), \qquad x = g\big( z, f(c) \big), \qquad q(z \mid x, c)

A class enters the decoder as further latent entries. A partly observed image is first summarised by
a network f, and the decoded event keeps the observed entries, so that only the hidden ones are
learnt. For the conditions c see :mod:`boltzwalk.energies.conditional`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energies.conditional import clamp_observed, concat_condition, concat_condition_shape
from ..networks.layers import seeded_weights
from ..networks.network import Decoder, Encoder, keep_eval_mode, reparametrise, standard_normal
from .generator import EncoderSettings, Generator, Vae

__all__ = ["ConditionalBase", "ConditionedBase", "build_conditional"]


class ConditionalBase(nn.Module):
    """A decoder of latent variables and conditions, and optionally an encoder.

    Arguments:
        decoder: Maps latent variables, followed by the summary of the condition, to events.
        latent: The number d of random latent variables.
        encoder: Maps events concatenated with their conditions to latent variables; None for none.
        summary: Maps a condition to a row of numbers; None if it is one.
        flat: Whether the encoder takes event and condition as one row; otherwise as channels.

    Example:
        >>> base = ConditionalBase(Decoder((1,), 3, nn.Linear(3, 1), bounded=False), latent=1)
        >>> rows = base.conditioned_on(torch.eye(2))
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

    def conditioned_on(self, c: Float[Tensor, "N ..."]) -> ConditionedBase:
        """Binds one condition per row to the base.

        Arguments:
            c: The conditions.
        """
        return ConditionedBase(self, c)

    train = keep_eval_mode


class ConditionedBase(nn.Module):
    r"""A conditional base with one bound condition per row.

    Arguments:
        base: The conditional base.
        c: The conditions, one for each row that is decoded or encoded.
    """

    def __init__(self, base: ConditionalBase, c: Float[Tensor, "N ..."]) -> None:
        super().__init__()
        self.base = base
        self.c = c
        self.event_shape = base.event_shape
        self.latent = base.latent
        self.training = False

    def forward(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z, f(c))`, shape (N, \*event), with the observed entries of c."""
        x: Tensor = self.base.decoder(torch.cat([z, self.base.summary(self.c)], 1))
        return clamp_observed(x, self.c)

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
        mean, log_std = encoder(concat_condition(clamp_observed(x, self.c), self.c, self.base.flat))
        return mean, log_std

    def reparametrise(
        self, mean: Float[Tensor, "N d"], log_std: Float[Tensor, "N d"], rng: torch.Generator
    ) -> Float[Tensor, "N d"]:
        r"""Draws :math:`z = \mu + e^s \xi` with :math:`\xi \sim N(0, I)`, differentiable."""
        return reparametrise(mean, log_std, rng)

    def latents(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draws n latent rows from N(0, I), with the dtype and device of the parameters."""
        return standard_normal(self.base, n, self.latent, rng)


def build_conditional(
    settings: Generator | Vae,
    c_shape: tuple[int, ...],
    summary: EncoderSettings | None,
    features: int,
    event_shape: tuple[int, ...],
    rng_seed: int,
    data: Tensor | None = None,
) -> ConditionalBase:
    r"""Returns the conditional base, on the CPU and in the default dtype.

    The same seed gives the same parameters; no global generator changes.

    Arguments:
        settings: The settings of the base.
        c_shape: The shape of one condition.
        summary: The architecture of the network that summarises a condition; None for a row.
        features: The number of entries of the summary.
        event_shape: The shape of one event.
        rng_seed: The seed of the initial parameters.
        data: Rows to check against the range of the decoder, shape (M, \*event); None for no check.

    Raises:
        ValueError: If the networks do not fit such events, or the data lie beyond the range of
            the decoder.

    Example:
        >>> from boltzwalk.bases.published import digits_vae
        >>> base = build_conditional(digits_vae(latent=4), (10,), None, 10, (1, 8, 8), 0)
        >>> base.latent, base.decoder.latent, base.encoder.event_shape
        (4, 14, (74,))
    """
    generator = settings.generator()
    with_summary = replace(generator, latent=generator.latent + features)
    decoder = with_summary.build(event_shape, rng_seed, data)
    encoder, summarise, flat = None, None, True
    with seeded_weights(rng_seed + 1):
        if settings.encoder is not None:
            flat = settings.encoder.flat
            shape = concat_condition_shape(event_shape, c_shape, flat)
            encoder = settings.encoder.build(shape, settings.latent)
        if summary is not None:
            built = summary.build(c_shape, features)
            summarise = nn.Sequential(built.trunk, built.mean)
    return ConditionalBase(decoder, generator.latent, encoder, summarise, flat)
