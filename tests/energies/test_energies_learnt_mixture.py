"""The mixture that learns: its constants against quadrature and the analytic mixture, its draws."""

import copy
import dataclasses
import math

import pytest
import torch
from scipy import stats

from boltzwalk.energies.analytic import GaussianMixture
from boltzwalk.energies.exact import exact_samples
from boltzwalk.energies.learnt_mixture import LearntMixture, MixtureEnergy
from boltzwalk.energy import attached_energy_and_grad, energy_and_grad, require_rowwise_energy
from statistics_helpers import assert_mean

LINE = ([[-2.0], [3.0], [0.5]], [0.7, -1.1])
PLANE = ([[-2.0, 1.0], [3.0, 0.5]], [-1.3])
MANY = ([[-10.0, *[0.0] * 49], [6.0, *[0.1] * 49]], [-math.log(3)])


def mixture(means, levels, log_mass_rate=1.0, dtype=torch.float64):
    """A mixture with these levels, whatever the rate."""
    energy = LearntMixture(torch.tensor(means, dtype=dtype), log_mass_rate)
    with torch.no_grad():
        energy.zeta.copy_(torch.tensor(levels) / math.sqrt(log_mass_rate))
    return energy


def analytic(means, levels):
    weights = tuple(math.exp(-z) for z in (0.0, *levels))
    return GaussianMixture(tuple(tuple(mean) for mean in means), 1.0, weights)


each = pytest.mark.parametrize("case", [LINE, PLANE, MANY], ids=["1-D", "2-D", "50-D"])


@each
def test_it_is_the_analytic_mixture_up_to_the_masses(case, rng):
    """The analytic one divides its masses by their sum; that is all the difference."""
    energy, truth = mixture(*case, 5.0), analytic(*case)
    x = torch.cat([truth.sample(200, rng), 5 * torch.randn(200, truth.dim, generator=rng)])
    shift = truth.log_z - energy.log_z
    torch.testing.assert_close(energy(x), truth(x) + shift, rtol=0, atol=1e-10)
    u, grad = energy_and_grad(energy, x)
    expected_u, expected = energy_and_grad(truth, x)
    torch.testing.assert_close(u, expected_u + shift, rtol=0, atol=1e-10)
    torch.testing.assert_close(grad, expected, rtol=0, atol=1e-10)
    weights = torch.tensor(truth.weights)
    torch.testing.assert_close(energy.masses, weights / weights.sum(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [LINE, PLANE], ids=["1-D", "2-D"])
def test_log_z_and_masses_by_quadrature(case):
    """The trapezoidal rule converges exponentially where nothing is left outside."""
    energy = mixture(*case, 3.0)
    step = 0.05
    axis = torch.arange(-13.0, 13.0, step)
    x = torch.cartesian_prod(*[axis] * len(case[0][0])).reshape(-1, len(case[0][0]))
    with torch.no_grad():
        log_z = torch.logsumexp(-energy(x), 0) + x.shape[1] * math.log(step)
        assert log_z.item() == pytest.approx(energy.log_z, abs=1e-10)
        for m, mean in enumerate(energy.means):
            alone = -(x - mean).square().sum(1) / 2 - energy.levels[m]
            mass = torch.logsumexp(alone, 0) + x.shape[1] * math.log(step) - log_z
            assert mass.exp().item() == pytest.approx(energy.masses[m].item(), abs=1e-10)


@each
def test_gradients_against_automatic_differentiation_of_the_definition(case, rng):
    """Of the sum of exponentials as it is written, by one (N, M, d) tensor."""
    energy = mixture(*case, 5.0)
    x = 4 * torch.randn(30, energy.means.shape[1], generator=rng)
    share = torch.softmax(torch.randn(30, generator=rng), 0)

    means, zeta = (p.detach().clone().requires_grad_() for p in (energy.means, energy.zeta))
    moving = x.clone().requires_grad_()
    levels = torch.cat([torch.zeros(1), math.sqrt(5.0) * zeta])
    square = (moving[:, None] - means).square().sum(2) / 2
    u = -torch.logsumexp(-square - levels, 1)
    expected = torch.autograd.grad(u @ share, (means, zeta), retain_graph=True)
    (expected_x,) = torch.autograd.grad(u.sum(), moving)

    torch.testing.assert_close(energy(x), u, rtol=0, atol=1e-10)
    torch.testing.assert_close(energy_and_grad(energy, x)[1], expected_x, rtol=0, atol=1e-10)
    attached, grad = attached_energy_and_grad(energy, x)
    torch.testing.assert_close(grad, expected_x, rtol=0, atol=1e-10)
    for loss in (energy(x) @ share, attached @ share):
        found = torch.autograd.grad(loss, (energy.means, energy.zeta))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert not energy_and_grad(energy, x)[0].requires_grad


@pytest.mark.parametrize("dim", [1, 2, 50])
def test_gradcheck(dim, rng):
    means = torch.randn(3, dim, generator=rng)
    energy, x = LearntMixture(means, 2.0), torch.randn(4, dim, generator=rng).requires_grad_()
    assert torch.autograd.gradcheck(energy, (x,))


def test_a_step_moves_the_levels_at_their_own_rate(rng):
    """A step on zeta at rate h is one on the level at r h: the published 0.0125 beside 0.0025."""
    x = torch.randn(50, 1, generator=rng)
    moved = {}
    for rate in (1.0, 5.0):
        energy = mixture([[-1.0], [2.0]], [0.4], rate)
        torch.optim.SGD(energy.parameters(), 0.0025).zero_grad()
        energy(x).mean().backward()
        with torch.no_grad():
            for parameter in energy.parameters():
                parameter -= 0.0025 * parameter.grad
        moved[rate] = energy.levels[1].item() - 0.4, energy.means.detach()
    assert moved[5.0][0] == pytest.approx(5 * moved[1.0][0], rel=1e-10)
    torch.testing.assert_close(moved[5.0][1], moved[1.0][1])


@each
def test_samples_have_the_moments_of_the_mixture(case, rng):
    energy, truth = mixture(*case, 5.0), analytic(*case)
    x = energy.sample(100_000, rng)
    assert not x.requires_grad
    for i in (0, truth.dim - 1):
        assert_mean(x[:, i], truth.mean[i].item(), f"E[x_{i}]")
        centred = (x[:, i] - truth.mean[i]).square()
        assert_mean(centred, truth.variance[i].item(), f"Var[x_{i}]")
    _, grad = energy_and_grad(energy, x)
    assert_mean(grad[:, 0], 0.0, "E[dU/dx_0]")
    assert_mean((x[:, 0] - truth.mean[0]) * grad[:, 0], 1.0, "E[x_0 dU/dx_0]")


def test_samples_fall_into_the_modes_by_their_masses(rng):
    energy = mixture([[-30.0], [0.0], [30.0], [60.0]], [0.5, -1.0, 2.0])
    counts = ((energy.sample(100_000, rng) + 45) / 30).long().flatten().bincount(minlength=4)
    assert stats.chisquare(counts.numpy(), 100_000 * energy.masses.numpy()).pvalue > 1e-6
    assert energy.sample(0, rng).shape == (0, 1)


def test_exact_samples_takes_them_as_they_are(rng):
    """Where weighted walkers start."""
    energy = mixture(*PLANE)
    x, log_z = exact_samples(energy, 10, torch.zeros(1, 2), rng)
    assert log_z == energy.log_z
    assert x.shape == (10, 2)


def test_it_learns_masses_by_maximum_likelihood(rng):
    """With exact samples for the model the gradient vanishes at the truth: 1/4 and 3/4."""
    data = GaussianMixture(((-6.0,), (4.0,)), 1.0, (1.0, 3.0)).sample(4000, rng)
    energy = LearntMixture(torch.tensor([[-5.0], [5.0]]), 5.0)
    optimizer = torch.optim.SGD(energy.parameters(), 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        (energy(data).mean() - energy(energy.sample(4000, rng)).mean()).backward()
        optimizer.step()
    share = (data < -1).double().mean().item()
    assert energy.masses[0].item() == pytest.approx(share, abs=0.02)
    assert energy.means.flatten().tolist() == pytest.approx([-6.0, 4.0], abs=0.15)


def test_autocast_leaves_it_alone(rng):
    """Eight bits of an energy of 50 would be an error of 0.2."""
    torch.set_default_dtype(torch.float32)
    energy = mixture(*MANY, dtype=torch.float32)
    x = energy.sample(20, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        u, grad = energy_and_grad(energy, x)
        attached = energy(x)
    assert torch.equal(attached, energy(x))
    torch.testing.assert_close(attached, u, rtol=0, atol=1e-4)
    assert torch.equal(u, energy_and_grad(energy, x)[0])
    assert torch.equal(grad, energy_and_grad(energy, x)[1])


def test_float32_is_as_good_as_its_positions(rng):
    single, double = mixture(*MANY, dtype=torch.float32), mixture(*MANY)
    x = double.sample(1000, rng).float()
    u, grad = energy_and_grad(single, x)
    expected_u, expected = energy_and_grad(double, x.double())
    torch.testing.assert_close(u.double(), expected_u, rtol=0, atol=1e-4)
    torch.testing.assert_close(grad.double(), expected, rtol=0, atol=1e-4)


def test_settings_build_the_published_start():
    settings = MixtureEnergy(modes=3, offset=0.2, noise=0.0)
    energy = settings.build((4,), 0)
    require_rowwise_energy(energy)
    assert energy.means[:, 0].tolist() == pytest.approx([-0.2, 0.0, 0.2])
    assert not energy.means[:, 1:].any()
    assert energy.masses.tolist() == pytest.approx([1 / 3] * 3)
    assert energy.log_z == pytest.approx(2 * math.log(2 * math.pi) + math.log(3), abs=1e-12)
    noisy = dataclasses.replace(settings, noise=0.05).build((20_000,), 0)
    assert_mean(noisy.means[0, 1:].detach().square(), 0.05**2, "variance of the first means")
    assert MixtureEnergy(modes=1).build((4,), 0).means[0, 0].abs() < 0.1
    assert MixtureEnergy().build((4,), 0).log_mass_rate == 5.0


def test_the_seed_determines_the_parameters_and_nothing_else():
    before = torch.get_rng_state()
    first, again, other = (MixtureEnergy().build((3,), seed).means for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_copies_and_saved_states_agree(rng):
    energy, other = mixture(*PLANE), mixture([[0.0, 0.0], [1.0, 1.0]], [0.0])
    x = torch.randn(3, 2, generator=rng)
    assert torch.equal(copy.deepcopy(energy)(x), energy(x))
    other.load_state_dict(energy.state_dict())
    assert torch.equal(other(x), energy(x))
    assert (other.log_z, "modes=2, dim=2" in repr(other)) == (energy.log_z, True)


def test_one_mode_has_all_the_mass(rng):
    energy = LearntMixture(torch.tensor([[1.0, 2.0]]))
    assert energy.masses.tolist() == [1.0]
    x = torch.randn(5, 2, generator=rng)
    torch.testing.assert_close(energy(x), (x - torch.tensor([1.0, 2.0])).square().sum(1) / 2)
    assert energy(x[:0]).shape == (0,)


def test_it_is_a_value():
    settings = MixtureEnergy(modes=5, log_mass_rate=2.0)
    assert eval(repr(settings)) == settings
    assert hash(dataclasses.replace(settings)) == hash(settings)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: MixtureEnergy(modes=0), "modes must be >= 1, got 0"),
        (lambda: MixtureEnergy(offset=-1.0), "offset must be finite and >= 0, got -1.0"),
        (lambda: MixtureEnergy(noise=math.inf), "noise must be finite and >= 0, got inf"),
        (lambda: MixtureEnergy(log_mass_rate=0.0), "log_mass_rate must be finite and > 0"),
        (lambda: MixtureEnergy().build((1, 8, 8), 0), "takes vectors, got events of shape"),
        (lambda: LearntMixture(torch.zeros(3)), r"shape \(M, d\), one row a mode, got \(3,\)"),
        (lambda: LearntMixture(torch.zeros(0, 3)), r"got \(0, 3\)"),
        (lambda: LearntMixture(torch.zeros(1, 3), -1.0), "log_mass_rate must be finite"),
        (lambda: LearntMixture(torch.zeros(1, 3))(torch.zeros(5, 2)), r"shape \(N, 3\)"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()
