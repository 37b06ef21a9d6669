r"""Annealing: weighted walkers along a path of energies, from a known log Z to an unknown one.

The path from :math:`e^{-U_0}` to :math:`e^{-U_1}` is the geometric one,

.. math:: U_\beta = (1 - \beta) U_0 + \beta U_1 , \qquad \beta \in [0, 1] .

At every stage :math:`0 = \beta_0 < \dots < \beta_T = 1` walkers are reweighted at their positions,
and then moved by HMC steps that leave :math:`e^{-U_{\beta_t}}` invariant,

.. math:: \log w \leftarrow \log w + (\beta_t - \beta_{t-1}) \, (U_0(x) - U_1(x)) .

Along a schedule that was fixed beforehand, with exact samples of the reference at the start, the
mean weight is an unbiased estimate of :math:`Z_1 / Z_0`, however poorly the moves mix and whether
or not walkers are resampled. Without resampling this is annealed importance sampling, with it a
sequential Monte Carlo sampler. In reverse along the same schedule, from samples of the target, the
mean weight is an unbiased estimate of :math:`Z_0 / Z_1`; the two err on opposite sides.

Not guaranteed: a small variance. Where the moves do not mix, few walkers carry all the weight. A
mode that exists at the end only must be discovered along the path, and a mode that no walker visits
is missing from the estimate.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy, energy_and_grad
from ..kernels import HMC
from ..walkers import Walkers, cat, effective_sample_size
from .resampling import resample_below

__all__ = [
    "AnnealingResult",
    "AnnealingSchedule",
    "AnnealingStage",
    "EnergyPath",
    "InterpolatedEnergy",
    "PathEnergies",
    "anneal",
]


# Batches this small stay in the cache of a core: twice as fast in 100 dimensions.
CACHED_ENTRIES = {"cpu": 2**17}
OTHER_ENTRIES = 2**22


@dataclass(frozen=True, eq=False)
class AnnealingStage:
    r"""One energy of the path, and the HMC steps made there.

    There is one HMC step for each step size, in the coordinates x / scale.

    Attributes:
        beta: :math:`\beta` in [0, 1].
        step_sizes: The time :math:`h` of a leapfrog step, for each HMC step; empty for none.
        scale: The width of each coordinate, of the shape of an event.
        leapfrog_steps: The number of leapfrog steps of each step.
    """

    beta: float
    step_sizes: tuple[float, ...]
    scale: Float[Tensor, "*event"]
    leapfrog_steps: int = 8

    @property
    def gradients(self) -> int:
        """The number of gradients of the moves."""
        return self.leapfrog_steps * len(self.step_sizes)


class PathEnergies(NamedTuple):
    """Energies and gradients of walkers at both ends of the path."""

    u0: Float[Tensor, " N"]
    g0: Float[Tensor, "N *event"]
    u1: Float[Tensor, " N"]
    g1: Float[Tensor, "N *event"]

    @property
    def difference(self) -> Float[Tensor, " N"]:
        """:math:`U_0(x) - U_1(x)` in float64: the log-weight increment per unit of β."""
        return self.u0.double() - self.u1.double()

    def interpolate(self, x: Tensor, log_w: Tensor, beta: float) -> Walkers:
        r"""Returns walkers at x, with the interpolated energies and gradients of :math:`\beta`."""
        return Walkers(
            x, _interpolated(self.u0, self.u1, beta), _interpolated(self.g0, self.g1, beta), log_w
        )


@dataclass(frozen=True, eq=False)
class EnergyPath:
    r"""The path from one energy to another.

    Attributes:
        start: The energy :math:`U_0`.
        end: The energy :math:`U_1`.
        batch: The number of walkers evaluated at once; chosen for the device by default.

    Example:
        >>> path = EnergyPath(lambda x: x.square().sum(1) / 2, lambda x: 3 * x.square().sum(1) / 2)
        >>> x = torch.ones(1, 2)
        >>> path.energies_at(x).interpolate(x, torch.zeros(1), beta=0.5).energy
        tensor([2.])
    """

    start: Energy
    end: Energy
    batch: int | None = None

    def energies_at(self, x: Float[Tensor, "N *event"]) -> PathEnergies:
        r"""Evaluates both ends at x.

        Arguments:
            x: The positions, shape (N, \*event).

        Raises:
            FloatingPointError: If an energy is nan or minus infinity.
        """
        parts = [
            (*energy_and_grad(self.start, part), *energy_and_grad(self.end, part))
            for part in x.split(self._batch(x))
        ]
        ends = PathEnergies(*(torch.cat(fields) for fields in zip(*parts, strict=True)))
        for name, u in (("reference", ends.u0), ("energy", ends.u1)):
            bad = u.isnan() | (u == -torch.inf)
            if bool(bad.any()):
                first = int(bad.nonzero()[0])
                raise FloatingPointError(
                    f"the {name} is {float(u[first])} at {int(bad.sum())} of {len(u)} walkers, "
                    f"one of them {float(x[first].norm()):.3g} from the origin of the coordinates; "
                    "an energy must be a number or plus infinity everywhere"
                )
        self._require_gradients(ends)
        return ends

    def _require_gradients(self, ends: PathEnergies) -> None:
        """Raises where an energy is finite and its gradient is not: a walker could not move."""
        for name, u, grad in (
            ("reference", ends.u0, ends.g0),
            ("energy", ends.u1, ends.g1),
        ):
            bad = u.isfinite() & ~grad.flatten(1).isfinite().all(1)
            if bool(bad.any()):
                raise FloatingPointError(
                    f"the {name} is finite and its gradient is not at {int(bad.sum())} of {len(u)} "
                    f"walkers, the first in row {int(bad.nonzero()[0])}; write an energy with a "
                    "finite gradient wherever it is finite, such as (x.square().sum(1) + "
                    "1e-12).sqrt() for a norm"
                )

    def end_energies(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U_1(x)` alone, shape (N,), without checks.

        Arguments:
            x: The positions, shape (N, \*event).
        """
        return torch.cat([self.end(part) for part in x.split(self._batch(x))])

    def move(
        self, walkers: Walkers, stage: AnnealingStage, rng: torch.Generator
    ) -> tuple[Walkers, Float[Tensor, " steps"]]:
        r"""Makes the steps of a stage; returns the walkers and the mean acceptance of every step.

        Arguments:
            walkers: The walkers, evaluated at the stage's :math:`\beta`.
            stage: The stage.
            rng: The random generator.
        """
        scale = stage.scale
        energy = _Scaled(InterpolatedEnergy(self.start, self.end, stage.beta), scale)
        accepted = walkers.energy.new_zeros(len(stage.step_sizes))
        moved, batch = [], self._batch(walkers.x)
        for first in range(0, len(walkers), batch):
            part = walkers[first : first + batch]
            part = dataclasses.replace(part, x=part.x / scale, grad=part.grad * scale)
            for i, step_size in enumerate(stage.step_sizes):
                part, info = HMC(step_size, stage.leapfrog_steps).step(energy, part, rng)
                accepted[i] += info.acceptance.sum()
            moved.append(dataclasses.replace(part, x=part.x * scale, grad=part.grad / scale))
        return cat(*moved), accepted / len(walkers)

    def _batch(self, x: Tensor) -> int:
        """The number of walkers evaluated at once."""
        if self.batch is not None:
            return self.batch
        return max(1, CACHED_ENTRIES.get(x.device.type, OTHER_ENTRIES) // max(1, x[:1].numel()))


@dataclass(frozen=True, eq=False)
class InterpolatedEnergy:
    r"""The energy :math:`(1 - \beta) U_0 + \beta U_1`.

    Attributes:
        start: The energy :math:`U_0`.
        end: The energy :math:`U_1`.
        beta: :math:`\beta` in [0, 1].

    Example:
        >>> half = lambda x: x.square().sum(1) / 2
        >>> InterpolatedEnergy(half, lambda x: 3 * half(x), beta=0.5)(torch.ones(1, 2)).item()
        2.0
    """

    start: Energy
    end: Energy
    beta: float

    def __call__(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U_\beta(x)`, shape (N,)."""
        return _interpolated(self.start(x), self.end(x), self.beta)

    def energy_and_grad(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
        r"""Returns :math:`U_\beta(x)`, shape (N,), and its gradient, shape (N, \*event)."""
        (u0, g0), (u1, g1) = energy_and_grad(self.start, x), energy_and_grad(self.end, x)
        return _interpolated(u0, u1, self.beta), _interpolated(g0, g1, self.beta)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """An energy as a function of x / scale; the constant log-determinant is left out."""

    energy: Energy
    scale: Float[Tensor, "*event"]

    def __call__(self, y: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        return self.energy(y * self.scale)

    def energy_and_grad(
        self, y: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
        u, grad = energy_and_grad(self.energy, y * self.scale)
        return u, grad * self.scale


def _interpolated(a: Tensor, b: Tensor, beta: float) -> Tensor:
    """Interpolates linearly; an infinite end of weight zero is ignored."""
    if beta in (0.0, 1.0):
        return b if beta else a
    return (a * (1 - beta)).add_(b, alpha=beta)


@dataclass(frozen=True, eq=False)
class AnnealingSchedule:
    r"""A fixed sequence of stages, from the start of the path to its end.

    Walkers start as samples of the first stage, at which no steps are made.

    Attributes:
        stages: The stages.

    Raises:
        ValueError: If there are fewer than two.
    """

    stages: tuple[AnnealingStage, ...]

    def __post_init__(self) -> None:
        if len(self.stages) < 2:
            raise ValueError(
                f"a schedule needs a start and an end, got {len(self.stages)} stages; write "
                "Schedule((Stage(0.0, (), scale), Stage(1.0, (0.5,), scale)))"
            )

    @property
    def betas(self) -> tuple[float, ...]:
        r"""The :math:`\beta_t`."""
        return tuple(stage.beta for stage in self.stages)

    def reversed(self) -> AnnealingSchedule:
        """Returns the same stages in the opposite order."""
        return AnnealingSchedule(self.stages[::-1])


class AnnealingResult(NamedTuple):
    r"""Weighted walkers at the end of a schedule, and the cost and health of the annealing.

    Attributes:
        walkers: The walkers, evaluated under the last energy. The mean weight of a replicate
            estimates the ratio of the last Z to the first.
        share: The smallest effective sample size of a replicate at any stage, as a share of it.
        acceptance: The mean acceptance of every step of every stage.
        evaluations: The number of evaluations of the energy of a walker, with or without gradient.
    """

    walkers: Walkers
    share: float
    acceptance: tuple[list[float], ...]
    evaluations: int


def anneal(
    path: EnergyPath,
    x: Float[Tensor, "N *event"],
    schedule: AnnealingSchedule,
    rng: torch.Generator,
    replicates: int = 1,
    threshold: float | None = 0.5,
) -> AnnealingResult:
    r"""Moves walkers along a fixed schedule and weighs them.

    Arguments:
        path: The energies.
        x: Samples of the first energy of the schedule, shape (N, \*event): consecutive replicates
            of equal size.
        schedule: The schedule.
        rng: The random generator.
        replicates: The number of independent replicates.
        threshold: The share of a replicate below which its effective sample size triggers
            resampling, in (0, 1]; None to never resample.

    Raises:
        FloatingPointError: If an energy is nan or minus infinity at a walker, or every walker of a
            replicate has an infinite energy.
        ValueError: If the walkers do not make replicates of equal size.

    References:
        | Annealed importance sampling (Neal, 2001)
        | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)

    Example:
        >>> from boltzwalk.energies.analytic import Gaussian
        >>> rng = torch.Generator().manual_seed(0)
        >>> wide, narrow = Gaussian(1), Gaussian(1, scale=0.5)
        >>> stages = (AnnealingStage(b / 5, (1.0,), torch.ones(1)) for b in range(6))
        >>> schedule = AnnealingSchedule(tuple(stages))
        >>> annealed = anneal(EnergyPath(wide, narrow), wide.sample(2000, rng), schedule, rng)
        >>> round(annealed.walkers.log_w.exp().mean().item(), 1)
        0.5
    """
    if len(x) == 0 or len(x) % replicates:
        raise ValueError(
            f"walkers must make {replicates} replicates of equal size, got {len(x)}; write "
            f"sample({128 * replicates}, rng)"
        )
    log_w, share, acceptance = x.new_zeros(len(x), dtype=torch.float64), 1.0, []
    for old, new in zip(schedule.stages, schedule.stages[1:], strict=False):
        ends = path.energies_at(x)
        log_w = log_w + (new.beta - old.beta) * ends.difference
        blocks = log_w.reshape(replicates, -1)
        smallest = float(effective_sample_size(blocks).min()) / blocks.shape[1]
        if math.isnan(smallest):
            raise FloatingPointError(
                f"every walker of a replicate has an infinite energy at beta = {new.beta:.3g}; "
                "start from a reference that lies where the energy is finite"
            )
        share = min(share, smallest)
        walkers = ends.interpolate(x, log_w, new.beta)
        if threshold is not None:
            walkers, _ = resample_below(walkers, threshold, rng, replicates=replicates)
        walkers, accepted = path.move(walkers, new, rng)
        x, log_w = walkers.x, walkers.log_w
        acceptance.append(accepted)
    evaluations = len(x) * sum(1 + stage.gradients for stage in schedule.stages[1:])
    return AnnealingResult(walkers, share, tuple(a.tolist() for a in acceptance), evaluations)
