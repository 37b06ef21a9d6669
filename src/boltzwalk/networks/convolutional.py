"""Convolutional networks, for images: energies, encoders, generators.

Nearly every published energy for images up to 64 x 64 is a table of convolutions, dense layers and
a linear head; :mod:`.published` has the tables. Their last valid convolution over the whole
remaining image is a linear layer, and is built as one, so a network of any table takes images of
other sizes too.

In an encoder, a layer of kernel k, stride t, padding p and end padding e turns a side s into
``floor((s + 2 p + e - k) / t) + 1``. In a generator, a transposed layer of kernel k, stride t,
padding p and output padding e turns it into ``(s - 1) t - 2 p + k + e``. TensorFlow's transposed
convolutions cut an odd total one pixel more at the end, PyTorch's at the beginning: a network of
either kind is one of the other, mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, TypeAlias

from torch import nn

from .batch_norm import Dropout
from .dense import OutputActivation, is_bounded
from .layers import (
    Activation,
    FastConv2d,
    FastFlatten,
    FastLinear,
    WeightInit,
    activation_layer,
    initialise,
)
from .network import Decoder, Encoder, Network, require_latent, require_widths
from .spectral import add_spectral_norm

__all__ = [
    "Convolution",
    "ConvolutionTuple",
    "Convolutional",
    "ConvolutionalEncoder",
    "ConvolutionalGenerator",
    "TransposedConvolution",
]


ConvolutionTuple: TypeAlias = tuple[int, int, int, int]
"""Channels as a multiple of the width, kernel, stride, padding."""


@dataclass(frozen=True)
class Convolutional:
    """Convolutions with an activation after each, then dense layers, then a linear head.

    The defaults are the short-run network, see :func:`.short_run_network`.

    Attributes:
        width: The unit of the numbers of channels.
        layers: The convolutions, each (multiple of the width, kernel, stride, padding).
        hidden: The widths of dense layers between the convolutions and the head.
        outputs: The number of outputs of the head that are summed.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        normalise: Whether all layers but the head are spectrally normalised.
        initial: The initialisation of the weights.

    Example:
        >>> network = Convolutional(width=8).build((3, 32, 32))
        >>> sum(parameter.numel() for parameter in network.parameters())
        44369
    """

    width: int = 64
    layers: tuple[ConvolutionTuple, ...] = ((1, 3, 1, 1), (2, 4, 2, 1), (4, 4, 2, 1), (8, 4, 2, 1))
    hidden: tuple[int, ...] = ()
    outputs: int = 1
    activation: Activation = "leaky_relu"
    leak: float = 0.2
    normalise: bool = False
    initial: WeightInit = "default"

    flat: ClassVar[bool] = False

    def build(self, event_shape: tuple[int, ...]) -> Network:
        """Returns the network for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.

        Raises:
            ValueError: If the events are not images, or too small for the strides.
        """
        height, width = self._remaining(event_shape)
        channels = [event_shape[0], *(multiple * self.width for multiple, *_ in self.layers)]
        trunk = nn.Sequential()
        for (inputs, outputs), (_, kernel, stride, padding) in zip(
            pairwise(channels), self.layers, strict=True
        ):
            trunk.append(FastConv2d(inputs, outputs, kernel, stride, padding))
            trunk.append(activation_layer(self.activation, self.leak))
        trunk.append(FastFlatten())
        widths = [channels[-1] * height * width, *self.hidden]
        for inputs, outputs in pairwise(widths):
            trunk.append(FastLinear(inputs, outputs))
            trunk.append(activation_layer(self.activation, self.leak))
        network = Network(event_shape, trunk, nn.Linear(widths[-1], self.outputs))
        initialise(network, self.initial)
        if self.normalise:
            add_spectral_norm(network.trunk)
        return network

    def _remaining(self, event_shape: tuple[int, ...]) -> tuple[int, int]:
        """The height and width after the convolutions."""
        smallest = next(side for side in range(1, 10_000) if self._side(side) > 0)
        if len(event_shape) != 3 or min(event_shape[1:]) < smallest:
            raise ValueError(
                "this network takes images (channels, height, width) with sides of at least "
                f"{smallest}, got events of shape {event_shape}; use fewer strides in layers, or "
                "Multilayer, which takes any shape"
            )
        return self._side(event_shape[1]), self._side(event_shape[2])

    def _side(self, side: int) -> int:
        """The length of a side after the convolutions; zero where one does not fit."""
        for _, kernel, stride, padding in self.layers:
            side = max(0, (side + 2 * padding - kernel) // stride + 1) if side > 0 else 0
        return side


@dataclass(frozen=True)
class Convolution:
    """Settings of one convolution of an encoder.

    Attributes:
        channels: The channels of the result.
        kernel: The side of the kernel.
        stride: The factor by which the image shrinks.
        padding: The zeros on each side.
        end_padding: Further zeros at the end of each side, where TensorFlow has an odd total.

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
        """Returns the side of the result; zero where the kernel does not fit."""
        excess = side + 2 * self.padding + self.end_padding - self.kernel
        return excess // self.stride + 1 if side > 0 and excess >= 0 else 0


@dataclass(frozen=True)
class ConvolutionalEncoder:
    """Convolutions with an activation after each, then the mean and the log-deviation.

    The log-deviation is half the output of its dense layer, see :class:`.Encoder`.

    Attributes:
        layers: The convolutions.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        dropout: The share of features dropped after every convolution, in training steps only. The
            published encoder for MNIST drops a fifth at test time too, so that its codes of test
            images are random beyond q(z | x).
        initial: The initialisation of the convolutions.
        initial_dense: The initialisation of the two dense layers.

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
    initial: WeightInit = 0.02
    initial_dense: WeightInit = "xavier"

    flat: ClassVar[bool] = False

    def __post_init__(self) -> None:
        Dropout(self.dropout)  # checks the probability

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
        initialise(encoder.trunk, self.initial)
        initialise(encoder.mean, self.initial_dense)
        initialise(encoder.log_variance, self.initial_dense)
        return encoder


def _pad(trunk: nn.Sequential, layer: Convolution) -> None:
    """Appends the zero padding of a layer with more zeros at the end."""
    if layer.end_padding:
        end = layer.padding + layer.end_padding
        trunk.append(nn.ZeroPad2d((layer.padding, end, layer.padding, end)))


@dataclass(frozen=True)
class TransposedConvolution:
    """Settings of one transposed convolution of a generator.

    Attributes:
        channels: The channels of the result.
        kernel: The side of the kernel.
        stride: The factor by which the image grows.
        padding: The pixels cut from each side.
        output_padding: The pixels added at the end of each side, fewer than the stride.
        norm: Whether batch normalisation precedes the activation.
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
        """Returns the side of the result."""
        return (side - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding


@dataclass(frozen=True)
class ConvolutionalGenerator:
    """Transposed convolutions that enlarge z to an image; the defaults are for 1 x 28 x 28.

    Attributes:
        start: The (channels, height, width) that a dense layer makes of z, followed by the
            normalisation and the activation of the first layer; None where z itself is the image,
            one pixel with d channels.
        layers: All layers but the last.
        last: The kernel, stride, padding and output padding of the last layer, whose channels are
            those of the images. It has neither normalisation nor activation.
        output: The map after the last layer.
        initial: The initialisation of the weights.

    Example:
        >>> layers = (TransposedConvolution(16), TransposedConvolution(8))
        >>> decoder = ConvolutionalGenerator((32, 4, 4), layers).build((3, 32, 32), latent=8)
        >>> sum(parameter.numel() for parameter in decoder.parameters())
        15371
    """

    start: tuple[int, int, int] | None = (64, 7, 7)
    layers: tuple[TransposedConvolution, ...] = (TransposedConvolution(32),)
    last: tuple[int, int, int, int] = (4, 2, 1, 0)
    output: OutputActivation = "auto"
    initial: WeightInit = 0.02

    def __post_init__(self) -> None:
        if self.start is not None:
            require_widths("start", self.start)
        if not self.layers:
            raise ValueError(
                "layers must hold one transposed convolution or more, got (); use DenseGenerator "
                "for a generator without"
            )
        TransposedConvolution(1, *self.last)  # checks the numbers

    def build(self, event_shape: tuple[int, ...], latent: int) -> Decoder:
        """Returns the decoder for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or the layers make images of another size.
        """
        require_latent(latent)
        self._require_sides(event_shape)
        trunk = nn.Sequential()
        if self.start is None:
            trunk.append(nn.Unflatten(1, (latent, 1, 1)))
            channels = latent
        else:
            channels, height, width = self.start
            trunk.append(FastLinear(latent, channels * height * width))
            trunk.append(nn.Unflatten(1, self.start))
            _append_norm_and_activation(trunk, channels, self.layers[0])
        for layer in self.layers:
            trunk.append(_transposed(channels, layer))
            _append_norm_and_activation(trunk, layer.channels, layer)
            channels = layer.channels
        trunk.append(_transposed(channels, TransposedConvolution(event_shape[0], *self.last)))
        bounded = is_bounded(self.output, event_shape)
        if bounded:
            trunk.append(nn.Tanh())
        initialise(trunk, self.initial)
        return Decoder(event_shape, latent, trunk, bounded)

    def _require_sides(self, event_shape: tuple[int, ...]) -> None:
        """Raises unless the layers make images of this shape."""
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
            sizes = " -> ".join(f"{height} x {width}" for height, width in sides)
            raise ValueError(
                f"this generator makes images of {sizes}, got events of shape {event_shape}; "
                "change start, layers or last, or use DenseGenerator, which makes any shape"
            )


def _transposed(inputs: int, layer: TransposedConvolution) -> nn.ConvTranspose2d:
    """The transposed convolution alone."""
    return nn.ConvTranspose2d(
        inputs, layer.channels, layer.kernel, layer.stride, layer.padding, layer.output_padding
    )


def _append_norm_and_activation(
    trunk: nn.Sequential, channels: int, layer: TransposedConvolution
) -> None:
    """Appends the batch normalisation, where there is one, and the activation of a layer."""
    if layer.norm:
        trunk.append(nn.BatchNorm2d(channels))
    trunk.append(activation_layer(layer.activation, layer.leak))
