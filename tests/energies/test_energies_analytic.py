"""Analytic targets: energies, gradients and constants against oracles by other means."""

import dataclasses
import itertools
import math

import pytest
import torch
from scipy import integrate
from torch.distributions import (
    Categorical,
    Gumbel,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

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

SKEWED = GaussianMixture(((-2.0, 1.0), (3.0, 0.5), (0.0, -4.0)), (0.5, 1.5, 0.8), (1.0, 2.0, 4.0))
MACHINE = BoltzmannMachine(((2.0, 1.0), (-1.0, 3.0), (0.5, -2.0)), (0.3, -0.4), (-2.0, -4.0, 0.5))

TARGETS = {
    "gaussian": Gaussian(3, 1.0, 2.0),
    "stretched": Gaussian(2, (-1.0, 2.0), (0.1, 3.0)),
    "ring": GaussianMixture.ring(),
    "skewed mixture": SKEWED,
    "mixture in 1-D": GaussianMixture(((-2.0,), (3.0,)), 0.5, (0.25, 0.75)),
    "gumbel": GumbelProduct(3),
    "funnel": Funnel(3, 1.5),
    "double well": DoubleWell(2, 3.0, 1.5, 0.7),
    "rings": GaussianRings(weights=(1.0, 2.0, 3.0, 4.0)),
    "rosenbrock": Rosenbrock(4),
    "boltzmann machine": MACHINE,
}
each = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)

# One target a family in one or two dimensions, and a box that holds all but 1e-12 of its mass.
PLANE = [
    (Gaussian(1, 1.0, 2.0), [(-15, 17)]),
    (Gaussian(2, (-1.0, 2.0), (0.1, 3.0)), [(-1.8, -0.2), (-22, 26)]),
    (GaussianMixture.ring(), [(-2.3, 2.3), (-2.3, 2.3)]),
    (SKEWED, [(-9, 15), (-11, 13)]),
    (TARGETS["mixture in 1-D"], [(-7, 8)]),
    (GumbelProduct(2), [(-3.6, 34), (-3.6, 34)]),
    (DoubleWell(2, 3.0, 1.5, 0.7), [(-3.7, 3.7), (-3.7, 3.7)]),
    (DoubleWell(1, 40.0, 3.0, -2.0), [(-5, 5)]),
    (Rosenbrock(2, 0.5, 0.4, 2.0), [(-8, 9), (-4, 85)]),
    (MACHINE, [(-10, 12), (-11, 13)]),
    (BoltzmannMachine(((1.5,),) * 3, 0.2, -1.0), [(-9, 14)]),
]


@each
def test_gradient_passes_gradcheck(target, rng):
    x = target.sample(4, rng).requires_grad_()
    assert torch.autograd.gradcheck(target, (x,))


@each
def test_closed_form_is_the_gradient_of_the_energy(target, rng):
    x = torch.cat([target.sample(50, rng), 3 * torch.randn(50, target.dim, generator=rng)])
    u, grad = energy_and_grad(target, x)
    torch.testing.assert_close(u, target(x))
    expected = energy_and_grad(lambda x: target(x), x)[1]
    torch.testing.assert_close(grad, expected)


def grid(box, points):
    """Points of a midpoint rule and their common volume."""
    axes = [a + (b - a) * (torch.arange(points) + 0.5) / points for a, b in box]
    volume = math.prod((b - a) / points for a, b in box)
    return torch.cartesian_prod(*axes).reshape(-1, len(box)), volume


@pytest.mark.parametrize(("target", "box"), PLANE, ids=repr)
def test_log_z_and_moments_by_quadrature(target, box):
    """The midpoint rule converges as fast as the trapezoidal one where nothing is left outside."""
    x, volume = grid(box, 1000)
    log_density = -target(x)
    log_z = torch.logsumexp(log_density, 0) + math.log(volume)
    assert log_z.item() == pytest.approx(target.log_z, abs=1e-9)
    p = torch.softmax(log_density, 0)
    torch.testing.assert_close(p @ x, target.mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(p @ (x - p @ x).square(), target.variance, rtol=1e-8, atol=1e-8)


def test_funnel_by_quadrature():
    """Over x = exp(v/2) t, with which the integrand is smooth everywhere."""
    target = Funnel(2, 1.5)
    points, volume = grid([(-15, 15), (-10, 10)], 1000)
    v, x = points[:, 0], (points[:, 0] / 2).exp() * points[:, 1]
    weights = torch.exp(-target(torch.stack([v, x], 1)) + v / 2) * volume
    assert weights.sum().log().item() == pytest.approx(target.log_z, abs=1e-10)
    p = weights / weights.sum()
    variance = torch.stack([p @ v**2, p @ x**2])
    torch.testing.assert_close(variance, target.variance, rtol=1e-9, atol=0)


def test_rings_by_quadrature():
    """In polar coordinates, where the density of the radius is smooth."""
    target = GaussianRings(radii=(0.3, 2.0), scale=0.25, weights=(3.0, 1.0))
    r = 5 * (torch.arange(4000) + 0.5) / 4000
    angles = torch.arange(7) * 2 * math.pi / 7
    direction = torch.stack([angles.cos(), angles.sin()], 1)
    u = target((r[:, None, None] * direction).reshape(-1, 2)).reshape(4000, 7)
    torch.testing.assert_close(u, u[:, :1].expand_as(u))
    mass = 2 * math.pi * r * torch.exp(-u[:, 0]) * 5 / 4000
    assert mass.sum().log().item() == pytest.approx(target.log_z, abs=1e-6)
    second = (mass @ r**2 / mass.sum()).item()
    assert target.variance.tolist() == pytest.approx([second / 2] * 2, rel=1e-6)
    assert second == pytest.approx(0.75 * 0.3**2 + 0.25 * 2.0**2 + 0.25**2, rel=1e-6)


def test_double_well_against_adaptive_quadrature():
    """Another rule, another tolerance: the table is right to 1e-10."""
    target = DoubleWell(3, 2.0, 0.8, 1.3)

    def density(x):
        return math.exp(-(2.0 * (x * x / 0.64 - 1) ** 2 + 1.3 * x))

    def integral(f):
        return integrate.quad(lambda x: f(x) * density(x), -3, 3, epsabs=0, epsrel=1e-12)[0]

    z = integral(lambda x: 1.0)
    mean = integral(lambda x: x) / z
    variance = integral(lambda x: (x - mean) ** 2) / z
    assert target.log_z == pytest.approx(3 * math.log(z), abs=1e-10)
    assert target.mean.tolist() == pytest.approx([mean] * 3, abs=1e-10)
    assert target.variance.tolist() == pytest.approx([variance] * 3, abs=1e-10)


def test_double_well_has_the_barrier_and_the_tilt_that_it_says():
    target = DoubleWell(barrier=5.0, separation=2.0)
    assert target(torch.tensor([[-2.0], [0.0], [2.0]])).tolist() == [0.0, 5.0, 0.0]
    tilted = dataclasses.replace(target, tilt=0.5)
    assert tilted(torch.tensor([[-2.0], [2.0]])).tolist() == [-1.0, 1.0]
    assert tilted.mean.item() < 0 == target.mean.round(decimals=12).item()


def normalised(target, x):
    return -target(x) - target.log_z


@pytest.mark.parametrize(
    ("target", "oracle"),
    [
        (Gaussian(2, (-1.0, 2.0), (0.1, 3.0)), lambda: ([-1.0, 2.0], [0.1, 3.0])),
        (Gaussian(2, 1.5, 0.7), lambda: ([1.5, 1.5], [0.7, 0.7])),
    ],
)
def test_gaussian_is_that_of_torch(target, oracle, rng):
    loc, scale = map(torch.tensor, oracle())
    x = torch.randn(20, 2, generator=rng)
    expected = MultivariateNormal(loc, torch.diag(scale**2)).log_prob(x)
    torch.testing.assert_close(normalised(target, x), expected)
    torch.testing.assert_close((target.mean, target.variance), (loc, scale**2))


def test_mixture_is_that_of_torch(rng):
    x = 4 * torch.randn(50, 2, generator=rng)
    scales = torch.tensor(SKEWED.scale)[:, None].expand(3, 2)
    oracle = MixtureSameFamily(
        Categorical(probs=torch.tensor(SKEWED.weights)),
        Independent(Normal(torch.tensor(SKEWED.means), scales), 1),
    )
    torch.testing.assert_close(normalised(SKEWED, x), oracle.log_prob(x))
    torch.testing.assert_close((SKEWED.mean, SKEWED.variance), (oracle.mean, oracle.variance))


def test_the_machine_is_the_mixture_of_its_hidden_states(rng):
    """Every hidden state spelt out, with the energy of both layers and no algebra."""
    target = BoltzmannMachine.spins(dim=3, units=4, strength=2.0)
    w, b, c = (torch.tensor(v) for v in (target.weights, target.visible, target.hidden))
    x = 2 * torch.randn(20, 3, generator=rng)
    terms, masses, means = [], [], []
    for bits in itertools.product((0.0, 1.0), repeat=4):
        h = torch.tensor(bits)
        terms.append((x - b).square().sum(1) / 2 - c @ h - x @ (h @ w))
        mean = b + h @ w
        masses.append(-(mean - b).square().sum() / 2 + c @ h + mean @ (h @ w))
        means.append(mean)
    torch.testing.assert_close(target(x), -torch.logsumexp(-torch.stack(terms), 0))
    log_masses, means = torch.stack(masses), torch.stack(means)
    assert target.log_z == pytest.approx(
        torch.logsumexp(log_masses, 0).item() + 1.5 * math.log(2 * math.pi), abs=1e-12
    )
    p = torch.softmax(log_masses, 0)
    torch.testing.assert_close(target.mean, p @ means)
    torch.testing.assert_close(target.variance, 1 + p @ (means - p @ means).square())


def test_the_sum_over_hidden_states_is_the_same_in_chunks(monkeypatch):
    target = BoltzmannMachine.spins(dim=3, units=6, strength=2.0)
    monkeypatch.setattr("boltzwalk.energies.analytic.boltzmann_machine.CHUNK", 7)
    parts = dataclasses.replace(target)
    assert parts.log_z == pytest.approx(target.log_z, abs=1e-12)
    torch.testing.assert_close((parts.mean, parts.variance), (target.mean, target.variance))


def test_opposite_hidden_states_weigh_the_same_without_a_tilt():
    masses = BoltzmannMachine.spins(dim=5, units=4, strength=3.0, tilt=0.0)._log_masses
    torch.testing.assert_close(masses, masses.flip(0))


def test_gumbel_is_that_of_torch(rng):
    target, oracle = GumbelProduct(3), Gumbel(torch.zeros(3), torch.ones(3))
    x = torch.randn(20, 3, generator=rng)
    torch.testing.assert_close(normalised(target, x), oracle.log_prob(x).sum(1))
    torch.testing.assert_close((target.mean, target.variance), (oracle.mean, oracle.variance))


def test_funnel_and_rosenbrock_are_products_of_conditionals(rng):
    x = torch.randn(20, 4, generator=rng)
    v, rest = x[:, 0], x[:, 1:]
    expected = Normal(0, 2.0).log_prob(v)
    expected = expected + Normal(0, (v[:, None] / 2).exp()).log_prob(rest).sum(1)
    torch.testing.assert_close(normalised(Funnel(4, 2.0), x), expected)
    s, t = x[:, 0::2], x[:, 1::2]
    expected = Normal(0.5, 1 / math.sqrt(0.8)).log_prob(s) + Normal(s**2, 0.5).log_prob(t)
    torch.testing.assert_close(normalised(Rosenbrock(4, 0.5, 0.4, 2.0), x), expected.sum(1))


def test_the_ring_is_a_ring():
    target = GaussianMixture.ring(modes=5, radius=2.0, scale=0.3)
    means = torch.tensor(target.means)
    torch.testing.assert_close(means.norm(dim=1), torch.full((5,), 2.0))
    torch.testing.assert_close(means[0], torch.tensor([2.0, 0.0]))
    gaps = (means - means.roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(gaps, torch.full((5,), 4 * math.sin(math.pi / 5)))


def test_float32_energies_are_as_good_as_the_positions(rng):
    """Terms of 2e5 cancel here; in float32 arithmetic the energies would be off by 0.02."""
    target = GaussianMixture.ring(8, radius=30.0, scale=0.05)
    x = target.sample(1000, rng).float()
    exact = energy_and_grad(target, x.double())
    u, grad = energy_and_grad(target, x)
    assert u.dtype == grad.dtype == torch.float32
    assert (u - exact[0]).abs().max() < 1e-5
    assert (target(x) - exact[0]).abs().max() < 1e-5
    # The gradient is x / scale² minus the like: its error is that of rounding x.
    assert (grad - exact[1]).abs().max() < 4 * 30 * 2**-24 / 0.05**2


def test_far_walkers_see_the_nearest_mode():
    target = GaussianMixture(((-1.0,), (1.0,)), 0.01, (0.5, 0.5))
    x = torch.tensor([[-50.0], [50.0]])
    u, grad = energy_and_grad(target, x)
    assert u.isfinite().all()
    torch.testing.assert_close(grad, torch.tensor([[-490000.0], [490000.0]]))


@each
def test_dtype_follows_the_walkers(target, rng):
    x = target.sample(5, rng).float()
    u, grad = energy_and_grad(target, x)
    assert target(x).dtype == u.dtype == grad.dtype == torch.float32
    again = energy_and_grad(target, x.double())  # what was cached for one serves no other
    assert again[0].dtype == torch.float64
    torch.testing.assert_close(u.double(), again[0], rtol=1e-4, atol=1e-4)


@each
def test_samples_and_moments_have_the_default_dtype(target, rng):
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        for tensor in (target.sample(2, rng), target.mean, target.variance):
            assert tensor.dtype == dtype
        assert target.mean.shape == target.variance.shape == (target.dim,)
        assert isinstance(target.log_z, float)


@each
def test_it_is_a_value(target):
    """Equal to its copy, printed as it is written, usable in inference mode first."""
    copy = dataclasses.replace(target)
    assert copy == target
    assert hash(copy) == hash(target)
    assert eval(repr(target)) == target
    with torch.inference_mode():
        copy(torch.ones(1, copy.dim))
    x = torch.ones(1, copy.dim, requires_grad=True)
    copy(x).sum().backward()
    assert x.grad is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.dim = 3


@each
def test_other_dimensions_are_refused(target):
    for call in (target, lambda x: energy_and_grad(target, x)):
        with pytest.raises(ValueError, match=rf"takes x of shape \(N, {target.dim}\), got"):
            call(torch.ones(5, target.dim + 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Gaussian(3, (1.0, 2.0)), "loc must be one number or dim = 3 numbers, got 2"),
        (lambda: Gaussian(3, scale=(1.0, 2.0)), "scale must be one number or dim = 3"),
        (lambda: Gaussian(2, scale=0.0), "scale must be positive, got 0.0"),
        (lambda: GaussianMixture(()), "one or more tuples of equal length"),
        (lambda: GaussianMixture(((),)), "one or more tuples of equal length"),
        (lambda: GaussianMixture(((1.0,), (1.0, 2.0))), r"got lengths \[1, 2\]"),
        (lambda: GaussianMixture(((1.0,),), 0.0), "scale must be positive"),
        (lambda: GaussianMixture(((1.0,),), (1.0, 2.0)), "one for each of the 1 modes"),
        (lambda: GaussianMixture(((1.0,),), weights=(-1.0,)), "weights must be positive"),
        (lambda: Funnel(1), "dim >= 2"),
        (lambda: Funnel(2, 0.0), "scale > 0"),
        (lambda: DoubleWell(barrier=0.0), "barrier > 0"),
        (lambda: DoubleWell(separation=-1.0), "separation > 0"),
        (lambda: GaussianRings(()), "one or more positive radii"),
        (lambda: GaussianRings((1.0, -1.0)), "positive radii"),
        (lambda: GaussianRings((1.0,), weights=(1.0, 2.0)), "as many positive weights"),
        (lambda: GaussianRings((1.0,), scale=0.0), "positive scale"),
        (lambda: BoltzmannMachine(()), "1 to 20 rows of equal length"),
        (lambda: BoltzmannMachine(((1.0,),) * 21), "got 21 rows"),
        (lambda: BoltzmannMachine(((1.0,), (1.0, 2.0))), r"lengths \[1, 2\]"),
        (
            lambda: BoltzmannMachine(((1.0, 2.0),), visible=(1.0,)),
            "visible must be one number or 2",
        ),
        (lambda: BoltzmannMachine(((1.0, 2.0),), hidden=(1.0, 2.0)), "hidden must be one number"),
        (lambda: Rosenbrock(3), "even dim"),
        (lambda: Rosenbrock(2, a=0.0), "a > 0"),
    ],
)
def test_impossible_targets_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
