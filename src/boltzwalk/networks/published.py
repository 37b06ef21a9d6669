"""Published energy networks, as settings, with their parameter counts.

Each function returns the :class:`.Convolutional` or :class:`.Multilayer` settings of a published
network, which build it for the published size of images, and a network of the same layers for other
sizes. TensorFlow pads an odd total one pixel more at the end; here padding is symmetric.
"""

from __future__ import annotations

from .convolutional import Convolutional
from .dense import Multilayer

__all__ = [
    "anatomy_network",
    "anatomy_toy_network",
    "cooperative_cifar_network",
    "cooperative_mnist_network",
    "cooperative_scenes_network",
    "jarzynski_mnist_network",
    "short_run_network",
    "spectral_gan_network",
    "teaching_cifar_network",
    "teaching_mnist_network",
]


def short_run_network(width: int = 64) -> Convolutional:
    """The network of non-convergent short-run learning: 2,763,393 parameters for 3 x 32 x 32.

    References:
        | Learning Non-Convergent Non-Persistent Short-Run MCMC Toward Energy-Based Model
          (Nijkamp, Hill, Zhu and Wu, 2019)
    """
    return Convolutional(width=width)


def anatomy_network(width: int = 32) -> Convolutional:
    """The plain network of the anatomy paper: 693,569 parameters for 3 x 32 x 32.

    References:
        | On the Anatomy of MCMC-Based Maximum Likelihood Learning of Energy-Based Models
          (Nijkamp, Hill, Han, Zhu and Wu, 2020)
    """
    return Convolutional(width=width, leak=0.05)


def anatomy_toy_network() -> Multilayer:
    """The network of the anatomy paper for the plane: 10,593 parameters.

    The paper's convolutions of kernel 1 are dense layers, and are three times as fast as such.

    References:
        | On the Anatomy of MCMC-Based Maximum Likelihood Learning of Energy-Based Models
          (Nijkamp, Hill, Han, Zhu and Wu, 2020)
    """
    return Multilayer(widths=(32, 64, 64, 64), activation="leaky_relu", leak=0.05)


def teaching_cifar_network(width: int = 64) -> Convolutional:
    """The energy of variational MCMC teaching for 3 x 32 x 32: 1,710,465 parameters.

    References:
        | Learning Energy-Based Model with Variational Auto-Encoder as Amortized Sampler
          (Xie, Zheng and Li, 2021)
    """
    layers = ((1, 3, 1, 1), (2, 4, 2, 1), (4, 4, 2, 1), (4, 4, 2, 1))
    return Convolutional(width=width, layers=layers, initial=0.005)


def teaching_mnist_network(width: int = 64) -> Convolutional:
    """The energy of variational MCMC teaching for 1 x 28 x 28: 1,625,188 parameters.

    References:
        | Learning Energy-Based Model with Variational Auto-Encoder as Amortized Sampler
          (Xie, Zheng and Li, 2021)
    """
    layers = ((1, 5, 2, 2), (2, 3, 2, 1), (4, 3, 1, 1))
    return Convolutional(width=width, layers=layers, outputs=100, initial=0.005)


def cooperative_mnist_network(width: int = 64) -> Convolutional:
    """The descriptor of CoopNets for 1 x 28 x 28: 1,066,532 parameters.

    References:
        | Cooperative Training of Descriptor and Generator Networks (Xie, Lu, Gao, Zhu and Wu, 2018)
    """
    layers = ((1, 4, 2, 1), (2, 4, 2, 1), (4, 4, 2, 2))
    return Convolutional(width=width, layers=layers, outputs=100)


def cooperative_cifar_network(width: int = 64) -> Convolutional:
    """The descriptor of CoopNets for 3 x 32 x 32, after a PyTorch port: 2,012,388 parameters.

    References:
        | Cooperative Training of Descriptor and Generator Networks (Xie, Lu, Gao, Zhu and Wu, 2018)
    """
    layers = ((1, 5, 2, 1), (2, 3, 2, 1), (4, 3, 1, 1))
    return Convolutional(width=width, layers=layers, outputs=100, leak=0.01)


def cooperative_scenes_network(width: int = 64) -> Convolutional:
    """The descriptor of CoopNets for scenes of 3 x 64 x 64: 6,927,588 parameters.

    References:
        | Cooperative Training of Descriptor and Generator Networks (Xie, Lu, Gao, Zhu and Wu, 2018)
    """
    layers = ((1, 5, 2, 2), (2, 3, 2, 1), (4, 3, 1, 1))
    return Convolutional(width=width, layers=layers, outputs=100)


def jarzynski_mnist_network(width: int = 16) -> Convolutional:
    """The network of Jarzynski-corrected learning for 1 x 28 x 28: 76,993 parameters.

    References:
        | Efficient Training of Energy-Based Models Using Jarzynski Equality
          (Carbone, Hua, Coste and Vanden-Eijnden, 2023)
    """
    layers = ((1, 5, 2, 4), (2, 3, 2, 1), (4, 3, 2, 1), (4, 3, 2, 1))
    return Convolutional(width=width, layers=layers, hidden=(64,), activation="silu")


def spectral_gan_network(width: int = 64) -> Convolutional:
    """The normalised discriminator of generalised EBMs for 3 x 32 x 32: 5,860,865 parameters.

    All layers but the head are spectrally normalised.

    References:
        | Spectral Normalization for Generative Adversarial Networks
          (Miyato, Kataoka, Koyama and Yoshida, 2018)
        | Generalized Energy Based Models (Arbel, Zhou and Gretton, 2021)
    """
    halvings = tuple(row for m in (2, 4, 8) for row in ((m, 4, 2, 1), (m, 3, 1, 1)))
    return Convolutional(
        width=width,
        layers=((1, 3, 1, 1), *halvings),
        leak=0.1,
        normalise=True,
        initial="xavier",
    )
