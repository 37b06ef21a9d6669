r"""Effects of levels with their ranges over seeds, and survival.

The response is the logarithm of the quality, that of a failed trial the logarithm of the limit (or
of the worst finite quality): a failure counts as the worst and is never averaged away.

Survival is Kaplan and Meier's estimate in energy gradients. With :math:`d_t` failures among the
:math:`n_t` trials that survived up to t,

.. math:: S(t) = \prod_{s \le t} \left(1 - \frac{d_s}{n_s}\right) .

A trial that was stopped by a verdict fails at its last gradient; any other is censored there, also
one whose quality is beyond the limit.

Not guaranteed: that failing and being stopped by a time limit or by halving are independent.

References:
    | Nonparametric estimation from incomplete observations
    | (Kaplan and Meier, 1958), https://doi.org/10.1080/01621459.1958.10501452
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .outcome import Outcome
from .results import FAILED_LABELS
from .spec import BASELINE, Axis

__all__ = [
    "Effect",
    "SurvivalCurve",
    "cell_effects",
    "kaplan_meier",
    "log_quality",
    "main_effects",
    "survival_curve",
]


class Effect(NamedTuple):
    """The trials of one level, or of one cell of a map, summarised.

    Attributes:
        level: The level, or the levels of a cell.
        trials: Its conclusive trials.
        survived: Those that did not fail.
        quality: The median quality, with failures as the worst; inf where most failed.
        low: The best median of one seed.
        high: The worst.
    """

    level: tuple[str, ...]
    trials: int
    survived: int
    quality: float
    low: float
    high: float


class SurvivalCurve(NamedTuple):
    """A survival curve, a step function that begins with 1 at 0, with its 95 % interval.

    Attributes:
        times: The times of failures, and the last time of all, shape (T,).
        share: The share that survives, shape (T,).
        low: The lower end of the interval, shape (T,).
        high: The upper end, shape (T,).
        trials: The number of trials.
        failed: The number of failures.
    """

    times: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    trials: int
    failed: int


def cell_effects(outcomes: Sequence[Outcome], axes: Sequence[str]) -> list[Effect]:
    """Returns one cell for each combination of levels.

    Arguments:
        outcomes: The outcomes.
        axes: The axes of the map; one for a main effect.
    """
    cells: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        level = tuple(outcome.levels.get(axis, "") for axis in axes)
        if all(level) and outcome.conclusive:
            cells.setdefault(level, []).append(outcome)
    return [_effect(level, inside) for level, inside in cells.items()]


def main_effects(outcomes: Sequence[Outcome], axis: Axis) -> list[Effect]:
    """Returns the effect of each level of an axis, in the order of the axis.

    Arguments:
        outcomes: The outcomes.
        axis: The axis.
    """
    by_level = {effect.level[0]: effect for effect in cell_effects(outcomes, [axis.name])}
    names = [level.name for level in axis.levels]
    names = [n for n in (BASELINE.name,) if n in by_level and n not in names] + names
    return [by_level[name] for name in names if name in by_level]


def log_quality(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Returns the log quality of each conclusive trial by its name, failures as the worst.

    Arguments:
        outcomes: The outcomes.
    """
    finite = [o.quality for o in outcomes if 0 < o.quality < math.inf]
    least, most = min(finite, default=1.0), max(finite, default=1.0)
    worst = next((o.limit for o in outcomes if o.limit < math.inf), most)
    return {
        o.trial.name: math.log(min(max(o.quality, least), worst)) for o in outcomes if o.conclusive
    }


def survival_curve(outcomes: Sequence[Outcome]) -> SurvivalCurve:
    """Returns the survival of trials over energy gradients, or updates where there are none."""
    results = [outcome.result for outcome in outcomes]
    times = [float(max(1, r.gradients if r.budget else r.update)) for r in results]
    return kaplan_meier(times, [result.label in FAILED_LABELS for result in results])


def kaplan_meier(times: Sequence[float], failed: Sequence[bool]) -> SurvivalCurve:
    """Returns the survival curve of lifetimes, some of them censored.

    Arguments:
        times: The time of failure or of censoring of each.
        failed: Whether it failed then.

    Raises:
        ValueError: If there are none.

    Example:
        >>> curve = kaplan_meier([1.0, 2.0, 2.0, 3.0], [True, True, False, False])
        >>> curve.share.tolist()  # 1, 3/4, 3/4 of 2/3
        [1.0, 0.75, 0.5, 0.5]
    """
    if not len(times):
        raise ValueError("times must hold a lifetime or more, got none")
    t, event = np.asarray(times, dtype=float), np.asarray(failed, dtype=bool)
    end = float(t.max())
    if not event.any():  # SciPy has no steps to return
        flat = np.ones(2)
        low = np.array([1.0, 0.025 ** (1 / len(t))])  # the exact interval of a share of one
        return SurvivalCurve(np.array([0.0, end]), flat, low, flat, len(t), 0)
    curve = stats.ecdf(stats.CensoredData(uncensored=t[event], right=t[~event])).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # at 0 and 1 the interval is a point
        ends = curve.confidence_interval(method="log-log")
    at = np.unique(t[event])
    low, high = (np.interp(at, e.quantiles, e.probabilities) for e in (ends.low, ends.high))
    share = curve.evaluate(at)
    low, high = (np.where(np.isfinite(v), v, share) for v in (low, high))
    last = ([end], share[-1:], low[-1:], high[-1:])
    parts = zip((0.0, 1.0, 1.0, 1.0), (at, share, low, high), last, strict=True)
    columns: list[np.ndarray] = [
        np.concatenate([[first], middle, after]) for first, middle, after in parts
    ]
    if end == at[-1]:
        columns = [column[:-1] for column in columns]
    points, shares, lower, upper = columns
    return SurvivalCurve(points, shares, lower, upper, len(t), int(event.sum()))


def _effect(level: tuple[str, ...], inside: Sequence[Outcome]) -> Effect:
    by_seed: dict[int, list[float]] = {}
    for outcome in inside:
        by_seed.setdefault(outcome.seed, []).append(outcome.quality)
    medians = [statistics.median(values) for values in by_seed.values()]
    return Effect(
        level,
        len(inside),
        sum(not outcome.failed for outcome in inside),
        statistics.median(outcome.quality for outcome in inside),
        min(medians),
        max(medians),
    )
