"""The trials of a study: full settings, each named by what they are.

A name is a digest of all settings but those of the machine. Equal settings of two blocks are one
trial, and a trial that was made is found again by every worker on every machine.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import nn

from ..methods.cooperative import Cooperative
from ..methods.generalized import Generalized
from ..methods.maximum_likelihood import MaximumLikelihood
from ..methods.proposal_training import Teaching
from ..methods.variational import Variational
from ..recipes.lookup import chosen
from ..rng import generator
from ..settings.settings import Output, Settings
from ..settings.tree import to_tree
from .spec import Axis, Block, Level, Measure, Study

__all__ = [
    "Levels",
    "Trial",
    "as_it_is",
    "digest",
    "drawn_levels",
    "gradients",
    "planned",
    "point_of",
    "trials_of",
]

Levels: TypeAlias = tuple[tuple[str, str], ...]
"""The level of each axis, by the name of the axis."""

OF_THE_MACHINE = ("device", "threads", "output")
"""The settings that differ between machines, or that only say what is written."""

AS_IT_IS = Level("as it is", ())
"""The level of an axis that leaves its settings to the recipe."""

ROWS = 50
"""Rows of the log of a trial, and looks at its verdict."""

CHECKPOINTS = 4


@dataclass(frozen=True)
class Trial:
    """One run of a study.

    Attributes:
        name: The digest of its settings.
        settings: All that determines it, for any machine.
        points: The blocks that it belongs to, with the level of each of their axes.
        assignments: What makes its settings from the recipe, but for seed and updates.
        measures: What is taken of it beside its quality.
    """

    name: str
    settings: Settings
    points: tuple[tuple[str, Levels], ...]
    assignments: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()

    @property
    def block(self) -> str:
        """The block that it was made for first."""
        return self.points[0][0]

    @property
    def levels(self) -> Levels:
        """Its level on each axis of that block, by the name of the axis."""
        return self.points[0][1]


@functools.lru_cache(maxsize=8)  # every worker and every table asks for them
def planned(study: Study) -> tuple[Trial, ...]:
    """Returns the trials that are known beforehand, one seed after the other, in mixed order.

    Arguments:
        study: The study.

    Raises:
        ValueError: If an axis names no setting or a value outside of its type, or the budget is
            smaller than one update.
    """
    found: dict[str, Trial] = {}
    for block in study.blocks:
        for levels in [] if block.adaptive else list(_points(block)):
            for trial in trials_of(study, block, levels):
                found[trial.name] = _both(found.get(trial.name, trial), trial, block)
    # Mixed, so that a part of the trials is a fair sample of all of them, also for the time left.
    order = {seed: place for place, seed in enumerate(study.seeds)}
    return tuple(sorted(found.values(), key=lambda t: (order[t.settings.seed], t.name)))


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
    base, plain = chosen(study.recipe, assignments), _plain(study.recipe, study.settings)
    for key in OF_THE_MACHINE:
        if getattr(base, key) != getattr(plain, key):
            raise ValueError(
                f"{key} does not change what a trial learns, so it is no axis of block "
                f"{block.name}; take it out"
            )
    named = zip((axis.name for axis in block.axes), (level.name for level in levels), strict=True)
    point = tuple(named)
    updates = base.updates
    budget = block.budget or study.budget
    if block.equal and budget:
        each = gradients(base)
        updates = budget // each
        if updates < 1:
            raise ValueError(
                f"budget must be at least the {each:,} energy gradients of one update of "
                f"{dict(point) or 'the recipe'}, got {budget:,}"
            )
    writes = Output(
        log_every=max(1, updates // ROWS),
        save_every=-(-updates // CHECKPOINTS),
        picture_every=0,
        keep=1,
    )
    found = []
    for seed in study.seeds:
        settings = replace(base, updates=updates, seed=seed, threads=1, output=writes)
        name, made = digest(settings), tuple(dict.fromkeys(assignments))
        found.append(Trial(name, settings, ((block.name, point),), made, block.measures))
    return found


def as_it_is(study: Study, block: Block) -> list[Trial]:
    """Returns the trials of the recipe itself, in a block, one for each seed.

    Arguments:
        study: The study.
        block: The block.
    """
    return trials_of(study, block, [AS_IT_IS for _ in block.axes])


def point_of(trial: Trial) -> str:
    """Returns the levels of a trial in words.

    Arguments:
        trial: The trial.
    """
    return ", ".join(f"{axis} {level}" for axis, level in trial.levels) or "the recipe itself"


def gradients(settings: Settings) -> int:
    """Returns the energy gradients of one update.

    Arguments:
        settings: The settings of a run.

    Raises:
        ValueError: If its method moves no walkers to learn, so that there is nothing to count.

    Example:
        >>> from boltzwalk.recipes import digits
        >>> gradients(digits())  # 64 walkers, 50 steps, and where they start
        3264
    """
    method = settings.method
    if isinstance(method, Generalized | MaximumLikelihood):
        raise ValueError(
            "a study counts the energy gradients of walkers, got the method "
            f"{type(method).__name__}, which learns without them; take a recipe that moves walkers"
        )
    if isinstance(method, Cooperative | Variational):
        return Teaching(method, nn.Identity()).gradients(settings.batch)
    return method.gradients(settings.batch)


def digest(settings: Settings) -> str:
    """Returns the name of a trial: 12 hexadecimal digits of the SHA-256 of its settings.

    Arguments:
        settings: The settings, as they are for any machine.

    Example:
        >>> from boltzwalk.recipes import digits
        >>> digest(digits()) == digest(replace(digits(), device="cpu", threads=3))
        True
        >>> digest(digits()) == digest(replace(digits(), seed=1))
        False
    """
    tree = {k: v for k, v in to_tree(settings).items() if k not in OF_THE_MACHINE}
    return hashlib.sha256(_canonical(tree).encode()).hexdigest()[:12]


def drawn_levels(axes: Sequence[Axis], seed: int, name: str, number: int) -> list[Level]:
    """Returns an independent draw of a level of each axis.

    Arguments:
        axes: The axes.
        seed: The seed of the study.
        name: The name of the block.
        number: The number of the draw.
    """
    rng = generator(seed, f"study {name}", number)
    found = []
    for axis in axes:
        u = float(torch.rand((), generator=rng))
        if axis.levels:
            found.append(axis.levels[int(u * len(axis.levels))])
        elif axis.log:
            found.append(axis.at(_within(axis, axis.low * (axis.high / axis.low) ** u)))
        else:
            found.append(axis.at(_within(axis, axis.low + u * (axis.high - axis.low))))
    return found


@functools.lru_cache(maxsize=8)
def _plain(recipe: str, assignments: tuple[str, ...]) -> Settings:
    """The settings that all trials of a study begin with."""
    return chosen(recipe, assignments)


def _both(known: Trial, trial: Trial, block: Block) -> Trial:
    """One trial that two points ask for."""
    if known is trial:
        return trial
    if block.sampler == "grid" and block.name in dict(known.points):
        raise ValueError(
            f"points of block {block.name} must differ, {point_of(known)} and {point_of(trial)} "
            "are the same settings; take one out"
        )
    points = dict(known.points) | {trial.block: trial.levels} | dict(known.points)
    measures = dict.fromkeys(known.measures + trial.measures)
    return replace(known, points=tuple(points.items()), measures=tuple(measures))


def _points(block: Block) -> Iterator[Sequence[Level]]:
    """The points of a block that does not look at what was found."""
    if block.sampler == "grid":
        yield from itertools.product(*(axis.levels for axis in block.axes))
    elif block.sampler == "one":
        # Each level alone: the other axes stay as the recipe has them.
        yield [AS_IT_IS for _ in block.axes]
        for place, axis in enumerate(block.axes):
            for level in axis.levels:
                others = [AS_IT_IS for _ in block.axes]
                yield [*others[:place], level, *others[place + 1 :]]
    else:
        for number in range(block.trials):
            yield drawn_levels(block.axes, 0, block.name, number)


def _within(axis: Axis, value: float) -> float:
    return round(value) if axis.integer else float(f"{value:.4g}")


def _canonical(tree: Any) -> str:  # noqa: ANN401
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))
