"""The path of energies and the moves along it, against closed forms and exact samples."""

import math

import pytest
import torch

from boltzwalk.energies.analytic import Gaussian, GumbelProduct
from boltzwalk.energy import energy_and_grad
from boltzwalk.smc.annealing import AnnealingStage, EnergyPath, InterpolatedEnergy
from boltzwalk.walkers import walkers_at
from statistics_helpers import Counting, TemperedGumbel

WIDE = GumbelProduct(2)


def narrow(x):
    """Twice the energy: on the path the temperature is 1 / (1 + β)."""
    return 2 * WIDE(x)


def test_between_is_the_mixture_of_the_energies(rng):
    x = torch.randn(10, 2, generator=rng)
    energy = InterpolatedEnergy(WIDE, Gaussian(2), 0.3)
    torch.testing.assert_close(energy(x), 0.7 * WIDE(x) + 0.3 * Gaussian(2)(x))
    u, grad = energy_and_grad(energy, x)
    torch.testing.assert_close((u, grad), energy_and_grad(lambda x: energy(x), x))


def test_ends_are_both_energies_and_their_difference(rng):
    x = torch.randn(10, 2, generator=rng).float()
    ends = EnergyPath(WIDE, Gaussian(2), batch=3).energies_at(x)
    torch.testing.assert_close((ends.u0, ends.g0), energy_and_grad(WIDE, x))
    torch.testing.assert_close((ends.u1, ends.g1), energy_and_grad(Gaussian(2), x))
    assert ends.difference.dtype == torch.float64
    assert torch.equal(ends.difference, ends.u0.double() - ends.u1.double())
    walkers = ends.interpolate(x, ends.difference, 0.25)
    torch.testing.assert_close(
        (walkers.energy, walkers.grad),
        energy_and_grad(InterpolatedEnergy(WIDE, Gaussian(2), 0.25), x),
    )
    assert torch.equal(walkers.log_w, ends.difference)


def test_an_infinite_end_counts_only_where_it_has_weight():
    def half_line(x):
        return torch.where(x[:, 0] > 0, x[:, 0], math.inf)

    ends = EnergyPath(Gaussian(1), half_line).energies_at(torch.tensor([[-1.0], [1.0]]))
    assert ends.interpolate(torch.zeros(2, 1), torch.zeros(2), 0.0).energy.tolist() == [0.5, 0.5]
    assert ends.interpolate(torch.zeros(2, 1), torch.zeros(2), 0.5).energy.tolist() == [
        math.inf,
        0.75,
    ]
    assert ends.interpolate(torch.zeros(2, 1), torch.zeros(2), 1.0).energy.tolist() == [
        math.inf,
        1.0,
    ]
    assert ends.difference.tolist() == [-math.inf, -0.5]


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("where", ["reference", "energy"])
def test_what_is_no_energy_is_named(value, where):
    def broken(x):
        return torch.where(x[:, 0] > 0, value, x[:, 0])

    path = EnergyPath(broken, WIDE) if where == "reference" else EnergyPath(WIDE, broken)
    words = f"the {where} is {value} at 2 of 3 walkers, one of them 5 from the origin"
    with pytest.raises(FloatingPointError, match=words):
        path.energies_at(torch.tensor([[-1.0, 0.0], [3.0, 4.0], [1.0, 0.0]]))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_moves_leave_every_energy_of_the_path_invariant(beta, rng):
    exact = TemperedGumbel(2, 1 / (1 + beta))
    path = EnergyPath(WIDE, narrow, batch=7000)
    walkers = walkers_at(InterpolatedEnergy(WIDE, narrow, beta), exact.sample(20_000, rng))
    stage = AnnealingStage(beta, (0.9, 0.3), torch.tensor([0.5, 2.0]), leapfrog_steps=2)
    moved, accepted = path.move(walkers, stage, rng)
    exact.assert_samples(moved.x)
    assert accepted[0] < 0.97, "an accept step that never refuses tests nothing"
    assert accepted[0] < accepted[1]
    torch.testing.assert_close(
        (moved.energy, moved.grad), energy_and_grad(InterpolatedEnergy(WIDE, narrow, beta), moved.x)
    )
    assert torch.equal(moved.log_w, walkers.log_w)


def test_a_step_is_as_wide_as_the_scale(rng):
    """In a flat energy a trajectory is straight: its length is that of the momentum."""

    def flat(x):
        return 0 * x.sum(1)

    stage = AnnealingStage(0.5, (0.1,), torch.tensor([1.0, 10.0]), leapfrog_steps=3)
    moved, accepted = EnergyPath(flat, flat).move(
        walkers_at(flat, torch.zeros(50_000, 2)), stage, rng
    )
    assert accepted.tolist() == [1.0]
    assert moved.x.std(0).tolist() == pytest.approx([0.3, 3.0], rel=0.02)


def test_moves_count(rng):
    energy = Counting(WIDE)
    stage = AnnealingStage(0.5, (0.5, 0.1), torch.ones(2), leapfrog_steps=3)
    walkers = walkers_at(WIDE, WIDE.sample(10, rng))
    EnergyPath(WIDE, energy, batch=4).move(walkers, stage, rng)
    assert energy.walkers == 10 * stage.gradients == 60


def test_a_batch_suits_the_device():
    path = EnergyPath(WIDE, WIDE)
    assert path._batch(torch.zeros(1, 2)) == 2**16
    assert path._batch(torch.zeros(1, 3, 1000, 1000)) == 1
    assert path._batch(torch.zeros(1, 4, device="meta")) == 2**20
