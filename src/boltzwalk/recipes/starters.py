r"""Your own data, and densities in the plane: a table, a folder of images, a toy.

Handwritten digits of 8x8 pixels, bundled with scikit-learn: the first model to train.

MNIST and Fashion-MNIST in minutes on two processor cores, by persistent walkers.
"""

from dataclasses import replace

from ..data import Digits, FashionMnist, Images, Mnist, Table, Toy
from ..energies import Multilayer, NetworkEnergy
from ..kernels import MALA, ULA, noise_temperature
from ..methods.contrastive import Contrastive
from ..methods.starts import NoiseStart, ReplayStart
from ..networks.published_energies import short_run
from ..settings.optimizers import Adam, Schedule
from ..settings.settings import Output, Settings

__all__ = ["digits", "fashion_mnist", "images", "mnist", "table", "toy"]


def toy() -> Settings:
    """Points in the plane by persistent MALA; data.name chooses the density.

    Reached: 1.150 ± 0.055 nats on test data, where the true density has 1.103, in 30 s on two
    cores, by `boltzwalk train toy`.
    """
    return Settings(
        data=Toy("eight_gaussians"),
        energy=NetworkEnergy(
            Multilayer((128, 128), activation="leaky_relu"), reference_scale=2.0, zero_start=True
        ),
        method=Contrastive(
            start=ReplayStart(size=5000, restart_share=0.01, noise=NoiseStart("gaussian", 2.0)),
            kernel=MALA(step_size=0.01),
            steps=20,
        ),
        optimizer=Adam(3e-3),
        schedule=Schedule(anneal=0.5),
        updates=2000,
        batch=256,
        average=0.99,
        output=Output(save_every=500, picture_every=500),
    )


def table() -> Settings:
    """A table of numbers by persistent MALA: `boltzwalk train my.csv`.

    Reached: on the red wines of UCI (11 columns, 1,599 rows) the histogram of every column, in 16 s
    on two cores, by `boltzwalk train winequality-red.csv.gz drop=quality`; no likelihood yet.
    """
    return Settings(
        data=Table(path="table.csv", whitening="pca"),
        energy=NetworkEnergy(Multilayer((128, 128)), reference_scale=1.0, zero_start=True),
        method=Contrastive(
            start=ReplayStart(size=5000, restart_share=0.01, noise=NoiseStart("gaussian")),
            kernel=MALA(step_size=0.05),
            steps=10,
        ),
        optimizer=Adam(1e-3),
        schedule=Schedule(anneal=0.5),
        updates=2000,
        batch=128,
        average=0.99,
        output=Output(save_every=500, picture_every=500),
    )


def images() -> Settings:
    """A folder of images by persistent walkers: `boltzwalk train my_images/`.

    Reached: no number; the settings are those of `mnist` with a smaller learning rate.
    """
    return Settings(
        data=Images(path="images", size=32),
        energy=NetworkEnergy(short_run(width=16)),
        method=Contrastive(
            start=ReplayStart(size=2000, restart_share=0.02),
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 0.01), box=(-1.1, 1.1)),
            steps=40,
            data_noise=0.03,
        ),
        optimizer=Adam(1e-4),
        schedule=Schedule(anneal=0.3),
        updates=2000,
        batch=64,
        average=0.99,
        precision="auto",
        output=Output(save_every=250, picture_every=250),
    )


def digits() -> Settings:
    """Digits of 8x8 pixels from noise in 50 steps; needs no download.

    Reached: classifier-FID 6.8 (training data have 2.5), class entropy 0.13 nats, coverage 100 %,
    in 78 s on two cores, by `boltzwalk train digits`.
    """
    return Settings(
        data=Digits(),
        energy=NetworkEnergy(Multilayer((256, 256, 256), activation="leaky_relu")),
        method=Contrastive(
            start=NoiseStart("uniform"),
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 0.01)),
            steps=50,
            data_noise=0.03,
        ),
        optimizer=Adam(3e-4),
        schedule=Schedule(anneal=0.3),
        updates=3000,
        batch=64,
        average=0.99,
        output=Output(save_every=500, picture_every=500),
    )


def mnist() -> Settings:
    """MNIST digits of all ten classes, by persistent walkers with restarts.

    Reached: classifier-FID 43 (training data have 6.8), class entropy 0.18 nats, coverage 98 %, in
    474 s on two cores, by `boltzwalk train mnist`; the energy tells Fashion-MNIST from held-out
    digits with an AUROC of 0.999, by `boltzwalk evaluate --ood fashion_mnist`.
    """
    return Settings(
        data=Mnist(),
        energy=NetworkEnergy(short_run(width=16)),
        method=Contrastive(
            start=ReplayStart(size=2000, restart_share=0.02),
            # The box keeps walkers near the data. Without it a steep energy sends them off for good
            # while the store is noise: training exploded within 500 updates, at two rates.
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 0.01), box=(-1.1, 1.1)),
            steps=30,
            data_noise=0.03,
        ),
        optimizer=Adam(2e-4),
        schedule=Schedule(warmup=500, anneal=0.3),
        updates=3000,
        batch=64,
        average=0.99,
        precision="auto",
        output=Output(save_every=250, picture_every=250),
    )


def fashion_mnist() -> Settings:
    """Fashion-MNIST, with the settings of `mnist`.

    Reached: not run to its end; the cost of an update is that of `mnist`.
    """
    return replace(mnist(), data=FashionMnist())
