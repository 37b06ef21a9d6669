"""The best setting of each budget, as a command.

A point counts where all its seeds are known and none has failed, with its median quality. The
quality at a rung is that of a run with so many updates, unless its schedule knows how long it will
be: such a trial counts at its end only.
"""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .outcome import Outcome, by_point
from .spec import Study

__all__ = ["Best", "frontier", "recommended"]


@dataclass(frozen=True)
class Best:
    """A point at a rung.

    Attributes:
        gradients: The energy gradients that a seed has had there.
        updates: The updates.
        quality: The median quality of its seeds.
        low: The best of a seed.
        high: The worst of a seed.
        seeds: How many there are.
        outcome: One of its trials.
    """

    gradients: int
    updates: int
    quality: float
    low: float
    high: float
    seeds: int
    outcome: Outcome

    def command(self, study: Study) -> str:
        """Returns what trains a model with these settings.

        Arguments:
            study: The study.
        """
        own = [*self.outcome.trial.assignments, f"updates={self.updates}"]
        last = {assignment.partition("=")[0]: place for place, assignment in enumerate(own)}
        kept = [own[place] for place in sorted(last.values())]  # of two with one key the later
        return shlex.join(["boltzwalk", "train", study.recipe, *kept])


def frontier(study: Study, found: Sequence[Outcome]) -> list[Best]:
    """Returns the points that no other beats with as few energy gradients, the cheapest first.

    Arguments:
        study: The study.
        found: The trials that are over.
    """
    best: list[Best] = []
    for point in sorted(_all(study, found), key=lambda p: (p.gradients, p.quality)):
        if not best or point.quality < best[-1].quality:
            best.append(point)
    return best


def recommended(study: Study, found: Sequence[Outcome]) -> list[Best]:
    """Returns the best point within each budget: the rungs of the most expensive trials.

    Arguments:
        study: The study.
        found: The trials that are over.
    """
    known = frontier(study, found)
    most = study.budget or max((o.result.budget for o in found), default=0)
    budgets = [share * most * 1.001 for share in study.rungs]
    chosen: list[Best] = []
    for budget in budgets:
        within = [point for point in known if point.gradients <= budget]
        if within and within[-1] not in chosen:
            chosen.append(within[-1])
    return chosen


def _all(study: Study, found: Sequence[Outcome]) -> list[Best]:
    """Every point at every rung that all its seeds have reached."""
    points = []
    for group in by_point(found).values():
        # Where every seed is over: a point of which one seed is known may have had luck.
        if len(group) < len(study.seeds) or any(not o.known or o.failed for o in group):
            continue
        scheduled = float(group[0].settings.get("schedule.anneal") or 0) > 0
        for place, rung in enumerate(group[0].result.rungs):
            if scheduled and rung.share < 1:
                continue
            values = [o.result.rungs[place].quality for o in group]
            if all(math.isfinite(value) for value in values):
                median = statistics.median(values)
                ends = (min(values), max(values))
                points.append(
                    Best(rung.gradients, rung.update, median, *ends, len(group), group[0])
                )
    return points
