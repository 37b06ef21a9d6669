"""Short-run learning of 8x8 digits, small enough that a claim about it takes a minute to check."""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from boltzwalk.data import Dataset, Digits
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA, Descent, noise_temperature, run_chain
from boltzwalk.method import Batch
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import DataStart, NoiseStart, ReplayStart
from boltzwalk.metrics.classifier import Classifier, fit_classifier
from boltzwalk.metrics.frechet import frechet_distance
from boltzwalk.networks import Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.optimizers import Adam
from boltzwalk.training.loop import train_loop
from boltzwalk.walkers import walkers_at


@dataclass(frozen=True)
class Setting:
    """One run. The defaults are the setting of the literature at this scale."""

    steps: int
    data_noise: float
    learning_rate: float = 1e-4
    noise: float = 0.01
    step_size: float = 1.0
    spectral_norm: bool = False
    start: str = "noise"
    updates: int = 1500
    seed: int = 0

    def kernel(self) -> ULA | Descent:
        if self.noise == 0:
            return Descent(self.step_size)
        return ULA(self.step_size, noise_temperature(self.step_size, self.noise))

    def method(self) -> Contrastive:
        starts = {"noise": NoiseStart(), "data": DataStart(), "replay": ReplayStart(size=0)}
        return Contrastive(
            starts[self.start], self.kernel(), self.steps, data_noise=self.data_noise
        )


class Result(NamedTuple):
    setting: Setting
    energy: nn.Module
    rows: list[dict[str, float]]
    state: object
    diverged: bool

    def last(self, key: str, window: int = 500) -> float:
        """The mean of a logged number over the last updates."""
        values = [row[key] for row in self.rows[-window:]]
        return sum(values) / len(values)


@functools.cache
def digits() -> Dataset:
    return Digits().load()


@functools.cache
def classifier() -> Classifier:
    return fit_classifier(digits())


def quality(x: Tensor) -> float:
    """The classifier-FID against held-out digits; nan or infinite samples have the worst."""
    if not bool(x.isfinite().all()):
        return math.inf
    data = digits()
    held_out = torch.cat([data.validation, data.test])
    return frechet_distance(classifier().features(x), classifier().features(held_out))


@functools.cache
def trained(setting: Setting) -> Result:
    """Trains a setting once for all tests that ask for it."""
    data, method = digits(), setting.method()
    network = Multilayer((256, 256, 256), activation="leaky_relu")
    energy = NetworkEnergy(network, spectral_norm=setting.spectral_norm).build(
        data.event_shape, setting.seed
    )
    optimizer = Adam(setting.learning_rate).build(energy.parameters())
    state = method.init(energy, Batch(data.train), generator(setting.seed, "init"))
    rows = []
    try:
        for done in train_loop(
            energy,
            method,
            lambda rng: Batch(data.batch(64, rng)),
            optimizer,
            state=state,
            updates=setting.updates,
            seed=setting.seed,
        ):
            rows.append({key: float(value) for key, value in done.info.items()})
            state = done.state
    except FloatingPointError:
        return Result(setting, energy, rows, state, diverged=True)
    return Result(setting, energy, rows, state, diverged=False)


def samples(result: Result, n: int = 1000, longer: int = 1) -> Tensor:
    """Walkers from noise after K steps, or a multiple of them."""
    setting = result.setting
    x = NoiseStart().noise(digits().train, n, generator(1, "samples"))
    return chain(result, x, longer * setting.steps)


def chain(result: Result, x: Tensor, steps: int, seed: int = 2) -> Tensor:
    """Moves walkers from x by the kernel of the run; the seed fixes the noise."""
    start = walkers_at(result.energy, x)
    rng = generator(seed, "chain")
    return run_chain(result.setting.kernel(), result.energy, start, steps, rng)[0].x
