"""A flow as an energy: its log Z against quadrature, its start, and what methods see of it."""

import math

import pytest
import torch

from boltzwalk.bases.flow import Flow
from boltzwalk.bases.flow_energy import FlowEnergy
from boltzwalk.energies.analytic import Gaussian
from boltzwalk.energies.exact import exact_samples
from boltzwalk.energy import energy_and_grad, require_rowwise_energy
from boltzwalk.kernels import MALA
from boltzwalk.method import Batch
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.metrics.quadrature import log_z_in_the_plane
from boltzwalk.smc.log_z import Annealing, estimate_log_z
from boltzwalk.training.loop import train_loop
from boltzwalk.walkers import effective_sample_size, log_mean_weight
from statistics_helpers import assert_mean

SMALL = Flow(transforms=3, widths=(12,), activation="tanh")


@pytest.fixture
def energy():
    return FlowEnergy(SMALL).build((2,), rng_seed=3)


def test_log_z_is_the_integral(energy, rng):
    x = energy.sample(2000, rng)
    found = log_z_in_the_plane(energy, x, 1.0, 400)
    assert energy.log_z == pytest.approx(found, abs=1e-3)
    assert energy.log_z < -1  # not the zero that a flow would have by itself


def test_log_z_is_minus_the_sum_of_mean_absolute_parameters(energy):
    expected = -sum(float(p.detach().abs().sum()) / p.numel() for p in energy.parameters())
    assert energy.log_z == pytest.approx(expected, rel=1e-12)
    energy.log_partition().backward()
    for parameter in energy.parameters():
        slope = -parameter.detach().sign() / parameter.numel()
        torch.testing.assert_close(parameter.grad, slope)


def test_energy_and_log_z_give_the_density(energy, rng):
    x = torch.randn(7, 2, generator=rng)
    torch.testing.assert_close(-energy(x) - energy.log_z, energy.flow.log_density(x))
    u, grad = energy_and_grad(energy, x)
    y = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(-energy.flow.log_density(y).sum(), y)
    torch.testing.assert_close(grad, expected)
    assert u.shape == (7,)
    require_rowwise_energy(energy)


def test_weighted_walkers_start_as_exact_samples(energy, rng):
    x, log_z = exact_samples(energy, 20_000, torch.zeros(1, 2), rng)
    assert log_z == energy.log_z
    q = torch.distributions.Normal(x.mean(0), 0.7 * x.std(0))
    log_p = -energy(x).detach() - log_z
    assert_mean(torch.exp(q.log_prob(x).sum(1) - log_p), 1.0, "mass of a narrower density")


@pytest.mark.slow
def test_annealing_finds_log_z_that_is_known(rng):
    energy = FlowEnergy(SMALL).build((4,), rng_seed=1)
    x = energy.sample(500, rng)
    found = estimate_log_z(energy, x, rng, Annealing(walkers=256))
    assert not found.refusal
    assert abs(found.estimate - energy.log_z) < max(3 * found.half_width, 0.1)
    assert math.isfinite(found.half_width)


@pytest.mark.slow
def test_it_is_a_reference_for_the_log_z_of_another_energy(energy, rng):
    target = Gaussian(2, (0.5, -0.5), (0.6, 0.4))
    like = target.sample(500, rng)
    found = estimate_log_z(target, like, rng, Annealing(walkers=256), reference=energy)
    assert not found.refusal
    assert abs(found.estimate - target.log_z) < max(3 * found.half_width, 0.05)


def test_positions_of_another_shape_are_refused(energy):
    with pytest.raises(ValueError, match="this energy takes x of shape"):
        energy(torch.zeros(5, 3))


@pytest.mark.slow
def test_weighted_walkers_carry_the_log_z_that_is_known(energy, rng):
    """While the energy learns, and its log Z moves by several times their error."""
    x = torch.randn(100, 2, generator=rng) * torch.tensor([0.3, 1.0])
    method = Jarzynski(ExactStart(10_000), MALA(0.05), threshold=0.1)
    before, state = energy.log_z, method.init(energy, Batch(x), rng)
    optimizer = torch.optim.Adam(energy.parameters(), 4e-3)
    *_, last = train_loop(energy, method, lambda rng: Batch(x), optimizer, state=state, updates=100)
    walkers = method.weighted_walkers(energy, last.state)
    error = (1 / float(effective_sample_size(walkers.log_w)) - 1e-4) ** 0.5
    found = float(log_mean_weight(walkers.log_w))
    print(before, energy.log_z, found, error, float(last.state.resamplings))
    assert abs(energy.log_z - before) > 10 * error
    assert abs(found - energy.log_z) < 5 * error
