"""Langevin kernels: exact identities, oracles written with torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal

from boltzwalk.energies.analytic import Gaussian, GumbelProduct
from boltzwalk.kernels import MALA, ULA, langevin_log_ratio, langevin_proposal, noise_temperature
from boltzwalk.walkers import walkers_at
from statistics_helpers import assert_same_walkers


def log_q(energy, x, y, step_size, temperature):
    """The log-density of the proposal from x to y."""
    mean = x - step_size * walkers_at(energy, x).grad
    return Normal(mean, math.sqrt(2 * step_size * temperature)).log_prob(y).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("step_size", [1e-4, 0.2])
@pytest.mark.parametrize("after", [GumbelProduct(3), Gaussian(3, 0.5, 2.0)])
def test_log_ratio_is_that_of_the_densities(rng, after, step_size, temperature):
    """One energy gives the Metropolis-Hastings ratio, two the Jarzynski increment."""
    before = GumbelProduct(3)
    x, y = before.sample(50, rng), before.sample(50, rng)
    old, new = walkers_at(before, x), walkers_at(after, y)
    expected = (
        (before(x) - after(y)) / temperature
        + log_q(after, y, x, step_size, temperature)
        - log_q(before, x, y, step_size, temperature)
    )
    torch.testing.assert_close(
        langevin_log_ratio(old, new, step_size, temperature), expected, rtol=1e-6, atol=1e-6
    )


def test_log_ratio_of_the_reversed_move_is_its_negative(rng):
    energy = GumbelProduct(3)
    a, b = walkers_at(energy, energy.sample(9, rng)), walkers_at(energy, energy.sample(9, rng))
    torch.testing.assert_close(
        langevin_log_ratio(a, b, 0.3, 0.7), -langevin_log_ratio(b, a, 0.3, 0.7)
    )


def test_log_ratio_keeps_its_digits_at_small_steps(rng):
    """In float32 the naive difference of squares loses them all at a step of 1e-8."""
    energy, step_size = GumbelProduct(10), 1e-8
    x = energy.sample(200, rng)
    noise = torch.randn(x.shape, generator=rng)
    results = []
    for dtype in (torch.float64, torch.float32):
        old = walkers_at(energy, x.to(dtype))
        new = walkers_at(energy, (x + math.sqrt(2 * step_size) * noise).to(dtype))
        work = langevin_log_ratio(old, new, step_size) - (old.energy - new.energy)
        results.append(work.double())
    assert (results[0] - results[1]).abs().max() < 1e-5


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_the_noise_is_the_generators_own(rng, temperature):
    energy, step_size = GumbelProduct(2), 0.3
    walkers = walkers_at(energy, energy.sample(10, rng))
    y = langevin_proposal(walkers, step_size, temperature, torch.Generator().manual_seed(7))
    noise = torch.randn(10, 2, generator=torch.Generator().manual_seed(7))
    expected = walkers.x - step_size * walkers.grad + (2 * step_size * temperature) ** 0.5 * noise
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_ula_takes_the_proposal(rng, temperature):
    energy = GumbelProduct(2)
    walkers = walkers_at(energy, energy.sample(10, rng))
    y = langevin_proposal(walkers, 0.3, temperature, torch.Generator().manual_seed(7))
    moved, info = ULA(0.3, temperature).step(energy, walkers, torch.Generator().manual_seed(7))
    assert torch.equal(moved.x, y)
    assert info.accepted.all()
    assert torch.equal(info.acceptance, torch.ones(10))


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_mala_accepts_by_the_ratio_of_the_densities(rng, temperature):
    energy, step_size = GumbelProduct(2), 0.8
    x = energy.sample(400, rng)
    walkers, stream = walkers_at(energy, x), torch.Generator().manual_seed(7)
    y = langevin_proposal(walkers, step_size, temperature, stream)
    u = torch.rand(400, generator=stream)
    ratio = (
        (energy(x) - energy(y)) / temperature
        + log_q(energy, y, x, step_size, temperature)
        - log_q(energy, x, y, step_size, temperature)
    )
    kernel = MALA(step_size, temperature)
    moved, info = kernel.step(energy, walkers, torch.Generator().manual_seed(7))
    torch.testing.assert_close(info.acceptance, ratio.exp().clamp(max=1))
    assert torch.equal(info.accepted, u < info.acceptance)
    assert 0 < info.accepted.sum() < 400
    assert torch.equal(moved.x, torch.where(info.accepted[:, None], y, x))


def test_the_scaled_energy_and_the_small_step_give_the_same_chain(rng):
    """x - ∇F + εz is Langevin for U = 2F / ε², written x - (ε²/2) ∇U + εz."""
    noise = 0.1

    def network(x):
        return 0.02 * (x.sin() + x.square()).sum(-1)

    def scaled(x):
        return 2 * network(x) / noise**2

    x = torch.randn(20, 2, generator=rng)
    f_form = ULA(step_size=1.0, temperature=noise_temperature(1.0, noise))
    u_form = ULA(step_size=noise**2 / 2)
    a, b = walkers_at(network, x), walkers_at(scaled, x)
    for seed in range(10):
        z = torch.randn(20, 2, generator=torch.Generator().manual_seed(seed))
        literal = a.x - a.grad + noise * z
        a, _ = f_form.step(network, a, torch.Generator().manual_seed(seed))
        b, _ = u_form.step(scaled, b, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(a.x, literal)
    torch.testing.assert_close(a.x, b.x)
    assert (a.x - x).norm(dim=1).mean() > noise


def test_noise_temperature_of_published_settings():
    assert noise_temperature(step_size=1.0, noise=0.01) == pytest.approx(5e-5)
    assert noise_temperature(step_size=10.0, noise=0.005) == pytest.approx(1.25e-6)
    for step_size in (0.1, 3.0):
        assert noise_temperature(step_size, math.sqrt(2 * step_size)) == pytest.approx(1.0)


def test_the_clip_clamps_each_component_of_the_gradient(rng):
    def energy(x):
        return (torch.tensor([0.2, 30.0, -40.0]) * x).sum(-1)

    walkers = walkers_at(energy, torch.zeros(5, 3))
    kernel = ULA(0.1, gradient_clip=0.5)
    moved, _ = kernel.step(energy, walkers, torch.Generator().manual_seed(7))
    free, _ = ULA(0.1).step(
        lambda x: 0 * x.sum(-1),
        walkers_at(lambda x: 0 * x.sum(-1), walkers.x),
        torch.Generator().manual_seed(7),
    )
    torch.testing.assert_close(moved.x - free.x, -0.1 * torch.tensor([0.2, 0.5, -0.5]).expand(5, 3))
    torch.testing.assert_close(moved.grad, torch.tensor([0.2, 30.0, -40.0]).expand(5, 3))


def test_the_box_clamps_the_positions_after_the_move(rng):
    energy = GumbelProduct(2)
    walkers = walkers_at(energy, torch.zeros(200, 2))
    free, _ = ULA(0.5).step(energy, walkers, torch.Generator().manual_seed(7))
    boxed, _ = ULA(0.5, box=(-0.5, 0.8)).step(energy, walkers, torch.Generator().manual_seed(7))
    assert free.x.min() < -0.5
    assert free.x.max() > 0.8
    assert_same_walkers(boxed, walkers_at(energy, free.x.clamp(-0.5, 0.8)))
