"""`boltzwalk evaluate`, `score` and `report`: what they say, write and refuse."""

import csv
import io
import json
import re
import shutil
import warnings

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.data import Table
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import ReplayStart
from boltzwalk.networks import Multilayer
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute

LITTLE = ["-n", "40", "--chain-steps", "2", "--walkers", "32", "--replicates", "2", "--steps", "3"]


def boltzwalk(*words, code=0, given=None):
    done = CliRunner().invoke(app, [str(word) for word in words], input=given)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a table of one's own, with columns that have names."""
    place = tmp_path_factory.mktemp("place")
    values = np.random.default_rng(0).normal(size=(400, 3)) * [1, 10, 100] + [0, 50, -200]
    np.savetxt(place / "my.csv", values, "%.5f", ",", header="a,b,c", comments="")
    torch.set_default_dtype(torch.float32)
    settings = Settings(
        data=Table(str(place / "my.csv")),
        energy=NetworkEnergy(Multilayer((8,))),
        method=Contrastive(ReplayStart(size=60), ULA(0.05), steps=2),
        updates=6,
        batch=16,
        threads=1,
        device="cpu",
        output=Output(log_every=2, save_every=3, picture_every=0),
    )
    for _ in execute(resolve_auto(settings), place / "runs" / "my"):
        pass
    return place / "runs" / "my", place / "my.csv"


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, with nothing evaluated."""
    shutil.copytree(trained[0], tmp_path / "runs" / "my")
    return tmp_path / "runs" / "my"


@pytest.mark.pictures
def test_evaluate_says_and_writes_what_it_found_and_computes_nothing_twice(run):
    first = boltzwalk("evaluate", run, *LITTLE)
    heads = [
        "training",
        "quality",
        "goodness",
        "anomalies",
        "long run",
        "likelihood",
    ]
    assert [line for line in first.stdout.splitlines() if line in heads] == heads
    left_out = next(line for line in first.stdout.splitlines() if line.startswith("left out"))
    assert all(f"{name}: " in left_out for name in ("base", "modes", "masses", "partition"))
    assert f"numbers  {run / 'evaluation.json'}" in first.stdout
    assert f"report   boltzwalk report {run}" in first.stdout
    assert "... 40 samples" in first.stderr
    tree = json.loads((run / "evaluation.json").read_text())
    assert tree["protocol"] == {"update": 6, "seed": 0}
    known = [name.replace("_", " ") for name in list(tree)[1:]]
    assert [name for name in known if name in heads] == heads
    assert set(known) - set(heads) == {"base", "modes", "masses", "partition"}
    for name in list(tree)[1:]:
        for measure in tree[name]["measures"]:
            assert measure["refusal"] or measure["value"] is not None or name == "long_run"
            assert re.search(re.escape(measure["name"]), first.stdout)

    before = {p: p.stat().st_mtime_ns for p in (run / "evaluation").iterdir()}
    second = boltzwalk("evaluate", run, *LITTLE, "--quiet")
    assert second.stdout == first.stdout
    assert second.stderr == ""
    assert {p: p.stat().st_mtime_ns for p in (run / "evaluation").iterdir()} == before

    said = boltzwalk("report", run)
    page = (run / "report.html").read_text()
    assert said.stdout.startswith(f"report   {run / 'report.html'}\n\n")
    assert "Not evaluated" not in page
    for measure in tree["quality"]["measures"]:
        assert measure["name"] in page


@pytest.mark.pictures
def test_some_parts_and_a_checkpoint_of_an_earlier_update(run):
    said = boltzwalk("evaluate", run, *LITTLE, "--sections", "modes, goodness", "-q").stdout
    assert "goodness" in said
    assert "quality" not in said
    assert sorted(p.stem for p in (run / "evaluation").iterdir()) == ["goodness", "modes"]
    boltzwalk("report", run, "--out", run / "new" / "page.html")
    text = (run / "new" / "page.html").read_text()
    assert (
        "Not evaluated: training, quality, base, masses, anomalies, long run, partition, " in text
    )
    assert not (run / "report.html").exists()

    earlier = run / "checkpoints" / "update_00000003.safetensors"
    boltzwalk("evaluate", earlier, *LITTLE, "--sections", "goodness", "-q")
    assert json.loads((run / "evaluation.json").read_text())["protocol"]["update"] == 3
    # Of the newest it is no longer there.
    boltzwalk("evaluate", run, *LITTLE, "--sections", "goodness", "-q")
    assert json.loads((run / "evaluation.json").read_text())["protocol"]["update"] == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "RUN", "--sections", "qualty"], "error: sections must be some of training, "),
        (["evaluate", "RUN", "--sections", ""], "error: sections must be some of"),
        (["evaluate", "nowhere"], "error: a run folder must hold settings.yaml, found none in no"),
        (["evaluate", "RUN", "--sections", "anomalies", "--ood", "no.csv"], "got 'no.csv', which"),
        (["evaluate", "RUN", "--sections", "quality", "--inception", "w.pth"], "a file, got w.pth"),
        (["evaluate", "RUN", "--seconds", "0"], "error: seconds must be > 0"),
        (["evaluate", "RUN", "--replicates", "500"], "samples four for each of the 500 replicat"),
        (["score", "nowhere", "DATA"], "error: a run folder must hold settings.yaml"),
        (["score", "RUN", "no.csv"], "error: there must be a file or folder of rows at no.csv"),
        (["score", "RUN", "DATA", "--false-alarm", "1.5"], "false_alarm must be in (0, 1), got"),
        (["score", "RUN", "DATA", "--false-alarm", "1e-6"], "held-out scores or more, got 80"),
        (["score", "RUN", "DATA", "--out", "x.json"], "a .csv or .npz file, got '.json'"),
        (["report", "nowhere"], "error: a run folder must hold settings.yaml"),
        (["report", "RUN", "nowhere"], "error: a run folder must hold settings.yaml"),
        (["report", "RUN", "RUN"], "error: runs must have different names, got my, my"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do_and_end_in_two(trained, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    there = dict(zip(("RUN", "DATA"), trained, strict=True))
    evaluated = (trained[0] / "evaluation").exists()
    done = boltzwalk(*(there.get(word, word) for word in words), code=2)
    assert said in done.stderr
    assert done.stdout.strip() in ("", "anomalies", "quality")
    assert list(tmp_path.iterdir()) == []  # nothing was written
    assert evaluated == (trained[0] / "evaluation").exists()


def test_options_out_of_their_range_are_refused_by_name(trained):
    for words in (["-n", "1"], ["--chain-steps", "0"], ["--walkers", "1"], ["--replicates", "1"]):
        done = boltzwalk("evaluate", trained[0], *words, code=2)
        assert words[0] in done.stderr


@pytest.mark.parametrize("command", ["evaluate", "score", "report"])
def test_a_run_without_a_checkpoint_says_how_to_go_on(run, trained, command):
    shutil.rmtree(run / "checkpoints")
    rows = [trained[1]] if command == "score" else []
    done = boltzwalk(command, run, *rows, code=2)
    assert f"{run} holds no checkpoint yet; `boltzwalk resume {run}` goes on" in done.stderr
    assert not (run / "evaluation").exists()


@pytest.mark.filterwarnings("ignore:.*log.jsonl is not as it was")
@pytest.mark.pictures
def test_a_log_that_is_cut_off_in_the_middle_of_a_line_is_read_up_to_it(run):
    for name in ("log.jsonl", "trace.jsonl", "cost.jsonl"):
        text = (run / name).read_text()
        (run / name).write_text(text[: len(text) - 9])
    done = boltzwalk("evaluate", run, "--sections", "training", "-q")
    assert "verdict" in done.stdout
    boltzwalk("report", run)
    assert (run / "report.html").stat().st_size > 10_000


def test_a_line_in_the_middle_that_is_damaged_is_named(run):
    lines = (run / "log.jsonl").read_text().splitlines()
    (run / "log.jsonl").write_text("\n".join([lines[0], '{"update": 4, "lo', lines[2], ""]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        done = boltzwalk("evaluate", run, "--sections", "training", "-q")
    messages = "\n".join(str(one.message) for one in told)
    assert "log.jsonl, line 2 of 3: damaged, and left out" in messages
    assert "log.jsonl is not as it was when update_00000006" in messages
    assert "verdict" in done.stdout


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_scores_go_to_stdout_or_a_file_and_are_the_same(run, trained, tmp_path):
    data = trained[1]
    printed = boltzwalk("score", run, data)
    rows = table(printed.stdout)
    assert len(rows) == 400
    assert list(rows[0]) == ["row", "energy", "log_density", "percentile", "anomaly", "note"]
    assert {row["log_density"] for row in rows} == {""}
    flagged = sum(int(row["anomaly"]) for row in rows)
    assert f"\n{flagged} of 400 rows are flagged; energy above" in printed.stderr
    assert f"boltzwalk evaluate {run} --sections likelihood" in printed.stderr
    assert boltzwalk("score", run, data, "--out", "-").stdout == printed.stdout
    assert boltzwalk("score", run, "-", given=data.read_text()).stdout == printed.stdout

    boltzwalk("score", run, data, "--out", tmp_path / "new" / "s.csv")
    assert (tmp_path / "new" / "s.csv").read_text() == printed.stdout
    done = boltzwalk("score", run, data, "--out", tmp_path / "s.npz", "--false-alarm", "0.5")
    assert f"scores   {tmp_path / 's.npz'}" in done.stderr
    with np.load(tmp_path / "s.npz") as file:
        np.testing.assert_allclose(file["energy"], [float(r["energy"]) for r in rows], rtol=1e-6)
        assert np.isnan(file["log_density"]).all()
        assert file["anomaly"].sum() > flagged
    assert not (run / "evaluation").exists()  # scoring evaluates nothing


def test_rows_that_were_sampled_can_be_scored(run, tmp_path):
    boltzwalk("sample", run, "-n", "9", "--out", tmp_path / "s.csv")
    boltzwalk("sample", run, "-n", "9", "--out", tmp_path / "s.npz")
    texts = [boltzwalk("score", run, tmp_path / f"s.{kind}").stdout for kind in ("csv", "npz")]
    with np.load(tmp_path / "s.npz") as file:
        for text in texts:
            found = [float(row["energy"]) for row in table(text)]
            np.testing.assert_allclose(found, file["energy"], rtol=1e-3, atol=1e-4)


def test_two_runs_on_one_page(trained, run):
    other = run.with_name("a<b")
    shutil.copytree(trained[0], other)
    for folder in (run, other):
        boltzwalk("evaluate", folder, "-q", *LITTLE, "--sections", "goodness")
    done = boltzwalk("report", run, other)
    path = run.parent / "comparison.html"
    assert done.stdout == f"the runs have the same settings\n\nreport   {path}\n"
    text = path.read_text()
    assert "a&lt;b" in text
    assert "a<b" not in text
