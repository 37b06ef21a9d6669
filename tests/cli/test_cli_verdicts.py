"""The verdict as a user meets it: exit codes, the first line, the answer at the end."""

import re
import shlex

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.training.folder import read_rows

WALKERS = ("train", "table_walkers", "data.path=x.npy")
FAST = [
    *("energy.network.widths=[16]", "threads=1", "start.size=256", "batch=32"),
    *("steps=3", "events=false", "output.log_every=5", "guard=off"),
]


def boltzwalk(*words):
    """Runs the command in this process; returns code and words."""
    torch.set_default_dtype(torch.float32)
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with rows, a run that exploded and a healthy one, and their words."""
    folder = tmp_path_factory.mktemp("verdicts")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    np.save("x.npy", np.random.default_rng(0).normal(size=(300, 3)))
    broken = boltzwalk(*WALKERS, "learning_rate=10", "updates=110", *FAST, "--name", "a b")
    healthy = boltzwalk(*WALKERS, "learning_rate=0.01", "updates=120", *FAST, "--name", "x")
    patch.undo()
    return folder, broken, healthy


@pytest.fixture
def here(place, monkeypatch):
    """The folder as the working directory."""
    monkeypatch.chdir(place[0])
    return place


def last_line(said):
    return said.rstrip().splitlines()[-1]


def test_a_rate_that_is_far_too_large_fails(here):
    code, said = here[1]
    assert code == 3
    assert re.search(r"^FAILED: training exploded at update 110: ", said, re.MULTILINE)
    assert said.index("FAILED") < said.index("\nenergy ") < said.index("\npicture")
    assert "healthy" not in said
    assert "samples  boltzwalk sample" not in said
    assert last_line(said).startswith("Do not use it for anything (training is exploded). Next: ")


def test_the_advice_works_when_copied(here):
    code, said = boltzwalk("report", "runs/a b")
    assert code == 0
    advice = last_line(said).partition("Next: boltzwalk ")[2]
    assert "'runs/a b/settings.yaml' optimizer.learning_rate=0.001" in advice
    assert advice.endswith("--name 'a b-2'")
    code, _ = boltzwalk(*shlex.split(advice), "--dry-run")
    assert code == 0


def test_resume_of_a_failed_run_fails_as_well(here):
    code, said = boltzwalk("resume", "runs/a b", "updates=112")
    assert code == 3
    assert "FAILED: training exploded at update 112" in said


def test_after_training_alone_the_density_is_unknown(here):
    code, said = here[2]
    assert code == 0
    answer = last_line(said)
    assert re.match(r"Use this model for samples \(distance to the data 0\.\d\d, ", answer), answer
    assert "Not evaluated: scores, density and completion." in answer
    assert answer.endswith("Next: boltzwalk evaluate runs/x")
    page = (here[0] / "runs/x/report.html").read_text()
    assert 0 < page.index("Use this model for samples") < page.index("<h2>")


def test_a_log_records_what_its_verdict_needs(here):
    rows = read_rows(here[0] / "runs/x/log.jsonl")
    assert [row["update"] for row in rows if "energy_train" in row] == [50, 100, 120]
    assert [row["update"] for row in rows if "sample_distance" in row] == [120]


def test_evaluation_checks_its_inputs_first(here):
    code, said = boltzwalk("evaluate", "runs/x", "--ood", "nosuch", "--ood", "other.csv")
    assert code == 2
    assert "'nosuch', which does not exist" in said
    assert "'other.csv', which does not exist" in said
    np.save("wide.npy", np.zeros((5, 4)))
    code, said = boltzwalk("evaluate", "runs/x", "--ood", "wide.npy")
    assert code == 2
    assert "samples at most" not in said
    assert "quality" not in said


def test_evaluation_says_how_long_it_takes_and_leaves_out_what_is_empty(here):
    code, said = boltzwalk("evaluate", "runs/x", "--sections", "base,modes,masses", "-n", "200")
    assert code == 0
    assert re.search(r"\.\.\. 3 sections; 200 samples at most \d+ s", said)
    assert not re.search(r"^(base|modes)$", said, re.MULTILINE)
    assert "left out  base: the method has no base; modes: the data have no classes" in said
    assert last_line(said).endswith("Next: boltzwalk evaluate runs/x")


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "updates"), [(1, 600), (10, 400)])
def test_settings_of_the_fault_list(here, rate, updates):
    words = (*WALKERS, f"learning_rate={rate}", f"updates={updates}", "threads=1", "guard=off")
    code, said = boltzwalk(*words, "--name", f"r{rate}")
    assert code == 3
    assert "FAILED: training exploded" in said


def test_values_that_are_not_finite_fail(here):
    words = ["learning_rate=1000", "updates=60", *FAST, "--name", "nan"]
    code, said = boltzwalk(*WALKERS, *words)
    assert code == 3
    assert re.search("^(error: update|FAILED: training)", said, re.MULTILINE)


def test_a_failed_seed_does_not_end_the_others(here):
    words = ["updates=60", *FAST, "--seeds", "2", "--name", "s"]
    code, said = boltzwalk(*WALKERS, "learning_rate=1e8", *words)
    assert code == 3
    assert "run 2 of 2" in said
    assert "FAILED: 2 of 2 runs gave no model: runs/s_seed0, runs/s_seed1" in said


def test_a_few_updates_are_too_short_to_say(here):
    words = ["updates=20", "steps=5", "threads=1", "events=false"]
    code, said = boltzwalk("train", "digits", *words, "energy.network.widths=[16]")
    assert code == 0
    assert re.search(r"^training +too short to say +20 updates are fewer", said, re.MULTILINE)
    assert "healthy" not in said
    assert "Use this model for" not in last_line(said)
    assert last_line(said).endswith("Next: boltzwalk resume runs/digits updates=1000")


@pytest.mark.slow
def test_samples_good_density_wrong(here):
    """Kept walkers remember the masses of modes that the energy does not know."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1200, 2))
    rows[:, 0] += np.where(np.arange(1200) % 4 == 0, -5.0, 5.0)
    np.save("modes.npy", rows)
    code, said = boltzwalk(
        *WALKERS[:2], "data.path=modes.npy", "--name", "modes", "updates=150", *FAST,
        "learning_rate=0.01", "whitening=none",
        "start.from_data=true", "start.restart_share=0", "reference_scale=4", "average=0",
    )  # fmt: skip
    assert code == 0
    assert re.search(r"^training +samples good, density wrong", said, re.MULTILINE), said
    assert re.search("masses of 2 modes are|samples and exact draws", said), said
    assert "Do not use it for density (" in last_line(said)


@pytest.mark.slow
def test_the_default_recipe_of_tables_is_judged(here):
    """The default recipe of tables keeps the update whose validation rows are the likeliest."""
    words = ["updates=100", "threads=1", "events=false", "--name", "kept"]
    code, said = boltzwalk("train", "x.npy", "learning_rate=1", *words)
    assert code == 0
    assert re.search(r"^training +healthy ", said, re.MULTILINE), said
