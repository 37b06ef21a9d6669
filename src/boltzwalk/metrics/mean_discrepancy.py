r"""Maximum mean discrepancy and kernel distance of two samples.

.. math:: \mathrm{MMD}^2 = E\,k(x, x') + E\,k(y, y') - 2 E\,k(x, y)

for samples x and reference y with a positive definite k. With weights :math:`w_i` that sum to 1 the
mean over pairs of samples is, unbiased (a U-statistic) and biased (a V-statistic),

.. math:: \frac{\sum_{i \ne j} w_i w_j k(x_i, x_j)}{1 - \sum_i w_i^2}
    \qquad \sum_{i, j} w_i w_j k(x_i, x_j) .

The unbiased value has mean 0 if both have one distribution, so it is negative about half of the
time. The biased one is never negative, with a mean of the order 1 / N in that case.

Everything is a sum over blocks of pairs in float64: memory does not grow with N M or N M D.

Not guaranteed: that a difference shows. Gaussian, Laplacian and inverse multiquadric kernels and
the energy distance are 0 only for equal distributions, but their power falls with the dimension and
with a bandwidth far from the scale of the difference; the polynomial kernel of degree 3 compares
moments up to the third. Values of different kernels or bandwidths cannot be compared, and where the
bandwidth comes from the data it differs from sample to sample: fix it to compare runs.
Self-normalised importance weights leave a bias of the order 1 / N.

References:
    | A kernel two-sample test (Gretton et al., 2012), https://jmlr.org/papers/v13/gretton12a.html
    | Demystifying MMD GANs (Binkowski et al., 2018), https://arxiv.org/abs/1801.01401
    | Energy statistics (Szekely and Rizzo, 2013), https://doi.org/10.1016/j.jspi.2013.03.018
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .rows import check_samples, sample_weights
from .similarity import PolynomialKernel, Similarity, with_bandwidth

__all__ = [
    "KernelDistance",
    "kernel_distance",
    "mean_discrepancy",
    "permutation_p_value",
]

BLOCK = 1024
"""The rows on each side of a block of pairs."""

PERMUTED_ROWS = 5000
"""The maximum number of rows of both sides in `permutation_p_value`."""


class KernelDistance(NamedTuple):
    """The kernel distance of two sets of features."""

    value: float  # mean over subsets of the unbiased squared discrepancy
    standard_error: float  # of that mean; nan if a subset has all rows of a side
    deviation: float  # between subsets, as in the literature: it depends on their size


def mean_discrepancy(
    samples: Tensor,
    reference: Tensor,
    kernel: Similarity | None = None,
    share: Tensor | None = None,
    unbiased: bool = True,
) -> float:
    r"""Returns the squared maximum mean discrepancy of samples and reference.

    .. math:: E\,k(x, x') + E\,k(y, y') - 2 E\,k(x, y)

    Arguments:
        samples: The samples x, shape (N, \*event).
        reference: The reference, y, shape (M, \*event).
        kernel: The kernel k; None for `GaussianKernel` of five scales around the median distance.
        share: The weight of each sample, shape (N,), not negative; None for equal weights.
        unbiased: Whether pairs of a row with itself are left out.

    Raises:
        ValueError: If events have different shapes, a value is not finite, a weight is negative, or
            if there are fewer than two rows, or samples in effect, for the unbiased value.

    Example:
        >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> x, y = x[:250], x[250:]
        >>> round(mean_discrepancy(x + 3, y), 2), abs(mean_discrepancy(x, y)) < 0.01
        (0.57, True)
    """
    x, y = check_samples(samples, reference, min_rows=2 if unbiased else 1)
    w = sample_weights(share, x, min_effective=2 if unbiased else 1)
    # A sample without weight does not count, not even for the bandwidth.
    x, w, y = x[w > 0].double(), w[w > 0], y.double()
    kernel = with_bandwidth(kernel, x, y)
    v = torch.full_like(y[:, 0], 1 / len(y))
    within = _mean_within(kernel, x, w, unbiased) + _mean_within(kernel, y, v, unbiased)
    value = within - 2 * _sum_over_pairs(kernel, x, w, y, v)
    _check_rounding(kernel, x, y, abs(value))
    return value


def kernel_distance(
    features: Tensor,
    reference: Tensor,
    rng: torch.Generator,
    subsets: int = 100,
    size: int = 1000,
    kernel: Similarity | None = None,
) -> KernelDistance:
    r"""Returns the kernel distance: the mean over subsets of the unbiased squared discrepancy.

    With the polynomial kernel of degree 3 and the features of one Inception network it is the KID
    of the literature; with other features it must not be compared with that. Its standard error

    .. math:: s \sqrt{1 / B + r / (1 - r)}

    has the deviation s between the B subsets and the share r of the smaller side in a subset: more
    subsets cannot give more information than the features. It is of first order, and too large if
    both sides have one distribution.

    Arguments:
        features: The features of the samples, shape (N, D).
        reference: The features of the reference, shape (M, D).
        rng: The generator that draws the subsets.
        subsets: The number of subsets B.
        size: The rows of each side in a subset, without replacement.
        kernel: The kernel; None for `PolynomialKernel`.

    Raises:
        ValueError: If a side has fewer rows than a subset, or a value is not finite, or if
            there are fewer than one subset or fewer than two rows in each.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = torch.randn(2000, 8, generator=rng)
        >>> result = kernel_distance(x[:1000] + 1, x[1000:], rng, subsets=20, size=200)
        >>> round(result.value, 1), result.standard_error < 0.5
        (8.0, True)
    """
    if size < 2 or subsets < 1:
        raise ValueError(
            f"size must be 2 or more and subsets 1 or more, got size={size}, subsets={subsets}"
        )
    x, y = check_samples(features, reference, min_rows=2)
    fewer = min(len(x), len(y))
    if size > fewer:
        raise ValueError(
            f"size must be at most the {fewer} rows of the smaller side, got {size}; "
            f"write size={fewer // 2}, or give more rows"
        )
    x, y = x.double(), y.double()
    kernel = PolynomialKernel() if kernel is None else with_bandwidth(kernel, x, y)
    values = []
    for _ in range(subsets):
        a, b = (rows[_subset(rows, size, rng)] for rows in (x, y))
        w = torch.full_like(a[:, 0], 1 / size)
        within = _mean_within(kernel, a, w, True) + _mean_within(kernel, b, w, True)
        values.append(within - 2 * _sum_over_pairs(kernel, a, w, b, w))
    distances = torch.tensor(values, dtype=torch.float64)
    _check_rounding(kernel, x, y, float(distances.abs().mean()))
    deviation = float(distances.std()) if subsets > 1 else math.nan
    fraction = size / fewer
    factor = math.sqrt(1 / subsets + fraction / (1 - fraction)) if fraction < 1 else math.nan
    return KernelDistance(float(distances.mean()), deviation * factor, deviation)


def permutation_p_value(
    samples: Tensor,
    reference: Tensor,
    rng: torch.Generator,
    kernel: Similarity | None = None,
    permutations: int = 500,
) -> float:
    r"""Returns the permutation p-value of the discrepancy.

    .. math:: p = \frac{1 + \#\{b : \mathrm{MMD}^2_b \ge \mathrm{MMD}^2\}}{1 + B}

    It is uniform if both are independent draws of one distribution, and too small if the rows of
    one side depend on each other, as those of a Markov chain do.

    Arguments:
        samples: The samples, shape (N, \*event).
        reference: The reference, shape (M, \*event).
        rng: The generator that draws the splits.
        kernel: The kernel; None for `GaussianKernel` of five scales around the median distance.
        permutations: The number B of random splits.

    Raises:
        ValueError: As `mean_discrepancy`, or if both sides together have more than 5,000 rows,
            whose pairs would not fit in memory, or if there is no split.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = torch.randn(100, 2, generator=rng)
        >>> permutation_p_value(x[:50] + 1, x[50:], rng, permutations=99)
        0.01
    """
    x, y = (rows.double() for rows in check_samples(samples, reference, min_rows=2))
    n, m = len(x), len(y)
    if n + m > PERMUTED_ROWS:
        raise ValueError(
            f"samples and reference must have {PERMUTED_ROWS} rows or fewer together, got {n + m}; "
            f"write samples[:{PERMUTED_ROWS // 2}] and reference[:{PERMUTED_ROWS // 2}]"
        )
    if permutations < 1:
        raise ValueError(f"permutations must be 1 or more, got {permutations}")
    pooled = torch.cat([x, y])
    k = with_bandwidth(kernel, x, y)(pooled, pooled).clone()
    k.fill_diagonal_(0)
    # Row 0 is the split of the samples and the reference; the others are random.
    order = torch.rand((permutations + 1, n + m), generator=rng, device=rng.device).to(k).argsort(1)
    order[0] = torch.arange(n + m)
    first = torch.zeros_like(order, dtype=k.dtype).scatter_(1, order[:, :n], 1.0)
    within, touched = ((first @ k) * first).sum(1), first @ k.sum(1)
    rest, across = k.sum() - 2 * touched + within, touched - within
    values = within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * across / (n * m)
    rounding = 1e-12 * float(k.abs().mean())
    return float((values >= values[0] - rounding).double().mean())


def _check_rounding(kernel: Similarity, x: Tensor, y: Tensor, value: float) -> None:
    """Refuses a discrepancy by inner products of rows far from 0, which is their rounding error."""
    if not isinstance(kernel, PolynomialKernel):
        return
    largest = float(kernel(x[:BLOCK], x[:BLOCK]).abs().mean())
    largest = max(largest, float(kernel(y[:BLOCK], y[:BLOCK]).abs().mean()))
    offset = float(y.mean(0).norm())
    if offset > 1e3 * float((y - y.mean(0)).norm(dim=1).mean()) and value < 1e-13 * largest:
        raise ValueError(
            f"reference must not lie far from 0 for its spread, got a mean of length {offset:.3g}: "
            "a polynomial kernel of such rows has no digits left; subtract the mean of the "
            "reference from both"
        )


def _subset(x: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """The indices of a random subset, shape (size,)."""
    return torch.randperm(len(x), generator=rng, device=rng.device)[:size].to(x.device)


def _sum_over_pairs(kernel: Similarity, x: Tensor, w: Tensor, y: Tensor, v: Tensor) -> float:
    """The sum of w k v over all pairs, a block at a time."""
    total = x.new_zeros(())
    for a, p in zip(x.split(BLOCK), w.split(BLOCK), strict=True):
        for b, q in zip(y.split(BLOCK), v.split(BLOCK), strict=True):
            total += p @ (kernel(a, b) @ q)
    return float(total)


def _mean_within(kernel: Similarity, x: Tensor, w: Tensor, unbiased: bool) -> float:
    """The mean of k over pairs of rows; if unbiased without pairs of a row with itself."""
    total, diagonal = 0.0, 0.0
    for start in range(0, len(x), BLOCK):
        a, p = x[start : start + BLOCK], w[start : start + BLOCK]
        k = kernel(a, a)
        total += float(p @ (k @ p))
        diagonal += float(p.square() @ k.diagonal())
        rest = slice(start + BLOCK, None)
        if start + BLOCK < len(x):
            total += 2 * _sum_over_pairs(kernel, a, p, x[rest], w[rest])
    return (total - diagonal) / (1 - float(w.square().sum())) if unbiased else total
