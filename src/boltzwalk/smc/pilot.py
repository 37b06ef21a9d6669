r"""The pilot: a population that determines the schedule of an annealing.

A schedule that adapts to the walkers which it weighs biases their mean weight. So a pilot adapts
the schedule, the schedule is fixed, and other walkers are weighed along it. The pilot chooses

* the next :math:`\beta`, the largest at which the conditional effective sample size of the
  increment :math:`v_i = e^{(\beta' - \beta)(U_0 - U_1)(x_i)}` is still the share c,

  .. math:: \frac{\big( \sum_i \bar w_i v_i \big)^2}{\sum_i \bar w_i v_i^2} \ge c \sum_{v_i > 0}
      \bar w_i ,

* the scale of every coordinate, the standard deviation of the weighted walkers,
* the step size, from the acceptance of trial steps at every stage. The steps of a stage have that
  size times the numbers of `multiples`: in narrow parts of a density, such as the neck of a funnel,
  the small steps are accepted where the large ones are rejected.

Not guaranteed: that the pilot visits all of the density. The schedule is not adapted to regions
that it missed.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..walkers import Walkers
from .annealing import AnnealingSchedule, AnnealingStage, EnergyPath
from .resampling import require_ess_threshold, resample_below

__all__ = ["Pilot", "PilotResult", "next_beta"]

TRIALS = 5
"""The largest number of trial steps of a stage before its step size is fixed."""


class PilotResult(NamedTuple):
    """The schedule of a pilot, its walkers and its cost.

    Attributes:
        schedule: The schedule.
        walkers: The walkers of the pilot, at the end of the schedule and evaluated there.
        evaluations: The number of evaluations of the energy of a walker.
    """

    schedule: AnnealingSchedule
    walkers: Walkers
    evaluations: int


@dataclass(frozen=True)
class Pilot:
    r"""Settings of the pilot that determines a schedule.

    Arguments:
        conditional_ess: The share c, in (0, 1): closer to 1, more stages.
        threshold: The share of the walkers below which the effective sample size triggers
            resampling, in (0, 1]; None for never, which is annealed importance sampling.
        leapfrog_steps: The leapfrog steps of every HMC step.
        multiples: The step sizes of a stage, as multiples of the one with the acceptance
            `target_acceptance`.
        target_acceptance: The target acceptance, in (0, 1).
        max_stages: The largest number of stages.

    Raises:
        ValueError: If a number is outside its range.

    References:
        | Toward automatic model comparison: an adaptive sequential Monte Carlo approach (Zhou,
          Johansen and Aston, 2016), for the conditional effective sample size
        | Error bounds and normalising constants for sequential Monte Carlo samplers in high
          dimensions (Beskos et al., 2014), for why stages and not walkers grow with the dimension

    Example:
        >>> from boltzwalk.energies.analytic import Gaussian
        >>> rng = torch.Generator().manual_seed(0)
        >>> wide, narrow = Gaussian(2), Gaussian(2, scale=0.1)
        >>> x = wide.sample(500, rng)
        >>> result = Pilot(conditional_ess=0.9).find_schedule(EnergyPath(wide, narrow), x, rng)
        >>> result.schedule.betas
        (0.0, 0.00..., ..., 1.0)
    """

    conditional_ess: float = 0.995
    threshold: float | None = 0.5
    leapfrog_steps: int = 8
    multiples: tuple[float, ...] = (1.0, 0.3, 0.1)
    target_acceptance: float = 0.8
    max_stages: int = 1000

    def __post_init__(self) -> None:
        if self.threshold is not None:
            require_ess_threshold(self.threshold)
        for name in ("conditional_ess", "target_acceptance"):
            if not 0 < getattr(self, name) < 1:
                usual = getattr(Pilot, name)
                raise ValueError(
                    f"{name} must be between 0 and 1, got {getattr(self, name)}; {usual} is usual"
                )
        if self.leapfrog_steps < 1 or self.max_stages < 1:
            raise ValueError(
                "leapfrog_steps and max_stages must be >= 1, got "
                f"{self.leapfrog_steps} and {self.max_stages}"
            )
        if not self.multiples or not min(self.multiples) > 0:
            raise ValueError(
                f"multiples must be one or more positive numbers, got {self.multiples}; write "
                "multiples=(1.0,) for steps of one size"
            )

    def find_schedule(
        self, path: EnergyPath, x: Float[Tensor, "N *event"], rng: torch.Generator
    ) -> PilotResult:
        r"""Moves walkers from one end of the path to the other and returns the schedule.

        Arguments:
            path: The path.
            x: Exact samples of the start, shape (N, \*event).
            rng: The random generator.

        Raises:
            FloatingPointError: If an energy is nan or minus infinity at a walker, all energies
                are infinite, or the schedule needs more than `max_stages` stages.
        """
        log_w = x.new_zeros(len(x), dtype=torch.float64)
        step_size = 1.0 / max(1, x[0].numel()) ** 0.25
        stages = [AnnealingStage(0.0, (), _first_scale(x), self.leapfrog_steps)]
        evaluations = 0
        while stages[-1].beta < 1:
            if len(stages) > self.max_stages:
                raise FloatingPointError(
                    f"the path is not at its end after {self.max_stages} stages, but at beta = "
                    f"{stages[-1].beta:.3g}: the energy is too far from the reference, or has no "
                    "lower bound; give samples that look like the density, or a wider reference"
                )
            ends = path.energies_at(x)
            beta = next_beta(log_w, ends.difference, stages[-1].beta, self.conditional_ess)
            log_w = log_w + (beta - stages[-1].beta) * ends.difference
            scale = _scale(x, log_w, stages[-1].scale)
            walkers = ends.interpolate(x, log_w, beta)
            if self.threshold is not None:
                walkers, _ = resample_below(walkers, self.threshold, rng)
            stage = AnnealingStage(beta, (step_size,), scale, self.leapfrog_steps)
            walkers, step_size, trials = self._tune(path, walkers, stage, rng)
            sizes = tuple(step_size * multiple for multiple in self.multiples)
            stages.append(dataclasses.replace(stage, step_sizes=sizes))
            walkers, _ = path.move(walkers, stages[-1], rng)
            x, log_w = walkers.x, walkers.log_w
            evaluations += len(x) * (1 + trials * self.leapfrog_steps + stages[-1].gradients)
        return PilotResult(AnnealingSchedule(tuple(stages)), walkers, evaluations)

    def _tune(
        self, path: EnergyPath, walkers: Walkers, stage: AnnealingStage, rng: torch.Generator
    ) -> tuple[Walkers, float, int]:
        """Adapts the step size by trial steps; returns walkers, step size and number of trials."""
        (step_size,) = stage.step_sizes
        trials, excess = 0, math.inf
        while trials < TRIALS and abs(excess) > 0.1:
            stage = dataclasses.replace(stage, step_sizes=(step_size,))
            walkers, acceptance = path.move(walkers, stage, rng)
            excess = float(acceptance) - self.target_acceptance
            step_size *= math.exp(excess)
            trials += 1
        return walkers, step_size, trials


def next_beta(
    log_w: Float[Tensor, " N"], difference: Float[Tensor, " N"], beta: float, share: float
) -> float:
    r"""Returns the largest :math:`\beta' \le 1` with a given conditional effective sample size.

    Arguments:
        log_w: The log-weights so far, shape (N,).
        difference: :math:`U_0(x) - U_1(x)`, shape (N,); minus infinity where the new
            weight is zero.
        beta: The current :math:`\beta`.
        share: The smallest allowed conditional effective sample size c, as a share.

    Raises:
        FloatingPointError: If every new weight is zero.

    Example:
        >>> log_w = torch.zeros(4)
        >>> round(next_beta(log_w, torch.tensor([0.0, 1.0, 2.0, 3.0]), 0.0, 0.99), 2)
        0.09
    """
    log_shares = torch.log_softmax(log_w, 0)
    alive = torch.logsumexp(log_shares[difference > -math.inf], 0)
    if not bool(alive > -math.inf):
        raise FloatingPointError(
            f"all {len(log_w)} walkers have an infinite energy; start from a reference that lies "
            "where the energy is finite"
        )

    def is_allowed(step: float) -> bool:
        gain = step * difference
        first = torch.logsumexp(log_shares + gain, 0)
        second = torch.logsumexp(log_shares + 2 * gain, 0)
        return bool(2 * first - second >= math.log(share) + alive)

    low, high = 0.0, 1 - beta
    if is_allowed(high):
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if is_allowed(middle) else (low, middle)
    return beta + low


def _scale(
    x: Float[Tensor, "N *event"], log_w: Float[Tensor, " N"], before: Float[Tensor, "*event"]
) -> Float[Tensor, "*event"]:
    """The weighted standard deviation of every coordinate, which falls to no less than a hundredth.

    One walker, or all the weight on one, has no deviation.
    """
    rows, shares = x.flatten(1).double(), torch.softmax(log_w, 0).double()
    deviation = (shares @ (rows - shares @ rows).square()).sqrt().reshape(x.shape[1:])
    return torch.maximum(deviation.to(x), 1e-2 * before)


def _first_scale(x: Float[Tensor, "N *event"]) -> Float[Tensor, "*event"]:
    """The standard deviation of every coordinate of the start; 1 where there is none."""
    deviation = x.double().std(0, correction=0)
    return torch.where(deviation > 0, deviation, 1.0).to(x)
