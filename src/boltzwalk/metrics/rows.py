"""What every metric asks of its samples: the same shape on both sides, finite, enough of them."""

from __future__ import annotations

from torch import Tensor

__all__ = ["checked", "where_not_finite"]


def checked(samples: Tensor, reference: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    """Returns samples and reference as rows, shape (N, D) and (M, D), on one device and type.

    Arguments:
        samples: The samples, shape (N, *event).
        reference: What they should be like, shape (M, *event).
        least: The least number of rows of each.

    Raises:
        ValueError: If events have different shapes, there are too few rows, or one is not finite.

    Example:
        >>> import torch
        >>> checked(torch.ones(3, 1, 2, 2), torch.ones(5, 1, 2, 2))[0].shape
        torch.Size([3, 4])
    """
    if samples.ndim < 2 or samples.shape[1:] != reference.shape[1:]:
        raise ValueError(
            "samples and reference must have events of one shape, (N, *event) and (M, *event), got "
            f"{tuple(samples.shape)} and {tuple(reference.shape)}"
        )
    for name, values in (("samples", samples), ("reference", reference)):
        if len(values) < least:
            raise ValueError(f"{name} must have {least} rows or more, got {len(values)}")
        wrong = where_not_finite(values)
        if wrong:
            raise ValueError(f"{name} must be finite, got {wrong}; look at them first")
    return samples.flatten(1), reference.to(samples).flatten(1)


def where_not_finite(values: Tensor) -> str:
    """Returns how many rows hold nan or inf and which, in words; "" where none does.

    Arguments:
        values: Rows, shape (N, *event).

    Example:
        >>> import torch
        >>> where_not_finite(torch.tensor([[1.0], [torch.nan], [torch.inf]]))
        '2 of 3 rows with nan or inf (rows 1, 2)'
    """
    wrong = (~values.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
    if not wrong:
        return ""
    named = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    return f"{len(wrong)} of {len(values)} rows with nan or inf (rows {named})"
