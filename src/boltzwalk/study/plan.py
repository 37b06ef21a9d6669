"""The trials of a study: full settings, each named by their digest.

The digest is of all settings but those of the machine. Equal settings of two blocks are one trial,
and every worker on every machine gives a trial the same name.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from ..recipes.lookup import settings_from
from ..rng import generator
from ..settings.settings import Output, Settings
from ..settings.tree import RENAMED_KINDS, to_tree
from .spec import BASELINE, Axis, Block, Level, Study, TrialMeasure

__all__ = [
    "Levels",
    "Trial",
    "baseline_trials",
    "describe_point",
    "gradients_per_update",
    "planned_trials",
    "sample_levels",
    "settings_digest",
    "trials_of",
]

Levels: TypeAlias = tuple[tuple[str, str], ...]
"""The level of each axis, by the name of the axis."""

MACHINE_SETTINGS = ("device", "threads", "output", "guard")
"""Settings that differ between machines or control files only; and the guard, which is off, as it
would change the settings that a trial is about."""

LOG_ROWS = 50
"""Rows of the log of a trial; a verdict is taken at each."""

CHECKPOINTS = 4

FIRST_KINDS = {new: old for old, new in RENAMED_KINDS.items()}
"""The kinds of version 0.1.0 by their present names."""

LATER_SETTINGS: dict[str, Any] = {
    "levels": None,
    "value_range": None,
    "skip_unreadable": False,
    "shrinkage": False,
    "tails": "keep",
    "repeats": "anywhere",
    "missing": "refuse",
    "missing_marks": [],
    "categories": [],
    "dates": [],
    "decimal": "auto",
    "thousands": "",
    "encoding": "auto",
    "sheet": None,
    "unpacked_gb": 2.0,
    "index": "keep",
}
"""Settings of data that version 0.1.0 did not have, with the value of its behaviour."""


ONLY_KINDS = {"vae": "Vae", "generator": "Generator"}
"""Blocks of settings that had a single kind in version 0.1.0, which was not written."""


@dataclass(frozen=True)
class Trial:
    """One run of a study.

    Attributes:
        name: The digest of its settings.
        settings: Its settings, for any machine.
        points: The blocks that it belongs to, with the level of each of their axes.
        assignments: The changes of the recipe that give its settings, but for seed and updates.
        measures: Its measures in addition to the quality.
    """

    name: str
    settings: Settings
    points: tuple[tuple[str, Levels], ...]
    assignments: tuple[str, ...] = ()
    measures: tuple[TrialMeasure, ...] = ()

    @property
    def block(self) -> str:
        """Its first block."""
        return self.points[0][0]

    @property
    def levels(self) -> Levels:
        """Its level on each axis of its first block, by the name of the axis."""
        return self.points[0][1]


@functools.lru_cache(maxsize=8)  # every worker and every table asks for them
def planned_trials(study: Study) -> tuple[Trial, ...]:
    """Returns the trials that do not depend on results: seed by seed, in mixed order.

    Arguments:
        study: The study.

    Raises:
        ValueError: If an axis names no setting or a value outside of its type, or the budget is
            smaller than one update.
    """
    trials: dict[str, Trial] = {}
    for block in study.blocks:
        for levels in [] if block.adaptive else list(_points(block)):
            for trial in trials_of(study, block, levels):
                trials[trial.name] = _merge(trials.get(trial.name, trial), trial, block)
    # Mixed, so that a part of the trials is a fair sample of all of them, also for the time left.
    order = {seed: i for i, seed in enumerate(study.seeds)}
    return tuple(sorted(trials.values(), key=lambda t: (order[t.settings.seed], t.name)))


def trials_of(study: Study, block: Block, levels: Sequence[Level]) -> list[Trial]:
    """Returns the trials of one point, one for each seed.

    Arguments:
        study: The study.
        block: The block.
        levels: A level of each of its axes.
    """
    assignments = [
        *study.settings,
        *block.settings,
        *(assignment for level in levels for assignment in level.assignments),
    ]
    base, plain = settings_from(study.recipe, assignments), _recipe(study.recipe, study.settings)
    for key in MACHINE_SETTINGS:
        if getattr(base, key) != getattr(plain, key):
            raise ValueError(
                f"{key} does not change the training of a trial, so it is no axis of block "
                f"{block.name}; take it out"
            )
    named = zip((axis.name for axis in block.axes), (level.name for level in levels), strict=True)
    point = tuple(named)
    updates = _updates(study, block, base, dict(point))
    output = Output(
        log_every=max(1, updates // LOG_ROWS),
        save_every=-(-updates // CHECKPOINTS),
        picture_every=0,
        keep=1,
    )
    trials = []
    for seed in study.seeds:
        settings = replace(base, updates=updates, seed=seed, threads=1, guard="off", output=output)
        name, changes = settings_digest(settings), tuple(dict.fromkeys(assignments))
        trials.append(Trial(name, settings, ((block.name, point),), changes, block.measures))
    return trials


def baseline_trials(study: Study, block: Block) -> list[Trial]:
    """Returns the trials of the recipe itself in a block, one for each seed.

    Arguments:
        study: The study.
        block: The block.
    """
    return trials_of(study, block, [BASELINE for _ in block.axes])


def describe_point(trial: Trial) -> str:
    """Returns the levels of a trial as text."""
    return ", ".join(f"{axis} {level}" for axis, level in trial.levels) or "the recipe itself"


def gradients_per_update(settings: Settings) -> int:
    """Returns the energy gradients of one update; 0 of a method that needs none.

    Arguments:
        settings: The settings of a run.

    Example:
        >>> from boltzwalk.recipes.starters import digits
        >>> gradients_per_update(digits())  # 64 walkers, 50 steps, and the first gradient
        3264
    """
    count = getattr(settings.method, "gradients", None)  # a method that needs none may lack it
    return int(count(settings.batch)) if count else 0


def settings_digest(settings: Settings) -> str:
    """Returns the name of a trial: 12 hexadecimal digits of the SHA-256 of its settings.

    It is taken of the tree of version 0.1.0, so that results of that version still count.

    Arguments:
        settings: The settings, as they are for any machine.

    Example:
        >>> from boltzwalk.recipes.starters import digits
        >>> settings_digest(digits()) == settings_digest(replace(digits(), device="cpu", threads=3))
        True
        >>> settings_digest(digits()) == settings_digest(replace(digits(), seed=1))
        False
    """
    tree = {k: v for k, v in to_tree(settings).items() if k not in MACHINE_SETTINGS}
    return hashlib.sha256(_canonical(_first_names(tree)).encode()).hexdigest()[:12]


def sample_levels(axes: Sequence[Axis], seed: int, name: str, number: int) -> list[Level]:
    """Draws a level of each axis independently.

    Arguments:
        axes: The axes.
        seed: The seed of the study.
        name: The name of the block.
        number: The number of the draw.
    """
    rng = generator(seed, f"study {name}", number)
    levels = []
    for axis in axes:
        u = float(torch.rand((), generator=rng))
        if axis.levels:
            levels.append(axis.levels[int(u * len(axis.levels))])
        elif axis.log:
            levels.append(axis.at(_within(axis, axis.low * (axis.high / axis.low) ** u)))
        else:
            levels.append(axis.at(_within(axis, axis.low + u * (axis.high - axis.low))))
    return levels


@functools.lru_cache(maxsize=8)
def _recipe(recipe: str, assignments: tuple[str, ...]) -> Settings:
    """The settings that all trials of a study change."""
    return settings_from(recipe, assignments)


def _updates(study: Study, block: Block, settings: Settings, point: Mapping[str, str]) -> int:
    """The updates of a trial: as many as its budget allows, or those of its settings."""
    budget = block.budget or study.budget
    if not (block.equal and budget):
        return settings.updates
    gradients = gradients_per_update(settings)
    if not gradients:
        raise ValueError(
            f"budget counts energy gradients, got the method {type(settings.method).__name__}, "
            f"which learns without them; write equal: false in block {block.name}, so that "
            "trials have the updates of their settings"
        )
    if budget < gradients:
        raise ValueError(
            f"budget must be at least the {gradients:,} energy gradients of one update of "
            f"{dict(point) or 'the recipe'}, got {budget:,}"
        )
    return budget // gradients


def _merge(known: Trial, trial: Trial, block: Block) -> Trial:
    """One trial for two points with the same settings."""
    if known is trial:
        return trial
    if block.sampler == "grid" and block.name in dict(known.points):
        raise ValueError(
            f"points of block {block.name} must differ, {describe_point(known)} and "
            f"{describe_point(trial)} are the same settings; take one out"
        )
    points = dict(known.points) | {trial.block: trial.levels} | dict(known.points)
    measures = dict.fromkeys(known.measures + trial.measures)
    return replace(known, points=tuple(points.items()), measures=tuple(measures))


def _points(block: Block) -> Iterator[Sequence[Level]]:
    """The points of a block that does not depend on results."""
    if block.sampler == "grid":
        yield from itertools.product(*(axis.levels for axis in block.axes))
    elif block.sampler == "one":
        # Each level alone: the other axes stay as the recipe has them.
        yield [BASELINE for _ in block.axes]
        for i, axis in enumerate(block.axes):
            for level in axis.levels:
                others = [BASELINE for _ in block.axes]
                yield [*others[:i], level, *others[i + 1 :]]
    else:
        for number in range(block.trials):
            yield sample_levels(block.axes, 0, block.name, number)


def _within(axis: Axis, value: float) -> float:
    return round(value) if axis.integer else float(f"{value:.4g}")


def _first_names(tree: Any) -> Any:  # noqa: ANN401
    """A tree of settings as version 0.1.0 wrote it."""
    if isinstance(tree, list):
        return [_first_names(item) for item in tree]
    if not isinstance(tree, dict):
        return FIRST_KINDS.get(tree, tree) if isinstance(tree, str) else tree
    first = {
        key: _first_names(value)
        for key, value in tree.items()
        if key not in LATER_SETTINGS or value != LATER_SETTINGS[key]
    }
    for key, kind in ONLY_KINDS.items():
        if isinstance(first.get(key), dict) and first[key].get("kind") == kind:
            del first[key]["kind"]
    return first


def _canonical(tree: Any) -> str:  # noqa: ANN401
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))
