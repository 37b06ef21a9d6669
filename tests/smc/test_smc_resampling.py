"""Resampling: unbiased counts, the bounds of each scheme, and log Z carried through."""

import dataclasses
import math

import pytest
import torch

from boltzwalk.energies.analytic import GumbelProduct
from boltzwalk.smc.resampling import ancestors, require_ess_threshold, resample, resample_below
from boltzwalk.walkers import Walkers, cat, effective_sample_size, log_mean_weight, walkers_at
from statistics_helpers import assert_mean, assert_same_walkers

SCHEMES = ["systematic", "stratified", "residual", "multinomial"]
each = pytest.mark.parametrize("scheme", SCHEMES)

UNEVEN = torch.tensor([0.0, 0.5, -1.0, 1.2, -3.0, 0.1], dtype=torch.float64)


def numbered(log_w):
    """Walkers whose energy is their number."""
    n = len(log_w)
    x = torch.arange(n).to(log_w)[:, None]
    return Walkers(x, x[:, 0], -x, log_w, (10 * x,))


def counts(log_w, rng, scheme):
    return torch.bincount(ancestors(log_w, rng, scheme), minlength=len(log_w)).double()


@each
def test_the_number_of_children_is_unbiased(rng, scheme):
    """The expected number of copies of walker i is N times its weight."""
    children = torch.stack([counts(UNEVEN, rng, scheme) for _ in range(4000)])
    assert (children.sum(1) == 6).all()
    for i, share in enumerate(torch.softmax(UNEVEN, 0).tolist()):
        assert_mean(children[:, i], 6 * share, f"children of walker {i}")


@pytest.mark.parametrize("scheme", ["systematic", "residual"])
def test_no_walker_has_less_than_the_whole_part(rng, scheme):
    """Systematic: within one of N p. Residual: the floor for certain, whatever comes on top."""
    log_w = torch.tensor([3.0, 1.0, 0.0, -2.0, 2.5]) + 800  # exp overflows
    expected = 5 * torch.softmax(log_w, 0)
    for _ in range(200):
        got = counts(log_w, rng, scheme)
        assert (got >= expected.floor()).all()
        if scheme == "systematic":
            assert (got <= expected.ceil()).all()


@pytest.mark.parametrize("scheme", ["systematic", "stratified", "residual"])
def test_walkers_of_equal_weight_all_survive(rng, scheme):
    """N p is 1 up to rounding, also where the softmax gives 0.999...: one child each."""
    for n in (1, 3, 49, 1000):
        got = ancestors(torch.full((n,), 0.1), rng, scheme)
        assert torch.equal(got, torch.arange(n))


def noise(share, scheme):
    """The exact variance of the number of children, summed over the walkers."""
    n = len(share)
    expected = n * share
    part = expected - expected.floor()
    if scheme == "systematic":
        return float((part * (1 - part)).sum())
    if scheme == "residual":
        return float(part.sum() - part.square().sum() / part.sum())
    if scheme == "multinomial":
        return float((expected * (1 - share)).sum())
    ends = expected.cumsum(0)
    stratum = torch.arange(n)[:, None]  # how much of it belongs to each walker
    piece = torch.minimum(ends, stratum + 1) - torch.maximum(ends - expected, stratum)
    return float((piece.clamp(min=0) * (1 - piece.clamp(min=0))).sum())


@each
def test_the_noise_of_a_scheme_is_known(rng, scheme):
    log_w = torch.randn(50, generator=rng)
    expected = 50 * torch.softmax(log_w, 0)
    rows = torch.stack([counts(log_w, rng, scheme) for _ in range(3000)])
    squares = (rows - expected).square().sum(1)
    assert_mean(squares, noise(expected / 50, scheme), "squared noise of the children")


def test_schemes_are_ordered_by_their_noise(rng):
    """For any weights systematic is the quietest, and nothing is as noisy as multinomial."""
    for _ in range(100):
        share = torch.softmax(2 * torch.randn(50, generator=rng), 0)
        known = {scheme: noise(share, scheme) for scheme in SCHEMES}
        assert known["systematic"] <= known["stratified"] <= known["multinomial"]
        assert known["systematic"] <= known["residual"] <= known["multinomial"]


@each
def test_log_z_is_continuous_through_a_resampling(rng, scheme):
    log_w = 5 * torch.randn(1000, generator=rng) + 800
    kept = resample(numbered(log_w), rng, scheme)
    assert abs(log_mean_weight(kept.log_w) - log_mean_weight(log_w)) <= 1e-12
    assert len(kept.log_w.unique()) == 1
    kept.log_w[0] = 0.0  # every walker owns its weight
    assert kept.log_w[1] != 0


@each
def test_everything_goes_with_the_walker(rng, scheme):
    """Position, energy, gradient and memory: nothing is left behind, nothing goes stale."""
    energy = GumbelProduct(3)
    x = energy.sample(100, rng)
    walkers = walkers_at(energy, x, torch.linspace(-3, 3, 100), memory=(2 * x, x[:, 0]))
    kept = resample(walkers, rng, scheme)
    assert 1 < len(kept.x.unique(dim=0)) < 100
    fresh = walkers_at(energy, kept.x, kept.log_w, memory=(2 * kept.x, kept.x[:, 0]))
    assert_same_walkers(kept, fresh)


@each
def test_a_walker_without_weight_never_survives(rng, scheme):
    log_w = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf])
    for _ in range(50):
        assert set(ancestors(log_w, rng, scheme).tolist()) <= {1, 3}


@each
def test_a_trailing_walker_without_weight_never_survives_the_largest_draw(rng, scheme, monkeypatch):
    """The shares of many walkers add up to less than one; the last point is beyond their sum."""
    log_w = torch.cat([torch.randn(999, generator=rng), torch.tensor([-math.inf])])
    sums = torch.softmax(log_w, 0).cumsum(0)
    assert sums[-1] < 1
    largest = 1 - 2.0**-53

    def rand(*size, generator=None, device=None, dtype=None):
        return torch.full(size if isinstance(size[0], int) else size[0], largest, dtype=dtype)

    monkeypatch.setattr(torch, "rand", rand)
    assert ancestors(log_w, rng, scheme).max() <= 998


@each
@pytest.mark.parametrize(
    ("log_w", "words"),
    [
        ([-math.inf] * 3, "got log-weights of -inf at most"),
        ([0.0, math.nan, 1.0], "got log-weights of nan"),
        ([0.0, math.inf, 1.0], "got log-weights of inf at most"),
    ],
)
def test_no_weight_at_all_is_an_error(rng, scheme, log_w, words):
    walkers = numbered(torch.tensor(log_w))
    for call in (
        lambda: ancestors(walkers.log_w, rng, scheme),
        lambda: resample(walkers, rng, scheme),
        lambda: resample_below(walkers, 0.5, rng, scheme),
    ):
        with pytest.raises(FloatingPointError, match=f"{words}.*lower the learning rate"):
            call()


@each
def test_a_million_walkers_in_float32_keep_their_counts(rng, scheme):
    n = 1_000_000
    log_w = torch.randn(n, generator=rng).float()
    x = torch.arange(n)[:, None].float()  # exact below 2**24
    picked = resample(Walkers(x, x[:, 0], x, log_w), rng, scheme)
    children = torch.bincount(picked.x[:, 0].long(), minlength=n)
    expected = n * torch.softmax(log_w.double(), 0)
    assert picked.log_w.dtype == torch.float32
    if scheme == "systematic":
        assert (children - expected).abs().max() < 1 + 1e-6
    if scheme == "stratified":  # the two strata at the ends are hit in part
        assert (children - expected).abs().max() < 2 + 1e-6
    if scheme == "residual":
        assert (children - expected).min() > -1 - 1e-6
    # Children by blocks of a thousand: 1000 p-values, none beyond six standard deviations.
    off = (children - expected).reshape(1000, 1000).sum(1)
    assert off.abs().max() < 6 * expected.reshape(1000, 1000).sum(1).sqrt().max()


def test_ancestors_are_in_ascending_order(rng):
    for scheme in SCHEMES:
        drawn = ancestors(torch.randn(200, generator=rng), rng, scheme)
        assert (drawn.diff() >= 0).all()


@each
def test_only_what_is_below_the_threshold_is_resampled(rng, scheme):
    """Blocks never mix, those above keep every field, those below are as if they were alone."""
    even, uneven = torch.linspace(-0.2, 0.2, 40), torch.linspace(-4, 4, 40)
    blocks = [numbered(log_w) for log_w in (even, uneven, 7 + even, 300 + uneven)]
    blocks = [dataclasses.replace(b, x=b.x + 100 * k) for k, b in enumerate(blocks)]
    walkers = cat(*blocks)
    first, second = (torch.Generator().manual_seed(3) for _ in range(2))
    got, count = resample_below(walkers, 0.5, first, scheme, replicates=4)
    assert count == 2
    alone = [b if k % 2 == 0 else resample(b, second, scheme) for k, b in enumerate(blocks)]
    assert_same_walkers(got, cat(*alone))
    for k in range(4):
        assert_same_walkers(got[40 * k : 40 * (k + 1)], alone[k])
        log_z = log_mean_weight(got.log_w[40 * k : 40 * (k + 1)])
        torch.testing.assert_close(log_z, log_mean_weight(blocks[k].log_w), rtol=0, atol=1e-12)
    assert torch.equal(walkers.log_w, cat(*blocks).log_w), "the input is left alone"


def test_nothing_below_the_threshold_costs_nothing(rng):
    walkers = numbered(UNEVEN)
    state = rng.get_state()
    same, count = resample_below(walkers, 0.1, rng)
    assert same is walkers
    assert count == 0
    assert torch.equal(rng.get_state(), state)


def test_the_threshold_is_a_share_of_the_replicate(rng):
    """Two thirds of two blocks of three: exactly at the threshold nothing happens."""
    walkers = numbered(torch.tensor([0.0, 0.0, -math.inf, 0.0, -math.inf, 0.0]))
    ess = effective_sample_size(walkers.log_w[:3]).item() / 3
    assert resample_below(walkers, ess, rng, replicates=2)[1] == 0
    assert resample_below(walkers, ess + 1e-9, rng, replicates=2)[1] == 2
    assert resample_below(walkers, ess + 1e-9, rng)[1] == 1


def test_a_replicate_without_weight_is_found(rng):
    walkers = numbered(torch.tensor([0.0, 0.0, -math.inf, -math.inf]))
    with pytest.raises(FloatingPointError, match="-inf at most"):
        resample_below(walkers, 0.1, rng, replicates=2)


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.5, math.nan, math.inf])
def test_thresholds_out_of_range_are_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\].*0.5 is usual"):
        require_ess_threshold(threshold)


@pytest.mark.parametrize("threshold", [1.0, 0.5, 1e-9])
def test_thresholds_in_range_are_taken(threshold):
    require_ess_threshold(threshold)
