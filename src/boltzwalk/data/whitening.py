r"""Whitening: the affine map after which training rows have mean 0 and unit variance or covariance.

For "pca" the columns are standardised first, and their correlation matrix :math:`R = V \Lambda V^T`
gives :math:`x = D^{-1} (y - m) V \Lambda^{-1/2}`; so it makes no difference in which units a column
is. Variances are those of the rows, with 1/N.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Whitening", "cell_widths", "fit"]

Whitening: TypeAlias = Literal["none", "standard", "pca"]
"""Nothing, mean 0 and variance 1 for each column, or also no correlations."""

SINGULAR = 1e-10
"""A share of the variance of standardised columns that counts as none."""


def fit(
    train: Float[Tensor, "N D"], whitening: Whitening, columns: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Returns shift, shape (D,), and scale, shape (D,) or (D, D): original = x scale + shift.

    Arguments:
        train: The training rows in original units, float64, shape (N, D).
        whitening: Which statistics to take out.
        columns: The names of the columns, for errors.

    Raises:
        ValueError: If a column is constant, or for "pca" a combination of columns is.

    Example:
        >>> fit(torch.tensor([[1.0], [3.0]]), "standard", ("a",))
        (tensor([2.]), tensor([1.]))
    """
    if whitening == "none":
        return torch.zeros_like(train[0]), torch.ones_like(train[0])
    constant = train.amax(0) == train.amin(0)
    if constant.any():
        names = [name for name, is_constant in zip(columns, constant, strict=True) if is_constant]
        raise ValueError(
            f"whitening={whitening} needs columns that vary, got {len(train)} training rows in "
            f"which {', '.join(names)} has one value only; leave it out with data.drop="
            f"{','.join(names)}, or write data.whitening=none"
        )
    mean, sd = train.mean(0), train.std(0, correction=0)
    if whitening == "standard":
        return mean, sd
    standardised = (train - mean) / sd
    variance, vectors = torch.linalg.eigh(standardised.T @ standardised / len(train))
    if variance[0] < SINGULAR:
        heaviest = vectors[:, 0].abs().topk(min(3, len(columns))).indices.tolist()
        raise ValueError(
            f"whitening=pca needs more rows than columns and columns that do not determine each "
            f"other, got {len(train)} training rows of {len(columns)} columns, one combination of "
            f"which, mainly of {', '.join(columns[i] for i in heaviest)}, is constant; leave one "
            f"out with data.drop={columns[heaviest[0]]}, or write data.whitening=standard"
        )
    variance, vectors = variance.flip(0), vectors.flip(1)
    # An eigenvector has no sign of its own: make its largest entry positive.
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = vectors * largest.sign()
    return mean, variance.sqrt().unsqueeze(1) * vectors.T * sd


def cell_widths(train: Float[Tensor, "N D"]) -> Float[Tensor, " D"]:
    """Returns the median gap between the sorted distinct values of each column, shape (D,).

    It is the width of one step where a column was rounded, next to nothing where it was not, and 0
    where the column is constant.

    Arguments:
        train: The training rows in original units, shape (N, D).

    Example:
        >>> cell_widths(torch.tensor([[0.5], [1.0], [1.0], [2.0], [1.5]]))
        tensor([0.5000])
    """
    gaps = [column.unique(sorted=True).diff() for column in train.T]
    return torch.stack([g.median() if len(g) else g.new_zeros(()) for g in gaps])
