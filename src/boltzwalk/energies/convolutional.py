r"""Plain convolutional networks: a table of convolutions, dense layers, a linear head.

Nearly every published energy for images up to 64 x 64 is one of them; :mod:`.published` has the
tables. Their last valid convolution over the whole remaining image is a linear layer, and is built
as one, so a network of any table takes images of other sizes too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from torch import nn

from . import layers
from .activation import Activation, activation_layer
from .initial import Initial, initialise
from .network import Network
from .spectral import add_spectral_norm

__all__ = ["Convolution", "Convolutional"]

Convolution: TypeAlias = tuple[int, int, int, int]
"""Channels as a multiple of the width, kernel, stride, padding."""


@dataclass(frozen=True)
class Convolutional:
    """Convolutions with an activation after each, then dense layers, then a linear head.

    The defaults are the short-run network, see :func:`.published.short_run`.

    Attributes:
        width: The unit in which channels are counted.
        layers: The convolutions, each (multiple of the width, kernel, stride, padding).
        hidden: The widths of dense layers between the convolutions and the head.
        outputs: How many outputs of the head are summed.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        normalise: Whether all layers but the head are spectrally normalised.
        initial: How the weights start.

    Example:
        >>> network = Convolutional(width=8).build((3, 32, 32))
        >>> sum(parameter.numel() for parameter in network.parameters())
        44369
    """

    width: int = 64
    layers: tuple[Convolution, ...] = ((1, 3, 1, 1), (2, 4, 2, 1), (4, 4, 2, 1), (8, 4, 2, 1))
    hidden: tuple[int, ...] = ()
    outputs: int = 1
    activation: Activation = "leaky_relu"
    leak: float = 0.2
    normalise: bool = False
    initial: Initial = "default"

    def build(self, event_shape: tuple[int, ...]) -> Network:
        """Returns the network for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.

        Raises:
            ValueError: If the events are no images, or too small for the strides.
        """
        height, width = self._remaining(event_shape)
        channels = [event_shape[0], *(multiple * self.width for multiple, *_ in self.layers)]
        trunk = nn.Sequential()
        for (inputs, outputs), (_, kernel, stride, padding) in zip(
            pairwise(channels), self.layers, strict=True
        ):
            trunk.append(layers.Convolution(inputs, outputs, kernel, stride, padding))
            trunk.append(activation_layer(self.activation, self.leak))
        trunk.append(layers.Flatten())
        widths = [channels[-1] * height * width, *self.hidden]
        for inputs, outputs in pairwise(widths):
            trunk.append(layers.Dense(inputs, outputs))
            trunk.append(activation_layer(self.activation, self.leak))
        network = Network(event_shape, trunk, nn.Linear(widths[-1], self.outputs))
        initialise(network, self.initial)
        if self.normalise:
            add_spectral_norm(network.trunk)
        return network

    def _remaining(self, event_shape: tuple[int, ...]) -> tuple[int, int]:
        """The height and width that the convolutions leave."""
        smallest = next(side for side in range(1, 10_000) if self._side(side) > 0)
        if len(event_shape) != 3 or min(event_shape[1:]) < smallest:
            raise ValueError(
                "this network takes images (channels, height, width) with sides of at least "
                f"{smallest}, got events of shape {event_shape}; use fewer strides in layers, or "
                "Multilayer, which takes any shape"
            )
        return self._side(event_shape[1]), self._side(event_shape[2])

    def _side(self, side: int) -> int:
        """How much of a side the convolutions leave; zero where one does not fit."""
        for _, kernel, stride, padding in self.layers:
            side = max(0, (side + 2 * padding - kernel) // stride + 1) if side > 0 else 0
        return side
