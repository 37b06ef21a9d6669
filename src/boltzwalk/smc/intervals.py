r"""Intervals of log Z, and the reasons for which an estimate is refused.

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

**Existence of Z.** :math:`Z = \int e^{-U(x)} dx` is finite only if in every direction v from a
centre m the integral :math:`\int^\infty \lambda^{d-1} e^{-U(m + \lambda v)} d\lambda` is. A ray
shows that it is not where, far out, the energy has not outgrown the volume and is not about to,

.. math:: U(m + \lambda v) - U_\text{typical} < d \log \lambda
    \quad \text{and} \quad U(m + 2 \lambda v) - U(m + \lambda v) < d \log 2 .

This detects energies that decrease for ever, such as networks with piecewise linear activations,
and bounded energies. (Both conditions are needed because an energy may decrease for a while where
it is high already.) Walkers are a second test: without a density to converge to, they move outwards
for ever while their energy decreases.

Not guaranteed:

* coverage where replicates differ by a nat or more, since the largest then decides alone, or where
  a part of the density was visited by none of them;
* that Z exists where no ray shows the opposite. A cone between the rays may hold all of the mass, a
  network may change its slope beyond the last λ, and a bounded energy whose well is deeper than
  d log 1024 passes: its log Z is then that of the well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from ..energy import Energy
from ..walkers import Walkers
from .annealing import AnnealingStage, EnergyPath

__all__ = [
    "DOUBLINGS",
    "DirectionResult",
    "Interval",
    "combine_directions",
    "combine_replicates",
    "escape_reason",
    "refusal_reason",
    "student_t_interval",
    "unbounded_rays",
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
        evaluations: The number of evaluations of the energy of a walker.
    """

    interval: Interval
    replicates: tuple[float, ...]
    share: float
    evaluations: int


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


DOUBLINGS = 10
"""The number of doublings of the distance: up to 1024 times that of a walker."""

ROUNDS = 8
"""The number of repetitions of the last stage, to detect walkers that escape."""

CONFINE = (
    "add a term that confines it, such as GaussianReference(energy, scale), or train with "
    "energy.reference_scale"
)


@torch.no_grad()
def unbounded_rays(energy: Energy, x: Float[Tensor, "N *event"]) -> str:
    r"""Returns the reason why Z cannot exist, or "" where no ray gives one.

    The energy is evaluated at :math:`m + \lambda (x - m)` for λ = 1, 2, 4, ..., 1024, with the mean
    m of the points: 11 N evaluations. The last doubling with finite energies counts on every ray;
    where the energies are plus infinity the density is zero.

    Arguments:
        energy: The energy :math:`U`.
        x: One point on each ray, shape (N, \*event): the positions of walkers.

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
    last_growth = torch.where(known.any(0), growth.gather(0, last)[0], math.inf) - d * math.log(2)
    typical = u[0].sort().values[len(x) // 4]
    total_growth = u[1:].gather(0, last)[0] - typical - d * math.log(2) * (last[0] + 1)
    failing = int(((last_growth < 0) & (total_growth < 0)).sum()) if typical < math.inf else 0
    if not failing:
        return ""
    return (
        f"Z does not exist: along {failing} of {len(x)} rays the energy does not outgrow the "
        f"volume, out to {2**DOUBLINGS} times the distance of a walker (when the distance doubles "
        f"it must gain more than d log 2 = {d * math.log(2):.3g}); {CONFINE}"
    )


def escape_reason(
    path: EnergyPath, walkers: Walkers, stage: AnnealingStage, rng: torch.Generator
) -> tuple[str, int]:
    r"""Returns the reason why walkers escape to infinity or "", and the number of evaluations.

    Walkers at the end of an annealing repeat the steps of its last stage. If they have converged,
    their mean energy and distance stay the same; if the energy falls while the distance grows, both
    by more than five standard errors, the walkers escape.

    Arguments:
        path: The path.
        walkers: The weighted walkers, evaluated at the stage.
        stage: The last stage.
        rng: The random generator.
    """
    moved = walkers
    for _ in range(ROUNDS):
        moved, _ = path.move(moved, stage, rng)
    evaluations = ROUNDS * stage.gradients * len(walkers)
    shares = torch.softmax(walkers.log_w, 0)
    change = torch.stack([moved.energy - walkers.energy, _square(moved.x) - _square(walkers.x)])
    change = torch.where(shares > 0, change.double(), 0.0)  # walkers of weight 0 have no energy
    mean = change @ shares
    error = ((change - mean[:, None]).square() @ shares.square()).sqrt()
    energy_falls, distance_grows = bool(mean[0] < -5 * error[0]), bool(mean[1] > 5 * error[1])
    if not (energy_falls and distance_grows):
        return "", evaluations
    before = float(_square(walkers.x).double() @ shares)
    return (
        f"walkers have not converged: in {ROUNDS * len(stage.step_sizes)} more steps their energy "
        f"fell by {-float(mean[0]):.3g} and their mean square distance grew from {before:.3g} to "
        f"{before + float(mean[1]):.3g}, in units of the reference; the density lies elsewhere, or "
        f"Z does not exist: give samples that look like it, or {CONFINE}"
    ), evaluations


def _square(x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    return x.flatten(1).square().sum(1)
