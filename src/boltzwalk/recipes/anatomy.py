r"""Convergent, non-convergent and short-run learning with the published settings.

| On the anatomy of MCMC-based maximum likelihood learning of energy-based models
| (Nijkamp, Hill, Han, Zhu, Wu, 2020), https://arxiv.org/abs/1903.12370

The published energy is U = 2F / ε² with a network F, and the published step x - F'(x) + ε noise.
Here the network is the energy: step 1 at temperature ε²/2, which is the same chain. The published
SGD rate is multiplied by ε²/2 and its loss by 2/ε²; here neither factor is needed.

| Learning non-convergent non-persistent short-run MCMC (Nijkamp, Hill, Zhu, Wu, 2019)
| https://arxiv.org/abs/1904.09770

The published step is x + f'(x) + 0.01 noise with f = -U: step 1 and noise 0.01, which is Langevin
at temperature 5e-5.
"""

from dataclasses import replace

from ..data import Cifar10, Mnist, Toy
from ..energies import NetworkEnergy
from ..kernels import ULA, noise_temperature
from ..methods.contrastive import Contrastive
from ..methods.starts import NoiseStart, ReplayStart
from ..networks import NonLocal
from ..networks.published import anatomy_network, anatomy_toy_network, short_run_network
from ..settings.optimizers import SGD, Adam
from ..settings.settings import Output, Settings

__all__ = [
    "RECIPES",
    "anatomy_convergent",
    "anatomy_nonconvergent",
    "anatomy_toy_convergent",
    "anatomy_toy_nonconvergent",
    "cifar10_short_run",
    "mnist_short_run",
]


def anatomy_convergent() -> Settings:
    """MNIST by convergent learning: 500 steps of walkers that are never restarted, SGD.

    Reached: not run, needs a GPU (48 s an update on one processor core).
    """
    return Settings(
        data=Mnist(pad=2),
        energy=NetworkEnergy(NonLocal()),
        method=Contrastive(
            start=ReplayStart(size=0),
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 7.5e-3)),
            steps=500,
            data_noise=1.5e-2,
        ),
        optimizer=SGD(1e-2),
        updates=100_000,
        batch=100,
        output=Output(log_every=1, save_every=500, picture_every=500),
    )


def anatomy_nonconvergent() -> Settings:
    """CIFAR-10 by non-convergent learning: 150 steps from uniform noise, Adam.

    Reached: not run, needs a GPU (16 s an update on one processor core).
    """
    return replace(
        anatomy_convergent(),
        data=Cifar10(),
        energy=NetworkEnergy(anatomy_network()),
        method=Contrastive(
            start=NoiseStart("uniform"),
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 1e-2)),
            steps=150,
            data_noise=3e-2,
        ),
        optimizer=Adam(1e-4),
    )


def anatomy_toy_convergent() -> Settings:
    """Eight Gaussians in the plane by convergent learning: the density is right as well.

    Reached: KL 0.17 nats and total variation 0.22 from the truth, and the label *convergent* after
    100,000 steps from data and from noise (R-hat 1.00), in 1,293 s with one thread of a loaded
    machine, by `boltzwalk train anatomy_toy_convergent` and `boltzwalk evaluate --seconds 300`.
    """
    return Settings(
        data=Toy("eight_gaussians"),
        energy=NetworkEnergy(anatomy_toy_network()),
        method=Contrastive(
            start=ReplayStart(size=10_000),
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 0.125)),
            steps=200,
        ),
        optimizer=SGD(0.1),
        updates=10_000,
        batch=100,
        output=Output(log_every=10, save_every=500, picture_every=500),
    )


def anatomy_toy_nonconvergent() -> Settings:
    """Eight Gaussians by non-convergent learning: right samples after 100 steps, wrong density.

    Reached: 99 % of the samples within three standard deviations of a mode, all 8 modes (three
    seeds, by `pytest -m slow tests/claims/test_claims_anatomy.py`); KL 26.7 nats and total
    variation 0.91 from the truth, and the label *short-run only* after 20,000 steps, by `boltzwalk
    train anatomy_toy_nonconvergent` and `boltzwalk evaluate --seconds 200`.
    """
    return replace(
        anatomy_toy_convergent(),
        method=Contrastive(
            start=NoiseStart("gaussian"),
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 0.01)),
            steps=100,
        ),
        optimizer=Adam(1e-4),
        updates=4000,
    )


def cifar10_short_run() -> Settings:
    """CIFAR-10 by short-run MCMC, 64 features, 100 steps from uniform noise.

    Published: FID 46.61 and inception score 5.49 (Table 3b, 64 features).

    Reached: not run, needs a GPU (21 s an update on one processor core).
    """
    return Settings(
        data=Cifar10(),
        energy=NetworkEnergy(short_run_network(width=64)),
        method=Contrastive(
            start=NoiseStart("uniform"),
            kernel=ULA(step_size=1.0, temperature=noise_temperature(1.0, 0.01)),
            steps=100,
            data_noise=0.03,
        ),
        optimizer=Adam(1e-4),
        updates=100_000,
        batch=64,
        output=Output(log_every=1, save_every=500, picture_every=500),
    )


def mnist_short_run() -> Settings:
    """MNIST by short-run MCMC, 32 features, 100 steps from uniform noise.

    Reached: not run to its end, needs a GPU.
    """
    return replace(
        cifar10_short_run(),
        data=Mnist(pad=2),
        energy=NetworkEnergy(short_run_network(width=32)),
        updates=10_000,
    )


RECIPES = (
    mnist_short_run,
    cifar10_short_run,
    anatomy_convergent,
    anatomy_nonconvergent,
    anatomy_toy_convergent,
    anatomy_toy_nonconvergent,
)
