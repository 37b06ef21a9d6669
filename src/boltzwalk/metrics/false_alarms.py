r"""The rate of false alarms of one threshold, given the rows that set it.

A threshold at the k-th largest of n scores is exceeded by an ordinary new row at a rate that
depends on these n rows. For a continuous score it has the distribution

.. math:: r \sim \mathrm{Beta}(k, n + 1 - k) , \qquad k = \lfloor \alpha (n + 1) \rfloor ,

whatever the distribution of the score, with mean :math:`k / (n + 1) \le \alpha`. Where j scores lie
above the threshold and several on it, the rate lies lower: the upper end holds still, and the lower
one is that of j exceedances among n (Clopper and Pearson).

Not guaranteed: anything where the scores are of rows that trained the model, whose energies are
lower than those of new rows.

References:
    | Conditional validity of inductive conformal predictors
    | (Vovk, 2012), https://doi.org/10.1007/s10994-013-5355-6
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

__all__ = ["FalseAlarms", "RowScores", "false_alarms", "percent"]

TAIL = 0.025
"""The probability beyond each end of the interval."""


class FalseAlarms(NamedTuple):
    """The rate at which ordinary new rows are flagged by one threshold.

    Attributes:
        asked: The rate that was asked for.
        rows: The number of rows that set the threshold.
        low: The lower end of the 95 % interval of the rate.
        high: The upper end.
    """

    asked: float
    rows: int
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{percent(self.asked)} of ordinary rows asked; with {self.rows:,} held-out rows the "
            f"rate of this threshold lies in {percent(self.low, digits=2)[:-2]}-"
            f"{percent(self.high, digits=2)} (95 %)"
        )


class RowScores(NamedTuple):
    """Scores of rows, each of shape (N,).

    Attributes:
        energy: The energy U, in model units.
        percentile: The share of held-out rows with a lower energy.
        anomaly: Whether the energy is above the threshold.
        threshold: The energy that the chosen share of held-out rows exceeds.
        false_alarms: The interval of the rate at which this threshold flags ordinary rows.
        reference: The rows that set the threshold, with what is wrong with them, if anything.
    """

    energy: Tensor
    percentile: Tensor
    anomaly: Tensor
    threshold: float
    false_alarms: FalseAlarms
    reference: str


def false_alarms(inside: Tensor, threshold: float, asked: float) -> FalseAlarms:
    """Returns the interval of the rate of false alarms of a conformal threshold.

    Arguments:
        inside: The scores of held-out inliers that set it, shape (N,).
        threshold: The threshold, as `conformal_threshold` returns it.
        asked: The rate that was asked for.

    Raises:
        ValueError: If there are too few scores for such a rate.

    Example:
        >>> import torch
        >>> print(false_alarms(torch.arange(1.0, 100.0), 99.0, 0.01))
        1 % of ordinary rows asked; with 99 held-out rows the rate of this threshold lies in \
0.026-3.7 % (95 %)
    """
    from scipy.special import betaincinv

    n = len(inside)
    k = math.floor((n + 1) * asked + 1e-9)
    if not 1 <= k <= n:
        raise ValueError(
            f"a false-alarm rate of {asked} needs {math.ceil(1 / asked - 1e-9) - 1} held-out "
            f"scores or more, got {n}"
        )
    scores = inside.double()
    above, on = int((scores > threshold).sum()), int((scores == threshold).sum())
    below = k if on == 1 else above
    low = float(betaincinv(below, n + 1 - below, TAIL)) if below else 0.0
    return FalseAlarms(asked, n, low, float(betaincinv(k, n + 1 - k, 1 - TAIL)))


def percent(share: float, digits: int = 6) -> str:
    """Returns a share in percent, such as "0.1 %".

    Arguments:
        share: The share.
        digits: The significant digits at most.

    Example:
        >>> percent(0.05), percent(0.001), percent(0.03663, digits=2)
        ('5 %', '0.1 %', '3.7 %')
    """
    return f"{100 * share:.{digits}g} %"
