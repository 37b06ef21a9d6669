"""Checks of samples and reference (one shape, finite, enough rows), and sample weights."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_samples", "describe_non_finite", "sample_weights"]


def check_samples(samples: Tensor, reference: Tensor, min_rows: int = 2) -> tuple[Tensor, Tensor]:
    """Returns samples and reference as rows, shape (N, D) and (M, D), on one device and type.

    Arguments:
        samples: The samples, shape (N, *event).
        reference: The reference, shape (M, *event).
        min_rows: The minimum number of rows of each.

    Raises:
        ValueError: If events have different shapes, there are too few rows, or one is not finite.

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
    return samples.flatten(1), reference.to(samples).flatten(1)


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
