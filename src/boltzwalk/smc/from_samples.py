r"""log Z of an energy from approximate samples, such as those of a trained model.

Samples of a model are drawn in few steps and only look like its density. Long exact chains from
them come first; a Gaussian fitted to one half of their ends is the reference of the annealing, and
the other half starts its way back. Every step can end in a refusal.

Not guaranteed: that the chains find a mode that no sample is near.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Generator, Tensor

from ..energy import Energy, require_rowwise_energy
from .existence import unbounded_rays
from .log_z import Annealing, LogZ, estimate_log_z
from .long_chains import start_chains

__all__ = ["Effort", "log_z_from_samples", "refused_log_z"]


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

    Raises:
        ValueError: If the energy of a row is random, or depends on the other rows.
    """
    n = len(x)
    if n < 4 * effort.annealing.replicates:
        return refused_log_z(
            f"the run holds {n} walkers, and 4 are needed for each of the "
            f"{effort.annealing.replicates} replicates"
        )
    if not bool(x.isfinite().all()):
        return refused_log_z("samples of the run are not finite")
    require_rowwise_energy(energy, x)
    unbounded = unbounded_rays(energy, x)
    if unbounded:
        return refused_log_z(unbounded)
    try:
        chains = start_chains(energy, x, rng)
    except (FloatingPointError, ValueError) as error:  # such as samples that are all one point
        return refused_log_z(f"long chains from samples of the run do not move: {error}")
    seconds = chains.seconds * effort.steps
    if seconds > effort.seconds:
        return refused_log_z(
            f"the long chains alone would take about {seconds:,.0f} s, more than the "
            f"{effort.seconds:,.0f} s allowed; give it more, --log-z-seconds {2 * seconds:.0f}, or "
            "fewer --steps"
        )
    effort.report(f"long chains from the samples of the run: about {seconds:.0f} s")
    x = chains.run(effort.steps, rng)[:, 0]
    effort.report("annealing there and back")
    if not bool(x.isfinite().all()):
        return refused_log_z("long chains from samples of the run left for infinity")
    # Different rows: a Gaussian that was fitted to the very samples of the way back would bias it.
    return estimate_log_z(energy, x[::2], rng, effort.annealing, samples=x[1::2])
