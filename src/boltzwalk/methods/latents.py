r"""Samples of a generalized model: MCMC on the latent variables of its base.

Walkers start from the prior and move under :math:`U(z) = \frac12 |z|^2 + \beta E(g(z))` by the
kernels that move walkers everywhere. Published step sizes are those of other conventions:

* Langevin, paper: :math:`z - \lambda \nabla U + \sqrt{2 \lambda} \xi`, ``ULA(λ)``;
* Langevin, code: :math:`z - \frac\gamma2 \nabla U + \sqrt\gamma \xi`, ``ULA(γ / 2)``;
* kinetic: a step of time :math:`2 \sqrt\lambda`, ``KineticLangevin(2 √λ, friction=100)``;

with :math:`\lambda` from :math:`10^{-4}`, divided by 10 every 200 steps: a short way down
:math:`\beta \lambda \nabla E` rather than a chain that forgets its start.

Not guaranteed: that more steps are better. Where the step does not fall, the samples of published
models got worse after about 100 of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..base import Base
from ..bases.latent import LatentEnergy
from ..energy import Energy
from ..extension import KERNEL
from ..kernels import HMC, MALA, ULA, Kernel, KineticLangevin, NormalProposals, Transport, run_chain
from ..walkers import Walkers, walkers_at

__all__ = [
    "LatentKernel",
    "StepDecay",
    "latent_chain",
    "latent_energy",
    "latent_walkers",
    "scale_step",
]

DRAWS = 500
"""Draws from the prior among which the steepest slope is sought."""


LatentKernel: TypeAlias = Annotated[
    ULA | MALA | HMC | KineticLangevin | NormalProposals | Transport, KERNEL
]
"""How latent variables move."""


@dataclass(frozen=True)
class StepDecay:
    r"""A step size that falls: :math:`\lambda` is divided by a factor every so many steps.

    Arguments:
        factor: The factor; 1 keeps the step.
        every: The steps between two divisions.

    Raises:
        ValueError: If the factor is below 1, or there is no step.
    """

    factor: float = 1.0
    every: int = 200

    def __post_init__(self) -> None:
        if not self.factor >= 1 or self.every < 1:
            raise ValueError(
                f"factor and every must be >= 1, got {self.factor} and {self.every}; 10 and 200 "
                "were published, factor=1 keeps the step"
            )


def scale_step(kernel: Kernel, factor: float) -> Kernel:
    r"""Returns the kernel with its squared length of a step, :math:`\lambda`, times a factor.

    The time of HMC and of kinetic Langevin is :math:`\propto \sqrt\lambda`; proposals from the
    prior have no step.

    Arguments:
        kernel: The kernel.
        factor: The factor.

    Example:
        >>> scale_step(KineticLangevin(0.02, friction=100.0), 0.01).step_size
        0.002
    """
    size = getattr(kernel, "step_size", None)
    if size is None:
        return kernel
    times = math.sqrt(factor) if getattr(kernel, "step_is_time", False) else factor
    return dataclasses.replace(kernel, step_size=size * times)


def latent_energy(
    base: Base,
    energy: Energy,
    kernel: LatentKernel,
    inverse_temperature: float,
    rng: torch.Generator,
) -> LatentEnergy:
    r"""Returns the energy of latent variables that a kernel moves under.

    That is :math:`\frac12 |z|^2 + \beta E(g(z))`; for Transport :math:`E(g(z))` over the steepest
    slope of 500 draws, as was published, without a prior and whatever :math:`\beta` is.

    Arguments:
        base: The base g.
        energy: The energy E relative to it.
        kernel: How they move.
        inverse_temperature: The factor :math:`\beta`.
        rng: The source of the draws.
    """
    if getattr(kernel, "has_prior", True):
        return LatentEnergy(base, energy, inverse_temperature)
    bare = LatentEnergy(base, energy, prior=False)
    slopes = walkers_at(bare, base.latents(DRAWS, rng)).grad.norm(dim=1)
    steepest = float(slopes.max())
    return LatentEnergy(base, energy, 1 / max(steepest, 1e-30), prior=False)


def latent_chain(
    kernel: LatentKernel,
    decay: StepDecay,
    energy: LatentEnergy,
    z: Float[Tensor, "N d"],
    steps: Sequence[int],
    rng: torch.Generator,
) -> Iterator[Walkers]:
    """Moves latent variables and yields the walkers after each of so many steps.

    The walkers do not depend on the numbers of steps at which they are yielded.

    Arguments:
        kernel: How they move.
        decay: How its step falls.
        energy: The energy of latent variables.
        z: Where they start, shape (N, d).
        steps: The numbers of steps, increasing; 0 yields the walkers at their start.
        rng: The source of the noise.
    """
    walkers = walkers_at(energy, z)
    for first, last in pairwise([0, *steps]):
        done = first
        while done < last:
            block = done // decay.every
            n = min(last, (block + 1) * decay.every) - done
            scaled = scale_step(kernel, decay.factor**-block)
            walkers, _ = run_chain(scaled, energy, walkers, n, rng, diagnose=False, check=False)
            done += n
        yield walkers


def latent_walkers(base: Base, relative: Energy, walkers: Walkers) -> Walkers:
    r"""Returns the walkers in the space of events, evaluated by the energy relative to the base.

    Arguments:
        base: The base.
        relative: The energy relative to the base.
        walkers: Walkers of latent variables.
    """
    with torch.no_grad():
        x = base.decode(walkers.x)
    return walkers_at(relative, x)
