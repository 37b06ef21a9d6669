"""Effects, shares and survival against closed forms."""

import math
from itertools import pairwise

import numpy as np
import pytest
from study_cases import TINY, made_up, tiny

from boltzwalk.study.effects import (
    cell_effects,
    kaplan_meier,
    log_quality,
    main_effects,
    survival_curve,
)
from boltzwalk.study.importance import (
    axis_shares,
    interactions,
    larger_total_p,
    share_without_noise,
    variance_shares,
)
from boltzwalk.study.outcome import block_outcomes, by_point
from boltzwalk.study.recommend import frontier, recommended_points

STEPS, RATE = "method.steps", "optimizer.learning_rate"


def block(study):
    return study.block("grid")


def test_the_shares_of_a_sum_and_of_a_product():
    a, b = np.arange(3.0)[:, None], np.arange(4.0)[None, :] * 2
    va, vb = a.var(), b.var()
    mains, totals, pairs = variance_shares(a + b)
    assert mains == pytest.approx([va / (va + vb), vb / (va + vb)])
    assert totals == pytest.approx(mains)
    assert pairs[0, 1] == pytest.approx(0, abs=1e-12)
    # Of centred factors only the interaction is left.
    mains, totals, pairs = variance_shares((a - a.mean()) * (b - b.mean()))
    assert mains == pytest.approx([0, 0], abs=1e-12)
    assert totals == pytest.approx([1, 1])
    assert pairs[0, 1] == pytest.approx(1)


def test_the_shares_of_three_axes_sum_to_one():
    cells = np.random.default_rng(0).normal(size=(3, 4, 2))
    mains, totals, pairs = variance_shares(cells)
    threefold = 1 - sum(mains) - sum(pairs.values())
    assert threefold > 0
    both = pairs[0, 1] + pairs[0, 2]
    assert totals[0] == pytest.approx(mains[0] + both + threefold)


def test_a_constant_grid_has_no_shares():
    assert variance_shares(np.ones((2, 3)))[0] == [0, 0]


def test_shares_of_trials_are_those_of_the_log_quality():
    """log q = 2 log K + 1 log rate, at levels twice and ten times apart: (2 ln 2)² to (ln 10)²."""
    study = tiny()
    outcomes = made_up(study, lambda s: s[STEPS] ** 2 * s[RATE] * 1e4)
    a, b = (2 * math.log(2)) ** 2, math.log(10) ** 2
    known = {share.axis: share for share in axis_shares(outcomes, block(study).axes)}
    assert known["method.steps"].main.share == pytest.approx(a / (a + b))
    assert known["learning_rate"].total.share == pytest.approx(b / (a + b))
    assert known["learning_rate"].main.low == pytest.approx(known["learning_rate"].main.high)
    assert "exact" in known["method.steps"].method
    assert interactions(outcomes, block(study).axes)[0].part.share == pytest.approx(0, abs=1e-9)
    assert list(known) == ["learning_rate", "method.steps"]  # the largest first


def test_seeds_that_disagree_have_a_range():
    study = tiny()
    outcomes = made_up(study, lambda s: s[STEPS] ** 2 if s["seed"] else s[RATE] * 1e4)
    share = {share.axis: share for share in axis_shares(outcomes, block(study).axes)}[
        "method.steps"
    ]
    assert share.main.low < 0 < 1 < share.main.high  # two seeds that have nothing in common
    assert share.main.noise > 0.3


def grids(rng, cells, seeds=3, spread=1.0):
    """Responses of a grid with normal noise and an effect of each seed on all cells."""
    return [cells + spread * rng.normal(size=cells.shape) + rng.normal() for _ in range(seeds)]


def test_pure_noise_has_no_shares_and_the_noise_is_that_of_the_projections():
    """Without the subtraction the total shares of a 4 x 4 x 3 grid are 36/47, 36/47 and 32/47."""
    rng = np.random.default_rng(0)
    shares = [
        [share_without_noise(grids(rng, np.zeros((4, 4, 3))), (i,), True) for i in range(3)]
        for _ in range(100)
    ]
    for i, expected in enumerate((36 / 47, 36 / 47, 32 / 47)):
        of_axis = [row[i] for row in shares]
        noise = np.mean([share.noise for share in of_axis])
        assert noise == pytest.approx(expected, abs=0.08)
        assert np.mean([share.share for share in of_axis]) == pytest.approx(0, abs=0.08)
        assert sum(share.low <= 0 <= share.high for share in of_axis) >= 90


def test_planted_effects_are_in_the_intervals_and_the_parts_sum_to_one():
    rng = np.random.default_rng(1)
    a = np.array([-1.5, -0.5, 0.5, 1.5])[:, None, None]
    b = np.array([-1.0, 1.0])[None, :, None]
    cells = a + b + a * b / 2 + np.zeros((1, 1, 3))
    main, total, pair = (variance_shares(cells)[i] for i in range(3))
    variance = cells.var() + 23 / 24 / 3  # with that of the noise of 24 cells and three seeds
    inside = {"main": 0, "total": 0, "pair": 0}
    for _ in range(100):
        made = grids(rng, cells)
        parts = {
            "main": (share_without_noise(made, (0,)), main[0]),
            "total": (share_without_noise(made, (1,), True), total[1]),
            "pair": (share_without_noise(made, (0, 1)), pair[0, 1]),
        }
        for name, (share, truth) in parts.items():
            inside[name] += share.low <= truth * cells.var() / variance <= share.high
    assert min(inside.values()) >= 90, inside
    made = grids(rng, cells)
    every = [share_without_noise(made, (i,)) for i in range(3)]
    every += [share_without_noise(made, pair) for pair in ((0, 1), (0, 2), (1, 2))]
    every.append(share_without_noise(made, (0, 1, 2)))
    assert sum(share.share + share.noise for share in every) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["noise", "equal effects", "equal effects and failures"])
def test_two_equal_axes_are_told_apart_at_the_stated_level(kind):
    """Rejections of 5 % in both directions together: 10 to 41 of 500 at five standard errors."""
    rng = np.random.default_rng(2)
    a, b = np.array([-1.5, -0.5, 0.5, 1.5])[:, None, None], np.array([-1.5, -0.5, 0.5, 1.5])
    cells = (kind != "noise") * (a + b[None, :, None]) + np.zeros((1, 1, 3))
    rejected = 0
    for _ in range(500):
        made = grids(rng, cells)
        if "failures" in kind:  # the worst quality takes the place of larger ones
            made = [np.minimum(grid, 2.0) for grid in made]
        p = larger_total_p(made, 0, 1)
        rejected += min(p, 1 - p) < 0.025
    assert rejected <= 41


def test_a_larger_effect_is_told_apart():
    rng = np.random.default_rng(3)
    a, b = np.array([-1.5, -0.5, 0.5, 1.5])[:, None], np.array([-0.5, 0, 0.5])[None, :]
    ps = [larger_total_p(grids(rng, a + b, spread=0.5), 0, 1) for _ in range(50)]
    assert sum(p < 0.025 for p in ps) >= 45
    assert all(p > 0.5 for p in [larger_total_p(grids(rng, a + b, spread=0.5), 1, 0)])


def test_one_seed_has_shares_and_no_interval():
    share = share_without_noise([np.array([[0.0, 1.0], [2.0, 3.0]])], (0,))
    assert share.share == pytest.approx(0.8)
    assert math.isnan(share.low)
    assert share.noise == pytest.approx(1 / 3)  # of one degree of freedom of three


def test_an_incomplete_grid_is_left_to_a_forest():
    pytest.importorskip("optuna")
    text = TINY.replace("[2, 4]", "[2, 4, 8, 16]").replace("[1e-4, 1e-3]", "[1e-4, 3e-4, 1e-3]")
    study = tiny(text)
    outcomes = made_up(study, lambda s: s[STEPS] ** 2)[:-1]
    known = axis_shares(outcomes, block(study).axes)
    assert known[0].axis == "method.steps"
    assert known[0].main.share > 0.8
    assert "fANOVA" in known[0].method
    assert math.isnan(known[0].total.share)


def test_a_failure_is_as_bad_as_the_limit_and_is_never_averaged_away():
    study = tiny(TINY, "limit=100")
    bad = made_up(study, lambda s: 10.0, lambda s: "exploded" if s[STEPS] == 2 else "finished")
    values = log_quality(bad)
    assert sorted(set(values.values())) == pytest.approx([math.log(10), math.log(100)])
    few, many = main_effects(bad, block(study).axes[0])
    assert (few.level, few.survived, few.trials, few.quality) == (("2",), 0, 4, math.inf)
    assert (many.survived, many.trials, many.quality) == (4, 4, 10.0)
    poor = made_up(study, lambda s: 500.0 if s[STEPS] == 2 else 10.0)
    assert [e.survived for e in main_effects(poor, block(study).axes[0])] == [0, 4]


def test_a_map_counts_seeds_and_takes_medians():
    study = tiny(TINY, "seeds=[0,1,2]", "limit=100")
    outcomes = made_up(
        study,
        lambda s: 10 + s["seed"] + s[STEPS],
        lambda s: "nan" if (s["seed"], s[STEPS]) == (2, 4) else "finished",
    )
    cells = {e.level: e for e in cell_effects(outcomes, ("method.steps", "learning_rate"))}
    assert cells["2", "1e-4"][1:] == (3, 3, 13.0, 12.0, 14.0)
    assert cells["4", "1e-3"][1:] == (3, 2, 15.0, 14.0, math.inf)


def test_kaplan_and_meier_as_in_a_textbook():
    """Freireich's 21 patients under 6-MP: the estimate and Greenwood's error at 6 to 23 weeks."""
    failed = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    times = [float(t) for t in failed + censored]
    curve = kaplan_meier(times, [True] * len(failed) + [False] * len(censored))
    known = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    at = dict(zip(curve.times, curve.share, strict=True))
    assert {t: round(at[t], 3) for t in known} == known
    assert at[0] == 1
    assert curve.times[-1] == 35
    assert (curve.trials, curve.failed) == (21, 9)
    # Greenwood at 10 weeks, by hand, on the scale of log(-log S).
    greenwood = 3 / (21 * 18) + 1 / (17 * 16) + 1 / (15 * 14)
    s = (18 / 21) * (16 / 17) * (14 / 15)
    half = 1.959964 * math.sqrt(greenwood) / abs(math.log(s))
    place = list(curve.times).index(10)
    ends = (curve.low[place], curve.high[place])
    assert ends == pytest.approx((s ** math.exp(half), s ** math.exp(-half)), rel=1e-5)


def test_without_censoring_it_is_the_share_that_is_left():
    curve = kaplan_meier([3.0, 1.0, 2.0, 4.0], [True] * 4)
    assert curve.times.tolist() == [0, 1, 2, 3, 4]
    assert curve.share.tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert np.isfinite([curve.low, curve.high]).all()


def test_of_none_that_failed_the_interval_is_that_of_a_share_of_one():
    curve = kaplan_meier([5.0] * 10, [False] * 10)
    assert curve.share.tolist() == [1, 1]
    assert curve.low[-1] == pytest.approx(1 - 0.3085, abs=1e-4)  # Clopper and Pearson of 10 of 10
    with pytest.raises(ValueError, match="a lifetime or more"):
        kaplan_meier([], [])


def test_trials_live_in_energy_gradients_and_are_censored_at_their_budget():
    study = tiny(TINY, "limit=1")
    outcomes = made_up(study, lambda s: 10.0, lambda s: "nan" if s[STEPS] == 2 else "finished")
    curve = survival_curve(outcomes)
    assert curve.failed == 4
    assert curve.times.tolist() == [0, 20 * 32 * 3, 40 * 32 * 5]
    assert curve.share.tolist() == [1, 0.5, 0.5]  # a poor quality is no death


def test_the_frontier_falls_and_its_points_have_every_seed():
    study = tiny(TINY, "limit=1000")
    outcomes = made_up(study, lambda s: 100 / s[STEPS] + s["seed"])
    best = frontier(study, outcomes)
    assert all(a.gradients < b.gradients and a.quality > b.quality for a, b in pairwise(best))
    assert best[-1].quality == 25.5
    assert (best[-1].low, best[-1].high, best[-1].seeds) == (25, 26, 2)
    assert frontier(study, [o for o in outcomes if o.seed == 0]) == []


def test_what_failed_once_is_not_recommended_and_the_command_makes_the_trial():
    from boltzwalk.cli.arguments import parse_assignments
    from boltzwalk.recipes.lookup import resolved_settings

    study = tiny(TINY, "limit=1000", "learning_rate=1e-5")
    outcomes = made_up(
        study,
        lambda s: 100 / s[STEPS],
        lambda s: "exploded" if s[STEPS] == 4 and s["seed"] == 1 else "finished",
    )
    for point in frontier(study, outcomes):  # the half of a trial has half of its updates
        assert f"updates={point.updates}" in point.command(study).split()
    assert {point.updates for point in frontier(study, outcomes)} == {20, 40}
    best = recommended_points(study, outcomes)[-1]
    assert best.outcome.settings[STEPS] == 2
    words = best.command(study).replace("'", "").split()
    assert words[:3] == ["boltzwalk", "train", "digits"]
    assert [word for word in words if word.startswith("learning_rate=")] == [
        f"learning_rate={best.outcome.levels['learning_rate']}"
    ]
    made = resolved_settings(words[2], parse_assignments(words[3:]))
    trial = best.outcome.trial.settings
    assert (made.method, made.optimizer, made.energy) == (
        trial.method,
        trial.optimizer,
        trial.energy,
    )
    assert (made.updates, made.batch) == (trial.updates, trial.batch)


def test_a_rung_of_a_schedule_that_knows_its_end_is_not_recommended():
    study = tiny(TINY.replace("anneal=0", "anneal=0.5"), "limit=1000")
    best = frontier(study, made_up(study, lambda s: 100 / s[STEPS]))
    assert {point.updates for point in best} == {40}


def test_a_trial_of_two_blocks_is_made_once_and_counts_in_both():
    text = TINY + "  more:\n    equal: false\n    settings: [learning_rate=1e-3]\n"
    text += "    axes: {method.steps: [4, 8]}\n"
    study = tiny(text)
    outcomes = made_up(study, lambda s: s[STEPS])
    assert len(outcomes) == 8 + 2
    assert len(block_outcomes(outcomes, "grid")) == 8
    inside = block_outcomes(outcomes, "more")
    assert sorted(o.levels["method.steps"] for o in inside) == ["4", "4", "8", "8"]
    assert len(by_point(outcomes)) == 5
