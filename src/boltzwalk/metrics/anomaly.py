r"""Anomaly detection by a score, larger for outliers: AUROC, FPR95, conformal threshold.

With :math:`s_i` of N inliers and :math:`t_j` of M outliers, the area under the ROC curve is the
probability that an outlier scores higher than an inlier (Mann and Whitney), ties counted half:

.. math:: A = \frac{1}{NM} \sum_{ij} \psi(s_i, t_j), \quad
    \psi = 1[s_i < t_j] + \tfrac{1}{2} 1[s_i = t_j]

Its variance V is that of the means of :math:`\psi` over rows and over columns (DeLong). Near 1 few
scores are in the wrong order, V is an estimate from these few, and a normal interval holds 20 to
90 % instead of 95. So the upper end of the error :math:`p = 1 - A` is computed with one more row in
the wrong order with all others (Fay and Feuer), of k = min(N, M): the 97.5 % quantile of the beta
distribution with

.. math:: \text{mean } c = \frac{k p + 1}{k + 1}, \quad
    \text{variance } \frac{k^2 V + 1 - c}{(k + 1)^2}

the lower end by the same formula for A in the place of p. For scores of 0 and 1 it is about the
interval of Clopper and Pearson. It holds 95 % or more for normal scores, outliers of another width,
outliers of which some are inliers, and ties, for A from 0.5 to 1 and M from 10 to 100.

The energy of a model is such a score. Scores may be infinite (outside of the support), never nan.

Not guaranteed: that a score that detects one kind of outlier detects another. Energies are known to
give smooth images of other sets *lower* scores than the data they were trained on. The inliers must
be held-out rows: scores of training rows are too low.

References:
    | Comparing the areas under two or more correlated receiver operating characteristic curves
    | (DeLong et al., 1988), https://doi.org/10.2307/2531595

    | Confidence intervals for directly standardized rates
    | (Fay and Feuer, 1997), https://doi.org/10.1002/(SICI)1097-0258(19970415)16:7%3C791

    | Algorithmic learning in a random world
    | (Vovk et al., 2005), https://doi.org/10.1007/b106715, for the threshold
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.special import betaincinv
from torch import Tensor

__all__ = ["Auroc", "auroc", "conformal_threshold", "false_positive_rate", "percentile"]


class Auroc(NamedTuple):
    """The area under the ROC curve."""

    value: float  # 1 if every outlier scores higher than every inlier, 1/2 by chance
    low: float  # of the 95 % interval
    high: float  # of the same


def auroc(inside: Tensor, outside: Tensor) -> Auroc:
    r"""Returns the area under the ROC curve with its 95 % interval.

    .. math:: A = \frac{1}{NM} \sum_{ij} \psi(s_i, t_j), \quad
        V = \frac{\operatorname{var}_i \bar\psi_{i \cdot}}{N}
        + \frac{\operatorname{var}_j \bar\psi_{\cdot j}}{M}

    The interval is in (0, 1), has a width where all scores are equal, and holds near 1 too (see
    above). If the scores separate fully, min(N, M) disjoint pairs, all in order, give the exact
    bound :math:`A \ge 0.025^{1 / \min(N, M)}`.

    Arguments:
        inside: The scores of inliers, shape (N,).
        outside: The scores of outliers, shape (M,).

    Raises:
        ValueError: If either has fewer than two scores, is not of one dimension, or holds nan.

    Example:
        >>> area = auroc(torch.arange(100.0), torch.arange(50.0, 150.0))
        >>> [round(value, 3) for value in area]
        [0.875, 0.815, 0.918]
    """
    s, t = _checked(inside, 2, "inside"), _checked(outside, 2, "outside")
    mean_outside = _below(s, t)  # mean of ψ over the inliers, for each outlier
    mean_inside = _below(t, s)  # one minus the mean of ψ over the outliers, of equal variance
    area = float(mean_outside.mean())
    if area in (0.0, 1.0):
        bound = 0.025 ** (1 / min(len(s), len(t)))
        return Auroc(area, bound, 1.0) if area else Auroc(area, 0.0, 1 - bound)
    variance = float(mean_inside.var()) / len(s) + float(mean_outside.var()) / len(t)
    pairs = min(len(s), len(t))
    low, high = 1 - _upper_end(1 - area, variance, pairs), _upper_end(area, variance, pairs)
    return Auroc(area, low, high)


def false_positive_rate(inside: Tensor, outside: Tensor, true_positive: float = 0.95) -> float:
    r"""Returns the share of outliers accepted at the threshold for 95 % of inliers (FPR95).

    Positives are the inliers, as is the convention in out-of-distribution detection; less is
    better. With c the least score of an inlier such that :math:`s \le c` for that share or more,

    .. math:: \text{rate} = \tfrac{1}{M} \textstyle\sum_j 1[t_j \le c]

    Arguments:
        inside: The scores of inliers, shape (N,).
        outside: The scores of outliers, shape (M,).
        true_positive: The share of inliers to accept, in (0, 1].

    Raises:
        ValueError: If the share is not in (0, 1], or scores are empty, of another shape, or nan.

    Example:
        >>> false_positive_rate(torch.arange(100.0), torch.arange(50.0, 150.0))
        0.45
    """
    if not 0 < true_positive <= 1:
        raise ValueError(f"true_positive must be in (0, 1], got {true_positive}")
    s, t = _checked(inside, 1, "inside"), _checked(outside, 1, "outside")
    accepted = math.ceil(true_positive * len(s) - 1e-9)
    return float((t <= s.sort().values[accepted - 1]).double().mean())


def conformal_threshold(inside: Tensor, false_alarm: float) -> float:
    r"""Returns the conformal threshold of a score for a maximum false-alarm rate.

    .. math:: c = s_{(m)}, \quad m = \lceil (N + 1) (1 - \alpha) \rceil

    A new inlier, exchangeable with these, scores above c with a probability of at most
    :math:`\alpha`, for any distribution (conformal prediction). The probability is over the
    held-out rows too: that of one given c scatters around :math:`\alpha` by about
    :math:`\sqrt{\alpha (1 - \alpha) / N}`.

    Arguments:
        inside: The scores of held-out inliers, shape (N,).
        false_alarm: The rate :math:`\alpha`, in (0, 1).

    Raises:
        ValueError: If the rate is not in (0, 1) or N is too small for it, or scores are nan.

    Example:
        >>> conformal_threshold(torch.arange(1.0, 100.0), 0.05)
        95.0
    """
    if not 0 < false_alarm < 1:
        raise ValueError(f"false_alarm must be in (0, 1), got {false_alarm}")
    s = _checked(inside, 1, "inside")
    above = math.floor((len(s) + 1) * false_alarm + 1e-9)
    if above < 1:
        needed = math.ceil(1 / false_alarm - 1e-9) - 1
        raise ValueError(
            f"a false-alarm rate of {false_alarm} needs {needed} held-out scores or more, got "
            f"{len(s)}; pass more, or a rate of {1 / (len(s) + 1):.3g} or more"
        )
    return float(s.sort().values[len(s) - above])


def percentile(inside: Tensor, scores: Tensor) -> Tensor:
    r"""Returns the share of inliers with a lower score than each, shape (M,).

    .. math:: q_j = \tfrac{1}{N} \textstyle\sum_i 1[s_i < t_j]

    Arguments:
        inside: The scores of held-out inliers, shape (N,).
        scores: The scores to rank among them, shape (M,).

    Raises:
        ValueError: If the inliers are empty, or scores are of another shape, or nan.

    Example:
        >>> percentile(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, 2.5, 9.0])).tolist()
        [0.0, 0.5, 1.0]
    """
    s, t = _checked(inside, 1, "inside"), _checked(scores, 0, "scores")
    return torch.searchsorted(s.sort().values, t.to(s.device)).double() / len(s)


def _upper_end(share: float, variance: float, rows: int) -> float:
    """The upper end of the 95 % interval of a mean of values from 0 to 1."""
    mean = (rows * share + 1) / (rows + 1)
    spread = (rows**2 * variance + 1 - mean) / (rows + 1) ** 2
    size = mean * (1 - mean) / spread - 1
    return float(betaincinv(mean * size, (1 - mean) * size, 0.975))


def _below(values: Tensor, scores: Tensor) -> Tensor:
    """Returns the share of values below each score, equal ones counted half."""
    ordered = values.sort().values
    lower = torch.searchsorted(ordered, scores)
    upper = torch.searchsorted(ordered, scores, right=True)
    return (lower + upper).double() / (2 * len(values))


def _checked(scores: Tensor, minimum: int, name: str) -> Tensor:
    """Returns scores in float64 on the processor's own memory, after checks."""
    if scores.ndim != 1 or len(scores) < minimum:
        raise ValueError(
            f"{name} must be scores of shape (N,), N >= {minimum}, got {tuple(scores.shape)}"
        )
    wrong = int(scores.isnan().sum())
    if wrong:
        raise ValueError(f"{name} must not hold nan, got {wrong} of {len(scores)}; inspect them")
    return scores.detach().cpu().double().contiguous()
