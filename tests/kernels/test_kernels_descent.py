"""Descent: torch's own optimisers, one walker at a time."""

import pytest
import torch

from boltzwalk.energies.analytic import GumbelProduct
from boltzwalk.kernels import AdamDescent, Descent, run_chain
from boltzwalk.walkers import Walkers, cat, walkers_at
from statistics_helpers import assert_same_walkers


def optimise(make, energy, x, steps):
    """The positions after some steps of a torch optimiser."""
    x = x.clone().requires_grad_()
    optimizer = make([x])
    for _ in range(steps):
        optimizer.zero_grad()
        energy(x).sum().backward()
        optimizer.step()
    return x.detach()


@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_descent_is_gradient_descent(rng, momentum, steps):
    energy = GumbelProduct(3)
    x = energy.sample(20, rng)
    walkers, info = run_chain(Descent(0.1, momentum), energy, walkers_at(energy, x), steps, rng)

    def sgd(parameters):
        # torch's first velocity is the gradient itself; (1 - β) of it is ours
        lr = 0.1 * (1 - momentum)
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum)

    torch.testing.assert_close(walkers.x, optimise(sgd, energy, x, steps))
    assert info.acceptance == 1
    assert len(walkers.memory) == (1 if momentum else 0)


def test_the_momentum_is_an_average(rng):
    """At a constant gradient every momentum reaches the same speed."""
    slope = torch.tensor([3.0, -1.0])

    def energy(x):
        return (slope * x).sum(-1)

    for momentum in (0.0, 0.5, 0.9):
        walkers, _ = run_chain(
            Descent(0.1, momentum), energy, walkers_at(energy, torch.zeros(1, 2)), 400, rng
        )
        moved, _ = Descent(0.1, momentum).step(energy, walkers, rng)
        torch.testing.assert_close(moved.x - walkers.x, -0.1 * slope[None])


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_adam_descent_is_adam(rng, steps):
    energy = GumbelProduct(3)
    x = energy.sample(20, rng)
    kernel = AdamDescent(0.1, beta1=0.6, beta2=0.9, epsilon=0.01)
    walkers, _ = run_chain(kernel, energy, walkers_at(energy, x), steps, rng)

    def adam(parameters):
        return torch.optim.Adam(parameters, lr=0.1, betas=(0.6, 0.9), eps=0.01)

    torch.testing.assert_close(walkers.x, optimise(adam, energy, x, steps))


def test_every_walker_counts_its_own_steps(rng):
    """A walker that starts anew among old ones moves as it would alone."""
    energy, kernel = GumbelProduct(2), AdamDescent(0.1)
    old, _ = run_chain(kernel, energy, walkers_at(energy, energy.sample(4, rng)), 7, rng)
    x = energy.sample(3, rng)
    zero = (torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3))
    mixed, _ = kernel.step(energy, cat(old, walkers_at(energy, x, memory=zero)), rng)
    assert_same_walkers(mixed[4:], kernel.step(energy, walkers_at(energy, x), rng)[0])
    assert_same_walkers(mixed[:4], kernel.step(energy, old, rng)[0])
    assert mixed.memory[2].tolist() == [8.0] * 4 + [1.0] * 3


@pytest.mark.parametrize("kernel", [Descent(0.1), Descent(0.1, 0.5), AdamDescent(0.1)])
def test_no_random_number_is_drawn(rng, kernel):
    energy = GumbelProduct(2)
    before = rng.get_state()
    kernel.step(energy, walkers_at(energy, torch.zeros(3, 2)), rng)
    assert torch.equal(rng.get_state(), before)


@pytest.mark.parametrize("kernel", [Descent(0.1), Descent(0.1, 0.5), AdamDescent(0.05)])
def test_walkers_end_in_the_minimum(rng, kernel):
    energy = GumbelProduct(2)
    walkers, _ = run_chain(kernel, energy, walkers_at(energy, energy.sample(50, rng)), 500, rng)
    assert walkers.x.abs().max() < 1e-3


@pytest.mark.parametrize("kernel", [Descent(0.1, 0.5), AdamDescent(0.05)])
def test_a_foreign_memory_is_refused(rng, kernel):
    energy = GumbelProduct(2)
    walkers = walkers_at(energy, torch.zeros(3, 2), memory=(torch.zeros(3), torch.zeros(3)))
    assert isinstance(walkers, Walkers)
    with pytest.raises(ValueError, match=r"got \[\(3,\), \(3,\)\]; write dataclasses.replace"):
        kernel.step(energy, walkers, rng)
