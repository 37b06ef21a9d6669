r"""Hamiltonian Monte Carlo.

Walkers draw a momentum :math:`p \sim \mathcal N(0, T I)` and follow the dynamics of
:math:`H(x, p) = U(x) + \|p\|^2 / 2` for :math:`L` leapfrog steps of time :math:`h`,

.. math:: p \leftarrow p - \tfrac h2 \nabla U(x) , \quad x \leftarrow x + h p , \quad
    p \leftarrow p - \tfrac h2 \nabla U(x) ,

then accept the end with probability :math:`\min(1, e^{-\Delta H / T})`. The map is reversible and
preserves volume, so :math:`\exp(-U / T)` is invariant. Consecutive leapfrog steps share a gradient:
L gradients in all.

Here `step_size` is the time :math:`h`. One leapfrog step is a MALA step with
:math:`\varepsilon = h^2 / 2`, acceptance included.

Not guaranteed: a trajectory of length :math:`h L` near a period of the target returns to its start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy
from ..kernel import StepInfo, accept, event_sum, require_positive
from ..walkers import Walkers, walkers_at

__all__ = ["HMC", "leapfrog"]


@dataclass(frozen=True)
class HMC:
    r"""Hamiltonian Monte Carlo with unit mass. Leaves :math:`\exp(-U / T)` invariant.

    Arguments:
        step_size: The time :math:`h` of a leapfrog step.
        leapfrog_steps: The number :math:`L` of leapfrog steps in a proposal.
        temperature: The temperature :math:`T`.

    Raises:
        ValueError: If the step or the temperature is not positive, or ``leapfrog_steps`` is below
            1.

    References:
        | Hybrid Monte Carlo (Duane et al., 1987)
        | MCMC using Hamiltonian dynamics (Neal, 2011)
        | https://arxiv.org/abs/1206.1901

    Example:
        >>> HMC(0.1).gradients
        10
    """

    step_size: float
    leapfrog_steps: int = 10
    temperature: float = 1.0

    invariant: ClassVar[bool] = True
    weighable: ClassVar[bool] = True
    target_acceptance: ClassVar[float] = 0.8

    step_is_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive("HMC", "step_size", self.step_size, "HMC(step_size=0.1)")
        require_positive("HMC", "temperature", self.temperature, "temperature=1.0")
        if self.leapfrog_steps < 1:
            raise ValueError(
                f"HMC needs leapfrog_steps >= 1, got {self.leapfrog_steps}; "
                "write leapfrog_steps=1 for the shortest trajectory"
            )

    @property
    def gradients(self) -> int:
        """The number of gradients of a step: one for each leapfrog step."""
        return self.leapfrog_steps

    @property
    def drift(self) -> float:
        """The distance that a constant unit gradient moves a walker in a step, from rest."""
        return (self.leapfrog_steps * self.step_size) ** 2 / 2

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Follows a trajectory from a new momentum, then accepts or rejects its end."""
        x = walkers.x
        start = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
        start *= math.sqrt(self.temperature)
        proposal, end = leapfrog(energy, walkers, start, self.step_size, self.leapfrog_steps)
        log_ratio = _kinetic(start) - _kinetic(end) + walkers.energy - proposal.energy
        return accept(walkers, proposal, log_ratio / self.temperature, rng)


def leapfrog(
    energy: Energy,
    walkers: Walkers,
    momentum: Float[Tensor, "N *event"],
    step_size: float,
    steps: int,
) -> tuple[Walkers, Float[Tensor, "N *event"]]:
    r"""Integrates :math:`H` by leapfrog steps; returns the walkers and the momentum at the end.

    Arguments:
        energy: The energy :math:`U`.
        walkers: The walkers at the start; their cached gradient is the first one used.
        momentum: The momentum :math:`p` at the start, shape (N, \*event).
        step_size: The time :math:`h`; negative to go back.
        steps: The number of leapfrog steps, at least 1.
    """
    momentum = torch.add(momentum, walkers.grad, alpha=-step_size / 2)
    for i in range(steps):
        x = torch.add(walkers.x, momentum, alpha=step_size)
        walkers = walkers_at(energy, x, walkers.log_w)
        last = i == steps - 1
        momentum.add_(walkers.grad, alpha=-step_size / 2 if last else -step_size)
    return walkers, momentum


def _kinetic(momentum: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    r"""Returns :math:`\|p\|^2 / 2`, shape (N,)."""
    return event_sum(momentum.square()) / 2
