r"""First models: points in the plane, your own table or images, digits and MNIST.

All but `digits` keep persistent walkers, a hundredth or a fiftieth of which start again at every
update; `digits` starts from noise.
"""

from dataclasses import replace

from ..bases.stacked import StackedEnergy
from ..data import Digits, FashionMnist, Images, Mnist, Table, Toy
from ..energies import NetworkEnergy
from ..kernels import MALA, ULA, noise_temperature
from ..methods.contrastive import Contrastive
from ..methods.maximum_likelihood import MaximumLikelihood
from ..methods.starts import NoiseStart, ReplayStart
from ..networks import Multilayer
from ..networks.published import short_run_network
from ..settings.optimizers import Adam, Schedule
from ..settings.settings import Output, Settings

__all__ = ["RECIPES", "digits", "fashion_mnist", "images", "mnist", "table", "table_walkers", "toy"]


def digits() -> Settings:
    """Digits of 8x8 pixels from noise in 50 steps; needs no download.

    Reached: classifier-FID of 500 samples 6.8 (500 training rows have 2.5), class entropy 0.13
    nats, coverage 100 %, in 78 s on two cores, by `boltzwalk train digits`.
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

    Reached: classifier-FID of 500 samples 43 (500 training rows have 6.8), class entropy 0.18
    nats, coverage 98 %, in 474 s on two cores, by `boltzwalk train mnist`; the energy tells
    Fashion-MNIST from held-out digits with an AUROC of 0.999, by `boltzwalk evaluate --ood
    fashion_mnist`.
    """
    return _persistent_images(Mnist(), 30, 2e-4, Schedule(warmup=500, anneal=0.3), updates=3000)


def fashion_mnist() -> Settings:
    """Fashion-MNIST, with the settings of `mnist`.

    Reached: not run to its end; the cost of an update is that of `mnist`.
    """
    return replace(mnist(), data=FashionMnist())


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
    """A table of numbers by a stack of densities and an energy on top: `boltzwalk train my.csv`.

    Reached: pending.
    """
    return Settings(
        data=Table(path="table.csv", tails="keep"),  # the stack maps heavy tails itself
        energy=StackedEnergy(),
        method=MaximumLikelihood(),
        optimizer=Adam(1e-3),
        schedule=Schedule(anneal=0.5),
        updates=800,
        batch=64,
        average=0.98,
        output=Output(log_every=50, save_every=50, picture_every=0, best=True),
    )


def table_walkers() -> Settings:
    """A table of numbers by a network alone, with persistent MALA.

    Reached: on the red wines of UCI (11 columns, 1,599 rows) the histogram of every column, in 16 s
    on two cores, by `boltzwalk train table_walkers data.path=winequality-red.csv.gz
    drop=quality`; no likelihood.
    """
    return replace(
        toy(),
        data=Table(path="table.csv", whitening="pca"),
        energy=NetworkEnergy(Multilayer((128, 128)), reference_scale=1.0, zero_start=True),
        method=Contrastive(
            start=ReplayStart(size=5000, restart_share=0.01, noise=NoiseStart("gaussian")),
            kernel=MALA(step_size=0.05),
            steps=10,
        ),
        optimizer=Adam(1e-3),
        batch=128,
    )


def images() -> Settings:
    """A folder of images by persistent walkers: `boltzwalk train my_images/`.

    Reached: no number; the settings are those of `mnist` with a smaller learning rate.
    """
    data = Images(path="images", size=32)
    return _persistent_images(data, 40, 1e-4, Schedule(anneal=0.3), updates=2000)


RECIPES = (digits, mnist, fashion_mnist, toy, table, table_walkers, images)


def _persistent_images(
    data: Mnist | Images, steps: int, learning_rate: float, schedule: Schedule, updates: int
) -> Settings:
    """Images by the short-run network and a store of 2,000 walkers."""
    return Settings(
        data=data,
        energy=NetworkEnergy(short_run_network(width=16)),
        method=Contrastive(
            start=ReplayStart(size=2000, restart_share=0.02),
            # The box keeps walkers near the data. Without it a steep energy drives them away for
            # good while the store is noise: at two learning rates training explodes within 500
            # updates.
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 0.01), box=(-1.1, 1.1)),
            steps=steps,
            data_noise=0.03,
        ),
        optimizer=Adam(learning_rate),
        schedule=schedule,
        updates=updates,
        batch=64,
        average=0.99,
        precision="auto",
        output=Output(save_every=250, picture_every=250),
    )
