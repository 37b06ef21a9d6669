r"""Settings of bases: a generator, and a variational autoencoder.

.. math:: z \sim N(0, I_d), \qquad x = g(z)

Both build a module with ``latents(n, rng)`` and ``decode(z)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from ..networks.batch_norm import calibrate_batch_norm
from ..networks.convolutional import ConvolutionalEncoder, ConvolutionalGenerator
from ..networks.dense import DenseEncoder, DenseGenerator
from ..networks.layers import seeded_weights
from ..networks.network import Decoder, VariationalAutoencoder, require_latent
from ..networks.residual import ResidualGenerator

__all__ = ["BaseSettings", "EncoderSettings", "Generator", "GeneratorSettings", "Vae"]

GeneratorSettings: TypeAlias = DenseGenerator | ConvolutionalGenerator | ResidualGenerator
"""The architectures of a decoder."""

EncoderSettings: TypeAlias = DenseEncoder | ConvolutionalEncoder
"""The architectures of an encoder."""

CALIBRATION_ROWS = 128
"""The number of latent rows whose statistics initialise those of batch normalisation."""

MAX_UNREACHABLE = 0.1
"""The share of the data's variance beyond [-1, 1] above which a bounded generator is refused. Noise
on images in [-1, 1] stays well below."""


@dataclass(frozen=True)
class Generator:
    """Settings of a generator: latent variables and a network that decodes them.

    Attributes:
        network: The architecture of the decoder.
        latent: The number of latent variables.

    Example:
        >>> decoder = Generator(DenseGenerator(widths=(32,)), latent=4).build((2,), 0)
        >>> decoder.decode(decoder.latents(5, torch.Generator())).shape
        torch.Size([5, 2])
    """

    network: GeneratorSettings = field(default_factory=DenseGenerator)
    latent: int = 100

    encoder: ClassVar[None] = None

    def __post_init__(self) -> None:
        require_latent(self.latent)

    def generator(self) -> Generator:
        """Returns itself: there is no encoder."""
        return self

    def build(
        self, event_shape: tuple[int, ...], rng_seed: int, data: Tensor | None = None
    ) -> Decoder:
        r"""Returns the decoder, on the CPU, in the default dtype and in evaluation mode.

        The same seed gives the same parameters; no global generator changes. The running statistics
        of batch normalisation are calibrated, so that the initial events differ.

        Arguments:
            event_shape: The shape of one event.
            rng_seed: The seed of the initial parameters.
            data: Rows to check against the range of the generator, shape (M, \*event); None for no
                check.

        Raises:
            ValueError: If the network does not make such events, or the data lie beyond its range.
        """
        with seeded_weights(rng_seed):
            decoder = self.network.build(event_shape, self.latent)
        return _calibrated(decoder, rng_seed, data)


@dataclass(frozen=True)
class Vae:
    """Settings of a variational autoencoder: a generator with an encoder of its latent variables.

    Attributes:
        encoder: The architecture of the encoder.
        decoder: The architecture of the decoder.
        latent: The number of latent variables.

    Example:
        >>> vae = Vae(DenseEncoder(widths=(32,)), DenseGenerator(widths=(32,)), 4).build((2,), 0)
        >>> mean, log_std = vae.encode(torch.zeros(5, 2))
        >>> mean.shape
        torch.Size([5, 4])
    """

    encoder: EncoderSettings = field(default_factory=DenseEncoder)
    decoder: GeneratorSettings = field(default_factory=DenseGenerator)
    latent: int = 100

    def __post_init__(self) -> None:
        require_latent(self.latent)

    def generator(self) -> Generator:
        """Returns the decoder alone, as settings."""
        return Generator(self.decoder, self.latent)

    def build(
        self, event_shape: tuple[int, ...], rng_seed: int, data: Tensor | None = None
    ) -> VariationalAutoencoder:
        r"""Returns the autoencoder, on the CPU, in the default dtype and in evaluation mode.

        The same seed gives the same parameters; no global generator changes. The running statistics
        of batch normalisation are calibrated, so that the initial events differ.

        Arguments:
            event_shape: The shape of one event.
            rng_seed: The seed of the initial parameters.
            data: Rows to check against the range of the generator, shape (M, \*event); None for no
                check.

        Raises:
            ValueError: If the networks do not fit such events, or the data lie beyond the range of
                the decoder.
        """
        with seeded_weights(rng_seed):
            decoder = self.decoder.build(event_shape, self.latent)
            encoder = self.encoder.build(event_shape, self.latent)
        return VariationalAutoencoder(encoder, _calibrated(decoder, rng_seed, data))


BaseSettings: TypeAlias = Generator | Vae
"""The settings of a base that is a network."""


def _calibrated(decoder: Decoder, rng_seed: int, data: Tensor | None) -> Decoder:
    """Calibrates the batch normalisation of a decoder that can make the data."""
    if decoder.bounded and data is not None:
        rows = data.detach().flatten(1)
        beyond = (rows - rows.clamp(-1, 1)).square().sum().item()
        total = (rows - rows.mean(0)).square().sum().item()
        if beyond > MAX_UNREACHABLE * total:
            raise ValueError(
                "a generator that ends with tanh makes events in [-1, 1], got data from "
                f"{rows.min().item():.3g} to {rows.max().item():.3g}; write output='none' in its "
                "network, or scale the data"
            )
    rng = torch.Generator().manual_seed(rng_seed)
    calibrate_batch_norm(decoder, decoder.latents(CALIBRATION_ROWS, rng), rng)
    return decoder
