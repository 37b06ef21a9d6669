"""What the rules of a verdict look at: the end of a log, and the scales that it has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ..training.folder import Trace
from .oscillation import Oscillation, oscillation, recent

__all__ = ["PRESENT", "Row", "Seen", "look", "median", "series"]

Row: TypeAlias = Mapping[str, float]
"""A row of a log."""

PRESENT = 20
"""Updates whose median is the present. An overshoot of a run that held was over after 6."""


class Seen(NamedTuple):
    """What the rules look at: finite d and v of the window, and the scales that the log has."""

    update: int
    every: int  # updates for each value
    gap: np.ndarray
    gradient: np.ndarray
    gaps: np.ndarray  # median of -d in the middle of the run, after 3/4, and now
    slopes: np.ndarray  # median of v there
    before: float  # the largest median of -d of a quarter of the first half
    initial: float  # the first gradient size
    drift: float  # travel over gradient size, K ε; NaN where not logged
    distance: float  # NaN where walkers do not start from noise
    noise: float  # the path of the noise of the steps, K √(2 ε T D)
    first: Row
    last: Row
    swing: Oscillation

    @property
    def now(self) -> float:
        """The gradient size at present."""
        return median(self.gradient[-max(5, PRESENT // self.every) :])

    def long_enough(self, updates: int) -> bool:
        """Whether the window has so many updates.

        Arguments:
            updates: The number.
        """
        return len(self.gap) >= max(PRESENT, updates // self.every)


def look(rows: Sequence[Row], trace: Trace, window: int) -> Seen:
    """Takes what the rules need from the end of the log, and the first row.

    Arguments:
        rows: The rows of the log.
        trace: The energy gap and the gradient size of every update; without values those of the
            rows are taken.
        window: The most updates looked at, of a short run its last half.
    """
    trace, update, every = series(rows, trace)
    values = max(1, window // every)
    gap, gradient = (x[np.isfinite(x)] for x in (recent(column, values) for column in trace))
    logged = (row for row in reversed(rows) if 0 < row.get("gradient_mean", 0) < math.inf)
    row = next(logged, {"gradient_mean": math.nan})
    return Seen(
        update=update,
        every=every,
        gap=gap,
        gradient=gradient,
        gaps=-_stages(trace.energy_gap, values // 4),
        before=max(-median(x) for x in np.array_split(_early(trace.energy_gap), 4)),
        slopes=_stages(trace.gradient_mean, values // 4),
        initial=float(trace.gradient_mean[0]) if update else math.nan,
        drift=row.get("travel", math.nan) / row["gradient_mean"],
        distance=row.get("distance", math.nan),
        noise=row.get("noise_path", 0.0),
        first=rows[0] if rows else {},
        last=rows[-1] if rows else {},
        swing=oscillation(trace, values),
    )


def series(rows: Sequence[Row], trace: Trace) -> tuple[Trace, int, int]:
    """Returns the trace, or that of the rows where there is none; its last update, updates a value.

    Arguments:
        rows: The rows of the log.
        trace: The trace.
    """
    if len(trace.energy_gap) or not rows:
        return trace, len(trace.energy_gap), 1
    names, update = ("energy_gap", "gradient_mean"), int(rows[-1]["update"])
    columns = (np.array([row.get(name, math.nan) for row in rows]) for name in names)
    return Trace(*columns), update, max(1, update // len(rows))


def _early(x: np.ndarray) -> np.ndarray:
    return x[: len(x) // 2]


def _stages(x: np.ndarray, most: int) -> np.ndarray:
    """The median of a series at the beginning, middle and end of the second half of a run."""
    half = len(x) - len(x) // 2
    n = max(1, min(most, half // 4))
    starts = (len(x) - half, len(x) - (half + n) // 2, max(len(x) - n, 0))
    return np.array([median(x[start:][:n]) for start in starts])


def median(values: np.ndarray) -> float:
    """Returns the median; nan of nothing.

    Arguments:
        values: The values.
    """
    return float(np.median(values)) if len(values) else math.nan
