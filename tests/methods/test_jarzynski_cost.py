"""Weighted walkers: what an update costs, in whole, in parts, and when they are resampled."""

import itertools
import math
import re
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from weighted_cases import RARELY, Counted, Net, Normal, each_kernel, relaxed, start, step_and_grad

from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import HMC, MALA, ULA
from boltzwalk.method import Batch
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.networks import Multilayer
from boltzwalk.smc.resampling import resample
from boltzwalk.smc.reweighting import move_and_reweight
from boltzwalk.walkers import cat, log_mean_weight, walkers_at
from statistics_helpers import assert_same_walkers

# What it costs.


def cost(method, data):
    """Counts of one step, forwards, input and parameter gradients, those of the data taken off."""
    energy = Counted()
    state, rng = start(method, energy, data)
    energy.set(1.01, 0.01)
    energy.counts.update(forward=0, input=0, parameter=0)
    energy.largest = 0
    loss, state, _ = method.step(energy, Batch(data), state, rng)
    inputs = energy.counts["input"]
    assert energy.counts["parameter"] == 0
    loss.backward()
    assert state.resamplings == 0
    counts = energy.counts
    return counts["forward"] - len(data), inputs, counts["parameter"] - len(data), energy.largest


def test_algorithm_1_costs_one_of_everything():
    """One forward, one input gradient, one parameter gradient a walker: the least there is."""
    method = Jarzynski(ExactStart(40), ULA(0.01), threshold=0.1)
    assert cost(method, torch.randn(10, 2))[:3] == (40, 40, 40)
    assert method.gradients(10) == 40
    all_named = replace(method, walkers=40)
    assert cost(all_named, torch.randn(10, 2))[:3] == (40, 40, 40)


def test_a_mini_batch_costs_one_evaluation_more_and_nothing_for_the_idle():
    method = Jarzynski(ExactStart(40), ULA(0.01), threshold=0.1, walkers=8, steps=5)
    assert cost(method, torch.randn(10, 2))[:3] == (48, 48, 8)
    assert method.gradients(10) == 48


@each_kernel
@pytest.mark.parametrize("walkers", [0, 40, 8])
@pytest.mark.parametrize("chunk", [0, 3])
def test_input_gradients_are_as_many_as_promised(kernel, walkers, chunk):
    method = Jarzynski(ExactStart(40), kernel, 3, walkers, threshold=0.1, chunk=chunk)
    forward, inputs, parameters, _ = cost(method, torch.randn(2, 2))
    assert inputs == method.gradients(10)
    n = walkers or 40
    assert parameters == n
    graph = 2 * n if chunk else 0 if isinstance(kernel, ULA) else n
    assert forward == inputs + graph


def test_a_chunk_is_all_that_is_evaluated_at_once():
    method = Jarzynski(ExactStart(40), ULA(0.01), 2, threshold=0.1, chunk=7)
    assert cost(method, torch.randn(2, 2))[3] == 7
    assert cost(replace(method, walkers=20), torch.randn(2, 2))[3] == 7


@pytest.mark.parametrize("walkers", [0, 48])
@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_chunks_change_nothing(walkers, penalty):
    """Noise is drawn by sixteens: with chunks of such size one step is the same to rounding."""
    energy, data = Net(), torch.randn(8, 3)
    method = relaxed(96, kernel=ULA(0.1), walkers=walkers, energy_penalty=penalty)
    state, _ = start(method, energy, data)
    nn.init.ones_(energy.b)
    whole = step_and_grad(method, energy, data, state)
    parts = step_and_grad(replace(method, chunk=32), energy, data, state)
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-12, atol=1e-12)
    assert_same_walkers(parts[2].walkers, whole[2].walkers)
    for name, value in whole[3].items():
        torch.testing.assert_close(parts[3][name], value, msg=name)


@each_kernel
def test_chunks_of_any_size_are_followed_one_after_the_other(kernel):
    energy, data = Net(), torch.randn(8, 3)
    method = relaxed(50, kernel=kernel, steps=3, threshold=RARELY, chunk=20)
    state, _ = start(method, energy, data)
    nn.init.ones_(energy.b)
    loss, grad, after, _ = step_and_grad(method, energy, data, state)
    rng = torch.Generator().manual_seed(1)
    torch.randn(data.shape, generator=rng)
    torch.randperm(50, generator=rng)
    parts = [state.walkers[:20], state.walkers[20:40], state.walkers[40:]]
    moved = cat(*(move_and_reweight(kernel, energy, part, 3, rng).walkers for part in parts))
    assert_same_walkers(after.walkers, moved)
    energy.zero_grad()
    expected = energy(data).mean() - torch.softmax(moved.log_w, 0) @ energy(moved.x)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(grad, torch.cat([p.grad.flatten() for p in energy.parameters()]))


def test_all_walkers_may_be_named():
    energy, data = Net(), torch.randn(8, 3)
    method = relaxed(32, kernel=ULA(0.1), threshold=1.0)
    state, _ = start(method, energy, data)
    nn.init.ones_(energy.b)
    first = step_and_grad(method, energy, data, state)
    second = step_and_grad(replace(method, walkers=32), energy, data, state)
    assert torch.equal(first[1], second[1])
    assert_same_walkers(first[2].walkers, second[2].walkers)


def test_a_step_leaves_the_state_before_it_alone():
    energy, data = Net(), torch.randn(8, 3)
    for walkers in (0, 12):
        method = relaxed(32, kernel=ULA(0.1), walkers=walkers, threshold=1.0)
        state, _ = start(method, energy, data)
        nn.init.ones_(energy.b)
        first = step_and_grad(method, energy, data, state)
        again = step_and_grad(method, energy, data, state)
        assert torch.equal(first[1], again[1])
        assert_same_walkers(first[2].walkers, again[2].walkers)
        assert state.resamplings == 0
        assert again[2].resamplings == 1
        assert not any(t.requires_grad for t in (first[2].walkers.energy, first[2].walkers.grad))


def test_images_are_walkers_as_well():
    settings = NetworkEnergy(Multilayer((8,)), reference_scale=1.0, zero_start=True)
    energy, data = settings.build((1, 3, 3), 0), torch.randn(4, 1, 3, 3)
    for method in (
        Jarzynski(ExactStart(12), ULA(0.1), 2, walkers=6, threshold=1.0),
        Jarzynski(ExactStart(12), HMC(0.1, 2), chunk=5, threshold=1.0),
    ):
        state, rng = start(method, energy, data)
        loss, state, info = method.step(energy, Batch(data), state, rng)
        loss.backward()
        assert state.walkers.x.shape == (12, 1, 3, 3)
        assert info["log_z"].isfinite()
        assert method.sample(energy, Batch(data), state, 5, rng).x.shape == (5, 1, 3, 3)


# Resampling.


@pytest.mark.parametrize("scheme", ["systematic", "stratified", "residual", "multinomial"])
def test_a_mini_batch_resamples_all_walkers_at_the_energy_of_now(scheme):
    energy, data = Net(), torch.randn(8, 3)
    method = relaxed(60, kernel=ULA(0.1), walkers=10, threshold=1.0, resampling=scheme)
    state, _ = start(method, energy, data)
    with torch.no_grad():
        energy.b.mul_(2)
    _, _, after, info = step_and_grad(method, energy, data, state)
    rng = torch.Generator().manual_seed(1)
    lazy = replace(method, threshold=RARELY)
    _, before, _ = lazy.step(energy, Batch(data), state, rng)
    population = method.weighted_walkers(energy, before)
    gap = log_mean_weight(after.walkers.log_w) - log_mean_weight(population.log_w)
    assert gap.abs() <= 1e-12
    assert len(after.walkers.log_w.unique()) == 1
    fresh = walkers_at(energy, after.walkers.x, after.walkers.log_w)
    assert_same_walkers(after.walkers, fresh)
    assert_same_walkers(after.walkers, resample(population, rng, scheme))
    assert info["resamplings"] == after.resamplings == 1


def test_the_whole_population_resamples_without_an_evaluation():
    energy, data = Counted(), torch.randn(8, 2)
    method = Jarzynski(ExactStart(30), ULA(0.1), threshold=1.0)
    state, rng = start(method, energy, data)
    energy.counts.update(forward=0)
    for k in range(1, 6):
        _, state, _ = method.step(energy, Batch(data), state, rng)
        assert state.resamplings == k
        assert energy.counts["forward"] == k * 38


@pytest.mark.parametrize("walkers", [0, 20])
def test_exactly_at_the_threshold_nothing_is_resampled(walkers):
    energy, data = Net(), torch.randn(8, 3)
    method = relaxed(30, kernel=ULA(0.1), walkers=walkers, threshold=RARELY)
    state, _ = start(method, energy, data)
    nn.init.ones_(energy.b)
    ess = step_and_grad(method, energy, data, state)[3]["ess"].item()
    for threshold, resamplings in ((ess, 0), (math.nextafter(ess, 1), 1)):
        at = replace(method, threshold=threshold)
        assert step_and_grad(at, energy, data, state)[2].resamplings == resamplings


def watched(method, energy, change, resamplings):
    """Steps until so many resamplings; returns the warnings, each with the count it came at."""
    data, found = torch.randn(4, 50), []
    state, rng = start(method, energy, data)
    for k in itertools.count():
        change(k)
        before = int(state.resamplings)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _, state, _ = method.step(energy, Batch(data), state, rng)
        found += [(int(state.resamplings), str(warning.message)) for warning in caught]
        assert not caught or state.resamplings == before + 1
        if state.resamplings == resamplings:
            return found
    raise AssertionError


@pytest.mark.parametrize("walkers", [0, 100])
def test_a_threshold_above_the_ceiling_is_warned_of(walkers):
    """d = 50, h = 0.1: weights are never more even than exp(-0.125) = 0.88."""
    energy = Normal(50)
    method = Jarzynski(ExactStart(200), ULA(0.1), walkers=walkers, threshold=0.95)
    found = watched(method, energy, lambda k: None, 101)
    assert [count for count, _ in found] == [10, 100]
    ceiling, threshold = re.fullmatch(
        r"the walkers were resampled 10 times: weights of this ULA step are never more even than "
        r"an effective sample size of (.*) N, below the threshold of 0.95, and every resampling "
        r"loses some of a mode; write method.threshold=(.*), a smaller kernel.step_size, or "
        r"kernel=MALA",
        found[0][1],
    ).groups()
    assert float(ceiling) == pytest.approx(math.exp(-0.125), abs=0.01)
    assert float(threshold) == pytest.approx(math.exp(-0.25), abs=0.02)


@pytest.mark.parametrize("kernel", [ULA(0.01), MALA(0.01)])
def test_resampling_because_the_energy_changes_is_not_warned_of(kernel):
    """The ceiling of h = 0.01 is 0.9988."""
    energy = Normal(50)
    method = Jarzynski(ExactStart(100), kernel, threshold=0.95)
    found = watched(method, energy, lambda k: energy.set(1.0, 0.1 * k), 10)
    assert found == []
