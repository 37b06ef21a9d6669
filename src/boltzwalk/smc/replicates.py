r"""One number from independent replicates, with its interval.

Every replicate r gives an unbiased estimate :math:`\hat Z_r` of Z. Their mean is unbiased too, and

.. math:: \log \hat Z = \log \frac1R \sum_r \hat Z_r , \qquad
    s^2 = \frac{1}{R (R - 1)} \sum_r \Big(\frac{\hat Z_r}{\hat Z} - 1\Big)^2 ,

where s is the standard error of :math:`\log \hat Z` to first order. It never exceeds 1, however
far apart the replicates are, so the standard error of the mean of the :math:`\log \hat Z_r` is
taken where it is larger. The interval is :math:`\log \hat Z \pm t_{R-1} s`, with Student's t at
95 %.

Not guaranteed: coverage where the replicates differ by more than about a nat. The largest then
decides alone, and what none of them has found is not in the interval.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

__all__ = ["Interval", "combine"]


class Interval(NamedTuple):
    """An estimate and its 95 % interval, estimate ± half_width."""

    estimate: float
    half_width: float


def combine(log_z: Float[Tensor, " R"]) -> Interval:
    """Returns the logarithm of the mean of R independent unbiased estimates, with its interval.

    Arguments:
        log_z: The logarithms of the estimates, shape (R,), R two or more.

    Raises:
        ValueError: If there is one replicate only, from which no error can be told.

    Example:
        >>> combine(torch.tensor([1.0, 1.1, 0.9, 1.0]))
        Interval(estimate=1.002..., half_width=0.12...)
    """
    r = len(log_z)
    if r < 2:
        raise ValueError(f"an interval needs 2 replicates or more, got {r}; 8 are usual")
    log_z = log_z.cpu().double()
    estimate = torch.logsumexp(log_z, 0) - math.log(r)
    first_order = float((torch.exp(log_z - estimate) - 1).square().sum() / (r * (r - 1))) ** 0.5
    error = max(first_order, float(log_z.std()) / math.sqrt(r))
    return Interval(float(estimate), float(stats.t.ppf(0.975, r - 1)) * error)
