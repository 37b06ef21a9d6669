r"""Affine map between model units, the input of a network, and original units.

.. math:: y = x \odot s + b \quad\text{or, for a matrix } S, \quad y = x S + b ,

where :math:`x` is a row in model units and :math:`y` the same row in original units. A scalar or
a vector :math:`s` serves images and standardised tables, a matrix serves whitening.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["log_volume", "to_model", "to_original"]


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
    centred = y - shift
    if scale.ndim == 2:
        solution: Tensor = torch.linalg.solve(scale, centred, left=False)
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
        return float(torch.linalg.slogdet(scale).logabsdet)
    return float(scale.abs().log().expand(dimensions).sum())
