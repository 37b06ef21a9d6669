"""Check that trials use the settings in which they differ: an unused one changes nothing.

Each setting is replaced by a sentinel that raises on use: it has no truth value, equals nothing,
and is no number. A setting is unused if a few updates and a draw of samples run through with it.

Not guaranteed: that a setting which is used has an effect. A bound that is never met has none; such
trials have equal histories, which the report lists.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, NoReturn

from ..data import Dataset
from ..rng import generator
from ..settings.settings import Settings, resolve_auto
from ..training.execute import updates
from ..training.run import start
from .levels import leaves
from .plan import Trial, describe_point

__all__ = ["require_used", "uses"]

PROBE_UPDATES, PROBE_BATCH = 2, 8
"""The length and the batch of a probe."""


USE_ERRORS = (TypeError, AttributeError, ValueError, RuntimeError, FloatingPointError)
"""The errors that use of the sentinel raises; not those of missing files or memory."""


class _Sentinel:
    """A value whose use raises."""

    def __bool__(self) -> NoReturn:
        raise TypeError("used")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("used")

    def __hash__(self) -> NoReturn:
        raise TypeError("used")


def require_used(trials: Sequence[Trial], dataset: Dataset | None = None) -> None:
    """Raises if trials that differ in a setting do not use it.

    One trial is probed for each combination of kinds, switches and zeros.

    Arguments:
        trials: The trials of a study.
        dataset: Their data, if already loaded.

    Raises:
        ValueError: If a trial does not use a setting in which it differs from another.
    """
    settings = {trial.name: leaves(trial.settings) for trial in trials}
    values: dict[str, set[Any]] = {}
    for by_path in settings.values():
        for path, value in by_path.items():
            values.setdefault(path, set()).add(repr(value))
    varied = {path for path, different in values.items() if len(different) > 1}
    probed: set[Any] = set()
    for trial in trials:
        by_path = settings[trial.name]
        shape = tuple((path, _switch(value)) for path, value in by_path.items())
        for path in sorted(varied & by_path.keys() - {"seed", "updates"}):
            if path.startswith("output.") or path.endswith("kind") or (path, shape) in probed:
                continue
            probed.add((path, shape))
            if not uses(trial.settings, path, dataset):
                listed = ", ".join(sorted(values[path]))
                raise ValueError(
                    f"{path} is {listed} in trials of this study, but those with "
                    f"{describe_point(trial)} do not use it: they would be equal; take it out of "
                    f"the axes of block {trial.block}, or give them another block"
                )


def uses(settings: Settings, path: str, dataset: Dataset | None = None) -> bool:
    """Returns whether a run uses one of its settings.

    Arguments:
        settings: The settings.
        path: The dotted path of one setting.
        dataset: The data, if already loaded.

    Example:
        >>> from boltzwalk.recipes.starters import toy
        >>> settings = dataclasses.replace(toy(), updates=2, threads=1)
        >>> [uses(settings, key) for key in ("method.kernel.step_size", "witness.steps")]
        [True, False]
    """
    few = dataclasses.replace(resolve_auto(settings), updates=PROBE_UPDATES)
    if any(field.name == "steps" for field in dataclasses.fields(few.method)):
        short: Any = dataclasses.replace(few.method, steps=1)
        few = dataclasses.replace(few, method=short)
    few = dataclasses.replace(few, batch=min(PROBE_BATCH, few.batch))
    probe = _with(few, path.split("."), _Sentinel())
    data = None if path.startswith("data.") else dataset
    try:
        run = start(probe, data)
        for done in updates(run):
            run = dataclasses.replace(run, update=done.update, state=done.state)
        run.judged_on(run.dataset).draw(2, generator(0, "unused", 0, few.device))
    except USE_ERRORS:
        return True
    return False


def _switch(value: Any) -> Any:  # noqa: ANN401
    """The part of a value that may decide whether another setting is used: kind, switch or zero."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return bool(value) if is_number else repr(value)


def _with(settings: Any, keys: Sequence[str], value: object) -> Any:  # noqa: ANN401
    """A copy with one setting replaced, unchecked."""
    head, *rest = keys
    changed = copy.copy(settings)
    below = _with(getattr(settings, head), rest, value) if rest else value
    object.__setattr__(changed, head, below)
    return changed
