"""Discriminator optimal transport against its formula and its limits."""

import pytest
import torch

from boltzwalk.energies.analytic import GumbelProduct
from boltzwalk.kernels import Transport, run_chain
from boltzwalk.walkers import walkers_at


@pytest.mark.parametrize("sphere", [True, False])
def test_steps_are_descent_of_energy_and_way(rng, sphere):
    """By autograd of U(z) + |z - z0 + 0.001|, three times."""
    energy, z0 = GumbelProduct(3), torch.randn(20, 3, generator=rng)
    kernel = Transport(0.05, sphere)
    found, _ = run_chain(kernel, energy, walkers_at(energy, z0), 3, rng)
    z = z0
    for _ in range(3):
        z = z.detach().requires_grad_()
        whole = energy(z) + (z - z0 + 1e-3).norm(dim=1)
        (slope,) = torch.autograd.grad(whole.sum(), z)
        if sphere:
            unit = z / z.norm(dim=1, keepdim=True)
            slope = slope - (slope * unit).sum(1, keepdim=True) * unit
        z = z - 0.05 * slope
    torch.testing.assert_close(found.x, z.detach())


def test_short_steps_stay_on_the_sphere(rng):
    energy, z0 = GumbelProduct(5), torch.randn(50, 5, generator=rng)
    found, _ = run_chain(Transport(1e-4), energy, walkers_at(energy, z0), 200, rng)
    torch.testing.assert_close(found.x.norm(dim=1), z0.norm(dim=1), rtol=1e-4, atol=0)
    before, after = (energy(z) + (z - z0 + 1e-3).norm(dim=1) for z in (z0, found.x))
    assert (after <= before + 1e-4).all()  # around the tip of the cone it swings by a step
    assert (before - after).mean() > 0.01


def test_a_weak_energy_does_not_pay_for_the_way(rng):
    """The way has the slope 1: walkers whose energy has less return to where they started."""
    slope = torch.tensor([0.5, 0.0])
    z0 = torch.randn(20, 2, generator=rng)
    kernel, start = Transport(0.001, sphere=False), walkers_at(lambda z: z @ slope, z0)
    found, _ = run_chain(kernel, lambda z: z @ slope, start, 500, rng)
    assert (found.x - z0).norm(dim=1).max() < 0.01
    found, _ = run_chain(
        kernel, lambda z: 4 * z @ slope, walkers_at(lambda z: 4 * z @ slope, z0), 500, rng
    )
    assert (found.x - z0).norm(dim=1).min() > 0.4


def test_a_step_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="Transport needs a finite step_size > 0"):
        Transport(0.0)
