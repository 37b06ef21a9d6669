r"""Which axis matters: shares of the variance of log quality, without those of noise.

For a complete grid with m the mean response of a cell over S seeds, uniform over the levels, the
variance is split exactly (functional ANOVA):

.. math:: V_a = \operatorname{Var}_a \mathbb E[m \mid a] , \qquad
    V_{ab} = \operatorname{Var}_{ab} \mathbb E[m \mid a, b] - V_a - V_b , \qquad
    T_a = V - \operatorname{Var} \mathbb E[m \mid \text{all but } a]

as shares of the variance V of all cells: main, interaction and total shares (Sobol). Each is a
quadratic form :math:`m^T Q m / N V` with Q a projection. Noise of the seeds alone has shares too:
of a grid of 4 x 4 x 3 cells a total share of 77 % for an axis of four levels. With the variance
:math:`\sigma_c^2` between the seeds of cell c this share is

.. math:: \frac{\operatorname{tr} Q \Sigma}{N V} , \qquad
    \Sigma = \operatorname{diag}(\sigma_c^2 / S)

It is subtracted, and given next to the result. Shares and noise sum to one. The variance of the
quadratic form, for an interval and for tests, is that of normal noise

.. math:: 4 (Q \mu)^T \Sigma (Q \mu) + 2 \operatorname{tr} (Q \Sigma)^2
    + \tfrac{2}{S - 1} \textstyle\sum_c Q_{cc}^2 \Sigma_{cc}^2

where the last term is of the noise that is subtracted, with a t quantile of Satterthwaite's degrees
of freedom. An interval of a share s has :math:`Q - s Q_\text{all}` in the place of Q in the first
two. Effects of the seed on all cells together are left out.

Where trials are missing or points are random, the main shares are those of a random forest (fANOVA
of Optuna), without an interval, and with a part of noise that is not known.

Not guaranteed: that a share is a property of a setting (it is one of these levels of these axes);
anything of one seed, whose noise is not known and not subtracted.

References:
    | An approximate distribution of estimates of variance components
    | (Satterthwaite, 1946), https://doi.org/10.2307/3002019
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from .effects import log_quality
from .outcome import Outcome
from .spec import BASELINE, Axis

if TYPE_CHECKING:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
    )

__all__ = [
    "Interaction",
    "NoiseFreeShare",
    "Share",
    "axis_shares",
    "compare_totals",
    "interactions",
    "larger_total_p",
    "share_without_noise",
    "variance_shares",
]

TREES = 64
"""Trees of the random forest."""

MAX_CELLS = 2000
"""The largest grid, whose projections are matrices."""


class NoiseFreeShare(NamedTuple):
    """A share of the variance without that of noise, with its 95 % interval.

    Attributes:
        share: The share; nan of no variance.
        low: The lower end of the interval; nan of one seed.
        high: The upper end.
        noise: The share that the noise of the seeds has by itself, already subtracted; of one seed
            the share if all were noise, which is not subtracted.
    """

    share: float
    low: float
    high: float
    noise: float


class Interaction(NamedTuple):
    """The interaction of two axes, as a share of the variance."""

    axes: tuple[str, str]
    part: NoiseFreeShare


class Share(NamedTuple):
    """The shares of the variance that an axis explains.

    Attributes:
        axis: The axis.
        main: The share of the axis by itself.
        total: The share with all its interactions; nan where not known.
        method: The method of computation.
    """

    axis: str
    main: NoiseFreeShare
    total: NoiseFreeShare
    method: str


class GridNoise(NamedTuple):
    """The mean over seeds of the cells of a grid, and the variance of these means by noise.

    Attributes:
        cells: The means, shape (N,).
        variance: The variance of each, shape (N,); nan of one seed.
        freedom: The degrees of freedom of each variance.
    """

    cells: np.ndarray
    variance: np.ndarray
    freedom: int


def axis_shares(outcomes: Sequence[Outcome], axes: Sequence[Axis]) -> list[Share]:
    """Returns the share of the variance that each axis explains, the largest first.

    Arguments:
        outcomes: The outcomes of one block.
        axes: Its axes.
    """
    grids = _grids(outcomes, axes)
    if grids is None or grids[0].size > MAX_CELLS:
        return _forest(outcomes, axes)
    seeds = f"{len(grids)} seeds" if len(grids) > 1 else "one seed, noise not subtracted"
    method = f"exact, of the complete grid, {seeds}"
    shares = [
        Share(
            axis.name,
            share_without_noise(grids, (i,)),
            share_without_noise(grids, (i,), total=True),
            method,
        )
        for i, axis in enumerate(axes)
    ]
    return sorted(shares, key=lambda share: -share.main.share)


def interactions(outcomes: Sequence[Outcome], axes: Sequence[Axis]) -> list[Interaction]:
    """Returns the interaction of each pair of axes; none where the grid is incomplete.

    Arguments:
        outcomes: The outcomes of one block.
        axes: Its axes.
    """
    grids = _grids(outcomes, axes)
    if grids is None or len(axes) < 2 or grids[0].size > MAX_CELLS:
        return []
    pairs = [
        Interaction((axes[a].name, axes[b].name), share_without_noise(grids, (a, b)))
        for a, b in combinations(range(len(axes)), 2)
    ]
    return sorted(pairs, key=lambda pair: -pair.part.share)


def compare_totals(
    outcomes: Sequence[Outcome], axes: Sequence[Axis], name: str
) -> dict[str, float]:
    """Returns p-values that an axis has a larger total share than each other axis, by its name.

    One-sided: near 1 where the other axis has the larger share. Empty where the grid is incomplete
    or there is one seed, so that the noise is not known.

    Arguments:
        outcomes: The outcomes of one block.
        axes: Its axes.
        name: The name of the axis.
    """
    grids = _grids(outcomes, axes)
    if grids is None or len(grids) < 2 or grids[0].size > MAX_CELLS:
        return {}
    names = [axis.name for axis in axes]
    i = names.index(name)
    return {other: larger_total_p(grids, i, j) for j, other in enumerate(names) if j != i}


def larger_total_p(grids: Sequence[np.ndarray], a: int, b: int) -> float:
    """Returns the one-sided p-value that axis a of a grid has a larger total share than axis b.

    Arguments:
        grids: The responses of two seeds or more.
        a: The number of one axis.
        b: The number of the other.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> effect = np.array([[0.0, 0.0], [3.0, 3.0]])
        >>> p = larger_total_p([effect + rng.normal(size=(2, 2)) / 4 for _ in range(4)], 0, 1)
        >>> p < 0.01
        True
    """
    shape, noise = grids[0].shape, _grid_noise(grids)
    difference = _projection(shape, (a,), True) - _projection(shape, (b,), True)
    value = float(noise.cells @ difference @ noise.cells - difference.diagonal() @ noise.variance)
    error, freedom = _standard_error(noise, difference, difference)
    if error == 0:
        return 0.5 if value == 0 else float(value < 0)
    return float(stats.t.sf(value / error, freedom))


def share_without_noise(
    grids: Sequence[np.ndarray], axes: tuple[int, ...], total: bool = False
) -> NoiseFreeShare:
    """Returns the share of the variance of an axis, or of the interaction of two, without noise.

    Arguments:
        grids: The responses of each seed, one axis of the array for each axis of the grid.
        axes: The number of an axis, or of two.
        total: Whether all interactions of the axis count.

    Example:
        >>> a, b = np.array([[0.0], [1.0]]), np.array([[0.0, 3.0]])
        >>> round(share_without_noise([a + b, a + b + 5], (1,)).share, 3)  # variances 1/4 and 9/4
        0.9
    """
    shape, noise = grids[0].shape, _grid_noise(grids)
    full = _projection(shape, (), True)
    variance = float(noise.cells @ full @ noise.cells)
    projection = _projection(shape, axes, total)
    if not variance > 0:
        return NoiseFreeShare(*(math.nan,) * 4)
    raw = float(noise.cells @ projection @ noise.cells) / variance
    if len(grids) < 2:
        expected = float(projection.trace()) / (len(noise.cells) - 1)
        return NoiseFreeShare(raw, math.nan, math.nan, expected)
    by_noise = float(projection.diagonal() @ noise.variance) / variance
    share = raw - by_noise
    # The variance has a part of noise too, which counts as a share of its own.
    error, freedom = _standard_error(noise, projection - share * full, projection)
    half = float(stats.t.ppf(0.975, freedom)) * error / variance
    return NoiseFreeShare(share, share - half, share + half, by_noise)


def _grid_noise(grids: Sequence[np.ndarray]) -> GridNoise:
    """The mean of the cells over seeds and the variance of each, without effects of a seed."""
    values = np.stack([grid.ravel() - grid.mean() for grid in grids])
    seeds, cells = values.shape
    mean = values.mean(0)
    if seeds < 2:
        return GridNoise(mean, np.full(cells, math.nan), 0)
    within = ((values - mean) ** 2).sum(0) / (seeds - 1)
    return GridNoise(mean, within * cells / (cells - 1) / seeds, seeds - 1)


def _standard_error(
    noise: GridNoise, form: np.ndarray, subtracted: np.ndarray
) -> tuple[float, float]:
    """The standard error of a quadratic form, and its degrees of freedom.

    Arguments:
        noise: The cells and their noise.
        form: The quadratic form, shape (N, N).
        subtracted: The form whose noise is subtracted, shape (N, N).
    """
    linear = (form @ noise.cells) ** 2 * noise.variance
    trace = float(noise.variance @ (form**2) @ noise.variance)
    # The mean has noise itself, of which the square of the linear part has the trace.
    variance = max(4 * float(linear.sum()) - 2 * trace, 2 * trace)
    # Of an estimate of a variance the mean square is larger by (S + 1) / (S - 1).
    squares = (subtracted.diagonal() * noise.variance) ** 2
    variance += 2 * float(squares.sum()) / (noise.freedom + 2)
    weights = linear if linear.sum() > 0 else noise.variance
    size = float((weights**2).sum())
    freedom = noise.freedom * float(weights.sum()) ** 2 / size if size > 0 else noise.freedom
    return math.sqrt(variance), freedom


def _projection(shape: tuple[int, ...], axes: tuple[int, ...], total: bool) -> np.ndarray:
    """The projection of the cells, in a row, on an effect: of these axes alone or with all others.

    In total of no axes it is that on all effects.
    """
    parts = []
    for i, levels in enumerate(shape):
        mean = np.full((levels, levels), 1 / levels)
        centred = np.eye(levels) - mean
        parts.append(centred if i in axes else np.eye(levels) if total else mean)
    if total and not axes:
        size = math.prod(shape)
        every: np.ndarray = np.eye(size) - np.full((size, size), 1 / size)
        return every
    form: np.ndarray = np.ones((1, 1))
    for part in parts:
        form = np.kron(form, part)
    return form


def variance_shares(
    cells: np.ndarray,
) -> tuple[list[float], list[float], dict[tuple[int, int], float]]:
    """Returns main, total and pairwise shares of the variance of a complete grid, noise included.

    Arguments:
        cells: The responses, one axis of the array for each axis of the grid.

    Example:
        >>> a, b = np.array([[0.0], [1.0]]), np.array([[0.0, 3.0]])
        >>> [round(share, 3) for share in variance_shares(a + b)[0]]  # variances 1/4 and 9/4
        [0.1, 0.9]
    """
    every = range(cells.ndim)

    def share(axes: tuple[int, ...], total: bool = False) -> float:
        value = share_without_noise([cells], axes, total).share
        return 0.0 if math.isnan(value) else value

    pairs = {pair: share(pair) for pair in combinations(every, 2)}
    return [share((i,)) for i in every], [share((i,), True) for i in every], pairs


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
    unknown = (math.nan,) * 3
    return [
        Share(axis, NoiseFreeShare(share, *unknown), NoiseFreeShare(math.nan, *unknown), method)
        for axis, share in forest_shares.items()
    ]


def _position(axis: Axis, outcome: Outcome) -> float | str:
    level = outcome.levels[axis.name]
    return level if axis.levels else min(max(float(level), axis.low), axis.high)


def _space(axis: Axis) -> CategoricalDistribution | FloatDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis.levels:
        names = [level.name for level in axis.levels]
        return CategoricalDistribution([*names, BASELINE.name])
    return FloatDistribution(axis.low, axis.high, log=axis.log)
