"""What walkers say about themselves at an update, for all methods."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

__all__ = ["out_of_range"]


def out_of_range(
    data: Float[Tensor, "B *event"], x: Float[Tensor, "N *event"]
) -> Float[Tensor, ""]:
    r"""Returns the share of coordinates a twentieth of the range of the data beyond them.

    The range is that of each column of a table, and of all the pixels of images.

    Arguments:
        data: A batch of data, shape (B, \*event).
        x: Walkers, shape (N, \*event).

    Example:
        >>> import torch
        >>> out_of_range(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [1.04], [9.0], [-1.0]]))
        tensor(0.5000)
    """
    columns, walkers = (data, x) if data.ndim == 2 else (data.reshape(-1, 1), x.reshape(-1, 1))
    low, high = columns.amin(0), columns.amax(0)
    margin = (high - low) / 20
    outside = (walkers < low - margin) | (walkers > high + margin)
    return outside.to(data.dtype).mean()
