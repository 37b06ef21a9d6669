"""Where a trial stands on an axis, also one of another block: read from its full settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ..settings.settings import Settings
from ..settings.tree import to_tree
from .spec import Axis

__all__ = ["leaves", "level_of", "value_at"]


def leaves(settings: Settings) -> dict[str, Any]:
    """Returns every setting by its dotted path; the kinds of blocks as `path.kind`.

    Arguments:
        settings: The settings of a run.

    Example:
        >>> from boltzwalk.recipes import digits
        >>> found = leaves(digits())
        >>> found["method.kernel.kind"], found["method.steps"]
        ('ULA', 50)
    """
    return dict(_leaves(settings))


def level_of(axis: Axis, found: Mapping[str, Any]) -> str:
    """Returns the level of an axis that settings have; "" where they have none.

    Of several levels that agree with the settings, the one that says most of them.

    Arguments:
        axis: The axis.
        found: The settings by dotted path.

    Example:
        >>> from boltzwalk.recipes import digits
        >>> from boltzwalk.study.spec import Level
        >>> noise = Axis("noise", (Level("on", ()), Level("off", ("kernel=Descent",))))
        >>> level_of(noise, leaves(digits()))
        'on'
        >>> level_of(Axis("steps", low=1, high=100), leaves(digits()))
        '50'
    """
    if not axis.levels:
        value = value_at(found, axis.name)
        return "" if value is None else f"{value:.4g}"
    agree = [level for level in axis.levels if all(_agrees(a, found) for a in level.assignments)]
    return max(agree, key=lambda level: len(level.assignments)).name if agree else ""


def value_at(found: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    """Returns the value of a setting, by its path or an ending of it; None where there is none.

    Arguments:
        found: The settings by dotted path.
        key: The dotted key.
    """
    if key in found:
        return found[key]
    paths = [p for p in found if p.endswith(f".{key}") and not p.startswith("witness.")]
    return found[paths[0]] if len(paths) == 1 else None


def _agrees(assignment: str, found: Mapping[str, Any]) -> bool:
    key, _, text = assignment.partition("=")
    for name in (key, f"{key}.kind"):
        value = value_at(found, name)
        if value is not None:
            return _same(value, text)
    return text in ("null", "None", "")


def _same(value: Any, text: str) -> bool:  # noqa: ANN401
    """Whether a value is what a text means."""
    if isinstance(value, str):
        return value == text
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    meant = yaml.safe_load(text.replace("(", "[").replace(")", "]"))
    return bool(meant == value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if path:
            yield f"{path}.kind", type(value).__name__
        for field in dataclasses.fields(value):
            inner = f"{path}.{field.name}" if path else field.name
            yield from _leaves(getattr(value, field.name), inner)
    else:
        yield path, to_tree(value)
