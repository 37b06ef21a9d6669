r"""The energy of events given a condition, one for each row.

.. math:: p(x \mid c) = \exp(-U(x \mid c)) / Z(c)

A condition c is one of two things:

=========================  ======================================================================
a class                    one-hot rows, shape (N, K)
a picture of which a part  its visible pixels, 0 where hidden, and a last channel that is 1 where
is hidden                  hidden; shape (N, C + 1, height, width)
=========================  ======================================================================

Given a picture, :math:`U(h \mid v)` is a function of whole events whose visible entries are
ignored: those of c take their place. Its gradient is 0 there, so that any kernel moves the hidden
entries as if there were no others.

Not guaranteed: anything about :math:`Z(c)`. Energies given different conditions differ by unknown
constants and cannot be compared.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energy import Energy

__all__ = ["ConditionalEnergy", "given", "held", "joined", "joined_shape"]


def held(x: Float[Tensor, "N *event"], c: Float[Tensor, "N ..."]) -> Float[Tensor, "N *event"]:
    r"""Returns events whose visible entries are those of their condition, shape (N, \*event).

    Arguments:
        x: The events, shape (N, \*event).
        c: The conditions; classes hold nothing.

    Example:
        >>> c = torch.tensor([[[[5.0, 0.0]], [[0.0, 1.0]]]])
        >>> held(torch.tensor([[[[1.0, 2.0]]]]), c)
        tensor([[[[5., 2.]]]])
    """
    return x if c.ndim == 2 else torch.where(c[:, -1:] > 0, x, c[:, :-1])


def joined(
    x: Float[Tensor, "N *event"], c: Float[Tensor, "N ..."], flat: bool
) -> Float[Tensor, "N *both"]:
    r"""Returns what a network is given: the event, and the condition behind it.

    Arguments:
        x: The events, shape (N, \*event).
        c: The conditions.
        flat: Whether as one row, for networks of dense layers; else as channels of an image.

    Example:
        >>> joined(torch.zeros(1, 1, 2, 2), torch.tensor([[0.0, 1.0]]), flat=True)
        tensor([[0., 0., 0., 0., 0., 1.]])
    """
    if flat:
        return torch.cat([x.flatten(1), c.flatten(1)], 1)
    if c.ndim == 2:
        c = c[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, c], 1)


def joined_shape(
    event_shape: tuple[int, ...], c_shape: tuple[int, ...], flat: bool
) -> tuple[int, ...]:
    """Returns the shape of one event with its condition.

    Arguments:
        event_shape: The shape of one event.
        c_shape: The shape of one condition.
        flat: Whether as one row.

    Raises:
        ValueError: If channels are wanted of events that are no images.

    Example:
        >>> joined_shape((1, 8, 8), (10,), flat=True), joined_shape((1, 8, 8), (10,), flat=False)
        ((74,), (11, 8, 8))
    """
    if flat:
        return (math.prod(event_shape) + math.prod(c_shape),)
    if len(event_shape) != 3:
        raise ValueError(
            "a convolutional network takes images (channels, height, width), got events of shape "
            f"{event_shape}; use dense layers"
        )
    return (event_shape[0] + c_shape[0], *event_shape[1:])


def given(network: Any, c: Tensor | None) -> Any:  # noqa: ANN401
    """Returns an energy, or a network that proposes, given one condition for each row.

    Arguments:
        network: What has ``given(c)``; or, where nothing is given, anything.
        c: The conditions; None where nothing is given.
    """
    return network if c is None else network.given(c)


class ConditionalEnergy(nn.Module):
    r"""A network of events and conditions as an energy :math:`U(x \mid c)`.

    Arguments:
        network: Maps events with their conditions to energies, shape (N,).
        flat: Whether it takes them as one row; else as channels.

    Example:
        >>> energy = ConditionalEnergy(lambda both: both.square().sum(1), flat=True)
        >>> energy.given(torch.tensor([[0.0, 1.0]]))(torch.tensor([[2.0]])).item()
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
        return self.network(joined(held(x, c), c, self.flat))

    def given(self, c: Float[Tensor, "N ..."]) -> Energy:
        r"""Returns :math:`U(\cdot \mid c)`, which takes one event for each condition.

        Arguments:
            c: The conditions.
        """
        return lambda x: self(x, c)
