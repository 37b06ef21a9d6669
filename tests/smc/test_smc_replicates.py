"""The interval of independent replicates covers what it should."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from boltzwalk.smc.intervals import combine_replicates, skewed_mean


def test_the_estimate_is_the_logarithm_of_the_mean():
    log_z = torch.tensor([1000.0, 1001.0, 999.5])  # exp overflows
    estimate, half_width = combine_replicates(log_z)
    z = torch.exp(log_z - 1000)
    assert estimate == pytest.approx(1000 + math.log(z.mean()), abs=1e-12)
    error = float(torch.maximum(z.std() / z.mean(), log_z.std())) / math.sqrt(3)
    assert half_width == pytest.approx(4.302652729749464 * error)  # Student's t, two degrees


def test_an_interval_covers_the_truth(rng):
    """Of 4000 intervals of eight log-normal estimates of Z = 1, 95 % in 5 standard errors."""
    sd, trials = 0.2, 4000
    log_z = sd * torch.randn(trials, 8, generator=rng) - sd**2 / 2  # E[exp] = 1
    found = [combine_replicates(row) for row in log_z]
    covered = sum(abs(estimate) <= half_width for estimate, half_width in found) / trials
    assert abs(covered - 0.95) < 5 * math.sqrt(0.05 * 0.95 / trials)


def test_replicates_that_are_far_apart_have_a_wide_interval():
    """To first order the error of a mean that one of them makes is 1, whatever the others say."""
    _, half_width = combine_replicates(torch.tensor([0.0, *[-50.0] * 7]))
    assert half_width == pytest.approx(2.3646 * 50 / 8, rel=1e-4)


def test_equal_replicates_have_no_width():
    assert combine_replicates(torch.full((4,), -2.0)) == (pytest.approx(-2.0), pytest.approx(0.0))


def test_one_replicate_says_nothing_of_its_error():
    with pytest.raises(ValueError, match="2 replicates or more, got 1"):
        combine_replicates(torch.zeros(1))


# The mean of skewed values, such as -log p of test rows.

SKEWED = {
    "-log p of N(0, 1)": (lambda rng, n: rng.normal(size=n) ** 2 / 2, 0.5),
    "-log p of an exponential": (lambda rng, n: rng.exponential(size=n), 1.0),
    "log p of an exponential": (lambda rng, n: -rng.exponential(size=n), -1.0),
    "Student's t with 5 degrees": (lambda rng, n: rng.standard_t(5, size=n), 0.0),
}


@pytest.mark.parametrize("name", SKEWED)
@pytest.mark.parametrize("n", [20, 100])
def test_the_interval_of_a_skewed_mean_covers_95_of_100(name, n):
    draw, truth = SKEWED[name]
    rng, runs = np.random.default_rng(0), 1500
    covered = plain = 0
    for _ in range(runs):
        values = draw(rng, n)
        mean, half = skewed_mean(torch.from_numpy(values))
        assert mean == pytest.approx(values.mean())
        covered += abs(mean - truth) <= half
        plain += abs(mean - truth) <= 1.96 * values.std(ddof=1) / n**0.5
    # At least 94 %, but for four standard errors of 1,500 runs; 1.96 errors cover 88 % at n = 20.
    assert covered / runs > 0.95 - 4 * (0.95 * 0.05 / runs) ** 0.5
    assert covered >= plain
    if n == 20 and "N(0, 1)" in name:
        assert plain / runs < 0.91


def test_values_without_skewness_have_the_interval_of_student():
    values = np.array([1.0, 2.0, 4.0, 5.0])
    half = stats.t.ppf(0.975, 3) * stats.sem(values)
    assert skewed_mean(torch.from_numpy(values)) == pytest.approx((3.0, half))
    assert skewed_mean(torch.ones(5)) == (1.0, 0.0)
