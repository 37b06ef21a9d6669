"""The level of a trial on any axis of its study, read from its full settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ..settings.plain_yaml import load_yaml
from ..settings.settings import Settings
from ..settings.tree import to_tree
from .spec import Axis

__all__ = ["leaves", "level_of", "value_at"]


def leaves(settings: Settings) -> dict[str, Any]:
    """Returns every setting by its dotted path; the kinds of blocks as `path.kind`.

    Arguments:
        settings: The settings of a run.

    Example:
        >>> from boltzwalk.recipes.starters import digits
        >>> settings = leaves(digits())
        >>> settings["method.kernel.kind"], settings["method.steps"]
        ('ULA', 50)
    """
    return dict(_leaves(settings))


def level_of(axis: Axis, settings: Mapping[str, Any]) -> str:
    """Returns the level of an axis that settings have; "" where they have none.

    Of several levels that agree with the settings, the one with the most assignments.

    Arguments:
        axis: The axis.
        settings: The settings by dotted path.

    Example:
        >>> from boltzwalk.recipes.starters import digits
        >>> from boltzwalk.study.spec import Level
        >>> noise = Axis("noise", (Level("on", ()), Level("off", ("kernel=Descent",))))
        >>> level_of(noise, leaves(digits()))
        'on'
        >>> level_of(Axis("steps", low=1, high=100), leaves(digits()))
        '50'
    """
    if not axis.levels:
        value = value_at(settings, axis.name)
        return "" if value is None else f"{value:.4g}"
    agree = [level for level in axis.levels if all(_agrees(a, settings) for a in level.assignments)]
    return max(agree, key=lambda level: len(level.assignments)).name if agree else ""


def value_at(settings: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    """Returns the value of a setting, by its path or an ending of it; None where there is none.

    Arguments:
        settings: The settings by dotted path.
        key: The dotted key.
    """
    if key in settings:
        return settings[key]
    paths = [p for p in settings if p.endswith(f".{key}") and not p.startswith("witness.")]
    return settings[paths[0]] if len(paths) == 1 else None


def _agrees(assignment: str, settings: Mapping[str, Any]) -> bool:
    key, _, text = assignment.partition("=")
    for name in (key, f"{key}.kind"):
        value = value_at(settings, name)
        if value is not None:
            return _equals(value, text)
    return text in ("null", "None", "")


def _equals(value: Any, text: str) -> bool:  # noqa: ANN401
    """Whether a text stands for a value."""
    if isinstance(value, str):
        return value == text
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    try:
        return bool(load_yaml(text.replace("(", "[").replace(")", "]")) == value)
    except yaml.YAMLError:
        return False


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if path:
            yield f"{path}.kind", type(value).__name__
        for field in dataclasses.fields(value):
            inner = f"{path}.{field.name}" if path else field.name
            yield from _leaves(getattr(value, field.name), inner)
    else:
        yield path, to_tree(value)
