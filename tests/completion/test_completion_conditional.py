"""Conditional moments against closed forms, and visible entries that no kernel moves."""

import pytest
import torch

from boltzwalk.completion import conditional, free_part
from boltzwalk.completion.conditional import Conditional
from boltzwalk.kernels import HMC, MALA, ULA, AdamDescent, Descent, KineticLangevin, run_chain
from boltzwalk.walkers import walkers_at
from statistics_helpers import assert_mean

MEAN = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
ROOT = torch.tensor(
    [[1.0, 0, 0, 0], [0.6, 0.9, 0, 0], [-0.5, 0.4, 1.1, 0], [0.3, -0.7, 0.5, 0.8]],
    dtype=torch.float64,
)
COVARIANCE = ROOT @ ROOT.T
SCALE = torch.tensor(  # y = x S + b
    [[2.0, 0.5, 0, 1.0], [0, 1.0, -0.4, 0.2], [0.3, 0, 1.5, 0], [0, -0.6, 0.1, 0.7]],
    dtype=torch.float64,
)
SHIFT = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
PATTERNS = torch.tensor([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1]], dtype=torch.bool)
EACH = 4000


class Gaussian:
    precision = torch.linalg.inv(COVARIANCE)

    def __call__(self, x):
        return ((x - MEAN) @ self.precision * (x - MEAN)).sum(1) / 2


def closed_form(mean, covariance, hidden, visible):
    """Mean and covariance of the hidden entries, by the blocks of the covariance."""
    gain = covariance[hidden][:, ~hidden] @ torch.linalg.inv(covariance[~hidden][:, ~hidden])
    left = covariance[hidden][:, hidden] - gain @ covariance[~hidden][:, hidden]
    return mean[hidden] + gain @ (visible - mean[~hidden]), left


def assert_moments(samples, mean, covariance, what):
    for i in range(len(mean)):
        assert_mean(samples[:, i], mean[i].item(), f"{what}: mean {i}")
        for j in range(i + 1):
            product = (samples[:, i] - mean[i]) * (samples[:, j] - mean[j])
            assert_mean(product, covariance[i, j].item(), f"{what}: covariance {i}{j}")


def chain(kernel, energy, steps, rng):
    h = 3 * torch.randn(energy.free.coordinates(energy.free.fixed).shape, generator=rng)
    return energy.free.event(run_chain(kernel, energy, walkers_at(energy, h), steps, rng)[0].x)


@pytest.mark.parametrize("kernel", [MALA(0.25), HMC(0.35, leapfrog_steps=3)], ids=repr)
def test_of_a_gaussian_the_hidden_entries_have_the_conditional_moments(kernel, rng):
    visible = torch.tensor([[2.0, torch.nan, 0.0, 4.0], [0.0, 1.0, 9.0, 2.0], [-1.0, 0, 0, 0]])
    hidden = PATTERNS.repeat_interleave(EACH, 0)
    x = visible.repeat_interleave(EACH, 0)
    done = chain(kernel, conditional(Gaussian(), x, hidden), 150, rng)
    assert torch.equal(done[~hidden], x[~hidden])
    for k, pattern in enumerate(PATTERNS):
        mean, covariance = closed_form(MEAN, COVARIANCE, pattern, visible[k, ~pattern])
        rows = done[k * EACH : (k + 1) * EACH, pattern]
        assert_moments(rows, mean, covariance, f"{kernel!r}, mask {k}")


@pytest.mark.parametrize("kernel", [MALA(0.25), HMC(0.35, leapfrog_steps=3)], ids=repr)
def test_of_whitened_data_the_hidden_values_have_the_conditional_moments(kernel, rng):
    y = torch.tensor([[2.0, 0.0, 0.0, 4.0], [0.0, 1.0, 0.0, 2.0], [-1.0, 0, 0, 0]])
    hidden = PATTERNS.repeat_interleave(EACH, 0)
    x = torch.linalg.solve(SCALE, y - SHIFT, left=False).repeat_interleave(EACH, 0)
    energy = Conditional(Gaussian(), free_part(x, hidden, SCALE))
    done = chain(kernel, energy, 150, rng) @ SCALE + SHIFT
    torch.testing.assert_close(done[~hidden], y.repeat_interleave(EACH, 0)[~hidden])
    mean, covariance = MEAN @ SCALE + SHIFT, SCALE.T @ COVARIANCE @ SCALE
    for k, pattern in enumerate(PATTERNS):
        expected = closed_form(mean, covariance, pattern, y[k, ~pattern])
        rows = done[k * EACH : (k + 1) * EACH, pattern]
        assert_moments(rows, *expected, f"{kernel!r}, mask {k}")


KERNELS = [
    ULA(0.1),
    ULA(0.1, gradient_clip=0.1, box=(-1.0, 1.0)),
    MALA(0.1),
    HMC(0.1),
    KineticLangevin(0.1, friction=1.0),
    Descent(0.1, momentum=0.5),
    AdamDescent(0.1),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_no_kernel_moves_a_visible_entry_and_each_moves_every_hidden_one(kernel, rng):
    x = torch.randn(50, 2, 3, 3, generator=rng)
    hidden = torch.rand(50, 2, 3, 3, generator=rng) < 0.4
    energy = conditional(lambda x: x.square().flatten(1).sum(1), x, hidden)
    walkers = walkers_at(energy, energy.free.coordinates(x))
    done = energy.free.event(run_chain(kernel, energy, walkers, 50, rng)[0].x)
    assert torch.equal(done[~hidden], x[~hidden])
    assert bool((done[hidden] != x[hidden]).all())


@pytest.mark.parametrize("scale", [None, SCALE])
def test_energy_and_gradient_are_those_of_the_whole_row(scale, rng):
    x = torch.randn(3, 4, generator=rng)
    energy = Conditional(Gaussian(), free_part(x, PATTERNS, scale))
    h = energy.free.coordinates(x)
    torch.testing.assert_close(energy.free.event(h), x)
    u, grad = energy.energy_and_grad(h)
    torch.testing.assert_close(u, Gaussian()(x))
    (expected,) = torch.autograd.grad(energy(h.requires_grad_()).sum(), h)
    torch.testing.assert_close(grad, expected)
    # The second row hides two values and the first one: what is beyond is padding.
    assert grad[1, 2] == 0
    assert grad[0, 1:].abs().sum() == 0
    moved = h.detach().clone()
    moved[0, 1:] += 7
    torch.testing.assert_close(energy(moved), u)


@pytest.mark.parametrize("kernel", [MALA(0.5), HMC(0.5)], ids=repr)
def test_padding_does_not_enter_an_acceptance(kernel):
    x = torch.zeros(2000, 12)
    few = torch.zeros(2000, 12, dtype=torch.bool)
    few[:, 0] = True
    padded = few.clone()
    padded[0] = True
    padded[0, -1] = False
    rates = []
    for hidden in (few, padded):
        energy = conditional(lambda x: 2 * x.square().sum(1), x, hidden)
        walkers = walkers_at(energy, energy.free.coordinates(x + 0.3))
        info = kernel.step(energy, walkers, torch.Generator().manual_seed(0))[1]
        rates.append(info.acceptance[1:])
    difference = rates[0].mean() - rates[1].mean()
    error = ((rates[0].var() + rates[1].var()) / len(rates[0])).sqrt()
    assert abs(difference) < 5 * error
    assert rates[0].mean() < 0.99


def test_the_visible_part_of_a_difference(rng):
    x = torch.randn(3, 4, generator=rng)
    entries = free_part(x, PATTERNS)
    assert torch.equal(entries.visible(x), torch.where(PATTERNS, 0, x))
    plane = free_part(x, PATTERNS, SCALE)
    d = torch.randn(3, 4, generator=rng)
    # Two rows agree in what is visible just where their difference has no visible part.
    assert plane.visible(plane.event(plane.coordinates(d)) - x).abs().max() < 1e-12
    y = (plane.visible(d) - d) @ SCALE
    assert y[~PATTERNS].abs().max() < 1e-12


def test_what_cannot_be_completed_is_refused():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="must have the shape of x and be true somewhere"):
        free_part(x, torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="must have the shape of x"):
        free_part(x, torch.ones(2, 2, dtype=torch.bool))
    one = torch.tensor([[True, False, False]] * 2)
    with pytest.raises(ValueError, match="visible entries must be finite"):
        free_part(x / 0, one)
    with pytest.raises(ValueError, match="rows of whitened data must be finite"):
        free_part(x / 0, one, torch.eye(3))
    energy = conditional(lambda x: x.sum(1), x, one)
    with pytest.raises(ValueError, match=r"h must have shape \(2, 1\)"):
        energy(torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"h must have shape \(2, 1\)"):
        walkers_at(energy, torch.zeros(2, 2))
