"""Recipes that train others beside them: one command, a folder each, one table."""

import re
import signal
import subprocess
import sys
import time

import pytest
import typer
import yaml
from typer.testing import CliRunner

from boltzwalk import cli
from boltzwalk.training.signals import StopRequest

ALL = ("jarzynski_mixture", "jarzynski_mixture_pcd", "jarzynski_mixture_cd")
TINY = [
    "updates=30", "data.rows=40", "batch=40", "data.dim=3", "start.size=50", "log_every=10"
]  # fmt: skip


@pytest.fixture
def boltzwalk(tmp_path, monkeypatch):
    """Runs the command in this process and returns what it says."""
    monkeypatch.chdir(tmp_path)

    def call(*words, code=0):
        done = CliRunner().invoke(cli.app, [*words, "--quiet"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, done.output
        return done.output

    return call


def table(said):
    """The table at the end, as numbers by name: the masses, left and right."""
    lines = re.findall(r"^(\w+) +([\d.]+) +([\d.]+) ", said.partition("KL from")[2], re.MULTILINE)
    return {name: (float(left), float(right)) for name, left, right in lines}


def settings(folder):
    return yaml.safe_load((folder / "settings.yaml").read_text())


@pytest.mark.slow
def test_one_command_trains_all_and_ends_with_one_table(tmp_path, boltzwalk):
    said = boltzwalk("train", "jarzynski_mixture", *TINY, "seed=3")
    assert said.count("KL from the data") == 1
    rows = table(said)
    assert list(rows) == ["data", *ALL]
    assert rows["data"] == (0.25, 0.75)
    for masses in rows.values():
        assert sum(masses) == pytest.approx(1, abs=2e-4)
    for name in ALL:
        assert (tmp_path / "runs" / name / "report.html").exists()
    # What is not of the method holds for all, and what is of it where a method has it.
    first, *others = (settings(tmp_path / "runs" / name) for name in ALL)
    assert (first["seed"], first["method"]["start"]["size"]) == (3, 50)
    for other in others:
        assert {**other, "method": 0} == {**first, "method": 0}
    assert others[0]["method"]["start"]["size"] == 50
    assert "size" not in others[1]["method"]["start"]
    assert "jarzynski_mixture_cd has no setting start.size: it keeps its default" in said
    assert [run["method"]["kind"] for run in (first, *others)] == [
        "Jarzynski", "Contrastive", "Contrastive"
    ]  # fmt: skip


@pytest.mark.slow
def test_the_same_command_again_trains_nothing_and_says_the_same(tmp_path, boltzwalk):
    said = boltzwalk("train", "jarzynski_mixture", *TINY)
    logs = [(tmp_path / "runs" / name / "log.jsonl").read_bytes() for name in ALL]
    again = boltzwalk("train", "jarzynski_mixture", *TINY)
    assert table(again) == table(said)
    assert [(tmp_path / "runs" / name / "log.jsonl").read_bytes() for name in ALL] == logs


def test_alone_and_any_other_recipe_train_one(tmp_path, boltzwalk):
    said = boltzwalk("train", "jarzynski_mixture", *TINY, "--alone")
    assert "KL from the data" not in said
    assert "mode masses" in said
    without = [word for word in TINY if not word.startswith("start.size")]
    boltzwalk("train", "jarzynski_mixture_pcd", *without, "--name", "other")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [ALL[0], "other"]


@pytest.mark.slow
def test_names_begin_with_the_given_one(tmp_path, boltzwalk):
    said = boltzwalk("train", "jarzynski_mixture", *TINY, "--name", "mine", "--runs", "here")
    names = ["mine", "mine_cd", "mine_pcd"]
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == names
    assert set(table(said)) == {"data", *names}


def test_a_dry_run_shows_the_first(tmp_path, boltzwalk):
    shown = yaml.safe_load(boltzwalk("train", "jarzynski_mixture", *TINY, "--dry-run"))
    assert shown["method"]["kind"] == "Jarzynski"
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_another_run_in_the_way_gives_all_a_numbered_name(tmp_path, boltzwalk):
    without = [word for word in TINY if not word.startswith("start.size")]
    boltzwalk("train", "jarzynski_mixture_cd", *without, "seed=7")
    said = boltzwalk("train", "jarzynski_mixture", *TINY)
    assert "runs/jarzynski_mixture_cd holds a run with other settings (seed: 7, now 0)" in said
    names = {path.name for path in (tmp_path / "runs").iterdir()} - {"jarzynski_mixture_cd"}
    assert names == {name.replace("jarzynski_mixture", "jarzynski_mixture_2") for name in ALL}


def test_a_mistake_leaves_nothing_behind(tmp_path, boltzwalk):
    assert "at most the 40 rows" in boltzwalk("train", ALL[0], *TINY, "batch=41", code=2)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_the_machine_of_each_run_is_kept(tmp_path, boltzwalk):
    boltzwalk("train", "jarzynski_mixture_pcd", *TINY, "threads=2")
    boltzwalk("train", "jarzynski_mixture", *TINY)
    assert [settings(tmp_path / "runs" / name)["threads"] for name in ALL] == [1, 2, 1]


def test_a_request_to_stop_between_two_runs_starts_no_other(tmp_path, capsys):
    stop = StopRequest()
    stop.asked = True
    with pytest.raises(typer.Exit) as left:
        cli.train._train_all([[(None, tmp_path / "a")], [(None, tmp_path / "b")]], True, stop)
    assert left.value.exit_code == 130
    said = capsys.readouterr().out
    assert f"stopped before {tmp_path / 'a'}" in said
    assert "the same command" in said


@pytest.mark.slow
def test_ctrl_c_in_the_second_run_stops_and_the_same_command_goes_on(tmp_path):
    words = [sys.executable, "-m", "boltzwalk", "train", ALL[0], *TINY, "updates=1500", "--quiet"]

    def begin():
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(words, cwd=tmp_path, text=True, **pipes)

    process = begin()
    while not (tmp_path / "runs" / ALL[1] / "log.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    stopped = int(re.search(r"stopped at update (\d+) of 1500; saved", out)[1])
    assert 0 < stopped < 1500
    assert f"go on with: the same command, boltzwalk train {ALL[0]} updates=30 " in out
    assert not (tmp_path / "runs" / ALL[2]).exists()
    assert "KL from the data" not in out

    process = begin()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert list(table(out)) == ["data", *ALL]
