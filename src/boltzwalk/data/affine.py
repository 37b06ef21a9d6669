r"""Affine map between model units, the input of a network, and original units.

.. math:: y = x \odot s + b \quad\text{or, for a matrix } S, \quad y = x S + b ,

where :math:`x` is a row in model units and :math:`y` the same row in original units. A scalar or
a vector :math:`s` serves images and standardised tables, a matrix serves whitening.

The result has the wider of the types of the rows and of the units: units in float64 keep a time
stamp of 1.6e9 s to the microsecond, whatever the type of the network.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["log_volume", "require_digits", "to_model", "to_original"]


def to_original(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    r"""Maps model units to original units, shape (N, \*event).

    Arguments:
        x: Rows in model units, shape (N, \*event).
        shift: The offset :math:`b`, shape () or (D,).
        scale: The factor :math:`s`, shape () or (D,), or the matrix :math:`S`, shape (D, D).

    Example:
        >>> to_original(torch.tensor([[1.0, 2.0]]), torch.zeros(2), torch.tensor([10.0, 100.0]))
        tensor([[ 10., 200.]])
    """
    x, shift, scale = _of_one_type(x, shift, scale)
    return (x @ scale if scale.ndim == 2 else x * scale) + shift


def to_model(y: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    r"""Maps original units to model units: the inverse of :func:`to_original`.

    Arguments:
        y: Rows in original units, shape (N, \*event).
        shift: The offset :math:`b`, shape () or (D,).
        scale: The factor :math:`s`, shape () or (D,), or the matrix :math:`S`, shape (D, D).

    Example:
        >>> to_model(torch.tensor([[10.0, 200.0]]), torch.zeros(2), torch.tensor([10.0, 100.0]))
        tensor([[1., 2.]])
    """
    y, shift, scale = _of_one_type(y, shift, scale)
    centred = y - shift
    if scale.ndim == 2:
        # Columns of size 1, so that units of 1e300 next to 1e-300 lose no digit.
        size = scale.abs().amax(0)
        solution: Tensor = torch.linalg.solve(scale / size, centred / size, left=False)
        return solution
    return centred / scale


def log_volume(scale: Tensor, dimensions: int) -> float:
    r"""Returns :math:`\log |\partial y / \partial x|` in nats.

    Log-densities in the two units differ by it: :math:`\log p_y(y) = \log p_x(x) - \log |S|`.

    Arguments:
        scale: The factor :math:`s`, shape () or (D,), or the matrix :math:`S`, shape (D, D).
        dimensions: The number of values in a row.

    Example:
        >>> log_volume(torch.tensor(1.0), dimensions=784)
        0.0
    """
    scale = scale.double().cpu()
    if scale.ndim == 2:
        size = scale.abs().amax(0)
        return float(torch.linalg.slogdet(scale / size).logabsdet + size.log().sum())
    return float(scale.abs().log().expand(dimensions).sum())


def require_digits(y: Tensor, shift: Tensor, scale: Tensor, columns: tuple[str, ...]) -> None:
    r"""Raises where the type of rows in original units cannot hold the digits that the model needs.

    Arguments:
        y: Rows in original units, shape (N, \*event).
        shift: The offset :math:`b`, shape () or (D,).
        scale: The factor :math:`s`, shape () or (D,), or the matrix :math:`S`, shape (D, D).
        columns: The names of the columns, for the message.

    Raises:
        ValueError: If the spread of a column is below the rounding of its offset.
    """
    if not y.is_floating_point() or y.dtype == torch.float64 or shift.ndim == 0:
        return
    size = scale.double().square().sum(0).sqrt() if scale.ndim == 2 else scale.double().abs()
    lost = size < shift.double().abs() * torch.finfo(y.dtype).eps * 8
    if bool(lost.any()):
        first = int(lost.nonzero()[0])
        name = columns[first] if columns else f"column{first}"
        raise ValueError(
            f"rows must be in float64, got {y.dtype}, which has no digits for the spread of "
            f"{name!r}, {float(size[first]):.3g} at an offset of {float(shift[first]):.10g}; write "
            "x.double(), or x.astype(float), where they come from"
        )


def _of_one_type(rows: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and units on the device of the rows, in the widest of their types."""
    dtype = torch.promote_types(torch.promote_types(rows.dtype, shift.dtype), scale.dtype)
    rows = rows.to(dtype)
    return rows, shift.to(rows), scale.to(rows)
