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

One number from independent replicates, with its interval.

Every replicate r gives an unbiased estimate :math:`\hat Z_r` of Z. Their mean is unbiased too, and

.. math:: \log \hat Z = \log \frac1R \sum_r \hat Z_r , \qquad
    s^2 = \frac{1}{R (R - 1)} \sum_r \Big(\frac{\hat Z_r}{\hat Z} - 1\Big)^2 ,

where s is the standard error of :math:`\log \hat Z` to first order. It never exceeds 1, however
far apart the replicates are, so the standard error of the mean of the :math:`\log \hat Z_r` is
taken where it is larger. The interval is :math:`\log \hat Z \pm t_{R-1} s`, with Student's t at
95 %.

Not guaranteed: coverage where the replicates differ by more than about a nat. The largest then
decides alone, and what none of them has found is not in the interval.

Whether :math:`Z = \int e^{-U(x)} dx` exists, as far as a few rays can tell.

In every direction v from a centre m the integral
:math:`\int^\infty \lambda^{d-1} e^{-U(m + \lambda v)} d\lambda` must be finite. A ray says that it
is not where, far out, the energy has not outgrown the volume and is not about to,

.. math:: U(m + \lambda v) - U_\text{typical} < d \log \lambda
    \quad \text{and} \quad U(m + 2 \lambda v) - U(m + \lambda v) < d \log 2 .

This finds energies that fall for ever, such as networks with piecewise linear activations, and
energies that stay bounded. (Both are asked for because an energy may fall for a while where it is
high already.) Walkers tell as well: where there is no density to reach, they move outwards for ever
while their energy falls.

Not guaranteed: that Z exists where nothing was found. A cone that no ray meets may hold all of the
mass, a network may turn beyond the last λ, and a bounded energy whose well is deeper than
d log 1024 passes: its log Z is then that of the well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from ..energy import Energy
from ..walkers import Walkers
from .annealing import Path, Stage

__all__ = [
    "DOUBLINGS",
    "Interval",
    "Walked",
    "combine",
    "distrust",
    "drift",
    "sandwich",
    "unbounded_rays",
    "widened",
]


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


class Interval(NamedTuple):
    """An estimate and its 95 % interval, estimate ± half_width."""

    estimate: float
    half_width: float


def combine(log_z: Float[Tensor, " R"]) -> Interval:
    """Returns the logarithm of the mean of R independent unbiased estimates, with its interval.

    Arguments:
        log_z: The logarithms of the estimates, shape (R,), R two or more.

    Raises:
        ValueError: If there is one replicate only, from which no error can be told.

    Example:
        >>> combine(torch.tensor([1.0, 1.1, 0.9, 1.0]))
        Interval(estimate=1.002..., half_width=0.12...)
    """
    r = len(log_z)
    if r < 2:
        raise ValueError(f"an interval needs 2 replicates or more, got {r}; 8 are usual")
    log_z = log_z.cpu().double()
    estimate = torch.logsumexp(log_z, 0) - math.log(r)
    first_order = float((torch.exp(log_z - estimate) - 1).square().sum() / (r * (r - 1))) ** 0.5
    error = max(first_order, float(log_z.std()) / math.sqrt(r))
    return Interval(float(estimate), float(stats.t.ppf(0.975, r - 1)) * error)


DOUBLINGS = 10
"""How often the distance is doubled: to 1024 times that of a walker."""

ROUNDS = 8
"""How often the steps of the last stage are repeated to see whether walkers drift."""

CURE = (
    "add a term that confines it, such as GaussianReference(energy, scale), or train with "
    "energy.reference_scale"
)


@torch.no_grad()
def unbounded_rays(energy: Energy, x: Float[Tensor, "N *event"]) -> str:
    r"""Returns why Z cannot exist, or nothing where no ray says so.

    The energy is taken at :math:`m + \lambda (x - m)` for λ = 1, 2, 4, ..., 1024, with the mean m
    of the points: N times 11 evaluations. Of every ray the last doubling counts whose energies are
    numbers; where they are plus infinity the density is zero.

    Arguments:
        energy: The energy :math:`U`.
        x: The points through which the rays go, shape (N, \*event): where walkers are.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> unbounded_rays(lambda x: x.square().sum(1) / 2, x)
        ''
        >>> unbounded_rays(lambda x: x.sum(1), x)  # doctest: +ELLIPSIS
        'Z does not exist: along 1 of 2 rays the energy does not outgrow the volume, ...'
    """
    d = x[0].numel()
    centre = x.mean(0)
    rays = x - centre
    u = torch.stack([energy(centre + 2.0**k * rays).double() for k in range(DOUBLINGS + 1)])
    growth = u.diff(dim=0)
    growth[u[:-1] == -math.inf] = -math.inf
    known = ~growth.isnan() & (rays.flatten(1) != 0).any(1)
    last = (known * torch.arange(1, DOUBLINGS + 1, device=x.device)[:, None]).argmax(0)[None]
    slope = torch.where(known.any(0), growth.gather(0, last)[0], math.inf) - d * math.log(2)
    typical = u[0].sort().values[len(x) // 4]
    total = u[1:].gather(0, last)[0] - typical - d * math.log(2) * (last[0] + 1)
    short = int(((slope < 0) & (total < 0)).sum()) if typical < math.inf else 0
    if not short:
        return ""
    return (
        f"Z does not exist: along {short} of {len(x)} rays the energy does not outgrow the volume, "
        f"out to {2**DOUBLINGS} times the distance of a walker (when the distance doubles it must "
        f"gain more than d log 2 = {d * math.log(2):.3g}); {CURE}"
    )


def drift(path: Path, walkers: Walkers, stage: Stage, rng: torch.Generator) -> tuple[str, int]:
    r"""Returns whether walkers leave for infinity, and how many evaluations that took to see.

    Walkers at the end of an annealing make the steps of its last stage a few times more. If they
    have arrived, their energy and their distance stay what they are on average; if their energy
    falls while their distance grows, both by more than five standard errors, they are leaving.

    Arguments:
        path: The energies.
        walkers: The walkers, weighted, evaluated at the stage.
        stage: The last stage.
        rng: The source of the noise.
    """
    moved = walkers
    for _ in range(ROUNDS):
        moved, _ = path.move(moved, stage, rng)
    evaluations = ROUNDS * stage.gradients * len(walkers)
    shares = torch.softmax(walkers.log_w, 0)
    change = torch.stack([moved.energy - walkers.energy, _square(moved.x) - _square(walkers.x)])
    change = torch.where(shares > 0, change.double(), 0.0)  # the dead have no energy
    mean = change @ shares
    error = ((change - mean[:, None]).square() @ shares.square()).sqrt()
    falls, leaves = bool(mean[0] < -5 * error[0]), bool(mean[1] > 5 * error[1])
    if not (falls and leaves):
        return "", evaluations
    before = float(_square(walkers.x).double() @ shares)
    return (
        f"walkers have not arrived: in {ROUNDS * len(stage.step_sizes)} more steps their energy "
        f"fell by {-float(mean[0]):.3g} and their mean square distance grew from {before:.3g} to "
        f"{before + float(mean[1]):.3g}, in units of the reference; the density lies elsewhere, or "
        f"Z does not exist: give samples that look like it, or {CURE}"
    ), evaluations


def _square(x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    return x.flatten(1).square().sum(1)
