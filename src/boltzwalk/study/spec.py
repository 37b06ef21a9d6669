r"""The specification of a study: a recipe, axes over its settings, seeds, a budget, a quality.

A study has blocks; a block has axes and a sampler of points on them:

==========  =====================================================================================
grid        every combination of the levels of all axes
one         the recipe itself, and each level of each axis alone
random      independent draws: a level with equal chances, a number uniform in its range
tpe, gp     proposed by Optuna from the results so far, for the best quality
==========  =====================================================================================

Every point is run with every seed. An axis is a setting by its dotted key, or a name for several
settings that change together. In a file::

    recipe: digits
    settings: [average=0, schedule.anneal=0]
    budget: 2_000_000            # energy gradients of a trial
    seeds: [0, 1, 2]
    blocks:
      steps:
        axes:
          method.steps: [5, 10, 25, 50]
          learning_rate: {low: 1e-5, high: 1e-3, log: true}
          noise: {matched: [], none: [kernel=Descent]}

A file may name an analysis of its own, a Python file in the same folder (:mod:`.analysis`)::

    analysis: analysis.py
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from ..settings.plain_yaml import load_yaml
from ..settings.tree import differences, from_tree

__all__ = [
    "BASELINE",
    "Axis",
    "Block",
    "Level",
    "Study",
    "TrialMeasure",
    "all_axes",
    "study_differences",
    "study_to_yaml",
    "with_changes",
]

TrialMeasure = Literal["longer", "displacement", "proposals"]
"""Measures of a finished trial in addition to its quality (:mod:`.measures`)."""

ADAPTIVE = ("tpe", "gp")
"""The samplers whose points depend on results."""

NOTES = ("about", "analysis")
"""The settings of a study that do not change its trials."""


@dataclass(frozen=True)
class Level:
    """One value of an axis: its name and its assignments."""

    name: str
    assignments: tuple[str, ...]


BASELINE = Level("baseline", ())
"""The level of an axis at the recipe's own value."""


@dataclass(frozen=True)
class Axis:
    """An axis of a study: levels, or a range of one setting.

    Arguments:
        name: The dotted key of a setting, or a name for several.
        levels: The levels; none where there is a range.
        low: The lower end of a range.
        high: The upper end.
        log: Whether draws are uniform in the logarithm.
    """

    name: str
    levels: tuple[Level, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False

    def __post_init__(self) -> None:
        if not self.levels and not self.low < self.high:
            raise ValueError(
                f"axis {self.name} must have a level or more, or low < high, got low {self.low} "
                f"and high {self.high}; write {self.name}: [a, b] or "
                f"{self.name}: {{low: a, high: b}}"
            )
        if self.log and not (self.levels or self.low > 0):
            raise ValueError(f"low must be > 0 where log is true, got {self.low} for {self.name}")
        names = [level.name for level in self.levels]
        if len(set(names)) < len(names):
            raise ValueError(f"axis {self.name} must have different levels, got {names}")

    @property
    def integer(self) -> bool:
        """Whether both ends of the range are integers, and so all of its values."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, value: float | str) -> Level:
        """Returns the level of a number in the range, or of a name."""
        matches = [level for level in self.levels if level.name == value]
        return matches[0] if matches else Level(f"{value:.4g}", (f"{self.name}={value!r}",))


@dataclass(frozen=True)
class Block:
    """Trials that vary along the same axes.

    Arguments:
        name: Its name.
        axes: Its axes.
        settings: Changes of the recipe in all of its trials, each `key=value`.
        sampler: How points are taken from the axes.
        trials: The number of points of a sampler that draws or proposes them.
        budget: The energy gradients of a trial; 0 takes those of the study.
        equal: Whether all trials get the same number of energy gradients; otherwise each gets the
            updates of its settings.
        halving: A trial stops at a rung unless it is among the best 1/halving there, or the
            baseline; 0 stops none.
        measures: Measures of its finished trials in addition to the quality.
    """

    name: str
    axes: tuple[Axis, ...]
    settings: tuple[str, ...] = ()
    sampler: Literal["grid", "one", "random", "tpe", "gp"] = "grid"
    trials: int = 0
    budget: int = 0
    equal: bool = True
    halving: float = 0.0
    measures: tuple[TrialMeasure, ...] = ()

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if len(set(names)) < len(names):
            raise ValueError(f"axes must have different names, got {', '.join(names)}")
        draws = self.sampler not in ("grid", "one")
        if draws and self.trials < 1:
            raise ValueError(
                f"trials must be >= 1 for sampler {self.sampler}, got {self.trials}; 50 are usual"
            )
        if not draws and self.trials:
            raise ValueError(f"a {self.sampler} has the trials of its axes, got {self.trials}")
        ranges = [axis.name for axis in self.axes if not axis.levels]
        if ranges and not draws:
            raise ValueError(
                f"a {self.sampler} needs levels, got a range for {ranges[0]}; write "
                f"{ranges[0]}: [a, b, c], or sampler: random"
            )
        if self.budget < 0:
            raise ValueError(f"budget must be >= 0 energy gradients, got {self.budget}")
        if self.halving and not self.halving > 1:
            raise ValueError(f"halving must be > 1, or 0 for none, got {self.halving}; 3 is usual")

    @property
    def adaptive(self) -> bool:
        """Whether its points depend on results."""
        return self.sampler in ADAPTIVE


@dataclass(frozen=True)
class Study:
    """A study.

    Arguments:
        recipe: A recipe, a settings.yaml, or a file or folder of data.
        blocks: Its blocks.
        settings: Changes of the recipe in all trials, each `key=value`.
        seeds: The seeds of every point.
        budget: The energy gradients of a trial; 0 takes the updates of the recipe.
        quality: The measure of quality; lower is better. "samples" is the classifier-FID of
            labelled images, the total variation of histograms in the plane, else a Fréchet
            distance; "density" is KL(q || p) of a known density in the plane, by quadrature.
        samples: The number of samples that the quality is taken of.
        rungs: The shares of a trial at which the quality is taken; the last is 1.
        limit: The quality beyond which a finished trial counts as failed; null for none.
        minutes: The time after which a trial is stopped; 0 for none.
        about: A description for readers.
        analysis: The name of a Python file in the folder of the specification; "" for none.
    """

    recipe: str
    blocks: tuple[Block, ...]
    settings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    budget: int = 0
    quality: Literal["samples", "density"] = "samples"
    samples: int = 500
    rungs: tuple[float, ...] = (0.25, 0.5, 1.0)
    limit: float | None = None
    minutes: float = 0.0
    about: str = ""
    analysis: str = ""

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ValueError("blocks must be given; a study without trials answers nothing")
        names = [block.name for block in self.blocks]
        if len(set(names)) < len(names):
            raise ValueError(f"blocks must have different names, got {', '.join(names)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different, one or more, got {list(self.seeds)}")
        rising = all(a < b for a, b in zip(self.rungs, self.rungs[1:], strict=False))
        if not self.rungs or not rising or self.rungs[0] <= 0 or self.rungs[-1] != 1:
            raise ValueError(
                f"rungs must rise above 0 and end with 1, got {list(self.rungs)}; [0.25, 0.5, 1]"
            )
        if self.budget < 0:
            raise ValueError(f"budget must be >= 0 energy gradients, got {self.budget}")
        if self.samples < 2:
            raise ValueError(f"samples must be >= 2, got {self.samples}; 500 are usual")
        if not self.minutes >= 0:
            raise ValueError(f"minutes must be >= 0, got {self.minutes}")
        if self.analysis and (Path(self.analysis).name != self.analysis or self.analysis[0] == "."):
            raise ValueError(
                "analysis must be the name of a Python file in the folder of the study's file, got "
                f"{self.analysis!r}; write analysis: analysis.py"
            )

    def block(self, name: str) -> Block:
        """Returns the block of this name."""
        return next(block for block in self.blocks if block.name == name)


def all_axes(study: Study) -> dict[str, Axis]:
    """Returns all axes of a study by name, with the levels of all blocks."""
    axes: dict[str, Axis] = {}
    for axis in (axis for block in study.blocks for axis in block.axes):
        known = axes.get(axis.name, axis)
        more = tuple(level for level in axis.levels if level not in known.levels)
        axes[axis.name] = dataclasses.replace(known, levels=known.levels + more)
    return axes


def with_changes(study: Study, assignments: Sequence[str]) -> Study:
    """Returns a study with changes of its settings, or else of those of its recipe.

    Arguments:
        study: The study.
        assignments: The changes, each `key=value`.
    """
    names = {field.name for field in fields(Study)} - {"blocks"}
    of_study = [a for a in assignments if a.partition("=")[0] in names]
    of_recipe = tuple(a for a in assignments if a not in of_study)
    tree = {**_tree(study), **dict(a.split("=", 1) for a in of_study)}
    changed = from_tree(Study, {**tree, "blocks": study.blocks})
    return dataclasses.replace(changed, settings=changed.settings + of_recipe)


def study_to_yaml(study: Study) -> str:
    """Returns the study as YAML; `spec_file.study_from_yaml` is the inverse."""
    tree = _tree(study)
    tree["blocks"] = {block.name: _block_tree(block) for block in study.blocks}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def study_differences(old: Study, new: Study) -> list[str]:
    """Returns one line for each setting in which the trials of two studies differ.

    Arguments:
        old: One study.
        new: The other.
    """
    studies = (dataclasses.replace(study, about="", analysis="") for study in (old, new))
    return differences(*(load_yaml(study_to_yaml(study)) for study in studies))


def _tree(study: Study) -> dict[str, Any]:
    """All of a study but its blocks as plain values; notes only where there are some."""
    values = {f.name: _plain(getattr(study, f.name)) for f in fields(Study) if f.name != "blocks"}
    return {key: value for key, value in values.items() if value or key not in NOTES}


def _block_tree(block: Block) -> dict[str, Any]:
    axes = {axis.name: _axis_tree(axis) for axis in block.axes}
    rest = {
        field.name: _plain(getattr(block, field.name))
        for field in fields(Block)
        if field.name not in ("name", "axes") and getattr(block, field.name) != field.default
    }
    return {"axes": axes, **rest}


def _axis_tree(axis: Axis) -> Any:  # noqa: ANN401
    if not axis.levels:
        return {"low": axis.low, "high": axis.high, "log": axis.log}
    if all(level.assignments == (f"{axis.name}={level.name}",) for level in axis.levels):
        return [level.name for level in axis.levels]
    return {level.name: list(level.assignments) for level in axis.levels}


def _plain(value: Any) -> Any:  # noqa: ANN401
    return list(value) if isinstance(value, tuple) else value
