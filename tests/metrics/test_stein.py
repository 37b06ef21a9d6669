"""The Stein discrepancy against derivatives of the kernel, its p-value against chance."""

import math

import pytest
import scipy.stats
import torch

from boltzwalk.metrics import stein
from boltzwalk.metrics.mean_discrepancy import mean_discrepancy, permutation_p_value
from boltzwalk.metrics.similarity import median_distance
from boltzwalk.metrics.stein import stein_discrepancy, stein_discrepancy_of_scores


def normal(x):
    return x.flatten(1).square().sum(-1) / 2


def skewed(x):
    """No symmetry that could hide a sign."""
    return (x**4 / 4 + x.exp() + x.roll(1, -1) * x / 3).sum(-1)


def two_modes(x):
    """Half of the mass at -10 and half at +10, deviation 1."""
    return -torch.logaddexp(-((x[:, 0] - 10) ** 2) / 2, -((x[:, 0] + 10) ** 2) / 2)


def naive(energy, x, h, temperature=1.0):
    """The U-statistic by automatic differentiation of the kernel, pair by pair."""

    def score(z):
        (grad,) = torch.autograd.grad(energy(z[None]).sum(), z)
        return -grad / temperature

    total = 0.0
    for i, a in enumerate(x):
        for j, b in enumerate(x):
            if i == j:
                continue
            p, q = a.clone().requires_grad_(), b.clone().requires_grad_()
            k = (1 + (p - q).square().sum() / h**2) ** -0.5
            to_p, to_q = torch.autograd.grad(k, (p, q), create_graph=True)
            trace = sum(
                torch.autograd.grad(to_p[d], q, retain_graph=True)[0][d] for d in range(len(a))
            )
            s, t = score(p), score(q)
            total += (s @ t * k + s @ to_q + t @ to_p + trace).item()
    return total / (len(x) * (len(x) - 1))


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_against_derivatives_of_the_kernel(d, temperature, rng, monkeypatch):
    monkeypatch.setattr(stein, "PAIRS", 24)  # three rows at once
    monkeypatch.setattr(stein, "SCORED", 3)
    x = torch.randn(8, d, generator=rng) + 0.5
    result = stein_discrepancy(skewed, x, rng, temperature, bandwidth=0.9, bootstraps=5)
    assert result.squared == pytest.approx(naive(skewed, x, 0.9, temperature), rel=1e-10)
    assert result.bandwidth == 0.9


def test_the_bandwidth_is_the_median_distance(rng):
    x = torch.randn(30, 2, generator=rng)
    result = stein_discrepancy(normal, x, rng, bootstraps=5)
    assert result.bandwidth == median_distance(x)
    given = stein_discrepancy(normal, x, rng, bandwidth=result.bandwidth, bootstraps=5)
    assert result.squared == pytest.approx(given.squared, rel=1e-12)


def test_events_and_scores(rng):
    """An image, and scores in place of an energy."""
    x = torch.randn(30, 1, 2, 3, generator=rng)
    first = stein_discrepancy(normal, x, torch.Generator().manual_seed(1))
    second = stein_discrepancy_of_scores(x, -x, torch.Generator().manual_seed(1))
    third = stein_discrepancy(normal, x.flatten(1), torch.Generator().manual_seed(1))
    assert first == second
    assert first == third


def test_it_moves_with_energy_and_samples(rng):
    x = torch.randn(30, 2, generator=rng)
    there = stein_discrepancy(normal, x, torch.Generator().manual_seed(1))
    away = stein_discrepancy(lambda x: normal(x - 1e4), x + 1e4, torch.Generator().manual_seed(1))
    assert away.squared == pytest.approx(there.squared, rel=1e-6)
    assert away.p_value == there.p_value


def test_parts_change_nothing(rng, monkeypatch):
    x = torch.randn(50, 3, generator=rng)
    full = stein_discrepancy(normal, x, torch.Generator().manual_seed(1))
    monkeypatch.setattr(stein, "PAIRS", 350)
    monkeypatch.setattr(stein, "SCORED", 7)
    part = stein_discrepancy(normal, x, torch.Generator().manual_seed(1))
    assert part.squared == pytest.approx(full.squared, rel=1e-10)
    assert part.p_value == full.p_value


def test_the_mean_over_exact_samples_is_zero(rng):
    """At temperature T the samples of a normal energy have deviation sqrt(T)."""
    for temperature in (1.0, 0.25):
        draws = math.sqrt(temperature) * torch.randn(300, 30, 2, generator=rng)
        result = torch.tensor(
            [
                stein_discrepancy(normal, x, rng, temperature, 1.0, bootstraps=1).squared
                for x in draws
            ]
        )
        assert abs(result.mean()) < 5 * result.std() / math.sqrt(300)


@pytest.mark.parametrize("d", [1, 5])
def test_p_values_of_exact_samples_are_uniform(d, rng):
    draws = torch.randn(300, 60, d, generator=rng)
    p = [stein_discrepancy(normal, x, rng, bootstraps=199).p_value for x in draws]
    low = sum(value <= 0.05 for value in p)
    assert scipy.stats.binomtest(low, 300, 0.05).pvalue > 1e-3
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(
    "change", [lambda x: x + 0.5, lambda x: 1.5 * x, lambda x: 0.6 * x, lambda x: x * x[:, :1]]
)
def test_other_samples_are_rejected(change, rng):
    x = change(torch.randn(300, 2, generator=rng))
    assert stein_discrepancy(normal, x, rng, bootstraps=500).p_value == 1 / 501


def test_the_wrong_temperature_is_rejected(rng):
    x = torch.randn(300, 2, generator=rng)
    assert stein_discrepancy(normal, x, rng, 1.0).p_value > 0.01
    assert stein_discrepancy(normal, x, rng, 2.0).p_value < 0.01


def test_it_does_not_see_the_weights_of_separated_modes(rng):
    """A limit: 90 % of the rows in one of two equal modes, or all of them, pass."""
    x = torch.randn(400, 1, generator=rng)
    exact = x + torch.where(torch.arange(400) < 200, 10.0, -10.0)[:, None]
    for right in (360, 400):
        wrong = x + torch.where(torch.arange(400) < right, 10.0, -10.0)[:, None]
        assert stein_discrepancy(two_modes, wrong, rng, bandwidth=1.0).p_value > 0.05
        reference = exact + 0.01 * torch.randn(400, 1, generator=rng)
        assert permutation_p_value(wrong, reference, rng, permutations=99) == 0.01
        assert mean_discrepancy(wrong, reference) > 0.1
    # within a mode it sees what is wrong
    assert stein_discrepancy(two_modes, exact + 0.5, rng, bandwidth=1.0).p_value < 0.01


def test_constant_samples_are_rejected_or_degenerate(rng):
    """At the mode of a normal every pair has u = D / h²: all in one place is no sample."""
    result = stein_discrepancy(normal, torch.zeros(20, 3), rng)
    assert result.squared == pytest.approx(3.0)
    assert result.bandwidth == 1.0
    assert result.p_value < 0.01


def test_a_tie_counts_as_much(rng):
    """Of two samples half of the signs give the statistic itself, the others its negative."""
    x = torch.tensor([[0.3, 0.7], [0.4, 0.9]])
    result = stein_discrepancy(normal, x, rng, bandwidth=0.7)
    assert result.squared > 0
    assert result.p_value == pytest.approx(0.5, abs=5 * math.sqrt(0.25 / 1000))


def test_single_precision_is_raised(rng):
    x = torch.randn(40, 3, generator=rng).float()
    single = stein_discrepancy_of_scores(x, -x, torch.Generator().manual_seed(1))
    double = stein_discrepancy_of_scores(x.double(), -x.double(), torch.Generator().manual_seed(1))
    assert single == pytest.approx(double, rel=1e-12)


def test_the_same_generator_gives_the_same_p_value():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    values = {
        stein_discrepancy(normal, x, torch.Generator().manual_seed(2), bootstraps=50).p_value
        for _ in range(2)
    }
    assert len(values) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, rng: stein_discrepancy(normal, x[:1], rng), "2 rows or more, got 1"),
        (lambda x, rng: stein_discrepancy(normal, x / x, rng), "1 of 9 rows with nan or inf"),
        (
            lambda x, rng: stein_discrepancy(lambda x: x.sqrt().sum(1), x, rng),
            r"scores must be finite, got 1 of 9 rows with nan or inf \(rows 0\)",
        ),
        (lambda x, rng: stein_discrepancy(lambda x: x, x, rng), r"shape \(N,\)"),
        (lambda x, rng: stein_discrepancy(normal, x, rng, 0.0), "temperature must be finite"),
        (lambda x, rng: stein_discrepancy(normal, x, rng, bandwidth=-1.0), "bandwidth must be"),
        (lambda x, rng: stein_discrepancy(normal, x, rng, bootstraps=0), "bootstraps must be 1"),
        (
            lambda x, rng: stein_discrepancy_of_scores(x, x[:, :2], rng),
            r"the shape of x, \(9, 3\), got \(9, 2\)",
        ),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    x = torch.arange(27.0).reshape(9, 3)
    with pytest.raises(ValueError, match=message):
        call(x, rng)
