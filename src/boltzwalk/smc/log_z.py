r"""log Z of any energy, with a 95 % interval, or the reason for a refusal.

A pilot population determines a path from a reference with known :math:`\log Z_0` to the energy
(:mod:`boltzwalk.smc.pilot`). Independent replicates then follow the fixed path
(:mod:`boltzwalk.smc.annealing`): each gives an unbiased estimate of :math:`Z`, and their spread the
interval (:mod:`boltzwalk.smc.intervals`). With samples of the density the same path is followed in
reverse, which gives an unbiased estimate of :math:`1 / Z` that errs on the other side.

An estimate is refused, with the reason and a remedy, where

* rays or walkers show that Z does not exist (:mod:`boltzwalk.smc.intervals`),
* an energy is nan or minus infinity,
* the path does not reach its end, or weights collapse along it though they did not for the pilot,
* the interval is wider than the tolerance,
* forward and reverse contradict each other.

Not guaranteed: regions that no walker visits. Forward replicates all start from the same reference;
a mode outside of it, or a region too narrow for their steps, is missing from all of them and from
the interval. The reverse estimate is the one check that detects it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.analytic import Gaussian
from ..energy import Energy, ExactEnergy, require_event_shape, require_rowwise_energy
from ..walkers import log_mean_weight
from .annealing import AnnealingSchedule, EnergyPath, anneal
from .coordinates import Bijection, PulledBackEnergy, fit_affine
from .intervals import (
    DOUBLINGS,
    DirectionResult,
    Interval,
    combine_directions,
    escape_reason,
    refusal_reason,
    student_t_interval,
    unbounded_rays,
)
from .pilot import Pilot, PilotResult

__all__ = ["Annealing", "LogZ", "estimate_log_z"]

RAYS = 32
"""The number of rays through samples, through noise, and through the pilot's last walkers."""


@dataclass(frozen=True)
class LogZ:
    r"""log Z with its 95 % interval, or the reason for a refusal.

    It prints as ``estimate ± half_width``, or as the reason.

    Attributes:
        estimate: :math:`\log \hat Z`; nan where refused.
        half_width: Half of the width of the interval; nan where refused.
        refusal: The reason for a refusal and a remedy; empty where the estimate is given.
        replicates: The estimate of each replicate, also where refused, to diagnose the refusal.
        share: The smallest effective sample size of a replicate at any stage, as a share of it.
        stages: The number of stages of the path.
        evaluations: The number of evaluations of the energy of a walker, with or without gradient.
        reverse: The reverse estimate and its interval; None without samples for it.
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
    """Settings of an estimate of log Z: its budget and its tolerance.

    Arguments:
        walkers: The number of walkers of the pilot and of every replicate, two or more.
        replicates: The number of independent replicates, two or more.
        pilot: The pilot; ``Pilot(threshold=None)`` for annealed importance sampling.
        tolerance: The half-width in nats above which an estimate is refused.
        batch: The number of walkers evaluated at once; chosen for the device by default.

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
        for name, minimum in (("walkers", 2), ("replicates", 2)):
            if getattr(self, name) < minimum:
                raise ValueError(
                    f"{name} must be >= {minimum}, got {getattr(self, name)}; "
                    f"{getattr(Annealing, name)} is usual"
                )
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be >= 1, got {self.batch}; None chooses for the device")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be > 0 nats, got {self.tolerance}; 1.0 is usual")


def estimate_log_z(
    energy: Energy,
    like: Float[Tensor, "M *event"],
    rng: torch.Generator,
    settings: Annealing | None = None,
    *,
    reference: ExactEnergy | None = None,
    bijection: Bijection | None = None,
    samples: Float[Tensor, "S ..."] | None = None,
) -> LogZ:
    r"""Estimates :math:`\log Z = \log \int e^{-U(x)} dx`, or gives the reason for a refusal.

    At a temperature T, pass ``Tempered(energy, T)``.

    Arguments:
        energy: The energy :math:`U`.
        like: Approximate samples of the density, shape (M, \*event), such as data or the walkers
            of a run. They should cover the density. The reference is a Gaussian fitted to them.
        rng: The random generator.
        settings: The settings.
        reference: An energy with known log Z and exact samples, to start from instead.
        bijection: Coordinates in which the reference is N(0, I), instead of the fitted Gaussian.
        samples: Exact samples of the density, or a long chain of its states in order, shape
            (S, \*event), for the reverse estimate, which detects regions that no forward walker
            visited. They must differ from `like`: the reference was fitted to those.

    Raises:
        ValueError: If there are too few samples, shapes disagree, both a reference and a bijection
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
    require_rowwise_energy(energy)
    if reference is not None and bijection is not None:
        raise ValueError(
            "a path starts from one reference, got a reference and a bijection; leave out the "
            "reference to start from N(0, I) in the coordinates of the bijection"
        )
    if samples is not None:
        require_event_shape(samples, tuple(like.shape[1:]))
        if len(samples) < 2 * settings.replicates:
            raise ValueError(
                f"the reverse estimate needs 2 samples for each of the {settings.replicates} "
                f"replicates, got {len(samples)}; leave out samples to do without it"
            )
    setup = _make_setup(energy, like, reference, bijection, settings.batch)
    try:
        return _estimate(setup, samples, settings, rng)
    except FloatingPointError as error:
        return _refused(str(error))


@dataclass(frozen=True, eq=False)
class _Setup:
    """The path, its reference, and the coordinates of its walkers."""

    path: EnergyPath
    reference: ExactEnergy
    bijection: Bijection | None
    like: Float[Tensor, "M *coordinates"]

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *coordinates"]:
        """Draws exact samples of the reference."""
        return self.reference.sample(n, rng).to(self.like)

    def to_coordinates(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, "N *coordinates"]:
        """Maps positions to the coordinates of the path."""
        return x if self.bijection is None else self.bijection.to_z(x)


def _make_setup(
    energy: Energy,
    like: Tensor,
    reference: ExactEnergy | None,
    bijection: Bijection | None,
    batch: int | None,
) -> _Setup:
    """Starts at the reference, or at N(0, I) in coordinates fitted to samples."""
    if reference is not None:
        return _Setup(EnergyPath(reference, energy, batch), reference, None, like)
    bijection = fit_affine(like) if bijection is None else bijection
    z = bijection.to_z(like)
    normal = Gaussian(z.shape[1])
    return _Setup(
        EnergyPath(normal, PulledBackEnergy(energy, bijection), batch), normal, bijection, z
    )


def _estimate(
    setup: _Setup, samples: Tensor | None, settings: Annealing, rng: torch.Generator
) -> LogZ:
    """Checks that Z exists, runs the pilot, then the replicates in one or both directions."""
    refusal, evaluations = _refused_by_rays(setup, rng)
    if refusal:
        return _refused(refusal, evaluations=evaluations)
    n, replicates = settings.walkers, settings.replicates
    pilot = settings.pilot.find_schedule(setup.path, setup.sample(n, rng), rng)
    schedule = pilot.schedule
    refusal, spent = _refused_by_pilot(setup, pilot, rng)
    evaluations += pilot.evaluations + spent
    if refusal:
        return _refused(refusal, stages=len(schedule.stages) - 1, evaluations=evaluations)
    forward = _anneal_replicates(setup, setup.sample(n * replicates, rng), schedule, settings, rng)
    evaluations += forward.evaluations
    reverse = None
    if samples is not None:
        count = min(len(samples) // replicates, n) * replicates
        x = setup.to_coordinates(_thin(samples, count))
        reverse = _anneal_replicates(setup, x, schedule.reversed(), settings, rng)
        evaluations += reverse.evaluations
    reverse_interval = None if reverse is None else reverse.interval
    refusal = refusal_reason(forward, reverse, settings.tolerance)
    estimate, half_width = combine_directions(forward.interval, reverse_interval)
    return LogZ(
        estimate=math.nan if refusal else estimate,
        half_width=math.nan if refusal else half_width,
        refusal=refusal,
        replicates=forward.replicates,
        share=forward.share,
        stages=len(schedule.stages) - 1,
        evaluations=evaluations,
        reverse=reverse_interval,
    )


def _refused_by_rays(setup: _Setup, rng: torch.Generator) -> tuple[str, int]:
    """The reason why Z does not exist, from rays through the samples and the reference."""
    x = torch.cat([_thin(setup.like, RAYS), setup.sample(RAYS, rng)])
    setup.path.energies_at(x)
    return unbounded_rays(setup.path.end, x), len(x) * (2 + DOUBLINGS)


def _refused_by_pilot(setup: _Setup, pilot: PilotResult, rng: torch.Generator) -> tuple[str, int]:
    """The reason why Z does not exist, from the final walkers of the pilot."""
    x = _thin(pilot.walkers.x, RAYS)
    refusal = unbounded_rays(setup.path.end, x)
    last = pilot.schedule.stages[-1]
    escape, evaluations = escape_reason(setup.path, pilot.walkers, last, rng)
    return refusal or escape, evaluations + len(x) * (1 + DOUBLINGS)


def _anneal_replicates(
    setup: _Setup, x: Tensor, schedule: AnnealingSchedule, settings: Annealing, rng: torch.Generator
) -> DirectionResult:
    """Anneals replicates along the schedule, in either direction."""
    threshold = settings.pilot.threshold
    annealed = anneal(setup.path, x, schedule, rng, settings.replicates, threshold)
    blocks = annealed.walkers.log_w.reshape(settings.replicates, -1)
    sign = 1 if schedule.stages[0].beta == 0 else -1
    ratio = log_mean_weight(blocks)
    estimate, half_width = student_t_interval(ratio)
    return DirectionResult(
        Interval(setup.reference.log_z + sign * estimate, half_width),
        tuple((setup.reference.log_z + sign * ratio).tolist()),
        annealed.share,
        annealed.evaluations,
    )


def _refused(reason: str, stages: int = 0, evaluations: int = 0) -> LogZ:
    return LogZ(math.nan, math.nan, reason, stages=stages, evaluations=evaluations)


def _thin(x: Float[Tensor, "N *event"], n: int) -> Float[Tensor, "M *event"]:
    """Picks at most n rows, evenly spaced and in order."""
    if len(x) <= n:
        return x
    return x[torch.linspace(0, len(x) - 1, n, device=x.device).round().long()]
