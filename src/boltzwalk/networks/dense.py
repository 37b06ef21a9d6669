"""Dense networks, for vectors, tables and small images: energies, generators, encoders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, TypeAlias

from torch import nn

from .batch_norm import Dropout
from .layers import Activation, FastLinear, WeightInit, activation_layer, initialise
from .network import (
    Decoder,
    Encoder,
    Network,
    ResidualBlock,
    require_latent,
    require_widths,
)

__all__ = ["DenseEncoder", "DenseGenerator", "Multilayer", "OutputActivation", "is_bounded"]


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

    flat: ClassVar[bool] = True

    def build(self, event_shape: tuple[int, ...]) -> Network:
        r"""Returns the network for events of a shape.

        Arguments:
            event_shape: The shape of one event, of one axis or more.

        Raises:
            ValueError: If a width is not positive, or the events have no axis.
        """
        _require_axis(event_shape)
        require_widths("widths", self.widths)
        widths = (math.prod(event_shape), *self.widths)
        layers: list[nn.Module] = [nn.Flatten()] if len(event_shape) != 1 else []
        for inputs, outputs in pairwise(widths):
            layer = _hidden_layer(inputs, outputs, self.activation, self.leak)
            layers.append(ResidualBlock(layer) if self.residual and inputs == outputs else layer)
        return Network(event_shape, nn.Sequential(*layers), nn.Linear(widths[-1], 1))


OutputActivation: TypeAlias = Literal["tanh", "none", "auto"]
"""The last map of a generator: "tanh" for events in [-1, 1], or "none"; "auto" is tanh for images
(channels, height, width) and none for all other events."""


def is_bounded(output: OutputActivation, event_shape: tuple[int, ...]) -> bool:
    """True if a generator ends with tanh.

    Example:
        >>> is_bounded("auto", (1, 8, 8)), is_bounded("auto", (2,))
        (True, False)
    """
    return output == "tanh" or (output == "auto" and len(event_shape) == 3)


@dataclass(frozen=True)
class DenseGenerator:
    """Dense layers with an activation after each, then a linear layer to the event.

    Attributes:
        widths: The hidden widths; none for a linear map.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        norm: Whether every hidden layer is batch-normalised before its activation.
        output: The map after the linear layer.
        initial: The initialisation of the weights.

    Example:
        >>> decoder = DenseGenerator(widths=(32,)).build((1, 8, 8), latent=4)
        >>> sum(parameter.numel() for parameter in decoder.parameters())
        2336
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Activation = "leaky_relu"
    leak: float = 0.2
    norm: bool = True
    output: OutputActivation = "auto"
    initial: WeightInit = "default"

    def __post_init__(self) -> None:
        require_widths("widths", self.widths)

    def build(self, event_shape: tuple[int, ...], latent: int) -> Decoder:
        """Returns the decoder for events of a shape.

        Arguments:
            event_shape: The shape of one event, of one axis or more.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or the events have no axis.
        """
        require_latent(latent)
        _require_axis(event_shape)
        trunk = nn.Sequential()
        widths = (latent, *self.widths)
        for inputs, outputs in pairwise(widths):
            trunk.extend(_hidden_layer(inputs, outputs, self.activation, self.leak, self.norm))
        trunk.append(FastLinear(widths[-1], math.prod(event_shape)))
        if len(event_shape) > 1:
            trunk.append(nn.Unflatten(1, event_shape))
        bounded = is_bounded(self.output, event_shape)
        if bounded:
            trunk.append(nn.Tanh())
        initialise(trunk, self.initial)
        return Decoder(event_shape, latent, trunk, bounded)


@dataclass(frozen=True)
class DenseEncoder:
    """Dense layers with an activation after each, then the mean and the log-deviation.

    The log-deviation is half the output of its dense layer, see :class:`.Encoder`. There is no
    batch normalisation, as in the published encoders.

    Attributes:
        widths: The hidden widths; none for a linear map.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        dropout: The share of features dropped after every hidden layer, in training steps only.
        initial: The initialisation of the weights.

    Example:
        >>> encoder = DenseEncoder(widths=(32,)).build((1, 8, 8), latent=4)
        >>> sum(parameter.numel() for parameter in encoder.parameters())
        2344
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Activation = "leaky_relu"
    leak: float = 0.2
    dropout: float = 0.0
    initial: WeightInit = "default"

    flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_widths("widths", self.widths)
        Dropout(self.dropout)  # checks the probability

    def build(self, event_shape: tuple[int, ...], latent: int) -> Encoder:
        """Returns the encoder for events of a shape.

        Arguments:
            event_shape: The shape of one event, of one axis or more.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or the events have no axis.
        """
        require_latent(latent)
        _require_axis(event_shape)
        trunk = nn.Sequential(nn.Flatten())
        widths = (math.prod(event_shape), *self.widths)
        for inputs, outputs in pairwise(widths):
            trunk.extend(_hidden_layer(inputs, outputs, self.activation, self.leak))
            if self.dropout:
                trunk.append(Dropout(self.dropout))
        encoder = Encoder(event_shape, latent, trunk, widths[-1])
        initialise(encoder, self.initial)
        return encoder


def _hidden_layer(
    inputs: int, outputs: int, activation: Activation, leak: float, norm: bool = False
) -> nn.Sequential:
    """A dense layer, batch normalisation where asked for, and an activation."""
    layer = nn.Sequential(FastLinear(inputs, outputs))
    if norm:
        layer.append(nn.BatchNorm1d(outputs))
    return layer.append(activation_layer(activation, leak))


def _require_axis(event_shape: tuple[int, ...]) -> None:
    """Raises unless events have one axis or more, none of them empty."""
    if not event_shape or min(event_shape) < 1:
        raise ValueError(
            f"events must have at least one axis, none of them empty, got the shape {event_shape}; "
            "write (1,), and give x of shape (N, 1)"
        )
