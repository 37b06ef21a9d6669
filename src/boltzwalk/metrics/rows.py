"""Checks of samples and reference: one shape, finite, in range, enough rows; sample weights."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_samples", "describe_non_finite", "sample_weights"]

LARGEST, SMALLEST = 3.4028234663852886e38, 1.1754943508222875e-38
"""The range of float32: powers of values in it are finite and not 0 in float64."""


def check_samples(samples: Tensor, reference: Tensor, min_rows: int = 2) -> tuple[Tensor, Tensor]:
    """Returns samples and reference as rows, shape (N, D) and (M, D), on one device and type.

    The type holds the values of both: float32 or float64, and float64 for whole numbers.

    Arguments:
        samples: The samples, shape (N, *event).
        reference: The reference, shape (M, *event).
        min_rows: The minimum number of rows of each.

    Raises:
        ValueError: If events have different shapes or no entries, there are too few rows, one is
            not finite, or values exceed 3.4e38 or all differ by less than 1.2e-38, so that their
            squares overflow or vanish.

    Example:
        >>> import torch
        >>> check_samples(torch.ones(3, 1, 2, 2), torch.ones(5, 1, 2, 2))[0].shape
        torch.Size([3, 4])
    """
    if samples.ndim < 2 or samples.shape[1:] != reference.shape[1:]:
        raise ValueError(
            "samples and reference must have events of one shape, (N, *event) and (M, *event), got "
            f"{tuple(samples.shape)} and {tuple(reference.shape)}"
        )
    for name, values in (("samples", samples), ("reference", reference)):
        if len(values) < min_rows:
            raise ValueError(f"{name} must have {min_rows} rows or more, got {len(values)}")
        wrong = describe_non_finite(values)
        if wrong:
            raise ValueError(f"{name} must be finite, got {wrong}; inspect them first")
    dtype = _common_type(samples, reference)
    x, y = samples.to(dtype).flatten(1), reference.to(samples.device, dtype).flatten(1)
    _check_range(x, y)
    return x, y


def _common_type(samples: Tensor, reference: Tensor) -> torch.dtype:
    """The type that holds the values of both."""
    if not (samples.is_floating_point() and reference.is_floating_point()):
        return torch.float64
    dtype = torch.promote_types(samples.dtype, reference.dtype)
    return torch.promote_types(dtype, torch.float32)


def _check_range(x: Tensor, y: Tensor) -> None:
    """Refuses rows without entries, and values whose squares overflow or vanish in float64."""
    if not x.shape[1]:
        raise ValueError("samples and reference must have one entry a row or more, got none")
    if x.dtype != torch.float64 or not len(x) or not len(y):
        return
    largest = float(max(x.abs().max(), y.abs().max()))
    if largest > LARGEST:
        raise ValueError(
            f"values must be at most {LARGEST:.2g} in size, got {largest:.2g}: their squares "
            "overflow; divide samples and reference by one number"
        )
    low, high = (torch.minimum(x.amin(0), y.amin(0)), torch.maximum(x.amax(0), y.amax(0)))
    spread = float((high - low).max())
    if 0 < spread < SMALLEST:
        raise ValueError(
            f"values must differ by {SMALLEST:.2g} or more, or not at all, got {spread:.2g}: their "
            "squares vanish; multiply samples and reference by one number"
        )


def describe_non_finite(values: Tensor) -> str:
    """Describes the rows with nan or inf, "" for none.

    Arguments:
        values: Rows, shape (N, *event).

    Example:
        >>> import torch
        >>> describe_non_finite(torch.tensor([[1.0], [torch.nan], [torch.inf]]))
        '2 of 3 rows with nan or inf (rows 1, 2)'
    """
    wrong = (~values.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
    if not wrong:
        return ""
    named = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    return f"{len(wrong)} of {len(values)} rows with nan or inf (rows {named})"


def sample_weights(share: Tensor | None, samples: Tensor, min_effective: float = 1) -> Tensor:
    r"""Returns the weights of samples, shape (N,), in float64, of sum 1.

    .. math:: N_\mathrm{eff} = 1 / \sum_i w_i^2

    is the number of equal weights with the same information.

    Arguments:
        share: The weights, shape (N,), not negative, of any sum; None for equal weights.
        samples: The samples, shape (N, \*event).
        min_effective: The minimum effective sample size.

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
    if effective < min_effective - 1e-6:
        raise ValueError(
            f"share must have an effective sample size of {min_effective} or more, got "
            f"{effective:.3g}: too few samples carry the weight; take more, or resample less "
            "unevenly"
        )
    return w
