r"""Oscillation of the energy gap from one update to the next.

An update raises the energy of walkers and lowers that of data. Where the gap
:math:`d_t = \overline{U(x^+)} - \overline{U(x^-)}` is negative it makes the energy steeper
(expansion), where it is positive flatter (contraction), so that d oscillates about zero in a stable
run. With :math:`\bar d` the mean of n values, the autocorrelation is

.. math:: \rho_k = \frac{\sum_{t=1}^{n-k} (d_t - \bar d)(d_{t+k} - \bar d)}
    {\sum_{t=1}^{n} (d_t - \bar d)^2} ,

its standard error for independent values :math:`1/\sqrt n` (Bartlett), the partial autocorrelation
that of lag k with the lags below k taken out (Durbin-Levinson recursion), and the
cross-correlation with the mean gradient norm v, as published, that of d over its root mean square,
not centred, and v standardised:

.. math:: c_k = \frac 1 {n-1} \sum_t \frac{d_{t+k}}{\mathrm{rms}(d)}
    \frac{v_t - \bar v}{\mathrm{sd}(v)} .

At a positive lag k the gap comes k updates after the gradient norm, at a negative one before it.

All of them use the last updates, and never the first half of a run, in which the scale of the
energy grows.

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
"""Updates in the window, as published."""

LAGS = 15
"""The longest lag, as published."""

STRONG = -0.1
"""Autocorrelation at lag 1 of a strong oscillation, if it is also two standard errors below 0; the
published figures call it short-lag negative autocorrelation."""

ONE_SIDED = 0.05
"""Share of one sign below which the gap does not oscillate. Independent signs have 0.5, healthy
runs on 8x8 digits 0.14 and more, spectrally normalised ones 0.00."""


class Oscillation(NamedTuple):
    """Correlations of the energy gap d and the gradient norm v of a run.

    Attributes:
        updates: The number of values.
        positive: The share of updates with d > 0.
        acf: The autocorrelation of d at lags 0 to L, shape (L+1,).
        pacf: The partial autocorrelation of d at lags 0 to L, shape (L+1,).
        cross: The cross-correlation of d and v at lags -L to L, shape (2L+1,).
        error: The standard error of the correlations if the values were independent.
        follows: The correlation of d with the change of v that comes next, negative where
            expansion and contraction show.
        kind: "strong" if d tends to change its sign at every update, "weak" if it changes without
            such a trend, "none" if it keeps one sign or is not defined.
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
    r"""Returns the oscillation of the energy gap in the last updates.

    The kind is "none" if a sign has a share below 0.05, "strong" where
    :math:`\rho_1 < -0.1` and :math:`\rho_1 < -2 / \sqrt n`, otherwise "weak".

    Arguments:
        trace: The energy gap and the gradient norm of every update, each of shape (T,).
        window: The maximum number of updates; of a short run the last half is used.
        lags: The longest lag L.

    Raises:
        ValueError: If window < 1 or lags < 1, or a series has no single axis.

    Example:
        >>> d = np.resize([0.1, -0.1], 100)
        >>> result = oscillation(Trace(d, 1 - np.cumsum(d)))
        >>> result.kind, result.positive, round(result.acf1, 2)
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
    """Returns the last values of a series, without its first half, in float64.

    Arguments:
        series: The values, shape (T,).
        window: The maximum number of values.

    Raises:
        ValueError: If window < 1, or the series has more than one axis.

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
    x, result = _doubles(series), np.full(lags + 1, np.nan)
    if _varies(x):
        x = x - x.mean()
        x /= np.abs(x).max()  # squares neither overflow nor vanish
        for k in range(min(lags + 1, len(x))):
            result[k] = x[: len(x) - k] @ x[k:]
        result /= result[0]
    return result


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
    result, phi = np.full(lags + 1, np.nan), np.zeros(0)
    result[0] = rho[0]
    for k in range(1, lags + 1):
        left = 1 - phi @ rho[1:k]
        if not left > 0:
            break
        result[k] = (rho[k] - phi @ rho[k - 1 : 0 : -1]) / left
        phi = np.append(phi - result[k] * phi[::-1], result[k])
    return result


def cross_correlation(
    gap: np.ndarray | Tensor, gradient: np.ndarray | Tensor, lags: int = LAGS
) -> np.ndarray:
    r"""Returns the cross-correlation :math:`c_{-L}, \dots, c_L` as published, shape (2L+1,).

    NaN for a gap that is zero, a constant gradient, values that are not finite, and lags beyond
    their length.

    Arguments:
        gap: The energy gap d, shape (n,).
        gradient: The gradient norm v, shape (n,).
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
    n, result = len(d), np.full(2 * lags + 1, np.nan)
    if _varies(v) and d.any() and bool(np.isfinite(d).all()):
        d = d / np.abs(d).max()
        d /= np.sqrt((d @ d) / (n - 1))
        v = v - v.mean()
        v /= np.abs(v).max()
        v /= v.std(ddof=1)
        for k in range(-min(lags, n - 1), min(lags, n - 1) + 1):
            result[lags + k] = (
                d[max(k, 0) : n + min(k, 0)] @ v[max(-k, 0) : n - max(k, 0)] / (n - 1)
            )
    return result


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
