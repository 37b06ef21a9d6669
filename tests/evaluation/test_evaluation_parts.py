"""An evaluation part by part: what was judged is read, and only if it was of this very model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from boltzwalk.data import Table, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation import evaluate as judging
from boltzwalk.evaluation.evaluate import (
    SECTIONS,
    EvaluationPlan,
    evaluate_sections,
    known_sections,
)
from boltzwalk.evaluation.long_run import LongRun
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.metrics.quadrature import log_z_in_the_plane
from boltzwalk.networks import Multilayer
from boltzwalk.reporting.page import write_report
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.smc.from_samples import Effort
from boltzwalk.smc.log_z import Annealing
from boltzwalk.training.execute import execute
from boltzwalk.training.run import open_model, open_run

PLAN = EvaluationPlan(
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
    for _ in execute(resolve_auto(SETTINGS), folder):
        pass
    return folder


@pytest.fixture
def few(monkeypatch):
    """Few chains are enough where only their number counts."""
    monkeypatch.setattr(judging, "PLANE_CHAINS", 50)


@pytest.fixture
def no_work(monkeypatch):
    """Whatever takes time must not be asked."""

    def refuse(*_, **__):
        raise AssertionError("it was computed again")

    for name in (
        "draw_samples",
        "features_for",
        "run_long",
        "held_out_likelihood",
        "quality",
        "modes",
        "goodness",
        "anomalies",
        "training_findings",
        "model_verdict",
        "masses",
    ):
        monkeypatch.setattr(judging, name, refuse)


def plain(found):
    return json.dumps({name: part._asdict() for name, part in found.items()}, default=str)


@pytest.fixture(scope="module")
def first(trained):
    """The folder with all that an evaluation found in it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(judging, "PLANE_CHAINS", 50)
    torch.set_default_dtype(torch.float32)
    found = dict(evaluate_sections(open_model(trained), trained, PLAN))
    patch.undo()
    return trained, found


def test_all_parts_are_judged_in_their_order_and_each_has_a_file(first):
    folder, found = first
    assert tuple(found) == SECTIONS
    assert sorted(p.stem for p in (folder / "evaluation").glob("*.json")) == sorted(SECTIONS)
    assert found["training"].label
    assert found["long_run"].label == "undecided"
    assert [row["start"] for row in found["long_run"].details["rows"]] == ["data", "noise"]
    assert found["long_run"].details["distance"].startswith("total variation of histograms of ")
    assert found["modes"].measures == []  # a toy has no labels
    assert [m.name for m in found["long_run"].measures][-2:] == ["R-hat", "ESS"]


def test_a_second_call_computes_nothing_and_says_the_same(first, no_work):
    folder, found = first
    again = dict(evaluate_sections(open_model(folder), folder, PLAN))
    assert plain(again) == plain(found)
    assert plain(known_sections(open_model(folder), folder)) == plain(found)


def test_what_was_judged_is_of_this_very_model(first, no_work):
    folder, _ = first
    run = open_run(folder)
    model = run.model()
    assert tuple(known_sections(model, folder)) == SECTIONS
    changed = next(iter(model.module.parameters()))
    before = changed.detach().clone()
    with torch.no_grad():
        changed += 1e-3
    assert known_sections(model, folder) == {}
    with torch.no_grad():
        changed.copy_(before)
    assert known_sections(replace(run, update=5).model(), folder) == {}
    more_often = replace(run.settings, output=replace(run.settings.output, log_every=1))
    assert tuple(known_sections(replace(run, settings=more_often).model(), folder)) == SECTIONS


def test_parts_that_are_not_asked_for_are_left_alone(first, no_work):
    folder, _ = first
    some = replace(PLAN, sections=("modes", "training"))
    assert list(dict(evaluate_sections(open_model(folder), folder, some))) == ["training", "modes"]


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"seed": 1}, set(SECTIONS)),
        ({"samples": 61}, {"quality", "base", "modes", "goodness", "masses", "anomalies"}),
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

    def cached_only(path, key, make):
        section = judging.read_section(path, key)
        if section is None:
            asked.add(path.stem)
        return section

    monkeypatch.setattr(judging, "load_or_compute", cached_only)
    dict(evaluate_sections(open_model(folder), folder, replace(PLAN, **change)))
    assert asked == anew


def test_the_inception_weights_change_what_they_judge(first, monkeypatch, tmp_path):
    folder, _ = first
    asked = set()
    monkeypatch.setattr(
        judging,
        "load_or_compute",
        lambda path, key, make: judging.read_section(path, key) or asked.add(path.stem),
    )
    dict(evaluate_sections(open_model(folder), folder, replace(PLAN, inception=tmp_path / "w.pth")))
    assert asked == {"quality", "base", "modes"}


@pytest.mark.parametrize("sections", [("training", "qualty"), ()])
def test_unknown_parts_are_refused_with_those_that_there_are(sections):
    with pytest.raises(
        ValueError, match=f"sections must be some of {', '.join(SECTIONS)}, got .*(qu|no)"
    ):
        EvaluationPlan(sections=sections)


def test_one_sample_is_not_enough():
    with pytest.raises(ValueError, match="samples must be 2 or more, got 1"):
        EvaluationPlan(samples=1)


def test_samples_and_features_are_made_once_for_all_parts(trained, monkeypatch, tmp_path, few):
    asked = []
    for name in ("draw_samples", "features_for"):
        honest = getattr(judging, name)

        def counted(*arguments, name=name, honest=honest):
            asked.append(name)
            return honest(*arguments)

        monkeypatch.setattr(judging, name, counted)
    plan = replace(PLAN, sections=("quality", "modes", "goodness", "anomalies", "long_run"))
    said = []
    found = dict(
        evaluate_sections(open_model(trained), tmp_path, replace(plan, report=said.append))
    )
    assert sorted(asked) == ["draw_samples", "features_for"]
    assert said[:3] == ["quality", "60 samples", "features by which samples are judged"]
    assert "long run" in said
    assert len(found) == 5


@pytest.mark.slow
def test_the_likelihood_of_a_part_is_that_of_quadrature(trained, tmp_path):
    model = open_model(trained)
    effort = Effort(samples=100, steps=30, annealing=Annealing(walkers=128, replicates=4))
    plan = replace(PLAN, sections=("likelihood",), effort=effort)
    (part,) = dict(evaluate_sections(model, tmp_path, plan)).values()
    log_z = part.details["log_z"]
    assert not log_z["refusal"]
    exact = log_z_in_the_plane(model.module, 2 * model.data.train)
    assert abs(log_z["estimate"] - exact) < 2 * log_z["half_width"] < 0.5


def test_a_failed_run_is_judged_anew_and_says_why(first):
    folder, found = first
    model = open_model(folder)
    failure = folder / "failure.txt"
    failure.write_text("update 7: loss nan\n")
    try:
        plan = replace(PLAN, sections=("training",))
        (part,) = dict(evaluate_sections(model, folder, plan)).values()
        assert part.label == "nan"
        assert "update 7: loss nan" in part.reason
    finally:
        failure.unlink()
    (part,) = dict(evaluate_sections(model, folder, plan)).values()
    assert part.label == found["training"].label


@pytest.mark.slow
def test_too_few_held_out_rows_for_a_distance_refuse_long_chains_and_no_more(tmp_path):
    """Nine columns and four held-out rows: a covariance would be singular."""
    rows = np.random.default_rng(0).normal(size=(40, 9))
    np.savetxt(tmp_path / "t.csv", rows, "%.6f", ",", comments="", header=",".join("abcdefghi"))
    data = Table(str(tmp_path / "t.csv"), split=(0.9, 0.05, 0.05))
    for _ in execute(resolve_auto(replace(SETTINGS, data=data)), tmp_path / "t"):
        pass
    model = open_model(tmp_path / "t")
    plan = replace(PLAN, sections=("quality", "anomalies", "long_run"))
    found = dict(evaluate_sections(model, tmp_path / "t", plan))
    (only,) = found["long_run"].measures
    assert "10 rows or more" in only.refusal
    assert found["long_run"].label == ""
    assert any(m.refusal and "20 rows" in m.refusal for m in found["quality"].measures)
    assert "10 rows or more" in write_report(model, tmp_path / "t").read_text()

    # Energies that are not finite are null in the file, as JSON has no nan.
    path = tmp_path / "t" / "evaluation" / "anomalies.json"
    tree = json.loads(path.read_text())
    tree["details"]["energies"]["samples"][0] = None
    path.write_text(json.dumps(tree))
    assert "<h2>Anomalies</h2>" in write_report(model, tmp_path / "t").read_text()
