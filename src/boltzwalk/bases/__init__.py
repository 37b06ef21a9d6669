"""What can be drawn from by a network: generators, variational autoencoders, flows.

====================  =========================================================================
``generator``         `Generator` and `Vae`: bases as values, with ``build(shape, seed, data)``
``dense``,            the architectures, each a frozen dataclass with
``transposed``,       ``build(event_shape, latent)``; the published ones are in ``published``
``convolutional``
``networks``          what they build: `Decoder`, `Encoder`, `VariationalAutoencoder`
``flow``              `Flow`: a base whose density is known, and what it builds
``learning``          the one place where batch statistics and dropout are on
``variational``       the loss of an autoencoder, its bound, its active dimensions
``posterior``         the posterior of the latent variables, as an energy
====================  =========================================================================
"""

from .convolutional import Convolution, ConvolutionalEncoder
from .dense import DenseEncoder, DenseGenerator
from .flow import Flow, NormalizingFlow
from .generator import Base, Generator, Vae
from .learning import learning
from .networks import Decoder, Encoder, VariationalAutoencoder
from .posterior import posterior_energy
from .transposed import ConvolutionalGenerator, TransposedConvolution
from .variational import VaeParts, active_dimensions, default_gamma, elbo, vae_loss

__all__ = [
    "Base",
    "Convolution",
    "ConvolutionalEncoder",
    "ConvolutionalGenerator",
    "Decoder",
    "DenseEncoder",
    "DenseGenerator",
    "Encoder",
    "Flow",
    "Generator",
    "NormalizingFlow",
    "TransposedConvolution",
    "Vae",
    "VaeParts",
    "VariationalAutoencoder",
    "active_dimensions",
    "default_gamma",
    "elbo",
    "learning",
    "posterior_energy",
    "vae_loss",
]
