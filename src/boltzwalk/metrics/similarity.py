r"""Similarity kernels of pairs of rows, and the median distance as their bandwidth.

They are kernels in the sense of a reproducing kernel Hilbert space, symmetric functions
:math:`k(x, y)` of two rows; kernels that move walkers are in :mod:`boltzwalk.kernels`. The
default bandwidth of a kernel is the median distance of the pooled rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from .distances import squared_distances

__all__ = [
    "DistanceKernel",
    "GaussianKernel",
    "InverseMultiquadric",
    "LaplacianKernel",
    "PolynomialKernel",
    "Similarity",
    "median_distance",
    "with_bandwidth",
]

Similarity: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Maps rows, shape (N, D) and (M, D), to k of every pair, shape (N, M): symmetric in its pair."""

MEDIAN_ROWS = 1000
"""The maximum number of rows for a median distance."""


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
        exponent = squared_distances(x, y).mul_(-0.5 / _require_bandwidth(self.bandwidth) ** 2)
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
        return squared_distances(x, y).sqrt_().div_(-_require_bandwidth(self.bandwidth)).exp_()


@dataclass(frozen=True)
class InverseMultiquadric:
    r"""The kernel :math:`(1 + \|x - y\|^2 / h^2)^{-1/2}`, with a heavy tail.

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
        return (
            squared_distances(x, y).div_(_require_bandwidth(self.bandwidth) ** 2).add_(1).rsqrt_()
        )


@dataclass(frozen=True)
class PolynomialKernel:
    r"""The kernel :math:`(x \cdot y / D + 1)^p`, for the first p moments.

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


def with_bandwidth(kernel: Similarity | None, x: Tensor, y: Tensor) -> Similarity:
    """Returns a kernel with a bandwidth, by default the median distance of the pooled rows.

    Arguments:
        kernel: The kernel; None for a Gaussian one.
        x: Rows, shape (N, D).
        y: Rows, shape (M, D).
    """
    kernel = GaussianKernel() if kernel is None else kernel
    if not isinstance(kernel, GaussianKernel | LaplacianKernel | InverseMultiquadric):
        return kernel
    if kernel.bandwidth is not None:
        return kernel
    half = MEDIAN_ROWS // 2
    pooled = torch.cat([_thinned(x, half), _thinned(y, half)])
    return replace(kernel, bandwidth=median_distance(pooled))


def median_distance(x: Tensor) -> float:
    r"""Returns the median Euclidean distance between two rows.

    If more than half of the pairs are equal it is the median over the unequal pairs, and 1 if all
    are equal. More than 1,000 rows are thinned to a fixed random 1,000.

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


def _check_bandwidth(bandwidth: float | None) -> None:
    if bandwidth is not None and not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth must be finite and above 0, or None, got {bandwidth}")


def _require_bandwidth(bandwidth: float | None) -> float:
    if bandwidth is None:
        raise ValueError(
            "bandwidth must be a number to call a kernel directly, got None; "
            "write bandwidth=median_distance(x)"
        )
    return bandwidth


def _thinned(x: Tensor, rows: int) -> Tensor:
    """A fixed random subset of this size at most: rows may be sorted or periodic."""
    if len(x) <= rows:
        return x
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:rows].to(x.device)]
