"""The interval of a mean covers it where values are few and skewed, such as -log p of rows."""

import numpy as np
import pytest
import torch
from scipy import stats

from boltzwalk.metrics.skewed_mean import skewed_mean

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
