r"""Latent codes of rows, of which some entries may be hidden.

The posterior of the latent variables of a generator, given visible entries v alone,

.. math:: U(z) = \tfrac12 |z|^2 + \frac{|v - g_v(z)|^2}{2 \sigma^2} ,

and :math:`\beta E(g(z))` more where the model is an energy relative to the generator, sums over
visible entries and never averages over rows: the published code divides the sum by the number of
chains, which weakens the visible entries by that factor.

Not guaranteed: that a chain from the prior leaves its first mode.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..base import Base, has_encoder
from ..bases.latent import LatentEnergy
from ..energy import Energy
from ..kernels import MALA, adapt_step_size, run_chain
from ..model import Model
from ..walkers import walkers_at
from .conditional import Free

__all__ = [
    "encoder_of",
    "generator_of",
    "infer_latents",
    "one_shot",
    "visible_posterior",
]

WARM_UP = 100


def generator_of(model: Model, purpose: str) -> Base:
    """Returns the base of a model.

    Arguments:
        model: The model.
        purpose: The part that needs it, for the message.

    Raises:
        ValueError: If it has none.
    """
    base = model.method.base
    if base is None:
        raise ValueError(
            f"{purpose} must have a model with a generator, such as the recipe "
            f"vae_teaching_digits, got one that learnt by {type(model.settings.method).__name__}; "
            "write --variant conditional --start noise, which completes with any energy"
        )
    return base


def encoder_of(model: Model, purpose: str) -> Any:  # noqa: ANN401
    """Returns the base of a model, which can encode.

    Arguments:
        model: The model.
        purpose: The part that needs it, for the message.

    Raises:
        ValueError: If the model has no encoder.
    """
    base = generator_of(model, purpose)
    if not has_encoder(base):
        raise ValueError(
            f"{purpose} must have a model with an encoder, such as the recipe vae_teaching_digits, "
            f"got one of {type(model.settings.method).__name__} with a generator alone; write "
            "--variant latent, which infers the code by a chain, or --variant conditional"
        )
    return base


def visible_posterior(
    base: Base,
    x: Float[Tensor, "N *event"],
    free: Free | None,
    sigma: float,
    energy: Energy | None = None,
    inverse_temperature: float = 1.0,
) -> LatentEnergy:
    r"""Returns the energy of latent variables, shape (N, d), given the visible entries of rows.

    .. math:: U(z) = \tfrac12 |z|^2 + \frac{|v - g_v(z)|^2}{2 \sigma^2}

    Arguments:
        base: The generator :math:`g`.
        x: The rows, shape (N, \*event), of which hidden entries are ignored.
        free: The hidden coordinates; None where nothing is hidden.
        sigma: The deviation :math:`\sigma` of an entry, in model units, positive.
        energy: The energy E of the model relative to the generator, if there is one.
        inverse_temperature: Its factor :math:`\beta`.

    Raises:
        ValueError: If sigma is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}; 0.3 is usual for images")
    known = x if free is None else free.visible(x)

    def misfit(made: Tensor) -> Tensor:
        squares = (known - (made if free is None else free.visible(made))).flatten(1).square()
        return squares.sum(1) / (2 * sigma**2)

    return LatentEnergy(base, energy, inverse_temperature, misfit=misfit)


def infer_latents(
    base: Base,
    x: Float[Tensor, "N *event"],
    free: Free | None,
    sigma: float,
    steps: int,
    rng: torch.Generator,
    energy: Energy | None = None,
    inverse_temperature: float = 1.0,
) -> Float[Tensor, "N d"]:
    """Draws latent variables given visible entries: MALA from the prior, shape (N, d).

    All rows share the step size, which a warm-up of 100 steps adapts.

    Arguments:
        base: The generator.
        x: The rows, shape (N, *event), of which hidden entries are ignored.
        free: The hidden coordinates; None where nothing is hidden.
        sigma: The deviation of an entry, in model units.
        steps: The number of steps after the warm-up, at least 1.
        rng: The source of the noise.
        energy: The energy of the model relative to the generator, if there is one.
        inverse_temperature: Its factor.
    """
    posterior = visible_posterior(base, x, free, sigma, energy, inverse_temperature)
    walkers = walkers_at(posterior, base.latents(len(x), rng))
    kernel = MALA(min(0.1, sigma**2 / 2))
    kernel, walkers = adapt_step_size(kernel, posterior, walkers, WARM_UP, rng, check=False)
    return run_chain(kernel, posterior, walkers, steps, rng, diagnose=False, check=False)[0].x


@torch.no_grad()
def one_shot(
    base: Any,  # noqa: ANN401
    x: Float[Tensor, "N *event"],
    free: Free,
) -> Tensor:
    r"""Returns the completion of the VAE, :math:`g(\mu(x))`, with visible entries restored.

    Arguments:
        base: The VAE.
        x: The rows, shape (N, *event), hidden entries filled with anything.
        free: The hidden coordinates.
    """
    return free.event(free.coordinates(base.decode(base.encode(x)[0])))
