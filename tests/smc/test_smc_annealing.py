"""Annealing along a fixed schedule: identities, unbiasedness, reversal."""

import math

import pytest
import torch

from boltzwalk.energies.analytic import Gaussian, GumbelProduct
from boltzwalk.smc.annealing import AnnealingSchedule, AnnealingStage, EnergyPath, anneal
from boltzwalk.walkers import effective_sample_size, log_mean_weight
from statistics_helpers import Counting, TemperedGumbel, assert_mean

WIDE = GumbelProduct(2)


def narrow(x):
    """Twice the energy, and a constant."""
    return 2 * WIDE(x) + 0.7


# The density of temperature 1/2 in two dimensions: Z = (Γ(2) / 2²)² e^{-0.7}.
LOG_RATIO = 2 * math.log(1 / 4) - 0.7
PATH = EnergyPath(WIDE, narrow)


def schedule(stages, step_sizes, scale=(1.0, 0.5)):
    """Equal steps of β; the moves are long and often refused on purpose."""
    scale = torch.tensor(scale)
    return AnnealingSchedule(
        tuple(AnnealingStage(t / stages, step_sizes, scale, 2) for t in range(stages + 1))
    )


@pytest.mark.parametrize("stages", [1, 3, 10])
def test_without_moves_the_weight_is_the_ratio_of_the_densities(stages, rng):
    x = WIDE.sample(100, rng)
    annealed = anneal(PATH, x, schedule(stages, ()), rng, threshold=None)
    torch.testing.assert_close(annealed.walkers.log_w, WIDE(x) - narrow(x), rtol=0, atol=1e-12)
    assert torch.equal(annealed.walkers.x, x)
    torch.testing.assert_close(annealed.walkers.energy, narrow(x))
    assert annealed.acceptance == ([],) * stages


def test_without_moves_the_way_back_undoes_the_way_there(rng):
    x, plan = WIDE.sample(100, rng), schedule(5, ())
    there = anneal(PATH, x, plan, rng, threshold=None).walkers
    back = anneal(PATH, x, plan.reversed(), rng, threshold=None).walkers
    torch.testing.assert_close(there.log_w + back.log_w, torch.zeros(100), rtol=0, atol=1e-12)
    torch.testing.assert_close(back.energy, WIDE(x))


def test_gaussian_to_gaussian_without_moves_is_the_closed_form():
    """log w = x²/2 - x²/2s², whatever the path, and its mean under N(0, 1) is s."""
    x, s = torch.linspace(-3, 3, 7)[:, None], 0.5
    path, plan = EnergyPath(Gaussian(1), Gaussian(1, scale=s)), schedule(4, (), (1.0,))
    log_w = anneal(path, x, plan, torch.Generator(), threshold=None).walkers.log_w
    expected = x[:, 0] ** 2 / 2 * (1 - 1 / s**2)
    torch.testing.assert_close(log_w, expected, rtol=0, atol=1e-12)


def test_the_mean_weight_is_unbiased_however_bad_the_moves(rng):
    plan = schedule(3, (1.2, 0.3))
    annealed = anneal(PATH, WIDE.sample(200_000, rng), plan, rng, threshold=None)
    assert 0.2 < annealed.acceptance[-1][0] < 0.95
    assert_mean(annealed.walkers.log_w.exp(), math.exp(LOG_RATIO), "E[w]")


@pytest.mark.parametrize(
    ("threshold", "replicates"), [pytest.param(1.0, 6000, marks=pytest.mark.slow), (0.7, 30_000)]
)
def test_it_is_unbiased_with_resampling(threshold, replicates, rng):
    """Of 4 walkers each: whatever bias there were would be large."""
    x = WIDE.sample(4 * replicates, rng)
    annealed = anneal(PATH, x, schedule(3, (1.2,)), rng, replicates, threshold)
    z = log_mean_weight(annealed.walkers.log_w.reshape(replicates, 4)).exp()
    assert_mean(z, math.exp(LOG_RATIO), "E[Z]")


def test_weighted_walkers_stand_for_the_end(rng):
    """E[w f(x)] = (Z₁ / Z₀) E₁[f], for the walkers as they come out."""
    annealed = anneal(PATH, WIDE.sample(200_000, rng), schedule(3, (1.2,)), rng, threshold=None)
    w, x, exact = annealed.walkers.log_w.exp(), annealed.walkers.x, TemperedGumbel(2, 0.5)
    for i in range(2):
        f = torch.exp(-x[:, i])
        assert_mean(w * (f - 1), 0.0, f"E[exp(-x_{i})]")
        spread = (x[:, i] - exact.mean).square() - exact.variance
        assert_mean(w * spread, 0.0, f"Var[x_{i}]")


def test_the_way_back_is_unbiased_too(rng):
    x = TemperedGumbel(2, 0.5).sample(100_000, rng)
    back = anneal(PATH, x, schedule(5, (1.2, 0.3)).reversed(), rng, threshold=None)
    assert_mean(back.walkers.log_w.exp(), math.exp(-LOG_RATIO), "E[1/w]")


def test_there_and_back_are_each_others_reversal(rng):
    """Crooks: for every f, E[w f(w)] there is Z₁ / Z₀ times E[f(1 / w)] back."""
    plan = schedule(3, (0.9,))
    n, ratio = 100_000, math.exp(LOG_RATIO)
    there = anneal(PATH, WIDE.sample(n, rng), plan, rng, threshold=None).walkers.log_w
    x = TemperedGumbel(2, 0.5).sample(n, rng)
    back = -anneal(PATH, x, plan.reversed(), rng, threshold=None).walkers.log_w
    for f in (lambda w: 1 / (w + ratio), lambda w: (w > ratio).double(), torch.rsqrt):
        w, v = there.exp(), back.exp()
        assert_mean(w * f(w) / ratio - f(v), 0.0, "E[w f(w)] Z₀ / Z₁ - E[f(1/w)]")


def test_replicates_share_nothing(rng):
    """Walkers of replicate r carry the label r, and weights that only replicate r can have."""
    label = torch.arange(6.0).repeat_interleave(50)
    x = torch.stack([torch.randn(300, generator=rng), label], 1)
    path = EnergyPath(lambda x: 0 * x[:, 0], lambda x: x[:, 0] + 30 * x[:, 1])
    annealed = anneal(path, x, schedule(2, (), (1.0, 1.0)), rng, 6, threshold=1.0)
    assert torch.equal(annealed.walkers.x[:, 1], label)
    assert len(annealed.walkers.x[:, 0].unique()) < 200, "resampled"
    assert torch.equal((annealed.walkers.log_w / -30).round(), label)


def test_the_share_is_the_smallest_on_the_way(rng):
    x = WIDE.sample(200, rng)
    annealed = anneal(PATH, x, schedule(1, ()), rng, 4, threshold=1.0)
    log_w = (WIDE(x) - narrow(x)).reshape(4, 50)
    assert annealed.share == pytest.approx(effective_sample_size(log_w).min().item() / 50)
    assert annealed.walkers.log_w.reshape(4, 50).std(1).max() == 0, "resampled all the same"


def test_evaluations_are_counted(rng):
    energy = Counting(narrow)
    x = WIDE.sample(10, rng)
    annealed = anneal(EnergyPath(WIDE, energy), x, schedule(3, (0.3, 0.1)), rng)
    assert annealed.evaluations == energy.walkers == 10 * 3 * (1 + 2 * 2)


def test_walkers_outside_the_support_die_and_are_replaced(rng):
    def half_line(x):
        return torch.where(x[:, 0] > 0, Gaussian(1)(x), math.inf)

    path, plan = EnergyPath(Gaussian(1), half_line), schedule(2, (0.5,), (1.0,))
    x = torch.randn(20_000, 1, generator=rng)
    annealed = anneal(path, x, plan, rng, threshold=0.6)
    assert bool((annealed.walkers.x > 0).all())
    assert log_mean_weight(annealed.walkers.log_w).item() == pytest.approx(
        math.log(0.5), abs=5 / math.sqrt(20_000)
    )


def test_a_replicate_without_support_is_named(rng):
    path = EnergyPath(Gaussian(1), lambda x: torch.where(x[:, 0] < 9, math.inf, x[:, 0]))
    with pytest.raises(FloatingPointError, match=r"infinite energy at beta = 0\.5"):
        anneal(path, torch.zeros(10, 1), schedule(2, (), (1.0,)), rng)


def test_one_walker_a_replicate_is_annealed_importance_sampling(rng):
    x = WIDE.sample(5, rng)
    annealed = anneal(PATH, x, schedule(2, ()), rng, replicates=5, threshold=1.0)
    torch.testing.assert_close(annealed.walkers.log_w, WIDE(x) - narrow(x))
    assert annealed.share == 1.0


@pytest.mark.parametrize("n", [0, 10])
def test_unequal_replicates_are_refused(n, rng):
    with pytest.raises(ValueError, match=f"3 replicates of equal size, got {n}"):
        anneal(PATH, torch.zeros(n, 2), schedule(2, ()), rng, replicates=3)


def test_a_schedule_has_a_start_and_an_end():
    with pytest.raises(ValueError, match="a start and an end, got 1 stages"):
        AnnealingSchedule((AnnealingStage(0.0, (), torch.ones(2)),))
    plan = schedule(4, (0.1,))
    assert plan.betas == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert plan.reversed().betas == (1.0, 0.75, 0.5, 0.25, 0.0)
