"""Walkers that could never move, and energies that are none, at the entries of the kernels."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from boltzwalk.data.rows import Batch
from boltzwalk.energy import energy_and_grad, require_rowwise_energy
from boltzwalk.kernels import HMC, MALA, ULA, adapt_step_size, run_chain
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import DataStart
from boltzwalk.training.loop import train_loop
from boltzwalk.walkers import walkers_at
from statistics_helpers import Counting


def cone(x):
    """Its gradient is nan at zero, where its energy is zero."""
    return x.square().sum(1).sqrt()


def quadratic(x):
    return x.square().sum(1) / 2


def at_the_tip(rng, n=50):
    x = torch.randn(n, 2, generator=rng)
    x[3:13] = 0
    return x


@pytest.mark.parametrize("kernel", [MALA(0.1), HMC(0.1), ULA(0.1)])
def test_a_start_without_a_gradient_is_an_error_with_its_rows(kernel, rng):
    walkers = walkers_at(cone, at_the_tip(rng))
    with pytest.raises(FloatingPointError, match=r"10 of 50 walkers .* first in row 3"):
        run_chain(kernel, cone, walkers, 5, rng)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_start_at_no_energy_is_an_error(value, rng):
    def energy(x):
        return torch.where(x[:, 0] > 1, value, quadratic(x))

    x = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    with pytest.raises(FloatingPointError, match="1 of 2 walkers cannot move, the first in row 1"):
        run_chain(MALA(0.1), energy, walkers_at(energy, x), 5, rng)


def test_adaptation_refuses_a_start_without_a_gradient(rng):
    walkers = walkers_at(cone, at_the_tip(rng))
    with pytest.raises(FloatingPointError, match="10 of 50"):
        adapt_step_size(MALA(0.1), cone, walkers, 20, rng)


class Uphill:
    """An energy whose gradient is infinite a step away: nothing is ever accepted."""

    def __call__(self, x):
        return quadratic(x)

    def energy_and_grad(self, x):
        inside = (x == 1).all(1, keepdim=True)
        return quadratic(x), torch.where(inside, x, math.nan)


def test_adaptation_refuses_the_acceptance_zero(rng):
    energy = Uphill()
    with pytest.raises(FloatingPointError, match=r"no step is accepted at step sizes from 0\.1 to"):
        adapt_step_size(MALA(0.1), energy, walkers_at(energy, torch.ones(9, 2)), 50, rng)


def test_adaptation_refuses_the_acceptance_one(rng):
    def flat(x):
        return 0 * x.sum(1)

    with pytest.raises(FloatingPointError, match=r"every step is accepted .* energy is constant"):
        adapt_step_size(MALA(0.1), flat, walkers_at(flat, torch.ones(9, 2)), 50, rng)


def test_training_stops_where_walkers_cannot_move():
    class Cone(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.scale * cone(x)

    energy, rows = Cone(), torch.zeros(16, 2)
    rows[:8] = 1
    method = Contrastive(DataStart(), MALA(0.1), steps=2)
    optimizer = torch.optim.SGD(energy.parameters(), lr=0.1)
    updates = train_loop(energy, method, lambda rng: Batch(rows), optimizer, state=None, updates=2)
    with pytest.raises(FloatingPointError, match="they could not move"):
        next(iter(updates))


LAYER, LAST = nn.Linear(2, 32), nn.Linear(32, 1)
NORM = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))
WRONG = {
    "dropout": lambda x: LAST(functional.dropout(LAYER(x.to(LAYER.weight))))[:, 0],
    "batch norm": lambda x: NORM(x.to(LAYER.weight)),
    "centring": lambda x: quadratic(x - x.mean(0)),
    "sorting": lambda x: quadratic(x.sort(0).values),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_chain_of_what_is_no_energy_is_refused(name, rng):
    energy = WRONG[name]
    walkers = walkers_at(energy, torch.randn(30, 2, generator=rng))
    for call in (run_chain, adapt_step_size):
        with pytest.raises(ValueError, match=r"random .* depends on the other rows"):
            call(MALA(0.1), energy, walkers, 20, rng)


@pytest.mark.parametrize("name", WRONG)
def test_the_loop_refuses_what_is_no_energy(name, rng):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.scale * WRONG[name](x)

    energy = Wrapped()
    method = Contrastive(kernel=ULA(0.1), steps=2)
    optimizer = torch.optim.SGD(energy.parameters(), lr=0.1)
    rows = torch.randn(32, 2, generator=rng)
    updates = train_loop(energy, method, lambda rng: Batch(rows), optimizer, state=None, updates=2)
    with pytest.raises(ValueError, match=r"deterministic|other rows"):
        next(iter(updates))


def test_walkers_of_another_energy_are_refused(rng):
    walkers = walkers_at(quadratic, torch.randn(30, 2, generator=rng))
    with pytest.raises(ValueError, match=r"write walkers_at\(energy, x\)"):
        run_chain(MALA(0.1), lambda x: 2 * quadratic(x), walkers, 5, rng)


@pytest.mark.parametrize(("check", "more"), [(True, 16), (False, 0)])
def test_the_check_costs_sixteen_evaluations(check, more, rng):
    energy = Counting(quadratic)
    walkers = walkers_at(energy, torch.randn(100, 2, generator=rng))
    run_chain(MALA(0.1), energy, walkers, 5, rng, check=check)
    assert energy.walkers == 100 * 6 + more


def test_the_probe_costs_three_evaluations_of_sixteen_rows(rng):
    energy = Counting(quadratic)
    require_rowwise_energy(energy, torch.randn(100, 2, generator=rng))
    assert energy.walkers == 48


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e7])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_rounding_is_no_coupling(offset, size, rng):
    """Matrix products of 8 and of 16 rows differ in the last places, at any size of U."""
    net = nn.Sequential(nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 1), nn.Flatten(0)).float()
    x = torch.randn(16, 64, generator=rng, dtype=torch.float32)
    require_rowwise_energy(lambda x: size * net(x) + offset, x)
    with torch.autocast("cpu", torch.bfloat16):
        require_rowwise_energy(net, x)


def test_old_spectral_norm_learns_from_evaluations_in_training_mode(rng):
    energy = nn.Sequential(nn.utils.spectral_norm(nn.Linear(2, 8)), nn.Linear(8, 1), nn.Flatten(0))
    x = torch.randn(16, 2, generator=rng)
    with pytest.raises(ValueError, match=r"\.eval\(\)"):
        require_rowwise_energy(energy, x)
    require_rowwise_energy(energy.eval(), x)


class Column:
    def __call__(self, x):
        return quadratic(x)

    def energy_and_grad(self, x):
        return quadratic(x)[:, None], x


def test_a_closed_form_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shapes \(3,\) and \(3, 2\), got \(3, 1\) and \(3, 2\)"):
        energy_and_grad(Column(), torch.ones(3, 2))
