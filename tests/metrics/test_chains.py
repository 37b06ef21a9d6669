"""R-hat and effective sample size against ArviZ, and against chains of known autocorrelation."""

import math

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats

from boltzwalk.metrics.chains import bulk_effective_sample_size, r_hat


def autoregressive(rng, chains, draws, rho):
    x = torch.randn(chains, draws, generator=rng)
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + (1 - rho**2) ** 0.5 * x[:, t]
    return x


def agree(chains):
    x = chains.numpy()
    rank = array_stats.rhat(x, chain_axis=0, draw_axis=1, method="rank")
    bulk = array_stats.ess(x, chain_axis=0, draw_axis=1, method="bulk")
    assert r_hat(chains).numpy() == pytest.approx(rank, rel=1e-10)
    assert bulk_effective_sample_size(chains).numpy() == pytest.approx(bulk, rel=1e-10)


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.5, 0.95])
@pytest.mark.parametrize(("chains", "draws"), [(4, 400), (2, 101), (7, 30)])
def test_against_arviz(rng, rho, chains, draws):
    agree(autoregressive(rng, chains, draws, rho))


@pytest.mark.parametrize("draws", range(4, 16))
def test_short_chains_against_arviz(rng, draws):
    """Every way in which the sum of pairs may end."""
    for rho in (-0.8, 0.0, 0.9):
        for _ in range(5):
            agree(autoregressive(rng, 3, draws, rho))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + torch.arange(4.0)[:, None],  # other locations
        lambda x: x * torch.tensor([1.0, 1.0, 1.0, 5.0])[:, None],  # other scales
        lambda x: x.cumsum(1),  # drift
        lambda x: x / torch.randn(4, 200, generator=torch.Generator().manual_seed(9)),  # Cauchy
        lambda x: x.round(),  # ties
        lambda x: (x > 1).double(),  # two values
        lambda x: 1e8 + x,
    ],
)
def test_hard_chains_against_arviz(rng, change):
    agree(change(autoregressive(rng, 4, 200, 0.4)))


def test_many_dimensions_are_those_one_by_one(rng):
    x = torch.stack([autoregressive(rng, 3, 50, rho) for rho in (-0.5, 0.0, 0.8, 0.99)], 2)
    for function in (r_hat, bulk_effective_sample_size):
        each = torch.stack([function(x[..., d]) for d in range(4)])
        assert torch.allclose(function(x), each, rtol=1e-12)
        assert function(x[..., :1]).shape == (1,)
        assert function(x[..., 0]).shape == ()


def test_one_chain_has_an_effective_sample_size(rng):
    x = autoregressive(rng, 1, 300, 0.5)
    expected = array_stats.ess(x.numpy(), chain_axis=0, draw_axis=1, method="bulk")
    assert float(bulk_effective_sample_size(x)) == pytest.approx(float(expected), rel=1e-10)


def test_effective_sample_size_of_known_autocorrelation(rng):
    """(1 - ρ) / (1 + ρ) of the draws, for a normal autoregression."""
    for rho in (0.0, 0.6):
        x = torch.stack([autoregressive(rng, 4, 2000, rho) for _ in range(20)], 2)
        result = bulk_effective_sample_size(x) / 8000
        error = float(result.std()) / math.sqrt(20)
        assert float(result.mean()) == pytest.approx((1 - rho) / (1 + rho), abs=5 * error)


def test_a_monotone_map_of_the_draws_changes_neither(rng):
    x = autoregressive(rng, 4, 100, 0.5)
    assert torch.equal(bulk_effective_sample_size(x.exp()), bulk_effective_sample_size(x))


def test_a_dimension_that_never_changes_is_nan_and_others_are_not(rng):
    x = torch.randn(4, 50, 3, generator=rng)
    x[..., 1] = 0.1
    for function in (r_hat, bulk_effective_sample_size):
        assert function(x).isnan().tolist() == [False, True, False]
        with pytest.raises(ValueError, match="every dimension has one value throughout"):
            function(torch.full((4, 50), 0.1))


def test_chains_that_stand_still_at_different_values_never_agree():
    x = torch.tensor([0.1, 0.2, 0.7])[:, None].repeat(1, 40)
    assert float(r_hat(x)) == math.inf
    assert float(bulk_effective_sample_size(x)) < 6


def test_a_fair_coin_whose_folded_values_are_constant(rng):
    x = torch.tensor([0.0, 1.0]).repeat(2, 50)
    result = float(r_hat(x))
    assert result == pytest.approx(np.sqrt(49 / 50), rel=1e-12)


@pytest.mark.parametrize(
    ("chains", "message"),
    [
        (torch.zeros(10), r"got \(10,\)"),
        (torch.zeros(1, 10), r"2 chains and 4 draws or more, got \(1, 10\)"),
        (torch.zeros(4, 3), r"got \(4, 3\)"),
        (torch.zeros(4, 10, 0), r"got \(4, 10, 0\)"),
        (torch.tensor([[0.0, 1, 2, 3], [0, 1, 2, math.nan]]), r"1 of 2 rows .*\(rows 1\)"),
    ],
)
def test_bad_input_is_refused(chains, message):
    with pytest.raises(ValueError, match=message):
        r_hat(chains)
