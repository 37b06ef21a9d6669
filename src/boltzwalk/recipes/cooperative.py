r"""CoopNets and variational teaching: an energy trained together with a generator or a VAE.

| Cooperative training of descriptor and generator networks (Xie, Lu, Gao, Zhu, Wu, 2018)
| Learning energy-based model with variational auto-encoder as amortized sampler
| (Xie, Zheng, Li, 2021), https://arxiv.org/abs/2012.14936

The conditional recipes are given the class of a digit, or the observed pixels of an image. The
published step δ is ULA with step size δ²/2 here, or Descent where the published code leaves the
noise out. The published reference s of 0.016 is `energy.reference_scale`.
"""

from dataclasses import replace
from typing import Any

from ..bases import Vae
from ..bases import published as bases
from ..data import Cifar10, Digits, FashionMnist, Images, Mnist
from ..energies import NetworkEnergy
from ..kernels import ULA, Descent, noise_temperature
from ..methods.condition import ClassConditional, ObservedPixels
from ..methods.cooperative import Cooperative
from ..methods.variational import Variational
from ..networks import (
    Convolution,
    Convolutional,
    ConvolutionalEncoder,
    ConvolutionalGenerator,
    Multilayer,
    TransposedConvolution,
    published,
)
from ..settings.optimizers import Adam, Schedule
from ..settings.settings import Output, Settings

__all__ = [
    "RECIPES",
    "conditional_digits",
    "coopnets_digits",
    "coopnets_mnist",
    "digits_completion",
    "facades_completion",
    "vae_teaching_cifar10",
    "vae_teaching_digits",
    "vae_teaching_fashion_mnist",
    "vae_teaching_mnist",
]


def vae_teaching_digits() -> Settings:
    """Digits of 8x8 pixels, with proposals of a VAE that learns from their refinement.

    Reached: classifier-FID of 10,000 samples 5.1 ± 0.8, 16.2 ± 0.8 of the VAE's proposals
    (training data have 1.9), by `boltzwalk evaluate` after `boltzwalk train vae_teaching_digits`
    (88 s on one core).
    """
    return Settings(
        data=Digits(),
        energy=NetworkEnergy(Multilayer((256, 256, 256), activation="leaky_relu")),
        method=Variational(
            vae=bases.digits_vae(), kernel=Descent(0.005), steps=15, walkers=100, base_rate=1e-3
        ),
        optimizer=Adam(1e-3, beta1=0.5),
        schedule=Schedule(anneal=0.3),
        updates=3000,
        batch=100,
        average=0.99,
        output=Output(save_every=500, picture_every=500),
    )


def coopnets_digits() -> Settings:
    """Digits of 8x8 pixels, with proposals of a generator that learns from their refinement.

    Reached: classifier-FID of 10,000 samples 3.7 ± 0.6, 4.1 ± 0.7 of the generator's proposals
    (training data have 1.9), by `boltzwalk evaluate` after `boltzwalk train coopnets_digits` (84 s
    on one core).
    """
    return replace(
        vae_teaching_digits(),
        method=Cooperative(
            generator=bases.digits_vae().generator(),
            kernel=Descent(0.005),
            steps=15,
            walkers=100,
            base_rate=1e-3,
        ),
    )


REFINEMENT = ULA(step_size=1.0, temperature=noise_temperature(1.0, 0.01), box=(-1.1, 1.1))
"""The kernel of `mnist`. With a step of 1 the energy stays small and a usual learning rate works.
With the published steps of 1e-6 it must first grow by orders of magnitude, and overshoots."""


def vae_teaching_mnist() -> Settings:
    """MNIST, with proposals of a VAE that learns from their refinement.

    Reached: classifier-FID of 10,000 samples 77, 96, 87 (± 3) for seeds 0, 1, 2; 223, 214, 221 of
    the VAE's proposals, and 269, 265, 266 of the same VAE alone, `method.teacher=data`, after as
    many updates (training data have 1.0); recall 0.90, all ten classes, by `boltzwalk evaluate`
    after `boltzwalk train vae_teaching_mnist` (818 s on two loaded cores).
    """
    return Settings(
        data=Mnist(),
        energy=NetworkEnergy(published.short_run_network(width=16)),
        method=Variational(
            vae=bases.mnist_small_vae(),
            kernel=REFINEMENT,
            steps=15,
            walkers=64,
            data_noise=0.03,
            base_rate=1e-3,
        ),
        optimizer=Adam(1e-4, beta1=0.5),
        schedule=Schedule(warmup=200, anneal=0.3),
        updates=4000,
        batch=64,
        average=0.99,
        precision="auto",
        output=Output(save_every=250, picture_every=250),
    )


def coopnets_mnist() -> Settings:
    """MNIST, with proposals of a generator that learns from their refinement.

    Reached: classifier-FID of 10,000 samples 67.0 ± 2.3, 69.6 ± 2.0 of the generator's proposals
    (training data have 1.0), recall 0.88, by `boltzwalk evaluate` after `boltzwalk train
    coopnets_mnist` (984 s on a part of one loaded core, one seed).
    """
    return replace(
        vae_teaching_mnist(),
        method=Cooperative(
            generator=bases.mnist_small_vae().generator(),
            kernel=REFINEMENT,
            steps=15,
            walkers=64,
            data_noise=0.03,
            base_rate=1e-3,
        ),
    )


def vae_teaching_fashion_mnist() -> Settings:
    """Fashion-MNIST, with the settings of `vae_teaching_mnist`.

    Reached: not run to its end; the cost of an update is that of `vae_teaching_mnist`.
    """
    return replace(vae_teaching_mnist(), data=FashionMnist())


def vae_teaching_cifar10() -> Settings:
    """CIFAR-10 by variational teaching with the published settings.

    Reached: not run, needs a GPU.
    """
    return Settings(
        data=Cifar10(),
        energy=NetworkEnergy(published.teaching_cifar_network(), reference_scale=0.016),
        method=Variational(
            vae=bases.teaching_cifar_vae(),
            kernel=Descent(2e-6),
            steps=15,
            walkers=900,
            sample_steps=30,
            gamma=2.0,
        ),
        optimizer=Adam(0.009, beta1=0.5),
        schedule=Schedule(decay=0.98 ** (1 / (20 * 200))),
        updates=1_000_000,
        batch=250,
        output=Output(save_every=1000, picture_every=1000),
    )


def conditional_digits() -> Settings:
    """Digits of 8x8 pixels of a given class, with proposals of a VAE conditioned on it.

    Reached: 98.5 % of 10,000 samples are of the given class, by a classifier that is right for
    97.3 % of held-out digits; their classifier-FID is 2.80 ± 0.49, 4.43 ± 0.35 of as many proposals
    of the VAE (training data have 1.9), by `boltzwalk evaluate` after `boltzwalk train
    conditional_digits` (90 s of one core, one seed).
    """
    settings = vae_teaching_digits()
    method: Any = settings.method
    return replace(settings, method=replace(method, condition=ClassConditional()))


def digits_completion() -> Settings:
    """Digits of 8x8 pixels, completion of their lower half by a model of that half alone.

    Reached: on 100 held-out digits the masked error of the mean of four completions is 0.219 ±
    0.012, of one 0.315 ± 0.015, of a proposal 0.320 ± 0.013, of the mean of four proposals 0.245 ±
    0.012, of filling in the training mean 0.299 ± 0.006, at the end of `boltzwalk train
    digits_completion` (330 s on a part of one loaded core, one seed).
    """
    settings = vae_teaching_digits()
    method: Any = settings.method
    return replace(settings, method=replace(method, condition=ObservedPixels("lower")))


def facades_completion() -> Settings:
    """CMP Facades of 64x64 pixels, completion of their middle; needs cmp_facades_base_128.npz.

    The VAE learns from data and the energy from the refinement of its proposals. A VAE that is
    taught by the refinement, as in the other recipes, gives proposals and completions worse than
    mean filling (0.138 and 0.148 after 1,000 updates of 10 steps, 0.172 and 0.171 after 4,000 at
    twice the rate). With batch normalisation or tanh in the decoder, or without a reference, they
    diverge to one colour.

    Reached: on the 76 held-out facades the masked error of the mean of four completions is 0.124 ±
    0.007, of one 0.139 ± 0.006, of filling in the training mean 0.131 ± 0.009; but of a proposal
    0.103 ± 0.006 (the energy makes it sharper, not nearer), at the end of `boltzwalk train
    facades_completion` (193 s on a part of one loaded core, one seed).
    """
    halvings = ConvolutionalEncoder(tuple(Convolution(width) for width in (16, 32, 64, 64)))
    doublings = tuple(TransposedConvolution(width, norm=False) for width in (64, 32, 16))
    decoder = ConvolutionalGenerator((64, 4, 4), doublings, output="none")
    layers = ((1, 4, 2, 1), (2, 4, 2, 1), (4, 4, 2, 1), (4, 4, 2, 1))
    return Settings(
        data=Images("CMPFacades/cmp_facades_base_128.npz", key="images", size=64, channels=3),
        energy=NetworkEnergy(
            # The dense layer sees the middle and its surroundings together.
            Convolutional(width=16, layers=layers, hidden=(64,), initial="xavier"),
            reference_scale=10.0,
        ),
        method=Variational(
            vae=Vae(halvings, decoder, latent=8),
            kernel=REFINEMENT,
            steps=5,
            data_noise=0.1,
            teacher="data",
            base_rate=1e-4,
            condition=ObservedPixels("center", summary=halvings, features=128),
        ),
        optimizer=Adam(3e-5, beta1=0.5),
        schedule=Schedule(warmup=100, anneal=0.3),
        updates=1000,
        batch=16,
        average=0.99,
        output=Output(save_every=200, picture_every=500),
    )


RECIPES = (
    coopnets_digits,
    vae_teaching_digits,
    conditional_digits,
    digits_completion,
    coopnets_mnist,
    vae_teaching_mnist,
    vae_teaching_fashion_mnist,
    vae_teaching_cifar10,
    facades_completion,
)
