r"""Long exact chains that turn approximate samples of a density into better ones.

The chains are Hamiltonian Monte Carlo in coordinates fitted to the samples
(:func:`~boltzwalk.smc.coordinates.fit_affine`), so that coordinates of any scale move alike. Their
step size is adapted before, and fixed while they run.

Not guaranteed: that the chains find a mode that no sample is near, or correct the shares of modes
which they do not leave.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy
from ..kernels import HMC, adapt_step_size, run_chain
from ..kernels.chain import require_movable
from ..walkers import Walkers, walkers_at
from .coordinates import AffineMap, PulledBackEnergy, fit_affine

__all__ = ["LongChains", "start_chains"]

WARM_UP = 50
"""Steps that adapt the step size."""


@dataclass(frozen=True, eq=False)
class LongChains:
    """Chains with an adapted step size, before their first step.

    Attributes:
        energy: The energy in the coordinates of the chains.
        bijection: The coordinates.
        kernel: The kernel.
        walkers: The walkers.
        seconds: The time that one step takes.
    """

    energy: Energy
    bijection: AffineMap
    kernel: HMC
    walkers: Walkers
    seconds: float

    @property
    def x(self) -> Float[Tensor, "N *event"]:
        """The positions."""
        return self.bijection.to_x(self.walkers.x)[0]

    def run(
        self, steps: int, rng: torch.Generator, states: int = 1
    ) -> Float[Tensor, "N states *event"]:
        r"""Makes steps and returns states of the second half, the last one included.

        Arguments:
            steps: The number of steps, 1 or more.
            rng: The random generator.
            states: The number of states of each chain, evenly spaced; at most half of the steps.
        """
        states = max(1, min(states, steps // 2))
        spacing = max(1, steps // 2 // states)
        walkers, positions = self.walkers, []
        for count in (steps - spacing * (states - 1), *(spacing,) * (states - 1)):
            walkers, _ = run_chain(self.kernel, self.energy, walkers, count, rng, False, False)
            positions.append(self.bijection.to_x(walkers.x)[0])
        return torch.stack(positions, 1)


def start_chains(energy: Energy, x: Float[Tensor, "N *event"], rng: torch.Generator) -> LongChains:
    r"""Adapts the step size of chains that start at samples.

    Arguments:
        energy: The energy U.
        x: The samples, shape (N, \*event). Where the energy is infinite, as outside of a support,
            others take their place.
        rng: The random generator.

    Raises:
        FloatingPointError: If no energy is finite, a chain cannot move, or no step size has an
            acceptance between 0 and 1.
        ValueError: If all samples are the same point.

    Example:
        >>> energy, rng = lambda x: x.square().sum(1) / 2, torch.Generator().manual_seed(0)
        >>> chains = start_chains(energy, torch.randn(200, 2, generator=rng), rng)
        >>> chains.run(20, rng, states=3).shape
        torch.Size([200, 3, 2])
    """
    bijection = fit_affine(x)
    pulled = PulledBackEnergy(energy, bijection)
    walkers = walkers_at(pulled, bijection.to_z(x))
    inside = (walkers.energy != torch.inf).nonzero().flatten()
    if not len(inside):
        raise FloatingPointError(f"all {len(x)} samples have an infinite energy")
    if len(inside) < len(x):
        walkers = walkers[inside[torch.arange(len(x), device=x.device) % len(inside)]]
    require_movable(walkers)
    first = HMC(0.1 / max(1, walkers.x.shape[1]) ** 0.25)
    start = time.monotonic()
    kernel, walkers = adapt_step_size(first, pulled, walkers, WARM_UP, rng, check=False)
    return LongChains(pulled, bijection, kernel, walkers, (time.monotonic() - start) / WARM_UP)
