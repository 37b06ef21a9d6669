"""Shares by counting, Wilson's interval by its equation, the score against torchmetrics."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import rel_entr
from torch import nn
from torchmetrics.image.inception import InceptionScore

from boltzwalk.metrics.proportions import (
    class_score,
    modes_covered,
    proportions,
    total_variation,
    wilson_interval,
)


@pytest.mark.parametrize(("share", "n"), [(0.3, 40), (0.5, 7.5), (0.99, 1000), (0.02, 60)])
def test_wilson_solves_its_equation(share, n):
    def beyond(p):
        return abs(share - p) - 1.959963984540054 * math.sqrt(p * (1 - p) / n)

    low, high = wilson_interval(torch.tensor(share), n)
    assert float(low) == pytest.approx(brentq(beyond, 1e-9, share, xtol=1e-14), rel=1e-9)
    assert float(high) == pytest.approx(brentq(beyond, share, 1 - 1e-9, xtol=1e-14), rel=1e-9)


def test_shares_against_counting(rng):
    labels = torch.randint(0, 5, (300,), generator=rng)
    result = proportions(labels, 7)
    assert result.share.numpy() == pytest.approx(np.bincount(labels, minlength=7) / 300)
    low, high = wilson_interval(result.share, 300)
    assert torch.allclose(result.low, low)
    assert torch.allclose(result.high, high)
    # An empty class: 0 to z² / (n + z²).
    assert float(result.low[6]) == 0
    assert float(result.high[6]) == pytest.approx(3.8415 / 303.8415, rel=1e-4)


def test_one_row_and_one_class():
    result = proportions(torch.tensor([2]), 3)
    assert result.share.tolist() == [0, 0, 1]
    assert result.high.tolist() == pytest.approx([0.793, 0.793, 1], abs=1e-3)
    assert proportions(torch.zeros(9, dtype=torch.uint8), 1).share.tolist() == [1]


def test_weights(rng):
    labels = torch.randint(0, 3, (100,), generator=rng)
    log_w = torch.randn(100, generator=rng) - 1e4
    w = np.exp(log_w.numpy() + 1e4)
    result = proportions(labels, 3, log_w)
    share = np.bincount(labels, w) / w.sum()
    assert result.share.numpy() == pytest.approx(share)
    low, _ = wilson_interval(torch.from_numpy(share), w.sum() ** 2 / (w**2).sum())
    assert result.low.numpy() == pytest.approx(low.numpy())


def test_weights_of_nought_are_as_if_the_rows_were_not_there(rng):
    labels = torch.randint(0, 3, (60,), generator=rng)
    log_w = torch.zeros(60)
    log_w[40:] = -math.inf
    for a, b in zip(proportions(labels, 3, log_w), proportions(labels[:40], 3), strict=True):
        assert torch.allclose(a, b, rtol=1e-12)


def test_weighted_interval_holds_the_truth(rng):
    """Weights that do not depend on the class: 0.3 lies within 19 times in 20."""
    held = 0
    for _ in range(1000):
        labels = (torch.rand(200, generator=rng) < 0.3).long()
        result = proportions(labels, 2, torch.randn(200, generator=rng) / 2)
        held += bool(result.low[1] <= 0.3 <= result.high[1])
    assert 950 - 35 < held < 950 + 35  # 5 standard errors


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
