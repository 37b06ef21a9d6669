"""Tables for `tables.py`: real ones, made ones with a known density, their splits and outliers.

Every value on a grid is spread over its cell once, before the rows are split, so that all models
get the same rows. Rows that were equal before that stay in one split: each test row is new.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sklearn.datasets
from scipy import stats
from scipy.special import logsumexp

from boltzwalk.data import Table, Uci

__all__ = ["OUTLIERS", "TABLES", "Rows", "load_rows", "outliers", "split"]

SPLIT = (0.7, 0.1)
"""The shares of training and validation rows; the others test."""

MOST_ROWS = (2000, 400, 1000)
"""The rows of each split, at most: three seeds of all models must end within an hour."""

Density = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Rows:
    """A table of numbers.

    Attributes:
        x: The rows, float64, shape (N, D), every column of unit variance.
        groups: Equal for rows that were equal before the noise, shape (N,).
        classes: The class of each row, shape (N,), or None.
        log_density: The true density of the rows of a made table, or None.
    """

    x: np.ndarray
    groups: np.ndarray
    classes: np.ndarray | None = None
    log_density: Density | None = None


def load_rows(name: str, data: Path | None = None) -> Rows:
    """Returns a table of `TABLES`.

    Arguments:
        name: Which.
        data: The folder of the tables of UCI.
    """
    return TABLES[name](data)


def split(rows: Rows, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the numbers of training, validation and test rows, groups in one split.

    Arguments:
        rows: The table.
        seed: Determines the split.
    """
    _, group = np.unique(rows.groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    n, rank = len(order), np.argsort(order)[group]
    train, validation = rank < SPLIT[0] * n, rank < sum(SPLIT) * n
    parts = (np.where(train)[0], np.where(validation & ~train)[0], np.where(~validation)[0])
    thin = np.random.default_rng(seed + 1000)
    a, b, c = (thin.permutation(p)[:most] for p, most in zip(parts, MOST_ROWS, strict=True))
    return a, b, c


def _measured(x: np.ndarray, classes: np.ndarray | None = None) -> Rows:
    """Real rows: noise over the cells of a grid, unit variance."""
    x = np.asarray(x, dtype=np.float64)
    _, groups = np.unique(x, axis=0, return_inverse=True)
    rng, columns = np.random.default_rng(12345), []
    for column in x.T:
        values = np.unique(column)
        step = np.median(np.diff(values)) if 1 < len(values) < 0.95 * len(column) else 0.0
        if len(values) == 1:
            step = 1.0
        columns.append(column + step * (rng.random(len(column)) - 0.5))
    noisy = np.stack(columns, 1)
    return Rows((noisy - noisy.mean(0)) / noisy.std(0), groups.reshape(-1), classes)


def _uci(name: str) -> Callable[[Path | None], Rows]:
    """A table of UCI, with the columns of the recipes of density."""

    def load(data: Path | None) -> Rows:
        from boltzwalk.data.uci import SOURCES

        source = SOURCES[Uci(name).name]
        path = (data or Path("data")) / "UCI" / source.file
        return _measured(Table(str(path), drop=source.drop).read()[1])

    return load


def _voice(data: Path | None) -> Rows:
    """Voices of 31 people, 23 of whom are ill."""
    path = (data or Path("data")) / "UCI" / "parkinsons.data.gz"
    columns, x = Table(str(path), drop=("name",)).read()
    ill = columns.index("status")
    return _measured(np.delete(x, ill, 1), x[:, ill].astype(int))


def _bundled(name: str) -> Callable[[Path | None], Rows]:
    """A table of scikit-learn."""

    def load(data: Path | None) -> Rows:
        bunch = getattr(sklearn.datasets, f"load_{name}")()
        classes = None if name == "diabetes" else bunch.target
        return _measured(bunch.data, classes)

    return load


def _made(
    sample: Callable[[np.random.Generator, int], np.ndarray], log_density: Density, n: int
) -> Callable[[Path | None], Rows]:
    """Rows of a density, scaled to unit variance."""

    def load(data: Path | None) -> Rows:
        raw = sample(np.random.default_rng(2024), n)
        shift, scale = raw.mean(0), raw.std(0)
        volume = np.log(scale).sum()

        def density(x: np.ndarray) -> np.ndarray:
            return log_density(x * scale + shift) + volume

        return Rows((raw - shift) / scale, np.arange(n), None, density)

    return load


CORRELATION = 0.6 ** np.abs(np.subtract.outer(np.arange(8), np.arange(8)))


def _houses(rng: np.random.Generator, n: int) -> np.ndarray:
    """Eight columns like those of houses: skewed, bounded and bimodal, by a Gaussian copula."""
    return _house_quantiles(rng.multivariate_normal(np.zeros(8), CORRELATION, n))


MARGINALS = (
    stats.lognorm(0.5), stats.beta(1.2, 1.2), stats.gamma(2.0), stats.lognorm(0.9),
    stats.gamma(1.0), stats.norm(), stats.beta(2.0, 0.8), stats.weibull_min(1.5),
)  # fmt: skip


def _house_quantiles(z: np.ndarray) -> np.ndarray:
    u = stats.norm.cdf(z)
    return np.stack([m.ppf(c) for m, c in zip(MARGINALS, u.T, strict=True)], 1)


def _houses_density(x: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        u = np.stack([m.cdf(c) for m, c in zip(MARGINALS, x.T, strict=True)], 1)
        z = stats.norm.ppf(np.clip(u, 1e-15, 1 - 1e-15))
        log_p = sum(m.logpdf(c) for m, c in zip(MARGINALS, x.T, strict=True))
    copula = stats.multivariate_normal(np.zeros(8), CORRELATION).logpdf(z)
    return log_p + copula - stats.norm.logpdf(z).sum(1)


MODES = np.random.default_rng(7).normal(size=(6, 5)) * 2.5
SPREADS = [np.linalg.qr(np.random.default_rng(m).normal(size=(5, 5)))[0] for m in range(6)]
SHARES = np.array([0.3, 0.25, 0.2, 0.15, 0.07, 0.03])
LENGTHS = np.array([1.5, 1.0, 0.6, 0.4, 0.3])


def _mixture(rng: np.random.Generator, n: int) -> np.ndarray:
    mode = rng.choice(6, n, p=SHARES)
    z = rng.normal(size=(n, 5)) * LENGTHS
    return MODES[mode] + np.einsum("nd,ndk->nk", z, np.stack(SPREADS)[mode])


def _mixture_density(x: np.ndarray) -> np.ndarray:
    parts = []
    for share, mean, turn in zip(SHARES, MODES, SPREADS, strict=True):
        z = (x - mean) @ turn.T / LENGTHS
        parts.append(np.log(share) + stats.norm.logpdf(z).sum(1) - np.log(LENGTHS).sum())
    return logsumexp(parts, axis=0)


def _moons(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two half circles in the plane, blurred by 0.1, and four columns of noise."""
    angle, upper = np.pi * rng.random(n), rng.random(n) < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    plane = np.stack([x, y], 1) + 0.1 * rng.normal(size=(n, 2))
    return np.concatenate([plane, rng.normal(size=(n, 4))], 1)


def _moons_density(x: np.ndarray) -> np.ndarray:
    """The half circles by 2,000 points of each, far closer than the blur."""
    angle = np.pi * (np.arange(2000) + 0.5) / 2000
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    centres, out = np.concatenate([upper, lower]), []
    for part in np.array_split(x[:, :2], 1 + len(x) // 500):
        squares = ((part[:, None] - centres) ** 2).sum(2)
        log_p = logsumexp(-squares / 0.02, axis=1) - math.log(len(centres))
        out.append(log_p - math.log(2 * math.pi * 0.01))
    return np.concatenate(out) + stats.norm.logpdf(x[:, 2:]).sum(1)


TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]


def _heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    """Six independent Student columns of three degrees of freedom, two and two of them mixed."""
    return np.asarray(stats.multivariate_t(np.zeros(6), TURN @ np.diag(np.arange(1, 7)) @ TURN.T, 3)
                      .rvs(n, random_state=rng))  # fmt: skip


def _heavy_density(x: np.ndarray) -> np.ndarray:
    shape = TURN @ np.diag(np.arange(1, 7)) @ TURN.T
    return np.asarray(stats.multivariate_t(np.zeros(6), shape, 3).logpdf(x))


LONG = np.linalg.qr(np.random.default_rng(5).normal(size=(20, 20)))[0] * 0.7 ** np.arange(20)


def _long(rng: np.random.Generator, n: int) -> np.ndarray:
    """A Gaussian of 20 columns whose axes have lengths from 1 to 0.001."""
    return rng.normal(size=(n, 20)) @ LONG.T


def _long_density(x: np.ndarray) -> np.ndarray:
    return np.asarray(stats.multivariate_normal(np.zeros(20), LONG @ LONG.T).logpdf(x))


TABLES: dict[str, Callable[[Path | None], Rows]] = {
    "iris": _bundled("iris"),
    "wine": _bundled("wine"),
    "voices": _voice,
    "diabetes": _bundled("diabetes"),
    "breast cancer": _bundled("breast_cancer"),
    "red wine": _uci("red_wine"),
    "white wine": _uci("white_wine"),
    "parkinsons": _uci("parkinsons"),
    "digits": _bundled("digits"),
    "made: houses": _made(_houses, _houses_density, 3000),
    "made: mixture": _made(_mixture, _mixture_density, 2000),
    "made: moons": _made(_moons, _moons_density, 2000),
    "made: heavy tails": _made(_heavy, _heavy_density, 3000),
    "made: long Gaussian": _made(_long, _long_density, 500),
}


def outliers(kind: str, train: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Returns n planted outliers, shape (n, D).

    Arguments:
        kind: One of `OUTLIERS`.
        train: The training rows, shape (N, D).
        n: How many.
        rng: The source of noise.
    """
    picked = train[rng.integers(len(train), size=n)]
    if kind == "scattered":  # anywhere in the box of the table
        low, high = train.min(0), train.max(0)
        return low + (high - low) * rng.random((n, train.shape[1]))
    if kind == "shuffled":  # every column from another row: only the dependence is wrong
        return np.stack([rng.permutation(column)[:n] for column in train.T], 1)
    if kind == "cluster":  # rows like one row, in a place where there are none
        away = rng.normal(size=train.shape[1])
        place = picked[0] + 2.0 * math.sqrt(len(away)) * away / np.linalg.norm(away)
        return place + 0.1 * rng.normal(size=picked.shape)
    assert kind == "spikes"  # one value in each row is four deviations off
    column = rng.integers(train.shape[1], size=n)
    picked = picked.copy()
    picked[np.arange(n), column] += 4 * rng.choice([-1, 1], n) * train.std(0)[column]
    return picked


OUTLIERS = ("scattered", "shuffled", "cluster", "spikes")
