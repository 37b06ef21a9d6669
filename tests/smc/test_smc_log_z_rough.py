"""log Z of energies as people bring them: one column, supports, offsets, units, broken energies."""

import math

import pytest
import torch
from scipy import integrate
from torch import nn
from torch.nn import functional

from boltzwalk.energies.analytic import Gaussian
from boltzwalk.smc.coordinates import fit_affine
from boltzwalk.smc.existence import outside_reason, unbounded_rays
from boltzwalk.smc.from_samples import Effort, log_z_from_samples
from boltzwalk.smc.log_z import Annealing, estimate_log_z
from boltzwalk.smc.long_chains import start_chains
from boltzwalk.smc.pilot import Pilot
from boltzwalk.walkers import walkers_at

PILOT = Pilot(conditional_ess=0.97, leapfrog_steps=4)
QUICK = Annealing(walkers=64, replicates=4, pilot=PILOT, chain_steps=10)
THOROUGH = Annealing(walkers=256, replicates=4, pilot=PILOT, chain_steps=10)
FORWARD = Annealing(walkers=64, replicates=4, pilot=PILOT, chain_steps=0)


def quadratic(x):
    return x.square().sum(1) / 2


def mixture(x):
    """Four fifths of the mass in a narrow mode, a fifth in a wide one three units away."""
    narrow = math.log(0.8 / 0.2) - x.square().sum(1) / 0.08
    wide = math.log(0.2) - (x - 3).square().sum(1) / 2
    return -torch.logaddexp(narrow, wide)


def mixture_samples(n, rng):
    z, narrow = torch.randn(n, 1, generator=rng), torch.rand(n, 1, generator=rng) < 0.8
    return torch.where(narrow, 0.2 * z, 3 + z)


# Rays


@pytest.mark.parametrize("dim", [1, 2, 50])
@pytest.mark.parametrize("n", [32, 1000])
def test_a_normal_density_has_a_z_for_any_seed(dim, n, rng):
    """A walker near the mean made too short a ray: 67 of 100 seeds at d = 1."""
    for _ in range(20):
        assert unbounded_rays(quadratic, torch.randn(n, dim, generator=rng)) == ""


def test_a_skewed_density_has_a_z_for_any_seed(rng):
    for _ in range(20):
        assert unbounded_rays(mixture, mixture_samples(1000, rng)) == ""


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(
    "energy",
    [
        lambda x: x[:, 0],
        lambda x: -x[:, 0].abs(),
        lambda x: torch.log1p(x.flatten(1).norm(dim=1)),
        lambda x: 0 * x[:, 0],
        lambda x: torch.where(x[:, 0] > 0, 0 * x[:, 0], math.inf),
        lambda x: x.square().sum(1).tanh(),
    ],
    ids=["line", "down both ways", "1 / x", "flat", "half a line", "bounded"],
)
def test_one_dimension_without_a_z_is_refused(energy, scale, rng):
    x = scale * torch.rand(64, 1, generator=rng)
    assert "Z does not exist" in unbounded_rays(energy, x)


def test_a_flat_axis_is_refused_and_named(rng):
    x = torch.randn(64, 3, generator=rng)
    reason = unbounded_rays(lambda x: x[:, [0, 2]].square().sum(1), x)
    assert "the first of entry 1," in reason
    open_box = unbounded_rays(
        lambda x: torch.where((x[:, 0] > 0) & (x[:, 1:].abs() < 1).all(1), 0 * x[:, 0], math.inf),
        torch.rand(64, 3, generator=rng),
    )
    assert "the first of entry 0," in open_box


def test_a_product_of_cauchy_densities_is_not_refused(rng):
    """Along an axis it grows by 2 log 2 at a doubling, less than d log 2."""
    x = torch.randn(64, 5, generator=rng) / torch.randn(64, 5, generator=rng)
    assert unbounded_rays(lambda x: torch.log1p(x.square()).sum(1), x) == ""


@pytest.mark.slow
def test_a_flat_direction_that_is_no_axis_is_refused(rng):
    like = torch.randn(500, 2, generator=rng)
    found = estimate_log_z(lambda x: x.sum(1).square() / 2, like, rng, THOROUGH)
    assert "times as far out as nine tenths of the samples" in found.refusal


def test_walkers_like_the_samples_are_not_outside(rng):
    like, x = torch.randn(2, 200, 3, generator=rng)
    assert outside_reason(walkers_at(quadratic, 2 * x), like) == ""
    assert outside_reason(walkers_at(quadratic, 40 * x), like)


# One column


@pytest.mark.parametrize(
    ("energy", "sample"),
    [
        (quadratic, lambda n, rng: torch.randn(n, 1, generator=rng)),
        (mixture, mixture_samples),
    ],
    ids=["normal", "skewed"],
)
def test_one_column_has_a_likelihood(energy, sample, rng):
    """Against quadrature."""

    def density(x):
        return math.exp(-float(energy(torch.tensor([[x]]))))

    z = integrate.quad(density, -10, 12, points=[0, 3], limit=200)[0]
    found = estimate_log_z(energy, sample(500, rng), rng, THOROUGH)
    assert found.refusal == ""
    assert found.low <= math.log(z) <= found.high
    assert found.half_width < 0.2


def test_samples_of_one_column_give_a_likelihood(rng):
    effort = Effort(steps=20, annealing=QUICK)
    found = log_z_from_samples(quadratic, torch.randn(200, 1, generator=rng), rng, effort)
    assert found.refusal == ""
    assert found.low <= math.log(2 * math.pi) / 2 <= found.high


# Supports


def disc_samples(n, rng):
    direction = functional.normalize(torch.randn(n, 2, generator=rng))
    return direction * torch.rand(n, 1, generator=rng).sqrt()


SUPPORTS = {
    "square": (
        lambda x: torch.where((x.abs() < 1).all(1), 0 * x.sum(1), math.inf),
        lambda n, rng: 2 * torch.rand(n, 2, generator=rng) - 1,
        math.log(4),
    ),
    "exponential": (
        lambda x: torch.where(x[:, 0] > 0, x[:, 0], math.inf),
        lambda n, rng: -torch.rand(n, 1, generator=rng).log(),
        0.0,
    ),
    "half a normal": (
        lambda x: torch.where(x[:, 0] > 0, x[:, 0] ** 2 / 2, math.inf),
        lambda n, rng: torch.randn(n, 1, generator=rng).abs(),
        math.log(math.pi / 2) / 2,
    ),
    "disc": (
        lambda x: torch.where(x.norm(dim=1) < 1, 0 * x.sum(1), math.inf),
        disc_samples,
        math.log(math.pi),
    ),
}


@pytest.mark.parametrize("name", SUPPORTS)
def test_a_support_is_counted_in_both_directions(name, rng):
    """The way back never leaves the support, and was off by the share that the reference has."""
    energy, sample, log_z = SUPPORTS[name]
    found = estimate_log_z(energy, sample(400, rng), rng, FORWARD, samples=sample(1000, rng))
    assert found.refusal == ""
    assert found.low <= log_z <= found.high
    assert abs(found.reverse.estimate - log_z) < 0.1


# Offsets


def test_energies_that_lost_their_digits_are_refused(rng):
    like = torch.randn(300, 2, generator=rng, dtype=torch.float32)
    found = estimate_log_z(lambda x: quadratic(x) + 1e7, like, rng, FORWARD)
    assert "energies near 1e+07 are rounded by up to 0.6" in found.refusal
    double = estimate_log_z(lambda x: quadratic(x) + 1e7, like.double(), rng, FORWARD)
    assert double.low <= math.log(2 * math.pi) - 1e7 <= double.high


def test_the_rounding_of_energies_widens_the_interval(rng):
    like, seed = torch.randn(300, 2, generator=rng, dtype=torch.float32), 1
    near, far = (
        estimate_log_z(
            lambda x, c=c: quadratic(x) + c, like, torch.Generator().manual_seed(seed), FORWARD
        )
        for c in (0.0, 1e5)
    )
    assert far.half_width > near.half_width + 0.005
    assert far.low <= math.log(2 * math.pi) - 1e5 <= far.high


# Units


def test_coordinates_of_any_scale_are_whitened(rng):
    scale = torch.tensor([1e5, 1e-5])
    like, samples = (scale * torch.randn(300, 2, generator=rng) for _ in range(2))
    torch.testing.assert_close(fit_affine(like).factor.diagonal(), like.std(0), rtol=1e-2, atol=0)
    found = estimate_log_z(lambda x: quadratic(x / scale), like, rng, FORWARD, samples=samples)
    assert found.low <= math.log(2 * math.pi) <= found.high
    assert found.half_width < 0.1


def test_a_mean_far_away_is_no_matter(rng):
    like = 1e6 + torch.randn(300, 3, generator=rng, dtype=torch.float32)
    found = estimate_log_z(lambda x: quadratic(x - 1e6), like, rng, FORWARD)
    assert abs(found.estimate - 1.5 * math.log(2 * math.pi)) < 0.05


def test_numbers_without_digits_are_refused():
    like = 1e8 + 40 * torch.randn(50, 2, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"entry 0 with a standard deviation .* use float64"):
        fit_affine(like)


@pytest.mark.parametrize("correlation", [0.99, pytest.param(0.9999, marks=pytest.mark.slow)])
def test_correlated_coordinates_are_no_matter(correlation, rng):
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    factor = torch.linalg.cholesky(covariance)
    like, samples = (torch.randn(300, 2, generator=rng) @ factor.t() for _ in range(2))

    def energy(x):
        return quadratic(torch.linalg.solve_triangular(factor, x.t(), upper=False).t())

    found = estimate_log_z(energy, like, rng, FORWARD, samples=samples)
    log_z = math.log(2 * math.pi) + float(covariance.logdet()) / 2
    assert found.low <= log_z <= found.high


def test_a_path_between_scales_of_a_reference_moves_all_of_them(rng):
    """With a reference of one's own nothing is whitened: the start has the scales."""
    reference = Gaussian(2, 0.0, (1e4, 1e-4))
    target = Gaussian(2, 0.0, (5e3, 2e-4))
    like = target.sample(100, rng)
    found = estimate_log_z(target, like, rng, FORWARD, reference=reference)
    assert found.low <= target.log_z <= found.high


# Both directions


def spike(x):
    """Half of the mass within 0.01 of a point two units away."""
    narrow = -(x - 2).square().sum(1) / 2e-4 - 2 * math.log(0.01)
    return -torch.logaddexp(narrow, -quadratic(x)) + math.log(2)


def test_the_default_goes_back_from_the_samples(rng):
    """Forward walkers do not enter the spike: 0.6 too low, with ± 0.2."""
    z, narrow = torch.randn(400, 2, generator=rng), torch.rand(400, 1, generator=rng) < 0.5
    like = torch.where(narrow, 2 + 0.01 * z, z)
    found = estimate_log_z(spike, like, rng, QUICK)
    assert found.refusal
    assert found.reverse is not None


def test_chains_keep_a_density_and_take_states_in_order(rng):
    scale = torch.tensor([1e3, 1e-3])
    chains = start_chains(lambda x: quadratic(x / scale), scale * torch.randn(200, 2), rng)
    x = chains.run(30, rng, states=4) / scale
    assert x.shape == (200, 4, 2)
    assert (x.square().mean((0, 1)) - 1).abs().max() < 0.3
    assert (x[:, 1:] != x[:, :-1]).flatten(1).any(1).float().mean() > 0.9


def test_samples_outside_of_the_support_start_no_chain(rng):
    energy, _, _ = SUPPORTS["exponential"]
    x = torch.rand(50, 1, generator=rng) - 0.5
    assert bool((start_chains(energy, x, rng).x > 0).all())
    with pytest.raises(FloatingPointError, match="all 50 samples have an infinite energy"):
        start_chains(energy, x - 1, rng)


# Energies that are none

X = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
LAYER, LAST = nn.Linear(2, 32), nn.Linear(32, 1)
NORM = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))
WRONG = {
    "dropout": (lambda x: quadratic(x) + LAST(functional.dropout(LAYER(x)))[:, 0], "deterministic"),
    "noise": (lambda x: quadratic(x) + 0.01 * torch.randn(len(x)), "deterministic"),
    "batch norm": (lambda x: quadratic(x) + NORM(x), "other rows|must not change it"),
    "centring": (lambda x: quadratic(x - x.mean(0)), "depend on the other rows"),
    "sorting": (lambda x: quadratic(x.sort(0).values), "depend on the other rows"),
    "rows that count": (lambda x: quadratic(x) + torch.arange(len(x)), "the other rows"),
    "a constant": (lambda x: torch.zeros(len(x)), "differentiable operations"),
    "a column": (lambda x: x.square().sum(1, keepdim=True), "squeeze"),
    "a number": (lambda x: 3.0, "got float"),
    "detached": (lambda x: quadratic(x).detach(), "differentiable operations"),
    "numpy": (lambda x: torch.as_tensor(quadratic(x.detach()).numpy()), "differentiable"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_energy_has_no_log_z(name, rng):
    energy, words = WRONG[name]
    for call in (
        lambda: estimate_log_z(energy, X, rng, FORWARD),
        lambda: log_z_from_samples(energy, X, rng, Effort(samples=64, annealing=FORWARD)),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_what_is_no_energy_in_training_mode_may_be_one_in_evaluation_mode(rng):
    energy = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.SiLU(), nn.Linear(8, 1))
    energy.append(nn.Flatten(0)).to(X)
    with pytest.raises(ValueError, match="deterministic"):
        estimate_log_z(energy, X, rng, FORWARD)
    assert "Z does not exist" in estimate_log_z(energy.eval(), X, rng, FORWARD).refusal


def test_arguments_that_do_not_fit_have_an_answer(rng):
    net = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)).float()
    with pytest.raises(ValueError, match=r"like must have shape .* write like\[:, None\]"):
        estimate_log_z(quadratic, X[:, 0], rng)
    with pytest.raises(ValueError, match=r"one type, got x of torch.float64"):
        estimate_log_z(net, X.double(), rng)
    with torch.inference_mode(), pytest.raises(ValueError, match=r"write torch.no_grad\(\)"):
        walkers_at(quadratic, X)
