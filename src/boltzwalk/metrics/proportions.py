r"""Shares of classes with intervals, mode coverage, and the class score.

The 95 % interval of a share :math:`\hat p` of n rows is that of Clopper and Pearson, from quantiles
of the beta distribution,

.. math:: B_{0.025}(n \hat p, n - n \hat p + 1) \le p \le B_{0.975}(n \hat p + 1, n - n \hat p)

which holds the true share in 95 % of cases or more for every share and n, also for an empty class.
Of weighted rows, n is the smaller of the effective sample size and of the number of rows of equal
weight with the same variance of the share,

.. math:: n = \min\left(\frac{1}{\sum_i \bar w_i^2} , \,
    \frac{\hat p (1 - \hat p)}{\sum_i \bar w_i^2 (1[y_i = c] - \hat p)^2}\right)

Not guaranteed: the intervals hold for each class alone, not for all at once, and for independent
rows. Weights know of no mode without walkers.

References:
    | The use of confidence or fiducial limits illustrated in the case of the binomial
    | (Clopper and Pearson, 1934), https://doi.org/10.1093/biomet/26.4.404

    | Improved techniques for training GANs
    | (Salimans et al., 2016), https://arxiv.org/abs/1606.03498
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from ..walkers import effective_sample_size
from .rows import describe_non_finite

__all__ = [
    "ClassScore",
    "Proportions",
    "class_score",
    "modes_covered",
    "proportions",
    "share_interval",
    "total_variation",
]


class Proportions(NamedTuple):
    """The share of each class with its 95 % interval, each of shape (C,)."""

    share: Tensor  # sums to 1
    low: Tensor
    high: Tensor


class ClassScore(NamedTuple):
    """The class score over splits."""

    mean: float  # 1 if all samples have the same probabilities, C if all C classes are clear
    deviation: float  # standard deviation over the splits; nan for one split


def proportions(labels: Tensor, classes: int, log_w: Tensor | None = None) -> Proportions:
    r"""Returns the share of each class with its 95 % interval.

    .. math:: \hat p_c = \textstyle\sum_i \bar w_i 1[y_i = c], \quad
        \bar w = \mathrm{softmax}(\log w)

    Arguments:
        labels: The class of each row, integers from 0, shape (N,).
        classes: The number C of classes.
        log_w: The unnormalised log-weights, shape (N,); None for equal weights.

    Raises:
        ValueError: If there is no row, a label is not one of 0, ..., C - 1, or the weights are of
            another shape, nan, inf, or all 0.

    Example:
        >>> result = proportions(torch.tensor([0, 0, 0, 1]), 3)
        >>> result.share.tolist(), [round(value, 2) for value in result.high.tolist()]
        ([0.75, 0.25, 0.0], [0.99, 0.81, 0.6])
    """
    if labels.ndim != 1 or not len(labels) or labels.is_floating_point() or labels.is_complex():
        raise ValueError(
            "labels must be whole numbers of shape (N,), N >= 1, got "
            f"{labels.dtype} of shape {tuple(labels.shape)}"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(
            f"labels must be 0, ..., {classes - 1} for {classes} classes, got "
            f"{int(labels.min())}, ..., {int(labels.max())}"
        )
    log_w = torch.zeros(len(labels)) if log_w is None else log_w.detach()
    log_w = log_w.to(labels.device, torch.float64)
    if log_w.shape != labels.shape or not bool(log_w.amax().isfinite()):  # nan passes through amax
        raise ValueError(
            f"log_w must have shape {tuple(labels.shape)}, no nan or inf, and one weight that is "
            f"not 0, got shape {tuple(log_w.shape)}, largest {float(log_w.amax())}"
        )
    weights = torch.softmax(log_w, 0)
    share = torch.zeros(classes).to(weights).index_add(0, labels.long(), weights)
    share = share.clamp(max=1)  # a sum of many weights may pass 1 by rounding
    squares = torch.zeros_like(share).index_add(0, labels.long(), weights.square())
    variance = squares * (1 - share) ** 2 + (squares.sum() - squares) * share**2
    same = (share * (1 - share) / variance).where(variance > 0, torch.inf)
    rows = same.clamp(max=float(effective_sample_size(log_w)))
    return Proportions(share, *share_interval(share, rows))


def share_interval(share: Tensor, rows: float | Tensor) -> tuple[Tensor, Tensor]:
    """Returns the exact 95 % interval of Clopper and Pearson, low and high, in float64.

    Arguments:
        share: The observed shares, in [0, 1], of any shape.
        rows: The number n of rows, or their effective sample size, of one or of each share.

    Raises:
        ValueError: If a share is not in [0, 1] or a number of rows is not above 0.

    Example:
        >>> low, high = share_interval(torch.tensor(0.5), 100)
        >>> round(float(low), 3), round(float(high), 3)
        (0.398, 0.602)
    """
    p, n = (torch.as_tensor(v).detach().cpu().double().numpy() for v in (share, rows))
    if not ((p >= 0) & (p <= 1)).all() or not (n > 0).all():
        raise ValueError(f"share must be in [0, 1] and rows above 0, got {share} and {rows}")
    inside, outside = n * p, n * (1 - p)
    low = np.where(p > 0, betaincinv(np.maximum(inside, 1e-300), outside + 1, 0.025), 0.0)
    high = np.where(p < 1, betaincinv(inside + 1, np.maximum(outside, 1e-300), 0.975), 1.0)
    return torch.from_numpy(low).to(share.device), torch.from_numpy(high).to(share.device)


def total_variation(share: Tensor, target: Tensor) -> float:
    r"""Returns the total variation between two distributions over classes, from 0 to 1.

    .. math:: \tfrac{1}{2} \textstyle\sum_c |p_c - q_c|

    Arguments:
        share: The shares p, shape (C,).
        target: The shares q, shape (C,).

    Raises:
        ValueError: If shapes differ, or either is negative, not finite, or does not sum to 1.

    Example:
        >>> total_variation(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.25, 0.5]))
        0.5
    """
    p, q = _shares(share, target)
    return float((p - q).abs().sum()) / 2


def modes_covered(share: Tensor, target: Tensor, fraction: float = 0.1) -> int:
    r"""Returns the number of classes with more than a tenth of their target share.

    .. math:: \textstyle\sum_c 1[q_c > 0] \, 1[p_c > q_c / 10]

    Arguments:
        share: The shares p, shape (C,).
        target: The target shares q, shape (C,).
        fraction: The fraction of its target that a class must exceed.

    Raises:
        ValueError: If shapes differ, or either is negative, not finite, or does not sum to 1.

    Example:
        >>> modes_covered(torch.tensor([0.98, 0.02, 0.0]), torch.tensor([0.4, 0.3, 0.3]))
        1
    """
    p, q = _shares(share, target)
    return int(((q > 0) & (p > fraction * q)).sum())


def class_score(probabilities: Tensor, share: Tensor | None = None, splits: int = 1) -> ClassScore:
    r"""Returns the class score of samples (an inception-type score): clear and diverse classes.

    .. math:: \exp\left(\mathbb{E}_x \mathrm{KL}(p(y \mid x) \,\|\, p(y))\right), \quad
        p(y) = \mathbb{E}_x p(y \mid x)

    With a classifier other than the Inception network it must not be compared with the literature.
    Splits are consecutive rows, so shuffle ordered rows first. It is biased upwards for few rows,
    so compare it at one number of rows a split.

    Arguments:
        probabilities: Class probabilities of each sample, shape (N, C).
        share: The weight of each sample, shape (N,), not negative; None for equal weights.
        splits: The number of splits, each with a score.

    Raises:
        ValueError: If the rows are not probabilities, weights are of another shape, negative or not
            finite, a part has no weight, or there are fewer rows than splits.

    Example:
        >>> round(class_score(torch.eye(10)).mean, 9)
        10.0
        >>> round(class_score(torch.full((5, 10), 0.1)).mean, 9)
        1.0
    """
    p = probabilities.detach().double()
    if p.ndim != 2 or not 1 <= splits <= len(p):
        raise ValueError(
            f"probabilities must have shape (N, C) with a row or more for each of {splits} splits, "
            f"1 or more, got {tuple(p.shape)}"
        )
    wrong = describe_non_finite(p)
    if wrong or bool((p < 0).any()) or bool(((p.sum(1) - 1).abs() > 1e-3).any()):
        raise ValueError(
            "probabilities must be 0 or more and sum to 1 in each row, got "
            f"{wrong or 'other rows'}; apply softmax to logits first"
        )
    w = torch.ones(len(p)).to(p) if share is None else share.to(p)
    if w.shape != p.shape[:1] or bool((w < 0).any()) or not bool(w.isfinite().all()):
        raise ValueError(f"share must be {len(p)} finite weights of 0 or more, got {share}")
    scores = [
        _score(*part) for part in zip(p.tensor_split(splits), w.tensor_split(splits), strict=True)
    ]
    mean = math.fsum(scores) / splits
    square = math.fsum((score - mean) ** 2 for score in scores)
    return ClassScore(mean, math.sqrt(square / (splits - 1)) if splits > 1 else math.nan)


def _score(p: Tensor, w: Tensor) -> float:
    """Returns the score of one split, by entropies with 0 log 0 = 0 instead of KL terms."""
    if not float(w.sum()) > 0:
        raise ValueError("share must leave some weight in each split, got a split of weight 0")
    w = w / w.sum()
    return float((torch.special.entr(w @ p).sum() - w @ torch.special.entr(p).sum(1)).exp())


def _shares(share: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both in float64 after checks."""
    p, q = share.detach().cpu().double(), target.detach().cpu().double()
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(
            f"share and target must have one shape (C,), got {tuple(p.shape)} and {tuple(q.shape)}"
        )
    for name, values in (("share", p), ("target", q)):
        if not bool((values >= 0).all()) or not abs(float(values.sum()) - 1) < 1e-4:
            raise ValueError(f"{name} must be 0 or more and sum to 1, got {values.tolist()}")
    return p, q
