"""Published generators and autoencoders, and small ones for tests and starts, as settings.

Each function returns a :class:`.Generator` or a :class:`.Vae` for the stated size of events.
Parameter counts are for 100 latent variables unless stated otherwise. Batch normalisation learns a
scale here; TensorFlow's did not, and the next layer can undo it.
"""

from __future__ import annotations

from ..networks.convolutional import Convolution, ConvolutionalEncoder, ConvolutionalGenerator
from ..networks.convolutional import TransposedConvolution as Layer
from ..networks.dense import DenseEncoder, DenseGenerator
from ..networks.residual import ResidualGenerator
from .generator import Generator, Vae

__all__ = [
    "cooperative_cifar_generator",
    "cooperative_mnist_generator",
    "cooperative_scenes_generator",
    "digits_vae",
    "mnist_small_vae",
    "spectral_gan_generator",
    "spectral_gan_residual_generator",
    "table_vae",
    "teaching_cifar_vae",
    "teaching_mnist_vae",
]


def teaching_cifar_vae(latent: int = 100) -> Vae:
    """The autoencoder of variational MCMC teaching for 3 x 32 x 32.

    The encoder has 4,393,800 parameters, the decoder 1,104,963. The paper has 200 latent variables,
    its code 100.

    References:
        | Learning Energy-Based Model with Variational Auto-Encoder as Amortized Sampler
          (Xie, Zheng and Li, 2021)
    """
    halvings = tuple(Convolution(channels, 4, 2, 1) for channels in (128, 256, 512))
    encoder = ConvolutionalEncoder((Convolution(64, 3, 1, 1), *halvings), initial=0.005)
    decoder = ConvolutionalGenerator(
        start=None,
        layers=(
            Layer(256, 4, 1, 0),
            Layer(128, 4, 2, 1),
            Layer(64, 4, 2, 1),
            Layer(64, 3, 2, 1, 1, norm=False),
        ),
        last=(3, 1, 1, 0),
        initial=0.005,
    )
    return Vae(encoder, decoder, latent)


def teaching_mnist_vae(latent: int = 100) -> Vae:
    """The autoencoder of variational MCMC teaching for 1 x 28 x 28.

    The encoder has 759,688 parameters, the decoder 780,161.

    References:
        | Learning Energy-Based Model with Variational Auto-Encoder as Amortized Sampler
          (Xie, Zheng and Li, 2021)
    """
    convolutions = (Convolution(64), Convolution(64), Convolution(64, 4, 1, 1, end_padding=1))
    encoder = ConvolutionalEncoder(convolutions, dropout=0.2, initial=0.005)
    decoder = ConvolutionalGenerator(
        start=None,
        layers=(
            Layer(256, 4, 1, 0, activation="relu"),
            Layer(128, 3, 2, 1, activation="relu"),
            Layer(64, 3, 2, 1, 1, activation="relu"),
        ),
        last=(3, 2, 1, 1),
        initial=0.005,
    )
    return Vae(encoder, decoder, latent)


def cooperative_mnist_generator(latent: int = 100) -> Generator:
    """The generator of CoopNets for 1 x 28 x 28: 3,445,377 parameters.

    References:
        | Cooperative Training of Descriptor and Generator Networks (Xie, Lu, Gao, Zhu and Wu, 2018)
    """
    layers = (Layer(512, 4, 1, 0), Layer(256, 4, 2, 2, 1), Layer(128, 4, 2, 1))
    network = ConvolutionalGenerator(start=None, layers=layers, last=(4, 2, 1, 0), initial=0.005)
    return Generator(network, latent)


def cooperative_cifar_generator(latent: int = 100) -> Generator:
    """The generator of CoopNets for 3 x 32 x 32, after a PyTorch port: 1,439,747 parameters.

    References:
        | Cooperative Training of Descriptor and Generator Networks (Xie, Lu, Gao, Zhu and Wu, 2018)
    """
    layers = (
        Layer(256, 4, 1, 0, leak=0.01),
        Layer(128, 5, 2, 2, 1, leak=0.01),
        Layer(64, 5, 2, 2, 1, leak=0.01),
    )
    network = ConvolutionalGenerator(
        start=None, layers=layers, last=(5, 2, 2, 1), initial="default"
    )
    return Generator(network, latent)


def cooperative_scenes_generator(latent: int = 100) -> Generator:
    """The generator of CoopNets for scenes of 3 x 64 x 64: 5,127,683 parameters.

    References:
        | Cooperative Training of Descriptor and Generator Networks (Xie, Lu, Gao, Zhu and Wu, 2018)
    """
    doublings = tuple(Layer(channels, 5, 2, 2, 1) for channels in (256, 128, 64))
    network = ConvolutionalGenerator(
        start=None,
        layers=(Layer(512, 4, 1, 0), *doublings),
        last=(5, 2, 2, 1),
        initial=0.005,
    )
    return Generator(network, latent)


def spectral_gan_generator(latent: int = 100) -> Generator:
    """The ConvNet generator of generalized EBMs for 3 x 32 x 32: 3,584,003 parameters.

    References:
        | Generalized Energy Based Models (Arbel, Zhou and Gretton, 2021)
    """
    layers = tuple(Layer(channels, 4, 2, 1, activation="relu") for channels in (256, 128, 64))
    network = ConvolutionalGenerator(
        start=(512, 4, 4), layers=layers, last=(3, 1, 1, 0), initial="xavier"
    )
    return Generator(network, latent)


def spectral_gan_residual_generator(latent: int = 100) -> Generator:
    """The ResNet generator of generalized EBMs for 3 x 32 x 32: 1,097,603 parameters.

    References:
        | Generalized Energy Based Models (Arbel, Zhou and Gretton, 2021)
    """
    return Generator(ResidualGenerator(), latent)


def digits_vae(latent: int = 16) -> Vae:
    """A small autoencoder for 1 x 8 x 8: 28,960 parameters to encode, 27,456 to decode."""
    return Vae(DenseEncoder((128, 128)), DenseGenerator((128, 128)), latent)


def mnist_small_vae(latent: int = 32) -> Vae:
    """A small autoencoder for 1 x 28 x 28 on two CPU cores, with 32 latent variables.

    The encoder has 135,904 parameters, the decoder 136,993.
    """
    convolutions = (Convolution(32), Convolution(64), Convolution(64, 3, 2, 1))
    decoder = ConvolutionalGenerator(start=(64, 7, 7), layers=(Layer(32),), last=(4, 2, 1, 0))
    return Vae(ConvolutionalEncoder(convolutions), decoder, latent)


def table_vae(latent: int = 8) -> Vae:
    """A small autoencoder for tables, smooth, with a linear output."""
    encoder = DenseEncoder((128, 128), activation="silu")
    return Vae(encoder, DenseGenerator((128, 128), activation="silu", output="none"), latent)
