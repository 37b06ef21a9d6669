"""Points that Optuna proposes, and the small study that ends with a model."""

import itertools
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from study_cases import TINY, run, tiny

from boltzwalk.recipes import RECIPES
from boltzwalk.study import tune as tuning
from boltzwalk.study.measures import Judge, QualityCheck
from boltzwalk.study.outcome import read_outcomes
from boltzwalk.study.plan import baseline_trials, gradients_per_update
from boltzwalk.study.propose import (
    FAILURE_QUALITY,
    _objective,
    propose_point,
    proposed_trials,
    tell,
)
from boltzwalk.study.results import Rung, TrialResult
from boltzwalk.study.storage import prepare_folder, results_folder, trial_folder
from boltzwalk.study.tune import parse_duration, run_tuning, search_space, tuning_study
from boltzwalk.study.workers import WorkerJob, _context
from boltzwalk.training.run import open_run
from boltzwalk.training.signals import StopRequest

optuna = pytest.importorskip("optuna")

ADAPTIVE = TINY.replace("equal: false", "equal: false\n    sampler: tpe\n    trials: 4").replace(
    "[1e-4, 1e-3]", "{low: 1e-5, high: 1e-2, log: true}"
)
SMALL = ["energy.network.widths=[16]", "batch=32", "updates=30", "average=0"]


@pytest.mark.slow
def test_a_proposed_study_begins_with_the_recipe_and_has_all_its_points(tmp_path):
    text = ADAPTIVE.replace("method.steps: [2, 4]", "method.steps: {low: 2, high: 4}")
    study = tiny(text)
    results = run(study, tmp_path)
    assert len(results) == 4 * 2
    points = [json.loads(p.read_text()) for p in sorted((tmp_path / "proposed").iterdir())]
    assert points[0]["values"] == {"method.steps": 3, "learning_rate": 3e-4}
    assert len({json.dumps(point["values"]) for point in points}) == 4
    assert [point["number"] for point in points] == [0, 1, 2, 3]
    assert run(study, tmp_path) == results  # nothing is left
    known = optuna.load_study(
        study_name=f"{tmp_path.name} grid",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
        ),
    )
    medians = {
        o.levels["learning_rate"]: [p.quality for p in read_outcomes(study, tmp_path)
                                    if p.point == o.point]
        for o in read_outcomes(study, tmp_path)
    }  # fmt: skip
    objectives = sorted(trial.value for trial in known.get_trials())
    assert objectives == pytest.approx(sorted(sum(v) / 2 for v in medians.values()))


def test_a_failure_is_told_as_the_worst(tmp_path):
    study = tiny(ADAPTIVE, "seeds=[0]")
    prepare_folder(tmp_path, study)
    assert propose_point(study, tmp_path)
    (trial,) = proposed_trials(study, tmp_path)
    result = TrialResult(
        trial.name, "exploded", "", 1, 2, 3, 4, 0.0, 0.0, (Rung(0.5, 1, 1, math.inf),),
        block="grid", levels=trial.levels,
    )  # fmt: skip
    tell(study, tmp_path, {trial.name: result}, "grid")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    )
    known = optuna.load_study(study_name=f"{tmp_path.name} grid", storage=storage)
    assert [t.value for t in known.get_trials()] == [FAILURE_QUALITY]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_proposals_can_be_kept_in_a_database(tmp_path, sampler):
    study = tiny(ADAPTIVE.replace("tpe", sampler), "seeds=[0]")
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    results = run(study, tmp_path / "s", storage=storage)
    assert len(results) == 4
    assert not (tmp_path / "s" / "journal.log").exists()
    (name,) = optuna.get_all_study_names(storage)
    known = optuna.load_study(study_name=name, storage=storage)
    assert [t.state.name for t in known.get_trials()] == ["COMPLETE"] * 4


@pytest.mark.slow
def test_two_processes_propose_every_point_once(tmp_path):
    study = tiny(ADAPTIVE.replace("trials: 4", "trials: 12"), "seeds=[0]")
    prepare_folder(tmp_path, study)
    program = (
        "import sys; from pathlib import Path\n"
        "from boltzwalk.study.storage import open_study\n"
        "from boltzwalk.study.propose import propose_point\n"
        "folder, n = Path(sys.argv[1]), 0\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "while propose_point(open_study(folder), folder): n += 1\n"
        "print(n)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    words = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)]
    both = [subprocess.Popen(words, **pipes) for _ in range(2)]
    assert [p.stdout.readline() for p in both] == ["ready\n"] * 2
    made = [int(p.communicate("\n", timeout=200)[0]) for p in both]
    assert sum(made) == 12
    numbers = [json.loads(p.read_text())["number"] for p in (tmp_path / "proposed").iterdir()]
    assert sorted(numbers) == list(range(12))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_search_space_around_itself(name):
    settings = RECIPES[name]()
    axes = search_space(settings)
    assert axes
    study = tuning_study(name, [])
    assert study.budget == settings.updates * gradients_per_update(settings)
    for axis in axes:
        assert axis.low < axis.high


@pytest.mark.slow
def test_the_recipe_itself_is_never_pruned(tmp_path, monkeypatch):
    """Each trial is worse than those before it, and the recipe, which comes again, than all."""
    worse = itertools.count(1)
    monkeypatch.setattr(Judge, "check", lambda *_: QualityCheck(float(next(worse)), None))
    text = ADAPTIVE.replace("trials: 4", "trials: 4\n    halving: 1000")
    text = text.replace("method.steps: [2, 4]", "method.steps: {low: 2, high: 4}")
    study = tiny(text, "seeds=[0]")
    base = baseline_trials(study, study.block("grid"))[0]
    run(study, tmp_path)
    (results_folder(tmp_path) / f"{base.name}.json").unlink()
    shutil.rmtree(trial_folder(tmp_path, base.name))
    labels = {r.name: r.label for r in run(study, tmp_path)}
    assert base.settings.method.steps == 3
    assert labels.pop(base.name) == "finished"
    assert list(labels.values()) == ["pruned"] * 3


@pytest.mark.slow
def test_what_a_worker_is_told_of_the_recipe_and_of_the_others(tmp_path):
    text = ADAPTIVE.replace("trials: 4", "trials: 4\n    halving: 3")
    text = text.replace("method.steps: [2, 4]", "method.steps: {low: 2, high: 4}")
    study = tiny(text, "seeds=[0]")
    run(study, tmp_path)
    base = baseline_trials(study, study.block("grid"))[0]
    trials = proposed_trials(study, tmp_path)
    halving = {t.name: _context(study, WorkerJob(tmp_path), t).halving for t in trials}
    assert halving.pop(base.name) == 0
    assert set(halving.values()) == {3.0}


def test_a_pruned_trial_is_worth_what_it_had_reached():
    rungs = (Rung(0.1, 1, 1, 9.0), Rung(0.3, 3, 3, 7.0))
    pruned = TrialResult("a", "pruned", "", 3, 10, 3, 10, 1.0, 0.0, rungs)
    assert _objective(pruned) == 7.0
    assert _objective(replace(pruned, label="exploded")) == FAILURE_QUALITY
    assert _objective(replace(pruned, label="finished")) == 7.0


def test_times_are_read():
    assert [parse_duration(t) for t in ("5m", "0.5h", "90", "7s")] == [300, 1800, 90, 7]
    for bad in ("5 days", "", "0m", "-1m"):
        with pytest.raises(ValueError, match="must be a time such as"):
            parse_duration(bad)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(tuning, "MAX_TRIALS", 5)
    monkeypatch.setattr(tuning, "FINAL_SAMPLES", 300)


def tuned(folder, budget=600.0, workers=1):
    return run_tuning(
        "digits", SMALL, budget, folder / "s", folder / "model", workers, StopRequest(), True
    )


@pytest.mark.slow
def test_tuning_ends_with_a_model_at_least_as_good_as_the_recipe(tmp_path, few):
    result = tuned(tmp_path)
    assert result.trials == 5
    assert result.quality <= result.baseline
    run_of = open_run(result.folder)
    assert run_of.update == run_of.settings.updates
    assert (result.folder / "samples.png").is_file()
    study = tuning_study("digits", SMALL)
    first = next(o for o in read_outcomes(study, tmp_path / "s") if o.trial.name == result.trial)
    assert first.result.label == "finished"
    from boltzwalk.recipes.lookup import settings_from

    again = settings_from("digits", [*SMALL, *result.changes])
    assert replace(again, threads=1, device="cpu", output=run_of.settings.output) == run_of.settings
    with pytest.raises(ValueError, match="exists already"):
        tuned(tmp_path)


def test_tuning_without_time_finishes_one_trial(tmp_path, few):
    result = tuned(tmp_path, budget=1e-3)
    assert "the time was up" in result.note
    assert result.trials == 1
    assert result.changes == ()
    assert open_run(result.folder).update == 30
