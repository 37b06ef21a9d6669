r"""Wasserstein distance of order 2 between two samples: exact for few rows, sliced for many.

.. math:: W_2 = \left(\min_\gamma E_\gamma \|x - y\|^2\right)^{1/2} \qquad
    SW_2 = \left(E_\theta W_2(\theta \cdot x, \theta \cdot y)^2\right)^{1/2}

over couplings, and over directions :math:`\theta` of length 1. Both functions return the distance,
in the unit of x, and not its square.

In one dimension the best coupling joins equal quantiles, so that samples of any two sizes have

.. math:: W_2^2 = \int_0^1 (F^{-1}(u) - G^{-1}(u))^2 \, du ,

a finite sum, since both are constant between multiples of 1 / N and 1 / M.

Not guaranteed: that either is near the distance of the distributions. Two samples of one
distribution have :math:`W_2 \approx N^{-1/D}` in D > 4 dimensions, so `exact_wasserstein` there
depends mainly on the sizes. The sliced distance does not, but is smaller, :math:`SW_2 \le W_2 /
\sqrt{D}`, and is not scaled up by this module. Compare either with its value for two halves of the
reference.

References:
    | Sliced and Radon Wasserstein barycenters of measures (Bonneel et al., 2015),
    | https://doi.org/10.1007/s10851-014-0506-3
"""

from __future__ import annotations

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .distances import squared_distances
from .rows import check_samples

__all__ = ["exact_wasserstein", "sliced_wasserstein"]

LARGEST = 3000
"""The maximum number of rows of a side for `exact_wasserstein`, whose time grows with N³."""

VALUES = 1 << 22
"""The projected values of a chunk."""


def sliced_wasserstein(
    samples: Tensor, reference: Tensor, rng: torch.Generator, projections: int = 500
) -> float:
    r"""Returns the sliced Wasserstein distance of order 2, not squared, for any two sizes.

    .. math:: SW_2 = \left(\frac{1}{K} \sum_k
        W_2(\theta_k \cdot x, \theta_k \cdot y)^2\right)^{1/2}

    Arguments:
        samples: The samples x, shape (N, \*event).
        reference: The reference, y, shape (M, \*event).
        rng: The generator that draws the directions.
        projections: The number K of directions, uniform on the sphere.

    Raises:
        ValueError: If events have different shapes, a value is not finite, or there is no row or no
            direction.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = torch.randn(1000, 9, generator=rng)
        >>> shift = torch.full((9,), 2.0)  # of length 6, and 6 / sqrt(9) = 2 when sliced
        >>> round(sliced_wasserstein(x, x + shift, rng, projections=5000), 1)
        2.0
    """
    x, y = check_samples(samples, reference, min_rows=1)
    if projections < 1:
        raise ValueError(f"projections must be 1 or more, got {projections}")
    x, y = x.double(), y.double()
    directions = torch.randn(
        (projections, x.shape[1]), generator=rng, device=rng.device, dtype=torch.float64
    ).to(x)
    directions = directions / directions.norm(dim=1, keepdim=True)
    n, m = len(x), len(y)
    # Quantile functions step at multiples of 1 / n and 1 / m; as multiples of 1 / (n m), exact.
    edges = torch.cat([torch.arange(n + 1) * m, torch.arange(m + 1) * n]).unique().to(x.device)
    width, at = edges.diff().double() / (n * m), edges[:-1]
    total = 0.0
    for part in directions.split(max(1, VALUES // (n + m))):
        quantiles_x = (part @ x.T).sort(1).values[:, at // m]
        quantiles_y = (part @ y.T).sort(1).values[:, at // n]
        total += float(((quantiles_x - quantiles_y).square() @ width).sum())
    return math.sqrt(total / projections)


def exact_wasserstein(samples: Tensor, reference: Tensor) -> float:
    r"""Returns the Wasserstein distance of order 2, not squared, of two samples of one size.

    .. math:: W_2 = \left(\min_\pi \frac{1}{N} \sum_i \|x_i - y_{\pi(i)}\|^2\right)^{1/2}

    over permutations: between samples of one size and equal weights no coupling is better.

    Arguments:
        samples: The samples x, shape (N, \*event).
        reference: The reference, y, shape (N, \*event).

    Raises:
        ValueError: If the numbers of rows differ or exceed 3,000, events have different shapes, a
            value is not finite, or there is no row.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> exact_wasserstein(x, torch.tensor([[1.0, 2.0], [0.0, 2.0]]))
        2.0
    """
    x, y = check_samples(samples, reference, min_rows=1)
    if len(x) != len(y):
        fewer = min(len(x), len(y))
        raise ValueError(
            f"samples and reference must have as many rows, got {len(x)} and {len(y)}; "
            f"write samples[:{fewer}] and reference[:{fewer}] of shuffled rows, or "
            "sliced_wasserstein(...)"
        )
    if len(x) > LARGEST:
        raise ValueError(
            f"samples must have {LARGEST} rows or fewer, got {len(x)}: the assignment takes time "
            f"that grows with their third power; write samples[:{LARGEST}] and "
            f"reference[:{LARGEST}], or sliced_wasserstein(...)"
        )
    x, y = x.double(), y.double()
    rows, columns = linear_sum_assignment(squared_distances(x, y).cpu().numpy())
    # Differences of the assigned pairs have no rounding error of the cost matrix.
    pairs = x[torch.from_numpy(rows).to(x.device)] - y[torch.from_numpy(columns).to(x.device)]
    return math.sqrt(float(pairs.square().sum(1).mean()))
