r"""Whitening: the affine map after which training rows have mean 0 and unit variance or covariance.

For "pca" the columns are standardised first, and their correlation matrix :math:`R = V \Lambda V^T`
gives :math:`x = D^{-1} (y - m) V \Lambda^{-1/2}`; so the result does not depend on the units of the
columns. Variances are those of the rows, with 1/N. The statistics come from the training split
alone, so that test rows cannot leak into them.

Eigenvalues of few rows scatter: the least are far too small, and whitened test rows lie far outside
of the training rows. With shrinkage each component is divided by a variance that rows have along it
which did not determine it,

.. math:: \lambda_i = \frac1N \sum_k \sum_{n \in \text{fold } k} (z_n \cdot v_i^{(k)})^2 ,

with the i-th eigenvector of the rows outside of fold k. Beyond 500 columns, or below 10 rows, it is
:math:`(1 - \delta) \lambda_i + \delta` with the :math:`\delta` of Ledoit and Wolf, which costs one
decomposition instead of six, and makes small true variances too large.

References:
    | Cross-validation based nonlinear shrinkage
    | (Bartz, 2016), https://arxiv.org/abs/1611.00798

    | A well-conditioned estimator for large-dimensional covariance matrices
    | (Ledoit and Wolf, 2004), https://doi.org/10.1016/S0047-259X(03)00096-4
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Whitening", "fit_whitening", "moments", "require_float32", "require_resolved"]

Whitening: TypeAlias = Literal["none", "standard", "pca"]
"""No change; mean 0 and variance 1 for each column; or uncorrelated columns as well."""

SINGULAR = 1e-10
"""The variance of a combination of standardised columns below which it is constant."""

FOLDS = 5
"""Parts of the rows, each of which gives the variance along the components of the others."""

MOST_COLUMNS = 500
"""Columns up to which the folds are decomposed."""

ROUNDING = 2.0**-50
"""The spread of a column, as a share of its size, that rounding in float64 makes."""

SINGLE = 2.0**-20
"""The spread of a column, as a share of its offset, that float32 resolves into 8 to 16 steps."""

TINY = 2.0**-126
"""The least number of float32 that has all its digits."""

NAMED = 8
"""The most columns that a message names."""


def fit_whitening(
    train: Float[Tensor, "N D"],
    whitening: Whitening,
    columns: tuple[str, ...],
    shrinkage: bool = False,
    unit_constants: bool = False,
) -> tuple[Tensor, Tensor]:
    """Returns shift, shape (D,), and scale, shape (D,) or (D, D): original = x scale + shift.

    Without whitening they are 0 and 1 in float32, so that values keep the type of the network.

    Arguments:
        train: The training rows in original units, float64, shape (N, D).
        whitening: The kind of whitening.
        columns: The names of the columns, for errors.
        shrinkage: Whether "pca" takes variances of rows that did not determine the components.
        unit_constants: Whether "standard" takes constant columns, with a scale of 1.

    Raises:
        ValueError: If a column is constant, or for "pca" a combination of columns is; without
            whitening, if float32 cannot resolve a column.

    Example:
        >>> fit_whitening(torch.tensor([[1.0], [3.0]]), "standard", ("a",))
        (tensor([2.]), tensor([1.]))
    """
    if whitening == "none":
        require_resolved(train, columns)
        one = torch.ones(train.shape[1], dtype=torch.float32, device=train.device)
        return torch.zeros_like(one), one
    mean, sd = moments(train)
    constant = (train.amax(0) == train.amin(0)) | (sd <= ROUNDING * train.abs().amax(0))
    if unit_constants and whitening == "standard":
        return mean, sd.masked_fill(constant, 1.0)
    if constant.any():
        names = _names(columns, constant)
        every = [name for name, mark in zip(columns, constant.tolist(), strict=True) if mark]
        raise ValueError(
            f"whitening={whitening} needs columns that vary, got {len(train)} training rows in "
            f"which {', '.join(names)} has one value only, but for rounding; leave it out with "
            f"data.drop={','.join(every)}, or write data.whitening=none"
        )
    if whitening == "standard":
        return mean, sd
    standardised = (train - mean) / sd
    variance, vectors = torch.linalg.eigh(standardised.T @ standardised / len(train))
    shrunk = _shrunk(standardised, variance) if shrinkage else variance
    determined = torch.minimum(variance, shrunk) if len(train) > len(columns) else shrunk
    if determined.amin() < SINGULAR:
        heaviest = vectors[:, int(determined.argmin())].abs().topk(min(3, len(columns)))
        mainly = [columns[i] for i in heaviest.indices.tolist()]
        raise ValueError(
            f"whitening=pca needs columns that do not determine each other, and without shrinkage "
            f"more rows than columns, got {len(train)} training rows of {len(columns)} columns, "
            f"one combination of which, mainly of {', '.join(mainly)}, is constant; leave one "
            f"out with data.drop={mainly[0]}, or write data.whitening=standard"
        )
    shrunk, vectors = shrunk.flip(0), vectors.flip(1)
    # The sign of an eigenvector is arbitrary: make its largest entry positive.
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = vectors * largest.sign()
    return mean, shrunk.sqrt().unsqueeze(1) * vectors.T * sd


def moments(
    train: Float[Tensor, "N D"],
) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Returns mean and standard deviation of columns of any size, each of shape (D,).

    Squares of 1e300 and 1e-300 are out of range: such columns are scaled by a power of two first.

    Arguments:
        train: The rows, shape (N, D).

    Example:
        >>> moments(torch.tensor([[-1e300], [1e300]], dtype=torch.float64))[1].tolist()
        [1e+300]
    """
    _, exponent = np.frexp(train.abs().amax(0).cpu().numpy())
    exponent = np.where(np.abs(exponent) > 400, exponent, 0)
    if not exponent.any():
        return train.mean(0), train.std(0, correction=0)
    scaled = torch.from_numpy(np.ldexp(train.cpu().numpy(), -exponent))
    moments = scaled.mean(0), scaled.std(0, correction=0)
    mean, sd = (torch.from_numpy(np.ldexp(m.numpy(), exponent)).to(train) for m in moments)
    return mean, sd


def require_float32(
    x: Float[Tensor, "N D"], y: Float[Tensor, "N D"], columns: tuple[str, ...], source: object
) -> None:
    """Raises where float32 could not hold a value in model units.

    Arguments:
        x: The rows in model units, float32, shape (N, D).
        y: The same rows in original units.
        columns: The names of the columns.
        source: The name of the rows.

    Raises:
        ValueError: If a value is not finite.
    """
    bad = (~x.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"column {columns[column]!r} of {source} must hold finite float32 numbers in the units "
            f"of the model, got {float(y[row, column]):.6g} in row {row} (the first is 0), and "
            f"{len(bad) - 1} more; write data.whitening=standard, delete these rows, or leave the "
            f"column out with data.drop={columns[column]}"
        )


def require_resolved(train: Float[Tensor, "N D"], columns: tuple[str, ...]) -> None:
    """Raises where the rows of a column differ by less than float32 can hold.

    Arguments:
        train: The rows in original units, float64, shape (N, D).
        columns: The names of the columns.

    Raises:
        ValueError: With the names of such columns.
    """
    mean, sd = moments(train)
    quartiles = train.new_tensor(np.quantile(train.cpu().numpy(), (0.25, 0.5, 0.75), axis=0))
    span, size = (quartiles[2] - quartiles[0]) / 1.349, train.abs().amax(0)
    lost = (sd > ROUNDING * size) & (sd < SINGLE * mean.abs())
    # One row at 0 among time stamps must not hide that the others cannot be told apart.
    lost |= (span > ROUNDING * size) & (span < SINGLE * quartiles[1].abs())
    lost |= (sd > 0) & (sd < TINY)
    if lost.any():
        names = _names(columns, lost)
        raise ValueError(
            "float32, the type of the network, must tell the rows of a column apart, got a spread "
            f"of less than a millionth of the offset, or below 1e-38, in {', '.join(names)}; write "
            "data.whitening=standard (in Python whitening='standard', with rows in float64), or "
            "subtract the offset first"
        )


def _shrunk(standardised: Tensor, variance: Tensor) -> Tensor:
    """Variances of the components that rows have which did not determine them, ascending."""
    rows, columns = standardised.shape
    if rows < 2 * FOLDS or columns > MOST_COLUMNS:
        from sklearn.covariance import ledoit_wolf_shrinkage

        share = float(ledoit_wolf_shrinkage(standardised.cpu().numpy(), assume_centered=True))
        return (1 - share) * variance + share
    fold = torch.arange(rows, device=standardised.device) % FOLDS
    total = torch.zeros_like(variance)
    for k in range(FOLDS):
        inside, outside = standardised[fold == k], standardised[fold != k]
        vectors = torch.linalg.eigh(outside.T @ outside / len(outside)).eigenvectors
        total += (inside @ vectors).square().sum(0)
    return total / rows


def _names(columns: tuple[str, ...], chosen: Tensor) -> list[str]:
    """The first names of the columns that are chosen."""
    names = [name for name, mark in zip(columns, chosen.tolist(), strict=True) if mark]
    return names if len(names) <= NAMED else [*names[:NAMED], f"{len(names) - NAMED} more"]
