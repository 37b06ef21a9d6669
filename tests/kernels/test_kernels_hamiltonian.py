"""Hamiltonian Monte Carlo: reversible, volume preserving, of second order, and MALA at L = 1."""

import itertools
import math

import pytest
import torch

from boltzwalk.energies.analytic import GumbelProduct
from boltzwalk.kernels import HMC, MALA, leapfrog
from boltzwalk.walkers import walkers_at
from statistics_helpers import assert_same_walkers


def hamiltonian(energy, x, p):
    return energy(x) + p.square().sum(-1) / 2


def textbook_leapfrog(energy, x, p, h, steps):
    """Two gradients a step, nothing cached."""
    gradient = torch.func.grad(lambda x: energy(x).sum())
    for _ in range(steps):
        p = p - h / 2 * gradient(x)
        x = x + h * p
        p = p - h / 2 * gradient(x)
    return x, p


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_leapfrog_is_the_textbook_one(rng, steps):
    energy = GumbelProduct(3)
    x, p = energy.sample(20, rng), torch.randn(20, 3, generator=rng)
    before = p.clone()
    walkers, momentum = leapfrog(energy, walkers_at(energy, x), p, 0.3, steps)
    expected_x, expected_p = textbook_leapfrog(energy, x, p, 0.3, steps)
    torch.testing.assert_close(walkers.x, expected_x)
    torch.testing.assert_close(momentum, expected_p)
    assert_same_walkers(walkers, walkers_at(energy, expected_x))
    assert torch.equal(p, before)


def test_leapfrog_is_reversible(rng):
    energy = GumbelProduct(3)
    x, p = energy.sample(20, rng), torch.randn(20, 3, generator=rng)
    there, q = leapfrog(energy, walkers_at(energy, x), p, 0.3, 15)
    assert (there.x - x).norm(dim=1).mean() > 0.5
    back, turned = leapfrog(energy, there, -q, 0.3, 15)
    torch.testing.assert_close(back.x, x)
    torch.testing.assert_close(-turned, p)
    rewound, _ = leapfrog(energy, there, q, -0.3, 15)
    torch.testing.assert_close(rewound.x, x)


def test_leapfrog_keeps_volume(rng):
    """The Jacobian of (x, p) -> (x', p') by central differences has determinant 1."""
    energy, d, delta = GumbelProduct(2), 2, 1e-5
    z = torch.cat([energy.sample(1, rng), torch.randn(1, d, generator=rng)], 1)
    shifts = torch.cat([delta * torch.eye(2 * d), -delta * torch.eye(2 * d)])
    starts = z + shifts
    walkers, p = leapfrog(energy, walkers_at(energy, starts[:, :d]), starts[:, d:], 0.4, 6)
    ends = torch.cat([walkers.x, p], 1)
    jacobian = (ends[: 2 * d] - ends[2 * d :]) / (2 * delta)
    assert (jacobian - torch.eye(2 * d)).abs().max() > 0.5
    assert abs(torch.linalg.det(jacobian).item() - 1) < 1e-7


def test_the_energy_error_is_of_second_order(rng):
    energy = GumbelProduct(2)
    x, p = energy.sample(200, rng), torch.randn(200, 2, generator=rng)
    errors = []
    for steps in (40, 80, 160):
        walkers, q = leapfrog(energy, walkers_at(energy, x), p, 1.0 / steps, steps)
        change = hamiltonian(energy, walkers.x, q) - hamiltonian(energy, x, p)
        errors.append(change.square().mean().sqrt().item())
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_a_step_accepts_by_the_hamiltonian(rng, temperature):
    energy, h, steps = GumbelProduct(3), 0.7, 4
    x = energy.sample(300, rng)
    stream = torch.Generator().manual_seed(7)
    p = math.sqrt(temperature) * torch.randn(300, 3, generator=stream)
    u = torch.rand(300, generator=stream)
    y, q = textbook_leapfrog(energy, x, p, h, steps)
    lost = hamiltonian(energy, x, p) - hamiltonian(energy, y, q)
    kernel = HMC(h, steps, temperature)
    moved, info = kernel.step(energy, walkers_at(energy, x), torch.Generator().manual_seed(7))
    torch.testing.assert_close(info.acceptance, (lost / temperature).exp().clamp(max=1))
    assert torch.equal(info.accepted, u < info.acceptance)
    assert 0 < info.accepted.sum() < 300
    torch.testing.assert_close(moved.x, torch.where(info.accepted[:, None], y, x))


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_one_leapfrog_step_is_a_mala_step(rng, temperature):
    energy, h = GumbelProduct(3), 0.9
    a = b = walkers_at(energy, energy.sample(100, rng))
    for seed in range(5):
        stream = torch.Generator().manual_seed(seed)
        a, first = HMC(h, 1, temperature).step(energy, a, stream)
        stream = torch.Generator().manual_seed(seed)
        b, second = MALA(h**2 / 2, temperature).step(energy, b, stream)
        torch.testing.assert_close(first.acceptance, second.acceptance)
        assert_same_walkers(a, b)
