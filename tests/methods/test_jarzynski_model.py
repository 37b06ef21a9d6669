"""Weighted walkers: what they stand for, and what a model learns from them."""

import math
from dataclasses import replace

import pytest
import torch
from weighted_cases import RARELY, Counted, Net, Normal, Still, relaxed, start, weighted

from boltzwalk.energies.learnt_mixture import LearntMixture
from boltzwalk.kernels import MALA, ULA
from boltzwalk.method import Batch
from boltzwalk.methods import jarzynski
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski, Weighted
from boltzwalk.smc.reweighting import move_and_reweight
from boltzwalk.walkers import effective_sample_size, log_mean_weight, walkers_at
from statistics_helpers import assert_mean, assert_same_walkers

EXACT = MALA(0.3)


# What the walkers stand for.


def followed(walkers, size=20_000, kernel=EXACT):
    """A population that has followed a path of Gaussians set by hand, unevenly weighted."""
    energy, data = Normal(1), torch.randn(4, 1)
    method = Jarzynski(ExactStart(size), kernel, walkers=walkers, threshold=RARELY)
    state, rng = start(method, energy, data)
    for k in range(1, 7):
        energy.set(1 + 0.15 * k, 0.3 * k)
        _, state, _ = method.step(energy, Batch(data), state, rng)
    return method, energy, state, rng


@pytest.mark.parametrize("walkers", [0, 5000])
def test_the_population_stands_for_the_model_and_for_others(walkers):
    """Weighted moments of the energy that learnt, and of one near it, such as its average."""
    method, energy, state, _ = followed(walkers)
    other = Normal(1, 1.7, 1.5)
    for model in (energy, other):
        population = method.weighted_walkers(model, state)
        torch.testing.assert_close(population.x, state.walkers.x)
        mean, variance = (model.b / model.a).item(), 1 / model.a.item()
        w = torch.exp(population.log_w - model.log_z)
        deviation = population.x[:, 0] - mean
        assert effective_sample_size(population.log_w) < 19_000
        assert_mean(w, 1.0, "Z")
        assert_mean(w * deviation, 0.0, "mean")
        assert_mean(w * (deviation.square() - variance), 0.0, "variance")
        assert_mean(w * deviation**3, 0.0, "third moment")
    assert len(method.weighted_walkers(energy, state)) == 20_000


def test_the_population_has_the_temperature_of_the_kernel():
    energy, other, data = Net(0), Net(1), torch.randn(8, 3)
    method = relaxed(40, kernel=ULA(0.1, temperature=0.5), threshold=RARELY)
    state, _ = start(method, energy, data)
    state = weighted(state.walkers, torch.linspace(-1, 1, 40))
    x, log_w = state.walkers.x, state.walkers.log_w
    gain = (energy(x) - other(x)).detach() / 0.5
    assert_same_walkers(method.weighted_walkers(other, state), walkers_at(other, x, log_w + gain))


def test_a_population_is_evaluated_in_parts(monkeypatch):
    method, energy, state, _ = followed(0, size=50)
    whole = method.weighted_walkers(energy, state)
    monkeypatch.setattr(jarzynski, "AT_ONCE", 7)
    counted = Counted()
    assert_same_walkers(method.weighted_walkers(energy, state), whole)
    method.weighted_walkers(counted, state)
    assert counted.largest == 7


@pytest.mark.parametrize("walkers", [0, 5000])
def test_samples_are_of_the_model_in_equal_weight(walkers):
    method, energy, state, rng = followed(walkers)
    drawn = method.sample(energy, Batch(torch.randn(4, 1)), state, 2000, rng, steps=2)
    assert not drawn.log_w.any()
    assert len(drawn) == 2000
    mean, variance = (energy.b / energy.a).item(), 1 / energy.a.item()
    deviation = drawn.x[:, 0] - mean
    assert_mean(deviation, 0.0, "mean")
    assert_mean(deviation.square(), variance, "variance")
    assert_same_walkers(drawn, walkers_at(energy, drawn.x))
    # Without the weights they would be those of the past.
    unweighted = state.walkers.x[:, 0].mean().item()
    assert abs(unweighted - mean) > 5 * math.sqrt(variance / 2000)


def test_samples_take_as_many_steps_as_asked_for_and_else_those_of_training():
    method, energy, state, _ = followed(0, size=50, kernel=ULA(0.1))
    method, data = replace(method, steps=3), torch.randn(4, 1)

    def draw(**options):
        return method.sample(
            energy, Batch(data), state, 20, torch.Generator().manual_seed(4), **options
        )

    assert_same_walkers(draw(), draw(steps=3))
    assert (draw().x != draw(steps=4).x).any()


def test_walkers_of_equal_weight_are_drawn_once_each():
    energy = Normal(1)
    x = torch.arange(100.0)[:, None]
    method = Jarzynski(ExactStart(100), ULA(1e-20))
    state = Weighted(walkers_at(energy, x), torch.tensor(0))
    data, rng = torch.randn(4, 1), torch.Generator().manual_seed(0)
    for n in (100, 30):
        drawn = method.sample(energy, Batch(data), state, n, rng).x[:, 0].round()
        assert len(drawn.unique()) == n
    assert drawn.max() > 40, "not the first ones only"


def test_samples_that_nothing_stands_for_are_refused():
    method, energy, state, rng = followed(0, size=50)
    data = torch.randn(4, 1)
    with pytest.raises(ValueError, match="the run holds 50 walkers, asked for 51 samples"):
        method.sample(energy, Batch(data), state, 51, rng)
    with pytest.raises(ValueError, match="chains from noise do not; draw samples without --noise"):
        method.sample(energy, Batch(data), state, 10, rng, from_noise=True)


# What learns.


class Halves(LearntMixture):
    """Draws the same number from each of two modes: no chance in the masses of the start."""

    def sample(self, n, rng):
        x = torch.randn(n, self.means.shape[1], generator=rng)
        return x + self.means.detach()[torch.arange(n) % 2]


def wells(seed):
    """Two modes far apart, equal in the first model, at 3 : 1 in the data; only z is learnt."""
    means = torch.tensor([[6.0, 0.0], [-10.0, 0.0]])
    energy, rng = Halves(means), torch.Generator().manual_seed(seed)
    energy.means.requires_grad_(False)
    left = torch.arange(1000) < 250
    return energy, means[left.long()] + torch.randn(1000, 2, generator=rng), rng


@pytest.mark.slow
def test_masses_of_modes_that_no_walker_crosses_are_learnt():
    """K eta = 50 as published, in a quarter of the updates."""
    for seed in range(2):
        energy, data, rng = wells(seed)
        method = Jarzynski(ExactStart(1000), ULA(0.1))
        state = method.init(energy, Batch(data), rng)
        optimizer = torch.optim.SGD([energy.zeta], 0.05)
        for _ in range(1000):
            loss, state, info = method.step(energy, Batch(data), state, rng)
            log_z = energy.log_z
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert abs(energy.masses[1].item() - 0.25) < 0.005
        assert abs(info["log_z"].item() - log_z) < 0.01


@pytest.mark.slow
def test_without_weights_a_level_drifts_for_ever():
    """z = K eta (1/2 - 1/4): as many walkers as ever stay left, whatever the model says."""
    energy, data, rng = wells(0)
    walkers = walkers_at(energy, energy.sample(1000, rng))
    optimizer = torch.optim.SGD([energy.zeta], 0.05)
    for _ in range(1000):
        walkers, _ = ULA(0.1).step(energy, walkers_at(energy, walkers.x), rng)
        loss = energy(data).mean() - energy(walkers.x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert energy.levels[1].item() == pytest.approx(12.5, abs=1e-3)
    assert energy.masses[1] < 1e-5


@pytest.mark.slow
def test_walkers_that_steer_are_biased_and_those_that_watch_are_not():
    """log Z is off by -eta K d (1 - eta / h) / N: what noise moves, noise then measures.

    The factor is the memory of theta, which has drifted after the noise of the last 1 / h steps.
    """
    for size, seeds in ((1000, 2), (250, 6)):
        bias, witness = [], []
        for seed in range(seeds):
            rng = torch.Generator().manual_seed(seed)
            energy, data = Still(10), torch.zeros(2, 10)
            method = Jarzynski(ExactStart(size), ULA(0.1), threshold=0.3)
            state = method.init(energy, Batch(data), rng)
            watching = walkers_at(energy, energy.sample(1000, rng))
            optimizer = torch.optim.SGD(energy.parameters(), 0.01)
            for _ in range(500):
                loss, state, info = method.step(energy, Batch(data), state, rng)
                watching = move_and_reweight(ULA(0.1), energy, watching, 1, rng).walkers
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            assert state.resamplings == 0
            bias.append(info["log_z"].item() - energy.log_z)
            witness.append(log_mean_weight(watching.log_w).item())
        mean = sum(bias) / seeds
        assert abs(mean - (-0.01 * 500 * 10 * (1 - 0.1) / size)) < 0.015
        assert abs(sum(witness) / seeds) < 0.01
