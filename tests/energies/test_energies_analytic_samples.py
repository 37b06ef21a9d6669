"""Exact samples: moments at 5 standard errors, Stein's identity, goodness of fit."""

import itertools
import math

import pytest
import torch
from scipy import stats

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
from boltzwalk.energy import energy_and_grad
from statistics_helpers import assert_mean

N = 100_000
SKEWED = GaussianMixture(((-2.0, 1.0), (3.0, 0.5), (0.0, -4.0)), (0.5, 1.5, 0.8), (1.0, 2.0, 4.0))
MACHINE = BoltzmannMachine(((2.0, 1.0), (-1.0, 3.0), (0.5, -2.0)), (0.3, -0.4), (-2.0, -4.0, 0.5))

TARGETS = {
    "gaussian": Gaussian(2, (-1.0, 2.0), (0.1, 3.0)),
    "ring": GaussianMixture.ring(),
    "skewed mixture": SKEWED,
    "gumbel": GumbelProduct(2),
    "funnel": Funnel(3, 0.8),  # at the usual scale 3 no sample of feasible size has the moments
    "double well": DoubleWell(2, 2.0, 1.0, 0.3),
    "rings": GaussianRings(weights=(1.0, 2.0, 3.0, 4.0)),
    "rosenbrock": Rosenbrock(4, 0.5, 0.4, 2.0),
    "boltzmann machine": MACHINE,
}
each = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@each
def test_moments(target, rng):
    x = target.sample(N, rng)
    for i in range(target.dim):
        assert_mean(x[:, i], target.mean[i].item(), f"E[x_{i}]")
        centred = (x[:, i] - target.mean[i]).square()
        assert_mean(centred, target.variance[i].item(), f"Var[x_{i}]")


@each
def test_samples_belong_to_the_energy(target, rng):
    """Integration by parts: E[∂U/∂x_i] = 0 and E[(x_i - m) ∂U/∂x_i] = 1 whatever the density.

    (The rings have a pole at the origin, but no mass there to speak of.)
    """
    x = target.sample(N, rng)
    _, grad = energy_and_grad(target, x)
    for i in range(target.dim):
        assert_mean(grad[:, i], 0.0, f"E[dU/dx_{i}]")
        assert_mean((x[:, i] - target.mean[i]) * grad[:, i], 1.0, f"E[x_{i} dU/dx_{i}]")


def assert_distribution(values, cdf):
    """Kolmogorov-Smirnov; a fixed seed, and a threshold of one in a million."""
    p = stats.kstest(values.numpy(), cdf).pvalue
    assert p > 1e-6, f"p = {p:.2g}"


def uniforms_of_mixture(target, x, i):
    """The distribution function of coordinate i at x."""
    weights = torch.tensor(target.weights) / sum(target.weights)
    means, scales = torch.tensor(target.means)[:, i], torch.tensor(target.scale)
    return torch.special.ndtr((x[:, i, None] - means) / scales) @ weights


def uniforms_of_double_well(target, x):
    """By a fine midpoint rule of its own."""
    edges = torch.linspace(-4, 4, 400_001)
    middles = (edges[1:] + edges[:-1]) / 2
    u = target.barrier * ((middles / target.separation) ** 2 - 1) ** 2 + target.tilt * middles
    below = torch.cat([torch.zeros(1), torch.exp(-u).cumsum(0)])
    index = torch.bucketize(x, edges)
    return below[index] / below[-1]


def uniforms_of_machine(target, x, i):
    """The distribution function of visible unit i: a mixture over hidden states, spelt out."""
    w, b, c = (torch.tensor(v) for v in (target.weights, target.visible, target.hidden))
    h = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
    shift = h @ w
    masses = torch.softmax(h @ c + shift @ b + shift.square().sum(1) / 2, 0)
    return torch.special.ndtr(x[:, i, None] - b[i] - shift[:, i]) @ masses


def uniforms(target, x):
    """Maps exact samples to what must be independent uniforms, one column after the other."""
    ndtr = torch.special.ndtr
    match target:
        case Gaussian():
            return ndtr((x - target.mean) / target.variance.sqrt()).unbind(1)
        case GaussianMixture():
            return [uniforms_of_mixture(target, x, i) for i in range(2)]
        case BoltzmannMachine():
            return [uniforms_of_machine(target, x, i) for i in range(2)]
        case GumbelProduct():
            return torch.exp(-torch.exp(-x)).unbind(1)
        case Funnel():
            v = x[:, :1]
            return ndtr(torch.cat([v / target.scale, x[:, 1:] * torch.exp(-v / 2)], 1)).unbind(1)
        case DoubleWell():
            return [uniforms_of_double_well(target, column) for column in x.t().contiguous()]
        case GaussianRings():
            weights = torch.tensor(target.weights) / sum(target.weights)
            centred = (x.norm(dim=1)[:, None] - torch.tensor(target.radii)) / target.scale
            return ndtr(centred) @ weights, torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi) + 0.5
        case Rosenbrock():
            s, t = x[:, 0::2], x[:, 1::2]
            z = (s - target.loc) * math.sqrt(2 * target.a), (t - s**2) * math.sqrt(2 * target.b)
            return ndtr(torch.cat(z, 1)).unbind(1)


@pytest.mark.parametrize(
    "target",
    [*(target for name, target in TARGETS.items() if name != "ring"), Funnel(3, 3.0)],
    ids=repr,
)
def test_goodness_of_fit(target, rng):
    columns = uniforms(target, target.sample(N, rng))
    for column in columns:
        assert_distribution(column, "uniform")
    centred = [column - 0.5 for column in columns]
    independent = not isinstance(target, GaussianMixture | BoltzmannMachine)
    for i, j in [(0, 1), (0, len(columns) - 1)] if independent else []:
        assert_mean(centred[i] * centred[j], 0.0, f"Cov of uniforms {i} and {j}")


def test_mode_masses(rng):
    """Each sample of well separated modes names its mode; the counts are multinomial."""
    weights = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    target = GaussianMixture(GaussianMixture.ring(radius=10.0).means, 0.15, weights)
    mode = torch.cdist(target.sample(N, rng), torch.tensor(target.means)).argmin(1)
    counts = torch.bincount(mode, minlength=8).numpy()
    expected = N * torch.tensor(weights).numpy() / sum(weights)
    assert stats.chisquare(counts, expected).pvalue > 1e-6


@each
def test_samples_are_a_function_of_the_generator(target):
    first, second, other = (
        target.sample(10, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.shape == (10, target.dim)
    assert target.sample(0, torch.Generator()).shape == (0, target.dim)
