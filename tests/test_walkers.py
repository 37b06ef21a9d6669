"""The population: every field moves together, weights keep the evidence."""

import dataclasses
import math

import pytest
import torch

from boltzwalk.energies.analytic import GumbelProduct
from boltzwalk.walkers import (
    Walkers,
    cat,
    effective_sample_size,
    evaluate,
    log_mean_weight,
    resample,
    where,
)
from statistics_helpers import assert_mean, assert_same_walkers


def population(n, rng, shape=(3,)):
    """Walkers all of whose fields differ, each field of walker i recognisable."""
    x = torch.randn(n, *shape, generator=rng)
    return Walkers(
        x,
        torch.arange(n) + 0.25,
        2 * x + 1,
        torch.linspace(-3, 3, n),
        (torch.randn(n, *shape, generator=rng), torch.arange(n) + 0.5),
    )


def fields(walkers):
    return [walkers.x, walkers.energy, walkers.grad, walkers.log_w, *walkers.memory]


def test_evaluate_is_the_energy_and_its_gradient(rng):
    x = torch.randn(5, 3, generator=rng)
    walkers = evaluate(lambda x: (x**3).sum(-1), x)
    torch.testing.assert_close(walkers.energy, (x**3).sum(-1))
    torch.testing.assert_close(walkers.grad, 3 * x**2)
    assert torch.equal(walkers.x, x)
    assert torch.equal(walkers.log_w, torch.zeros(5))
    assert walkers.memory == ()


def test_evaluate_keeps_what_it_is_given(rng):
    log_w, memory = torch.linspace(0, 1, 4), (torch.ones(4, 2),)
    x = torch.zeros(4, 2, requires_grad=True)
    walkers = evaluate(lambda x: x.sum(-1), x, log_w, memory)
    assert walkers.log_w is log_w
    assert walkers.memory == memory
    assert not any(field.requires_grad for field in fields(walkers))


@pytest.mark.parametrize("shape", [(), (3,), (1, 4, 4)])
def test_indexing_moves_every_field(rng, shape):
    walkers = population(10, rng, shape)
    backwards = torch.arange(10).flip(0)
    for index in (backwards, slice(2, 5), walkers.energy > 4, torch.tensor([3, 3, 3])):
        picked = walkers[index]
        assert len(picked) == len(torch.arange(10)[index])
        for field, whole in zip(fields(picked), fields(walkers), strict=True):
            assert torch.equal(field, whole[index])


@pytest.mark.parametrize("shape", [(), (3,), (1, 4, 4)])
def test_where_picks_every_field(rng, shape):
    a, b = population(6, rng, shape), population(6, rng, shape)
    mask = torch.tensor([True, False, False, True, True, False])
    picked = where(mask, a, b)
    for field, s, t in zip(fields(picked), fields(a), fields(b), strict=True):
        for i in range(6):
            assert torch.equal(field[i], s[i] if mask[i] else t[i])


def test_cat_joins_every_field_in_order(rng):
    a, b = population(4, rng), population(7, rng)
    joined = cat(a, b)
    assert len(joined) == 11
    assert_same_walkers(joined[:4], a)
    assert_same_walkers(joined[4:], b)


def test_walkers_are_immutable(rng):
    with pytest.raises(dataclasses.FrozenInstanceError):
        population(2, rng).x = torch.zeros(2, 3)


def test_log_mean_weight():
    log_w = torch.tensor([0.1, 2.0, -3.0])
    torch.testing.assert_close(log_mean_weight(log_w), log_w.exp().mean().log())
    torch.testing.assert_close(log_mean_weight(log_w + 1e4), log_mean_weight(log_w) + 1e4)


def test_effective_sample_size():
    torch.testing.assert_close(effective_sample_size(torch.zeros(8)), torch.tensor(8.0))
    torch.testing.assert_close(effective_sample_size(torch.tensor([0.0, -1e9])), torch.tensor(1.0))
    torch.testing.assert_close(effective_sample_size(torch.tensor([1e4, 1e4])), torch.tensor(2.0))
    w = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(effective_sample_size(w.log()), torch.tensor(36.0 / 14.0))


def test_resampling_keeps_the_evidence_and_the_counts(rng):
    log_w = torch.tensor([3.0, 1.0, 0.0, -2.0, 2.5]) + 800  # exp overflows
    walkers = dataclasses.replace(population(5, rng), log_w=log_w)
    for _ in range(20):
        kept = resample(walkers, rng)
        torch.testing.assert_close(log_mean_weight(kept.log_w), log_mean_weight(log_w))
        assert len(kept.log_w.unique()) == 1
        counts = torch.bincount(kept.energy.long(), minlength=5)
        assert ((counts - 5 * torch.softmax(log_w, 0)).abs() < 1).all()


def test_the_cache_follows_the_survivors(rng):
    energy = GumbelProduct(3)
    x = energy.sample(100, rng)
    walkers = evaluate(energy, x, torch.linspace(-3, 3, 100), memory=(2 * x, x[:, 0]))
    kept = resample(walkers, rng)
    assert 1 < len(kept.x.unique(dim=0)) < 100
    fresh = evaluate(energy, kept.x, kept.log_w, memory=(2 * kept.x, kept.x[:, 0]))
    assert_same_walkers(kept, fresh)


def test_resampling_is_unbiased(rng):
    """The expected number of copies of walker i is N times its weight."""
    log_w = torch.tensor([0.0, 0.5, -1.0, 1.2, -3.0, 0.1])
    walkers = dataclasses.replace(population(6, rng), log_w=log_w)
    copies = torch.stack(
        [
            torch.bincount(resample(walkers, rng).energy.long(), minlength=6).double()
            for _ in range(4000)
        ]
    )
    for i, share in enumerate(torch.softmax(log_w, 0).tolist()):
        assert_mean(copies[:, i], 6 * share, f"copies of walker {i}")


def test_a_walker_without_weight_never_survives(rng):
    log_w = torch.tensor([0.0, -math.inf, 0.0, -math.inf])
    walkers = dataclasses.replace(population(4, rng), log_w=log_w)
    for _ in range(20):
        assert set(resample(walkers, rng).energy.long().tolist()) == {0, 2}


def test_resampling_a_million_walkers_in_float32_keeps_the_counts(rng):
    n = 1_000_000
    log_w = torch.randn(n, generator=rng).float()
    x = torch.arange(n)[:, None].float()  # exact below 2**24
    picked = resample(Walkers(x, x[:, 0], x, log_w), rng)
    counts = torch.bincount(picked.x[:, 0].long(), minlength=n)
    expected = n * torch.softmax(log_w.double(), 0)
    assert (counts - expected).abs().max() < 1 + 1e-6
