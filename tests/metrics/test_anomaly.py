"""Rates and areas against scikit-learn and pairs; intervals by how often they hold the truth."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from boltzwalk.metrics.anomaly import auroc, conformal_threshold, false_positive_rate, percentile


def scores(rng, n, m, ties):
    s, t = torch.randn(n, generator=rng), torch.randn(m, generator=rng) + 1
    return (s.mul(2).round(), t.mul(2).round()) if ties else (s, t)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "m"), [(200, 90), (31, 400), (2, 2)])
def test_area_against_scikit_learn(rng, n, m, ties):
    s, t = scores(rng, n, m, ties)
    labels = np.repeat([0, 1], [n, m])
    expected = roc_auc_score(labels, torch.cat([s, t]))
    assert auroc(s, t).value == pytest.approx(expected, rel=1e-12)
    assert auroc(t, s).value == pytest.approx(1 - expected, rel=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_interval_of_many_scores_is_that_of_delong_over_all_pairs(rng, ties):
    s, t = scores(rng, 1500, 1200, ties)
    psi = (s[:, None] < t).double() + (s[:, None] == t).double() / 2
    area = float(psi.mean())
    error = math.sqrt(float(psi.mean(1).var()) / 1500 + float(psi.mean(0).var()) / 1200)
    result = auroc(s, t)
    assert result.low == pytest.approx(area - 1.96 * error, abs=0.1 * error)
    assert result.high == pytest.approx(area + 1.96 * error, abs=0.1 * error)


def test_interval_of_ones_and_noughts_is_that_of_clopper_and_pearson():
    """Inliers at 0, of 30 outliers 27 at 1 and 3 below all inliers."""
    t = torch.ones(30)
    t[:3] = -1
    expected = binomtest(27, 30).proportion_ci(0.95, "exact")
    result = auroc(torch.zeros(100_000), t)
    assert (result.low, result.high) == pytest.approx(tuple(expected), abs=0.01)


def of_area(kind, area, n, m, rng):
    """Scores with this area under the curve."""
    s, t = torch.randn(n, generator=rng), torch.randn(m, generator=rng)
    if kind == "mixture":  # some outliers are inliers
        return s, t + 50 * (torch.rand(m, generator=rng) > 2 * (1 - area))
    if kind == "ties":
        coin_s, coin_t = torch.rand(n, generator=rng), torch.rand(m, generator=rng)
        return (coin_s < 1 - area).float(), (coin_t < area).float()
    width = {"normal": 1.0, "wide": 3.0}[kind]
    return s, width * t + math.sqrt(1 + width**2) * norm.ppf(min(area, 1 - 1e-15))


@pytest.mark.parametrize("kind", ["normal", "wide", "mixture", "ties"])
@pytest.mark.parametrize("m", [10, 30, 100])
def test_interval_holds_the_true_area_also_near_1(kind, m):
    """88 of 100 by chance once in 400 where the interval holds 95 %."""
    rng = torch.Generator().manual_seed(m)
    for area in (0.5, 0.8, 0.95, 0.98, 0.998, 1.0):
        results = [auroc(*of_area(kind, area, 300, m, rng)) for _ in range(100)]
        held = sum(r.low <= area + 1e-9 and area - 1e-9 <= r.high for r in results)
        assert held >= 88, area


def test_full_separation_has_a_wide_bound():
    """The bound of 30 pairs in order is that of Clopper and Pearson for 30 of 30."""
    result = auroc(torch.arange(50.0), torch.arange(100.0, 130.0))
    assert result.value == result.high == 1
    assert result.low == pytest.approx(0.025 ** (1 / 30))
    flipped = auroc(torch.arange(100.0, 130.0), torch.arange(50.0))
    assert flipped == pytest.approx((0, 0, 1 - result.low))


def test_constant_and_infinite_scores():
    equal = auroc(torch.ones(5), torch.ones(9))
    assert equal.value == 0.5
    assert equal.low < 0.3 < 0.7 < equal.high  # five pairs tell little
    assert auroc(torch.ones(1000), torch.ones(900)).high == pytest.approx(0.5, abs=0.003)
    assert auroc(torch.zeros(5), torch.full((9,), math.inf)).value == 1
    assert auroc(torch.arange(4.0), torch.tensor([math.inf, 1.5])).value == pytest.approx(0.75)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("share", [0.95, 0.8, 0.5, 1.0])
def test_false_positive_rate_against_the_curve(rng, ties, share):
    s, t = scores(rng, 300, 170, ties)
    inlier = np.repeat([1, 0], [300, 170])
    false, true, _ = roc_curve(inlier, -torch.cat([s, t]), drop_intermediate=False)
    expected = false[np.argmax(true >= share)]
    assert false_positive_rate(s, t, share) == pytest.approx(expected, abs=1e-12)


def test_threshold_holds_its_rate_exactly_on_average(rng):
    """Uniform scores: the mean chance of a false alarm is floor((N + 1) α) / (N + 1)."""
    n, alpha, repetitions = 60, 0.1, 4000
    rates = torch.tensor(
        [1 - conformal_threshold(torch.rand(n, generator=rng), alpha) for _ in range(repetitions)]
    )
    expected = math.floor((n + 1) * alpha) / (n + 1)
    assert rates.mean() == pytest.approx(expected, abs=5 * float(rates.std()) / repetitions**0.5)
    assert expected <= alpha


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.2, 1 / 3, 0.3])
def test_threshold_needs_as_many_scores_as_it_says(alpha):
    needed = next(n for n in range(1, 200) if (n + 1) * alpha > 1 - 1e-9)
    assert conformal_threshold(torch.arange(float(needed)), alpha) == needed - 1
    with pytest.raises(
        ValueError, match=f"needs {needed} held-out scores or more, got {needed - 1}|N >= 1"
    ):
        conformal_threshold(torch.arange(needed - 1.0), alpha)


@pytest.mark.parametrize("n", [19, 99, 999])
def test_threshold_where_the_rank_is_whole(n):
    """(N + 1)(1 - α) is whole; rounding must not move it by one."""
    for percent in (5, 10, 15, 29, 35, 45, 55, 57, 58, 70, 95):
        if (n + 1) * percent % 100 == 0:
            rank = (n + 1) * (100 - percent) // 100
            assert conformal_threshold(torch.arange(1.0, n + 1), percent / 100) == rank


def test_percentile_against_counting(rng):
    s, t = scores(rng, 50, 30, True)
    expected = [sum(a < b for a in s.tolist()) / 50 for b in t.tolist()]
    assert percentile(s, t).tolist() == pytest.approx(expected, abs=1e-15)
    assert percentile(s, t[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auroc(torch.ones(1), torch.ones(5)), r"inside must .* N >= 2, got \(1,\)"),
        (lambda: auroc(torch.ones(5), torch.ones(5, 1)), r"outside must .* got \(5, 1\)"),
        (lambda: auroc(torch.tensor([0, math.nan]), torch.ones(5)), "nan, got 1 of 2"),
        (lambda: false_positive_rate(torch.ones(5), torch.ones(0)), r"N >= 1, got \(0,\)"),
        (lambda: false_positive_rate(torch.ones(5), torch.ones(5), 0), r"in \(0, 1\], got 0"),
        (lambda: conformal_threshold(torch.ones(5), 1.0), r"in \(0, 1\), got 1.0"),
        (lambda: conformal_threshold(torch.ones(5), math.nan), r"in \(0, 1\), got nan"),
        (lambda: percentile(torch.ones(0), torch.ones(5)), r"N >= 1, got \(0,\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
