"""Specifications of studies and their trials, and what is refused."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from study_cases import STUDIES, TINY, tiny

from boltzwalk.recipes import RECIPES
from boltzwalk.recipes.starters import digits
from boltzwalk.study.plan import gradients_per_update, planned_trials, settings_digest
from boltzwalk.study.spec import study_to_yaml, with_changes
from boltzwalk.study.spec_file import study_from_yaml
from boltzwalk.study.unused import uses
from boltzwalk.study.workers import check_study

SHIPPED = {
    "thesis/thesis_digits": (258, "45ab764203e6090c", "a66237744506f76a"),
    "thesis/thesis_mnist": (102, "b12a98f4bfa8701a", "07de4f37a5448bbf"),
    "vae_teaching_ablation": (72, "a1be2fcfbdba80d4", "3744b165f0e0f6c2"),
    "toy_convergence": (36, "6a7e4a0ae6925c3f", "5cf2e4a2f5f69fc4"),
}
"""The trials of each shipped study, the digest of its YAML without notes, and of their names.

Both digests are those of version 0.1.0: another name would run a finished trial again."""


def short_digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_study_is_the_one_whose_results_are_published(name):
    study = study_from_yaml((STUDIES / f"{name}.yaml").read_text())
    assert study_from_yaml(study_to_yaml(study)) == study
    assert "Reached:" in study.about
    assert (study.analysis == "analysis.py") == name.startswith("thesis/")
    trials = planned_trials(study)
    assert {trial.settings.seed for trial in trials} == {0, 1, 2}
    text = study_to_yaml(replace(study, about="", analysis=""))
    names = sorted({trial.name for trial in trials})
    assert (len(names), short_digest(text), short_digest(" ".join(names))) == SHIPPED[name]


def test_trials_get_equally_many_energy_gradients():
    study = tiny(TINY.replace("equal: false", "equal: true"), "budget=100000")
    for trial in planned_trials(study):
        each = gradients_per_update(trial.settings)
        assert each == 32 * (1 + trial.settings.method.steps)
        spent = trial.settings.updates * each
        assert 100_000 - each < spent <= 100_000


def test_every_combination_has_every_seed_and_its_own_settings():
    settings = {
        (t.settings.method.steps, t.settings.optimizer.learning_rate, t.settings.seed)
        for t in planned_trials(tiny())
    }
    assert settings == {(k, r, s) for k in (2, 4) for r in (1e-4, 1e-3) for s in (0, 1)}


def test_one_at_a_time_varies_one_setting():
    text = TINY.replace("equal: false", "equal: false\n    sampler: one")
    settings = [t.settings for t in planned_trials(tiny(text, "seeds=[0]"))]
    # The recipe itself, steps 2 and 4, and both rates: 1e-4 and 1e-3.
    assert sorted((s.method.steps, s.optimizer.learning_rate) for s in settings) == [
        (2, 3e-4), (3, 1e-4), (3, 3e-4), (3, 1e-3), (4, 3e-4),
    ]  # fmt: skip
    points = [dict(t.levels) for t in planned_trials(tiny(text, "seeds=[0]"))]
    varied = [[axis for axis, level in p.items() if level != "baseline"] for p in points]
    assert sorted(map(len, varied)) == [0, 1, 1, 1, 1]


def test_trials_of_a_seed_are_in_the_order_of_their_names():
    """Which is mixed: a part of them is a fair sample, also for the time that is left."""
    text = TINY.replace("method.steps: [2, 4]", "method.steps: [2, 3, 4, 5, 6]")
    trials = planned_trials(tiny(text))
    for seed in (0, 1):
        names = [t.name for t in trials if t.settings.seed == seed]
        assert names == sorted(names)
    assert [t.settings.seed for t in trials] == [0] * 10 + [1] * 10


def test_a_trial_of_two_blocks_has_the_measures_of_both():
    text = TINY.replace("equal: false", "equal: false\n    measures: [longer]")
    text += "  more:\n    equal: false\n    measures: [displacement, longer]\n"
    text += "    settings: [learning_rate=1e-3]\n    axes: {method.steps: [4, 8]}\n"
    measures = {t.measures for t in planned_trials(tiny(text))}
    assert measures == {("longer",), ("longer", "displacement"), ("displacement", "longer")}


def test_random_points_are_within_their_range_and_the_same_again():
    text = TINY.replace("equal: false", "equal: false\n    sampler: random\n    trials: 30")
    text = text.replace("[1e-4, 1e-3]", "{low: 1e-5, high: 1e-2, log: true}")
    rates = [t.settings.optimizer.learning_rate for t in planned_trials(tiny(text, "seeds=[0]"))]
    assert len(set(rates)) == 30
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    below = sum(rate < 10**-3.5 for rate in rates)
    assert 5 <= below <= 25  # half of them in the lower half of the logarithm
    planned_trials.cache_clear()
    again = planned_trials(tiny(text, "seeds=[0]"))
    assert rates == [t.settings.optimizer.learning_rate for t in again]


def test_a_name_depends_on_every_setting_and_on_no_machine():
    base = planned_trials(tiny())[0].settings
    again = subprocess.run(
        [
            sys.executable,
            "-c",
            "from boltzwalk.recipes.starters import digits\n"
            "from boltzwalk.study.plan import settings_digest\n"
            "print(settings_digest(digits()))",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    assert again.stdout.strip() == settings_digest(digits())
    assert settings_digest(replace(base, device="cuda", threads=7)) == settings_digest(base)
    names = {
        settings_digest(base),
        settings_digest(replace(base, seed=9)),
        settings_digest(replace(base, clip_gradient=1.0)),
        settings_digest(replace(base, method=replace(base.method, data_noise=0.031))),
        settings_digest(replace(base, energy=replace(base.energy, spectral_norm=True))),
    }
    assert len(names) == 5


FIRST_DIGESTS = {
    "digits": "f7240c78bf5c",
    "coopnets_digits": "f33ee2a06a14",
    "conditional_digits": "eb637369a3e4",
    "facades_completion": "8cdb339444d4",
    "gebm_digits": "384d2b47a26e",
}


@pytest.mark.parametrize("recipe", FIRST_DIGESTS)
def test_a_trial_has_the_name_that_it_had_in_version_0_1_0(recipe):
    """Also where kinds were renamed, or a block takes more kinds than it did."""
    settings = RECIPES[recipe]()
    if recipe == "facades_completion":  # equal images are in one split by now
        assert settings_digest(settings) != FIRST_DIGESTS[recipe]
        settings = replace(settings, data=replace(settings.data, repeats="anywhere"))
    assert settings_digest(settings) == FIRST_DIGESTS[recipe]


def test_settings_of_the_study_and_of_its_recipe_are_changed_alike():
    study = with_changes(tiny(), ["seeds=[5]", "limit=7", "kernel.step_size=0.5"])
    assert (study.seeds, study.limit) == ((5,), 7.0)
    assert {t.settings.method.kernel.step_size for t in planned_trials(study)} == {0.5}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("method.steps", "method.stepps", "did you mean method.steps"),
        ("[2, 4]", "[2, four]", "must be of type int, got 'four'"),
        ("[2, 4]", "[2, 0]", "steps must be >= 1"),
        ("[2, 4]", "[]", "must have a level or more"),
        ("[2, 4]", "[2, 2]", "must have different levels"),
        ("[2, 4]", "{low: 1, high: 3}", "needs levels, got a range"),
        ("method.steps", "threads", "no axis of block grid"),
        ("method.steps", "log_every", "no axis of block grid"),
        ("recipe: digits", "recipe: digitz", "did you mean digits"),
        ("seeds: [0, 1]", "seeds: []", "seeds must be different, one or more"),
        ("rungs: [0.5, 1]", "rungs: [0.5]", "end with 1"),
        ("samples: 100", "sample: 100", "did you mean samples"),
        ("equal: false", "sampler: tpe", "trials must be >= 1 for sampler tpe"),
        ("blocks:", "blocs:", "blocks must be given"),
        ("equal: false", "equal: false\n    budgets: 1", "did you mean blocks.grid.budget"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(before, after, words):
    assert before in TINY
    with pytest.raises(ValueError, match="(?s).*".join(words.split("..."))) as caught:
        planned_trials(tiny(TINY.replace(before, after)))
    assert words in str(caught.value)


def test_a_budget_smaller_than_one_update_is_refused():
    study = tiny(TINY.replace("equal: false", "equal: true"), "budget=100")
    with pytest.raises(ValueError, match="at least the 160 energy gradients of one update"):
        planned_trials(study)


def test_two_levels_that_mean_the_same_are_refused():
    text = TINY.replace("[1e-4, 1e-3]", "[1e-4, 0.0001]")
    with pytest.raises(ValueError, match="are the same settings"):
        planned_trials(tiny(text))


def test_a_setting_that_trials_do_not_use_is_refused():
    """Walkers that restart from data never look at the noise."""
    text = TINY.replace("method.steps: [2, 4]", "start.noise.scale: [1, 2]")
    block = "settings: ['start=ReplayStart', 'start.size=100', 'from_data=%s']\n    equal: false"
    check_study(tiny(text.replace("equal: false", block % "false")))
    with pytest.raises(ValueError, match=r"method\.start\.noise\.scale is 1\.0, 2\.0 .* not use"):
        check_study(tiny(text.replace("equal: false", block % "true")))


@pytest.mark.parametrize(
    ("path", "used"),
    [
        ("energy.spectral_norm", True),  # whose truth alone is asked for
        ("method.energy_penalty", True),
        ("optimizer.learning_rate", True),
        ("witness.steps", False),
    ],
)
def test_what_a_run_uses(path, used):
    settings = replace(digits(), updates=2, threads=1)
    assert uses(settings, path) is used


def test_a_budget_needs_a_method_with_energy_gradients():
    text = "{recipe: gebm_red_wine_ml, budget: 1000, blocks: {a: {axes: {batch: [8, 16]}}}}"
    with pytest.raises(ValueError, match=r"MaximumLikelihood, which learns without.*equal: false"):
        planned_trials(study_from_yaml(text))
    trials = planned_trials(study_from_yaml(text, ["budget=0"]))
    assert len(trials) == 6
    assert {gradients_per_update(trial.settings) for trial in trials} == {0}


@pytest.mark.parametrize("recipe", ["digits", "coopnets_digits", "vae_teaching_digits"])
def test_settings_count_the_energy_gradients_of_an_update(recipe):
    settings = RECIPES[recipe]()
    method = settings.method
    expected = (method.walkers or settings.batch) * (1 + method.steps * method.kernel.gradients)
    assert gradients_per_update(settings) == expected > 0


@pytest.mark.parametrize("name", ["../analysis.py", "/tmp/analysis.py", "a/analysis.py", ".."])
def test_an_analysis_lies_next_to_its_study(name):
    with pytest.raises(ValueError, match="in the folder of the study's file"):
        tiny(TINY, f"analysis={name}")
