"""Shares by counting, intervals against SciPy and by coverage, the score against torchmetrics."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from scipy.stats import binom, binomtest
from torch import nn
from torchmetrics.image.inception import InceptionScore

from boltzwalk.metrics.proportions import (
    class_score,
    modes_covered,
    proportions,
    share_interval,
    total_variation,
)


@pytest.mark.parametrize("n", [1, 7, 60, 1000])
def test_interval_against_scipy(n):
    for k in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(k, n).proportion_ci(0.95, "exact")
        low, high = share_interval(torch.tensor(k / n, dtype=torch.float64), n)
        assert (float(low), float(high)) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize("n", [10, 30, 100, 1000])
def test_interval_holds_every_share(n):
    """Exact: the sum over all counts. Wilson's interval holds 0.84 near a share of 0.17 / n."""
    low, high = (v.numpy() for v in share_interval(torch.arange(n + 1) / n, n))
    shares = np.concatenate([np.geomspace(1e-5, 0.5, 400), 1 - np.geomspace(1e-5, 0.5, 400)])
    for share in shares:
        chances = binom.pmf(np.arange(n + 1), n, share)
        assert chances[(low <= share) & (share <= high)].sum() >= 0.95 - 1e-9


def test_interval_refuses_other_shares():
    with pytest.raises(ValueError, match="share must be in"):
        share_interval(torch.tensor(1.5), 10)
    with pytest.raises(ValueError, match="rows above 0"):
        share_interval(torch.tensor(0.5), 0)


def test_shares_against_counting(rng):
    labels = torch.randint(0, 5, (300,), generator=rng)
    result = proportions(labels, 7)
    assert result.share.numpy() == pytest.approx(np.bincount(labels, minlength=7) / 300)
    low, high = share_interval(result.share, 300)
    assert torch.allclose(result.low, low)
    assert torch.allclose(result.high, high)
    # An empty class: 300 rows without it have a chance of 0.025 at the upper end.
    assert float(result.low[6]) == 0
    assert (1 - float(result.high[6])) ** 300 == pytest.approx(0.025)


def test_one_row_and_one_class():
    result = proportions(torch.tensor([2]), 3)
    assert result.share.tolist() == [0, 0, 1]
    assert result.high.tolist() == pytest.approx([0.975, 0.975, 1], abs=1e-3)
    assert proportions(torch.zeros(9, dtype=torch.uint8), 1).share.tolist() == [1]


def test_weights(rng):
    labels = torch.randint(0, 3, (100,), generator=rng)
    log_w = torch.randn(100, generator=rng) - 1e4
    w = np.exp(log_w.numpy() + 1e4)
    result = proportions(labels, 3, log_w)
    share = np.bincount(labels, w) / w.sum()
    assert result.share.numpy() == pytest.approx(share)
    w = w / w.sum()
    is_class = labels.numpy()[:, None] == np.arange(3)
    variance = (w[:, None] ** 2 * (is_class - share) ** 2).sum(0)
    rows = np.minimum(1 / (w**2).sum(), share * (1 - share) / variance)
    low, _ = share_interval(torch.from_numpy(share), torch.from_numpy(rows))
    assert result.low.numpy() == pytest.approx(low.numpy())


def test_weights_of_nought_are_as_if_the_rows_were_not_there(rng):
    labels = torch.randint(0, 3, (60,), generator=rng)
    log_w = torch.zeros(60)
    log_w[40:] = -math.inf
    for a, b in zip(proportions(labels, 3, log_w), proportions(labels[:40], 3), strict=True):
        assert torch.allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("heavy", [False, True])
def test_weighted_interval_holds_the_truth(rng, heavy):
    """A share of 0.3, whose rows have weights like the others, or a few large ones."""
    held = 0
    for _ in range(400):
        labels = (torch.rand(200, generator=rng) < (0.6 if heavy else 0.3)).long()
        log_w = torch.randn(200, generator=rng) / 2
        if heavy:  # the mean weight of the class is half of 0.3 / 0.7 of that of the others
            log_w = torch.where(labels == 1, 2 * log_w - 0.375 + math.log(2 / 7), log_w)
        result = proportions(labels, 2, log_w)
        held += bool(result.low[1] <= 0.3 <= result.high[1])
    assert held >= 0.93 * 400


def test_total_variation_and_modes():
    p, q = torch.tensor([0.6, 0.39, 0.01, 0.0]), torch.tensor([0.3, 0.3, 0.2, 0.2])
    assert total_variation(p, q) == pytest.approx(0.39)
    assert total_variation(p, p) == 0
    assert modes_covered(p, q) == 2
    assert modes_covered(p, q, fraction=0.01) == 3
    assert modes_covered(q, q) == 4
    few = torch.tensor([0.875, 0.125]), torch.tensor([0.5, 0.5])
    assert modes_covered(*few, fraction=0.25) == 1  # as much is not more
    assert modes_covered(p, torch.tensor([0.5, 0.5, 0.0, 0.0])) == 2  # not asked for: not counted


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save:UserWarning")
@pytest.mark.parametrize("splits", [2, 5])
def test_score_against_torchmetrics(rng, splits):
    logits = 2 * torch.randn(100, 6, generator=rng)
    oracle = InceptionScore(feature=nn.Identity(), splits=splits)
    oracle.update(logits)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        mean, deviation = oracle.compute()
        torch.manual_seed(5)
        order = torch.randperm(100)  # it shuffles the rows
    result = class_score(torch.softmax(logits[order], 1), splits=splits)
    assert result.mean == pytest.approx(float(mean), rel=1e-10)
    assert result.deviation == pytest.approx(float(deviation), rel=1e-8)


def test_weighted_score_against_its_definition(rng):
    p = torch.softmax(2 * torch.randn(50, 4, generator=rng), 1)
    w = torch.rand(50, generator=rng)
    share = (w / w.sum()).numpy()
    divergence = rel_entr(p.numpy(), share @ p.numpy()).sum(1)
    result = class_score(p, w)
    assert result.mean == pytest.approx(math.exp(share @ divergence), rel=1e-12)
    assert math.isnan(result.deviation)
    assert class_score(p, torch.ones(50)).mean == pytest.approx(class_score(p).mean)


def test_weights_count_as_repeated_rows(rng):
    p = torch.softmax(torch.randn(6, 3, generator=rng), 1)
    times = torch.tensor([1, 3, 0, 2, 1, 1])
    assert class_score(p, times).mean == pytest.approx(
        class_score(p.repeat_interleave(times, 0)).mean, rel=1e-12
    )


def test_limits_of_the_score():
    clear = torch.eye(8).repeat(5, 1)  # zeros in the logarithms
    assert class_score(clear).mean == pytest.approx(8)
    assert class_score(clear, splits=5) == pytest.approx((8, 0), abs=1e-12)
    assert class_score(torch.full((10, 8), 1 / 8)).mean == pytest.approx(1)
    assert class_score(torch.tensor([[0.2, 0.8]])).mean == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: proportions(torch.zeros(0, dtype=torch.long), 2), r"N >= 1, got .*\(0,\)"),
        (lambda: proportions(torch.zeros(3), 2), "whole numbers"),
        (lambda: proportions(torch.tensor([0, 2]), 2), "0, ..., 1 for 2 classes, got 0, ..., 2"),
        (lambda: proportions(torch.tensor([-1]), 2), "got -1"),
        (lambda: proportions(torch.tensor([0, 1]), 2, torch.zeros(3)), r"shape \(2,\)"),
        (lambda: proportions(torch.tensor([0, 1]), 2, torch.tensor([0, math.nan])), "no nan"),
        (lambda: proportions(torch.tensor([0]), 2, torch.tensor([-math.inf])), "largest -inf"),
        (lambda: total_variation(torch.ones(2) / 2, torch.ones(3) / 3), r"\(2,\) and \(3,\)"),
        (lambda: total_variation(torch.ones(2), torch.ones(2) / 2), "share must .* sum to 1"),
        (lambda: modes_covered(torch.ones(2) / 2, torch.tensor([math.nan, 1])), "target must"),
        (lambda: class_score(torch.zeros(0, 2)), r"got \(0, 2\)"),
        (lambda: class_score(torch.eye(2), splits=3), "each of 3 splits"),
        (lambda: class_score(torch.eye(2), splits=0), "each of 0 splits"),
        (lambda: class_score(torch.ones(3, 2)), "softmax"),
        (lambda: class_score(torch.tensor([[1.0, 0.0], [math.nan, 1]])), "1 of 2 rows"),
        (lambda: class_score(torch.eye(2), torch.tensor([1.0, -1])), "0 or more"),
        (lambda: class_score(torch.eye(2), torch.ones(3)), "2 finite weights"),
        (lambda: class_score(torch.eye(2), torch.tensor([1.0, 0]), splits=2), "split of weight 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
