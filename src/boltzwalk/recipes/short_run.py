"""Short-run MCMC (Nijkamp et al., 2019) with the published settings.

| Learning non-convergent non-persistent short-run MCMC (Nijkamp, Hill, Zhu, Wu, 2019)
| https://arxiv.org/abs/1904.09770

The published step is x + f'(x) + 0.01 noise with f = -U: step 1 and noise 0.01, which is Langevin
at temperature 5e-5.
"""

from dataclasses import replace

from ..data import Cifar10, Mnist
from ..energies import NetworkEnergy
from ..energies.published import short_run
from ..kernels import ULA, noise_temperature
from ..methods.contrastive import Contrastive
from ..methods.starts import NoiseStart
from ..train.optimizers import Adam
from ..train.settings import Output, Settings

__all__ = ["cifar10_short_run", "mnist_short_run"]


def cifar10_short_run() -> Settings:
    """CIFAR-10 by short-run MCMC, 64 features, 100 steps from uniform noise.

    Published: FID 46.61 and inception score 5.49 (Table 3b, 64 features).

    Reached: not run, needs a GPU (21 s an update on one processor core).
    """
    return Settings(
        data=Cifar10(),
        energy=NetworkEnergy(short_run(width=64)),
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
        energy=NetworkEnergy(short_run(width=32)),
        updates=10_000,
    )
