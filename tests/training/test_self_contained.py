"""A run folder alone draws, scores, completes and reports, wherever it lies."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from boltzwalk.api import complete
from boltzwalk.api import load as load_model
from boltzwalk.cli import app
from boltzwalk.data import Digits, Table, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import ReplayStart
from boltzwalk.networks import Multilayer
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import read_rows, read_settings
from boltzwalk.training.run import open_run

SMALL = resolve_auto(
    Settings(
        data=Toy("eight_gaussians", n=200),
        energy=NetworkEnergy(Multilayer((8,))),
        method=Contrastive(ReplayStart(40), ULA(0.01), steps=2),
        updates=4,
        batch=16,
        device="cpu",
        threads=1,
        output=Output(log_every=2, save_every=2, picture_every=0),
    )
)
KINDS = ("table", "digits", "toy")


def invoke(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def table(path, seed=0, n=120):
    """A table whose names and units matter: the run sees whitened columns."""
    x = np.random.default_rng(seed).normal([5, -300], [0.1, 40], (n, 2))
    path.write_text("width,height\n" + "".join(f"{a:.5f},{b:.5f}\n" for a, b in x))
    return path


def trained(kind, place):
    """A run folder, and the file of its data; None where there is no file."""
    file = table(place / "rows.csv") if kind == "table" else None
    data = {"table": Table(str(file)), "digits": Digits(), "toy": SMALL.data}[kind]
    folder = place / "runs" / kind
    for _ in execute(replace(SMALL, data=data), folder):
        pass
    return folder, file


def rows_for(kind, place):
    """New rows in original units, some of them with an empty field."""
    if kind == "table":
        path = place / "new.csv"
        path.write_text("height,width\n-310,5.1\n-1,9\n,5.0\n")
        scored = place / "scored.csv"
        scored.write_text("height,width\n-310,5.1\n-1,9\n")
        return scored, path
    shape = {"digits": (3, 1, 8, 8), "toy": (3, 2)}[kind]
    x = np.random.default_rng(1).uniform(0, 4, shape).round()
    np.save(place / "whole.npy", x)
    x[0].flat[0] = np.nan
    np.save(place / "new.npy", x)
    return place / "whole.npy", place / "new.npy"


def written(kind, folder, place):
    """The bytes that the commands write, by name; and what they print, without places."""
    place.mkdir()
    scored, partial = rows_for(kind, place)
    suffix = "npz" if kind == "digits" else "csv"
    invoke("sample", folder, "-n", 12, "--seed", 3, "--out", place / f"samples.{suffix}")
    invoke("sample", folder, "-n", 4, "--noise", "--out", place / "noise.npz")
    invoke("score", folder, scored, "--out", place / "scores.csv")
    invoke(
        "complete", folder, partial, "-n", 2, "--steps", 3, "--out", place / f"complete.{suffix}"
    )
    invoke("complete", folder, "--mask", "left" if kind == "digits" else "0,0,1,1",
           "-n", 2, "--steps", 2, "--out", place / "held_out.npz",
           code=0 if kind == "digits" else 2)  # fmt: skip
    invoke("report", folder, "--out", place / "report.html")
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


def no_loading(monkeypatch):
    """Every source of training data raises."""

    def refuse(self, *arguments):
        raise AssertionError("the training data were loaded")

    for source in (Table, Digits, Toy):
        monkeypatch.setattr(source, "load", refuse)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_moved_without_its_data_writes_the_same(kind, tmp_path, monkeypatch):
    folder, file = trained(kind, tmp_path)
    before = written(kind, folder, tmp_path / "before")
    assert len(before) >= 7
    assert all(before.values())
    moved = tmp_path / "elsewhere" / "archive" / kind
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    if file is not None:
        file.unlink()
    no_loading(monkeypatch)
    after = written(kind, moved, tmp_path / "after")
    assert after.keys() == before.keys()
    for name, content in before.items():
        assert after[name] == content, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_in_python_needs_no_training_data(kind, tmp_path, monkeypatch):
    folder, _ = trained(kind, tmp_path)
    no_loading(monkeypatch)
    model = load_model(folder)
    x = model.sample(6, seed=1)
    assert x.shape == (6, *model.data.event_shape)
    assert torch.equal(model.sample(6, seed=1), x)
    scores = model.score(x)
    assert torch.equal(scores.energy, model.energy(x).double())
    assert 0 <= float(scores.percentile.min()) <= float(scores.percentile.max()) <= 1
    hidden = x.clone()
    hidden[0].view(-1)[0] = torch.nan
    completed = complete(model, hidden, n=3, steps=2)
    assert completed.shape == (6, 3, *model.data.event_shape)
    observed = ~hidden.isnan()[:, None].expand_as(completed)
    expected = hidden[:, None].expand_as(completed)
    torch.testing.assert_close(completed[observed], expected[observed], rtol=1e-4, atol=1e-3)
    with pytest.raises(AssertionError, match="the training data were loaded"):
        open_run(folder)


def test_samples_and_scores_of_a_moved_table_are_in_its_units(tmp_path):
    folder, file = trained("table", tmp_path)
    file.unlink()
    invoke("sample", folder, "-n", 30, "--out", tmp_path / "samples.csv")
    header, *lines = (tmp_path / "samples.csv").read_text().splitlines()
    assert header == "width,height"
    x = np.array([[float(v) for v in line.split(",")] for line in lines])
    assert x.shape == (30, 2)
    assert 3 < x[:, 0].mean() < 7
    assert -600 < x[:, 1].mean() < -100
    scored, _ = rows_for("table", tmp_path)
    invoke("score", folder, scored, "--out", tmp_path / "scores.csv")
    expected = load_model(folder).energy(torch.tensor([[5.1, -310.0], [9.0, -1.0]]))
    text = (tmp_path / "scores.csv").read_text().splitlines()
    energies = [float(line.split(",")[text[0].split(",").index("energy")]) for line in text[1:]]
    assert energies == pytest.approx(expected.tolist(), rel=1e-4)


# Judging and going on.


def test_judging_takes_the_same_file_elsewhere(tmp_path):
    folder, file = trained("table", tmp_path)
    few = ("-n", 60, "--parts", "training,quality", "--quiet")
    invoke("evaluate", folder, *few)
    numbers = (folder / "evaluation.json").read_bytes()
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    shutil.move(file, tmp_path / "data.csv")
    for path in (moved / "evaluation.json", *(moved / "evaluation").glob("*")):
        path.unlink()
    invoke("evaluate", moved, f"data.path={tmp_path / 'data.csv'}", *few)
    assert (moved / "evaluation.json").read_bytes() == numbers


@pytest.mark.parametrize("other", ["others", "missing", "words", "fewer"])
def test_judging_and_going_on_refuse_another_file(tmp_path, other):
    folder, file = trained("table", tmp_path)
    place = tmp_path / "other.csv"
    if other == "others":
        table(place, seed=1)
    elif other == "fewer":
        place.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    elif other == "words":
        place.write_text("width,height\nx,y\n")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for command in (("evaluate", folder, f"data.path={place}"),
                    ("resume", folder, "updates=6", f"data.path={place}")):  # fmt: skip
        output = invoke(*command, code=2)
        assert "error: " in output
        assert "Traceback" not in output
        if other in ("others", "fewer"):
            assert "the data are not those that" in output
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert read_settings(folder).data.path == str(file)


@pytest.mark.parametrize(
    "gone",
    [pytest.param(False, marks=pytest.mark.slow), True],
    ids=["the old file is there", "it is gone"],
)
def test_a_run_goes_on_with_the_same_file_elsewhere_bit_for_bit(tmp_path, gone):
    folder, file = trained("table", tmp_path)
    whole = tmp_path / "whole"
    for _ in execute(replace(SMALL, data=Table(str(file)), updates=8), whole):
        pass
    moved, place = tmp_path / "moved", tmp_path / "data.csv"
    shutil.move(folder, moved)
    shutil.copy(file, place)
    if gone:
        file.unlink()
    invoke("resume", moved, "updates=8", f"data.path={place}", "--quiet")
    assert read_settings(moved).data.path == str(place)
    changed = json.loads((moved / "changes.jsonl").read_text())["changed"]
    assert any(line.startswith("data.path: ") for line in changed)
    for name in ("log.jsonl", "trace.jsonl"):
        rows = [read_rows(f / name) for f in (whole, moved)]
        # The last row of the first part has samples and validation rows judged as well.
        assert [{key: b.get(key) for key in a} for a, b in zip(*rows, strict=True)] == rows[0], name
    ends = [open_run(f).tensors() for f in (whole, moved)]
    assert ends[0].keys() == ends[1].keys()
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name
    # And on without a word, from the place that was named last.
    invoke("resume", moved, "updates=10", "--quiet")
    assert open_run(moved).update == 10


@pytest.mark.parametrize("kind", ["digits", "toy"])
def test_rows_that_are_no_file_need_no_place(kind, tmp_path, monkeypatch):
    """They are made, or shipped; and few rows are all in the folder."""
    folder, _ = trained(kind, tmp_path)
    shutil.move(folder, tmp_path / "moved")
    invoke("resume", tmp_path / "moved", "updates=6", "--quiet")
    assert open_run(tmp_path / "moved").update == 6
