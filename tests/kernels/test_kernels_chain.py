"""A chain is its steps, says what it did, and keeps nothing."""

import gc

import pytest
import torch

from boltzwalk.energies.analytic import GumbelProduct
from boltzwalk.kernels import MALA, ULA, run_chain
from boltzwalk.walkers import walkers_at
from statistics_helpers import assert_same_walkers


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 2)])
def test_a_chain_is_its_steps(rng, steps, shape):
    def energy(x):
        return (x + torch.exp(-x)).reshape(len(x), -1).sum(1)

    kernel = MALA(0.8)
    start = walkers = walkers_at(energy, torch.randn(50, *shape, generator=rng))
    moved, info = run_chain(kernel, energy, walkers, steps, torch.Generator().manual_seed(7))
    stream, acceptance, sizes = torch.Generator().manual_seed(7), [], []
    for _ in range(steps):
        sizes.append(walkers.grad.reshape(50, -1).norm(dim=1).mean())
        walkers, step = kernel.step(energy, walkers, stream)
        acceptance.append(step.acceptance.mean())
    assert_same_walkers(moved, walkers)
    torch.testing.assert_close(info.acceptance, torch.stack(acceptance).mean())
    torch.testing.assert_close(info.gradient_first, start.grad.reshape(50, -1).norm(dim=1).mean())
    torch.testing.assert_close(info.gradient_mean, torch.stack(sizes).mean())
    torch.testing.assert_close(info.gradient_last, walkers.grad.reshape(50, -1).norm(dim=1).mean())
    distance = (walkers.x - start.x).reshape(50, -1).norm(dim=1).mean()
    torch.testing.assert_close(info.displacement, distance)
    assert all(number.shape == () for number in info)


def test_without_diagnosis_only_the_acceptance_is_known(rng):
    energy = GumbelProduct(2)
    walkers = walkers_at(energy, energy.sample(50, rng))
    a, full = run_chain(MALA(0.8), energy, walkers, 5, torch.Generator().manual_seed(7))
    b, bare = run_chain(
        MALA(0.8), energy, walkers, 5, torch.Generator().manual_seed(7), diagnose=False
    )
    assert_same_walkers(a, b)
    assert bare.acceptance == full.acceptance
    assert torch.stack(bare[1:]).isnan().all()
    assert torch.stack(full).isfinite().all()


@pytest.mark.parametrize("steps", [0, -1])
def test_a_chain_has_steps(rng, steps):
    energy = GumbelProduct(2)
    with pytest.raises(ValueError, match=f"steps >= 1, got {steps}; write steps=1"):
        run_chain(ULA(0.1), energy, walkers_at(energy, torch.zeros(3, 2)), steps, rng)


def test_memory_does_not_grow_with_the_chain(rng):
    """However long the chain, no more tensors are alive at its end than at its third step."""
    alive = []

    def energy(x):
        gc.collect()
        alive.append(sum(type(thing) is torch.Tensor for thing in gc.get_objects()))
        return (x + torch.exp(-x)).sum(-1)

    gc.freeze()  # what lives already need not be looked at
    walkers = walkers_at(energy, torch.randn(4, 2, generator=rng))
    run_chain(MALA(0.5), energy, walkers, 12, rng, check=False)
    gc.unfreeze()
    assert len(alive) == 13
    assert alive[3] == alive[-1]
