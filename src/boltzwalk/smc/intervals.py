r"""Intervals of log Z, and the reasons for which an estimate with them is refused.

**One direction.** Every replicate r gives an unbiased estimate :math:`\hat Z_r` of Z. Their mean is
unbiased too, and

.. math:: \log \hat Z = \log \frac1R \sum_r \hat Z_r , \qquad
    s^2 = \frac{1}{R (R - 1)} \sum_r \Big(\frac{\hat Z_r}{\hat Z} - 1\Big)^2 ,

where s is the standard error of :math:`\log \hat Z` to first order. It never exceeds 1, so the
standard error of the mean of the :math:`\log \hat Z_r` is taken where that is larger. The interval
is :math:`\log \hat Z \pm t_{R-1} s`, with Student's t.

The estimates are skewed to the right: replicates are more often all too low than all too high, and
their spread is then too small as well. For log Z the interval therefore takes Student's t at 97 %,
1.15 times as wide for 8 replicates as at 95 %. On the targets of the tests it covers log Z in at
least 95 % of the runs, where Student's t at 95 % covers it in 87 to 95 %.

**Two directions.** With samples of the density there are two unbiased estimates, forward of Z and
reverse of 1/Z, which tend to err on opposite sides. Where they agree the estimate is their mean,
weighted by the precision, and the interval spans both.

Not guaranteed: coverage where replicates differ by a nat or more, since the largest then decides
alone, or where a part of the density was visited by none of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

__all__ = [
    "LEAST_SHARE",
    "DirectionResult",
    "Interval",
    "combine_directions",
    "combine_replicates",
    "refusal_reason",
    "student_t_interval",
]


class Interval(NamedTuple):
    """An estimate and its 95 % interval, estimate ± half_width."""

    estimate: float
    half_width: float


def combine_replicates(log_z: Float[Tensor, " R"]) -> Interval:
    """Returns the logarithm of the mean of R independent unbiased estimates, with its interval.

    Arguments:
        log_z: The logarithms of the estimates, shape (R,), R two or more.

    Raises:
        ValueError: If there is only one replicate, which determines no error.

    Example:
        >>> combine_replicates(torch.tensor([1.0, 1.1, 0.9, 1.0]))
        Interval(estimate=1.002..., half_width=0.12...)
    """
    r = len(log_z)
    if r < 2:
        raise ValueError(f"an interval needs 2 replicates or more, got {r}; 8 are usual")
    log_z = log_z.cpu().double()
    estimate = torch.logsumexp(log_z, 0) - math.log(r)
    first_order = float((torch.exp(log_z - estimate) - 1).square().sum() / (r * (r - 1))) ** 0.5
    error = max(first_order, float(log_z.std()) / math.sqrt(r))
    return Interval(float(estimate), float(stdtrit(r - 1, 0.975)) * error)


def student_t_interval(log_z: Float[Tensor, " R"]) -> Interval:
    """Returns the logarithm of the mean of R unbiased estimates, with Student's t at 97 %.

    Arguments:
        log_z: The logarithms of the estimates, shape (R,), R two or more.

    Example:
        >>> import torch
        >>> student_t_interval(torch.tensor([1.0, 1.1, 0.9, 1.0]))
        Interval(estimate=1.002..., half_width=0.15...)
    """
    estimate, half_width = combine_replicates(log_z)
    quantile_95, quantile_97 = stdtrit(len(log_z) - 1, [0.975, 0.985])
    return Interval(estimate, half_width * float(quantile_97 / quantile_95))


class DirectionResult(NamedTuple):
    """Estimate of log Z from the replicates of one direction.

    Attributes:
        interval: The estimate and its interval.
        replicates: The estimate of each replicate.
        share: The smallest effective sample size of a replicate at any stage, as a share of it.
    """

    interval: Interval
    replicates: tuple[float, ...]
    share: float


def combine_directions(forward: Interval, reverse: Interval | None) -> Interval:
    """Returns the mean of both directions, weighted by precision; the interval spans both.

    Arguments:
        forward: The forward estimate.
        reverse: The reverse estimate; None without.

    Example:
        >>> combine_directions(Interval(0.0, 0.5), Interval(0.25, 0.5))
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


LEAST_SHARE = 0.05
"""The smallest share of effective walkers of a replicate at which its weights are used."""


def refusal_reason(
    forward: DirectionResult, reverse: DirectionResult | None, tolerance: float
) -> str:
    """Returns the reason to refuse an estimate, or "" where there is none.

    Arguments:
        forward: The forward estimate.
        reverse: The reverse estimate; None without samples for it.
        tolerance: The half-width in nats above which an estimate is refused.
    """
    if forward.share < LEAST_SHARE:
        return (
            "weights collapsed along the path: the effective sample size of a replicate fell to "
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
            "the reverse estimate does not confirm it: the replicates of the reverse direction "
            f"disagree by ± {reverse.interval.half_width:.2g} nats, the tolerance is "
            f"{tolerance:g}; samples may lie where the reference does not reach, or are too few"
        )
    apart = abs(forward.interval.estimate - reverse.interval.estimate)
    chance = 2 * math.hypot(forward.interval.half_width, reverse.interval.half_width)
    if not apart <= chance:
        return (
            f"forward and reverse contradict each other: they are {apart:.2g} nats apart, where "
            f"{chance:.2g} could be chance; the samples are not of this density, or a part of it "
            "lies where no walker from the reference arrives: give more varied samples as `like`, "
            "take more walkers, or Pilot(conditional_ess=...) closer to 1 (for "
            "`boltzwalk evaluate`: more --steps and --walkers)"
        )
    return ""
