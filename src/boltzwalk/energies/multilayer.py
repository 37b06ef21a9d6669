"""The multilayer perceptron, for vectors and small events."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from .activation import Activation, activation_layer
from .layers import Dense
from .network import Network, Skip

__all__ = ["Multilayer"]


@dataclass(frozen=True)
class Multilayer:
    """Dense layers with an activation after each, then a linear head; events are flattened.

    Attributes:
        widths: The hidden widths.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        residual: Whether every layer whose input and output widths agree adds its input.

    Example:
        >>> network = Multilayer(widths=(32, 64, 64, 64), activation="leaky_relu").build((2,))
        >>> sum(parameter.numel() for parameter in network.parameters())
        10593
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Activation = "silu"
    leak: float = 0.2
    residual: bool = False

    def build(self, event_shape: tuple[int, ...]) -> Network:
        r"""Returns the network for events of a shape.

        Arguments:
            event_shape: The shape of one event, of any rank but zero.

        Raises:
            ValueError: If a width is not positive, or the events are scalars without an axis.
        """
        if not event_shape:
            raise ValueError(
                "events must have at least one axis, got the shape (); write (1,), and give x of "
                "shape (N, 1)"
            )
        if min(self.widths, default=1) < 1:
            raise ValueError(f"widths must be positive, got {self.widths}")
        widths = (math.prod(event_shape), *self.widths)
        layers: list[nn.Module] = [nn.Flatten()] if len(event_shape) != 1 else []
        for width, following in pairwise(widths):
            layer = nn.Sequential(
                Dense(width, following), activation_layer(self.activation, self.leak)
            )
            layers.append(Skip(layer) if self.residual and width == following else layer)
        return Network(event_shape, nn.Sequential(*layers), nn.Linear(widths[-1], 1))
