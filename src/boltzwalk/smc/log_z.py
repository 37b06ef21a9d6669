r"""log Z of any energy, with an interval that one can trust, or the reason why there is none.

A pilot population finds a path from a reference with known :math:`\log Z_0` to the energy
(:mod:`boltzwalk.smc.pilot`). Independent replicates then follow it as it is
(:mod:`boltzwalk.smc.annealing`): each gives an unbiased estimate of :math:`Z`, and their spread the
interval (:mod:`boltzwalk.smc.intervals`). With samples of the density the same path is walked
back, which gives an unbiased estimate of :math:`1 / Z` that errs on the other side.

An estimate is refused, with the reason and what to do, where

* Z does not exist, as far as rays and walkers tell (:mod:`boltzwalk.smc.intervals`),
* an energy is nan or minus infinity,
* the path does not reach its end, or weights collapse on it though they did not for the pilot,
* the interval is wider than the tolerance,
* forward and reverse contradict each other.

Not guaranteed: what no walker found. Forward replicates all start from the same reference; a mode
that lies outside of it, or a region too narrow for their steps, is missing from all of them alike
and from the interval. Samples for the reverse are the one check that sees it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.analytic import Gaussian
from ..energy import Energy, refuse_coupled_layers, require_event_shape
from ..walkers import log_mean_weight
from .annealing import Path, Schedule, anneal
from .coordinates import PulledBack, Transport, fit_affine
from .intervals import (
    DOUBLINGS,
    Interval,
    Walked,
    distrust,
    drift,
    sandwich,
    unbounded_rays,
    widened,
)
from .pilot import Explored, Pilot

__all__ = ["Annealing", "LogZ", "Reference", "estimate_log_z"]

RAYS = 32
"""Rays through samples, and as many through noise and through the pilot's last walkers."""


@runtime_checkable
class Reference(Protocol):
    r"""An energy :math:`U_0` with exact samples and a known log Z; nothing inherits from it."""

    @property
    def log_z(self) -> float:
        r""":math:`\log Z_0`."""

    def __call__(self, x: Tensor, /) -> Tensor:
        r"""Returns :math:`U_0(x)`, shape (N,), for x of shape (N, \*event)."""

    def sample(self, n: int, rng: torch.Generator, /) -> Tensor:
        r"""Draws n samples, shape (n, \*event)."""


@dataclass(frozen=True)
class LogZ:
    r"""log Z with its 95 % interval, or the reason why there is none.

    It prints as ``estimate ± half_width``, or as the reason.

    Attributes:
        estimate: :math:`\log \hat Z`; nan where refused.
        half_width: Half of the width of the interval; nan where refused.
        refusal: Why the number cannot be trusted, and what to do; empty where it can.
        replicates: What each replicate says, refused or not. For a look at what went wrong.
        share: The smallest effective sample size of a replicate on the way, as a share of it.
        stages: The number of stages of the path.
        evaluations: How often the energy of a walker was taken, with or without its gradient.
        reverse: The estimate and interval of the way back, where there were samples for it.
    """

    estimate: float
    half_width: float
    refusal: str
    replicates: tuple[float, ...] = ()
    share: float = math.nan
    stages: int = 0
    evaluations: int = 0
    reverse: Interval | None = None

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.estimate - self.half_width

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.estimate + self.half_width

    def __str__(self) -> str:
        if self.refusal:
            return f"no log Z: {self.refusal}"
        return f"{self.estimate:.3f} ± {self.half_width:.3f}"


@dataclass(frozen=True)
class Annealing:
    """How much is spent on an estimate, and what is good enough.

    Arguments:
        walkers: The number of walkers of the pilot and of every replicate, two or more.
        replicates: The number of independent replicates, two or more.
        pilot: How the path is found; ``Pilot(threshold=None)`` for annealed importance sampling.
        tolerance: The half-width in nats beyond which an estimate is refused.
        batch: How many walkers are evaluated at once; as many as suit the device by default.

    Raises:
        ValueError: If a number is outside its range.

    Example:
        >>> Annealing(walkers=256).replicates
        8
    """

    walkers: int = 512
    replicates: int = 8
    pilot: Pilot = field(default_factory=Pilot)
    tolerance: float = 1.0
    batch: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("walkers", 2), ("replicates", 2)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be >= {least}, got {getattr(self, name)}; "
                    f"{getattr(Annealing, name)} is usual"
                )
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be >= 1, got {self.batch}; None suits the device")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be > 0 nats, got {self.tolerance}; 1.0 is usual")


def estimate_log_z(
    energy: Energy,
    like: Float[Tensor, "M *event"],
    rng: torch.Generator,
    settings: Annealing | None = None,
    *,
    reference: Reference | None = None,
    transport: Transport | None = None,
    samples: Float[Tensor, "S ..."] | None = None,
) -> LogZ:
    r"""Estimates :math:`\log Z = \log \int e^{-U(x)} dx`, or says why it cannot.

    At a temperature T, pass ``Tempered(energy, T)``.

    Arguments:
        energy: The energy :math:`U`.
        like: Samples that look like the density, shape (M, \*event): data, walkers of a run. The
            reference is a Gaussian fitted to them. They need not be exact, but should cover it.
        rng: The source of the noise.
        settings: How much is spent.
        reference: An energy with known log Z and exact samples, from which to start instead.
        transport: Coordinates in which the reference is N(0, I), instead of the fitted Gaussian.
        samples: Exact samples of the density, or a long chain of its states in order, shape
            (S, \*event), for the way back: the check that sees what no forward walker found.
            Others than `like`: a reference looks too good to those that it was fitted to.

    Raises:
        ValueError: If there are too few samples, shapes disagree, both a reference and a transport
            are given, or the energy has layers that couple walkers.

    References:
        | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
        | Sandwiching the marginal likelihood using bidirectional Monte Carlo (Grosse, Ghahramani
          and Adams, 2015)

    Example:
        >>> from boltzwalk.energies.analytic import GaussianMixture
        >>> rng, target = torch.Generator().manual_seed(0), GaussianMixture.ring()
        >>> like, samples = target.sample(500, rng), target.sample(500, rng)
        >>> result = estimate_log_z(target, like, rng, Annealing(walkers=64), samples=samples)
        >>> abs(result.estimate - target.log_z) < 0.1, result.refusal
        (True, '')
    """
    settings = Annealing() if settings is None else settings
    refuse_coupled_layers(energy)
    if reference is not None and transport is not None:
        raise ValueError(
            "a path starts from one reference, got a reference and a transport; leave out the "
            "reference to start from N(0, I) in the coordinates of the transport"
        )
    if samples is not None:
        require_event_shape(samples, tuple(like.shape[1:]))
        if len(samples) < 2 * settings.replicates:
            raise ValueError(
                f"the way back needs 2 samples for each of the {settings.replicates} replicates, "
                f"got {len(samples)}; leave out samples to do without"
            )
    ways = _ways(energy, like, reference, transport, settings.batch)
    try:
        return _estimate(ways, samples, settings, rng)
    except FloatingPointError as error:
        return _refused(str(error))


@dataclass(frozen=True, eq=False)
class _Ways:
    """The path, where it starts, and the coordinates in which it is walked."""

    path: Path
    reference: Reference
    transport: Transport | None
    like: Float[Tensor, "M *coordinates"]

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *coordinates"]:
        """Samples of the start."""
        return self.reference.sample(n, rng).to(self.like)

    def inside(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, "N *coordinates"]:
        """Positions in the coordinates of the path."""
        return x if self.transport is None else self.transport.to_z(x)


def _ways(
    energy: Energy,
    like: Tensor,
    reference: Reference | None,
    transport: Transport | None,
    batch: int | None,
) -> _Ways:
    """From a reference where it is, or from N(0, I) in coordinates fitted to samples."""
    if reference is not None:
        return _Ways(Path(reference, energy, batch), reference, None, like)
    transport = fit_affine(like) if transport is None else transport
    z = transport.to_z(like)
    normal = Gaussian(z.shape[1])
    return _Ways(Path(normal, PulledBack(energy, transport), batch), normal, transport, z)


def _estimate(
    ways: _Ways, samples: Tensor | None, settings: Annealing, rng: torch.Generator
) -> LogZ:
    """Looks before, explores, looks after, walks there and, with samples, back."""
    refusal, evaluations = _before(ways, rng)
    if refusal:
        return _refused(refusal, evaluations=evaluations)
    n, replicates = settings.walkers, settings.replicates
    explored = settings.pilot.explore(ways.path, ways.draw(n, rng), rng)
    schedule = explored.schedule
    refusal, spent = _after(ways, explored, rng)
    evaluations += explored.evaluations + spent
    if refusal:
        return _refused(refusal, stages=len(schedule.stages) - 1, evaluations=evaluations)
    forward = _walk(ways, ways.draw(n * replicates, rng), schedule, settings, rng)
    evaluations += forward.evaluations
    reverse = None
    if samples is not None:
        count = min(len(samples) // replicates, n) * replicates
        x = ways.inside(_some(samples, count))
        reverse = _walk(ways, x, schedule.reversed(), settings, rng)
        evaluations += reverse.evaluations
    back = None if reverse is None else reverse.interval
    refusal = distrust(forward, reverse, settings.tolerance)
    estimate, half_width = sandwich(forward.interval, back)
    return LogZ(
        estimate=math.nan if refusal else estimate,
        half_width=math.nan if refusal else half_width,
        refusal=refusal,
        replicates=forward.replicates,
        share=forward.share,
        stages=len(schedule.stages) - 1,
        evaluations=evaluations,
        reverse=back,
    )


def _before(ways: _Ways, rng: torch.Generator) -> tuple[str, int]:
    """Why there can be no log Z, from rays through the samples and the reference."""
    x = torch.cat([_some(ways.like, RAYS), ways.draw(RAYS, rng)])
    ways.path.ends(x)
    return unbounded_rays(ways.path.end, x), len(x) * (2 + DOUBLINGS)


def _after(ways: _Ways, explored: Explored, rng: torch.Generator) -> tuple[str, int]:
    """Why there can be no log Z, from where the pilot's walkers are and go."""
    x = _some(explored.walkers.x, RAYS)
    refusal = unbounded_rays(ways.path.end, x)
    last = explored.schedule.stages[-1]
    leaving, evaluations = drift(ways.path, explored.walkers, last, rng)
    return refusal or leaving, evaluations + len(x) * (1 + DOUBLINGS)


def _walk(
    ways: _Ways, x: Tensor, schedule: Schedule, settings: Annealing, rng: torch.Generator
) -> Walked:
    """Carries replicates along the schedule, in either direction."""
    threshold = settings.pilot.threshold
    annealed = anneal(ways.path, x, schedule, rng, settings.replicates, threshold)
    blocks = annealed.walkers.log_w.reshape(settings.replicates, -1)
    sign = 1 if schedule.stages[0].beta == 0 else -1
    ratio = log_mean_weight(blocks)
    estimate, half_width = widened(ratio)
    return Walked(
        Interval(ways.reference.log_z + sign * estimate, half_width),
        tuple((ways.reference.log_z + sign * ratio).tolist()),
        annealed.share,
        annealed.evaluations,
    )


def _refused(reason: str, stages: int = 0, evaluations: int = 0) -> LogZ:
    return LogZ(math.nan, math.nan, reason, stages=stages, evaluations=evaluations)


def _some(x: Float[Tensor, "N *event"], n: int) -> Float[Tensor, "M *event"]:
    """At most n rows, evenly spaced and in order."""
    if len(x) <= n:
        return x
    return x[torch.linspace(0, len(x) - 1, n, device=x.device).round().long()]
