"""Weights along a path of energies are exact at any step size, and the wrong ones are not."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from boltzwalk.kernels import HMC, MALA, ULA
from boltzwalk.kernels.langevin import langevin_log_ratio, langevin_proposal
from boltzwalk.smc.resampling import resample_below
from boltzwalk.smc.reweighting import (
    move_and_reweight,
    move_and_reweight_attached,
    reweight,
    weight_noise_floor,
)
from boltzwalk.walkers import effective_sample_size, log_mean_weight, walkers_at
from statistics_helpers import Counting, assert_mean, assert_same_walkers

TEMPERATURES = [1.0, 0.4]


@dataclass(frozen=True)
class Normal:
    """U = sum of curvature (x - mean)^2 / 2."""

    curvature: float
    mean: float = 0.0

    def __call__(self, x):
        return self.curvature * (x - self.mean).square().sum(-1) / 2

    def energy_and_grad(self, x):
        return self(x), self.curvature * (x - self.mean)


@dataclass(frozen=True)
class LogGamma:
    """U = a x + b exp(-x): exp(-x) is a Gamma variable, so Z and a skewed moment are known."""

    a: float
    b: float

    def __call__(self, x):
        return (self.a * x + self.b * torch.exp(-x)).sum(-1)

    def log_z(self, temperature):
        a, b = self.a / temperature, self.b / temperature
        return math.lgamma(a) - a * math.log(b)

    def sample(self, n, rng, temperature):
        shape = torch.full((n, 1), self.a / temperature)
        return -torch.log(torch._standard_gamma(shape, generator=rng) * temperature / self.b)


class Net(nn.Module):
    """A small network with a confining term; seeded."""

    def __init__(self, seed, size=6):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.a = nn.Parameter(torch.randn(size, 5, generator=rng))
        self.b = nn.Parameter(torch.randn(5, generator=rng))

    def forward(self, x):
        x = x.flatten(1)
        return torch.tanh(x @ self.a) @ self.b + x.square().sum(1) / 2


# What one step gains.


def log_move(start, drift, end, step_size, temperature):
    """The log-density of a Langevin step."""
    spread = math.sqrt(2 * step_size * temperature)
    normal = torch.distributions.Normal(start - step_size * drift, spread)
    return normal.log_prob(end).flatten(1).sum(1)


@pytest.mark.parametrize("shape", [(6,), (1, 2, 3)])
@pytest.mark.parametrize("update_first", [False, True])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_step_gains_the_ratio_of_densities(rng, temperature, update_first, shape):
    """Target times the move back, over target times the move: by the densities of torch."""
    old, new, kernel = Net(1), Net(2), ULA(0.3, temperature)
    walkers = walkers_at(old, torch.randn(50, *shape, generator=rng), torch.linspace(-1, 1, 50))
    moved = move_and_reweight(kernel, new, walkers, 1, rng, update_first).walkers
    there = walkers_at(new if update_first else old, walkers.x)
    back = walkers_at(new, moved.x)
    forward = log_move(walkers.x, there.grad, moved.x, 0.3, temperature)
    backward = log_move(moved.x, back.grad, walkers.x, 0.3, temperature)
    gain = (old(walkers.x) - new(moved.x)) / temperature + backward - forward
    torch.testing.assert_close(moved.log_w - walkers.log_w, gain.detach(), rtol=0, atol=1e-10)
    assert_same_walkers(moved, walkers_at(new, moved.x, moved.log_w))


@pytest.mark.parametrize("update_first", [False, True])
def test_inner_steps_are_steps_at_an_energy_that_stands_still(rng, update_first):
    """K steps gain what one step to the new energy and K - 1 of the new to itself gain."""
    old, new, kernel = Net(1), Net(2), ULA(0.2)
    walkers = walkers_at(old, torch.randn(20, 6, generator=rng))
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    at_once = move_and_reweight(kernel, new, walkers, 4, one, update_first).walkers
    walkers = move_and_reweight(kernel, new, walkers, 1, other, update_first).walkers
    for _ in range(3):
        walkers = move_and_reweight(kernel, new, walkers, 1, other).walkers
    assert_same_walkers(at_once, walkers)


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_weights_of_an_energy_that_stands_still_telescope(rng, temperature, steps):
    """For precision k: A = (h k^2 / 4 T) (|x_0 - m|^2 - |x_t - m|^2), along any path."""
    energy, kernel = Normal(1.7, mean=0.3), ULA(0.2, temperature)
    walkers = first = walkers_at(energy, 2 * torch.randn(30, 4, generator=rng))
    for _ in range(5):
        walkers = move_and_reweight(kernel, energy, walkers, steps, rng).walkers
        squares = (first.x - 0.3).square().sum(1) - (walkers.x - 0.3).square().sum(1)
        expected = 0.2 * 1.7**2 / (4 * temperature) * squares
        torch.testing.assert_close(walkers.log_w, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_walkers_that_stay_gain_the_difference_of_energies(rng, temperature):
    old, new = Net(1), Net(2)
    x = torch.randn(50, 6, generator=rng)
    walkers = walkers_at(old, x, torch.linspace(-1, 1, 50), memory=(2 * x,))
    got = reweight(new, walkers, temperature)
    gain = (old(x) - new(x)).detach() / temperature
    expected = walkers_at(new, x, walkers.log_w + gain, memory=(2 * x,))
    assert_same_walkers(got, expected)
    there_and_back = reweight(old, got, temperature)
    torch.testing.assert_close(there_and_back.log_w, walkers.log_w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [MALA(0.3, 0.4), HMC(0.2, 3, 0.4)])
def test_a_step_of_an_invariant_kernel_gains_nothing_more(rng, kernel):
    old, new = Net(1), Net(2)
    walkers = walkers_at(old, torch.randn(50, 6, generator=rng), torch.linspace(-1, 1, 50))
    followed = move_and_reweight(kernel, new, walkers, 3, rng)
    assert torch.equal(followed.walkers.log_w, reweight(new, walkers, 0.4).log_w)
    assert (followed.walkers.x != walkers.x).any()
    assert 0 < followed.acceptance < 1
    assert_same_walkers(
        followed.walkers, walkers_at(new, followed.walkers.x, followed.walkers.log_w)
    )


def test_acceptance_is_the_mean_over_steps(rng):
    walkers = walkers_at(Normal(1.0), torch.randn(40, 2, generator=rng))
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    got = move_and_reweight(MALA(1.5), Normal(2.0), walkers, 3, one).acceptance
    rates = []
    for _ in range(3):
        walkers, rate = move_and_reweight(MALA(1.5), Normal(2.0), walkers, 1, other)
        rates.append(rate)
    torch.testing.assert_close(got, torch.stack(rates).mean())
    assert move_and_reweight(ULA(0.1), Normal(1.0), walkers, 2, rng).acceptance == 1
    assert move_and_reweight_attached(ULA(0.1), Normal(1.0), walkers, 2, rng)[0].acceptance == 1


# What many steps gain.


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(
    ("kernel", "update_first"),
    [(ULA(0.04), False), (ULA(0.04), True), (MALA(0.2), False), (HMC(0.2, 3), False)],
    ids=["Algorithm 1", "update first", "MALA", "HMC"],
)
def test_the_mean_weight_is_the_ratio_of_z(kernel, update_first, temperature, steps):
    """Without bias, and so is a weighted moment: a skewed target, however fast the path."""
    kernel = replace(kernel, temperature=temperature)
    rng = torch.Generator().manual_seed(0)
    first = new = LogGamma(1.5, 1.0)
    walkers = walkers_at(first, first.sample(20_000, rng, temperature))
    for k in range(1, 5):
        new = LogGamma(1.5 + 0.25 * k, 1 + 0.2 * k)
        walkers = move_and_reweight(kernel, new, walkers, steps, rng, update_first).walkers
    ratio = math.exp(new.log_z(temperature) - first.log_z(temperature))
    w = torch.exp(walkers.log_w) / ratio
    assert_mean(w, 1.0, "Z' / Z")
    gamma = torch.exp(-walkers.x[:, 0]) * new.b / new.a  # of mean 1 under the new density
    assert_mean(w * (gamma - 1), 0.0, "weighted moment")
    assert_mean(w * gamma.square(), 1 + temperature / new.a, "weighted square")


def ula(walkers, old, new, rng):
    return move_and_reweight(ULA(0.1), new, walkers, 1, rng).walkers


def update_first(walkers, old, new, rng):
    return move_and_reweight(ULA(0.1), new, walkers, 1, rng, update_first=True).walkers


def mala(walkers, old, new, rng):
    return move_and_reweight(MALA(0.1), new, walkers, 1, rng).walkers


def hmc(walkers, old, new, rng):
    return move_and_reweight(HMC(0.4, 2), new, walkers, 1, rng).walkers


def aliased(walkers, old, new, rng):
    """As a published script did it: one tensor is both where the walker was and where it is."""
    y = langevin_proposal(walkers, 0.1, 1.0, rng)
    a, b = walkers_at(old, y), walkers_at(new, y, walkers.log_w)
    squares = (a.grad.square() - b.grad.square()).sum(1)
    return replace(b, log_w=b.log_w + a.energy - b.energy + 0.1 / 4 * squares)


def uncorrected(walkers, old, new, rng):
    """As if ULA left its target invariant."""
    y = langevin_proposal(walkers, 0.1, 1.0, rng)
    a, b = walkers_at(old, y), walkers_at(new, y, walkers.log_w)
    return replace(b, log_w=b.log_w + a.energy - b.energy)


def energies_only(walkers, old, new, rng):
    """Without the densities of the moves."""
    b = walkers_at(new, langevin_proposal(walkers, 0.1, 1.0, rng), walkers.log_w)
    return replace(b, log_w=b.log_w + walkers.energy - b.energy)


def too_cold(walkers, old, new, rng):
    """Noise of another temperature than that of the weights."""
    b = walkers_at(new, langevin_proposal(walkers, 0.1, 1e-4, rng), walkers.log_w)
    return replace(b, log_w=b.log_w + langevin_log_ratio(walkers, b, 0.1, 1.0))


def moving_gaussian(mover, dim, updates, seed, walkers=20_000, narrowing=4.0, shift=3.0):
    """Mean 0 to 3 and precision 1 to 4 in K updates: errors of log Z and, relative, of variance."""
    rng = torch.Generator().manual_seed(seed)
    old = Normal(1.0)
    population = walkers_at(old, torch.randn(walkers, dim, generator=rng))
    for k in range(1, updates + 1):
        new = Normal(1 + (narrowing - 1) * k / updates, shift * k / updates)
        population = mover(population, old, new, rng)
        population, _ = resample_below(population, 0.5, rng)
        old = new
    log_z = float(log_mean_weight(population.log_w)) + dim / 2 * math.log(narrowing)
    squares = (population.x - shift).square().mean(1)
    variance = float(torch.softmax(population.log_w, 0) @ squares) * narrowing - 1
    return log_z, variance


@pytest.mark.parametrize(
    ("mover", "seeds"),
    [
        pytest.param(ula, 5, marks=pytest.mark.slow),
        pytest.param(update_first, 5, marks=pytest.mark.slow),
        pytest.param(mala, 2, marks=pytest.mark.slow),
        (hmc, 1),
    ],
    ids=["Algorithm 1", "update first", "MALA", "HMC"],
)
def test_a_gaussian_that_moves_and_narrows(mover, seeds):
    log_z, variance = torch.tensor([moving_gaussian(mover, 2, 200, s) for s in range(seeds)]).T
    assert log_z.abs().mean() < 0.03
    assert variance.mean().abs() < 0.02


@pytest.mark.parametrize("mover", [aliased, uncorrected, energies_only, too_cold])
def test_wrong_weights_are_outside_these_bounds(mover):
    """What the bounds of the test above are worth: every wrong variant fails both.

    Errors of log Z and variance: aliased -0.26, +0.24; uncorrected -0.06, +0.25; energies only
    +3, -0.45; too cold +0.48, -0.99.
    """
    log_z, variance = moving_gaussian(mover, 2, 200, 0)
    assert abs(log_z) > 0.03
    assert abs(variance) > 0.2


@pytest.mark.slow
def test_a_gaussian_of_ten_dimensions():
    log_z, variance = moving_gaussian(ula, 10, 400, 0)
    assert abs(log_z) < 0.03
    assert abs(variance) < 0.02


def test_a_gaussian_of_fifty_dimensions():
    log_z, variance = moving_gaussian(ula, 50, 100, 0, 10_000, narrowing=1.5, shift=0.5)
    assert abs(log_z) < 0.08
    assert abs(variance) < 0.02


# The floor of the weights.


def exact_square(t, h=0.1, dim=50):
    """E[w^2] after t steps on a standard normal, from A = h (|x_0|^2 - |x_t|^2) / 4; E[w] is 1."""
    decay = (1 - h) ** t
    spread = decay**2 + (1 - decay**2) / (1 - h / 2)
    covariance = torch.tensor([[1.0, decay], [decay, spread]])
    form = torch.eye(2) - covariance @ torch.diag(torch.tensor([h, -h]))
    return float(torch.linalg.det(form)) ** (-dim / 2)


def test_weights_of_ula_have_a_floor(rng):
    """d = 50, h = 0.1: Var A = 0.132 and CV^2 = 0.141, though the energy never changes."""
    energy, kernel = Normal(1.0), ULA(0.1)
    walkers = walkers_at(energy, torch.randn(20_000, 50, generator=rng))
    for _ in range(60):
        walkers = move_and_reweight(kernel, energy, walkers, 1, rng).walkers
    a = walkers.log_w
    exact = 0.1**2 / 8 * 50 * (1 + (1 - 0.1 / 2) ** -2)
    assert_mean((a - a.mean()).square(), exact, "Var A")
    assert 0.125 < a.var() < 0.135
    assert_mean(torch.exp(a), 1.0, "E[w]")
    assert_mean(torch.exp(2 * a), exact_square(60), "E[w^2]")
    floor = float(weight_noise_floor(kernel, energy, walkers, rng))
    ceiling = float(effective_sample_size(a)) / len(a)
    assert ceiling == pytest.approx(math.exp(-floor), abs=0.02)


def test_a_threshold_above_the_floor_resamples_for_ever(rng):
    """CV^2 crosses 0.103 seven steps after every resampling, at the exact weights' time."""
    assert next(t for t in range(1, 20) if exact_square(t) > 1.103) == 7
    energy, kernel, when = Normal(1.0), ULA(0.1), []
    walkers = walkers_at(energy, torch.randn(20_000, 50, generator=rng))
    for t in range(1, 43):
        walkers = move_and_reweight(kernel, energy, walkers, 1, rng).walkers
        walkers, resampled = resample_below(walkers, 1 / 1.103, rng)
        when += [t] * resampled
    assert when == [7, 14, 21, 28, 35, 42]


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_noise_floor_of_known_curvature(rng, temperature):
    """h^2 tr H^2 / 4, whatever the temperature and wherever the walkers are."""
    curvature = torch.tensor([0.5, 1.0, 3.0])

    def energy(x):
        return (curvature * x.square()).sum(1) / 2 + x[:, 0]

    walkers = walkers_at(energy, 5 + torch.randn(100, 3, generator=rng))
    kernel = ULA(0.2, temperature)
    found = torch.stack([weight_noise_floor(kernel, energy, walkers, rng) for _ in range(300)])
    assert_mean(found, 0.2**2 / 4 * float(curvature.square().sum()), "noise floor")


def test_the_noise_floor_costs_one_evaluation_of_some_walkers(rng):
    energy = Counting(lambda x: x.square().sum(1) / 2)
    walkers = walkers_at(energy, torch.randn(5000, 2, generator=rng))
    energy.walkers = 0
    assert not weight_noise_floor(ULA(0.1), energy, walkers, rng).requires_grad
    assert energy.walkers == 256
    for kernel in (MALA(0.1), HMC(0.1, 2)):
        assert weight_noise_floor(kernel, energy, walkers, rng) == 0
    assert energy.walkers == 256


# With the graph of the parameters.

KERNELS = [ULA(0.1, 0.7), MALA(0.3), HMC(0.2, 3)]
each = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)


@each
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("update_first", [False, True])
def test_attached_is_the_same_bit_for_bit(rng, kernel, steps, update_first):
    old, new = Net(1), Net(2)
    walkers = walkers_at(old, torch.randn(33, 6, generator=rng), torch.linspace(-1, 1, 33))
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    plain = move_and_reweight(kernel, new, walkers, steps, one, update_first)
    attached, u = move_and_reweight_attached(kernel, new, walkers, steps, other, update_first)
    assert torch.equal(one.get_state(), other.get_state())
    assert attached.acceptance == plain.acceptance
    for name in ("x", "energy", "grad", "log_w"):
        got = getattr(attached.walkers, name)
        assert torch.equal(got, getattr(plain.walkers, name)), name
        assert not got.requires_grad, name
    assert torch.equal(u, plain.walkers.energy)


@each
@pytest.mark.parametrize("steps", [1, 4])
def test_attached_energies_have_the_gradient_of_the_parameters(rng, kernel, steps):
    """That of the energies where the walkers are: the path is no part of it."""
    new = Net(2)
    walkers = walkers_at(Net(1), torch.randn(33, 6, generator=rng))
    followed, u = move_and_reweight_attached(kernel, new, walkers, steps, rng)
    share = torch.softmax(followed.walkers.log_w, 0)
    got = torch.autograd.grad(share @ u, new.parameters())
    expected = torch.autograd.grad(share @ new(followed.walkers.x), new.parameters())
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


@each
def test_without_a_step_walkers_are_reweighted(rng, kernel):
    walkers = walkers_at(Net(1), torch.randn(10, 6, generator=rng))
    got = move_and_reweight(kernel, Net(2), walkers, 0, rng)
    assert_same_walkers(got.walkers, reweight(Net(2), walkers, kernel.temperature))


@each
@pytest.mark.parametrize("update_first", [False, True])
def test_evaluations_are_those_of_the_steps(rng, kernel, update_first):
    energy = Counting(Net(2))
    walkers = walkers_at(Net(1), torch.randn(10, 6, generator=rng))
    move_and_reweight(kernel, energy, walkers, 4, rng, update_first)
    first = 1 if update_first or kernel.invariant else 0
    assert energy.walkers == 10 * (first + 4 * kernel.gradients)
    energy.walkers = 0
    move_and_reweight_attached(kernel, energy, walkers, 4, rng, update_first)
    graph = 0 if isinstance(kernel, ULA) else 1  # who needs no gradient at the end pays for it
    assert energy.walkers == 10 * (first + 4 * kernel.gradients + graph)


@pytest.mark.parametrize("kernel", [ULA(0.1, gradient_clip=1.0), ULA(0.1, box=(-1.0, 1.0))])
def test_moves_without_weights_are_refused(rng, kernel):
    walkers = walkers_at(Normal(1.0), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="without gradient_clip and box"):
        move_and_reweight(kernel, Normal(1.0), walkers, 1, rng)
    with pytest.raises(ValueError, match="without gradient_clip and box"):
        move_and_reweight_attached(kernel, Normal(1.0), walkers, 1, rng)
