"""The interval of independent replicates covers what it should."""

import math

import pytest
import torch

from boltzwalk.smc.intervals import combine_replicates


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
