r"""Kernel Stein discrepancy of samples from an energy, without log Z or a reference.

With the score :math:`s = -\nabla U / T` and an inverse multiquadric k the Stein kernel is

.. math:: u(x, y) = s(x) \cdot s(y) \, k + s(x) \cdot \nabla_y k + s(y) \cdot \nabla_x k
    + \operatorname{tr} \nabla_x \nabla_y k , \qquad k = (1 + \|x - y\|^2 / h^2)^{-1/2}

whose mean over y is 0 for every x where y has the density exp(-U / T) / Z. So

.. math:: \mathrm{KSD}^2 = E\,u(x, x')

is 0 for samples of that density and above 0 for others. No reference sample and no Z is needed.

The p-value is that of the wild bootstrap, which gives every sample a random sign:

.. math:: \mathrm{KSD}^2_b = \frac{1}{N (N - 1)} \sum_{i \ne j} \epsilon_i \epsilon_j u(x_i, x_j)

Warning: it does not depend on the weights of separated modes. The score within a mode is the same
whatever the mass of that mode, so samples that have 90 % of their rows in a mode of mass 50 %, or
that miss a mode altogether, pass. Compare masses by other means: weights, log Z, or a reference.

Not guaranteed: power in many dimensions; nor the p-value for dependent rows, as those of one Markov
chain: it is too small. A large p-value means that samples fit the energy, not that the energy fits
the data.

References:
    | A kernelized Stein discrepancy for goodness-of-fit tests (Liu et al., 2016),
    | https://arxiv.org/abs/1602.03253
    | A kernel test of goodness of fit (Chwialkowski et al., 2016), https://arxiv.org/abs/1602.02964
    | Measuring sample quality with kernels (Gorham and Mackey, 2017),
    | https://arxiv.org/abs/1703.01717
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..energy import Energy, energy_and_grad
from .distances import column_medians, squared_distances
from .rows import check_samples, describe_non_finite
from .similarity import median_distance

__all__ = ["SteinDiscrepancy", "stein_discrepancy", "stein_discrepancy_of_scores"]

SCORED = 512
"""The rows of a chunk for scores."""

PAIRS = 1 << 20
"""The pairs of a chunk for Stein kernels."""


class SteinDiscrepancy(NamedTuple):
    """The kernel Stein discrepancy of samples."""

    squared: float  # the U-statistic, which has mean 0, and may be negative, where samples fit
    p_value: float  # the probability of a value as large by chance
    bandwidth: float  # of the kernel: values of different bandwidths cannot be compared


def stein_discrepancy(
    energy: Energy,
    x: Tensor,
    rng: torch.Generator,
    temperature: float = 1.0,
    bandwidth: float | None = None,
    bootstraps: int = 1000,
) -> SteinDiscrepancy:
    r"""Returns the kernel Stein discrepancy of samples from exp(-U / T), and its p-value.

    It does not depend on the weights of separated modes.

    .. math:: \mathrm{KSD}^2 = \frac{1}{N (N - 1)} \sum_{i \ne j} u(x_i, x_j) , \qquad
        s = -\nabla U / T

    Arguments:
        energy: The energy U.
        x: The samples, shape (N, \*event), which should be independent.
        rng: The generator of the random signs.
        temperature: The temperature T.
        bandwidth: The bandwidth h of the kernel; None for the median distance of the samples.
        bootstraps: The number of random signs of every sample.

    Raises:
        ValueError: If there are fewer than two samples, a sample or its gradient is not finite, or
            the temperature, the bandwidth or the number of bootstraps is not above 0.

    Example:
        >>> energy = lambda x: x.square().sum(-1) / 2
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = torch.randn(200, 2, generator=rng)
        >>> stein_discrepancy(energy, x, rng).p_value > 0.05
        True
        >>> round(stein_discrepancy(energy, x + 1, rng).p_value, 3)
        0.001
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be finite and above 0, got {temperature}")
    check_samples(x, x, min_rows=2)
    grad = torch.cat([energy_and_grad(energy, part)[1] for part in x.split(SCORED)])
    return stein_discrepancy_of_scores(x, -grad / temperature, rng, bandwidth, bootstraps)


def stein_discrepancy_of_scores(
    x: Tensor,
    scores: Tensor,
    rng: torch.Generator,
    bandwidth: float | None = None,
    bootstraps: int = 1000,
) -> SteinDiscrepancy:
    r"""Returns the kernel Stein discrepancy of samples with known scores, and its p-value.

    It does not depend on the weights of separated modes.

    .. math:: \mathrm{KSD}^2 = \frac{1}{N (N - 1)} \sum_{i \ne j} u(x_i, x_j) , \qquad
        p = \frac{1 + \#\{b : \mathrm{KSD}^2_b \ge \mathrm{KSD}^2\}}{1 + B}

    Arguments:
        x: The samples, shape (N, \*event), which should be independent.
        scores: The gradient of the logarithm of the density at x, shape (N, \*event).
        rng: The generator of the random signs.
        bandwidth: The bandwidth h of the kernel; None for the median distance of the samples.
        bootstraps: The number B of random signs of every sample.

    Raises:
        ValueError: If there are fewer than two samples, a sample or a score is not finite, or the
            bandwidth or the number of bootstraps is not above 0.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = torch.randn(200, 2, generator=rng)
        >>> round(stein_discrepancy_of_scores(x, -4 * x, rng).p_value, 3)
        0.001
    """
    rows, _ = check_samples(x, x, min_rows=2)
    if scores.shape != x.shape:
        raise ValueError(
            f"scores must have the shape of x, {tuple(x.shape)}, got {tuple(scores.shape)}"
        )
    wrong = describe_non_finite(scores)
    if wrong:
        raise ValueError(
            f"scores must be finite, got {wrong}; leave out samples where the energy has no slope"
        )
    if bootstraps < 1:
        raise ValueError(f"bootstraps must be 1 or more, got {bootstraps}")
    bandwidth = median_distance(rows) if bandwidth is None else bandwidth
    if not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth must be finite and above 0, or None, got {bandwidth}")
    rows, scores = rows.double() - column_medians(rows).double(), scores.flatten(1).double()
    n = len(rows)
    coin = torch.randint(2, (bootstraps, n), generator=rng, device=rng.device)
    signs = coin.to(rows) * 2 - 1
    total, bootstrap = 0.0, torch.zeros_like(signs[:, 0])
    size = max(1, PAIRS // n)
    for start in range(0, n, size):
        part = slice(start, start + size)
        u = _stein_kernel(rows[part], scores[part], rows, scores, bandwidth)
        u.diagonal(start).zero_()
        total += float(u.sum())
        bootstrap += ((signs[:, part] @ u) * signs).sum(1)
    # Where all signs are equal the sum is the statistic itself, but for rounding.
    exceeding = int((bootstrap >= total - 1e-12 * abs(total)).sum())
    p_value = (1 + exceeding) / (1 + bootstraps)
    return SteinDiscrepancy(total / (n * (n - 1)), p_value, bandwidth)


def _stein_kernel(x: Tensor, s: Tensor, y: Tensor, t: Tensor, bandwidth: float) -> Tensor:
    r"""The Stein kernel of every pair, shape (N, M), of positions x, y with scores s, t.

    With :math:`r = x - y` and :math:`b = 1 + \|r\|^2 / h^2` the terms of u are

    .. math:: s \cdot t \, b^{-1/2} + h^{-2} b^{-3/2} \left((s - t) \cdot r + D
        - 3 \frac{b - 1}{b}\right)
    """
    base = squared_distances(x, y).div_(bandwidth**2).add_(1)
    root = base.rsqrt()
    # (s - t) . (x - y), in matrix products
    slope = torch.addmm((y * t).sum(1), s, y.T, alpha=-1).addmm_(x, t.T, alpha=-1)
    slope += (x * s).sum(1)[:, None] + x.shape[1] - 3
    slope += 3 / base
    return (s @ t.T).mul_(root).add_(slope.mul_(root).div_(base).div_(bandwidth**2))
