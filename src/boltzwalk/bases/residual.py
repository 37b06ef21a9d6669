"""Residual generators, for images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..energies.initial import Initial
from ..energies.layers import Dense
from ..energies.network import Skip
from .checks import initialise_all, require_latent, require_widths
from .dense import Output, is_bounded
from .networks import Decoder

__all__ = ["ResidualGenerator"]


@dataclass(frozen=True)
class ResidualGenerator:
    """A dense layer to a small image, then blocks that double its sides.

    A block is normalisation, ReLU, nearest-pixel enlargement, convolution, normalisation, ReLU,
    convolution, beside a shortcut that enlarges alone and has no parameters.

    Attributes:
        width: The channels of all blocks.
        side: The side of the image that the dense layer makes.
        doublings: The number of blocks.
        output: What follows the last convolution.
        initial: How the weights start.

    References:
        | Spectral Normalization for Generative Adversarial Networks
          (Miyato, Kataoka, Koyama and Yoshida, 2018)
        | Generalized Energy Based Models (Arbel, Zhou and Gretton, 2021)

    Example:
        >>> decoder = ResidualGenerator(width=8).build((3, 32, 32), latent=4)
        >>> sum(parameter.numel() for parameter in decoder.parameters())
        4475
    """

    width: int = 128
    side: int = 4
    doublings: int = 3
    output: Output = "auto"
    initial: Initial = "xavier"

    def __post_init__(self) -> None:
        require_widths("width, side and doublings", (self.width, self.side, self.doublings))

    def build(self, event_shape: tuple[int, ...], latent: int) -> Decoder:
        """Returns the decoder for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.
            latent: The number of latent variables.

        Raises:
            ValueError: If there is no latent variable, or it makes images of another size.
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
        trunk = nn.Sequential(Dense(latent, self.width * self.side**2), nn.Unflatten(1, start))
        for _ in range(self.doublings):
            trunk.append(_block(self.width))
        trunk.append(nn.BatchNorm2d(self.width))
        trunk.append(nn.ReLU())
        trunk.append(nn.Conv2d(self.width, event_shape[0], 3, padding=1))
        bounded = is_bounded(self.output, event_shape)
        if bounded:
            trunk.append(nn.Tanh())
        initialise_all(trunk, self.initial)
        return Decoder(event_shape, latent, trunk, bounded)


def _block(width: int) -> Skip:
    """One block."""
    inner = nn.Sequential(
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
    )
    return Skip(inner, nn.Upsample(scale_factor=2))
