"""Generators of transposed convolutions, for images.

A side s becomes ``(s - 1) t - 2 p + k + e`` by a layer of kernel k, stride t, padding p and output
padding e. TensorFlow's transposed convolutions cut an odd total one pixel more at the end,
PyTorch's at the beginning: a network of either kind is one of the other, mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..energies.activation import Activation, activation_layer
from ..energies.initial import Initial
from ..energies.layers import Dense
from .checks import initialise_all, require_latent, require_widths
from .dense import Output, is_bounded
from .networks import Decoder

__all__ = ["ConvolutionalGenerator", "TransposedConvolution"]


@dataclass(frozen=True)
class TransposedConvolution:
    """One layer of a generator.

    Attributes:
        channels: The channels of the result.
        kernel: The side of the kernel.
        stride: By how much it enlarges.
        padding: The pixels cut from each side.
        output_padding: The pixels added at the end of each side, fewer than the stride.
        norm: Whether it is batch-normalised before its activation.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.

    Example:
        >>> TransposedConvolution(64, kernel=4, stride=2, padding=1).side(7)
        14
    """

    channels: int
    kernel: int = 4
    stride: int = 2
    padding: int = 1
    output_padding: int = 0
    norm: bool = True
    activation: Activation = "leaky_relu"
    leak: float = 0.2

    def __post_init__(self) -> None:
        require_widths("channels, kernel and stride", (self.channels, self.kernel, self.stride))
        if self.padding < 0 or not 0 <= self.output_padding < self.stride:
            raise ValueError(
                "padding must be at least 0 and output_padding from 0 to stride - 1, got padding="
                f"{self.padding} and output_padding={self.output_padding} with stride="
                f"{self.stride}; write padding=1, output_padding=0 with kernel=4, stride=2"
            )

    def side(self, side: int) -> int:
        """Returns what it makes of a side."""
        return (side - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding


@dataclass(frozen=True)
class ConvolutionalGenerator:
    """Transposed convolutions that enlarge z to an image; the defaults are for 1 x 28 x 28.

    Attributes:
        start: The (channels, height, width) that a dense layer makes of z, with the normalisation
            and the activation of the first of the layers; None where z itself is the image, of as
            many channels and one pixel.
        layers: The layers but the last.
        last: The kernel, stride, padding and output padding of the last layer, whose channels are
            those of the images. It has neither normalisation nor activation.
        output: What follows the last layer.
        initial: How the weights start.

    Example:
        >>> layers = (TransposedConvolution(16), TransposedConvolution(8))
        >>> decoder = ConvolutionalGenerator((32, 4, 4), layers).build((3, 32, 32), latent=8)
        >>> sum(parameter.numel() for parameter in decoder.parameters())
        15371
    """

    start: tuple[int, int, int] | None = (64, 7, 7)
    layers: tuple[TransposedConvolution, ...] = (TransposedConvolution(32),)
    last: tuple[int, int, int, int] = (4, 2, 1, 0)
    output: Output = "auto"
    initial: Initial = 0.02

    def __post_init__(self) -> None:
        if self.start is not None:
            require_widths("start", self.start)
        if not self.layers:
            raise ValueError(
                "layers must hold one transposed convolution or more, got (); use DenseGenerator "
                "for a generator without"
            )
        TransposedConvolution(1, *self.last)  # which checks it

    def build(self, event_shape: tuple[int, ...], latent: int) -> Decoder:
        """Returns the decoder for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or the table makes images of another size.
        """
        require_latent(latent)
        self._require_sides(event_shape)
        trunk = nn.Sequential()
        if self.start is None:
            trunk.append(nn.Unflatten(1, (latent, 1, 1)))
            channels = latent
        else:
            channels, height, width = self.start
            trunk.append(Dense(latent, channels * height * width))
            trunk.append(nn.Unflatten(1, self.start))
            _finish(trunk, channels, self.layers[0])
        for layer in self.layers:
            trunk.append(_transposed(channels, layer))
            _finish(trunk, layer.channels, layer)
            channels = layer.channels
        trunk.append(_transposed(channels, TransposedConvolution(event_shape[0], *self.last)))
        bounded = is_bounded(self.output, event_shape)
        if bounded:
            trunk.append(nn.Tanh())
        initialise_all(trunk, self.initial)
        return Decoder(event_shape, latent, trunk, bounded)

    def _require_sides(self, event_shape: tuple[int, ...]) -> None:
        """Raises where the table makes images of another size."""
        sides = [self.start[1:] if self.start is not None else (1, 1)]
        for layer in (*self.layers, TransposedConvolution(1, *self.last)):
            height, width = sides[-1]
            sides.append((layer.side(height), layer.side(width)))
        smallest = min(min(side) for side in sides)
        if (
            len(event_shape) != 3
            or min(event_shape[0], smallest) < 1
            or event_shape[1:] != sides[-1]
        ):
            way = " -> ".join(f"{height} x {width}" for height, width in sides)
            raise ValueError(
                f"this generator makes images of {way}, got events of shape {event_shape}; change "
                "start, layers or last, or use DenseGenerator, which makes any shape"
            )


def _transposed(inputs: int, layer: TransposedConvolution) -> nn.ConvTranspose2d:
    """The layer, without what follows it."""
    return nn.ConvTranspose2d(
        inputs, layer.channels, layer.kernel, layer.stride, layer.padding, layer.output_padding
    )


def _finish(trunk: nn.Sequential, channels: int, layer: TransposedConvolution) -> None:
    """Appends the normalisation and the activation of a layer."""
    if layer.norm:
        trunk.append(nn.BatchNorm2d(channels))
    trunk.append(activation_layer(layer.activation, layer.leak))
