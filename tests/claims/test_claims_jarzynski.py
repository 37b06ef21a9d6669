"""What Carbone et al. (2023) claim of weighted walkers, at the size at which they claim it."""

import math

import pytest
import torch
from torch import nn

from boltzwalk.energies.analytic import GaussianMixture
from boltzwalk.energies.learnt_mixture import LearntMixture, MixtureEnergy
from boltzwalk.kernels import ULA
from boltzwalk.method import Batch
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.methods.starts import ReplayStart
from boltzwalk.smc.resampling import resample_below
from boltzwalk.smc.reweighting import move_and_reweight
from boltzwalk.walkers import log_mean_weight, walkers_at

pytestmark = pytest.mark.slow


def published_data(rng, n=1000, dim=50):
    """Modes at -10 and +6 on the first axis: exactly a quarter and three quarters of the rows."""
    means = torch.zeros(2, dim)
    means[0, 0], means[1, 0] = -10.0, 6.0
    right = torch.arange(n) >= n // 4
    target = GaussianMixture(tuple(map(tuple, means.tolist())), weights=(0.25, 0.75))
    return means[right.long()] + torch.randn(n, dim, generator=rng), target


def divergence(energy, target, data):
    """KL of the model from the truth, both by their exact densities, on the rows of the data."""
    model = energy(data).double().mean().item() + energy.log_z
    return model - target(data).double().mean().item() - target.log_z


def left_mass(energy):
    return energy.masses[energy.means[:, 0].argmin()].item()


def learn(method, energy, data, rng, updates, rate, watch=None):
    """Plain gradient descent on all the data; returns the last numbers and the last exact log Z."""
    state = method.init(energy, Batch(data), rng)
    optimizer = torch.optim.SGD([p for p in energy.parameters() if p.requires_grad], rate)
    for _ in range(updates):
        loss, state, info = method.step(energy, Batch(data), state, rng)
        if watch is not None:
            watch = move_and_reweight(ULA(0.1), energy, watch, 1, rng).walkers
            watch, _ = resample_below(watch, 0.5, rng)
        log_z = energy.log_z
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return info, log_z, watch


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_the_mixture_of_the_paper_is_learnt(threshold):
    """Masses and means are found; log Z is off for who steers, and right for who watches."""
    rng = torch.Generator().manual_seed(0)
    data, target = published_data(rng)
    energy = MixtureEnergy().build((50,), 0)
    x = energy.sample(1000, rng)
    watch = walkers_at(energy, x, torch.full((1000,), energy.log_z))
    method = Jarzynski(ExactStart(1000), ULA(0.1), threshold=threshold)
    info, log_z, watch = learn(method, energy, data, rng, 8000, 0.0025, watch)
    print(
        f"mass {left_mass(energy):.4f}, KL {divergence(energy, target, data):.4f}, log Z off by "
        f"{info['log_z'].item() - log_z:.3f}, watched {log_mean_weight(watch.log_w) - log_z:.3f}, "
        f"{info['resamplings']} resamplings"
    )
    assert 0.15 < left_mass(energy) < 0.30
    assert divergence(energy, target, data) < 0.05
    assert -1.4 < info["log_z"].item() - log_z < -0.6
    assert abs(log_mean_weight(watch.log_w).item() - log_z) < 0.1


def test_persistent_walkers_lose_a_mode_of_it():
    """The same without weights, from the data."""
    rng = torch.Generator().manual_seed(0)
    data, target = published_data(rng)
    energy = MixtureEnergy().build((50,), 0)
    method = Contrastive(ReplayStart(size=1000, from_data=True), ULA(0.1), steps=1)
    learn(method, energy, data, rng, 8000, 0.0025)
    print(f"mass {left_mass(energy):.2e}, KL {divergence(energy, target, data):.3f}")
    assert left_mass(energy) < 0.001
    assert divergence(energy, target, data) > 1


class Halves(LearntMixture):
    """Draws the same number from each of two modes: no chance in the masses of the start."""

    def sample(self, n, rng):
        x = torch.randn(n, self.means.shape[1], generator=rng)
        return x + self.means.detach()[torch.arange(n) % 2]


def test_levels_are_learnt_at_the_published_rate():
    """Means fixed, d = 2, 4000 updates: the mass of the left mode is that of the data."""
    torch.set_default_dtype(torch.float64)
    means = torch.tensor([[6.0, 0.0], [-10.0, 0.0]])
    masses, offs = [], []
    for seed in range(4):
        rng = torch.Generator().manual_seed(seed)
        energy = Halves(means)
        energy.means.requires_grad_(False)
        left = torch.arange(1000) < 250
        data = means[left.long()] + torch.randn(1000, 2, generator=rng)
        method = Jarzynski(ExactStart(1000), ULA(0.1))
        info, log_z, _ = learn(method, energy, data, rng, 4000, 0.0125)
        masses.append(energy.masses[1].item())
        offs.append(info["log_z"].item() - log_z)
    print("masses", masses, "log Z off by", offs)
    assert max(abs(mass - 0.25) for mass in masses) < 0.005
    assert max(map(abs, offs)) < 0.01


class Still(nn.Module):
    """A learnt mean, at the mean of the data: U = |x - m|^2 / 2."""

    def __init__(self, dim):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return (x - self.mean).square().sum(1) / 2

    @property
    def log_z(self):
        return len(self.mean) / 2 * math.log(2 * math.pi)

    def sample(self, n, rng):
        return self.mean.detach() + torch.randn(n, len(self.mean), generator=rng)


@pytest.mark.parametrize(("size", "seeds"), [(1000, 4), (500, 8), (250, 24)])
def test_the_bias_of_log_z_is_as_predicted(size, seeds):
    """-eta K d / N = -50 / N, where walkers steer; nothing, where they watch."""
    torch.set_default_dtype(torch.float64)
    bias, seen = [], []
    for seed in range(seeds):
        rng = torch.Generator().manual_seed(seed)
        energy = Still(10)
        watch = walkers_at(energy, energy.sample(1000, rng))
        method = Jarzynski(ExactStart(size), ULA(0.1), threshold=0.3)
        info, log_z, watch = learn(method, energy, torch.zeros(2, 10), rng, 2000, 0.0025, watch)
        bias.append(info["log_z"].item() - log_z)
        seen.append(log_mean_weight(watch.log_w).item())
    bias, seen = torch.tensor(bias), torch.tensor(seen)
    unit = bias.std() / math.sqrt(seeds)
    print(f"N={size}: bias {bias.mean():.4f} +- {unit:.4f}, witness {seen.mean():.4f}")
    assert abs(bias.mean() + 50 / size) < 0.015
    assert abs(seen.mean()) < 0.01


def test_weights_in_fifty_dimensions():
    """Precision 1 to 4, mean 0 to 3 in 400 steps of h = 0.1: the floor makes 190 resamplings.

    Each leaves log Z with a noise of 1 / N, at threshold 1/2: 0.1 a run, 0.04 for the mean of six.
    """
    torch.set_default_dtype(torch.float64)
    errors, counts = [], []
    for seed in range(6):
        rng, count = torch.Generator().manual_seed(seed), 0
        walkers = walkers_at(
            lambda x: x.square().sum(1) / 2, torch.randn(20_000, 50, generator=rng)
        )
        for k in range(1, 401):
            # Normalised but for a constant: log Z stays where it is.
            energy = GaussianMixture(((3 * k / 400,) * 50,), (1 + 3 * k / 400) ** -0.5)
            walkers = move_and_reweight(ULA(0.1), energy, walkers, 1, rng).walkers
            walkers, resampled = resample_below(walkers, 0.5, rng)
            count += resampled
        errors.append(log_mean_weight(walkers.log_w).item())
        counts.append(count)
    print("errors", errors, "resamplings", counts)
    assert abs(sum(errors) / 6) < 0.08
    assert 170 < min(counts) <= max(counts) < 210
