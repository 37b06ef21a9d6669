"""What can be drawn from by a network: generators, variational autoencoders, flows.

====================  =========================================================================
``generator``         `Generator` and `Vae`: bases as values, with ``build(shape, seed, data)``
``dense``,            the architectures, each a frozen dataclass with
``transposed``,       ``build(event_shape, latent)``; the published ones are in ``published``
``convolutional``,
``residual``
``networks``          what they build: `Decoder`, `Encoder`, `VariationalAutoencoder`
``conditional``       the same networks given a class, or the visible part of a picture
``flow``              `Flow`: a base whose density is known, and what it builds
``learning``          the one place where batch statistics and dropout are on
``variational``       the loss of an autoencoder, its bound, its active dimensions
``posterior``         the posterior of the latent variables, as an energy
``latent``            the energy of latent variables under a model relative to a base
``relative``          from an energy relative to a base to one of its own, and back
``frozen``            faster copies for where nothing learns
====================  =========================================================================
"""

from ..networks.batch_statistics import learning
from ..networks.convolutional import (
    Convolution,
    ConvolutionalEncoder,
    ConvolutionalGenerator,
    TransposedConvolution,
)
from ..networks.dense import DenseEncoder, DenseGenerator
from ..networks.frozen import frozen
from ..networks.network import Decoder, Encoder, VariationalAutoencoder
from ..networks.residual import ResidualGenerator
from .conditional import ConditionalBase, GivenBase
from .flow import Flow, NormalizingFlow
from .generator import Base, Generator, Vae
from .latent import LatentEnergy, Shifted, posterior_energy
from .vae_loss import VaeParts, active_dimensions, default_gamma, elbo, vae_loss

__all__ = [
    "Base",
    "ConditionalBase",
    "Convolution",
    "ConvolutionalEncoder",
    "ConvolutionalGenerator",
    "Decoder",
    "DenseEncoder",
    "DenseGenerator",
    "Encoder",
    "Flow",
    "Generator",
    "GivenBase",
    "LatentEnergy",
    "NormalizingFlow",
    "ResidualGenerator",
    "Shifted",
    "TransposedConvolution",
    "Vae",
    "VaeParts",
    "VariationalAutoencoder",
    "active_dimensions",
    "default_gamma",
    "elbo",
    "frozen",
    "learning",
    "posterior_energy",
    "vae_loss",
]
