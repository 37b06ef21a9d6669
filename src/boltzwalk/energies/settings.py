"""A network and the options that any network may be trained with, as one value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import nn
from torch.nn.utils import parametrize

from .composed import GaussianReference
from .convolutional import Convolutional
from .multilayer import Multilayer
from .network import Network
from .non_local import NonLocal
from .residual import Residual
from .spectral import add_spectral_norm

__all__ = ["NetworkEnergy", "NetworkSettings"]

NetworkSettings: TypeAlias = Multilayer | Convolutional | NonLocal | Residual
"""The architectures. Each has a set of fields of its own, which tells them apart in a file."""


@dataclass(frozen=True)
class NetworkEnergy:
    r"""A trainable energy :math:`U(x) = f(x)`, or :math:`f(x) + |x|^2 / 2s^2` with a reference.

    Attributes:
        network: The architecture of :math:`f`.
        spectral_norm: Whether every linear and convolution layer is spectrally normalised.
        reference_scale: The standard deviation :math:`s` of a Gaussian reference; None for none.
        zero_start: Whether the last layer starts at zero, so that :math:`f = 0` and the first
            :math:`\log Z` is that of the reference.

    Example:
        >>> settings = NetworkEnergy(Multilayer(widths=(16,)), reference_scale=1.0, zero_start=True)
        >>> energy = settings.build((2,), rng_seed=0)
        >>> energy(torch.tensor([[3.0, 4.0]])).item(), round(settings.starting_log_z((2,)), 4)
        (12.5, 1.8379)
    """

    network: NetworkSettings = field(default_factory=Multilayer)
    spectral_norm: bool = False
    reference_scale: float | None = None
    zero_start: bool = False

    def build(self, event_shape: tuple[int, ...], rng_seed: int) -> Network | GaussianReference:
        """Returns the energy, on the CPU, in the default dtype and in evaluation mode.

        The same seed gives the same parameters; no global generator is touched.

        Arguments:
            event_shape: The shape of one event.
            rng_seed: The seed of the initial parameters.

        Raises:
            ValueError: If the events do not fit the network, or layers that start at zero are to
                be spectrally normalised.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(rng_seed)
            network = self.network.build(event_shape)
            if self.zero_start:
                _zero(network.head)
            if self.spectral_norm:
                add_spectral_norm(network)
        if self.reference_scale is None:
            return network
        return GaussianReference(network, self.reference_scale)

    def starting_log_z(self, event_shape: tuple[int, ...]) -> float:
        r"""Returns :math:`\log Z = \frac{d}{2} \log 2\pi s^2` of the energy as built, exact.

        Arguments:
            event_shape: The shape of one event, of d entries.

        Raises:
            ValueError: If it is not known: without a reference, or without a start at zero.
        """
        if self.reference_scale is None or not self.zero_start:
            raise ValueError(
                "log Z is known at the start for reference_scale > 0 with zero_start=True, got "
                f"reference_scale={self.reference_scale}, zero_start={self.zero_start}; set both, "
                "or estimate it by annealing"
            )
        return math.prod(event_shape) / 2 * math.log(2 * math.pi * self.reference_scale**2)


def _zero(head: nn.Linear) -> None:
    """Sets the weights and the bias to zero, in place."""
    if parametrize.is_parametrized(head):
        raise ValueError(
            "zero_start needs a last layer whose weights can be zero, got a spectrally normalised "
            "one; write normalise=False in the network, or zero_start=False"
        )
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
