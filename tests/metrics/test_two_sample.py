"""The test keeps its level where there is no difference and sees those in mean and covariance."""

import math

import pytest
import torch
from scipy.stats import binom, binomtest, fisher_exact

from boltzwalk.metrics import two_sample
from boltzwalk.metrics.two_sample import two_sample_test


@pytest.mark.slow
def test_it_keeps_its_level_under_the_null(rng):
    """Of 100 tests of equal distributions, those with p below a level are at most binomial."""
    p = torch.tensor(
        [
            two_sample_test(*torch.randn(2, 60, 3, generator=rng), seed=seed).p_value
            for seed in range(100)
        ]
    )
    for level in (0.02, 0.1, 0.3, 0.5):
        below = int((p <= level).sum())
        assert binom.sf(below - 1, 100, level) > 1e-3
    assert int((p <= 0.5).sum()) > 25  # nor is it always near 1


def test_it_sees_a_shifted_mean(rng):
    x, y = torch.randn(2, 500, 4, generator=rng)
    result = two_sample_test(x + 0.5, y)
    assert result.p_value < 1e-6
    best = 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))  # of the best rule: Φ(|shift| / 2)
    assert result.low < best < result.high + 0.05


def test_it_sees_another_covariance_with_the_same_mean_and_variances(rng):
    x, y = torch.randn(2, 1000, 2, generator=rng)
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    result = two_sample_test(x, y)
    assert result.p_value < 1e-6
    assert result.accuracy > 0.62


def test_it_sees_modes_with_the_same_mean_and_covariance(rng):
    x = torch.randn(1000, 1, generator=rng)
    y = 0.3 * x + 0.91**0.5 * (2 * torch.randint(0, 2, (1000, 1), generator=rng) - 1)
    assert two_sample_test(x, y).p_value < 1e-6


def test_separate_sets_and_the_rows_used(rng):
    x, y = torch.randn(300, 1, 2, 2, generator=rng), torch.randn(101, 1, 2, 2, generator=rng)
    result = two_sample_test(x + 20, y)
    assert result.rows == 100  # of 101 each, 50 each to fit, 50 each to test
    assert (result.accuracy, result.high) == (1, 1)
    assert result.p_value == pytest.approx(1 / math.comb(100, 50), rel=1e-9)
    assert two_sample_test(x, x, max_rows=40).rows == 20


@pytest.mark.parametrize("right", [0, 7, 10])
def test_p_value_against_fishers_exact_test(rng, monkeypatch, right):
    """A stand-in calls a chosen number of either rightly."""

    def guess(fit, held_out, draw):
        called = torch.arange(len(held_out)) < right
        called[20:24] = True
        return called.numpy()

    monkeypatch.setattr(two_sample, "_guess", guess)
    x = torch.randn(40, 2, generator=rng)
    result = two_sample_test(x, x)
    table = [[right, 20 - right], [4, 16]]
    assert result.p_value == pytest.approx(fisher_exact(table, "greater").pvalue, rel=1e-9)
    assert result.accuracy == pytest.approx((right + 16) / 40)
    low, high = binomtest(right + 16, 40).proportion_ci(0.95, "exact")
    assert (result.low, result.high) == pytest.approx((low, high), rel=1e-9)


def test_rows_that_come_in_an_order_are_taken_from_all_over(rng):
    """Two modes, on one side the first half, on the other the second."""
    x, y = torch.randn(2, 400, 2, generator=rng)
    x[:200] += 20
    y[200:] += 20
    assert two_sample_test(x, y, max_rows=200).accuracy < 0.75


def test_it_is_the_same_from_the_same_seed_and_draws_no_global_numbers(rng):
    x, y = torch.randn(2, 100, 3, generator=rng)
    assert two_sample_test(x, y, seed=1) == two_sample_test(x, y, seed=1)
    assert two_sample_test(x, y, seed=1) != two_sample_test(x, y, seed=2)


def test_scale_and_constant_columns_do_not_matter(rng):
    x, y = torch.randn(2, 200, 3, generator=rng)
    constant = torch.full((200, 1), 0.1)
    wide = [torch.cat([1e6 * rows + 1e8, constant], 1) for rows in (x + 1, y)]
    assert two_sample_test(*wide).accuracy == pytest.approx(
        two_sample_test(x + 1, y).accuracy, abs=0.1
    )


def test_constant_samples(rng):
    """Everything equal: all rows get one label, which is right for half of them."""
    result = two_sample_test(torch.ones(50, 2), torch.ones(50, 2))
    assert (result.accuracy, result.p_value) == (0.5, 1)
    assert two_sample_test(torch.zeros(50, 2), torch.randn(50, 2, generator=rng)).p_value < 1e-6


@pytest.mark.parametrize(
    ("x", "y", "most", "message"),
    [
        (torch.zeros(19, 2), torch.zeros(50, 2), 4000, "samples must have 20 rows or more, got 19"),
        (torch.zeros(50, 2), torch.zeros(50, 3), 4000, r"got \(50, 2\) and \(50, 3\)"),
        (torch.zeros(50, 2), torch.zeros(50, 2), 39, "max_rows must be 40 or more, got 39"),
        (torch.zeros(50, 2), torch.full((50, 2), math.nan), 4000, "finite, got 50 of 50 rows"),
    ],
)
def test_bad_input_is_refused(x, y, most, message):
    with pytest.raises(ValueError, match=message):
        two_sample_test(x, y, max_rows=most)
