"""An evaluation part by part: what was judged is read, and only if it was of this very model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from boltzwalk.data import Table, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation import evaluate as judging
from boltzwalk.evaluation.evaluate import PARTS, Plan, evaluate, evaluated
from boltzwalk.evaluation.likelihood import Effort
from boltzwalk.evaluation.long_run import LongRun
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.metrics.quadrature import log_z_in_the_plane
from boltzwalk.networks import Multilayer
from boltzwalk.reporting.page import write_report
from boltzwalk.settings.settings import Output, Settings, resolve
from boltzwalk.smc.log_z import Annealing
from boltzwalk.training.execute import execute
from boltzwalk.training.run import open_run

PLAN = Plan(
    samples=60,
    long_run=LongRun(seconds=1e6, steps=2, chains=4),
    effort=Effort(samples=32, steps=5, annealing=Annealing(walkers=32, replicates=2)),
)
SETTINGS = Settings(
    data=Toy("eight_gaussians", n=300),
    energy=NetworkEnergy(Multilayer((8,)), reference_fit=0.3, zero_start=True),
    method=Contrastive(NoiseStart(), ULA(0.05), steps=2),
    updates=6,
    batch=16,
    threads=1,
    device="cpu",
    output=Output(log_every=2, picture_every=0),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("runs") / "toy"
    for _ in execute(resolve(SETTINGS), folder):
        pass
    return folder


@pytest.fixture
def few(monkeypatch):
    """Few chains are enough where only their number counts."""
    monkeypatch.setattr(judging, "IN_THE_PLANE", 50)


@pytest.fixture
def no_work(monkeypatch):
    """Whatever takes time must not be asked."""

    def refuse(*_, **__):
        raise AssertionError("it was computed again")

    for name in (
        "draw_many",
        "features_for",
        "run_long",
        "likelihood",
        "quality",
        "modes",
        "goodness",
        "anomalies",
        "anatomy",
        "verdict",
    ):
        monkeypatch.setattr(judging, name, refuse)


def plain(found):
    return json.dumps({name: part._asdict() for name, part in found.items()}, default=str)


@pytest.fixture(scope="module")
def first(trained):
    """The folder with all that an evaluation found in it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(judging, "IN_THE_PLANE", 50)
    torch.set_default_dtype(torch.float32)
    found = dict(evaluate(open_run(trained), trained, PLAN))
    patch.undo()
    return trained, found


def test_all_parts_are_judged_in_their_order_and_each_has_a_file(first):
    folder, found = first
    assert tuple(found) == PARTS
    assert sorted(p.stem for p in (folder / "evaluation").glob("*.json")) == sorted(PARTS)
    assert found["training"].label
    assert found["long_run"].label == "undecided"
    assert [row["start"] for row in found["long_run"].details["rows"]] == ["data", "noise"]
    assert found["long_run"].details["distance"] == "total variation of histograms"
    assert found["modes"].measures == []  # a toy has no labels
    assert [m.name for m in found["long_run"].measures][-2:] == ["R-hat", "ESS"]


def test_a_second_call_computes_nothing_and_says_the_same(first, no_work):
    folder, found = first
    again = dict(evaluate(open_run(folder), folder, PLAN))
    assert plain(again) == plain(found)
    assert plain(evaluated(open_run(folder), folder)) == plain(found)


def test_what_was_judged_is_of_this_very_model(first, no_work):
    folder, _ = first
    run = open_run(folder)
    changed = next(iter(run.energy.parameters()))
    with torch.no_grad():
        changed += 1e-3
    assert evaluated(run, folder) == {}
    with torch.no_grad():
        changed -= 1e-3
    assert evaluated(replace(run, update=5), folder) == {}
    more_often = replace(run.settings, output=replace(run.settings.output, log_every=1))
    assert tuple(evaluated(replace(open_run(folder), settings=more_often), folder)) == PARTS


def test_parts_that_are_not_asked_for_are_left_alone(first, no_work):
    folder, _ = first
    some = replace(PLAN, parts=("modes", "training"))
    assert list(dict(evaluate(open_run(folder), folder, some))) == ["training", "modes"]


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"seed": 1}, set(PARTS)),
        ({"samples": 61}, {"quality", "base", "modes", "goodness", "anomalies"}),
        ({"outside": ("x",)}, {"anomalies"}),
        ({"long_run": replace(PLAN.long_run, steps=3)}, {"long_run"}),
        ({"long_run": replace(PLAN.long_run, seconds=2e6)}, {"long_run"}),
        ({"long_run": replace(PLAN.long_run, chains=5)}, {"long_run"}),
        ({"effort": replace(PLAN.effort, steps=6)}, {"likelihood"}),
        ({"effort": replace(PLAN.effort, annealing=Annealing(33, 2))}, {"likelihood"}),
        ({"report": print}, set()),
    ],
)
def test_only_what_depends_on_a_change_is_computed_anew(first, monkeypatch, tmp_path, change, anew):
    folder, _ = first
    asked = set()

    def remembered(path, key, make):
        kept = judging.recall(path, key)
        if kept is None:
            asked.add(path.stem)
        return kept

    monkeypatch.setattr(judging, "remembered", remembered)
    dict(evaluate(open_run(folder), folder, replace(PLAN, **change)))
    assert asked == anew


def test_the_inception_weights_change_what_they_judge(first, monkeypatch, tmp_path):
    folder, _ = first
    asked = set()
    monkeypatch.setattr(
        judging,
        "remembered",
        lambda path, key, make: judging.recall(path, key) or asked.add(path.stem),
    )
    dict(evaluate(open_run(folder), folder, replace(PLAN, inception=tmp_path / "w.pth")))
    assert asked == {"quality", "base", "modes"}


@pytest.mark.parametrize("parts", [("training", "qualty"), ()])
def test_unknown_parts_are_refused_with_those_that_there_are(parts):
    with pytest.raises(
        ValueError, match=f"parts must be some of {', '.join(PARTS)}, got .*(qu|no)"
    ):
        Plan(parts=parts)


def test_one_sample_is_not_enough():
    with pytest.raises(ValueError, match="samples must be 2 or more, got 1"):
        Plan(samples=1)


def test_samples_and_features_are_made_once_for_all_parts(trained, monkeypatch, tmp_path, few):
    asked = []
    for name in ("draw_many", "features_for"):
        honest = getattr(judging, name)

        def counted(*arguments, name=name, honest=honest):
            asked.append(name)
            return honest(*arguments)

        monkeypatch.setattr(judging, name, counted)
    plan = replace(PLAN, parts=("quality", "modes", "goodness", "anomalies", "long_run"))
    said = []
    found = dict(evaluate(open_run(trained), tmp_path, replace(plan, report=said.append)))
    assert sorted(asked) == ["draw_many", "features_for"]
    assert said[:3] == ["quality", "60 samples", "features by which samples are judged"]
    assert "long run" in said
    assert len(found) == 5


def test_the_likelihood_of_a_part_is_that_of_quadrature(trained, tmp_path):
    run = open_run(trained)
    effort = Effort(samples=100, steps=30, annealing=Annealing(walkers=128, replicates=4))
    plan = replace(PLAN, parts=("likelihood",), effort=effort)
    (part,) = dict(evaluate(run, tmp_path, plan)).values()
    log_z = part.details["log_z"]
    assert not log_z["refusal"]
    exact = log_z_in_the_plane(run.model, 2 * run.dataset.train)
    assert abs(log_z["estimate"] - exact) < 2 * log_z["half_width"] < 0.5


def test_a_failed_run_is_judged_anew_and_says_why(first):
    folder, found = first
    run = open_run(folder)
    failure = folder / "failure.txt"
    failure.write_text("update 7: loss nan\n")
    try:
        plan = replace(PLAN, parts=("training",))
        (part,) = dict(evaluate(run, folder, plan)).values()
        assert part.label == "nan"
        assert "update 7: loss nan" in part.reason
    finally:
        failure.unlink()
    (part,) = dict(evaluate(run, folder, plan)).values()
    assert part.label == found["training"].label


def test_too_few_held_out_rows_for_a_distance_refuse_long_chains_and_no_more(tmp_path):
    """Nine columns and four held-out rows: a covariance would be singular."""
    rows = np.random.default_rng(0).normal(size=(40, 9))
    np.savetxt(tmp_path / "t.csv", rows, "%.6f", ",", comments="", header=",".join("abcdefghi"))
    data = Table(str(tmp_path / "t.csv"), split=(0.9, 0.05, 0.05))
    for _ in execute(resolve(replace(SETTINGS, data=data)), tmp_path / "t"):
        pass
    run = open_run(tmp_path / "t")
    plan = replace(PLAN, parts=("quality", "anomalies", "long_run"))
    found = dict(evaluate(run, tmp_path / "t", plan))
    (only,) = found["long_run"].measures
    assert "10 rows or more" in only.refusal
    assert found["long_run"].label == ""
    assert any(m.refusal and "10 rows" in m.refusal for m in found["quality"].measures)
    assert "10 rows or more" in write_report(run, tmp_path / "t").read_text()

    # Energies that are not finite are null in the file, as JSON has no nan.
    path = tmp_path / "t" / "evaluation" / "anomalies.json"
    tree = json.loads(path.read_text())
    tree["details"]["energies"]["samples"][0] = None
    path.write_text(json.dumps(tree))
    assert "Rows that are not of this kind" in write_report(run, tmp_path / "t").read_text()
