r"""Distances of all pairs of rows, by matrix products where these are exact enough.

.. math:: |x - y|^2 = |x|^2 + |y|^2 - 2 x \cdot y

is fast and cancels: rows far from their centre lose the digits of small distances. With the
rounding unit u, around any centre,

.. math:: \text{error} \le (D + 4) \, u \, (|x| + |y|)^2 \le 2 (D + 4) \, u \, (|x|^2 + |y|^2)

bounds the error of each pair by the norms of its own two rows, so that one row far away spoils no
other pair. A pair whose result is not clear within its bound is computed from differences in
float64. The centre is the median of each column, which a few rows far away do not move.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "ProductDistances",
    "column_medians",
    "distances_by_products",
    "nearest_pairs",
    "pair_distances",
    "recompute_unclear",
    "squared_distances",
]

CENTRE_ROWS = 1000
"""The maximum number of rows for the median of each column."""

GATHERED = 1 << 21
"""The entries of a chunk of pairs whose differences are in memory."""


class ProductDistances(NamedTuple):
    """Squared distances by products, with bounds of their error.

    Attributes:
        squared: The squared distances, shape (N, M).
        bound_x: The part of each row x in the bound of the error of its pairs, shape (N,).
        bound_y: The part of each row y, shape (M,): the bound is the sum of both.
    """

    squared: Tensor
    bound_x: Tensor
    bound_y: Tensor


def distances_by_products(x: Tensor, y: Tensor, centre: Tensor) -> ProductDistances:
    """Returns the squared distance of every pair by one matrix product, with its error bound.

    Arguments:
        x: Rows, shape (N, D).
        y: Rows, shape (M, D).
        centre: The centre of both, shape (D,).

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]])
        >>> distances_by_products(x, y, torch.zeros(1)).squared.tolist()
        [[9.0], [4.0]]
    """
    x, y = x - centre, y - centre
    norm_x, norm_y = x.square().sum(1), y.square().sum(1)
    squared = torch.addmm(norm_y, x, y.T, alpha=-2).add_(norm_x[:, None])
    unit = 2 * (x.shape[1] + 4) * torch.finfo(squared.dtype).eps
    return ProductDistances(squared, unit * norm_x, unit * norm_y)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Returns the squared Euclidean distance of every pair, shape (N, M).

    The error relative to the distance is at most the cube root of the precision of the type: pairs
    that a matrix product may give with a larger error are computed from differences.

    Arguments:
        x: Rows, shape (N, D).
        y: Rows, shape (M, D).

    Example:
        >>> squared_distances(torch.tensor([[1.0]]), torch.tensor([[3.0]]))
        tensor([[4.]])
    """
    squared, bound_x, bound_y = distances_by_products(x, y, column_medians(y))
    bound_x, bound_y = (b / torch.finfo(b.dtype).eps ** (1 / 3) for b in (bound_x, bound_y))
    if float(squared.min()) <= float(bound_x.max() + bound_y.max()):
        recompute_unclear(squared, squared - bound_y <= bound_x[:, None], x, y)
    return squared


def nearest_pairs(x: Tensor, y: Tensor, k: int, start: int | None = None) -> tuple[Tensor, Tensor]:
    """Returns the squared distance to the k-th nearest row and its index, shapes (N,) and (N,).

    They are those of differences in float64, so that the distance of equal rows is 0.

    Arguments:
        x: Rows, shape (N, D).
        y: The rows to search, shape (M, D), of the same type.
        k: The neighbour, 1 for the nearest.
        start: The index of the first row of x in y, so that a row is not its own neighbour; None
            where x are other rows.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> nearest_pairs(x, x, 1, start=0)
        (tensor([1., 1., 4.], dtype=torch.float64), tensor([1, 0, 1]))
    """
    centre = column_medians(y)
    candidates = _candidates(x, y, centre, k, start)
    if x.dtype != torch.float64 and int(candidates.sum()) > len(y):
        candidates = _candidates(x.double(), y.double(), centre.double(), k, start)
    rows, columns = candidates.nonzero(as_tuple=True)
    exact = pair_distances(x, y, rows, columns)
    order = (by_size := exact.argsort(stable=True))[rows[by_size].argsort(stable=True)]
    counts = torch.bincount(rows, minlength=len(x))
    selected = order[counts.cumsum(0) - counts + k - 1]
    return exact[selected], columns[selected]


def column_medians(x: Tensor) -> Tensor:
    """Returns the median of each column of at most 1,000 rows, spread over all, shape (D,).

    Arguments:
        x: Rows, shape (N, D).

    Example:
        >>> column_medians(torch.tensor([[0.0], [1.0], [1e9]]))
        tensor([1.])
    """
    return x[:: max(1, len(x) // CENTRE_ROWS)].median(0).values


def recompute_unclear(squared: Tensor, unclear: Tensor, x: Tensor, y: Tensor) -> None:
    """Replaces squared distances by those of differences, in place.

    Arguments:
        squared: The squared distances, shape (N, M).
        unclear: The pairs to replace, shape (N, M).
        x: Rows, shape (N, D).
        y: Rows, shape (M, D).
    """
    rows, columns = unclear.nonzero(as_tuple=True)
    squared[rows, columns] = pair_distances(x, y, rows, columns).to(squared)


def pair_distances(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns the squared distances of pairs from differences in float64, shape (P,).

    Arguments:
        x: Rows, shape (N, D).
        y: Rows, shape (M, D).
        rows: The row of x of each pair, shape (P,).
        columns: The row of y of each pair, shape (P,).
    """
    size = max(1, GATHERED // max(1, x.shape[1]))
    parts = [
        (x[i].double() - y[j].double()).square_().sum(1)
        for i, j in zip(rows.split(size), columns.split(size), strict=True)
    ]
    return torch.cat(parts)


def _candidates(x: Tensor, y: Tensor, centre: Tensor, k: int, start: int | None) -> Tensor:
    """The pairs that may be among the k nearest of a row, shape (N, M)."""
    squared, bound_x, bound_y = distances_by_products(x, y, centre)
    lower = squared.sub_(bound_y)
    if start is not None:
        lower[:, start : start + len(x)].fill_diagonal_(torch.inf)
    # The k rows that seem nearest are as near as this or nearer, so no farther one is the k-th.
    near, columns = lower.topk(k, 1, largest=False)
    farthest = (near + 2 * bound_y[columns]).amax(1) + bound_x
    return lower <= (farthest + bound_x)[:, None]
