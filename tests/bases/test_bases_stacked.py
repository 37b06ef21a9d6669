"""Stacks of densities and the energy on top: integrals, foreign densities, conditionals, runs."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture

from boltzwalk.bases import StackedEnergy
from boltzwalk.bases.marginals import fit_marginals, from_normal, to_normal
from boltzwalk.bases.mixtures import Mixture, fit_mixture, mixture_exponents, mixture_samples
from boltzwalk.bases.stack import Stack
from boltzwalk.bases.stack_fit import Expert, cross_validated_weights
from boltzwalk.completion.conditional import free_part
from boltzwalk.data import Dataset
from boltzwalk.diagnostics.verdict import model_verdict
from boltzwalk.methods.maximum_likelihood import Batch, MaximumLikelihood
from boltzwalk.networks import Multilayer
from boltzwalk.recipes.lookup import resolved_settings
from boltzwalk.training.evidence import with_evidence
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import read_rows
from boltzwalk.training.run import open_model

SMALL = StackedEnergy((1, 2), (1, 2), (0.4,), network=Multilayer((16,)))


def rng_of(seed=0):
    return torch.Generator().manual_seed(seed)


def skewed(n, seed=0):
    """Two columns: one skewed, the other a noisy parabola of it."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, size=n)
    return torch.tensor(np.stack([x, (x - 2) ** 2 / 2 + 0.3 * rng.normal(size=n)], 1)).float()


def plane(low, high, n):
    """A grid of the plane, and the area of a cell."""
    axes = [torch.linspace(a, b, n, dtype=torch.float32) for a, b in zip(low, high, strict=True)]
    area = math.prod(float(axis[1] - axis[0]) for axis in axes)
    return torch.cartesian_prod(*axes), area


@pytest.fixture(scope="module")
def learnt():
    """An energy on top of a stack that has learnt a little."""
    rows = skewed(300)
    energy = SMALL.build((2,), 0).float()
    energy.initialise(rows, rng_of())
    optimizer = torch.optim.Adam(energy.parameters(), 0.02)
    for update in range(60):
        loss, _, _ = MaximumLikelihood().step(energy, Batch(rows[:128]), None, rng_of(update))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return energy


def test_marginals_are_inverted_and_their_volume_is_that_of_autograd():
    x = skewed(500).double()
    marginals = fit_marginals(x)
    z, log_volume = to_normal(x, marginals)
    assert torch.allclose(from_normal(z, marginals), x, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(
        lambda row: to_normal(row[None], marginals)[0], x[3]
    )
    expected = torch.linalg.slogdet(jacobian[0]).logabsdet
    assert log_volume[3].item() == pytest.approx(expected.item(), abs=1e-9)


def test_marginals_of_rows_of_the_model_are_those_of_the_model():
    z = torch.randn(5000, 2, generator=rng_of(), dtype=torch.float64)
    truth = torch.tensor([[1.0, -2.0], [0.5, -0.7], [-0.4, 0.3], [0.6, -0.2]], dtype=torch.float64)
    fitted = fit_marginals(from_normal(z, truth))
    back, _ = to_normal(from_normal(z, truth), fitted)
    assert float((back - z).abs().mean()) < 0.05
    assert float((fitted[2:] - truth[2:]).abs().max()) < 0.15


def test_a_mixture_has_the_density_of_scikit_learn():
    rows = skewed(200).double()
    other = GaussianMixture(3, random_state=0).fit(rows.numpy())
    whiten = torch.tensor(np.swapaxes(other.precisions_cholesky_, 1, 2))
    # The transposed factor is upper triangular there: take the lower one of the same precision.
    factors = torch.linalg.cholesky(torch.linalg.inv(whiten.transpose(1, 2) @ whiten))
    inverse = torch.linalg.inv(factors)
    mixture = Mixture(torch.tensor(np.log(other.weights_)), torch.tensor(other.means_), inverse)
    log_p = torch.logsumexp(mixture_exponents(rows, mixture), 1)
    np.testing.assert_allclose(log_p, other.score_samples(rows.numpy()), atol=1e-6)


def test_em_of_one_component_is_a_gaussian_and_its_samples_have_its_moments():
    rows = (
        torch.randn(4000, 2, generator=rng_of()).double()
        @ torch.tensor([[2.0, 0.5], [0, 1]]).double()
    )
    mixture = fit_mixture(rows, 1, 0)
    log_p = torch.logsumexp(mixture_exponents(rows[:5], mixture), 1)
    expected = stats.multivariate_normal(rows.mean(0).numpy(), np.cov(rows.T.numpy())).logpdf(
        rows[:5]
    )
    np.testing.assert_allclose(log_p, expected, atol=0.01)
    samples = mixture_samples(mixture, torch.zeros(50_000, dtype=torch.int64), rng_of())
    np.testing.assert_allclose(np.cov(samples.T.numpy()), np.cov(rows.T.numpy()), atol=0.1)


def test_the_stack_integrates_to_one_and_its_samples_follow_it():
    rows = skewed(300)
    experts = [Expert(False, 1), Expert(False, 3), Expert(True, 2), Expert(True, 0, 0.4)]
    stack = Stack(experts, 1)
    stack.fit(rows[:, :1], rng_of())
    assert len(stack.kernel_centres) or len(stack.normal_means)
    grid = torch.linspace(-30, 60, 90_001)[:, None]
    density = stack.log_density(grid).double().exp() * 0.001
    assert float(density.sum()) == pytest.approx(1, abs=2e-3)
    samples = stack.sample(20_000, rng_of(1))[:, 0].numpy()
    edges = np.interp(samples, grid[:, 0].numpy(), density.cumsum(0).numpy())
    assert stats.kstest(edges, "uniform").pvalue > 1e-4


def test_the_interval_of_log_z_has_the_quadrature(learnt):
    x, area = plane((-6, -6), (22, 60), 700)
    integral = torch.logsumexp(-learnt(x).detach().double(), 0) + math.log(area)
    assert abs(learnt.log_z) > 0.02  # the network has learnt
    assert abs(float(integral) - learnt.log_z) < learnt.log_z_half_width / 1.96 * 5 + 2e-3
    assert 0 < learnt.log_z_half_width < 0.1


def test_an_energy_on_top_whose_samples_have_no_weight_has_no_interval():
    energy = SMALL.build((2,), 0)
    last = list(energy.network.parameters())[-2:]
    torch.nn.init.normal_(last[0], std=1000.0, generator=rng_of())
    assert math.isnan(energy.log_z_half_width)


def test_samples_follow_the_energy_on_top(learnt):
    x, area = plane((-6, -6), (22, 60), 500)
    weight = (-learnt(x).detach().double()).exp() * area
    weight /= weight.sum()
    samples = learnt.sample(20_000, rng_of(3)).double()
    for power in (1, 2):
        expected = (weight[:, None] * x.double() ** power).sum(0)
        error = (samples**power).std(0) / math.sqrt(20_000)
        assert bool(
            ((samples**power).mean(0) - expected).abs().lt(5 * error + 0.02 * expected.abs()).all()
        )


def test_completions_follow_the_conditional_density(learnt):
    x = torch.tensor([[3.0, 0.0]], dtype=torch.float32).repeat(20_000, 1)
    hidden = torch.zeros(20_000, 2, dtype=torch.bool)
    hidden[:, 1] = True
    completed = learnt.complete(x, hidden, rng_of(4))
    assert bool((completed[:, 0] == 3).all())
    grid = torch.linspace(-8, 12, 8001, dtype=torch.float32)
    rows = torch.stack([torch.full_like(grid, 3.0), grid], 1)
    density = (-learnt(rows).detach().double()).exp()
    edges = np.interp(
        completed[:, 1].numpy(), grid.numpy(), (density.cumsum(0) / density.sum()).numpy()
    )
    assert stats.kstest(edges, "uniform").statistic < 0.02


def test_completion_of_all_patterns_at_once_keeps_what_is_visible(learnt):
    x = skewed(8, seed=5)
    hidden = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]] * 2, dtype=torch.bool)
    completed = learnt.complete(x, hidden, rng_of())
    assert bool((completed[~hidden] == x[~hidden]).all())
    assert bool((completed[hidden] != x[hidden]).all())
    free = free_part(x, hidden)
    assert bool((free.hidden == hidden).all())


def test_weights_are_those_of_the_truth():
    x = torch.cat(
        [torch.randn(300, 1, generator=rng_of()) - 6, torch.randn(300, 1, generator=rng_of(1)) + 6]
    )
    experts = [Expert(False, 1), Expert(False, 2)]
    weights = cross_validated_weights(x.double(), experts, rng_of())
    assert weights.sum().item() == pytest.approx(1)
    assert weights[1] > 0.98
    assert weights[0] > 0  # the tails of one Gaussian always stay


def trained(folder, rows, *changes, updates=6, stop_at=None):
    """A run of the recipe `table` on rows."""
    small = ["threads=1", "output.pictures=false", f"updates={updates}",
             "energy.network.widths=[8]",
             "energy.normal_mixtures=[2]", "energy.plain_mixtures=[1]", "energy.bandwidths=[0.4]",
             "output.log_every=2", "output.save_every=2", *changes]  # fmt: skip
    data = Dataset.of(rows, whitening="standard")
    for done in execute(resolved_settings("table", small), folder, dataset=data, events=False):
        if done.update == stop_at:
            break
    return data


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    rows = skewed(80)
    trained(tmp_path / "one", rows)
    trained(tmp_path / "two", rows, stop_at=4)
    trained(tmp_path / "two", rows)
    one, two = (open_model(tmp_path / name) for name in ("one", "two"))
    assert torch.equal(one.log_prob(rows), two.log_prob(rows))
    assert one.digest == two.digest


def test_the_recipe_for_tables_takes_few_rows_and_has_an_interval(tmp_path):
    rows = skewed(30)
    trained(tmp_path / "run", rows)
    model = open_model(tmp_path / "run")
    log_z = model.log_z()
    assert not log_z.refusal
    assert 0 <= log_z.half_width < 0.05
    assert model.sample(7).shape == (7, 2)
    assert bool(model.log_prob(rows).isfinite().all())


def test_copies_of_rows_gain_no_weight_for_narrow_kernels():
    """A Gaussian table takes a Gaussian, however often its rows repeat."""
    x = torch.randn(120, 3, generator=rng_of(), dtype=torch.float64)
    experts = [
        Expert(normal=False, components=1),
        Expert(normal=False, components=0, bandwidth=0.1),
    ]
    for rows in (x, x.repeat(4, 1), torch.cat([x, x[:60]])):
        weights = cross_validated_weights(rows, experts, rng_of())
        assert weights[0] > 0.95, weights


@pytest.fixture(scope="module")
def copied_table(tmp_path_factory):
    """A run on a skewed table a quarter of whose rows repeat, by the recipe of tables."""
    folder = tmp_path_factory.mktemp("copied")
    rows = skewed(400).numpy()
    np.savetxt(folder / "t.csv", np.concatenate([rows, rows[:100]]), delimiter=",", header="a,b")
    changes = ["updates=120", "normal_mixtures=[1,2]", "plain_mixtures=[1,2]", "batch=64"]
    changes += ["energy.network.widths=[16]", "threads=1", "output.picture_every=0"]
    settings = resolved_settings(str(folder / "t.csv"), changes)
    for _ in execute(settings, folder / "run"):
        pass
    return folder / "run"


def test_a_table_with_copies_is_not_overfitted_by_its_likelihood(copied_table):
    result = model_verdict(open_model(copied_table), copied_table)
    assert result.label == "healthy", result


def test_the_gain_over_a_gaussian_is_that_of_scipy_and_scikit_learn(copied_table):
    model = open_model(copied_table)
    data, log_z = model.data, model.known_log_z()
    gaussian = LedoitWolf().fit(data.train.double().numpy())
    density = stats.multivariate_normal(gaussian.location_, gaussian.covariance_)
    with torch.no_grad():
        log_p = -model.module(data.validation).double().numpy() - log_z
    gain = log_p - density.logpdf(data.validation.double().numpy())
    row = with_evidence(model, read_rows(copied_table / "log.jsonl"))[-1]
    assert row["likelihood_gain"] == pytest.approx(gain.mean(), abs=1e-4)
    half_width = 1.96 * gain.std(ddof=1) / math.sqrt(len(gain))
    assert row["likelihood_gain_half_width"] == pytest.approx(half_width, rel=1e-4)
    assert row["likelihood_gain"] > 0
