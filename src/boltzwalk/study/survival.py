r"""How long trials live: Kaplan and Meier's estimate, in energy gradients.

With :math:`d_t` failures among the :math:`n_t` trials that had lived to t,

.. math:: S(t) = \prod_{s \le t} \left(1 - \frac{d_s}{n_s}\right) .

A trial that was stopped by a verdict has failed at its last gradient; one that was not is censored
there. A quality beyond the limit is no failure here: such a trial has lived.

Not guaranteed: that failing and being stopped for want of time or rank are independent.

References:
    | Nonparametric estimation from incomplete observations
    | (Kaplan and Meier, 1958), https://doi.org/10.1080/01621459.1958.10501452
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .outcome import Outcome
from .result import BROKEN

__all__ = ["Survival", "kaplan_meier", "survival"]


class Survival(NamedTuple):
    """A survival curve, a step function that begins with 1 at 0, with its 95 % interval.

    Attributes:
        times: When something failed, and the last time anything was seen, shape (T,).
        share: The share that lives after it, shape (T,).
        low: The lower end of the interval, shape (T,).
        high: The upper end, shape (T,).
        trials: How many there are.
        failed: How many have failed.
    """

    times: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    trials: int
    failed: int


def survival(found: Sequence[Outcome]) -> Survival:
    """Returns the survival of trials over their energy gradients.

    Arguments:
        found: The trials that are over.
    """
    times = [float(max(1, outcome.result.gradients)) for outcome in found]
    return kaplan_meier(times, [outcome.result.label in BROKEN for outcome in found])


def kaplan_meier(seen: Sequence[float], failed: Sequence[bool]) -> Survival:
    """Returns the survival curve of lifetimes, some of them censored.

    Arguments:
        seen: When each failed, or was last seen.
        failed: Whether it failed then.

    Raises:
        ValueError: If there are none.

    Example:
        >>> found = kaplan_meier([1.0, 2.0, 2.0, 3.0], [True, True, False, False])
        >>> found.share.tolist()  # 1, 3/4, 3/4 of 2/3
        [1.0, 0.75, 0.5, 0.5]
    """
    if not len(seen):
        raise ValueError("seen must hold a lifetime or more, got none")
    t, event = np.asarray(seen, dtype=float), np.asarray(failed, dtype=bool)
    end = float(t.max())
    if not event.any():  # SciPy has no steps to return
        flat = np.ones(2)
        low = np.array([1.0, 0.025 ** (1 / len(t))])  # the exact interval of a share of one
        return Survival(np.array([0.0, end]), flat, low, flat, len(t), 0)
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
    times, shares, lower, upper = columns
    return Survival(times, shares, lower, upper, len(t), int(event.sum()))
