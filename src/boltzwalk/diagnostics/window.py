"""The window of the log that the verdict uses, and the scales of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ..training.folder import Trace
from .oscillation import Oscillation, oscillation, recent

__all__ = ["PRESENT", "LogWindow", "Row", "median", "summarise_window", "trace_or_log"]

Row: TypeAlias = Mapping[str, float]
"""A row of a log."""

PRESENT = 20
"""Updates whose median is the present value; an overshoot of a healthy run lasts 6."""


class LogWindow(NamedTuple):
    """Finite energy gaps d and gradient norms v of the window, and the scales of the run."""

    update: int
    every: int  # updates a value
    gap: np.ndarray
    gradient: np.ndarray
    gaps: np.ndarray  # median of -d in the middle of the run, after 3/4, and now
    slopes: np.ndarray  # median of v at the same stages
    before: float  # the largest median of -d of a quarter of the first half
    initial: float  # the first gradient norm
    drift: float  # travel over gradient norm, K ε; NaN where not logged
    distance: float  # NaN where walkers do not start from noise
    noise: float  # the path of the noise of the steps, K √(2 ε T D)
    first: Row
    last: Row
    swing: Oscillation

    @property
    def now(self) -> float:
        """The gradient norm at present."""
        return median(self.gradient[-max(5, PRESENT // self.every) :])

    def long_enough(self, updates: int) -> bool:
        """Whether the window has this many updates or more.

        Arguments:
            updates: The minimum.
        """
        return len(self.gap) >= max(PRESENT, updates // self.every)


def summarise_window(rows: Sequence[Row], trace: Trace, window: int) -> LogWindow:
    """Summarises the last part of a log, and its first row.

    Arguments:
        rows: The rows of the log.
        trace: The energy gap and the gradient norm of every update; if empty the values of the
            rows are used.
        window: The maximum number of updates; of a short run the last half is used.
    """
    trace, update, every = trace_or_log(rows, trace)
    values = max(1, window // every)
    gap, gradient = (x[np.isfinite(x)] for x in (recent(column, values) for column in trace))
    logged = (row for row in reversed(rows) if 0 < row.get("gradient_mean", 0) < math.inf)
    row = next(logged, {"gradient_mean": math.nan})
    return LogWindow(
        update=update,
        every=every,
        gap=gap,
        gradient=gradient,
        gaps=-_stages(trace.energy_gap, values // 4),
        before=_largest_before(trace.energy_gap, values // 4),
        slopes=_stages(trace.gradient_mean, values // 4),
        initial=float(trace.gradient_mean[0]) if update else math.nan,
        drift=row.get("travel", math.nan) / row["gradient_mean"],
        distance=row.get("distance", math.nan),
        noise=row.get("noise_path", 0.0),
        first=rows[0] if rows else {},
        last=rows[-1] if rows else {},
        swing=oscillation(trace, values),
    )


def trace_or_log(rows: Sequence[Row], trace: Trace) -> tuple[Trace, int, int]:
    """Returns the trace, or the log's if it is empty, its last update, and updates a value.

    Arguments:
        rows: The rows of the log.
        trace: The trace.
    """
    if len(trace.energy_gap) or not rows:
        return trace, len(trace.energy_gap), 1
    names, update = ("energy_gap", "gradient_mean"), int(rows[-1]["update"])
    columns = (np.array([row.get(name, math.nan) for row in rows]) for name in names)
    return Trace(*columns), update, max(1, update // len(rows))


def _largest_before(x: np.ndarray, most: int) -> float:
    """The largest median of -x at the end of a quarter of the first half of a run."""
    half = len(x) // 2
    n = max(1, min(most, half // 4))
    return max(-median(x[: half * quarter // 4][-n:]) for quarter in range(1, 5))


def _stages(x: np.ndarray, limit: int) -> np.ndarray:
    """The median of a series at the beginning, middle and end of the second half of a run."""
    half = len(x) - len(x) // 2
    n = max(1, min(limit, half // 4))
    starts = (len(x) - half, len(x) - (half + n) // 2, max(len(x) - n, 0))
    return np.array([median(x[start:][:n]) for start in starts])


def median(values: np.ndarray) -> float:
    """Returns the median; nan for no values.

    Arguments:
        values: The values.
    """
    return float(np.median(values)) if len(values) else math.nan
