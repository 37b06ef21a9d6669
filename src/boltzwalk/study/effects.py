r"""Which axis matters: effects with their ranges over seeds, interactions, shares of the variance.

The response is the logarithm of the quality, that of a failed trial the logarithm of the limit (or
of the worst finite quality): a failure is as bad as it gets, and is never averaged away.

For a complete grid with m the mean response of a cell, uniform over the levels, the variance is
split exactly (functional ANOVA):

.. math:: V_a = \operatorname{Var}_a \mathbb E[m \mid a] , \qquad
    V_{ab} = \operatorname{Var}_{ab} \mathbb E[m \mid a, b] - V_a - V_b , \qquad
    T_a = V - \operatorname{Var} \mathbb E[m \mid \text{all but } a]

as shares of the variance V of all cells: main, interaction and total shares (Sobol). Each seed has
shares of its own, whose range is the uncertainty. Where trials are missing or points were drawn,
the main shares are those of a random forest (fANOVA of Optuna), without a range.

Not guaranteed: that a share is a property of a setting. It is one of these levels of these axes.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .outcome import Outcome
from .spec import Axis

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
    "interactions",
    "main_effects",
    "response",
    "shares",
    "stability",
    "variance_shares",
]

FORESTS = 64


class Effect(NamedTuple):
    """What trials of one level, or of one cell of a map, have in common.

    Attributes:
        level: The level, or the levels of a cell.
        trials: How many are known.
        survived: How many did not fail.
        quality: The median quality, failures counted as the worst; inf where most failed.
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
    """How much the effect of one axis depends on another, as a share of the variance."""

    axes: tuple[str, str]
    share: float
    low: float
    high: float


class Share(NamedTuple):
    """How much of the variance an axis explains, with the range over seeds.

    Attributes:
        axis: The axis.
        main: By itself.
        low: The least of a seed.
        high: The largest of a seed.
        total: With all its interactions; nan where not known.
        total_low: The least of a seed.
        total_high: The largest of a seed.
        method: How it was computed.
    """

    axis: str
    main: float
    low: float
    high: float
    total: float
    total_low: float
    total_high: float
    method: str


def stability(found: Sequence[Outcome], axes: Sequence[str]) -> list[Effect]:
    """Returns one cell for each combination of levels: how many seeds survive, and how well.

    Arguments:
        found: The trials that are over.
        axes: The axes of the map; one for a main effect.
    """
    cells: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in found:
        level = tuple(outcome.levels.get(axis, "") for axis in axes)
        if all(level) and outcome.known:
            cells.setdefault(level, []).append(outcome)
    return [_effect(level, inside) for level, inside in cells.items()]


def main_effects(found: Sequence[Outcome], axis: Axis) -> list[Effect]:
    """Returns the effect of each level of an axis, in the order of the axis.

    Arguments:
        found: The trials that are over.
        axis: The axis.
    """
    by_level = {effect.level[0]: effect for effect in stability(found, [axis.name])}
    names = [level.name for level in axis.levels]
    names = [n for n in ("as it is",) if n in by_level and n not in names] + names
    return [by_level[name] for name in names if name in by_level]


def response(found: Sequence[Outcome]) -> dict[str, float]:
    """Returns the response of each known trial, by its name.

    Arguments:
        found: The trials that are over.
    """
    finite = [o.quality for o in found if 0 < o.quality < math.inf]
    least, most = min(finite, default=1.0), max(finite, default=1.0)
    worst = next((o.limit for o in found if o.limit < math.inf), most)
    return {o.trial.name: math.log(min(max(o.quality, least), worst)) for o in found if o.known}


def shares(found: Sequence[Outcome], axes: Sequence[Axis]) -> list[Share]:
    """Returns the share of the variance that each axis explains, the largest first.

    Arguments:
        found: The trials of one block.
        axes: Its axes.
    """
    grids = _grids(found, axes)
    if grids is None:
        return _forest(found, axes)
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


def interactions(found: Sequence[Outcome], axes: Sequence[Axis]) -> list[Interaction]:
    """Returns the share of each pair of axes beyond their own; none where the grid is incomplete.

    Arguments:
        found: The trials of one block.
        axes: Its axes.
    """
    grids = _grids(found, axes)
    if grids is None or len(axes) < 2:
        return []
    pairs = list(combinations(range(len(axes)), 2))
    each = [variance_shares(grid)[2] for grid in grids]
    mean = variance_shares(np.mean(grids, axis=0))[2]
    found_pairs = [
        Interaction(
            (axes[a].name, axes[b].name),
            mean[a, b],
            min(one[a, b] for one in each),
            max(one[a, b] for one in each),
        )
        for a, b in pairs
    ]
    return sorted(found_pairs, key=lambda i: -i.share)


def variance_shares(
    cells: np.ndarray,
) -> tuple[list[float], list[float], dict[tuple[int, int], float]]:
    """Returns main, total and pairwise shares of the variance of a complete grid.

    Arguments:
        cells: The responses, one axis of the array for each of the grid.

    Example:
        >>> a, b = np.array([[0.0], [1.0]]), np.array([[0.0, 3.0]])
        >>> [round(share, 3) for share in variance_shares(a + b)[0]]  # variances 1/4 and 9/4
        [0.1, 0.9]
    """
    total, n = float(cells.var()), cells.ndim
    every = range(n)

    def of(kept: tuple[int, ...]) -> float:
        """The share of the means given these axes."""
        others = tuple(i for i in every if i not in kept)
        return float(cells.mean(axis=others).var()) / total if total > 0 else 0.0

    mains = [of((i,)) for i in every]
    totals = [(1.0 if total > 0 else 0.0) - of(tuple(j for j in every if j != i)) for i in every]
    pairs = {(a, b): of((a, b)) - mains[a] - mains[b] for a, b in combinations(every, 2)}
    return mains, totals, pairs


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


def _grids(found: Sequence[Outcome], axes: Sequence[Axis]) -> list[np.ndarray] | None:
    """The responses of each seed over the whole grid; None where one is missing."""
    values = response(found)
    names = [[level.name for level in axis.levels] for axis in axes]
    if not axes or not all(names):
        return None
    cells = {
        (o.seed, tuple(o.levels[axis.name] for axis in axes)): values[o.trial.name]
        for o in found
        if o.trial.name in values
    }
    seeds = sorted({seed for seed, _ in cells})
    every = list(product(*names))
    if not seeds or any((seed, point) not in cells for seed in seeds for point in every):
        return None
    shape = [len(part) for part in names]
    return [np.array([cells[seed, point] for point in every]).reshape(shape) for seed in seeds]


def _forest(found: Sequence[Outcome], axes: Sequence[Axis]) -> list[Share]:
    """Main shares by a random forest, where there are enough trials and Optuna is installed."""
    values = response(found)
    known = [o for o in found if o.trial.name in values]
    if len(known) < 8 or len({values[o.trial.name] for o in known}) < 2:
        return []
    try:
        import optuna
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    except ImportError:
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for outcome in known:
        params = {axis.name: _position(axis, outcome) for axis in axes}
        spaces: dict[str, BaseDistribution] = {axis.name: _space(axis) for axis in axes}
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=spaces, value=values[outcome.trial.name]
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = FanovaImportanceEvaluator(n_trees=FORESTS, seed=0)
        found_shares = get_param_importances(study, evaluator=evaluator, normalize=False)
    method = f"fANOVA, a random forest on {len(known)} trials (Optuna)"
    nothing = (math.nan,) * 5
    return [Share(axis, share, *nothing, method) for axis, share in found_shares.items()]


def _position(axis: Axis, outcome: Outcome) -> float | str:
    level = outcome.levels[axis.name]
    return level if axis.levels else min(max(float(level), axis.low), axis.high)


def _space(axis: Axis) -> CategoricalDistribution | FloatDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis.levels:
        names = [level.name for level in axis.levels]
        return CategoricalDistribution([*names, "as it is"])
    return FloatDistribution(axis.low, axis.high, log=axis.log)
