"""Generators and encoders of dense layers, for tables and small images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from torch import nn

from ..energies.activation import Activation, activation_layer
from ..energies.initial import Initial
from ..energies.layers import Dense
from .checks import initialise_all, require_latent, require_widths
from .learning import Dropout
from .networks import Decoder, Encoder

__all__ = ["DenseEncoder", "DenseGenerator", "Output", "is_bounded"]

Output: TypeAlias = Literal["tanh", "none", "auto"]
"""The last map of a generator: "tanh" for events in [-1, 1], "none" for any; "auto" is tanh for
images (channels, height, width) and none for everything else."""


def is_bounded(output: Output, event_shape: tuple[int, ...]) -> bool:
    """Returns whether a generator ends with tanh.

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
        output: What follows the linear layer.
        initial: How the weights start.

    Example:
        >>> decoder = DenseGenerator(widths=(32,)).build((1, 8, 8), latent=4)
        >>> sum(parameter.numel() for parameter in decoder.parameters())
        2336
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Activation = "leaky_relu"
    leak: float = 0.2
    norm: bool = True
    output: Output = "auto"
    initial: Initial = "default"

    def __post_init__(self) -> None:
        require_widths("widths", self.widths)

    def build(self, event_shape: tuple[int, ...], latent: int) -> Decoder:
        """Returns the decoder for events of a shape.

        Arguments:
            event_shape: The shape of one event, of any rank but zero.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or the events have no axis.
        """
        require_latent(latent)
        _require_axis(event_shape)
        trunk = nn.Sequential()
        widths = (latent, *self.widths)
        for width, following in pairwise(widths):
            trunk.append(Dense(width, following))
            if self.norm:
                trunk.append(nn.BatchNorm1d(following))
            trunk.append(activation_layer(self.activation, self.leak))
        trunk.append(Dense(widths[-1], math.prod(event_shape)))
        if len(event_shape) > 1:
            trunk.append(nn.Unflatten(1, event_shape))
        bounded = is_bounded(self.output, event_shape)
        if bounded:
            trunk.append(nn.Tanh())
        initialise_all(trunk, self.initial)
        return Decoder(event_shape, latent, trunk, bounded)


@dataclass(frozen=True)
class DenseEncoder:
    """Dense layers with an activation after each, then the mean and the log-deviation.

    The log-deviation is half of its dense layer's output, see :class:`.Encoder`. There is no batch
    normalisation, as in the published encoders.

    Attributes:
        widths: The hidden widths; none for a linear map.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        dropout: The share of features dropped after every hidden layer, while it learns only.
        initial: How the weights start.

    Example:
        >>> encoder = DenseEncoder(widths=(32,)).build((1, 8, 8), latent=4)
        >>> sum(parameter.numel() for parameter in encoder.parameters())
        2344
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Activation = "leaky_relu"
    leak: float = 0.2
    dropout: float = 0.0
    initial: Initial = "default"

    def __post_init__(self) -> None:
        require_widths("widths", self.widths)
        Dropout(self.dropout)  # which checks it

    def build(self, event_shape: tuple[int, ...], latent: int) -> Encoder:
        """Returns the encoder for events of a shape.

        Arguments:
            event_shape: The shape of one event, of any rank but zero.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or the events have no axis.
        """
        require_latent(latent)
        _require_axis(event_shape)
        trunk = nn.Sequential(nn.Flatten())
        widths = (math.prod(event_shape), *self.widths)
        for width, following in pairwise(widths):
            trunk.append(Dense(width, following))
            trunk.append(activation_layer(self.activation, self.leak))
            if self.dropout:
                trunk.append(Dropout(self.dropout))
        encoder = Encoder(event_shape, latent, trunk, widths[-1])
        initialise_all(encoder, self.initial)
        return encoder


def _require_axis(event_shape: tuple[int, ...]) -> None:
    """Raises where events are scalars without an axis, or empty."""
    if not event_shape or min(event_shape) < 1:
        raise ValueError(
            f"events must have at least one axis, none of them empty, got the shape {event_shape}; "
            "write (1,), and give x of shape (N, 1)"
        )
