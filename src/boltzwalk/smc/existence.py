r"""Existence of Z: reasons to believe that an energy has none.

**Rays.** :math:`Z = \int e^{-U(x)} dx` is finite only if in every direction v from a
centre m the integral :math:`\int^\infty \lambda^{d-1} e^{-U(m + \lambda v)} d\lambda` is. A ray
shows that it is not where, far out, the energy has not outgrown the volume and is not about to,

.. math:: U(m + \lambda v) - U_\text{typical} < d \log \lambda
    \quad \text{and} \quad U(m + 2 \lambda v) - U(m + \lambda v) < d \log 2 .

This detects energies that decrease for ever, such as networks with piecewise linear activations,
and bounded energies. (Both conditions are needed because an energy may decrease for a while where
it is high already.) Walkers are a second test: without a density to converge to, they move outwards
for ever while their energy decreases.

Along one axis alone the integral over a tube of constant width must exist as well, for which U has
to gain more than log 2 when the distance doubles.

**Walkers.** In a flat direction that is no axis no ray is flat. There, walkers at the end of an
annealing spread without an end (:func:`escape_reason`), or have spread as far as the path let them
(:func:`outside_reason`).

Not guaranteed: that Z exists where nothing shows the opposite. A cone between the rays may hold all
of the mass, a network may change its slope beyond the last λ, and a bounded energy whose well is
deeper than d log 1024 passes: its log Z is then that of the well.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..energy import Energy
from ..walkers import Walkers
from .annealing import AnnealingStage, EnergyPath

__all__ = ["DOUBLINGS", "escape_reason", "outside_reason", "unbounded_rays"]

DOUBLINGS = 10
"""The number of doublings of the distance: up to 1024 times the spread of the walkers."""

MOST_AXES = 64
"""The largest number of coordinates whose axes are tested: each costs as much as two walkers."""

SLACK = 1.0
"""Nats that the mean of the points, which is not the centre of the density, may add on one side."""

SPREADING = 4.0
"""The factor of the median square distance of walkers from which they spread without an end."""

OUTSIDE = 5.0
"""The distance of walkers, as a multiple of that of the samples, from which they are refused."""

ROUNDS = 8
"""The number of repetitions of the last stage, to detect walkers that escape."""

CONFINE = (
    "add a term that confines it, such as GaussianReference(energy, scale), or train with "
    "energy.reference_scale"
)


@torch.no_grad()
def unbounded_rays(energy: Energy, x: Float[Tensor, "N *event"]) -> str:
    r"""Returns the reason why Z cannot exist, or "" where no ray gives one.

    The energy is evaluated at :math:`m + \lambda s v` for λ = 1, 2, 4, ..., 1024, with the mean m
    of the points and their standard deviations s, for the directions v of

    * every point, :math:`|v| = \sqrt d`: the energy must outgrow the volume, d log λ;
    * every coordinate, both ways, where there are no more than 64: the energy must outgrow the
      length of a tube along the axis, log λ, as a flat direction does not.

    These are 11 evaluations for each point and 22 for each coordinate. The last doubling with
    finite energies counts on every ray; where the energies are plus infinity the density is zero.

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
    d, shape = x[0].numel(), x.shape[1:]
    rows = x.flatten(1).double()
    centre, spread = rows.mean(0), rows.std(0, correction=0)
    # Distances in units of the spread: a ray through a point near the mean is as long as another.
    typical = spread.square().mean().sqrt()
    if not 0 < float(typical) < math.inf:
        return ""
    spread = torch.where(spread > 0, spread, typical)
    offset = (rows - centre) / spread
    radius = torch.linalg.vector_norm(offset, dim=1, keepdim=True)
    to_points = offset[radius[:, 0] > 0] / radius[radius[:, 0] > 0] * math.sqrt(d)
    axes = torch.eye(d, dtype=rows.dtype, device=rows.device) if d <= MOST_AXES else offset[:0]
    directions = torch.cat([to_points, axes, -axes])
    points = (
        (centre + 2.0**k * spread * directions).to(x).reshape(-1, *shape)
        for k in range(DOUBLINGS + 1)
    )
    u = torch.stack([energy(point).double() for point in points])
    dimensions = torch.ones(len(directions), dtype=u.dtype, device=u.device)
    dimensions[: len(to_points)] = d
    fails = _fails(u, dimensions * math.log(2), u[0, : len(to_points)])
    points_fail, axes_fail = (int(part.sum()) for part in fails.tensor_split([len(to_points)]))
    far = f"out to {2**DOUBLINGS} times the spread of the walkers"
    if points_fail:
        return (
            f"Z does not exist: along {points_fail} of {len(x)} rays the energy does not outgrow "
            f"the volume, {far} (when the distance doubles it must gain more than d log 2 = "
            f"{d * math.log(2):.3g}); {CONFINE}"
        )
    if axes_fail:
        which = int(fails[len(to_points) :].nonzero()[0]) % d
        return (
            f"Z does not exist: along {axes_fail} of {2 * d} axes, the first of entry {which}, the "
            f"energy does not grow, {far} (when the distance doubles it must gain more than log 2)"
            f"; {CONFINE}"
        )
    return ""


def _fails(
    u: Float[Tensor, "K R"], volume: Float[Tensor, " R"], near: Float[Tensor, " N"]
) -> Bool[Tensor, " R"]:
    """Returns on which rays the energies at doubled distances grow less than the volume.

    `near` has the energies at the typical distance of walkers.
    """
    growth = u.diff(dim=0)
    growth[u[:-1] == -math.inf] = -math.inf
    known = ~growth.isnan()
    steps = torch.arange(1, len(u), device=u.device)[:, None]
    last = (known * steps).argmax(0)[None]
    last_growth = torch.where(known.any(0), growth.gather(0, last)[0], math.inf) - volume
    near = near[near < math.inf].sort().values
    if not len(near):
        return torch.zeros_like(volume, dtype=torch.bool)
    total_growth = u[1:].gather(0, last)[0] - near[len(near) // 4] - volume * (last[0] + 1)
    return (last_growth < 0) & (total_growth < SLACK)


def escape_reason(
    path: EnergyPath, walkers: Walkers, stage: AnnealingStage, rng: torch.Generator
) -> str:
    r"""Returns the reason why walkers escape to infinity, or "".

    Walkers at the end of an annealing repeat the steps of its last stage. If they have converged,
    their mean energy and distance stay the same. The walkers escape if the energy falls while the
    distance grows, both by more than five standard errors, or if their median square distance is
    multiplied by four or more, as along a flat direction.

    Arguments:
        path: The path.
        walkers: The weighted walkers, evaluated at the stage.
        stage: The last stage.
        rng: The random generator.
    """
    moved = walkers
    for _ in range(ROUNDS):
        moved, _ = path.move(moved, stage, rng)
    shares = torch.softmax(walkers.log_w, 0)
    change = torch.stack([moved.energy - walkers.energy, _square(moved.x) - _square(walkers.x)])
    change = torch.where(shares > 0, change.double(), 0.0)  # walkers of weight 0 have no energy
    mean = change @ shares
    error = ((change - mean[:, None]).square() @ shares.square()).sqrt()
    energy_falls, distance_grows = bool(mean[0] < -5 * error[0]), bool(mean[1] > 5 * error[1])
    far, farther = (_median(_square(w.x), shares) for w in (walkers, moved))
    spreading = distance_grows and farther > SPREADING * far
    if not (energy_falls and distance_grows) and not spreading:
        return ""
    before = float(_square(walkers.x).double() @ shares)
    return (
        f"walkers have not converged: in {ROUNDS * len(stage.step_sizes)} more steps their energy "
        f"changed by {float(mean[0]):.3g} and their mean square distance grew from {before:.3g} to "
        f"{before + float(mean[1]):.3g}, in units of the reference; the density lies elsewhere, or "
        f"Z does not exist: give samples that look like it, or {CONFINE}"
    )


def outside_reason(walkers: Walkers, like: Float[Tensor, "M *event"]) -> str:
    """Returns the reason why walkers are far outside of the samples they should look like, or "".

    Along a flat direction walkers spread as far as the path lets them. So a half of the weight must
    lie within five times the distance of nine tenths of the samples, in units of their spread.

    Arguments:
        walkers: The weighted walkers at the end of an annealing.
        like: The approximate samples of the density, in the same coordinates.
    """
    rows = like.flatten(1).double()
    centre, spread = rows.mean(0), rows.std(0, correction=0)
    inside = spread > 0

    def distance(x: Tensor) -> Tensor:
        return _square(((x.flatten(1).double() - centre) / spread)[:, inside])

    shares = torch.softmax(walkers.log_w.double(), 0)
    typical = float(distance(like).quantile(0.9))
    here = _median(distance(walkers.x), shares)
    if not typical > 0 or here <= OUTSIDE**2 * typical:
        return ""
    return (
        f"half of the walkers end {math.sqrt(here / typical):.3g} times as far out as nine tenths "
        "of the samples in `like`: the density lies elsewhere, or Z does not exist: give samples "
        f"that look like it, or {CONFINE}"
    )


def _median(values: Float[Tensor, " N"], shares: Float[Tensor, " N"]) -> float:
    """The weighted median."""
    distance, order = values.double().sort()
    below = shares[order].cumsum(0) < 0.5 * shares.sum()
    return float(distance[min(int(below.sum()), len(distance) - 1)])


def _square(x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    return x.flatten(1).square().sum(1)
