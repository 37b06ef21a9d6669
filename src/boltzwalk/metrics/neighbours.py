r"""Nearest-neighbour metrics: overlap of samples with the data, and memorisation.

The radius of a row is the distance to its k-th nearest neighbour in its own set, itself not
counted. The balls of all rows are an estimate of the support of that set. With samples
:math:`x_i`, reference rows :math:`y_j` and radii :math:`r(\cdot)`,

.. math::
    \text{precision} &= \tfrac{1}{N} \textstyle\sum_i 1[\exists j: |x_i - y_j| \le r(y_j)] &
    \text{recall} &= \tfrac{1}{M} \textstyle\sum_j 1[\exists i: |x_i - y_j| \le r(x_i)] \\
    \text{density} &= \tfrac{1}{kN} \textstyle\sum_{ij} 1[|x_i - y_j| \le r(y_j)] &
    \text{coverage} &= \tfrac{1}{M} \textstyle\sum_j 1[\exists i: |x_i - y_j| \le r(y_j)]

Density and coverage use the balls of the reference alone: one outlier sample with a large ball
raises recall and not coverage.

Not guaranteed: that samples of the reference's own distribution reach 1. All four depend on N, M,
k and the dimension; compare with held-out data of the same size, and never across sizes. The
distance of raw images says little about their content; use features.

Every comparison of a distance with a radius has the outcome of distances from differences in
float64, whatever the offset of the rows, copies and rows far away; equal within 1e-12 of the radius
is inside.

References:
    | Improved precision and recall metric for assessing generative models
    | (Kynkäänniemi et al., 2019), https://arxiv.org/abs/1904.06991

    | Reliable fidelity and diversity metrics for generative models
    | (Naeem et al., 2020), https://arxiv.org/abs/2002.09797
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .distances import column_medians, distances_by_products, nearest_pairs, recompute_unclear
from .rows import check_samples

__all__ = [
    "ManifoldOverlap",
    "Memorisation",
    "manifold_overlap",
    "memorisation",
    "nearest_neighbours",
]

ENTRIES = 2**21
"""The number of distances in memory."""

BLOCK = 512
"""The rows on each side of a block of pairs."""

TIE = 1 + 1e-12
"""The factor on a squared radius within which distances are equal to it."""


class ManifoldOverlap(NamedTuple):
    """Overlap of the supports of samples and reference."""

    precision: float  # share of the samples within the balls of the reference
    recall: float  # share of the reference within the balls of the samples
    density: float  # balls of the reference around a sample, over k: 1 expected, more if in clumps
    coverage: float  # share of the reference rows with a sample in their ball


class Memorisation(NamedTuple):
    """Distance of samples to the training rows, relative to that of held-out rows."""

    ratio: float  # of the median distances: 1 as held-out rows, below 1 closer: memorised
    low: float  # the 2.5 % quantile of the ratio over the bootstrap
    high: float  # the 97.5 % quantile
    copies: float  # share of the samples within half of the 1 % quantile of held-out distances


@torch.no_grad()
def manifold_overlap(features: Tensor, reference: Tensor, k: int = 5) -> ManifoldOverlap:
    r"""Returns precision, recall, density and coverage of features, by their k nearest neighbours.

    .. math:: r(y_j) = |y_j - y_{(k)}| \text{ among } \{y_l\}_{l \ne j}

    Arguments:
        features: The features of the samples, shape (N, \*event).
        reference: The features of the reference, shape (M, \*event).
        k: The neighbour whose distance is the radius.

    Raises:
        ValueError: If either has k rows or fewer, the shapes do not match, or one is not finite.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(500, 2, generator=rng), torch.randn(500, 2, generator=rng)
        >>> manifold_overlap(x, y).coverage > 0.9, manifold_overlap(x + 9, y).coverage
        (True, 0.0)
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, got {k}")
    x, y = (rows.double() for rows in check_samples(features, reference, k + 1))
    centre = column_medians(y)
    radius_x, radius_y = TIE * _squared_radii(x, k), TIE * _squared_radii(y, k)
    # Rows far away share blocks, so that the bound of the error of a block is that of its rows.
    order_x, order_y = ((rows - centre).square().sum(1).argsort() for rows in (x, y))
    x, radius_x, y, radius_y = x[order_x], radius_x[order_x], y[order_y], radius_y[order_y]
    within = 0
    precise = torch.zeros(len(x), dtype=torch.bool, device=y.device)
    reached = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    covered = torch.zeros_like(reached)
    for i in range(0, len(x), BLOCK):
        for j in range(0, len(y), BLOCK):
            a, b = slice(i, i + BLOCK), slice(j, j + BLOCK)
            inside, around = _within_radii(x[a], y[b], centre, radius_y[b], radius_x[a][:, None])
            within += int(inside.sum())
            precise[a] |= inside.any(1)
            covered[b] |= inside.any(0)
            reached[b] |= around.any(0)
    return ManifoldOverlap(
        precision=int(precise.sum()) / len(x),
        recall=int(reached.sum()) / len(y),
        density=within / (k * len(x)),
        coverage=int(covered.sum()) / len(y),
    )


@torch.no_grad()
def nearest_neighbours(samples: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the distance to the nearest training row and its index, shapes (N,) and (N,).

    .. math:: d(x_i) = \min_j |x_i - y_j|

    Both are those of differences in float64: the distance of a copy is 0, and of equally near rows
    the first is returned.

    Arguments:
        samples: The samples, shape (N, \*event).
        training: The candidate neighbours, shape (M, \*event).

    Raises:
        ValueError: If the shapes do not match, either is empty, or one is not finite.

    Example:
        >>> x, y = torch.tensor([[0.9]]), torch.tensor([[5.0], [1.0]])
        >>> distances, indices = nearest_neighbours(x, y)
        >>> round(float(distances), 3), int(indices)
        (0.1, 1)
    """
    x, y = check_samples(samples, training, 1)
    pairs = [nearest_pairs(part, y, 1) for part in _split(x, y)]
    squared, indices = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return squared.sqrt_(), indices


@torch.no_grad()
def memorisation(
    samples: Tensor,
    training: Tensor,
    held_out: Tensor,
    rng: torch.Generator,
    resamples: int = 1000,
) -> Memorisation:
    r"""Returns the distance of samples to the training rows, relative to held-out rows.

    .. math:: \text{ratio} = \operatorname{median}_i d(x_i) \,/\, \operatorname{median}_j d(h_j)

    with d the distance to the nearest training row. The interval is a bootstrap
    over samples and held-out rows, for fixed training rows. A sample is a *copy* if d is at most
    half of the 1 % quantile of the held-out distances: 1 % of held-out rows are within that
    quantile, so far fewer within half, unless the data contain duplicates.

    Not guaranteed: that a ratio of 1 excludes copies, since a few copies do not change a median
    (see ``copies``); that a ratio below 1 means copies, since blurred samples, near the mean of the
    data, are near the training rows too.

    Arguments:
        samples: The samples, shape (N, \*event).
        training: The training rows, shape (M, \*event).
        held_out: Held-out rows of the same data, shape (L, \*event).
        rng: Draws the bootstrap.
        resamples: The number of bootstrap resamples.

    Raises:
        ValueError: If the shapes do not match, there are fewer than two samples or held-out rows,
            one is not finite, or more than half of the held-out rows are training rows.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> training, held_out, x = torch.randn(3, 400, 2, generator=rng)
        >>> memorisation(training[:100], training, held_out, rng).copies
        1.0
        >>> 0.5 < memorisation(x, training, held_out, rng).ratio < 2
        True
    """
    check_samples(samples, held_out)
    sample_distances, held_out_distances = (
        nearest_neighbours(samples, training)[0],
        nearest_neighbours(held_out, training)[0],
    )
    typical = float(held_out_distances.quantile(0.5))
    if typical == 0:
        raise ValueError(
            "held_out must not be training rows, but most are equal to a training row; "
            "pass another split"
        )
    ratios = _medians(sample_distances, resamples, rng) / _medians(
        held_out_distances, resamples, rng
    )
    low, high = ratios.quantile(ratios.new_tensor([0.025, 0.975])).tolist()
    close = sample_distances <= held_out_distances.quantile(0.01) / 2
    return Memorisation(
        float(sample_distances.quantile(0.5)) / typical, low, high, float(close.double().mean())
    )


def _within_radii(x: Tensor, y: Tensor, centre: Tensor, *radii: Tensor) -> tuple[Tensor, ...]:
    """Whether the squared distance of every pair is within each of the squared radii."""
    squared, bound_x, bound_y = distances_by_products(x, y, centre)
    bound = bound_x.max() + bound_y.max()
    clear = [squared <= radius - bound for radius in radii]
    possible = [squared <= radius + bound for radius in radii]
    unclear = [a & ~b for a, b in zip(possible, clear, strict=True) if not torch.equal(a, b)]
    if not unclear:
        return tuple(clear)
    recompute_unclear(squared, torch.stack(unclear).any(0), x, y)
    return tuple(squared <= radius for radius in radii)


def _squared_radii(x: Tensor, k: int) -> Tensor:
    """Returns the squared distance to the k-th neighbour of each row, itself not counted."""
    radii, start = [], 0
    for part in _split(x, x):
        radii.append(nearest_pairs(part, x, k, start)[0])
        start += len(part)
    return torch.cat(radii)


def _split(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Splits x into chunks whose distances to y fit in memory."""
    parts: tuple[Tensor, ...] = x.split(max(1, ENTRIES // len(y)))
    return parts


def _medians(values: Tensor, resamples: int, rng: torch.Generator) -> Tensor:
    """Returns the medians of bootstrap resamples, shape (resamples,)."""
    n = len(values)
    draws = (torch.randint(n, (n,), generator=rng, device=rng.device) for _ in range(resamples))
    return torch.stack([values[draw.to(values.device)].quantile(0.5) for draw in draws])
