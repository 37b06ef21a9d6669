"""The step size reaches its target from both sides."""

import pytest
import torch

from boltzwalk.energies.analytic import Gaussian
from boltzwalk.kernels import (
    HMC,
    MALA,
    ULA,
    Descent,
    Independence,
    KineticLangevin,
    adapt_step_size,
    run_chain,
)
from boltzwalk.walkers import walkers_at


def acceptance(kernel, energy, rng):
    """The acceptance of the frozen kernel on exact samples."""
    walkers = walkers_at(energy, energy.sample(2000, rng))
    return run_chain(kernel, energy, walkers, 5, rng)[1].acceptance.item()


@pytest.mark.parametrize("factor", [0.01, 1.0, 20.0])
@pytest.mark.parametrize(
    ("kernel", "target"),
    [(MALA(0.5), None), (HMC(0.5, 5), None), (MALA(0.5), 0.8), (HMC(0.5, 5), 0.651)],
)
def test_the_target_is_reached(rng, kernel, target, factor):
    energy = Gaussian(20)
    first = (
        type(kernel)(kernel.step_size * factor)
        if isinstance(kernel, MALA)
        else HMC(0.5 * factor, 5)
    )
    walkers = walkers_at(energy, energy.sample(300, rng))
    adapted, walkers = adapt_step_size(first, energy, walkers, 100, rng, target)
    expected = target or {MALA: 0.574, HMC: 0.8}[type(kernel)]
    assert acceptance(adapted, energy, rng) == pytest.approx(expected, abs=0.03)
    assert len(walkers) == 300


def test_nothing_but_the_step_changes(rng):
    energy = Gaussian(5)
    walkers = walkers_at(energy, energy.sample(50, rng))
    adapted, moved = adapt_step_size(HMC(0.3, 7, 0.5), energy, walkers, 10, rng)
    assert (adapted.leapfrog_steps, adapted.temperature) == (7, 0.5)
    assert adapted.step_size != 0.3
    assert (moved.x != walkers.x).any()


def test_the_recursion(rng):
    """Three steps by hand: the gain, its decay and the average over the second half."""
    energy = Gaussian(5)
    walkers = walkers_at(energy, energy.sample(50, rng))
    adapted, _ = adapt_step_size(MALA(0.3), energy, walkers, 3, torch.Generator().manual_seed(7))
    stream, log_step, tried = torch.Generator().manual_seed(7), torch.tensor(0.3).log(), []
    for t in (1, 2, 3):
        walkers, info = MALA(log_step.exp().item()).step(energy, walkers, stream)
        log_step = log_step + 4 / t**0.6 * (info.acceptance.mean() - 0.574)
        tried.append(log_step)
    expected = ((tried[1] + tried[2]) / 2).exp().item()
    assert adapted.step_size == pytest.approx(expected)


@pytest.mark.parametrize(
    "kernel",
    [ULA(0.1), KineticLangevin(0.1, 1.0), Descent(0.1), Independence(Gaussian(2))],
)
def test_kernels_that_always_accept_have_nothing_to_adapt(rng, kernel):
    energy = Gaussian(2)
    with pytest.raises(ValueError, match=r"accept step, got \w+\(.*; write MALA"):
        adapt_step_size(kernel, energy, walkers_at(energy, torch.zeros(3, 2)), 5, rng)


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, 1.5])
def test_the_target_is_a_probability(rng, target):
    energy = Gaussian(2)
    with pytest.raises(ValueError, match=f"between 0 and 1, got {target}; write target=0.574"):
        adapt_step_size(MALA(0.1), energy, walkers_at(energy, torch.zeros(3, 2)), 5, rng, target)


def test_there_are_steps_to_adapt_in(rng):
    energy = Gaussian(2)
    with pytest.raises(ValueError, match="steps >= 1, got 0; write steps=100"):
        adapt_step_size(MALA(0.1), energy, walkers_at(energy, torch.zeros(3, 2)), 0, rng)
