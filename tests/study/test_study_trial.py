"""A trial comes out as what it is, costs what it must, and goes on where it was left."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from study_cases import SMALL, TINY, content, made_up, run, tiny

from boltzwalk.data import Digits
from boltzwalk.diagnostics.verdict import Verdict
from boltzwalk.evaluation.features import features_for
from boltzwalk.metrics.frechet import frechet_distance
from boltzwalk.rng import generator
from boltzwalk.study import trial as trials
from boltzwalk.study.effects import survival_curve
from boltzwalk.study.measures import judge_for
from boltzwalk.study.plan import gradients_per_update, planned_trials
from boltzwalk.study.recommend import frontier, recommended_points
from boltzwalk.study.report import write_study_report
from boltzwalk.study.results import (
    FAILED_LABELS,
    Rung,
    TrialResult,
    read_result_folder,
    read_results,
    write_result,
)
from boltzwalk.study.storage import prepare_folder, results_folder, trial_folder
from boltzwalk.study.trial import TrialContext, add_rung, run_trial
from boltzwalk.training.folder import read_rows, read_settings
from boltzwalk.training.run import open_model
from boltzwalk.training.signals import StopRequest

PLANTED = f"""
recipe: digits
settings: [{SMALL}, "energy.network.widths=[64]"]
samples: 100
seeds: [0]
limit: 2000
blocks:
  sound:
    equal: false
    axes: {{method.steps: [3]}}
  crash:
    equal: false
    axes: {{batch: [5000]}}
  divergence:
    equal: false
    settings: [updates=400, learning_rate=1]
    axes: {{data_noise: [0.03]}}
  stall:
    equal: false
    settings: [updates=1500, spectral_norm=true, learning_rate=1e-3]
    axes: {{method.kernel.step_size: [0.3]}}
"""


@pytest.fixture(scope="module")
def data():
    return Digits().load()


def context(data, **options):
    study = tiny()
    return TrialContext(judge_for(data, "samples", 100, Digits()), data, study.rungs, **options)


def test_a_planted_crash_divergence_and_stall_come_out_as_what_they_are(tmp_path):
    results = {r.block: r for r in run(tiny(PLANTED), tmp_path / "s")}
    assert results["sound"].label == "finished"
    assert math.isfinite(results["sound"].quality)
    assert results["crash"].label == "crashed"
    assert "batch must be at most the 1200 rows" in results["crash"].reason
    trace = tmp_path / "s" / "trials" / f"{results['crash'].name}.traceback.txt"
    assert "Traceback" in trace.read_text()
    assert results["divergence"].label in ("exploded", "nan")
    assert results["divergence"].update < 200
    assert results["divergence"].gradients == results["divergence"].update * 32 * 4
    assert results["stall"].label == "stalled"
    assert "of the distance" in results["stall"].reason
    assert results["stall"].update < 1500
    assert all(results[k].quality == math.inf for k in ("crash", "divergence", "stall"))


def test_a_result_is_an_ordinary_run_with_its_quality_on_the_way(tmp_path, data):
    study = tiny(TINY, "seeds=[0]")
    results = {r.name: r for r in run(study, tmp_path)}
    trial = planned_trials(study)[0]
    result, place = results[trial.name], trial_folder(tmp_path, trial.name)
    assert [(r.share, r.update) for r in result.rungs] == [(0.5, 20), (1.0, 40)]
    assert result.budget == result.gradients == 40 * gradients_per_update(trial.settings)
    assert read_settings(place).method == trial.settings.method
    assert result.measures["travel"] == pytest.approx(
        sum(r["travel"] for r in read_rows(place / "log.jsonl")[-13:]) / 13, rel=1e-4
    )
    # The quality by other means: the same samples, through the pieces of `evaluate`.
    finished = open_model(place)
    x = finished.draw(100, generator(0, "study quality", 40)).x
    features = features_for(data)
    reference = features.extract(data.held_out()[0])
    assert result.quality == pytest.approx(frechet_distance(features.extract(x), reference))
    shares = features.classes(x).mean(0)
    entropy = float(-(shares * shares.log()).sum())
    assert result.measures["class_entropy"] == pytest.approx(entropy, rel=1e-4)
    held_out = data.held_out()[0]
    far, usual = (torch.cdist(a.flatten(1), data.train.flatten(1)).amin(1) for a in (x, held_out))
    assert result.measures["neighbours"] == pytest.approx(
        float(far.median() / usual.median()), rel=1e-3
    )
    gap = [v for row in read_rows(place / "trace.jsonl") for v in row["energy_gap"]]
    late = np.array(gap[20:])
    assert result.measures["gap_mean"] == pytest.approx(late.mean(), rel=1e-4)
    assert result.measures["gap_rms"] == pytest.approx(np.sqrt((late**2).mean()), rel=1e-4)
    assert result.measures["gap_positive"] == pytest.approx((late > 0).mean())


def test_a_stopped_trial_goes_on_to_the_same_result(tmp_path, data):
    trial = planned_trials(tiny())[0]
    full = run_trial(trial, tmp_path / "full", context(data), None, StopRequest())

    class After:
        """Asks to stop after a number of queries."""

        def __init__(self, queries):
            self.remaining, self.set = queries, False

        @property
        def asked(self):
            self.remaining -= 1
            return self.set or self.remaining < 0

        @asked.setter
        def asked(self, value):
            self.set = value

    assert run_trial(trial, tmp_path / "parts", context(data), None, After(15)) is None
    assert read_rows(tmp_path / "parts" / "trace.jsonl")[-1]["update"] < 40
    # A killed worker had gone further than its last checkpoint.
    add_rung(tmp_path / "parts", Rung(1.0, 40, 1, 1e9))
    parts = run_trial(trial, tmp_path / "parts", context(data), None, StopRequest())
    for one in (full, parts):
        assert one.label == "finished"
    assert parts.rungs == full.rungs
    assert parts.measures == full.measures
    assert parts.history_digest == full.history_digest
    assert parts.update == full.update


def test_a_trial_that_was_done_but_not_judged_is_only_judged(tmp_path, data):
    trial = planned_trials(tiny())[0]
    full = run_trial(trial, tmp_path, context(data), None, StopRequest())
    rows = (tmp_path / "quality.jsonl").read_text().splitlines()
    (tmp_path / "quality.jsonl").write_text(rows[0] + "\n")
    again = run_trial(trial, tmp_path, context(data), None, StopRequest())
    assert again.rungs == full.rungs
    assert again.history_digest == full.history_digest
    assert again.label == "finished"


def test_a_trial_that_takes_too_long_is_stopped_and_says_so(tmp_path, data):
    result = run_trial(
        planned_trials(tiny())[0], tmp_path, context(data, minutes=1e-9), None, StopRequest()
    )
    assert result.label == "too long"
    assert result.quality == math.inf


def test_successive_halving_keeps_the_best_third(tmp_path, data):
    trial = planned_trials(tiny())[0]
    rivals = []
    for place, quality in ((tmp_path / "good", 1.0), (tmp_path / "bad", 1e9)):
        place.mkdir()
        add_rung(place, Rung(0.5, 20, 1, quality))
        rivals.append(place)
    both = run_trial(
        trial, tmp_path / "a", context(data, halving=3.0, rivals=rivals), None, StopRequest()
    )
    assert both.label == "pruned"
    assert both.update == 20
    assert "not among the best 1/3" in both.reason
    alone = run_trial(
        trial, tmp_path / "b", context(data, halving=3.0, rivals=rivals[1:]), None, StopRequest()
    )
    assert alone.label == "finished"


def test_a_trial_is_compared_at_the_same_share_and_never_at_its_end(tmp_path, data):
    trial, place = planned_trials(tiny())[0], tmp_path / "rival"
    place.mkdir()
    add_rung(place, Rung(1.0, 40, 1, 1e-9))  # the best there can be, but not half way
    add_rung(place, Rung(0.1, 4, 1, 1e-9))
    options = {"halving": 3.0, "rivals": [place]}
    result = run_trial(trial, tmp_path / "a", context(data, **options), None, StopRequest())
    assert result.label == "finished"
    assert [rung.share for rung in result.rungs] == [0.5, 1.0]


@pytest.mark.parametrize("label", ["stalled", "collapsed"])
def test_a_trial_stalls_when_two_rows_in_a_row_say_so(tmp_path, data, label, monkeypatch):
    labels = iter(["healthy", label, "healthy", label, label, "healthy"])
    updates = []

    def verdict(rows, trace):
        updates.append(rows[-1]["update"])
        return Verdict(next(labels), "why", 0)

    monkeypatch.setattr(trials, "verdict", verdict)
    result = run_trial(planned_trials(tiny())[0], tmp_path, context(data), None, StopRequest())
    assert result.label == label
    assert result.reason == "why"
    assert len(updates) == 5
    assert result.update == updates[-1]


@pytest.mark.slow
def test_a_study_says_which_of_its_settings_had_no_effect(tmp_path):
    """A bound that is never met is used, and changes nothing."""
    text = TINY.replace("learning_rate: [1e-4, 1e-3]", "clip_gradient: [0, 1e9]")
    results = content_of(run(tiny(text, "seeds=[0]"), tmp_path))
    assert len(results) == 4
    assert len({r.history_digest for r in results.values()}) == 2  # one for each number of steps


def content_of(results):
    return {r.name: r for r in results}


def test_a_result_is_written_once(tmp_path):
    run(tiny(TINY, "seeds=[0]"), tmp_path)
    before = content(tmp_path)
    one = next(iter(read_results(results_folder(tmp_path)).values()))
    assert not write_result(results_folder(tmp_path), one)
    run(tiny(TINY, "seeds=[0]"), tmp_path)  # nothing is left to do
    assert content(tmp_path) == before


@pytest.mark.parametrize("label", [*FAILED_LABELS, "pruned", "too long"])
def test_what_did_not_finish_has_no_quality_whatever_it_had_reached(label):
    rungs = (Rung(0.5, 20, 1, 3.0), Rung(1.0, 40, 2, 2.0))
    full = TrialResult("a", "finished", "", 40, 40, 2, 2, 1.0, 0.0, rungs)
    assert full.quality == 2.0
    assert replace(full, label=label).quality == math.inf


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: json.dumps({"name": "x"}),
        lambda text: "[" * 100_000,
        lambda text: "[1, 2]",
        lambda text: text.replace('"finished"', '"great"'),
        lambda text: text.replace('"name": "', '"name": "x'),
        lambda text: re.sub(r'"quality": [^,\n}]*', '"quality": "good"', text),
        lambda text: re.sub(r'"seconds": [^,]*', '"seconds": [1]', text),
        lambda text: re.sub(r'"levels": \[', '"levels": [["a", 1],', text),
        lambda text: "\x00" * 100,
    ],
)
def test_damaged_results_are_left_out_of_the_report_and_named(tmp_path, damage):
    study = tiny(TINY, "seeds=[0]")
    folder = results_folder(tmp_path)
    prepare_folder(tmp_path, study)
    for outcome in made_up(study, lambda s: 10.0 + s["method.steps"]):
        write_result(folder, outcome.result)
    path = sorted(folder.iterdir())[1]
    path.write_text(damage(path.read_text()))
    (folder / "ab.json").mkdir()
    content = read_result_folder(folder)
    assert set(content.damaged) == {path.name, "ab.json"}
    assert len(content.results) == 3
    report = write_study_report(tmp_path)
    assert len(report.outcomes) == 3
    assert report.note.startswith("2 damaged of 5 results are left out")
    assert path.name in report.note
    assert path.name in report.path.read_text()


def test_the_folder_of_another_study_is_refused(tmp_path):
    run(tiny(TINY, "seeds=[0]"), tmp_path)
    with pytest.raises(ValueError, match=r"holds another study .*samples: 100, now 200"):
        run(tiny(TINY, "seeds=[0]", "samples=200"), tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ValueError, match="must be empty or hold a study"):
        run(tiny(TINY, "seeds=[0]"), tmp_path / "other")


@pytest.mark.slow
def test_only_so_many_trials_are_begun_and_the_rest_later(tmp_path):
    assert len(run(tiny(), tmp_path, max_trials=3)) == 3
    first = content(tmp_path)
    assert len(run(tiny(), tmp_path)) == 8
    assert {name: content(tmp_path)[name] for name in first} == first


@pytest.mark.slow
def test_a_study_of_a_method_without_energy_gradients(tmp_path):
    """Its cost is counted in updates."""
    text = """
    recipe: toy
    settings: [method=MaximumLikelihood, energy=FlowEnergy, updates=20, batch=32]
    seeds: [0]
    samples: 50
    blocks: {a: {axes: {learning_rate: [1e-4, 1e-3]}}}
    """
    results = run(tiny(text), tmp_path)
    assert [(r.label, r.gradients, r.budget) for r in results] == [("finished", 0, 0)] * 2
    report = write_study_report(tmp_path)
    assert report.path.is_file()
    points = frontier(report.study, report.outcomes)
    assert [point.updates for point in points] == sorted({point.updates for point in points})
    assert recommended_points(report.study, report.outcomes)[-1] == points[-1]
    assert survival_curve(report.outcomes).times.tolist() == [0, 20]
