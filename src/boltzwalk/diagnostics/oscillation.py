r"""How the energy gap of a run swings from one update to the next.

An update raises the energy of walkers and lowers that of data. Where the gap
:math:`d_t = \overline{U(x^+)} - \overline{U(x^-)}` is negative it makes the energy steeper
(expansion), where it is positive flatter (contraction), so that d swings about zero in a run that
holds. With :math:`\bar d` the mean of n values, the autocorrelation is

.. math:: \rho_k = \frac{\sum_{t=1}^{n-k} (d_t - \bar d)(d_{t+k} - \bar d)}
    {\sum_{t=1}^{n} (d_t - \bar d)^2} ,

its standard error for independent values :math:`1/\sqrt n` (Bartlett), the partial autocorrelation
that of lag k with the lags below k taken out (Durbin-Levinson recursion), and the
cross-correlation with the mean gradient size v, as published, that of d over its root mean square,
not centred, and v standardised:

.. math:: c_k = \frac 1 {n-1} \sum_t \frac{d_{t+k}}{\mathrm{rms}(d)}
    \frac{v_t - \bar v}{\mathrm{sd}(v)} .

At a positive lag k the gap comes k updates after the gradient size, at a negative one before it.

All of them are taken over the last updates, and never over the first half of a run, where the
network finds its scale.

Not guaranteed: that an oscillation means anything about the samples; strong ones are usual for
learning that does not converge, whose samples are good. Nor that the gap drives the gradient: in
the plane, where chains start at different distances from the data, the noise of v between updates
hides it, and the correlation of :math:`d_t` with :math:`v_{t+1} - v_t` can be positive.

| On the anatomy of MCMC-based maximum likelihood learning of energy-based models
| (Nijkamp, Hill, Han, Zhu, Wu, 2020), https://arxiv.org/abs/1903.12370
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from ..training.folder import Trace

__all__ = [
    "Oscillation",
    "autocorrelation",
    "cross_correlation",
    "oscillation",
    "partial_autocorrelation",
    "recent",
]

WINDOW = 2000
"""Updates that are looked at, as published."""

LAGS = 15
"""The longest lag, as published."""

STRONG = -0.1
"""Autocorrelation at lag 1 below which an oscillation is strong, if two standard errors as well:
what the published pictures call a short-lag negative autocorrelation."""

ONE_SIDED = 0.05
"""Share of one sign below which the gap does not swing: that of independent signs is 0.5; runs of
8x8 digits that held had 0.14 and more, spectrally normalised ones 0.00."""


class Oscillation(NamedTuple):
    """How the energy gap d and the gradient size v of a run move together.

    Attributes:
        updates: The number of values looked at.
        positive: The share of updates with d > 0.
        acf: The autocorrelation of d at lags 0 to L, shape (L+1,).
        pacf: The partial autocorrelation of d at lags 0 to L, shape (L+1,).
        cross: The cross-correlation of d and v at lags -L to L, shape (2L+1,).
        error: The standard error of the correlations if the values were independent.
        follows: The correlation of d with the change of v that comes next, negative where
            expansion and contraction show.
        kind: "strong" where d tends to change its side at every update, "weak" where it swings
            without such a trend, "none" where it stays on one side or says nothing.
    """

    updates: int
    positive: float
    acf: np.ndarray
    pacf: np.ndarray
    cross: np.ndarray
    error: float
    follows: float
    kind: Literal["none", "weak", "strong"]

    @property
    def acf1(self) -> float:
        """The autocorrelation of d at lag 1."""
        return float(self.acf[1])


def oscillation(trace: Trace, window: int = WINDOW, lags: int = LAGS) -> Oscillation:
    r"""Returns how the energy gap of a run swings in its last updates.

    The kind is "none" where a sign has a share below 0.05, "strong" where
    :math:`\rho_1 < -0.1` and :math:`\rho_1 < -2 / \sqrt n`, otherwise "weak".

    Arguments:
        trace: The energy gap and the gradient size of every update, each of shape (T,).
        window: The most updates looked at; of a short run its last half.
        lags: The longest lag L.

    Raises:
        ValueError: If window < 1 or lags < 1, or a series has no single axis.

    Example:
        >>> d = np.resize([0.1, -0.1], 100)
        >>> found = oscillation(Trace(d, 1 - np.cumsum(d)))
        >>> found.kind, found.positive, round(found.acf1, 2)
        ('strong', 0.5, -0.98)
    """
    if lags < 1:
        raise ValueError(f"lags must be >= 1, got {lags}; the usual value is {LAGS}")
    d, v = (recent(series, window) for series in trace)
    acf = autocorrelation(d, lags)
    n = len(d)
    positive = float((d > 0).mean()) if n and np.isfinite(d).all() else math.nan
    error = 1 / math.sqrt(n) if n else math.nan
    kind: Literal["none", "weak", "strong"] = "weak"
    if not ONE_SIDED <= positive <= 1 - ONE_SIDED or math.isnan(acf[1]):
        kind = "none"
    elif acf[1] < min(STRONG, -2 * error):
        kind = "strong"
    return Oscillation(
        updates=n,
        positive=positive,
        acf=acf,
        pacf=partial_autocorrelation(d, lags),
        cross=cross_correlation(d, v, lags),
        error=error,
        follows=_correlation(d[:-1], v[1:], v[:-1]),
        kind=kind,
    )


def recent(series: np.ndarray | Tensor, window: int = WINDOW) -> np.ndarray:
    """Returns the last values of a series, but not those of its first half, in float64.

    Arguments:
        series: The values, shape (T,).
        window: The most values that are returned.

    Raises:
        ValueError: If window < 1, or the series has not just one axis.

    Example:
        >>> recent(np.arange(5)), recent(np.arange(5), window=1)
        (array([2., 3., 4.]), array([4.]))
    """
    if window < 1:
        raise ValueError(f"window must be >= 1, got {window}; the usual value is {WINDOW}")
    if series.ndim != 1:
        raise ValueError(
            f"a series must have one axis, got shape {tuple(series.shape)}; write series.ravel()"
        )
    return _doubles(series[max(len(series) // 2, len(series) - window) :])


def autocorrelation(series: np.ndarray | Tensor, lags: int = LAGS) -> np.ndarray:
    r"""Returns the autocorrelation :math:`\rho_0, \dots, \rho_L`, shape (L+1,).

    NaN for a constant series, one with a value that is not finite, and lags beyond its length.

    Arguments:
        series: The values, shape (n,).
        lags: The longest lag L.

    Example:
        >>> autocorrelation(np.array([1.0, -1.0, 1.0, -1.0]), lags=2)
        array([ 1.  , -0.75,  0.5 ])
    """
    x, found = _doubles(series), np.full(lags + 1, np.nan)
    if _varies(x):
        x = x - x.mean()
        x /= np.abs(x).max()  # squares neither overflow nor vanish
        for k in range(min(lags + 1, len(x))):
            found[k] = x[: len(x) - k] @ x[k:]
        found /= found[0]
    return found


def partial_autocorrelation(series: np.ndarray | Tensor, lags: int = LAGS) -> np.ndarray:
    r"""Returns the partial autocorrelation :math:`\phi_{kk}` at lags 0 to L, shape (L+1,).

    .. math:: \phi_{kk} = \frac{\rho_k - \sum_{j<k} \phi_{k-1,j} \, \rho_{k-j}}
        {1 - \sum_{j<k} \phi_{k-1,j} \, \rho_j} , \qquad
        \phi_{kj} = \phi_{k-1,j} - \phi_{kk} \phi_{k-1,k-j}

    The value at lag 0 is 1. NaN where the autocorrelation is, and once the lags below k leave
    nothing of the series.

    Arguments:
        series: The values, shape (n,).
        lags: The longest lag L.

    Example:
        >>> partial_autocorrelation(np.array([1.0, -1.0, 1.0, -1.0]), lags=2).round(3)
        array([ 1.   , -0.75 , -0.143])
    """
    rho = autocorrelation(series, lags)
    found, phi = np.full(lags + 1, np.nan), np.zeros(0)
    found[0] = rho[0]
    for k in range(1, lags + 1):
        left = 1 - phi @ rho[1:k]
        if not left > 0:
            break
        found[k] = (rho[k] - phi @ rho[k - 1 : 0 : -1]) / left
        phi = np.append(phi - found[k] * phi[::-1], found[k])
    return found


def cross_correlation(
    gap: np.ndarray | Tensor, gradient: np.ndarray | Tensor, lags: int = LAGS
) -> np.ndarray:
    r"""Returns the cross-correlation :math:`c_{-L}, \dots, c_L` as published, shape (2L+1,).

    NaN for a gap that is zero, a constant gradient, values that are not finite, and lags beyond
    their length.

    Arguments:
        gap: The energy gap d, shape (n,).
        gradient: The gradient size v, shape (n,).
        lags: The longest lag L.

    Raises:
        ValueError: If the two differ in length.

    Example:
        >>> v = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        >>> later = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
        >>> int(cross_correlation(later, v, lags=2).argmax()) - 2
        1
    """
    d, v = _doubles(gap), _doubles(gradient)
    if d.shape != v.shape:
        raise ValueError(f"gap and gradient must be of one length, got {d.shape} and {v.shape}")
    n, found = len(d), np.full(2 * lags + 1, np.nan)
    if _varies(v) and d.any() and bool(np.isfinite(d).all()):
        d = d / np.abs(d).max()
        d /= np.sqrt((d @ d) / (n - 1))
        v = v - v.mean()
        v /= np.abs(v).max()
        v /= v.std(ddof=1)
        for k in range(-min(lags, n - 1), min(lags, n - 1) + 1):
            found[lags + k] = d[max(k, 0) : n + min(k, 0)] @ v[max(-k, 0) : n - max(k, 0)] / (n - 1)
    return found


def _correlation(x: np.ndarray, after: np.ndarray, before: np.ndarray) -> float:
    """The correlation of a series with a change; NaN where one does not vary."""
    if not (_varies(x) and _varies(after) and _varies(before) and _varies(after - before)):
        return math.nan
    return float(np.corrcoef(x, after - before)[0, 1])


def _doubles(series: np.ndarray | Tensor) -> np.ndarray:
    values = series.detach().cpu().numpy() if isinstance(series, Tensor) else series
    return np.asarray(values, dtype=np.float64)


def _varies(x: np.ndarray) -> bool:
    """Whether values are finite and not all the same, to the precision of their mean."""
    if len(x) < 2 or not np.isfinite(x).all():
        return False
    return bool(np.ptp(x) > 1e-12 * np.abs(x).max())
