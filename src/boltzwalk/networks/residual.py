"""Residual networks, for images: the discriminator of spectrally normalised GANs, and generators.

As an energy: blocks of two convolutions around a shortcut, halving the image where asked; then the
mean over all positions and a linear head. Every layer is spectrally normalised, the head too, which
bounds the slope of the energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from .dense import OutputActivation, is_bounded
from .layers import Activation, FastLinear, WeightInit, activation_layer, initialise
from .network import Decoder, Network, ResidualBlock, require_latent, require_widths
from .spectral import add_spectral_norm

__all__ = ["Residual", "ResidualGenerator"]


@dataclass(frozen=True)
class Residual:
    """Residual blocks of equal width, mean over the image, linear head.

    The defaults are the published network: 1,053,825 parameters for 3 x 32 x 32.

    Attributes:
        width: The channels of every block.
        halve: For each block, whether it halves the image.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.
        normalise: Whether all layers are spectrally normalised.
        initial: The initialisation of the weights.

    References:
        | Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018)
        | Generalized Energy Based Models (Arbel, Zhou and Gretton, 2021)

    Example:
        >>> network = Residual().build((3, 32, 32))
        >>> sum(parameter.numel() for parameter in network.parameters())
        1053825
    """

    width: int = 128
    halve: tuple[bool, ...] = (True, True, False, False)
    activation: Activation = "relu"
    leak: float = 0.2
    normalise: bool = True
    initial: WeightInit = "xavier"
    flat: ClassVar[bool] = False

    def build(self, event_shape: tuple[int, ...]) -> Network:
        """Returns the network for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.

        Raises:
            ValueError: If the events are not images, or too small to be halved so often.
        """
        smallest = 2 ** sum(self.halve)
        if len(event_shape) != 3 or min(event_shape[1:]) < smallest:
            raise ValueError(
                "this network takes images (channels, height, width) with sides of at least "
                f"{smallest}, got events of shape {event_shape}; halve fewer times, or use "
                "Multilayer, which takes any shape"
            )
        trunk = nn.Sequential()
        for index, halve in enumerate(self.halve):
            trunk.append(self._block(self.width if index else event_shape[0], halve, index == 0))
        trunk.append(activation_layer(self.activation, self.leak))
        trunk.append(nn.AdaptiveAvgPool2d(1))
        trunk.append(nn.Flatten())
        network = Network(event_shape, trunk, nn.Linear(self.width, 1))
        initialise(network, self.initial)
        if self.normalise:
            add_spectral_norm(network)
        return network

    def _block(self, inputs: int, halve: bool, first: bool) -> ResidualBlock:
        """One block; the first takes pixels, so it begins without an activation."""
        inner = nn.Sequential(
            nn.Conv2d(inputs, self.width, 3, padding=1),
            activation_layer(self.activation, self.leak),
            nn.Conv2d(self.width, self.width, 3, padding=1),
        )
        if not first:
            inner.insert(0, activation_layer(self.activation, self.leak))
        project = [nn.Conv2d(inputs, self.width, 1)] if first or halve else []
        pool = [nn.AvgPool2d(2)] if halve else []
        # The linear maps of the shortcut commute; pooling first is cheaper.
        return ResidualBlock(inner.extend(pool), nn.Sequential(*pool, *project))


@dataclass(frozen=True)
class ResidualGenerator:
    """A dense layer to a small image, then blocks that double its sides.

    A block is batch normalisation, ReLU, nearest-pixel upsampling, convolution, batch
    normalisation, ReLU, convolution, with a shortcut of upsampling alone.

    Attributes:
        width: The channels of all blocks.
        side: The side of the image that the dense layer makes.
        doublings: The number of blocks.
        output: The map after the last convolution.
        initial: The initialisation of the weights.

    References:
        | Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018)
        | Generalized Energy Based Models (Arbel, Zhou and Gretton, 2021)

    Example:
        >>> decoder = ResidualGenerator(width=8).build((3, 32, 32), latent=4)
        >>> sum(parameter.numel() for parameter in decoder.parameters())
        4475
    """

    width: int = 128
    side: int = 4
    doublings: int = 3
    output: OutputActivation = "auto"
    initial: WeightInit = "xavier"

    def __post_init__(self) -> None:
        require_widths("width, side and doublings", (self.width, self.side, self.doublings))

    def build(self, event_shape: tuple[int, ...], latent: int) -> Decoder:
        """Returns the decoder for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or the blocks make images of another size.
        """
        require_latent(latent)
        side = self.side * 2**self.doublings
        if len(event_shape) != 3 or event_shape[1:] != (side, side) or event_shape[0] < 1:
            raise ValueError(
                f"this generator makes images of {side} x {side}, got events of shape "
                f"{event_shape}; change side or doublings, or use DenseGenerator, which makes any "
                "shape"
            )
        start = (self.width, self.side, self.side)
        trunk = nn.Sequential(FastLinear(latent, self.width * self.side**2), nn.Unflatten(1, start))
        for _ in range(self.doublings):
            trunk.append(_upsampling_block(self.width))
        trunk.append(nn.BatchNorm2d(self.width))
        trunk.append(nn.ReLU())
        trunk.append(nn.Conv2d(self.width, event_shape[0], 3, padding=1))
        bounded = is_bounded(self.output, event_shape)
        if bounded:
            trunk.append(nn.Tanh())
        initialise(trunk, self.initial)
        return Decoder(event_shape, latent, trunk, bounded)


def _upsampling_block(width: int) -> ResidualBlock:
    """A block that doubles the sides."""
    inner = nn.Sequential(
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
    )
    return ResidualBlock(inner, nn.Upsample(scale_factor=2))
