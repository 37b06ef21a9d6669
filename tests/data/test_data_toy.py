import math

import pytest
import scipy.integrate
import torch

from boltzwalk.data import Toy
from boltzwalk.data.toy_densities import (
    Checkerboard,
    ConcentricRings,
    DampedSine,
    EightGaussians,
    Pinwheel,
    TwoMoons,
)

# Each with a box that holds all but a trifle of its mass and has no edge within a cell.
DENSITIES = [
    (EightGaussians(), 2.0),
    (EightGaussians(radius=0.5, sd=0.3), 2.4),
    (ConcentricRings(), 5.0),
    (ConcentricRings(radii=(0.6, 1.4), sd=0.1), 2.0),
    (Pinwheel(), 5.2),
    (Pinwheel(arms=3, radius=0.5, radial_sd=0.4, tangential_sd=0.3, twist=-1.5), 2.6),
    (Checkerboard(), 2.5),
    (Checkerboard(cells=5, half_width=1.25), 2.0),
    (TwoMoons(), 3.0),
    (TwoMoons(sd=0.4), 4.0),
    (DampedSine(), 2.0),
    (DampedSine(half_length=1.0, middle=1.0, noise=0.2, damping=0.0), 2.5),
]
CELLS = 40


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def cell_masses(density, half):
    """The mass of each cell of a board, by the midpoint rule."""
    fine = CELLS * 8
    points = (torch.arange(fine) + 0.5) * (2 * half / fine) - half
    x = torch.cartesian_prod(points, points)
    density = density.log_density(x).double().exp().reshape(CELLS, 8, CELLS, 8)
    return density.sum((1, 3)) * (2 * half / fine) ** 2


@pytest.mark.parametrize(("density", "half"), DENSITIES, ids=lambda d: str(d)[:24])
def test_density_has_mass_1_and_samples_follow_it(density, half):
    masses = cell_masses(density, half).flatten()
    assert masses.sum() == pytest.approx(1, abs=1e-3)
    n = 100_000
    x = density.sample(n, seeded())
    assert x.shape == (n, 2)
    cell = ((x + half) / (2 * half / CELLS)).floor().long()
    inside = ((cell >= 0) & (cell < CELLS)).all(1)
    counts = (cell[inside, 0] * CELLS + cell[inside, 1]).bincount(minlength=CELLS**2)
    assert counts[masses == 0].sum() == 0
    expected = n * torch.cat([masses, (1 - masses.sum()).clamp(min=0)[None]])
    counts = torch.cat([counts, n - inside.sum()[None]])
    many = expected >= 20
    # Cells where few are expected count as one.
    expected = torch.cat([expected[many], expected[~many].sum()[None]])
    counts = torch.cat([counts[many], counts[~many].sum()[None]])
    remaining = expected > 5
    chi_square = ((counts - expected).square() / expected)[remaining].sum()
    freedom = int(remaining.sum()) - 1
    assert freedom > 30
    assert abs(chi_square - freedom) / math.sqrt(2 * freedom) < 5


@pytest.mark.parametrize(("density", "half"), DENSITIES[::2], ids=lambda d: str(d)[:24])
def test_samples_are_determined_by_their_generator(density, half):
    assert torch.equal(density.sample(50, seeded(1)), density.sample(50, seeded(1)))
    assert not torch.equal(density.sample(50, seeded(1)), density.sample(50, seeded(2)))
    assert density.log_density(torch.zeros(3, 2).double()).dtype == torch.float64


def test_eight_gaussians_against_a_mixture_of_torch():
    angle = torch.arange(8).double() * math.pi / 4
    oracle = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(8).double()),
        torch.distributions.MultivariateNormal(
            1.3 * torch.stack([angle.cos(), angle.sin()], 1), 0.2**2 * torch.eye(2).double()
        ),
    )
    x = torch.randn(50, 2, generator=seeded()).double()
    expected = oracle.log_prob(x)
    assert torch.allclose(EightGaussians(1.3, 0.2).log_density(x), expected, atol=1e-10)


def test_rings_radii_are_folded_normals():
    # The radius of a sample is |R + sd z|, whose distribution function is known.
    rings, n = ConcentricRings(radii=(0.3, 1.5), sd=0.25), 100_000
    radius = rings.sample(n, seeded()).norm(dim=1)
    for r in (0.1, 0.3, 0.6, 1.2, 1.5, 1.8):
        share = sum(
            (math.erf((r - R) / 0.25 / 2**0.5) - math.erf((-r - R) / 0.25 / 2**0.5)) / 2
            for R in rings.radii
        ) / len(rings.radii)
        standard_error = math.sqrt(share * (1 - share) / n)
        assert abs((radius < r).double().mean() - share) < 5 * standard_error
    # And its density is 2 pi r p(x).
    x = torch.tensor([[0.06, 0.08]], dtype=torch.float64)
    h = 1e-5
    slope = sum(
        math.erf((0.1 + h - R) / 0.25 / 2**0.5)
        - math.erf((-0.1 - h - R) / 0.25 / 2**0.5)
        - math.erf((0.1 - h - R) / 0.25 / 2**0.5)
        + math.erf((-0.1 + h - R) / 0.25 / 2**0.5)
        for R in rings.radii
    ) / (2 * h * 2 * len(rings.radii))
    density = rings.log_density(x).exp() * 2 * math.pi * 0.1
    assert float(density) == pytest.approx(slope, rel=1e-6)


def test_rings_are_infinite_at_the_origin_only():
    values = ConcentricRings().log_density(torch.tensor([[0.0, 0.0], [1e-3, 0.0], [50.0, 0.0]]))
    assert values[0] == math.inf
    assert values[1:].isfinite().all()


def test_pinwheel_arms_are_gaussians_before_the_twist():
    straight, twisted = Pinwheel(arms=1, twist=0.0), Pinwheel(arms=1, twist=0.9)
    x = torch.randn(50, 2, generator=seeded()).double()
    oracle = torch.distributions.MultivariateNormal(
        torch.tensor([2.0, 0.0]).double(),
        torch.tensor([0.6**2, 0.15**2], dtype=torch.float64).diag(),
    )
    assert torch.allclose(straight.log_density(x), oracle.log_prob(x), atol=1e-9)

    def twist(v):
        angle = 0.9 * v.norm()
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
        return turn @ v

    for v in x[:10]:
        jacobian = torch.autograd.functional.jacobian(twist, v)
        expected = oracle.log_prob(v) - jacobian.det().abs().log()
        assert twisted.log_density(twist(v)[None])[0] == pytest.approx(float(expected), abs=1e-8)


def test_pinwheel_has_a_gradient_at_the_origin():
    x = torch.zeros(1, 2, requires_grad=True)
    Pinwheel().log_density(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("sd", [0.05, 0.1, 0.5, 3.0])
@pytest.mark.parametrize(
    "point", [(0.0, 0.0), (1.0, 0.0), (0.5, 0.25), (-1.2, -0.3), (2.1, 0.4), (6.0, -8.0)]
)
def test_two_moons_against_adaptive_quadrature(sd, point):
    def ratio_to_the_nearest(angle, upper):
        cx, cy = math.cos(angle), math.sin(angle)
        cx, cy = (cx, cy) if upper else (1 - cx, 0.5 - cy)
        squared = (point[0] - cx) ** 2 + (point[1] - cy) ** 2
        return squared, math.exp(-(squared - nearest) / (2 * sd**2))

    nearest = 0.0
    grid = [math.pi * i / 2000 for i in range(2001)]
    places = {u: min(grid, key=lambda a: ratio_to_the_nearest(a, u)[0]) for u in (True, False)}
    nearest = min(ratio_to_the_nearest(angle, u)[0] for u, angle in places.items())
    total = 0.0
    for upper, place in places.items():
        for low, high in ((0.0, place), (place, math.pi)):
            total += scipy.integrate.quad(
                lambda a, u=upper: ratio_to_the_nearest(a, u)[1],
                low, high, epsabs=1e-12, epsrel=1e-10, limit=500,
            )[0]  # fmt: skip
    expected = math.log(total / (2 * math.pi)) - nearest / (2 * sd**2)
    expected -= math.log(2 * math.pi * sd**2)
    value = TwoMoons(sd).log_density(torch.tensor([point], dtype=torch.float64))
    assert float(value) == pytest.approx(expected, abs=1e-6)


def test_two_moons_in_chunks():
    x = torch.randn(9000, 2, generator=seeded())
    value = TwoMoons().log_density(x)
    assert torch.allclose(value[[0, 5000, 8999]], TwoMoons().log_density(x[[0, 5000, 8999]]))


def test_checkerboard_known_cells():
    x = torch.tensor([[-1.5, -1.5], [1.5, 1.5], [0.5, 0.5], [0.5, -0.5], [2.5, 0.5], [-9, -9]])
    assert Checkerboard().log_density(x).isfinite().tolist() == [True] * 3 + [False] * 3
    assert Checkerboard().log_density(x[:1]).item() == pytest.approx(-math.log(8))


def test_damped_sine_has_more_mass_at_its_ends():
    n = 100_000
    s = DampedSine().sample(n, seeded())[:, 0] / 2
    # The density m/2 + (1 - m) 3/2 s^2 puts m/2 + (1 - m)/8 of the mass into |s| < 1/2.
    share = 0.2 / 2 + 0.8 / 8
    standard_error = math.sqrt(share * (1 - share) / n)
    assert abs((s.abs() < 0.5).double().mean() - share) < 5 * standard_error


def test_a_bare_damped_sine_has_samples_on_its_curve_and_no_density():
    bare = DampedSine(noise=0.0)
    x = bare.sample(100, seeded()).double()
    t = x[:, 0] / 2 + 1
    expected = 1.5 * torch.exp(-0.8 * t) * torch.sin(2 * math.pi * t)
    assert torch.allclose(x[:, 1], expected, atol=1e-5)
    with pytest.raises(ValueError, match="noise must be above 0 for a density, got 0"):
        bare.log_density(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EightGaussians(sd=0), "sd must be finite and above 0, got 0"),
        (lambda: ConcentricRings(radii=()), "at least one radius"),
        (lambda: ConcentricRings(radii=(1, -2)), "radii must be finite and above 0, got -2"),
        (lambda: Pinwheel(twist=math.nan), "twist must be a finite angle, got nan"),
        (lambda: Checkerboard(cells=0), "cells must be finite and above 0, got 0"),
        (lambda: TwoMoons(sd=math.inf), "sd must be finite and above 0, got inf"),
        (lambda: DampedSine(middle=1.5), "middle must be finite and between 0 and 1.0, got 1.5"),
        (lambda: DampedSine(noise=-1), "noise must be finite and between 0 and inf, got -1"),
        (lambda: Toy("spiral"), "name must be one of eight_gaussians, rings, .*got 'spiral'"),
        (lambda: Toy(n=0), "n must be a number of rows, 1 or more, got 0"),
    ],
)
def test_senseless_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["rings", "checkerboard"])
def test_a_toy_data_set(name):
    toy = Toy(name, n=1000, split=(2, 1, 1))
    data = toy.load()
    assert [len(x) for x in (data.train, data.validation, data.test)] == [500, 250, 250]
    assert toy.density().log_density(data.test).isfinite().all()
    assert torch.equal(data.train, toy.load().train)
    assert not torch.equal(data.train, Toy(name, n=1000, split=(2, 1, 1), seed=1).load().train)
    assert torch.equal(data.to_original(data.test), data.test)
