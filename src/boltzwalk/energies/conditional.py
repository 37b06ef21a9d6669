r"""Conditional energies, with one condition per event.

.. math:: p(x \mid c) = \exp(-U(x \mid c)) / Z(c)

A condition c is one of two kinds:

=================  ============================================================================
a class            one-hot rows, shape (N, K)
observed pixels    the observed pixels, 0 where hidden, and a last channel that is 1 where hidden;
                   shape (N, C + 1, height, width)
=================  ============================================================================

Given observed pixels v, :math:`U(h \mid v)` is a function of full events whose observed entries are
replaced by those of c. Its gradient is 0 there, so any kernel moves the hidden entries alone.

Not guaranteed: anything about :math:`Z(c)`. Energies under different conditions differ by unknown
constants and cannot be compared.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energy import Energy

__all__ = [
    "ConditionalEnergy",
    "clamp_observed",
    "concat_condition",
    "concat_condition_shape",
    "conditioned_on",
]


def clamp_observed(
    x: Float[Tensor, "N *event"], c: Float[Tensor, "N ..."]
) -> Float[Tensor, "N *event"]:
    r"""Replaces the observed entries of events by those of their conditions, shape (N, \*event).

    Arguments:
        x: The events, shape (N, \*event).
        c: The conditions; class conditions leave events unchanged.

    Example:
        >>> c = torch.tensor([[[[5.0, 0.0]], [[0.0, 1.0]]]])
        >>> clamp_observed(torch.tensor([[[[1.0, 2.0]]]]), c)
        tensor([[[[5., 2.]]]])
    """
    return x if c.ndim == 2 else torch.where(c[:, -1:] > 0, x, c[:, :-1])


def concat_condition(
    x: Float[Tensor, "N *event"], c: Float[Tensor, "N ..."], flat: bool
) -> Float[Tensor, "N *both"]:
    r"""Concatenates events and conditions, as the input of a network.

    Arguments:
        x: The events, shape (N, \*event).
        c: The conditions.
        flat: True for one row, for dense networks; False for the channels of an image.

    Example:
        >>> concat_condition(torch.zeros(1, 1, 2, 2), torch.tensor([[0.0, 1.0]]), flat=True)
        tensor([[0., 0., 0., 0., 0., 1.]])
    """
    if flat:
        return torch.cat([x.flatten(1), c.flatten(1)], 1)
    if c.ndim == 2:
        c = c[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, c], 1)


def concat_condition_shape(
    event_shape: tuple[int, ...], c_shape: tuple[int, ...], flat: bool
) -> tuple[int, ...]:
    """Returns the shape of one event concatenated with its condition.

    Arguments:
        event_shape: The shape of one event.
        c_shape: The shape of one condition.
        flat: True for one row, False for the channels of an image.

    Raises:
        ValueError: If ``flat`` is false and the events are not images.

    Example:
        >>> concat_condition_shape((1, 8, 8), (10,), flat=True)
        (74,)
        >>> concat_condition_shape((1, 8, 8), (10,), flat=False)
        (11, 8, 8)
    """
    if flat:
        return (math.prod(event_shape) + math.prod(c_shape),)
    if len(event_shape) != 3:
        raise ValueError(
            "a convolutional network takes images (channels, height, width), got events of shape "
            f"{event_shape}; use dense layers"
        )
    return (event_shape[0] + c_shape[0], *event_shape[1:])


def conditioned_on(network: Any, c: Tensor | None) -> Any:  # noqa: ANN401
    """Binds one condition per row to an energy or a base; without conditions, returns it unchanged.

    Arguments:
        network: An energy or a base with ``conditioned_on(c)``; without conditions, any.
        c: The conditions; None for none.
    """
    return network if c is None else network.conditioned_on(c)


class ConditionalEnergy(nn.Module):
    r"""The energy :math:`U(x \mid c)` of a network that takes events and conditions.

    Arguments:
        network: Maps events concatenated with their conditions to energies, shape (N,).
        flat: True if it takes them as one row, False if as the channels of an image.

    Example:
        >>> energy = ConditionalEnergy(lambda rows: rows.square().sum(1), flat=True)
        >>> energy.conditioned_on(torch.tensor([[0.0, 1.0]]))(torch.tensor([[2.0]])).item()
        5.0
    """

    def __init__(self, network: Energy, flat: bool) -> None:
        super().__init__()
        self.network = network
        self.flat = flat

    def forward(
        self, x: Float[Tensor, "N *event"], c: Float[Tensor, "M ..."]
    ) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x \mid c)`, shape (N,); one condition, M = N, for each event."""
        if len(c) != len(x):
            raise ValueError(
                f"each event needs one condition, got {len(x)} events and {len(c)} conditions; "
                "give c[i] for x[i]"
            )
        return self.network(concat_condition(clamp_observed(x, c), c, self.flat))

    def conditioned_on(self, c: Float[Tensor, "N ..."]) -> Energy:
        r"""Returns :math:`U(\cdot \mid c)`, which takes one event for each condition.

        Arguments:
            c: The conditions.
        """
        return lambda x: self(x, c)
