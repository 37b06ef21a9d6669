"""log Z: accuracy on known targets, exact invariances, and refusals."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from boltzwalk.energies.analytic import (
    BoltzmannMachine,
    Funnel,
    Gaussian,
    GaussianMixture,
    GumbelProduct,
)
from boltzwalk.energies.composed import GaussianReference, Tempered
from boltzwalk.energy import ExactEnergy
from boltzwalk.smc.coordinates import AffineMap
from boltzwalk.smc.intervals import Interval
from boltzwalk.smc.log_z import Annealing, LogZ, estimate_log_z
from boltzwalk.smc.pilot import Pilot
from statistics_helpers import Counting

QUICK = Annealing(walkers=128, pilot=Pilot(conditional_ess=0.97, leapfrog_steps=4), chain_steps=0)
APART = GaussianMixture(((-6.0, 0.0), (6.0, 2.0)), (0.5, 1.0), (0.2, 0.8))
STRETCHED = tuple(torch.linspace(0.3, 1.0, 30).tolist())

TARGETS = {
    "gaussian": Gaussian(10, 1.0, tuple(torch.linspace(0.1, 3, 10).tolist())),
    "modes apart": APART,
    "gumbel": GumbelProduct(5),
    "funnel": Funnel(3, 1.0),
    "boltzmann machine": BoltzmannMachine.spins(10, 8, 4.0),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_log_z_of_known_targets(target, rng):
    like = target.sample(500, rng)
    found = estimate_log_z(target, like, rng, QUICK)
    assert found.refusal == ""
    assert abs(found.estimate - target.log_z) < 0.1
    assert found.low < target.log_z < found.high
    assert found.half_width < 0.15


@pytest.mark.slow
def test_from_a_reference_that_knows_nothing_of_the_target(rng):
    target, reference = Gaussian(30, 0.0, STRETCHED), Gaussian(30)
    assert isinstance(reference, ExactEnergy)
    like = reference.sample(100, rng)
    found = estimate_log_z(target, like, rng, QUICK, reference=reference)
    assert abs(found.estimate - target.log_z) < 0.2
    assert found.low < target.log_z < found.high


def test_the_reference_itself_has_its_own_log_z(rng):
    target = Gaussian(4, 1.0, 3.0)
    found = estimate_log_z(target, target.sample(50, rng), rng, QUICK, reference=target)
    assert found.estimate == pytest.approx(target.log_z, abs=1e-12)
    assert found.stages == 1


def test_there_and_back_agree(rng):
    like, samples = APART.sample(500, rng), APART.sample(2000, rng)
    found = estimate_log_z(APART, like, rng, QUICK, samples=samples)
    assert found.refusal == ""
    assert isinstance(found.reverse, Interval)
    assert abs(found.reverse.estimate - APART.log_z) <= 1.5 * found.reverse.half_width
    assert found.low <= found.reverse.estimate <= found.high
    there = sum(found.replicates) / 8
    assert min(there, found.reverse.estimate) < found.estimate < max(there, found.reverse.estimate)


def moved(energy, matrix, shift):
    """The same density over y with x = A y + b."""
    return lambda y: energy(y @ matrix.t() + shift)


@pytest.mark.parametrize(
    "matrix", [[[4.0, 0.0], [0.0, 0.5]], [[2.0, 0.0], [0.0, 1000.0]]], ids=["half", "thousand"]
)
def test_another_unit_adds_the_logarithm_of_its_volume(matrix, rng):
    """The walk in z is the same walk, so that log Z differs by log |det A| exactly."""
    matrix, shift = torch.tensor(matrix), torch.tensor([3.0, -500.0])
    like, scale = APART.sample(300, rng), matrix.diagonal()
    one = estimate_log_z(APART, like, torch.Generator().manual_seed(1), QUICK)
    energy, there = moved(APART, matrix, shift), (like - shift) / scale
    other = estimate_log_z(energy, there, torch.Generator().manual_seed(1), QUICK)
    volume = torch.linalg.slogdet(matrix).logabsdet.item()
    assert other.estimate == pytest.approx(one.estimate - volume, abs=1e-8)
    assert other.half_width == pytest.approx(one.half_width, abs=1e-8)
    assert (other.stages, other.evaluations) == (one.stages, one.evaluations)


@pytest.mark.slow
def test_a_constant_is_taken_off_exactly(rng):
    like = APART.sample(300, rng)
    one, other = (
        estimate_log_z(energy, like, torch.Generator().manual_seed(1), QUICK)
        for energy in (lambda x: APART(x), lambda x: APART(x) + 1000)
    )
    assert other.estimate == pytest.approx(one.estimate - 1000, abs=1e-8)


def test_a_temperature_is_that_of_the_energy(rng):
    """Z of exp(-U / T) for a Gaussian: log Z + (d / 2) log T."""
    target = Gaussian(3, 0.0, 0.5)
    found = estimate_log_z(Tempered(target, 4.0), target.sample(200, rng), rng, QUICK)
    assert found.estimate == pytest.approx(target.log_z + 1.5 * math.log(4), abs=0.1)


@pytest.mark.slow
def test_events_of_any_shape_and_networks(rng):
    class Picture(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Sequential(
                nn.Conv2d(2, 4, 2), nn.SiLU(), nn.Flatten(), nn.Linear(8, 1)
            )

        def forward(self, x):
            return 0 * self.inside(x).squeeze(1) + Gaussian(12, 0.5, 2.0)(x.flatten(1))

    like, samples = 2 * torch.randn(2, 300, 2, 2, 3, generator=rng) + 0.5
    energy, settings = Picture(), dataclasses.replace(QUICK, batch=50)
    found = estimate_log_z(energy, like, rng, settings, samples=samples)
    assert found.estimate == pytest.approx(Gaussian(12, 0.5, 2.0).log_z, abs=0.05)
    assert all(p.grad is None for p in energy.parameters())


class Sinh:
    """Coordinates x = sinh(z), in which heavy tails are light."""

    def to_x(self, z):
        return z.sinh(), z.cosh().log().sum(1)

    def to_z(self, x):
        return x.asinh()

    def pull_back(self, energy, z):
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            x, log_det = self.to_x(z)
            u = energy(x) - log_det
            (grad,) = torch.autograd.grad(u.sum(), z)
        return u.detach(), grad


def test_other_coordinates_have_the_same_log_z(rng):
    """A logistic density in each of 3 dimensions has Z = 1."""

    def energy(x):
        return (x + 2 * nn.functional.softplus(-x)).sum(1)

    samples = torch.logit(torch.rand(500, 3, generator=rng))
    found = estimate_log_z(energy, samples, rng, QUICK, bijection=Sinh(), samples=samples)
    assert found.refusal == ""
    assert abs(found.estimate) < 0.1
    assert abs(found.reverse.estimate) < 0.15


@pytest.mark.parametrize("back", [False, True])
def test_evaluations_are_counted(back, rng):
    energy = Counting(APART)
    like = APART.sample(100, rng)
    found = estimate_log_z(energy, like, rng, QUICK, samples=like if back else None)
    assert found.evaluations == energy.walkers
    energy = Counting(nn.Tanh())
    refused = estimate_log_z(lambda x: energy(x)[:, 0], like, rng, QUICK)
    assert refused.evaluations == energy.walkers == 3 * 16 + 32 + (32 + 32) * 12 + 4 * 11


@pytest.mark.slow
def test_it_is_a_function_of_the_generator(rng):
    like = APART.sample(100, rng)
    one, same, other = (
        estimate_log_z(APART, like, torch.Generator().manual_seed(seed), QUICK)
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one.estimate != other.estimate


def test_plain_annealed_importance_sampling(rng):
    """Never resampled; on an easy target the share stays high enough."""
    ais = dataclasses.replace(QUICK, pilot=dataclasses.replace(QUICK.pilot, threshold=None))
    target = GumbelProduct(3)
    found = estimate_log_z(target, target.sample(200, rng), rng, ais)
    assert abs(found.estimate) < 0.1
    assert found.share < 0.95


# Refusals


def refused(words, energy, like, rng, settings=QUICK, **options):
    found = estimate_log_z(energy, like, rng, settings, **options)
    assert words in found.refusal, found.refusal or str(found)
    assert math.isnan(found.estimate)
    assert math.isnan(found.half_width)
    assert str(found) == f"no log Z: {found.refusal}"
    return found


def test_a_bare_network_has_no_z(rng):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1), nn.Flatten(0))
    like = torch.randn(200, 2, generator=rng)
    refused("Z does not exist", net, like, rng)
    found = estimate_log_z(GaussianReference(net, 1.0), like, rng, QUICK)
    side = torch.linspace(-8, 8, 1001)
    with torch.no_grad():
        u = GaussianReference(net, 1.0)(torch.cartesian_prod(side, side))
    assert found.estimate == pytest.approx(
        torch.logsumexp(-u, 0).item() + 2 * math.log(16 / 1000), abs=0.1
    )


def test_a_bounded_energy_has_no_z(rng):
    like = torch.randn(200, 2, generator=rng)
    refused("Z does not exist", lambda x: x.square().sum(1).tanh(), like, rng)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_an_energy_that_is_no_number_is_named(value, rng):
    def broken(x):
        return torch.where(x[:, 0] > 1, value, Gaussian(2)(x))

    refused(f"the energy is {value} at", broken, torch.randn(200, 2, generator=rng), rng)


def test_nan_on_the_way_is_named(rng):
    """At the samples all is well; walkers of a long path meet the nan between two modes."""

    def broken(x):
        return torch.where(x[:, 0].abs() < 0.5, math.nan, APART(x))

    like = APART.sample(200, rng)
    refused("the energy is nan at", broken, like, rng)


def test_nothing_within_reach_is_named(rng):
    energy = lambda x: torch.where(x[:, 0] > 99, Gaussian(1)(x), math.inf)  # noqa: E731
    refused("infinite energy", energy, torch.randn(200, 1, generator=rng), rng)


def test_replicates_that_disagree_are_refused(rng):
    target = Gaussian(30, 0.0, STRETCHED)
    hasty = Annealing(walkers=8, pilot=Pilot(conditional_ess=0.5, leapfrog_steps=1))
    like = torch.randn(200, 30, generator=rng)
    found = refused("replicates disagree", target, like, rng, hasty)
    assert len(found.replicates) == 8
    strict = dataclasses.replace(QUICK, tolerance=1e-6)
    refused("the tolerance 1e-06", APART, APART.sample(200, rng), rng, strict)


def test_weights_that_collapse_are_refused(rng):
    """The pilot of two walkers sees nothing to be careful about."""
    pilot = Pilot(conditional_ess=0.3, leapfrog_steps=1, threshold=None)
    settings = Annealing(walkers=40, replicates=2, pilot=pilot, tolerance=100.0)
    target, reference = Gaussian(30, 0.0, STRETCHED), Gaussian(30)
    like = reference.sample(50, rng)
    refused("weights collapsed", target, like, rng, settings, reference=reference)


def test_samples_of_one_mode_contradict(rng):
    """A reference that lies over one of two modes: no forward walker ever finds the other."""
    both = APART.sample(3000, rng)
    here, there = both[both[:, 0] < 0], both[both[:, 0] > 0]
    silent = estimate_log_z(APART, here, rng, QUICK)
    assert silent.refusal == "", "what no walker found does not show"
    assert silent.estimate == pytest.approx(APART.log_z + math.log(0.2), abs=0.1)
    for samples in (both, there):
        found = estimate_log_z(APART, here, rng, QUICK, samples=samples)
        assert found.refusal, "the way back sees it"


def test_samples_of_another_density_contradict(rng):
    target = Gaussian(2)
    like = target.sample(300, rng)
    refused("contradict each other", target, like, rng, samples=2 + like)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reference": Gaussian(2), "bijection": Sinh()}, "got a reference and a bijection"),
        ({"samples": torch.zeros(15, 2)}, "2 samples for each of the 8 replicates, got 15"),
        ({"samples": torch.zeros(50, 3)}, r"takes x of shape \(N, 2\), got \(50, 3\)"),
    ],
)
def test_wrong_arguments_are_refused(options, words, rng):
    with pytest.raises(ValueError, match=words):
        estimate_log_z(APART, APART.sample(50, rng), rng, QUICK, **options)


def test_wrong_energies_are_refused(rng):
    like = APART.sample(50, rng)
    with pytest.raises(ValueError, match="batch"):
        estimate_log_z(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)), like, rng, QUICK)
    with pytest.raises(ValueError, match=r"energy\(x\) must have shape"):
        estimate_log_z(nn.Linear(2, 1), like, rng, QUICK)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Annealing(walkers=1), "walkers must be >= 2, got 1; 512 is usual"),
        (lambda: Annealing(replicates=1), "replicates must be >= 2, got 1; 8 is usual"),
        (lambda: Annealing(batch=0), "batch must be >= 1"),
        (lambda: Annealing(tolerance=0.0), "tolerance must be > 0"),
        (lambda: Annealing(tolerance=math.nan), "tolerance must be > 0"),
    ],
)
def test_wrong_settings_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_it_prints_a_number_or_a_reason_and_never_both():
    given = LogZ(-12.3456, 0.0789, "")
    assert str(given) == "-12.346 ± 0.079"
    assert (given.low, given.high) == (-12.3456 - 0.0789, -12.3456 + 0.0789)
    assert str(LogZ(math.nan, math.nan, "it is raining")) == "no log Z: it is raining"


def test_float32_walkers_are_enough(rng):
    target = Gaussian(10, 100.0, 0.5)
    like = target.sample(500, rng).float()
    found = estimate_log_z(target, like, rng, QUICK)
    assert abs(found.estimate - target.log_z) < 0.05


def test_a_fitted_gaussian_is_made_once(rng):
    """What fits the reference is like; the bijection is what is given."""
    target = Gaussian(2, 5.0, 2.0)
    exact = AffineMap(torch.full((2,), 5.0), torch.full((2,), 2.0))
    found = estimate_log_z(target, torch.randn(9, 2, generator=rng), rng, QUICK, bijection=exact)
    assert found.stages == 1
    assert found.estimate == pytest.approx(target.log_z, abs=1e-10)
