"""Layers and networks, for energies and bases alike.

=================  ============================================================================
``dense``          :class:`Multilayer`, :class:`DenseGenerator`, :class:`DenseEncoder`
``convolutional``  :class:`Convolutional`, :class:`ConvolutionalGenerator`,
                   :class:`ConvolutionalEncoder`
``residual``       :class:`Residual`, :class:`ResidualGenerator`
``non_local``      :class:`NonLocal`
``published``      settings of published energy networks
``network``        the modules that these settings build
``layers``         layers, activations, weight initialisation
``spectral``       spectral normalisation with pure sampling
``batch_norm``     batch statistics and dropout, active only in training steps
``fusion``         faster copies of networks for inference
=================  ============================================================================

An architecture is a frozen dataclass. ``build(event_shape)`` gives an energy network;
``build(event_shape, latent)`` gives a decoder or an encoder.
"""

from .batch_norm import batch_statistics, calibrate_batch_norm
from .convolutional import (
    Convolution,
    Convolutional,
    ConvolutionalEncoder,
    ConvolutionalGenerator,
    TransposedConvolution,
)
from .dense import DenseEncoder, DenseGenerator, Multilayer
from .fusion import fuse_for_inference
from .network import Decoder, Encoder, Network, VariationalAutoencoder
from .non_local import NonLocal
from .residual import Residual, ResidualGenerator
from .spectral import add_spectral_norm, power_iteration

__all__ = [
    "Convolution",
    "Convolutional",
    "ConvolutionalEncoder",
    "ConvolutionalGenerator",
    "Decoder",
    "DenseEncoder",
    "DenseGenerator",
    "Encoder",
    "Multilayer",
    "Network",
    "NonLocal",
    "Residual",
    "ResidualGenerator",
    "TransposedConvolution",
    "VariationalAutoencoder",
    "add_spectral_norm",
    "batch_statistics",
    "calibrate_batch_norm",
    "fuse_for_inference",
    "power_iteration",
]
