r"""log Z of any energy, with a 95 % interval, or the reason for a refusal.

A pilot population determines a path from a reference with known :math:`\log Z_0` to the energy
(:mod:`boltzwalk.smc.pilot`). Independent replicates then follow the fixed path
(:mod:`boltzwalk.smc.annealing`): each gives an unbiased estimate of :math:`Z`, and their spread the
interval (:mod:`boltzwalk.smc.intervals`). From samples of the density the same path is followed in
reverse, which gives an unbiased estimate of :math:`1 / Z` that errs on the other side. Where such
samples are not given, they are the states of chains that start at the approximate ones.

Where the energy is plus infinity outside of a support S, both directions start from the reference
within S: the path has the ratio of Z to :math:`Z_0 P_0(S)`, and the share :math:`P_0(S)` of fresh
draws of the reference that fall into S, with its error, completes it.

The typical energy of the samples is subtracted in the arithmetic of the energy, so that no later
step loses digits. Those that the energy itself has lost are added to the interval: half a unit in
the last place of that energy.

An estimate is refused, with the reason and a remedy, where

* rays or walkers show that Z does not exist (:mod:`boltzwalk.smc.existence`),
* an energy is nan or minus infinity,
* the path does not reach its end, or weights collapse along it though they did not for the pilot,
* the interval is wider than the tolerance, or narrower than the rounding of the energy,
* forward and reverse contradict each other.

Not guaranteed: regions that neither a walker nor a sample visits. Forward replicates all start from
the same reference; a mode outside of it, or a region too narrow for their steps, is missing from
all of them and from the interval. The reverse estimate is the one check that detects it, and only
where samples are in that region.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy, ExactEnergy, require_event_shape, require_rowwise_energy
from ..probe import PROBE_ROWS
from ..walkers import log_mean_weight
from .annealing import AnnealingSchedule, anneal
from .coordinates import Bijection
from .existence import escape_reason, outside_reason, unbounded_rays
from .intervals import (
    DirectionResult,
    Interval,
    combine_directions,
    refusal_reason,
    student_t_interval,
)
from .long_chains import start_chains
from .pilot import Pilot, PilotResult
from .setup import RAYS, AnnealingSetup, make_setup, thinned

__all__ = ["Annealing", "LogZ", "estimate_log_z"]

CHAINS = 256
"""The largest number of chains from samples."""

FINEST = 0.01
"""The rounding of energies, in nats, that is added to any interval and never refused."""


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
        reverse: The reverse estimate and its interval; None where only the forward one was made.
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
        chain_steps: The number of steps of the chains whose states start the reverse direction
            where no samples are given for it; 0 for the forward direction alone.
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
    chain_steps: int = 100
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
        if self.chain_steps < 0:
            raise ValueError(f"chain_steps must be >= 0, got {self.chain_steps}; 100 is usual")
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
            of a run. They should cover the density, and may be in any order. The reference is a
            Gaussian fitted to one half of them; chains for the reverse direction start at the other
            half.
        rng: The random generator.
        settings: The settings.
        reference: An energy with known log Z and exact samples, to start from instead.
        bijection: Coordinates in which the reference is N(0, I), instead of the fitted Gaussian.
        samples: Exact samples of the density, or a long chain of its states in order, shape
            (S, \*event), for the reverse estimate, which detects regions that no forward walker
            visited. They must differ from `like`, to all of which the reference is then fitted.
            None makes them by ``settings.chain_steps`` steps of chains.

    Raises:
        ValueError: If there are too few samples, shapes disagree, both a reference and a bijection
            are given, or the energy of a row is random or depends on the other rows.

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
    _check_arguments(like, samples, settings, reference, bijection)
    require_rowwise_energy(energy, like)
    fit, start = like, like
    chains = samples is None and settings.chain_steps > 0
    if chains and reference is None and bijection is None and len(like) >= 4 * settings.replicates:
        # In random order the halves are alike even where samples are sorted.
        order = torch.randperm(len(like), generator=rng, device=rng.device).to(like.device)
        fit, start = like[order[::2]], like[order[1::2]]
    setup = make_setup(energy, fit, reference, bijection, settings.batch)
    setup.energy.walkers += 3 * len(like[:PROBE_ROWS])
    try:
        refusal = _refused_by_rays(setup, rng)
        if not refusal:
            if chains:
                samples = _chain_states(setup.energy, start, settings, rng)
            return _estimate(setup, samples, settings, rng)
    except FloatingPointError as error:
        refusal = str(error)
    return _refused(refusal, setup)


def _check_arguments(
    like: Tensor,
    samples: Tensor | None,
    settings: Annealing,
    reference: ExactEnergy | None,
    bijection: Bijection | None,
) -> None:
    """Raises where arguments do not fit each other."""
    if like.ndim < 2:
        raise ValueError(
            f"like must have shape (M, *event), got {tuple(like.shape)}; write like[:, None] for "
            "samples that are one number each"
        )
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
                f"replicates, got {len(samples)}; leave out samples, which makes them by chains "
                "from like"
            )


def _chain_states(
    energy: Energy, start: Tensor, settings: Annealing, rng: torch.Generator
) -> Tensor | None:
    """States of chains from approximate samples, chain by chain; None where these are one point."""
    if not bool((start != start[:1]).any()):
        return None
    start = thinned(start, CHAINS)
    chains = start_chains(energy, start, rng)
    wanted = settings.walkers * settings.replicates
    x = chains.run(settings.chain_steps, rng, states=-(-wanted // len(start)))
    if not bool(x.isfinite().all()):
        raise FloatingPointError("chains from samples left for infinity")
    return x.flatten(0, 1)


def _estimate(
    setup: AnnealingSetup, samples: Tensor | None, settings: Annealing, rng: torch.Generator
) -> LogZ:
    """Runs the pilot, checks that Z exists, then the replicates in one or both directions."""
    n, replicates = settings.walkers, settings.replicates
    pilot = settings.pilot.find_schedule(setup.path, setup.sample_inside(n, rng), rng)
    schedule = pilot.schedule
    refusal = _refused_by_pilot(setup, pilot, rng)
    if refusal:
        return _refused(refusal, setup, stages=len(schedule.stages) - 1)
    x = setup.sample_inside(n * replicates, rng)
    forward = _anneal_replicates(setup, x, schedule, settings, rng)
    reverse = None
    if samples is not None and len(samples) >= 2 * replicates:
        count = min(len(samples) // replicates, n) * replicates
        x = setup.to_coordinates(thinned(samples, count))
        reverse = _anneal_replicates(setup, x, schedule.reversed(), settings, rng)
    reverse_interval = None if reverse is None else reverse.interval
    refusal = refusal_reason(forward, reverse, settings.tolerance)
    estimate, half_width = combine_directions(forward.interval, reverse_interval)
    rounding = setup.energy.rounding
    if not refusal and rounding > max(half_width, FINEST):
        refusal = (
            f"energies near {setup.energy.constant:.4g} are rounded by up to {rounding:.2g}, more "
            f"than the ± {half_width:.2g} of the estimate; subtract a constant within the energy, "
            "or compute it in float64"
        )
    return LogZ(
        estimate=math.nan if refusal else estimate,
        half_width=math.nan if refusal else math.hypot(half_width, setup.start[1]) + rounding,
        refusal=refusal,
        replicates=forward.replicates,
        share=forward.share,
        stages=len(schedule.stages) - 1,
        evaluations=setup.energy.walkers,
        reverse=reverse_interval,
    )


def _refused_by_rays(setup: AnnealingSetup, rng: torch.Generator) -> str:
    """The reason why Z does not exist, from rays through the samples and the reference."""
    x = torch.cat([thinned(setup.like, RAYS), setup.sample(RAYS, rng)])
    setup.path.energies_at(x)
    return unbounded_rays(setup.path.end, x)


def _refused_by_pilot(setup: AnnealingSetup, pilot: PilotResult, rng: torch.Generator) -> str:
    """The reason why Z does not exist, from the final walkers of the pilot."""
    return (
        unbounded_rays(setup.path.end, thinned(pilot.walkers.x, RAYS))
        or outside_reason(pilot.walkers, setup.like)
        or escape_reason(setup.path, pilot.walkers, pilot.schedule.stages[-1], rng)
    )


def _anneal_replicates(
    setup: AnnealingSetup,
    x: Tensor,
    schedule: AnnealingSchedule,
    settings: Annealing,
    rng: torch.Generator,
) -> DirectionResult:
    """Anneals replicates along the schedule, in either direction."""
    threshold = settings.pilot.threshold
    annealed = anneal(setup.path, x, schedule, rng, settings.replicates, threshold)
    blocks = annealed.walkers.log_w.reshape(settings.replicates, -1)
    sign = 1 if schedule.stages[0].beta == 0 else -1
    ratio = log_mean_weight(blocks)
    estimate, half_width = student_t_interval(ratio)
    start = setup.start.estimate
    return DirectionResult(
        Interval(start + sign * estimate, half_width),
        tuple((start + sign * ratio).tolist()),
        annealed.share,
    )


def _refused(reason: str, setup: AnnealingSetup, stages: int = 0) -> LogZ:
    evaluations = setup.energy.walkers
    return LogZ(math.nan, math.nan, reason, stages=stages, evaluations=evaluations)
