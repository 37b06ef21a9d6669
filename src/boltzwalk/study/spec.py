r"""What a study asks, as one value: a recipe, axes over its settings, seeds, a budget, a quality.

A study has blocks; a block has axes and says how points are taken from them:

==========  =====================================================================================
grid        every combination of the levels of all axes
one         the recipe itself, and each level of each axis alone
random      independent draws: a level with equal chances, a number uniform in its range
tpe, gp     proposed by Optuna from what was found so far, for the best quality
==========  =====================================================================================

Every point is tried with every seed. An axis is a setting by its dotted key, or a name for several
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
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from ..settings.tree import differences, from_tree

__all__ = ["Axis", "Block", "Level", "Measure", "Study", "axes_of", "from_yaml", "to_yaml"]

Measure = Literal["longer", "displacement", "proposals"]
"""What may be taken of a finished trial beside its quality (:mod:`.measures`)."""

ADAPTIVE = ("tpe", "gp")
"""The samplers that look at what was found."""

RANGE = {"low", "high", "log"}

NAMED = ("recipe", "quality", "samples")
"""The settings of a study that say what is measured of what."""


@dataclass(frozen=True)
class Level:
    """One value of an axis: its name, and the assignments that make it."""

    name: str
    assignments: tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """What varies: levels, or a range of one setting.

    Arguments:
        name: The dotted key of a setting, or a name for several.
        levels: The levels; none where there is a range.
        low: The lower end of a range.
        high: The upper end.
        log: Whether the range is even in the logarithm.
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
        """Whether a range holds whole numbers only, as both of its ends are."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, value: float | str) -> Level:
        """Returns the level of a number in the range, or of a name."""
        found = [level for level in self.levels if level.name == value]
        return found[0] if found else Level(f"{value:.4g}", (f"{self.name}={value!r}",))


@dataclass(frozen=True)
class Block:
    """Trials that vary along the same axes.

    Arguments:
        name: Its name.
        axes: What varies.
        settings: What differs from the recipe in all of its trials, each `key=value`.
        sampler: How points are taken from the axes.
        trials: The number of points of a sampler that draws or proposes them.
        budget: The energy gradients of a trial; 0 takes those of the study.
        equal: Whether trials get equally many energy gradients; otherwise the updates of the
            settings, whatever these cost.
        halving: A trial stops at a rung unless it is among the best 1/halving there, or the recipe
            itself; 0 stops none.
        measures: What is taken of its finished trials beside the quality.
    """

    name: str
    axes: tuple[Axis, ...]
    settings: tuple[str, ...] = ()
    sampler: Literal["grid", "one", "random", "tpe", "gp"] = "grid"
    trials: int = 0
    budget: int = 0
    equal: bool = True
    halving: float = 0.0
    measures: tuple[Measure, ...] = ()

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
        """Whether its points depend on what was found."""
        return self.sampler in ADAPTIVE


@dataclass(frozen=True)
class Study:
    """A study.

    Arguments:
        recipe: A recipe, a settings.yaml, or a file or folder of data.
        blocks: Its blocks.
        settings: What differs from the recipe in all trials, each `key=value`.
        seeds: The seeds of every point.
        budget: The energy gradients of a trial; 0 takes the updates of the recipe.
        quality: What samples are judged by; lower is better. "samples" is the classifier-FID of
            labelled images, the total variation of histograms in the plane, else a Fréchet
            distance; "density" is KL(q || p) of a known density in the plane, by quadrature.
        samples: The samples that are judged.
        rungs: The shares of a trial at which the quality is taken; the last is 1.
        limit: The quality beyond which a finished trial counts as failed; null for none.
        minutes: The time after which a trial is stopped; 0 for none.
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

    def block(self, name: str) -> Block:
        """Returns the block of this name."""
        return next(block for block in self.blocks if block.name == name)


def axes_of(study: Study) -> dict[str, Axis]:
    """Returns all axes by name, with the levels of all blocks together.

    Arguments:
        study: The study.
    """
    found: dict[str, Axis] = {}
    for axis in (axis for block in study.blocks for axis in block.axes):
        known = found.get(axis.name, axis)
        more = tuple(level for level in axis.levels if level not in known.levels)
        found[axis.name] = dataclasses.replace(known, levels=known.levels + more)
    return found


def from_yaml(text: str, assignments: Sequence[str] = (), source: Path | str = "a study") -> Study:
    """Returns the study in a YAML text, with changes.

    Arguments:
        text: The text.
        assignments: The changes, each `key=value`: of the study where it has such a setting, else
            of the recipe.
        source: Where the text is from, for messages.

    Raises:
        ValueError: If it is no YAML, or holds unknown, missing or wrong settings.

    Example:
        >>> found = from_yaml("{recipe: toy, blocks: {a: {axes: {steps: [5, 10]}}}}", ["seeds=[7]"])
        >>> found.seeds, found.block("a").axes[0].levels[1]
        ((7,), Level(name='10', assignments=('steps=10',)))
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{source} must be YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError(f"{source} must hold settings (key: value), got {tree!r}")
    try:
        return changed(_study(tree), assignments)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def changed(study: Study, assignments: Sequence[str]) -> Study:
    """Returns a study with changes of its own settings, or else of those of its recipe.

    Arguments:
        study: The study.
        assignments: The changes, each `key=value`.
    """
    own = {field.name for field in fields(Study)} - {"blocks"}
    mine = [a for a in assignments if a.partition("=")[0] in own]
    others = tuple(a for a in assignments if a not in mine)
    tree = {**_tree(study), **dict(a.split("=", 1) for a in mine)}
    found = from_tree(Study, {**tree, "blocks": study.blocks})
    return dataclasses.replace(found, settings=found.settings + others)


def to_yaml(study: Study) -> str:
    """Returns the study as YAML, which `from_yaml` takes back as it is.

    Arguments:
        study: The study.
    """
    tree = _tree(study)
    tree["blocks"] = {block.name: _block_tree(block) for block in study.blocks}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def unlike(old: Study, new: Study) -> list[str]:
    """Returns one line for each setting in which two studies differ.

    Arguments:
        old: One study.
        new: The other.
    """
    return differences(*(yaml.safe_load(to_yaml(study)) for study in (old, new)))


def _study(tree: Mapping[str, Any]) -> Study:
    blocks = tree.get("blocks")
    if not isinstance(blocks, dict):
        raise ValueError(f"blocks must be given, each by its name, got {blocks!r}")
    parsed = tuple(_block(str(name), block) for name, block in blocks.items())
    return from_tree(Study, {**tree, "blocks": parsed})


def _block(name: str, tree: Any) -> Block:  # noqa: ANN401
    where = f"blocks.{name}"
    if not isinstance(tree, dict) or not isinstance(tree.get("axes"), dict):
        raise ValueError(f"{where}.axes must hold axes, each by its name, got {tree!r}")
    axes = tuple(_axis(str(key), values, where) for key, values in tree["axes"].items())
    return from_tree(Block, {**tree, "name": name, "axes": axes}, where)


def _axis(name: str, values: Any, where: str) -> Axis:  # noqa: ANN401
    """An axis from a list of values, a range, or assignments by name."""
    if isinstance(values, list):
        return Axis(name, tuple(Level(_text(v), (f"{name}={_text(v)}",)) for v in values))
    if isinstance(values, dict) and {"low", "high"} <= set(values) <= RANGE:
        try:
            low, high = (_number(values[key]) for key in ("low", "high"))
        except ValueError as error:
            raise ValueError(f"{where}.axes.{name}: {error}") from error
        return Axis(name, (), low, high, bool(values.get("log", False)))
    if isinstance(values, dict) and all(isinstance(v, list) for v in values.values()):
        return Axis(name, tuple(Level(_word(key), tuple(map(str, v))) for key, v in values.items()))
    raise ValueError(
        f"{where}.axes.{name} must be [a, b], {{low: a, high: b, log: true}} or "
        f"{{name: [key=value, ...], ...}}, got {values!r}"
    )


def _text(value: Any) -> str:  # noqa: ANN401
    return "null" if value is None else str(value)


def _word(value: Any) -> str:  # noqa: ANN401
    """A name; YAML takes on and off for true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _number(value: Any) -> float:  # noqa: ANN401
    """A number; YAML takes 1e-4 for text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return float(str(value))


def _tree(study: Study) -> dict[str, Any]:
    """All of a study but its blocks as plain values."""
    return {
        field.name: _plain(getattr(study, field.name))
        for field in fields(Study)
        if field.name != "blocks"
    }


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
