"""The pilot: the next β against the definition, and a schedule that others can follow."""

import itertools
import math

import pytest
import torch

from boltzwalk.energies.analytic import Gaussian, GaussianMixture
from boltzwalk.smc.annealing import EnergyPath, anneal
from boltzwalk.smc.pilot import Pilot, _scale, next_beta
from boltzwalk.walkers import effective_sample_size
from statistics_helpers import Counting


def conditional(log_w, difference, step):
    """The conditional effective sample size, written out."""
    w = torch.softmax(log_w, 0)
    v = torch.exp(step * difference)
    return float((w @ v) ** 2 / (w @ v**2))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.995])
def test_the_next_beta_leaves_the_share_that_it_must(share, rng):
    log_w = torch.randn(500, generator=rng)
    difference = 40 * torch.randn(500, generator=rng)
    beta = next_beta(log_w, difference, 0.25, share)
    assert 0.25 < beta < 1
    assert conditional(log_w, difference, beta - 0.25) == pytest.approx(share, abs=1e-9)


def test_for_even_weights_it_is_the_effective_sample_size(rng):
    difference = 5 * torch.randn(500, generator=rng)
    beta = next_beta(torch.full((500,), 3.0), difference, 0.0, 0.9)
    assert effective_sample_size(beta * difference).item() == pytest.approx(450, abs=1e-6)


def test_the_end_is_reached_when_it_is_near():
    assert next_beta(torch.zeros(4), torch.tensor([0.0, 0.1, 0.0, 0.1]), 0.5, 0.9) == 1.0
    assert next_beta(torch.zeros(4), torch.zeros(4), 0.0, 0.999) == 1.0
    assert next_beta(torch.zeros(1), torch.tensor([-700.0]), 0.0, 0.999) == 1.0, "one walker"


def test_the_dead_do_not_count():
    """Half of the walkers die at any step: the share is of those that live."""
    log_w, difference = torch.zeros(4), torch.tensor([-math.inf, 0.0, 4.0, -math.inf])
    alive = next_beta(log_w[1:3], difference[1:3], 0.0, 0.9)
    assert next_beta(log_w, difference, 0.0, 0.9) == pytest.approx(alive)


def test_the_width_is_the_weighted_deviation(rng):
    x = torch.randn(50, 2, 1, generator=rng)
    log_w = torch.randn(50, generator=rng)
    w = torch.softmax(log_w, 0)
    centred = x[:, :, 0] - w @ x[:, :, 0]
    scale = _scale(x, log_w, torch.zeros(2, 1))
    torch.testing.assert_close(scale, (w @ centred.square()).sqrt()[:, None])
    x[:, 1] = 5.0
    assert _scale(x, log_w, torch.full((2, 1), 3.0))[1] == pytest.approx(0.03)


def explore(pilot, rng, target=None, n=400):
    target = Gaussian(5, 1.0, (0.05, 0.2, 1.0, 1.0, 0.5)) if target is None else target
    energy = Counting(target)
    path = EnergyPath(Gaussian(5), energy)
    return path, energy, pilot.find_schedule(path, Gaussian(5).sample(n, rng), rng)


def test_a_schedule_goes_from_the_start_to_the_end(rng):
    pilot = Pilot(conditional_ess=0.9, leapfrog_steps=3, multiples=(1.0, 0.5))
    path, energy, explored = explore(pilot, rng)
    stages = explored.schedule.stages
    assert stages[0].beta == 0.0
    assert stages[-1].beta == 1.0
    assert all(a.beta < b.beta for a, b in itertools.pairwise(stages))
    assert 5 < len(stages) < 60
    for stage in stages[1:]:
        assert stage.leapfrog_steps == 3
        assert stage.step_sizes[1] == stage.step_sizes[0] / 2
    assert explored.evaluations == energy.walkers
    # It arrived: the width of every coordinate of the target, which the reference has not.
    assert stages[-1].scale.tolist() == pytest.approx([0.05, 0.2, 1.0, 1.0, 0.5], rel=0.3)
    torch.testing.assert_close(explored.walkers.energy, path.end(explored.walkers.x))


def test_others_who_follow_find_what_the_pilot_found(rng):
    pilot = Pilot(conditional_ess=0.9, leapfrog_steps=4, multiples=(1.0,))
    path, _, explored = explore(pilot, rng)
    annealed = anneal(path, Gaussian(5).sample(800, rng), explored.schedule, rng, 2)
    assert annealed.share > 0.4
    for (acceptance,) in annealed.acceptance:
        assert abs(acceptance - pilot.target_acceptance) < 0.2


def test_closer_to_one_there_are_more_stages(rng):
    few, many = (
        len(explore(Pilot(conditional_ess=share, leapfrog_steps=2), rng)[2].schedule.stages)
        for share in (0.8, 0.98)
    )
    assert many > 2 * few


def test_without_a_threshold_nobody_is_resampled(rng):
    pilot = Pilot(conditional_ess=0.9, leapfrog_steps=2, threshold=None)
    _, _, explored = explore(pilot, rng)
    assert len(explored.walkers.log_w.unique()) == 400


def test_one_walker_arrives(rng):
    _, _, explored = explore(Pilot(leapfrog_steps=2), rng, n=1)
    assert explored.schedule.betas == (0.0, 1.0)
    assert len(explored.walkers) == 1
    assert bool((explored.schedule.stages[-1].scale > 0).all())


def test_a_path_without_end_is_given_up(rng):
    far = GaussianMixture(((300.0,) * 5,), 0.1)
    with pytest.raises(FloatingPointError, match="not at its end after 5 stages, but at beta"):
        explore(Pilot(max_stages=5, leapfrog_steps=1), rng, far)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pilot(conditional_ess=1.0), "conditional_ess must be between 0 and 1, got 1.0"),
        (lambda: Pilot(conditional_ess=0.0), "0.995 is usual"),
        (lambda: Pilot(target_acceptance=math.nan), "target_acceptance must be between"),
        (lambda: Pilot(threshold=0.0), "threshold must be in"),
        (lambda: Pilot(leapfrog_steps=0), "must be >= 1, got 0 and 1000"),
        (lambda: Pilot(max_stages=0), "must be >= 1, got 8 and 0"),
        (lambda: Pilot(multiples=()), "one or more positive numbers"),
        (lambda: Pilot(multiples=(1.0, 0.0)), "one or more positive numbers"),
    ],
)
def test_wrong_settings_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
