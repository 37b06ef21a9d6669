r"""The code that a network beside the energy gives a row, of which some entries may be hidden.

The posterior of the latent variables of a generator, given visible entries v alone,

.. math:: U(z) = \tfrac12 |z|^2 + \frac{|v - g_v(z)|^2}{2 \sigma^2} ,

and :math:`\beta E(g(z))` more where the model is an energy relative to the generator, sums over
visible entries and never averages over rows: the published code divides the sum by the
number of chains, which weakens the visible entries by as much.

Not guaranteed: that a chain from the prior leaves the mode that it finds first.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..bases.latent import LatentEnergy
from ..energy import Energy
from ..kernels import MALA, adapt_step_size
from ..kernels import run as run_chain
from ..methods.cooperative import Cooperative
from ..methods.variational import Variational
from ..train.run import Run
from ..walkers import evaluate
from .conditional import Free

__all__ = [
    "encoder_of",
    "generator_of",
    "infer_latents",
    "one_shot",
    "pixel_deviation",
    "visible_posterior",
]

WARM_UP = 100


@runtime_checkable
class Generates(Protocol):
    """A network that decodes latent variables."""

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        """Draws latent rows, shape (n, d)."""

    def decode(self, z: Tensor) -> Tensor:
        r"""Returns events, shape (n, \*event)."""


@runtime_checkable
class Encodes(Generates, Protocol):
    """A network that also encodes."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the means and log-deviations of latent variables, each of shape (n, d)."""

    def reparametrise(self, mean: Tensor, log_std: Tensor, rng: torch.Generator) -> Tensor:
        """Draws latent variables, shape (n, d)."""


def generator_of(run: Run, what: str) -> Generates:
    """Returns the network of a run that decodes.

    Arguments:
        run: The run.
        what: What needs it, for the message.

    Raises:
        ValueError: If it has none.
    """
    base: Any = getattr(run.method, "base", None)
    if not isinstance(base, Generates):
        raise ValueError(
            f"{what} must have a run with a generator, such as the recipe vae_teaching_digits, got "
            f"one that learnt by {type(run.settings.method).__name__}; write --variant conditional "
            "--start noise, which completes with any energy"
        )
    return base


def encoder_of(run: Run, what: str) -> Encodes:
    """Returns the networks of a run that encode and decode.

    Arguments:
        run: The run.
        what: What needs them, for the message.

    Raises:
        ValueError: If the run has none.
    """
    base = generator_of(run, what)
    if not isinstance(base, Encodes):
        raise ValueError(
            f"{what} must have a run with an encoder, such as the recipe vae_teaching_digits, got "
            f"one of {type(run.settings.method).__name__} with a generator alone; write --variant "
            "latent, which finds the code by a chain, or --variant conditional"
        )
    return base


def pixel_deviation(run: Run) -> float:
    r"""Returns the deviation :math:`\sigma` of an entry around what a run's generator makes.

    .. math:: \sigma = \sqrt{\gamma / 2}

    for a VAE that learnt with :math:`\gamma`; else what the method says, or the published 0.3.

    Arguments:
        run: The run.
    """
    settings = getattr(run.method, "settings", None)
    if isinstance(settings, Variational):
        return math.sqrt(settings.gamma / 2)
    return settings.sigma if isinstance(settings, Cooperative) else 0.3


def visible_posterior(
    base: Generates,
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
        free: What is hidden; None for nothing.
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
    base: Generates,
    x: Float[Tensor, "N *event"],
    free: Free | None,
    sigma: float,
    steps: int,
    rng: torch.Generator,
    energy: Energy | None = None,
    inverse_temperature: float = 1.0,
) -> Float[Tensor, "N d"]:
    """Draws latent variables given visible entries: MALA from the prior, shape (N, d).

    All rows share the step size, which a warm-up of 100 steps finds.

    Arguments:
        base: The generator.
        x: The rows, shape (N, *event), of which hidden entries are ignored.
        free: What is hidden; None for nothing.
        sigma: The deviation of an entry, in model units.
        steps: The number of steps after the warm-up, at least 1.
        rng: The source of the noise.
        energy: The energy of the model relative to the generator, if there is one.
        inverse_temperature: Its factor.
    """
    posterior = visible_posterior(base, x, free, sigma, energy, inverse_temperature)
    walkers = evaluate(posterior, base.latents(len(x), rng))
    kernel = MALA(min(0.1, sigma**2 / 2))
    kernel, walkers = adapt_step_size(kernel, posterior, walkers, WARM_UP, rng)
    return run_chain(kernel, posterior, walkers, steps, rng, diagnose=False)[0].x


@torch.no_grad()
def one_shot(base: Encodes, x: Float[Tensor, "N *event"], free: Free) -> Tensor:
    r"""Returns the VAE's own completion, :math:`g(\mu(x))`, visible entries put back.

    Arguments:
        base: The VAE.
        x: The rows, shape (N, *event), hidden entries filled with anything.
        free: What is hidden.
    """
    return free.event(free.coordinates(base.decode(base.encode(x)[0])))
