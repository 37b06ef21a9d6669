"""Energies without a Z: what rays and walkers tell."""

import math

import pytest
import torch
from torch import nn

from boltzwalk.energies.analytic import (
    BoltzmannMachine,
    DoubleWell,
    Funnel,
    Gaussian,
    GaussianMixture,
    GaussianRings,
    GumbelProduct,
    Rosenbrock,
)
from boltzwalk.energies.composed import GaussianReference
from boltzwalk.smc.annealing import AnnealingStage, EnergyPath
from boltzwalk.smc.existence import escape_reason, unbounded_rays
from boltzwalk.walkers import walkers_at

TARGETS = [
    Gaussian(5, 1.0, 2.0),
    GaussianMixture.ring(),
    Funnel(10, 1.5),
    Funnel(10, 3.0),
    DoubleWell(3),
    GaussianRings(),
    Rosenbrock(10),
    GumbelProduct(10),
    BoltzmannMachine.spins(5, 4, 3.0),
]


def network(activation, dim=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(dim, 32), activation, nn.Linear(32, 1), nn.Flatten(0))


@pytest.mark.parametrize("target", TARGETS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_has_a_z_is_not_refused(target, dtype, rng):
    x = torch.cat([target.sample(500, rng), 3 * torch.randn(500, target.dim, generator=rng)])
    assert unbounded_rays(target, x.to(dtype)) == ""


@pytest.mark.parametrize(
    ("power", "refused"), [(0.9, True), (1.1, False)], ids=["too slow", "fast enough"]
)
@pytest.mark.parametrize("dim", [1, 3, 50])
def test_the_border_is_the_growth_of_the_volume(power, refused, dim, rng):
    """U = a log(1 + |x|²) / 2 has a Z for a > d: a multivariate Student t."""

    def energy(x):
        return power * dim * torch.log1p(x.square().sum(1)) / 2

    reason = unbounded_rays(energy, torch.randn(20, dim, generator=rng))
    assert bool(reason) == refused
    assert not refused or "along 20 of 20 rays" in reason


@pytest.mark.parametrize("activation", [nn.LeakyReLU(0.2), nn.Tanh(), nn.SiLU()])
def test_a_bare_network_is_refused_and_a_confined_one_is_not(activation, rng):
    energy, x = network(activation), torch.randn(64, 4, generator=rng)
    assert "GaussianReference(energy, scale)" in unbounded_rays(energy, x)
    assert unbounded_rays(GaussianReference(energy, 1.0), x) == ""


def test_one_direction_is_enough():
    x = torch.eye(3)
    x = torch.cat([x, -x])
    reason = unbounded_rays(lambda x: x.square().sum(1) - 2 * x[:, 0].clamp(min=0) ** 2, x)
    assert "along 1 of 6 rays" in reason


def test_minus_infinity_is_refused_and_plus_infinity_is_an_end():
    x = torch.tensor([[1.0], [-1.0]])
    assert unbounded_rays(lambda x: torch.where(x[:, 0] > 9, -math.inf, x[:, 0] ** 2), x)
    assert unbounded_rays(lambda x: torch.where(x[:, 0].abs() > 9, math.inf, 0.0), x) == ""
    assert unbounded_rays(lambda x: torch.full((len(x),), math.inf), x) == ""
    assert unbounded_rays(lambda x: torch.where(x[:, 0] < 9, math.inf, -x[:, 0]), x) == ""


def test_where_numbers_end_the_last_that_are_numbers_count():
    """Overflow makes nan far out; what was seen before it still tells."""
    x = torch.tensor([[1.0], [-1.0]])

    def overflowing(u):
        return lambda x: torch.where(x[:, 0].abs() > 100, math.nan, u(x[:, 0]))

    assert unbounded_rays(overflowing(torch.square), x) == ""
    assert unbounded_rays(overflowing(torch.neg), x)


def test_points_at_the_centre_have_no_direction():
    assert unbounded_rays(lambda x: x.square().sum(1), torch.ones(4, 2)) == ""


@pytest.mark.slow
def test_walkers_that_have_arrived_do_not_drift(rng):
    """For 50 seeds: 5 standard errors on two counts are never met by chance."""
    path = EnergyPath(Gaussian(3), GumbelProduct(3))
    for _ in range(50):
        walkers = walkers_at(path.end, path.end.sample(200, rng))
        stage = AnnealingStage(1.0, (0.7, 0.2), torch.ones(3), leapfrog_steps=2)
        assert escape_reason(path, walkers, stage, rng) == ""


def test_walkers_that_leave_are_seen(rng):
    path = EnergyPath(Gaussian(2), lambda x: -x.square().sum(1).add(1).sqrt())
    walkers = walkers_at(path.end, torch.randn(200, 2, generator=rng))
    reason = escape_reason(path, walkers, AnnealingStage(1.0, (0.7,), torch.ones(2)), rng)
    assert reason.startswith(
        "walkers have not converged: in 8 more steps their energy changed by -"
    )


def test_walkers_that_fall_inwards_are_not_leaving(rng):
    """From too wide a start the energy falls, and the distance as well."""
    path = EnergyPath(Gaussian(2), Gaussian(2))
    walkers = walkers_at(path.end, 3 * torch.randn(200, 2, generator=rng))
    assert escape_reason(path, walkers, AnnealingStage(1.0, (0.7,), torch.ones(2)), rng) == ""


def test_only_walkers_with_weight_count(rng):
    path = EnergyPath(Gaussian(2), lambda x: torch.where(x[:, 0] > 50, math.inf, Gaussian(2)(x)))
    x = torch.cat([torch.randn(200, 2, generator=rng), torch.full((5, 2), 60.0)])
    log_w = torch.cat([torch.zeros(200), torch.full((5,), -math.inf)])
    walkers = walkers_at(path.end, x, log_w)
    assert escape_reason(path, walkers, AnnealingStage(1.0, (0.7,), torch.ones(2)), rng) == ""
