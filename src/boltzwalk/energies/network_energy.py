"""Settings of a trainable energy: an architecture, spectral normalisation, a Gaussian reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..networks.convolutional import Convolutional
from ..networks.dense import Multilayer
from ..networks.layers import seeded_weights
from ..networks.network import Network
from ..networks.non_local import NonLocal
from ..networks.residual import Residual
from ..networks.spectral import add_spectral_norm
from .composed import FittedReference, GaussianReference
from .conditional import ConditionalEnergy, concat_condition_shape

__all__ = ["NetworkEnergy", "NetworkSettings"]

NetworkSettings: TypeAlias = Multilayer | Convolutional | NonLocal | Residual
"""The architectures. Their sets of fields differ, which distinguishes them in a file."""


@dataclass(frozen=True)
class NetworkEnergy:
    r"""Settings of an energy :math:`U(x) = f(x)`, or :math:`f(x) + |x|^2 / 2s^2` with a reference.

    Attributes:
        network: The architecture of :math:`f`.
        spectral_norm: Whether every linear and convolution layer is spectrally normalised.
        reference_scale: The standard deviation :math:`s` of a Gaussian reference; None for none.
        reference_fit: The standard deviation of the noise that blurs the data before a Gaussian of
            full covariance is fitted to them, as the reference; None for none.
        zero_start: Whether the last layer starts at zero, so that :math:`f = 0` and the initial
            :math:`\log Z` is that of the reference (:func:`.exact_samples`).

    Example:
        >>> import torch
        >>> settings = NetworkEnergy(Multilayer(widths=(16,)), reference_scale=1.0, zero_start=True)
        >>> energy = settings.build((2,), rng_seed=0)
        >>> energy(torch.tensor([[3.0, 4.0]])).item()
        12.5
    """

    network: NetworkSettings = field(default_factory=Multilayer)
    spectral_norm: bool = False
    reference_scale: float | None = None
    reference_fit: float | None = None
    zero_start: bool = False

    def __post_init__(self) -> None:
        if self.reference_scale is not None and self.reference_fit is not None:
            raise ValueError(
                "an energy has one reference, got both reference_scale and reference_fit; write "
                "reference_scale=null for the fitted one"
            )

    def build(
        self, event_shape: tuple[int, ...], rng_seed: int, data: Tensor | None = None
    ) -> Network | GaussianReference | FittedReference:
        r"""Returns the energy, on the CPU, in the default dtype and in evaluation mode.

        The same seed gives the same parameters; no global generator changes.

        Arguments:
            event_shape: The shape of one event.
            rng_seed: The seed of the initial parameters.
            data: The rows for a fitted reference, shape (M, \*event); otherwise not used.

        Raises:
            ValueError: If the events do not fit the network, or layers that start at zero are to
                be spectrally normalised.
        """
        with seeded_weights(rng_seed):
            network = self.network.build(event_shape)
            if self.zero_start:
                _set_to_zero(network.head)
            if self.spectral_norm:
                add_spectral_norm(network)
        if self.reference_fit is not None:
            if data is None:
                raise ValueError("reference_fit needs the data; write build(shape, seed, data)")
            return FittedReference(network, data.cpu(), self.reference_fit)
        if self.reference_scale is not None:
            return GaussianReference(network, self.reference_scale)
        return network

    def build_conditional(
        self, event_shape: tuple[int, ...], c_shape: tuple[int, ...], rng_seed: int
    ) -> ConditionalEnergy:
        r"""Returns the energy :math:`U(x \mid c)` of events joined with their conditions.

        Arguments:
            event_shape: The shape of one event.
            c_shape: The shape of one condition.
            rng_seed: The seed of the initial parameters.

        Raises:
            ValueError: If a reference is fitted to the data, which have no conditions.
        """
        if self.reference_fit is not None:
            raise ValueError(
                "the reference of a model with a condition cannot be fitted to the data; write "
                "reference_fit=null"
            )
        flat = self.network.flat
        shape = concat_condition_shape(event_shape, c_shape, flat)
        return ConditionalEnergy(self.build(shape, rng_seed), flat)


def _set_to_zero(head: nn.Linear) -> None:
    """Sets the weights and the bias to zero, in place."""
    if parametrize.is_parametrized(head):
        raise ValueError(
            "zero_start needs a last layer whose weights can be zero, got a spectrally normalised "
            "one; write normalise=False in the network, or zero_start=False"
        )
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
