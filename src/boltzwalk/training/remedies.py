"""Remedies of a run that left its way: settings to change, and their order by diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ..settings.settings import Settings
from ..settings.tree import to_tree

__all__ = ["PLANS", "REMEDIES", "Change", "nothing"]

Change: TypeAlias = Callable[[Settings], list[str]]
"""Overrides for settings; none where the run has no such setting."""


def _scaled(name: str, factor: float) -> Change:
    """A remedy that multiplies a setting, more at each use; none where the run has no such."""

    def changes(settings: Settings) -> list[str]:
        value: Any = to_tree(settings)
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, int | float) or isinstance(value, bool) or not value:
            return []
        new = value * factor
        return [f"{name}={round(new)}" if isinstance(value, int) else f"{name}={new:.6g}"]

    return changes


def _clip(settings: Settings) -> list[str]:
    norm = settings.clip_gradient / 4 if settings.clip_gradient else 1.0
    return [f"clip_gradient={norm!r}"]


def _penalty(settings: Settings) -> list[str]:
    value = getattr(settings.method, "energy_penalty", None)
    return [] if value is None else [f"method.energy_penalty={max(10 * value, 0.1)!r}"]


def _rates(settings: Settings) -> list[str]:
    return [
        *_scaled("optimizer.learning_rate", 0.2)(settings),
        *_scaled("method.base_rate", 0.2)(settings),
    ]


def _constant_rate(settings: Settings) -> list[str]:
    schedule = settings.schedule
    return (
        ["schedule.decay=1", "schedule.anneal=0"] if schedule.decay < 1 or schedule.anneal else []
    )


def nothing(settings: Settings) -> list[str]:
    """Changes no setting.

    Arguments:
        settings: The settings.
    """
    return []


REMEDIES: dict[str, Change] = {
    "go back": nothing,
    "fresh moments": nothing,
    "restart of chains": nothing,
    "lower rate": _rates,
    "clipped gradient": _clip,
    "more steps": _scaled("method.steps", 2),
    "smaller steps": _scaled("method.kernel.step_size", 0.3),
    "energy penalty": _penalty,
    "constant rate": _constant_rate,
}
"""Remedies by name, with the settings that they change; the first three change none."""

PLANS: dict[str, tuple[str, ...]] = {
    "batch": (),
    "parameters": ("go back", "fresh moments", "lower rate"),
    "optimizer": ("go back", "fresh moments", "lower rate"),
    "rate": ("go back", "constant rate", "lower rate"),
    "no motion": ("go back", "constant rate", "fresh moments"),
    "explosion": ("go back", "lower rate", "lower rate", "more steps", "lower rate"),
    "frozen": ("go back", "lower rate", "smaller steps", "lower rate", "smaller steps"),
    "samples": ("go back", "lower rate", "restart of chains", "more steps", "lower rate"),
    "weights": ("go back", "lower rate", "smaller steps", "lower rate"),
    "not finite": ("go back", "lower rate", "clipped gradient", "lower rate", "energy penalty"),
}  # fmt: skip
"""The remedies of each diagnosis, in their order.

Bad batches have none: others were drawn in their place already. The first one only goes back:
where something else than the settings was the cause, such as damaged memory, nothing of the run
changes. A run whose settings are the cause comes to the same point again, and takes the second.
"""
