"""The verdict as a user meets it: exit codes, the first line, the answer at the end."""

import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from boltzwalk.checkpoint import load_checkpoint
from boltzwalk.cli import app
from boltzwalk.training.folder import read_rows

FAST = ["energy.network.widths=[16]", "threads=1", "start.size=256", "batch=32", "events=false"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command in this process and the test's folder; returns code and words."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(300, 3))
    np.save("x.npy", rows)

    def call(*words):
        torch.set_default_dtype(torch.float32)
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return call


@pytest.mark.parametrize(
    ("rate", "updates"), [(1, 150), (10, 110), pytest.param(1, 600, marks=pytest.mark.slow)]
)
def test_a_rate_that_is_far_too_large_fails(command, rate, updates):
    code, said = command("train", "x.npy", f"learning_rate={rate}", f"updates={updates}", *FAST)
    assert code == 3
    line = next(line for line in said.splitlines() if not re.match(r"(x \d|...|$)", line))
    assert "FAILED: training exploded" in said
    assert said.index("FAILED") < said.index("\npicture")
    assert "healthy" not in said
    assert "samples  boltzwalk sample" not in said
    answer = said.rstrip().splitlines()[-1]
    assert answer.startswith("Do not use it for anything (training is exploded).")
    assert (
        f"Next: boltzwalk train runs/x/settings.yaml optimizer.learning_rate={rate / 10:g}"
        in answer
    )
    assert line is not None


def test_the_advice_works_when_copied(command):
    command("train", "x.npy", "learning_rate=10", "updates=110", *FAST, "--name", "a b")
    _, said = command("report", "runs/a b")
    words = said.rstrip().splitlines()[-1].partition("Next: boltzwalk ")[2]
    assert "'runs/a b/settings.yaml'" in words
    assert "--name 'a b-2'" in words
    import shlex

    code, _ = command(*shlex.split(words), "updates=10", "learning_rate=0.001")
    assert code == 0


def test_values_that_are_not_finite_fail(command):
    code, said = command("train", "x.npy", "learning_rate=1000", "updates=120", *FAST)
    assert code == 3
    assert re.search("^(error: update|FAILED: training gave values)", said, re.MULTILINE)


def test_a_few_updates_are_too_short_to_say(command):
    code, said = command("train", "digits", "updates=20", "steps=5", "threads=1", "events=false")
    assert code == 0
    assert re.search(r"^training +too short to say +20 updates are fewer", said, re.MULTILINE)
    assert "healthy" not in said
    answer = said.rstrip().splitlines()[-1]
    assert "Use this model for" not in answer
    assert answer.endswith("Next: boltzwalk resume runs/digits updates=1000")


def test_after_training_alone_the_density_is_unknown(command):
    code, said = command("train", "x.npy", "updates=200", "learning_rate=0.01", *FAST)
    assert code == 0
    answer = said.rstrip().splitlines()[-1]
    assert re.match(r"Use this model for samples \(distance to the data 0\.\d+", answer), answer
    assert "Unknown: scores and density and completion (not evaluated)." in answer
    assert answer.endswith("Next: boltzwalk evaluate runs/x")
    page = command and open("runs/x/report.html").read()
    assert page.index("Use this model for samples") < page.index("<h2>")


def test_a_failed_seed_does_not_end_the_others(command):
    words = ["updates=110", *FAST, "--seeds", "2"]
    code, said = command("train", "x.npy", "learning_rate=1e8", *words)
    assert code == 3
    assert "run 2 of 2" in said
    assert "FAILED: 2 of 2 runs gave no model: runs/x_seed0, runs/x_seed1" in said


def test_resume_of_a_failed_run_fails_as_well(command):
    assert command("train", "x.npy", "learning_rate=10", "updates=110", *FAST)[0] == 3
    code, said = command("resume", "runs/x", "updates=120")
    assert code == 3
    assert "FAILED: training exploded at update 120" in said


def test_samples_good_density_wrong(command):
    """Kept walkers remember the masses of modes that the energy does not know."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1200, 2))
    rows[:, 0] += np.where(np.arange(1200) % 4 == 0, -5.0, 5.0)
    np.save("modes.npy", rows)
    data = ["data.path=modes.npy", "start.from_data=true", "start.restart_share=0"]
    code, said = command(
        "train", "modes.npy", *data[1:], "updates=200", "learning_rate=0.01", "whitening=none",
        "kernel.step_size=0.05", *FAST,
    )  # fmt: skip
    assert code == 0
    label = re.search(r"^training +(samples good, density wrong|healthy)", said, re.MULTILINE)
    assert label, said
    assert label[1] == "samples good, density wrong"
    assert "masses of 2 modes are" in said
    assert "Do not use it for density (masses of 2 modes" in said.rstrip().splitlines()[-1]


def test_evaluation_checks_its_inputs_first(command):
    command("train", "x.npy", "updates=110", *FAST)
    code, said = command("evaluate", "runs/x", "--ood", "nosuch", "--ood", "other.csv")
    assert code == 2
    assert "'nosuch', which does not exist" in said
    assert "'other.csv', which does not exist" in said
    np.save("wide.npy", np.zeros((5, 4)))
    code, said = command("evaluate", "runs/x", "--ood", "wide.npy")
    assert code == 2
    assert "..." not in said.partition("error")[0]
    assert "quality" not in said
    code, said = command("evaluate", "runs/x", "--sections", "base,quality", "-n", "200")
    assert code == 0
    assert re.search(r"\.\.\. 2 sections; 200 samples at most \d+ s", said)
    assert "\nbase\n" not in said
    assert "left out  base: the method has no base" in said
    assert "Next: boltzwalk evaluate runs/x" in said.rstrip().splitlines()[-1]


def test_a_log_records_what_its_verdict_needs(command):
    command("train", "x.npy", "updates=120", "output.log_every=5", *FAST)
    rows = read_rows(__import__("pathlib").Path("runs/x/log.jsonl"))
    assert [row["update"] for row in rows if "energy_train" in row] == [50, 100, 120]
    assert [row["update"] for row in rows if "sample_distance" in row] == [120]
    assert load_checkpoint  # resumed bit for bit: tests/training
