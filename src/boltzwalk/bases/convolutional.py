"""Encoders of convolutions, for images.

A side s becomes ``floor((s + 2 p + e - k) / t) + 1`` by a layer of kernel k, stride t, padding p
and end padding e.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from ..energies.activation import Activation, activation_layer
from ..energies.initial import Initial
from .checks import initialise_all, require_latent, require_widths
from .learning import Dropout
from .networks import Encoder

__all__ = ["Convolution", "ConvolutionalEncoder"]


@dataclass(frozen=True)
class Convolution:
    """One layer of an encoder.

    Attributes:
        channels: The channels of the result.
        kernel: The side of the kernel.
        stride: By how much it shrinks.
        padding: The zeros on each side.
        end_padding: The zeros more at the end of each side, where TensorFlow has an odd total.

    Example:
        >>> Convolution(64, kernel=4, stride=2, padding=1).side(28)
        14
    """

    channels: int
    kernel: int = 4
    stride: int = 2
    padding: int = 1
    end_padding: int = 0

    def __post_init__(self) -> None:
        require_widths("channels, kernel and stride", (self.channels, self.kernel, self.stride))
        if min(self.padding, self.end_padding) < 0:
            raise ValueError(
                f"padding must be at least 0, got padding={self.padding} and end_padding="
                f"{self.end_padding}; write padding=1 with kernel=4, stride=2"
            )

    def side(self, side: int) -> int:
        """Returns what it makes of a side; zero where the kernel does not fit."""
        room = side + 2 * self.padding + self.end_padding - self.kernel
        return room // self.stride + 1 if side > 0 and room >= 0 else 0


@dataclass(frozen=True)
class ConvolutionalEncoder:
    """Convolutions with an activation after each, then the mean and the log-deviation.

    The log-deviation is half of its dense layer's output, see :class:`.Encoder`.

    Attributes:
        layers: The convolutions.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        dropout: The share of features dropped after every convolution, while it learns only. The
            published encoder for MNIST drops a fifth, and never stops: codes of test images are
            random there beyond q(z | x).
        initial: How the weights of the convolutions start.
        initial_dense: How the weights of the two dense layers start.

    Example:
        >>> layers = (Convolution(8), Convolution(16))
        >>> encoder = ConvolutionalEncoder(layers).build((1, 28, 28), latent=4)
        >>> sum(parameter.numel() for parameter in encoder.parameters())
        8480
    """

    layers: tuple[Convolution, ...] = (Convolution(32), Convolution(64), Convolution(64, 3))
    activation: Activation = "leaky_relu"
    leak: float = 0.2
    dropout: float = 0.0
    initial: Initial = 0.02
    initial_dense: Initial = "xavier"

    def __post_init__(self) -> None:
        Dropout(self.dropout)  # which checks it

    def build(self, event_shape: tuple[int, ...], latent: int) -> Encoder:
        """Returns the encoder for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or the images are too small.
        """
        require_latent(latent)
        sides = event_shape[1:]
        for layer in self.layers:
            sides = tuple(layer.side(side) for side in sides)
        if len(event_shape) != 3 or event_shape[0] < 1 or min(sides) < 1:
            raise ValueError(
                "this encoder takes images (channels, height, width) whose sides its "
                f"{len(self.layers)} layers leave at least 1, got events of shape {event_shape}, "
                f"of which they leave {sides}; use fewer strides, or DenseEncoder, which takes any "
                "shape"
            )
        trunk = nn.Sequential()
        channels = [event_shape[0], *(layer.channels for layer in self.layers)]
        for (inputs, _), layer in zip(pairwise(channels), self.layers, strict=True):
            _pad(trunk, layer)
            padding = 0 if layer.end_padding else layer.padding
            trunk.append(nn.Conv2d(inputs, layer.channels, layer.kernel, layer.stride, padding))
            trunk.append(activation_layer(self.activation, self.leak))
            if self.dropout:
                trunk.append(Dropout(self.dropout))
        trunk.append(nn.Flatten())
        encoder = Encoder(event_shape, latent, trunk, channels[-1] * sides[0] * sides[1])
        initialise_all(encoder.trunk, self.initial)
        initialise_all(encoder.mean, self.initial_dense)
        initialise_all(encoder.log_variance, self.initial_dense)
        return encoder


def _pad(trunk: nn.Sequential, layer: Convolution) -> None:
    """Appends the zeros of a layer where they are more at the end."""
    if layer.end_padding:
        end = layer.padding + layer.end_padding
        trunk.append(nn.ZeroPad2d((layer.padding, end, layer.padding, end)))
