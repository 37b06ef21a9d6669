"""What can be drawn from by a network: generators and variational autoencoders.

====================  =========================================================================
``generator``         `Generator` and `Vae`: bases as values, with ``build(shape, seed, data)``
``dense``,            the architectures, each a frozen dataclass with
``transposed``,       ``build(event_shape, latent)``; the published ones are in ``published``
``convolutional``
``networks``          what they build: `Decoder`, `Encoder`, `VariationalAutoencoder`
``conditional``       the same networks given a class, or the visible part of a picture
``learning``          the one place where batch statistics and dropout are on
``variational``       the loss of an autoencoder, its bound, its active dimensions
``posterior``         the posterior of the latent variables, as an energy
====================  =========================================================================
"""

from .conditional import ConditionalBase, GivenBase
from .convolutional import Convolution, ConvolutionalEncoder
from .dense import DenseEncoder, DenseGenerator
from .generator import Base, Generator, Vae
from .learning import learning
from .networks import Decoder, Encoder, VariationalAutoencoder
from .posterior import posterior_energy
from .transposed import ConvolutionalGenerator, TransposedConvolution
from .variational import VaeParts, active_dimensions, default_gamma, elbo, vae_loss

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
    "Generator",
    "GivenBase",
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
