"""Studies as YAML files.

A level is the text of the file, so that 010, 2:00 and yes are no other numbers than they seem; the
settings of the trials refuse those that are no values. Digits may stand in groups: 2_000_000.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..settings.plain_yaml import load_yaml
from ..settings.tree import from_tree
from .spec import Axis, Block, Level, Study, with_changes

__all__ = ["read_study", "study_from_yaml"]

RANGE = {"low", "high", "log"}

GROUPS = re.compile(r"[-+]?[1-9]\d{0,2}(_\d{3})+")
"""A whole number with groups of digits, such as 2_000_000."""

LARGEST = 1_000_000
"""The most bytes of a file."""


def read_study(path: Path, assignments: Sequence[str] = ()) -> Study:
    """Returns the study in a file, with changes.

    Arguments:
        path: The file.
        assignments: The changes, each `key=value`.

    Raises:
        ValueError: If it is no text, no YAML, too large, or holds unknown or wrong settings.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{path} must be a study of at most {LARGEST:,} bytes, got {size:,}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8, got other bytes ({error})") from error
    return study_from_yaml(text, assignments, path)


def study_from_yaml(
    text: str, assignments: Sequence[str] = (), source: Path | str = "a study"
) -> Study:
    """Returns the study in a YAML text, with changes.

    Arguments:
        text: The text.
        assignments: The changes, each `key=value`: of the study where it has such a setting, else
            of the recipe.
        source: The file of the text, for messages.

    Raises:
        ValueError: If it is not YAML, or holds unknown, missing or wrong settings.

    Example:
        >>> text = "{recipe: toy, blocks: {a: {axes: {steps: [5, 10]}}}}"
        >>> study = study_from_yaml(text, ["seeds=[7]"])
        >>> study.seeds, study.block("a").axes[0].levels[1]
        ((7,), Level(name='10', assignments=('steps=10',)))
    """
    try:
        tree, texts = load_yaml(text), load_yaml(text, as_text=True)
    except yaml.YAMLError as error:
        raise ValueError(f"{source} must be YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError(f"{source} must hold settings (key: value), got {_shown(tree)}")
    try:
        return with_changes(_study(tree, texts), assignments)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _study(tree: Mapping[str, Any], texts: Mapping[str, Any]) -> Study:
    blocks = tree.get("blocks")
    if not isinstance(blocks, dict):
        raise ValueError(f"blocks must be given, each by its name, got {_shown(blocks)}")
    named = _named(blocks, texts["blocks"], "blocks")
    parsed = tuple(_block(name, block, its) for name, block, its in named)
    return from_tree(Study, {**_grouped(tree), "blocks": parsed})


def _block(name: str, tree: Any, texts: Any) -> Block:  # noqa: ANN401
    where = f"blocks.{name}"
    if not isinstance(tree, dict) or not isinstance(tree.get("axes"), dict):
        raise ValueError(f"{where}.axes must hold axes, each by its name, got {_shown(tree)}")
    named = _named(tree["axes"], texts["axes"], f"{where}.axes")
    axes = tuple(_axis(key, values, its, where) for key, values, its in named)
    return from_tree(Block, {**_grouped(tree), "name": name, "axes": axes}, where)


def _named(tree: Mapping[Any, Any], texts: Mapping[str, Any], where: str) -> list[Any]:
    """The name, the values and the texts of each entry."""
    if len(tree) != len(texts):  # yes and on are one name to YAML
        raise ValueError(f"{where} must have names that differ, got {', '.join(texts)}")
    return list(zip(texts, tree.values(), texts.values(), strict=True))


def _axis(name: str, values: Any, texts: Any, where: str) -> Axis:  # noqa: ANN401
    """An axis from a list of values, a range, or assignments by name."""
    if isinstance(values, list):
        words = [_word(value, text) for value, text in zip(values, texts, strict=True)]
        return Axis(name, tuple(Level(word, (f"{name}={word}",)) for word in words))
    if isinstance(values, dict) and {"low", "high"} <= set(values) <= RANGE:
        low, high = (_number(values[key], f"{where}.axes.{name}.{key}") for key in ("low", "high"))
        log = values.get("log", False)
        if not isinstance(log, bool):
            raise ValueError(f"{where}.axes.{name}.log must be true or false, got {_shown(log)}")
        return Axis(name, (), low, high, log)
    if isinstance(texts, dict) and all(isinstance(v, list) for v in texts.values()):
        return Axis(name, tuple(Level(key, tuple(map(str, v))) for key, v in texts.items()))
    raise ValueError(
        f"{where}.axes.{name} must be [a, b], {{low: a, high: b, log: true}} or "
        f"{{name: [key=value, ...], ...}}, got {_shown(values)}"
    )


def _word(value: Any, text: Any) -> str:  # noqa: ANN401
    """A level as it is written; whole and decimal numbers, true and null as Python writes them."""
    if not isinstance(text, str):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return text.capitalize() if text.lower() in ("true", "false") else text
    if isinstance(value, str):
        return value.replace("_", "") if GROUPS.fullmatch(value) else value
    return str(yaml.safe_load(text))  # 1e-4 stays as it is, as the names of trials have it


def _number(value: Any, where: str) -> float:  # noqa: ANN401
    value = _grouped(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where} must be a decimal or scientific number, got {_shown(value)}")
    return value


def _grouped(value: Any) -> Any:  # noqa: ANN401
    """The same with whole numbers for texts such as 2_000_000."""
    if isinstance(value, dict):
        return {key: item if key == "about" else _grouped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_grouped(item) for item in value]
    is_number = isinstance(value, str) and GROUPS.fullmatch(value)
    return int(value) if is_number else value


def _shown(value: Any) -> str:  # noqa: ANN401
    """The beginning of a value, for a message."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
