"""The population: every field moves together, weights keep the evidence."""

import dataclasses
import math

import pytest
import torch

from boltzwalk.walkers import (
    Walkers,
    cat,
    effective_sample_size,
    log_mean_weight,
    put,
    walkers_at,
    where,
)
from statistics_helpers import assert_same_walkers


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
    walkers = walkers_at(lambda x: (x**3).sum(-1), x)
    torch.testing.assert_close(walkers.energy, (x**3).sum(-1))
    torch.testing.assert_close(walkers.grad, 3 * x**2)
    assert torch.equal(walkers.x, x)
    assert torch.equal(walkers.log_w, torch.zeros(5))
    assert walkers.memory == ()


def test_evaluate_keeps_what_it_is_given(rng):
    log_w, memory = torch.linspace(0, 1, 4), (torch.ones(4, 2),)
    x = torch.zeros(4, 2, requires_grad=True)
    walkers = walkers_at(lambda x: x.sum(-1), x, log_w, memory)
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


def test_replicates_are_weighed_each_on_its_own(rng):
    """Means and effective sizes are over the last dimension, whatever comes before it."""
    log_w = torch.randn(2, 3, 7, generator=rng)
    for function in (log_mean_weight, effective_sample_size):
        expected = torch.stack([function(row) for row in log_w.flatten(0, 1)]).reshape(2, 3)
        torch.testing.assert_close(function(log_w), expected)


def test_weights_of_nothing_have_no_effective_sample_size():
    """Whoever compares with a threshold must let nan fail: there is no number to return."""
    for log_w in ([-math.inf] * 3, [0.0, math.nan], [0.0, math.inf]):
        assert effective_sample_size(torch.tensor(log_w)).isnan()
    assert log_mean_weight(torch.tensor([-math.inf] * 3)) == -math.inf


@pytest.mark.parametrize("shape", [(), (3,), (1, 4, 4)])
def test_put_replaces_every_field_of_those_it_names(rng, shape):
    walkers, moved = population(10, rng, shape), population(3, rng, shape)
    before = [field.clone() for field in fields(walkers)]
    index = torch.tensor([7, 0, 4])
    got = put(walkers, index, moved)
    rest = torch.tensor([1, 2, 3, 5, 6, 8, 9])
    for field, new, old in zip(fields(got), fields(moved), before, strict=True):
        assert torch.equal(field[index], new)
        assert torch.equal(field[rest], old[rest])
    for field, old in zip(fields(walkers), before, strict=True):
        assert torch.equal(field, old), "the input is left alone"
