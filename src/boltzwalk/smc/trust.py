r"""When an estimate of log Z is given, how wide its interval is, and when it is refused.

Replicates whose estimates of Z are skewed to the right are more often all too low than all too
high, and their spread is then too small as well. So the interval is that of Student's t at 97 %,
1.15 times as wide for 8 replicates as at 95 %: on the targets of the tests it holds log Z in at
least 95 % of the runs where 95 % would hold it in 87 to 95 %.

With samples of the density there are two unbiased estimates, forward of Z and reverse of 1/Z,
which tend to err on opposite sides. Where they agree the estimate is their mean, weighted by the
precision, and the interval spans both.

Not guaranteed: coverage where replicates differ by a nat or more, or where a part of the density
was found by none of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from jaxtyping import Float
from scipy import stats
from torch import Tensor

from .replicates import Interval, combine

__all__ = ["Walked", "distrust", "sandwich", "widened"]

LEAST_SHARE = 0.05
"""Replicates whose effective sample size falls below this share have lost the pilot's path."""


class Walked(NamedTuple):
    """What the replicates of one direction say of log Z.

    Attributes:
        interval: The estimate and its interval.
        replicates: What each replicate says.
        share: The smallest effective sample size of a replicate on the way, as a share of it.
        evaluations: How often the energy of a walker was taken.
    """

    interval: Interval
    replicates: tuple[float, ...]
    share: float
    evaluations: int


def widened(log_z: Float[Tensor, " R"]) -> Interval:
    """Returns the logarithm of the mean of R unbiased estimates, with Student's t at 97 %.

    Arguments:
        log_z: The logarithms of the estimates, shape (R,), R two or more.

    Example:
        >>> import torch
        >>> widened(torch.tensor([1.0, 1.1, 0.9, 1.0]))
        Interval(estimate=1.002..., half_width=0.15...)
    """
    estimate, half_width = combine(log_z)
    usual, wide = stats.t.ppf([0.975, 0.985], len(log_z) - 1)
    return Interval(estimate, half_width * float(wide / usual))


def sandwich(forward: Interval, reverse: Interval | None) -> Interval:
    """Returns the mean of both directions, weighted by precision, and what spans both intervals.

    Arguments:
        forward: The estimate of the way there.
        reverse: That of the way back, if there is one.

    Example:
        >>> sandwich(Interval(0.0, 0.5), Interval(0.25, 0.5))
        Interval(estimate=0.125, half_width=0.625)
    """
    if reverse is None:
        return forward
    both = (forward, reverse)
    weights = [1 / max(interval.half_width, 1e-12) ** 2 for interval in both]
    pairs = zip(weights, both, strict=True)
    estimate = sum(weight * interval.estimate for weight, interval in pairs) / sum(weights)
    reach = [abs(interval.estimate - estimate) + interval.half_width for interval in both]
    return Interval(estimate, max(reach))


def distrust(forward: Walked, reverse: Walked | None, tolerance: float) -> str:
    """Returns why an estimate that was made is not given, or nothing.

    Arguments:
        forward: What the way there says.
        reverse: What the way back says, if there were samples for it.
        tolerance: The half-width in nats beyond which an estimate is refused.
    """
    if forward.share < LEAST_SHARE:
        return (
            f"weights collapsed on the way: the effective sample size of a replicate fell to "
            f"{forward.share:.2%} of its walkers, where the pilot's did not; take more walkers, or "
            "Pilot(conditional_ess=...) closer to 1"
        )
    if not forward.interval.half_width <= tolerance:
        return (
            f"the replicates disagree: the interval is ± {forward.interval.half_width:.2g} nats "
            f"wide, the tolerance {tolerance:g}; take more walkers, or Pilot(conditional_ess=...) "
            "closer to 1, or a reference nearer to the density"
        )
    if reverse is None:
        return ""
    if not reverse.interval.half_width <= tolerance:
        return (
            "the way back from the samples does not confirm it: the replicates of the way back "
            f"disagree by ± {reverse.interval.half_width:.2g} nats, the tolerance is "
            f"{tolerance:g}; samples may lie where the reference does not reach, or are too few"
        )
    apart = abs(forward.interval.estimate - reverse.interval.estimate)
    chance = 2 * math.hypot(forward.interval.half_width, reverse.interval.half_width)
    if not apart <= chance:
        return (
            f"forward and reverse contradict each other: they are {apart:.2g} nats apart, where "
            f"{chance:.2g} could be chance; the samples are not of this density, or a part of it "
            "lies where no walker from the reference gets to: give more varied samples as `like`, "
            "take more walkers, or Pilot(conditional_ess=...) closer to 1 (for "
            "`boltzwalk evaluate`: more --steps and --walkers)"
        )
    return ""
