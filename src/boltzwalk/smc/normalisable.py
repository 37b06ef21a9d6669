r"""Whether :math:`Z = \int e^{-U(x)} dx` exists, as far as a few rays can tell.

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

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.energy import Energy
from ..walkers import Walkers
from .path import Path, Stage

__all__ = ["DOUBLINGS", "drift", "unbounded_rays"]

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
