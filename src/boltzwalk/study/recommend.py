"""The best setting of each budget, as a command.

A point counts where all its seeds are conclusive and none has failed, with its median quality. The
quality at a rung is that of a run with as many updates, unless its schedule depends on its length:
such a trial counts at its end only.
"""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .outcome import Outcome, by_point
from .spec import Study

__all__ = ["BestPoint", "frontier", "recommended_points"]


@dataclass(frozen=True)
class BestPoint:
    """A point at a rung.

    Attributes:
        gradients: The energy gradients of a seed.
        updates: The updates of a seed.
        quality: The median quality over seeds.
        low: The best seed.
        high: The worst seed.
        seeds: The number of seeds.
        outcome: One of its outcomes.
    """

    gradients: int
    updates: int
    quality: float
    low: float
    high: float
    seeds: int
    outcome: Outcome

    @property
    def cost(self) -> int:
        """The energy gradients, or the updates of a method without any."""
        return self.gradients or self.updates

    def command(self, study: Study) -> str:
        """Returns the command that trains a model with these settings.

        Arguments:
            study: The study.
        """
        assignments = [*self.outcome.trial.assignments, f"updates={self.updates}"]
        last = {assignment.partition("=")[0]: i for i, assignment in enumerate(assignments)}
        unique = [assignments[i] for i in sorted(last.values())]  # the last one of each key
        return shlex.join(["boltzwalk", "train", study.recipe, *unique])


def frontier(study: Study, outcomes: Sequence[Outcome]) -> list[BestPoint]:
    """Returns the points that no cheaper one equals in quality, the cheapest first.

    Arguments:
        study: The study.
        outcomes: Its outcomes.
    """
    best: list[BestPoint] = []
    for point in sorted(_all_points(study, outcomes), key=lambda p: (p.cost, p.quality)):
        if not best or point.quality < best[-1].quality:
            best.append(point)
    return best


def recommended_points(study: Study, outcomes: Sequence[Outcome]) -> list[BestPoint]:
    """Returns the best point within each share of the largest budget of a trial.

    Arguments:
        study: The study.
        outcomes: Its outcomes.
    """
    points = frontier(study, outcomes)
    results = [outcome.result for outcome in outcomes]
    largest = study.budget or max((r.budget or r.updates for r in results), default=0)
    best: list[BestPoint] = []
    for share in study.rungs:
        within = [point for point in points if point.cost <= share * largest * 1.001]
        if within and within[-1] not in best:
            best.append(within[-1])
    return best


def _all_points(study: Study, outcomes: Sequence[Outcome]) -> list[BestPoint]:
    """Every point at every rung that all its seeds have reached."""
    points = []
    for group in by_point(outcomes).values():
        # A single seed of a point may be lucky, so all of them are needed.
        if len(group) < len(study.seeds) or any(not o.conclusive or o.failed for o in group):
            continue
        scheduled = float(group[0].settings.get("schedule.anneal") or 0) > 0
        for i, rung in enumerate(group[0].result.rungs):
            if scheduled and rung.share < 1:
                continue
            values = [o.result.rungs[i].quality for o in group]
            if all(math.isfinite(value) for value in values):
                median = statistics.median(values)
                ends = (min(values), max(values))
                points.append(
                    BestPoint(rung.gradients, rung.update, median, *ends, len(group), group[0])
                )
    return points
