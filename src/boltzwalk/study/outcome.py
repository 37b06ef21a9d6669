"""Outcomes: the trials of a study with their results, the source of all tables and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .levels import leaves, level_of
from .plan import Trial, settings_digest
from .propose import all_trials
from .results import FAILED_LABELS, TrialResult, read_results
from .spec import Study, all_axes
from .storage import results_folder

__all__ = ["Outcome", "block_outcomes", "by_point", "read_outcomes"]


@dataclass(frozen=True)
class Outcome:
    """A trial with its result.

    Attributes:
        trial: The trial.
        result: Its result.
        levels: Its level on every axis of the study, "" where it has none.
        settings: Its settings by dotted path.
        point: The digest of its settings without the seed: trials of a point differ in it alone.
        limit: The quality beyond which a finished trial counts as failed; inf for none.
    """

    trial: Trial
    result: TrialResult
    levels: Mapping[str, str]
    settings: Mapping[str, Any]
    point: str
    limit: float

    @property
    def seed(self) -> int:
        """The seed."""
        return self.trial.settings.seed

    @property
    def failed(self) -> bool:
        """Whether training failed: by a verdict, a crash, or a quality beyond the limit."""
        poor = self.result.label == "finished" and not self.result.quality <= self.limit
        return self.result.label in FAILED_LABELS or poor

    @property
    def conclusive(self) -> bool:
        """Whether it failed or finished, and was not stopped by a time limit or by halving."""
        return self.failed or self.result.label == "finished"

    @property
    def quality(self) -> float:
        """The quality; inf of a failed trial."""
        return math.inf if self.failed else self.result.quality

    @property
    def ending(self) -> str:
        """The label of its result; "poor" where it finished beyond the limit."""
        return "poor" if self.failed and self.result.label == "finished" else self.result.label

    def measure(self, name: str) -> float:
        """Returns one of its measures; nan where it was not taken."""
        value = self.result.measures.get(name, math.nan)
        return math.nan if value is None else float(value)


def read_outcomes(study: Study, folder: Path) -> list[Outcome]:
    """Returns the trials of a study that have a result.

    Arguments:
        study: The study.
        folder: Its folder.

    Damaged results are left out.
    """
    outcomes, axes = [], all_axes(study)
    results = read_results(results_folder(folder))
    limit = math.inf if study.limit is None else study.limit
    points: dict[tuple[Any, ...], str] = {}
    for trial in {trial.name: trial for trial in all_trials(study, folder)}.values():
        if trial.name not in results:
            continue
        settings = leaves(trial.settings)
        levels = {name: level_of(axis, settings) for name, axis in axes.items()}
        levels |= dict(trial.levels)
        # Trials of a point differ in their seed alone, so one digest is that of all of them.
        key = trial.points, trial.assignments, trial.settings.updates
        if key not in points:
            points[key] = settings_digest(replace(trial.settings, seed=0))
        point = points[key]
        outcomes.append(Outcome(trial, results[trial.name], levels, settings, point, limit))
    return outcomes


def block_outcomes(outcomes: Sequence[Outcome], block: str) -> list[Outcome]:
    """Returns the outcomes of a block, including trials that it shares with earlier blocks.

    Arguments:
        outcomes: The outcomes of the study.
        block: The name of the block.
    """
    inside = (o for o in outcomes if block in dict(o.trial.points))
    return [replace(o, levels={**o.levels, **dict(dict(o.trial.points)[block])}) for o in inside]


def by_point(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Groups outcomes by point: those of a group differ in their seed only.

    Arguments:
        outcomes: The outcomes.
    """
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.point, []).append(outcome)
    return groups
