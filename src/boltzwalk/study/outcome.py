"""The trials of a study with what became of them: what all tables and figures are made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .folder import results
from .levels import leaves, level_of
from .plan import Trial, digest
from .result import BROKEN, Result, read_results
from .spec import Study, axes_of
from .worker import all_trials

__all__ = ["Outcome", "by_point", "members", "outcomes"]


@dataclass(frozen=True)
class Outcome:
    """A trial that is over.

    Attributes:
        trial: The trial.
        result: What became of it.
        levels: Its level on every axis of the study, "" where it has none.
        settings: Its settings by dotted path.
        point: The name of its settings without the seed: trials of one point differ in it alone.
        limit: The quality beyond which a finished trial counts as failed; inf for none.
    """

    trial: Trial
    result: Result
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
        """Whether learning ended badly: by a verdict, a crash, or a quality beyond the limit."""
        poor = self.result.label == "finished" and not self.result.quality <= self.limit
        return self.result.label in BROKEN or poor

    @property
    def known(self) -> bool:
        """Whether it failed or finished; not where it was stopped for want of time or rank."""
        return self.failed or self.result.label == "finished"

    @property
    def quality(self) -> float:
        """The quality of a trial that did not fail; inf of one that did."""
        return math.inf if self.failed else self.result.quality

    @property
    def how(self) -> str:
        """How it ended: the label, "poor" where it finished beyond the limit."""
        return "poor" if self.failed and self.result.label == "finished" else self.result.label

    def measure(self, name: str) -> float:
        """Returns a number that was measured of it; nan where it was not."""
        value = self.result.measures.get(name, math.nan)
        return math.nan if value is None else float(value)


def outcomes(study: Study, folder: Path) -> list[Outcome]:
    """Returns the trials of a study that are over.

    Arguments:
        study: The study.
        folder: Its folder.

    Raises:
        ValueError: If the file of a result holds something else.
    """
    found, axes = [], axes_of(study)
    over = read_results(results(folder))
    limit = math.inf if study.limit is None else study.limit
    for trial in {trial.name: trial for trial in all_trials(study, folder)}.values():
        if trial.name not in over:
            continue
        settings = leaves(trial.settings)
        levels = {name: level_of(axis, settings) for name, axis in axes.items()}
        levels |= dict(trial.levels)
        point = digest(replace(trial.settings, seed=0))
        found.append(Outcome(trial, over[trial.name], levels, settings, point, limit))
    return found


def members(found: Sequence[Outcome], block: str) -> list[Outcome]:
    """Returns the trials of a block, also those that an earlier one has made for it.

    Arguments:
        found: The trials that are over.
        block: The name of the block.
    """
    inside = (o for o in found if block in dict(o.trial.points))
    return [replace(o, levels={**o.levels, **dict(dict(o.trial.points)[block])}) for o in inside]


def by_point(found: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Returns trials that differ in their seed only, together.

    Arguments:
        found: The trials.
    """
    groups: dict[str, list[Outcome]] = {}
    for outcome in found:
        groups.setdefault(outcome.point, []).append(outcome)
    return groups
