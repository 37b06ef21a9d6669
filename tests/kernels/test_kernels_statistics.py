"""Calibrated statistics: exact start, skewed target, independent walkers, 5 standard errors."""

import math

import pytest
import torch

from boltzwalk.energies.analytic import Gaussian, GumbelProduct
from boltzwalk.kernels import HMC, MALA, ULA, Independence, run_chain
from boltzwalk.walkers import walkers_at
from statistics_helpers import TemperedGumbel, assert_mean

INVARIANT = {
    "mala": lambda t: MALA(0.9 * t, t),
    "hmc": lambda t: HMC(1.3 * math.sqrt(t), 3, t),
    "independence": lambda t: Independence(Gaussian(2, 0.5, 1.6 * math.sqrt(t)), t),
}


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("name", INVARIANT)
def test_the_target_is_left_invariant(name, temperature):
    rng, energy, n = torch.Generator().manual_seed(0), GumbelProduct(2), 40_000
    kernel, target = INVARIANT[name](temperature), TemperedGumbel(2, temperature)
    assert kernel.invariant
    walkers, info = run_chain(kernel, energy, walkers_at(energy, target.sample(n, rng)), 15, rng)
    target.assert_samples(walkers.x)
    assert_mean((walkers.x - target.mean).prod(1), 0.0, "Cov[x_0, x_1]")
    assert 0.3 < info.acceptance < 0.95  # the accept step is exercised


@pytest.mark.parametrize("name", INVARIANT)
def test_walkers_are_accepted_one_by_one(name):
    """A number shared by the walkers would accept them all together."""
    rng, energy = torch.Generator().manual_seed(0), GumbelProduct(2)
    walkers = walkers_at(energy, torch.zeros(1, 2).expand(4000, 2))
    moved, info = INVARIANT[name](1.0).step(energy, walkers, rng)
    accepted, p = info.accepted.double(), info.acceptance
    uncertain = (p > 0.2) & (p < 0.8)
    assert uncertain.sum() > 200
    assert_mean((accepted - p)[uncertain], 0.0, "accepted - acceptance")
    assert torch.equal((moved.x != 0).any(1), info.accepted)
    assert len(moved.x[info.accepted].unique(dim=0)) == info.accepted.sum()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_ula_has_its_known_bias(temperature):
    """On N(0, I) the stationary variance is T / (1 - ε / 2) exactly."""
    rng, energy, step_size = torch.Generator().manual_seed(0), Gaussian(20), 0.6
    variance = temperature / (1 - step_size / 2)
    walkers = walkers_at(energy, math.sqrt(variance) * energy.sample(5_000, rng))
    walkers, _ = run_chain(ULA(step_size, temperature), energy, walkers, 10, rng)
    assert_mean(walkers.x.mean(1), 0.0, "E[x]")
    assert_mean(walkers.x.square().mean(1), variance, "Var[x]")


def test_mala_has_not(rng):
    energy = Gaussian(20)
    walkers = walkers_at(energy, energy.sample(5_000, rng))
    walkers, info = run_chain(MALA(0.6), energy, walkers, 15, rng)
    assert_mean(walkers.x.square().mean(1), 1.0, "Var[x]")
    assert info.acceptance == pytest.approx(0.47, abs=0.02)  # the published simulation


def test_hmc_accepts_as_published(rng):
    """N(0, I_20) at h = 0.9 with two leapfrog steps: more than 0.6; a stale cache gives 0.26."""
    energy = Gaussian(20)
    walkers = walkers_at(energy, energy.sample(5_000, rng))
    walkers, info = run_chain(HMC(0.9, 2), energy, walkers, 15, rng)
    assert_mean(walkers.x.square().mean(1), 1.0, "Var[x]")
    assert info.acceptance == pytest.approx(0.63, abs=0.03)
