"""log Z by annealing: identities, unbiased both ways, right on targets, or refused."""

import math

import pytest
import torch

from boltzwalk.energies import Multilayer
from boltzwalk.energies.analytic import BoltzmannMachine, Funnel, Gaussian, GaussianMixture
from boltzwalk.smc.annealing import Schedule, anneal
from boltzwalk.smc.coordinates import Affine, PulledBack, fit_affine
from boltzwalk.smc.log_z import Annealing, estimate_log_z
from boltzwalk.smc.normalisable import unbounded_rays
from boltzwalk.smc.path import Path, Stage
from boltzwalk.walkers import log_mean_weight
from statistics_helpers import Counting, assert_mean

START, END = Gaussian(2, scale=(1.0, 2.0)), Gaussian(2, loc=(0.5, -1.0), scale=0.8)
RATIO = END.log_z - START.log_z
SMALL = Annealing(walkers=256)


def schedule(steps, stages=5):
    """Even stages; steps far too large and far too small to mix."""
    return Schedule(tuple(Stage(i / stages, steps, torch.ones(2)) for i in range(stages + 1)))


def test_without_moves_the_weight_is_the_ratio_of_the_densities(rng):
    x = START.sample(100, rng)
    found = anneal(Path(START, END), x, schedule(()), rng, threshold=None).walkers
    torch.testing.assert_close(found.log_w, START(x) - END(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.energy, END(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.x, x)


@pytest.mark.parametrize("steps", [(), (0.05,), (1.5, 0.2)])
def test_the_mean_weight_is_unbiased_there_and_back(rng, steps):
    """However bad the moves: E[w] is Z1 / Z0 from samples of the start, Z0 / Z1 from the end."""
    there, path = schedule(steps), Path(START, END)
    forward = anneal(path, START.sample(20_000, rng), there, rng, threshold=None)
    assert_mean((forward.walkers.log_w - RATIO).exp(), 1.0, "Z1 / Z0")
    back = anneal(path, END.sample(20_000, rng), there.reversed(), rng, threshold=None)
    assert_mean((back.walkers.log_w + RATIO).exp().clamp(max=1e6), 1.0, "Z0 / Z1")


def test_resampling_keeps_it_unbiased(rng):
    """Of 2000 replicates of 16 walkers that resample at nearly every stage."""
    x = START.sample(2000 * 16, rng)
    found = anneal(Path(START, END), x, schedule((0.3,)), rng, replicates=2000, threshold=0.95)
    blocks = found.walkers.log_w.reshape(2000, 16)
    means = log_mean_weight(blocks)
    assert (blocks == blocks[:, :1]).all(1).double().mean() > 0.3  # resampled at the last stage
    assert_mean((means - RATIO).exp(), 1.0, "Z1 / Z0")


def test_the_end_is_sampled(rng):
    """Weighted moments of the walkers are those of the target."""
    x = START.sample(20_000, rng)
    walkers = anneal(Path(START, END), x, schedule((0.5, 0.5), 10), rng, threshold=None).walkers
    w = (walkers.log_w - RATIO).exp()
    for i in range(2):
        off = walkers.x[:, i] - END.mean[i]
        assert_mean(w * off, 0.0, f"mean {i}")
        assert_mean(w * (off.square() - 0.64), 0.0, f"variance {i}")


@pytest.mark.parametrize("factor", ["full", "diagonal"])
def test_coordinates_leave_log_z_alone(rng, factor):
    """The energy in z is that of the transported density, up to the constant of the target."""
    location, lower = torch.tensor([1.0, -2.0]), torch.tensor([[2.0, 0.0], [0.7, 0.5]])
    transport = Affine(location, lower if factor == "full" else lower.diagonal())
    z = torch.randn(50, 2, generator=rng)
    x, log_det = transport.to_x(z)
    torch.testing.assert_close(transport.to_z(x), z)
    pulled = PulledBack(END, transport)
    torch.testing.assert_close(pulled(z), END(x) - log_det, rtol=0, atol=1e-10)
    expected = torch.autograd.functional.jacobian(lambda z: pulled(z).sum(), z)
    u, grad = pulled.energy_and_grad(z)
    torch.testing.assert_close(u, pulled(z))
    torch.testing.assert_close(grad, expected)


def test_the_fitted_gaussian_has_the_moments_of_the_samples(rng):
    like = torch.randn(400, 2, 2, generator=rng) @ torch.tensor([[1.0, 0.5], [0.0, 3.0]])
    transport, rows = fit_affine(like), like.flatten(1)
    torch.testing.assert_close(transport.location, like.mean(0))
    covariance = transport.factor @ transport.factor.t()
    torch.testing.assert_close(covariance.diagonal(), rows.var(0))
    torch.testing.assert_close(covariance, torch.cov(rows.t()), rtol=0.02, atol=0.05)


MACHINE = BoltzmannMachine.spins(dim=8, units=6, strength=2.0)
TARGETS = {
    "gaussian": Gaussian(20, loc=1.0, scale=tuple(torch.linspace(0.1, 3, 20).tolist())),
    "mixture": GaussianMixture(((-6.0, 0.0), (6.0, 2.0)), (0.5, 1.0), (0.2, 0.8)),
    "funnel": Funnel(5, 1.0),
    "machine": MACHINE,
}


@pytest.mark.parametrize("name", TARGETS)
def test_log_z_of_targets(rng, name):
    """Within 0.05 nat and, at a fixed seed, twice the interval; and back from exact samples."""
    target = TARGETS[name]
    samples = target.sample(1024, rng)
    found = estimate_log_z(target, target.sample(1000, rng), rng, SMALL, samples=samples)
    assert found.refusal == ""
    error = abs(found.estimate - target.log_z)
    assert error < 0.05
    assert error < 2 * found.half_width < 0.2
    assert abs(found.reverse.estimate - target.log_z) < 2 * found.reverse.half_width


def test_a_hundred_dimensions_from_a_reference_that_knows_nothing(rng):
    target = Gaussian(100, scale=tuple(torch.linspace(0.3, 1.0, 100).tolist()))
    found = estimate_log_z(
        target, torch.zeros(2, 100), rng, Annealing(walkers=64), reference=Gaussian(100)
    )
    assert abs(found.estimate - target.log_z) < 0.15
    assert found.half_width < 0.3


def test_evaluations_are_counted(rng):
    counting = Counting(END)
    like = END.sample(200, rng)
    samples = END.sample(512, rng)
    found = estimate_log_z(counting, like, rng, Annealing(walkers=64), samples=samples)
    assert found.refusal == ""
    assert found.evaluations == counting.walkers


def test_events_of_any_shape(rng):
    def energy(x):
        return x.square().flatten(1).sum(1) * 2

    found = estimate_log_z(energy, torch.randn(200, 1, 2, 2, generator=rng) / 2, rng, SMALL)
    assert found.estimate == pytest.approx(2 * math.log(math.pi / 2), abs=0.05)


def leaky():
    network = Multilayer((16, 16), activation="leaky_relu").build((2,))
    torch.nn.init.constant_(network.head.weight, -1.0)
    return network


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (lambda x: x.sum(1), "Z does not exist"),
        (lambda x: x.square().sum(1).tanh(), "Z does not exist"),
        (lambda x: leaky()(x), "Z does not exist"),
        (lambda x: math.nan * x.sum(1), "nan at"),
        (lambda x: torch.where(x[:, 0] > 0, -math.inf, x[:, 0] ** 2), "-inf at"),
    ],
    ids=["linear", "bounded", "leaky network", "nan", "minus infinity"],
)
def test_what_has_no_log_z_is_refused_with_the_reason(rng, energy, words):
    found = estimate_log_z(energy, torch.randn(100, 2, generator=rng), rng, Annealing(walkers=64))
    assert words in found.refusal
    assert math.isnan(found.estimate)
    assert str(found) == f"no log Z: {found.refusal}"


def test_samples_of_one_mode_contradict_the_estimate(rng):
    """The way back from half of a density knows half of its Z."""
    target = TARGETS["mixture"]
    samples = target.sample(4000, rng)
    found = estimate_log_z(target, samples, rng, SMALL, samples=samples[samples[:, 0] < 0])
    assert "forward and reverse contradict each other" in found.refusal


def test_replicates_that_disagree_are_refused(rng):
    target = Gaussian(20, scale=0.05)
    few = Annealing(walkers=4, tolerance=0.05)
    found = estimate_log_z(target, torch.zeros(2, 20), rng, few, reference=Gaussian(20))
    assert found.refusal
    assert math.isnan(found.low)


def test_a_density_that_ends_is_none_of_the_rays_business(rng):
    """A box: plus infinity outside, which is as confining as can be."""
    inside = torch.rand(100, 2, generator=rng)
    box = lambda x: torch.where((x - 0.5).abs().amax(1) < 0.5, 0.0, math.inf)  # noqa: E731
    assert unbounded_rays(box, inside) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"like": torch.zeros(1, 2)}, "two or more finite samples"),
        ({"like": torch.zeros(9, 2)}, "samples must differ"),
        ({"samples": torch.zeros(3, 2)}, "2 samples for each of the 8 replicates, got 3"),
        ({"reference": Gaussian(2), "transport": Affine(torch.zeros(2), torch.ones(2))}, "one"),
    ],
    ids=["one sample", "one point", "too few to go back", "two references"],
)
def test_arguments_that_make_no_sense(rng, arguments, words):
    given = {"like": torch.randn(50, 2, generator=rng), **arguments}
    with pytest.raises(ValueError, match=words):
        estimate_log_z(END, given.pop("like"), rng, SMALL, **given)


@pytest.mark.parametrize("change", [{"walkers": 1}, {"replicates": 1}, {"tolerance": 0.0}])
def test_settings_out_of_range(change):
    with pytest.raises(ValueError, match="must be >"):
        Annealing(**change)
