"""The rate of false alarms of one threshold: its interval, against exact rates and SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from boltzwalk.metrics.anomaly import conformal_threshold
from boltzwalk.metrics.false_alarms import false_alarms, percent

SEEDS = 200
HELD_OUT = 400

# A distribution of energies U with its upper tail: normal, skewed and heavy-tailed rows under
# U = |x|, a mixture under its own energy, and rows of few values.
WIDE = stats.norm(0, 3)
DISTRIBUTIONS = {
    "normal": (lambda rng, n: np.abs(rng.normal(size=n)), lambda u: 2 * stats.norm.sf(u)),
    "skewed": (lambda rng, n: rng.exponential(size=n), lambda u: stats.expon.sf(u)),
    "heavy tails": (
        lambda rng, n: np.abs(rng.standard_cauchy(size=n)),
        lambda u: 2 * stats.cauchy.sf(u),
    ),
    "mixture": (
        lambda rng, n: np.where(rng.random(n) < 0.3, rng.normal(size=n), 3 * rng.normal(size=n)),
        lambda u: 0.3 * stats.norm.sf(u) + 0.7 * WIDE.sf(u),
    ),
    "discrete": (lambda rng, n: rng.poisson(3.0, size=n).astype(float), stats.poisson(3.0).sf),
}


@pytest.mark.parametrize("asked", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_interval_has_the_exact_rate_of_the_threshold_in_95_of_100(name, asked):
    draw, upper_tail = DISTRIBUTIONS[name]
    rates, inside = [], 0
    for seed in range(SEEDS):
        energies = torch.from_numpy(draw(np.random.default_rng(seed), HELD_OUT))
        limit = conformal_threshold(energies, asked)
        interval = false_alarms(energies, limit, asked)
        rates.append(float(upper_tail(limit)))
        inside += interval.low <= rates[-1] <= interval.high
    # Counted seeds, against the binomial distribution at the stated level.
    low, high = stats.binom.ppf((5e-4, 1 - 5e-4), SEEDS, 0.95)
    assert inside >= low
    k = math.floor((HELD_OUT + 1) * asked + 1e-9)
    error = 5 * stats.beta(k, HELD_OUT + 1 - k).std() / math.sqrt(SEEDS)
    assert np.mean(rates) < asked + error
    if name != "discrete":  # whose rate may jump below
        assert inside <= high
        assert np.mean(rates) == pytest.approx(k / (HELD_OUT + 1), abs=error)


@pytest.mark.parametrize("asked", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_fresh_rows_are_flagged_within_the_beta_binomial_interval(name, asked):
    draw, _ = DISTRIBUTIONS[name]
    fresh, outside = 300, 0
    k = math.floor((HELD_OUT + 1) * asked + 1e-9)
    least, most = stats.betabinom(fresh, k, HELD_OUT + 1 - k).ppf((0.025, 0.975))
    for seed in range(SEEDS):
        rng = np.random.default_rng(1000 + seed)
        limit = conformal_threshold(torch.from_numpy(draw(rng, HELD_OUT)), asked)
        flagged = int((draw(rng, fresh) > limit).sum())
        outside += flagged > most or (name != "discrete" and flagged < least)
    assert outside <= stats.binom.ppf(1 - 5e-4, SEEDS, 0.05)


def test_the_ends_are_those_of_scipys_beta():
    rate = false_alarms(torch.arange(1.0, 100.0), 99.0, 0.01)
    assert (rate.low, rate.high) == pytest.approx(stats.beta(1, 99).ppf((0.025, 0.975)))
    rate = false_alarms(torch.arange(1.0, 1000.0), 950.0, 0.05)
    assert (rate.low, rate.high) == pytest.approx(stats.beta(50, 950).ppf((0.025, 0.975)))


def test_ties_at_the_threshold_widen_the_lower_end():
    scores = torch.tensor([0.0] * 80 + [1.0] * 20)
    limit = conformal_threshold(scores, 0.1)
    rate = false_alarms(scores, limit, 0.1)
    assert (limit, rate.low) == (1.0, 0.0)
    limit = conformal_threshold(torch.cat([scores, torch.tensor([2.0, 3.0])]), 0.1)
    rate = false_alarms(torch.cat([scores, torch.tensor([2.0, 3.0])]), limit, 0.1)
    # Two of 102 lie above: Clopper and Pearson.
    assert rate.low == pytest.approx(stats.binomtest(2, 102).proportion_ci(0.95).low)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="needs 99 held-out scores or more, got 98"):
        false_alarms(torch.arange(98.0), 97.0, 0.01)


def test_percent():
    assert [percent(share) for share in (0.001, 0.05, 0.1234)] == ["0.1 %", "5 %", "12.34 %"]
