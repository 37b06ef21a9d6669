r"""Which axis matters: effects and their ranges over seeds, interactions, shares of the variance.

The response is the logarithm of the quality, that of a failed trial the logarithm of the limit (or
of the worst finite quality): a failure counts as the worst and is never averaged away.

For a complete grid with m the mean response of a cell, uniform over the levels, the variance is
split exactly (functional ANOVA):

.. math:: V_a = \operatorname{Var}_a \mathbb E[m \mid a] , \qquad
    V_{ab} = \operatorname{Var}_{ab} \mathbb E[m \mid a, b] - V_a - V_b , \qquad
    T_a = V - \operatorname{Var} \mathbb E[m \mid \text{all but } a]

as shares of the variance V of all cells: main, interaction and total shares (Sobol). Each seed has
its own shares; their range is the uncertainty. Where trials are missing or points are random, the
main shares are those of a random forest (fANOVA of Optuna), without a range.

Survival is Kaplan and Meier's estimate in energy gradients. With :math:`d_t` failures among the
:math:`n_t` trials that survived up to t,

.. math:: S(t) = \prod_{s \le t} \left(1 - \frac{d_s}{n_s}\right) .

A trial that was stopped by a verdict fails at its last gradient; any other is censored there, also
one whose quality is beyond the limit.

Not guaranteed: that a share is a property of a setting (it is one of these levels of these axes);
that failing and being stopped by a time limit or by halving are independent.

References:
    | Nonparametric estimation from incomplete observations
    | (Kaplan and Meier, 1958), https://doi.org/10.1080/01621459.1958.10501452
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from .outcome import Outcome
from .spec import BASELINE, Axis
from .storage import FAILED_LABELS

if TYPE_CHECKING:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
    )

__all__ = [
    "Effect",
    "Interaction",
    "Share",
    "SurvivalCurve",
    "axis_shares",
    "cell_effects",
    "interactions",
    "kaplan_meier",
    "log_quality",
    "main_effects",
    "survival_curve",
    "variance_shares",
]

TREES = 64
"""Trees of the random forest."""


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


class Interaction(NamedTuple):
    """The interaction of two axes, as a share of the variance."""

    axes: tuple[str, str]
    share: float
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


class Share(NamedTuple):
    """The share of the variance that an axis explains, with the range over seeds.

    Attributes:
        axis: The axis.
        main: The share of the axis by itself.
        low: The smallest of a seed.
        high: The largest of a seed.
        total: The share with all its interactions; nan where not known.
        total_low: The smallest of a seed.
        total_high: The largest of a seed.
        method: The method of computation.
    """

    axis: str
    main: float
    low: float
    high: float
    total: float
    total_low: float
    total_high: float
    method: str


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


def axis_shares(outcomes: Sequence[Outcome], axes: Sequence[Axis]) -> list[Share]:
    """Returns the share of the variance that each axis explains, the largest first.

    Arguments:
        outcomes: The outcomes of one block.
        axes: Its axes.
    """
    grids = _grids(outcomes, axes)
    if grids is None:
        return _forest(outcomes, axes)
    method = f"exact, of the complete grid, {len(grids)} seeds"
    mains, totals = zip(*(variance_shares(grid)[:2] for grid in grids), strict=True)
    mean_main, mean_total, _ = variance_shares(np.mean(grids, axis=0))
    return sorted(
        (
            Share(
                axis.name,
                mean_main[i],
                min(m[i] for m in mains),
                max(m[i] for m in mains),
                mean_total[i],
                min(t[i] for t in totals),
                max(t[i] for t in totals),
                method,
            )
            for i, axis in enumerate(axes)
        ),
        key=lambda share: -share.main,
    )


def interactions(outcomes: Sequence[Outcome], axes: Sequence[Axis]) -> list[Interaction]:
    """Returns the interaction of each pair of axes; none where the grid is incomplete.

    Arguments:
        outcomes: The outcomes of one block.
        axes: Its axes.
    """
    grids = _grids(outcomes, axes)
    if grids is None or len(axes) < 2:
        return []
    pairs = list(combinations(range(len(axes)), 2))
    each = [variance_shares(grid)[2] for grid in grids]
    mean = variance_shares(np.mean(grids, axis=0))[2]
    pair_shares = [
        Interaction(
            (axes[a].name, axes[b].name),
            mean[a, b],
            min(one[a, b] for one in each),
            max(one[a, b] for one in each),
        )
        for a, b in pairs
    ]
    return sorted(pair_shares, key=lambda i: -i.share)


def variance_shares(
    cells: np.ndarray,
) -> tuple[list[float], list[float], dict[tuple[int, int], float]]:
    """Returns main, total and pairwise shares of the variance of a complete grid.

    Arguments:
        cells: The responses, one axis of the array for each axis of the grid.

    Example:
        >>> a, b = np.array([[0.0], [1.0]]), np.array([[0.0, 3.0]])
        >>> [round(share, 3) for share in variance_shares(a + b)[0]]  # variances 1/4 and 9/4
        [0.1, 0.9]
    """
    total, n = float(cells.var()), cells.ndim
    every = range(n)

    def of(given: tuple[int, ...]) -> float:
        """The share of the means given these axes."""
        others = tuple(i for i in every if i not in given)
        return float(cells.mean(axis=others).var()) / total if total > 0 else 0.0

    mains = [of((i,)) for i in every]
    totals = [(1.0 if total > 0 else 0.0) - of(tuple(j for j in every if j != i)) for i in every]
    pairs = {(a, b): of((a, b)) - mains[a] - mains[b] for a, b in combinations(every, 2)}
    return mains, totals, pairs


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


def _grids(outcomes: Sequence[Outcome], axes: Sequence[Axis]) -> list[np.ndarray] | None:
    """The responses of each seed over the complete grid; None where one is missing."""
    values = log_quality(outcomes)
    names = [[level.name for level in axis.levels] for axis in axes]
    if not axes or not all(names):
        return None
    cells = {
        (o.seed, tuple(o.levels[axis.name] for axis in axes)): values[o.trial.name]
        for o in outcomes
        if o.trial.name in values
    }
    seeds = sorted({seed for seed, _ in cells})
    every = list(product(*names))
    if not seeds or any((seed, point) not in cells for seed in seeds for point in every):
        return None
    shape = [len(part) for part in names]
    return [np.array([cells[seed, point] for point in every]).reshape(shape) for seed in seeds]


def _forest(outcomes: Sequence[Outcome], axes: Sequence[Axis]) -> list[Share]:
    """Main shares by a random forest, where there are enough trials and Optuna is installed."""
    values = log_quality(outcomes)
    with_value = [o for o in outcomes if o.trial.name in values]
    if len(with_value) < 8 or len({values[o.trial.name] for o in with_value}) < 2:
        return []
    try:
        import optuna
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    except ImportError:
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for outcome in with_value:
        params = {axis.name: _position(axis, outcome) for axis in axes}
        spaces: dict[str, BaseDistribution] = {axis.name: _space(axis) for axis in axes}
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=spaces, value=values[outcome.trial.name]
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
        forest_shares = get_param_importances(study, evaluator=evaluator, normalize=False)
    method = f"fANOVA, a random forest on {len(with_value)} trials (Optuna)"
    nothing = (math.nan,) * 5
    return [Share(axis, share, *nothing, method) for axis, share in forest_shares.items()]


def _position(axis: Axis, outcome: Outcome) -> float | str:
    level = outcome.levels[axis.name]
    return level if axis.levels else min(max(float(level), axis.low), axis.high)


def _space(axis: Axis) -> CategoricalDistribution | FloatDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis.levels:
        names = [level.name for level in axis.levels]
        return CategoricalDistribution([*names, BASELINE.name])
    return FloatDistribution(axis.low, axis.high, log=axis.log)
