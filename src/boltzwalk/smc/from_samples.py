r"""log Z of an energy from approximate samples, such as those of a trained model.

Samples of a model are drawn in few steps and only look like its density. Long exact chains from
them come first; a Gaussian fitted to one half of their ends is the reference of the annealing, and
the other half starts its way back. Every step can end in a refusal.

Not guaranteed: that the chains find a mode that no sample is near.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Generator, Tensor

from ..energy import Energy
from ..kernels import HMC, adapt_step_size, run_chain
from ..walkers import walkers_at
from .intervals import unbounded_rays
from .log_z import Annealing, LogZ, estimate_log_z

__all__ = ["Effort", "log_z_from_samples", "refused_log_z"]

WARM_UP = 50
"""Steps that adapt the step size of the long chains."""


@dataclass(frozen=True)
class Effort:
    """The work that an estimate of log Z may take.

    Arguments:
        samples: The number of long chains. The reference is fitted to the ends of one half of
            them, and from those of the other half starts the way back.
        steps: Their number of steps, each of 10 leapfrog steps of HMC.
        annealing: The way there and back.
        seconds: The time that the long chains may take; where they would take longer, the
            estimate is refused at once.
        report: Receives one line about each stage and its expected time.

    Raises:
        ValueError: If a number is too small.
    """

    samples: int = 1000
    steps: int = 1000
    annealing: Annealing = field(default_factory=Annealing)
    seconds: float = 900.0
    report: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.samples < 4 * self.annealing.replicates:
            raise ValueError(
                f"steps must be >= 1 and samples four for each of the {self.annealing.replicates} "
                f"replicates, got {self.steps} and {self.samples}; 1000 of each are usual"
            )


def refused_log_z(reason: str) -> LogZ:
    """Returns no number, with the reason.

    Arguments:
        reason: Why there is none, and what to do.
    """
    return LogZ(math.nan, math.nan, reason)


def log_z_from_samples(energy: Energy, x: Tensor, rng: Generator, effort: Effort) -> LogZ:
    r"""Estimates :math:`\log Z` of an energy from samples that look like its density.

    Arguments:
        energy: The energy U, of temperature 1.
        x: The samples, shape (N, \*event); four for each replicate at least.
        rng: The source of all noise.
        effort: The work that it may take.
    """
    n = len(x)
    if n < 4 * effort.annealing.replicates:
        return refused_log_z(
            f"the run holds {n} walkers, and 4 are needed for each of the "
            f"{effort.annealing.replicates} replicates"
        )
    if not bool(x.isfinite().all()):
        return refused_log_z("samples of the run are not finite")
    unbounded = unbounded_rays(energy, x)
    if unbounded:
        return refused_log_z(unbounded)
    x, seconds = _long_chains(energy, x, rng, effort)
    if seconds > effort.seconds:
        return refused_log_z(
            f"the long chains alone would take about {seconds:,.0f} s, more than the "
            f"{effort.seconds:,.0f} s allowed; give it more, --log-z-seconds {2 * seconds:.0f}, or "
            "fewer --steps"
        )
    if not bool(x.isfinite().all()):
        return refused_log_z("long chains from samples of the run left for infinity")
    # Different rows: a Gaussian that was fitted to the very samples of the way back would bias it.
    return estimate_log_z(energy, x[::2], rng, effort.annealing, samples=x[1::2])


def _long_chains(energy: Energy, x: Tensor, rng: Generator, effort: Effort) -> tuple[Tensor, float]:
    """Samples after many exact steps at an adapted step size, and the seconds that these need.

    Where that is more than is allowed, the steps are not made.
    """
    start = time.monotonic()
    spread = float(x.flatten(1).std(0).square().mean().sqrt())
    first = HMC(0.1 * max(spread, 1e-6) / x[0].numel() ** 0.25)
    kernel, walkers = adapt_step_size(first, energy, walkers_at(energy, x), WARM_UP, rng)
    seconds = (time.monotonic() - start) * effort.steps / WARM_UP
    if seconds > effort.seconds:
        return walkers.x, seconds
    effort.report(f"long chains from the samples of the run: about {seconds:.0f} s")
    walkers, _ = run_chain(kernel, energy, walkers, effort.steps, rng, diagnose=False)
    effort.report("annealing there and back")
    return walkers.x, seconds
