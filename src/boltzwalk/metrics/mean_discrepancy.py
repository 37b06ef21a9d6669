r"""The maximum mean discrepancy: how far apart two samples are, as a kernel sees them.

.. math:: \mathrm{MMD}^2 = E\,k(x, x') + E\,k(y, y') - 2 E\,k(x, y)

for samples x and reference y with a positive definite k. With weights :math:`w_i` that sum to 1 the
mean over pairs of samples is, unbiased (a U-statistic) and biased (a V-statistic),

.. math:: \frac{\sum_{i \ne j} w_i w_j k(x_i, x_j)}{1 - \sum_i w_i^2}
    \qquad \sum_{i, j} w_i w_j k(x_i, x_j) .

The unbiased value has mean 0 where both have one law, so it is negative about half of the time. The
biased one is never negative and has mean of the order 1 / N there.

Everything is a sum over blocks of pairs in float64: memory does not grow with N M or N M D.

Not guaranteed: that a difference shows. Gaussian, Laplacian and inverse multiquadric kernels and
the energy distance are 0 only for equal laws, but their power falls with the dimension and with a
bandwidth far from the scale of the difference; the polynomial kernel of degree 3 sees moments up to
the third and no more. Values of different kernels or bandwidths cannot be compared, and where the
bandwidth comes from the data it differs from sample to sample: fix it to compare runs. Weights are
taken as given: self-normalised importance weights leave a bias of the order 1 / N.

References:
    | A kernel two-sample test (Gretton et al., 2012), https://jmlr.org/papers/v13/gretton12a.html
    | Demystifying MMD GANs (Binkowski et al., 2018), https://arxiv.org/abs/1801.01401
    | Energy statistics (Szekely and Rizzo, 2013), https://doi.org/10.1016/j.jspi.2013.03.018
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from .rows import checked

__all__ = [
    "DistanceKernel",
    "GaussianKernel",
    "InverseMultiquadric",
    "KernelDistance",
    "LaplacianKernel",
    "PolynomialKernel",
    "Similarity",
    "kernel_distance",
    "mean_discrepancy",
    "median_distance",
    "permutation_p_value",
    "sample_weights",
    "squared_distances",
]

Similarity: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Maps rows, shape (N, D) and (M, D), to k of every pair, shape (N, M): symmetric in its pair."""

BLOCK = 1024
"""The rows on each side of a block of pairs."""

MEDIAN_ROWS = 1000
"""The rows, at most, whose distances give a bandwidth."""

PERMUTED_ROWS = 5000
"""The rows of both sides, at most, whose pairs `permutation_p_value` holds at once."""


@dataclass(frozen=True)
class GaussianKernel:
    r"""The mean over scales s of :math:`\exp(-\|x - y\|^2 / (2 s^2 h^2))`.

    Attributes:
        bandwidth: The bandwidth h; None for the median distance of the pooled rows.
        scales: The multiples s of the bandwidth.

    Example:
        >>> x = torch.zeros(1, 3)
        >>> GaussianKernel(2.0, scales=(1.0,))(x, x + 2).log()
        tensor([[-1.5000]])
    """

    bandwidth: float | None = None
    scales: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)

    def __post_init__(self) -> None:
        _check_bandwidth(self.bandwidth)
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales must be finite and above 0, one or more, got {self.scales}")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns k of every pair, shape (N, M)."""
        exponent = squared_distances(x, y).mul_(-0.5 / _given(self.bandwidth) ** 2)
        values = torch.zeros_like(exponent)
        for scale in self.scales:
            values += (exponent / scale**2).exp_()
        return values.div_(len(self.scales))


@dataclass(frozen=True)
class LaplacianKernel:
    r"""The kernel :math:`\exp(-\|x - y\| / h)`, of the Euclidean distance.

    Attributes:
        bandwidth: The bandwidth h; None for the median distance of the pooled rows.

    Example:
        >>> LaplacianKernel(5.0)(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])).log()
        tensor([[-1.]])
    """

    bandwidth: float | None = None

    def __post_init__(self) -> None:
        _check_bandwidth(self.bandwidth)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns k of every pair, shape (N, M)."""
        return squared_distances(x, y).sqrt_().div_(-_given(self.bandwidth)).exp_()


@dataclass(frozen=True)
class InverseMultiquadric:
    r"""The kernel :math:`(1 + \|x - y\|^2 / h^2)^{-1/2}`, whose tail sees far samples.

    Attributes:
        bandwidth: The bandwidth h; None for the median distance of the pooled rows.

    Example:
        >>> InverseMultiquadric(1.0)(torch.zeros(1, 3), torch.ones(1, 3))
        tensor([[0.5000]])
    """

    bandwidth: float | None = None

    def __post_init__(self) -> None:
        _check_bandwidth(self.bandwidth)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns k of every pair, shape (N, M)."""
        return squared_distances(x, y).div_(_given(self.bandwidth) ** 2).add_(1).rsqrt_()


@dataclass(frozen=True)
class PolynomialKernel:
    r"""The kernel :math:`(x \cdot y / D + 1)^p`, which compares the first p moments.

    Attributes:
        degree: The degree p.

    Example:
        >>> PolynomialKernel()(torch.ones(1, 4), torch.ones(1, 4))
        tensor([[8.]])
    """

    degree: int = 3

    def __post_init__(self) -> None:
        if self.degree < 1:
            raise ValueError(f"degree must be 1 or more, got {self.degree}")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns k of every pair, shape (N, M)."""
        return (x @ y.T).div_(x.shape[1]).add_(1).pow_(self.degree)


@dataclass(frozen=True)
class DistanceKernel:
    r"""The kernel :math:`-\|x - y\|`, whose discrepancy is the energy distance; no bandwidth.

    .. math:: 2 E\|x - y\| - E\|x - x'\| - E\|y - y'\|

    Example:
        >>> DistanceKernel()(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([[-5.]])
    """

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns k of every pair, shape (N, M)."""
        return squared_distances(x, y).sqrt_().neg_()


class KernelDistance(NamedTuple):
    """The kernel distance of two sets of features."""

    value: float  # mean over subsets of the unbiased squared discrepancy
    standard_error: float  # of that mean; nan where a subset is a whole side
    deviation: float  # between subsets, which the literature prints: it depends on their size


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
        reference: What they should be like, y, shape (M, \*event).
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
    x, y = checked(samples, reference, least=2 if unbiased else 1)
    w = sample_weights(share, x, least=2 if unbiased else 1)
    # A sample without weight is not there, not even for the bandwidth.
    x, w, y = x[w > 0].double(), w[w > 0], y.double()
    kernel = _fitted(kernel, x, y)
    v = torch.full_like(y[:, 0], 1 / len(y))
    within = _mean_within(kernel, x, w, unbiased) + _mean_within(kernel, y, v, unbiased)
    return within - 2 * _sum_over_pairs(kernel, x, w, y, v)


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

    has s the deviation between the B subsets and r the share of the smaller side that one takes:
    more subsets cannot say more than the features do. It is of first order and too large where both
    sides have one law.

    Arguments:
        features: The features of the samples, shape (N, D).
        reference: The features of the reference, shape (M, D).
        rng: The generator that draws the subsets.
        subsets: The number of subsets B.
        size: The rows that a subset takes of each side, without replacement.
        kernel: The kernel; None for `PolynomialKernel`.

    Raises:
        ValueError: If a side has fewer rows than a subset takes, or a value is not finite, or if
            there are fewer than one subset or fewer than two rows in each.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = torch.randn(2000, 8, generator=rng)
        >>> found = kernel_distance(x[:1000] + 1, x[1000:], rng, subsets=20, size=200)
        >>> round(found.value, 1), found.standard_error < 0.5
        (8.0, True)
    """
    if size < 2 or subsets < 1:
        raise ValueError(
            f"size must be 2 or more and subsets 1 or more, got size={size}, subsets={subsets}"
        )
    x, y = checked(features, reference, least=2)
    fewer = min(len(x), len(y))
    if size > fewer:
        raise ValueError(
            f"size must be at most the {fewer} rows of the smaller side, got {size}; "
            f"write size={fewer // 2}, or give more rows"
        )
    x, y = x.double(), y.double()
    kernel = PolynomialKernel() if kernel is None else _fitted(kernel, x, y)
    values = []
    for _ in range(subsets):
        a, b = (rows[_drawn(rows, size, rng)] for rows in (x, y))
        w = torch.full_like(a[:, 0], 1 / size)
        within = _mean_within(kernel, a, w, True) + _mean_within(kernel, b, w, True)
        values.append(within - 2 * _sum_over_pairs(kernel, a, w, b, w))
    found = torch.tensor(values, dtype=torch.float64)
    deviation = float(found.std()) if subsets > 1 else math.nan
    taken = size / fewer
    factor = math.sqrt(1 / subsets + taken / (1 - taken)) if taken < 1 else math.nan
    return KernelDistance(float(found.mean()), deviation * factor, deviation)


def permutation_p_value(
    samples: Tensor,
    reference: Tensor,
    rng: torch.Generator,
    kernel: Similarity | None = None,
    permutations: int = 500,
) -> float:
    r"""Returns how often a random split of the pooled rows has at least their discrepancy.

    .. math:: p = \frac{1 + \#\{b : \mathrm{MMD}^2_b \ge \mathrm{MMD}^2\}}{1 + B}

    It is uniform where both are independent draws of one law, and too small where the rows of one
    side depend on each other, as those of a Markov chain do.

    Arguments:
        samples: The samples, shape (N, \*event).
        reference: What they should be like, shape (M, \*event).
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
    x, y = (rows.double() for rows in checked(samples, reference, least=2))
    n, m = len(x), len(y)
    if n + m > PERMUTED_ROWS:
        raise ValueError(
            f"samples and reference must have {PERMUTED_ROWS} rows or fewer together, got {n + m}; "
            f"write samples[:{PERMUTED_ROWS // 2}] and reference[:{PERMUTED_ROWS // 2}]"
        )
    if permutations < 1:
        raise ValueError(f"permutations must be 1 or more, got {permutations}")
    pooled = torch.cat([x, y])
    k = _fitted(kernel, x, y)(pooled, pooled).clone()
    k.fill_diagonal_(0)
    # Row 0 is the split that was given; the others are random.
    order = torch.rand((permutations + 1, n + m), generator=rng, device=rng.device).to(k).argsort(1)
    order[0] = torch.arange(n + m)
    first = torch.zeros_like(order, dtype=k.dtype).scatter_(1, order[:, :n], 1.0)
    within, touched = ((first @ k) * first).sum(1), first @ k.sum(1)
    rest, across = k.sum() - 2 * touched + within, touched - within
    values = within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * across / (n * m)
    rounding = 1e-12 * float(k.abs().mean())
    return float((values >= values[0] - rounding).double().mean())


def median_distance(x: Tensor) -> float:
    r"""Returns the median Euclidean distance between two rows, a bandwidth that fits the data.

    Where more than half of the pairs are equal it is the median over those that are not, and 1
    where all are equal. More than 1,000 rows are thinned to 1,000, always the same.

    Arguments:
        x: Rows, shape (N, \*event).

    Example:
        >>> median_distance(torch.tensor([[0.0], [1.0], [3.0]]))
        2.0
        >>> median_distance(torch.ones(5, 2))
        1.0
    """
    # Differences, not inner products: equal rows must be at distance 0 and no rounding error.
    distances = torch.pdist(_thinned(x.flatten(1), MEDIAN_ROWS).double())
    distances = distances[distances > 0] if float(distances.sum()) > 0 else distances
    return float(distances.median()) if float(distances.sum()) > 0 else 1.0


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    r"""Returns the squared Euclidean distance of every pair, shape (N, M), by one matrix product.

    .. math:: \|x\|^2 + \|y\|^2 - 2 x \cdot y

    around the mean of y; its error is of the order of the rounding error of the largest square.

    Arguments:
        x: Rows, shape (N, D).
        y: Rows, shape (M, D).

    Example:
        >>> squared_distances(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]]))
        tensor([[9.],
                [4.]])
    """
    middle = y.mean(0)
    x, y = x - middle, y - middle
    squares = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)
    return squares.add_(x.square().sum(1)[:, None]).clamp_(min=0)


def sample_weights(share: Tensor | None, samples: Tensor, least: float = 1) -> Tensor:
    r"""Returns the weights of samples, shape (N,), in float64, of sum 1.

    .. math:: N_\mathrm{eff} = 1 / \sum_i w_i^2

    is how many equal weights would say as much.

    Arguments:
        share: The weights, shape (N,), not negative, of any sum; None for equal weights.
        samples: The samples, shape (N, \*event).
        least: The least effective sample size.

    Raises:
        ValueError: If the weights have another shape, are negative or not finite, have no sum, or
            leave too few samples in effect.

    Example:
        >>> sample_weights(torch.tensor([1.0, 3.0]), torch.zeros(2, 5))
        tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    n = len(samples)
    if share is None:
        return torch.full((n,), 1 / n, dtype=torch.float64, device=samples.device)
    if share.shape != (n,):
        raise ValueError(f"share must have shape (N,) = ({n},), got {tuple(share.shape)}")
    w = share.to(samples.device, torch.float64)
    if not bool((w.isfinite() & (w >= 0)).all()) or not float(w.sum()) > 0:
        raise ValueError(
            "share must be finite and not negative with a sum above 0, got values from "
            f"{float(w.min()):.3g} to {float(w.max()):.3g}; write softmax(log_w) for log-weights"
        )
    w = w / w.max()  # the sum of weights near 1e308 is not finite
    w = w / w.sum()
    effective = 1 / float(w.square().sum())
    if effective < least - 1e-6:
        raise ValueError(
            f"share must have an effective sample size of {least} or more, got {effective:.3g}: "
            "too few samples carry the weight; take more, or resample less unevenly"
        )
    return w


def _check_bandwidth(bandwidth: float | None) -> None:
    if bandwidth is not None and not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth must be finite and above 0, or None, got {bandwidth}")


def _given(bandwidth: float | None) -> float:
    if bandwidth is None:
        raise ValueError(
            "bandwidth must be a number where a kernel is called by itself, got None; "
            "write bandwidth=median_distance(x)"
        )
    return bandwidth


def _fitted(kernel: Similarity | None, x: Tensor, y: Tensor) -> Similarity:
    """The kernel, with the bandwidth of the pooled rows where it has none."""
    kernel = GaussianKernel() if kernel is None else kernel
    if not isinstance(kernel, GaussianKernel | LaplacianKernel | InverseMultiquadric):
        return kernel
    if kernel.bandwidth is not None:
        return kernel
    half = MEDIAN_ROWS // 2
    pooled = torch.cat([_thinned(x, half), _thinned(y, half)])
    return replace(kernel, bandwidth=median_distance(pooled))


def _thinned(x: Tensor, rows: int) -> Tensor:
    """At most so many rows, the same each time, from all over: rows may be sorted or periodic."""
    if len(x) <= rows:
        return x
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:rows].to(x.device)]


def _drawn(x: Tensor, size: int, rng: torch.Generator) -> Tensor:
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
    """The mean of k over pairs of rows, without those of a row with itself where unbiased."""
    total, itself = 0.0, 0.0
    for start in range(0, len(x), BLOCK):
        a, p = x[start : start + BLOCK], w[start : start + BLOCK]
        k = kernel(a, a)
        total += float(p @ (k @ p))
        itself += float(p.square() @ k.diagonal())
        rest = slice(start + BLOCK, None)
        if start + BLOCK < len(x):
            total += 2 * _sum_over_pairs(kernel, a, p, x[rest], w[rest])
    return (total - itself) / (1 - float(w.square().sum())) if unbiased else total
