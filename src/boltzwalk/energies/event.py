r"""The shape of one event, and the refusal of positions that have another.

Positions have shape (N, \*event): the first axis counts walkers, the others are one event, (dim,)
for a vector and (channels, height, width) for an image.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

__all__ = ["require_event_shape"]


def require_event_shape(x: Float[Tensor, "..."], event_shape: tuple[int, ...]) -> None:
    r"""Raises where x is not of shape (N, \*event).

    Arguments:
        x: The positions.
        event_shape: The shape of one event.

    Raises:
        ValueError: If the shapes differ. Broadcasting would hide it, or a linear layer name it in
            its own words.

    Example:
        >>> import torch
        >>> require_event_shape(torch.zeros(5, 2), (2,))
    """
    if x.ndim == 0 or x.shape[1:] != event_shape:
        expected = ", ".join(["N", *map(str, event_shape)])
        raise ValueError(
            f"this energy takes x of shape ({expected}), got {tuple(x.shape)}; the first axis "
            "counts walkers: write x.unsqueeze(0) for a single one, or build the energy for events "
            f"of shape {tuple(x.shape[1:])}"
        )
