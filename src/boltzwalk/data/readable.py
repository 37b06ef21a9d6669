"""Rows in original units with the digits that they have, for files and tables."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from .dataset import Dataset

__all__ = ["readable_rows"]

RESOLUTION = 2.0**-24
"""The rounding of a number of size 1 in float32."""

EXACT = 2.0**53
"""The integers up to which float64 has no gaps."""


def readable_rows(dataset: Dataset, x: Float[Tensor, "n *event"]) -> np.ndarray:
    r"""Returns rows in original units, float64, whose shortest decimals are no longer than needed.

    Values of float32 get the shortest decimal that tells them apart: 8.1, not 8.100000381. Whitened
    columns are rounded to the last digit that float32 has in model units: a time stamp of 1.6e9 s
    with a deviation of 10 s to the microsecond.

    Arguments:
        dataset: The data of the rows.
        x: The rows in model units, shape (n, \*event).
    """
    y = dataset.to_original(x).detach().cpu().numpy()
    if y.dtype != np.float64:
        return y.astype(np.float32).astype(str).astype(np.float64)
    scale = np.abs(dataset.scale.double().cpu().numpy())
    size = scale
    if scale.ndim == 2:
        largest = scale.max(0)
        size = largest * np.sqrt(((scale / largest) ** 2).sum(0))
    digits = np.ceil(-np.log10(size * RESOLUTION))
    for column, count in enumerate(np.broadcast_to(digits, y.shape[1:])):
        factor = 10.0 ** min(abs(count), 300)
        values = y[:, column]
        shifted = values * factor if count > 0 else values / factor
        rounded = shifted.round() / factor if count > 0 else shifted.round() * factor
        y[:, column] = np.where(np.abs(shifted) < EXACT, rounded, values)
    return y
