"""Whether a trial uses a setting: a setting that nothing uses changes nothing, and misleads.

The value of a setting is replaced by one that cannot be used: it has no truth, equals nothing, and
is no number. If a few updates and a draw of samples go through with it, nothing has used it.

Not guaranteed: that a setting which is used has an effect. A bound that is never met has none, and
trials that came out the same bit for bit show it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, NoReturn

from ..data import Dataset
from ..rng import generator
from ..settings.settings import Settings, resolve
from ..train.execute import updates
from ..train.run import start
from ..train.sampling import draw
from .levels import leaves as of
from .plan import Trial, point_of

__all__ = ["refuse_unused", "uses"]

UPDATES = 2
"""Updates after which everything has been used that is used at every update."""


BATCH = 8


USED = (TypeError, AttributeError, ValueError, RuntimeError, FloatingPointError)
"""What the use of a value that is none ends in; files and memory that are missing are no use."""


class _Unusable:
    """A value that any use of raises."""

    def __bool__(self) -> NoReturn:
        raise TypeError("used")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("used")

    def __hash__(self) -> NoReturn:
        raise TypeError("used")


def refuse_unused(trials: Sequence[Trial], dataset: Dataset | None = None) -> None:
    """Raises if trials that differ in a setting do not use it.

    One trial is tried for each combination of kinds, switches and zeros.

    Arguments:
        trials: The trials of a study.
        dataset: Their data, where they were loaded before.

    Raises:
        ValueError: If one does not use a setting in which it differs from another.
    """
    leaves = {trial.name: of(trial.settings) for trial in trials}
    seen: dict[str, set[Any]] = {}
    for values in leaves.values():
        for path, setting in values.items():
            seen.setdefault(path, set()).add(repr(setting))
    varied = {path for path, different in seen.items() if len(different) > 1}
    tried: set[Any] = set()
    for trial in trials:
        own = leaves[trial.name]
        shape = tuple((path, _switch(value)) for path, value in own.items())
        for path in sorted(varied & own.keys() - {"seed", "updates"}):
            if path.startswith("output.") or path.endswith("kind") or (path, shape) in tried:
                continue
            tried.add((path, shape))
            if not uses(trial.settings, path, dataset):
                listed = ", ".join(sorted(seen[path]))
                raise ValueError(
                    f"{path} is {listed} in trials of this study, but those with "
                    f"{point_of(trial)} do not use it: they would be the same; take it out of the "
                    f"axes of block {trial.block}, or make a block of its own"
                )


def uses(settings: Settings, path: str, dataset: Dataset | None = None) -> bool:
    """Returns whether a run of these settings uses one of them.

    Arguments:
        settings: The settings.
        path: The dotted path of one setting.
        dataset: The data, where they were loaded before.

    Example:
        >>> from boltzwalk.recipes import toy
        >>> settings = dataclasses.replace(toy(), updates=2, threads=1)
        >>> [uses(settings, key) for key in ("method.kernel.step_size", "witness.steps")]
        [True, False]
    """
    # Methods without steps move no walkers, and no study takes them.
    short: Any = dataclasses.replace(settings.method, steps=1)  # type: ignore[arg-type]
    few = dataclasses.replace(resolve(settings), method=short, updates=UPDATES)
    few = dataclasses.replace(few, batch=min(BATCH, few.batch))
    spoilt = _with(few, path.split("."), _Unusable())
    data = None if path.startswith("data.") else dataset
    try:
        run = start(spoilt, data)
        for done in updates(run):
            run = dataclasses.replace(run, update=done.update, state=done.state)
        draw(run, 2, generator(0, "unused", 0, few.device))
    except USED:
        return True
    return False


def _switch(value: Any) -> Any:  # noqa: ANN401
    """What may decide whether another setting is used: a kind, a switch, a zero."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return bool(value) if is_number else repr(value)


def _with(settings: Any, keys: Sequence[str], value: object) -> Any:  # noqa: ANN401
    """A copy with one setting replaced, unchecked."""
    head, *rest = keys
    changed = copy.copy(settings)
    below = _with(getattr(settings, head), rest, value) if rest else value
    object.__setattr__(changed, head, below)
    return changed
