"""Kinetic Langevin: one step against a hand-written map, its limits, its stationary law."""

import math

import numpy as np
import pytest
import torch

from boltzwalk.energies.analytic import Gaussian, GumbelProduct
from boltzwalk.kernels import ULA, KineticLangevin, run_chain
from boltzwalk.walkers import walkers_at
from statistics_helpers import TemperedGumbel, assert_mean, assert_same_walkers


def one_step(x, v, noise, h, friction, u, temperature):
    """Position, kick, OU, kick, position for the Gumbel product, in numpy."""
    c = np.exp(-friction * h)
    x = x + h / 2 * v
    gradient = 1 - np.exp(-x)
    v = v - h / 2 * u * gradient
    v = c * v + np.sqrt(1 - c**2) * np.sqrt(u * temperature) * noise
    v = v - h / 2 * u * gradient
    return x + h / 2 * v, v


@pytest.mark.parametrize("substeps", [1, 2, 3])
def test_a_step_is_the_published_map(rng, substeps):
    energy, h, friction, u, temperature = GumbelProduct(3), 0.4, 1.3, 0.6, 0.7
    x, v = energy.sample(20, rng), torch.randn(20, 3, generator=rng)
    walkers = walkers_at(energy, x, memory=(v,))
    kernel = KineticLangevin(h, friction, u, temperature, substeps)
    moved, info = kernel.step(energy, walkers, torch.Generator().manual_seed(7))
    stream, y, w = torch.Generator().manual_seed(7), x.numpy(), v.numpy()
    for _ in range(substeps):
        noise = torch.randn(20, 3, generator=stream).numpy()
        y, w = one_step(y, w, noise, h, friction, u, temperature)
    torch.testing.assert_close(moved.x, torch.from_numpy(y))
    torch.testing.assert_close(moved.memory[0], torch.from_numpy(w))
    assert info.accepted.all()
    assert torch.equal(info.acceptance, torch.ones(20))


def test_the_first_velocity_is_drawn_from_its_marginal(rng):
    """By a step so short that nothing else happens."""
    u, temperature = 0.6, 0.7
    kernel = KineticLangevin(1e-9, 1.0, u, temperature)
    moved, _ = kernel.step(
        GumbelProduct(2),
        walkers_at(GumbelProduct(2), torch.zeros(9, 2)),
        torch.Generator().manual_seed(7),
    )
    drawn = torch.randn(9, 2, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(
        moved.memory[0], math.sqrt(u * temperature) * drawn, atol=1e-3, rtol=0
    )


def test_substeps_are_steps_that_share_gradients(rng):
    energy = GumbelProduct(2)
    walkers = walkers_at(
        energy, energy.sample(30, rng), memory=(torch.randn(30, 2, generator=rng),)
    )
    one, ten = KineticLangevin(0.3, 1.0), KineticLangevin(0.3, 1.0, substeps=10)
    a, _ = run_chain(one, energy, walkers, 10, torch.Generator().manual_seed(7))
    b, _ = ten.step(energy, walkers, torch.Generator().manual_seed(7))
    assert_same_walkers(a, b)
    assert (10 * one.gradients, ten.gradients) == (20, 11)


def test_without_friction_the_scheme_is_reversible(rng):
    energy = GumbelProduct(2)
    x, v = energy.sample(10, rng), torch.randn(10, 2, generator=rng)
    kernel = KineticLangevin(0.3, friction=1e-30, substeps=8)
    there, _ = kernel.step(energy, walkers_at(energy, x, memory=(v,)), rng)
    back, _ = kernel.step(energy, walkers_at(energy, there.x, memory=(-there.memory[0],)), rng)
    torch.testing.assert_close(back.x, x)
    torch.testing.assert_close(-back.memory[0], v)


def test_with_infinite_friction_the_middle_points_are_a_ula_chain(rng):
    """Positions x + h v / 2 move by ULA steps of u h² / 2."""
    energy, h, u, temperature = GumbelProduct(2), 0.5, 0.8, 0.6
    kernel = KineticLangevin(h, 1e6, u, temperature)
    v = torch.randn(40, 2, generator=rng)
    walkers = walkers_at(energy, energy.sample(40, rng), memory=(v,))
    middle = walkers_at(energy, walkers.x + h / 2 * v)
    for seed in range(5):
        walkers, _ = kernel.step(energy, walkers, torch.Generator().manual_seed(seed))
        ula = ULA(u * h**2 / 2, temperature)
        middle, _ = ula.step(energy, middle, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(walkers.x + h / 2 * walkers.memory[0], middle.x)


@pytest.mark.parametrize("friction", [1.0, 100.0])
def test_positions_keep_the_variance_of_a_gaussian_at_a_step_of_one(friction):
    """On N(0, I) the end positions have variance 1 at every h, the velocities 1 / (1 - h² / 4)."""
    rng, energy, h = torch.Generator().manual_seed(0), Gaussian(20), 1.0
    spread = 1 / (1 - h**2 / 4)
    v = math.sqrt(spread) * torch.randn(10_000, 20, generator=rng)
    walkers = walkers_at(energy, energy.sample(10_000, rng), memory=(v,))
    walkers, _ = run_chain(KineticLangevin(h, friction), energy, walkers, 8, rng)
    assert_mean(walkers.x.square().mean(1), 1.0, "Var[x]")
    assert_mean(walkers.memory[0].square().mean(1), spread, "Var[v]")
    assert_mean((walkers.x * walkers.memory[0]).mean(1), 0.0, "Cov[x, v]")


def test_the_variance_is_reached_from_afar():
    """From a point and an empty memory: the published bound of 1 % at h = 1."""
    rng, energy = torch.Generator().manual_seed(0), Gaussian(20)
    walkers = walkers_at(energy, torch.full((10_000, 20), 2.0))
    walkers, _ = KineticLangevin(1.0, 1.0, substeps=40).step(energy, walkers, rng)
    assert_mean(walkers.x.square().mean(1), 1.0, "Var[x]")
    assert abs(walkers.x.square().mean() - 1) < 0.01


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_small_step_leaves_a_skewed_target_invariant(temperature):
    rng, energy = torch.Generator().manual_seed(0), GumbelProduct(2)
    target = TemperedGumbel(2, temperature)
    walkers = walkers_at(energy, target.sample(20_000, rng))
    kernel = KineticLangevin(0.05, 1.0, inverse_mass=1.5, temperature=temperature, substeps=40)
    walkers, _ = kernel.step(energy, walkers, rng)
    target.assert_samples(walkers.x)
    assert_mean(walkers.memory[0].square().mean(1), 1.5 * temperature, "Var[v]")
