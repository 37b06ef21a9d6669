r"""The non-local network: convolutions with attention over the image between them.

A non-local block adds to every position i a mean over positions j, weighted by their similarity:

.. math:: y_i = x_i + W \sum_j \mathrm{softmax}_j \big( \theta(x_i) \cdot \phi(x_j) \big) g(x_j) ,

with :math:`\theta, \phi, g` linear maps to half the channels, :math:`j` on a grid of half the
resolution, and :math:`W` zero at the start, so that the block starts as the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .layers import Activation, activation_layer
from .network import Network, ResidualBlock

__all__ = ["NonLocal"]


@dataclass(frozen=True)
class NonLocal:
    """Three convolutions with max pooling, a non-local block after the first two, a dense layer.

    The defaults are the published network: 627,953 parameters for 1 x 32 x 32.

    Attributes:
        width: The channels of the first convolution; the next have twice and four times as many.
        hidden: The width of the dense layer.
        activation: The activation.
        leak: The slope of leaky_relu for negative inputs; the other activations ignore it.

    References:
        | Non-local Neural Networks (Wang, Girshick, Gupta and He, 2018)
        | On the Anatomy of MCMC-Based Maximum Likelihood Learning of Energy-Based Models
          (Nijkamp, Hill, Han, Zhu and Wu, 2020)

    Example:
        >>> network = NonLocal().build((1, 32, 32))
        >>> sum(parameter.numel() for parameter in network.parameters())
        627953
    """

    width: int = 32
    hidden: int = 256
    activation: Activation = "leaky_relu"
    leak: float = 0.05

    flat: ClassVar[bool] = False

    def build(self, event_shape: tuple[int, ...]) -> Network:
        """Returns the network for images of a shape.

        Arguments:
            event_shape: The shape (channels, height, width) of one image.

        Raises:
            ValueError: If the events are not images with sides of at least 8, or the width is odd.
        """
        if len(event_shape) != 3 or min(event_shape[1:]) < 8 or self.width % 2:
            raise ValueError(
                "this network takes images (channels, height, width) with sides of at least 8 and "
                f"an even width, got events of shape {event_shape} and width {self.width}; for "
                "smaller images use Multilayer"
            )
        channels, height, width = event_shape
        trunk = nn.Sequential()
        for multiple in (1, 2, 4):
            outputs = multiple * self.width
            trunk.append(nn.Conv2d(channels, outputs, 3, padding=1))
            trunk.append(activation_layer(self.activation, self.leak))
            trunk.append(nn.MaxPool2d(2))
            if multiple < 4:
                trunk.append(ResidualBlock(_Attention(outputs)))
            channels = outputs
        trunk.append(nn.Flatten())
        trunk.append(nn.Linear(channels * (height // 8) * (width // 8), self.hidden))
        trunk.append(activation_layer(self.activation, self.leak))
        return Network(event_shape, trunk, nn.Linear(self.hidden, 1))


class _Attention(nn.Module):
    """The non-local mean, before it is added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 2, 1)
        self.key = nn.Conv2d(channels, channels // 2, 1)
        self.value = nn.Conv2d(channels, channels // 2, 1)
        self.out = nn.Conv2d(channels // 2, channels, 1)
        self.pool = nn.MaxPool2d(2)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        query = self.query(x)
        key, value = self.pool(self.key(x)).flatten(2), self.pool(self.value(x)).flatten(2)
        attention = torch.softmax(query.flatten(2).transpose(1, 2) @ key, 2)
        y: Tensor = self.out((value @ attention.transpose(1, 2)).reshape(query.shape))
        return y
