"""The page on a user's own classes, run from top to bottom as a user would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # `tests/api/test_toys.py` has a class of each kind in short runs

PAGE = (Path(__file__).parent.parent / "docs" / "your_own.md").read_text()
EXAMPLES = Path(__file__).parent.parent / "examples"
BLOCKS = re.findall(r"```(python|console)\n(.*?)```", PAGE, re.DOTALL)


def run(words, folder, expected=0):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def few(text):
    return re.sub(r"updates=\d+", "updates=20", text)


COMMANDS = """
import sys
from typer.testing import CliRunner
from boltzwalk.cli import app
for line in open("commands.txt"):
    done = CliRunner().invoke(app, line.split()[1:])
    if done.exit_code:
        sys.exit(line + done.output)
"""
"""Runs the commands of a file in one process: each start of Python takes seconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files of the page, after its scripts and commands."""
    folder = tmp_path_factory.mktemp("user")
    commands = []
    for kind, text in BLOCKS:
        if kind == "python":
            name = re.match(r"# (\w+\.py)\n", text).group(1)
            (folder / name).write_text(few(text))
            if name in ("train.py", "use.py"):
                run([name], folder)
        else:
            commands.append(few(text))
    (folder / "commands.txt").write_text("".join(commands))
    run(["-c", COMMANDS], folder)
    return folder


def test_every_block_of_the_page_runs(folder):
    names = {path.name for path in (folder / "runs").iterdir()}
    assert names == {"mine", "own_net", "spiral", "score_matching", "random_walk", "own_base"}
    for name in names:
        assert (folder / "runs" / name / "report.html").is_file()


def test_the_folder_names_the_code_that_it_needs(folder):
    text = run(["-m", "boltzwalk", "sample", "runs/mine"], folder, expected=2)
    assert "my_models.py:MyNet" in text
    assert f"--import {folder / 'my_models.py'}" in text
    assert "sha256" in text
    text = run(["-m", "boltzwalk", "sample", "runs/score_matching"], folder, expected=2)
    assert f"--import {folder / 'my_method.py'}" in text


def test_a_file_that_changed_is_noticed(folder):
    path = folder / "my_models.py"
    path.write_text(path.read_text() + "\n# changed\n")
    text = run(["-m", "boltzwalk", "sample", "runs/mine", "--import", "my_models.py"], folder)
    assert "has changed since the run was trained" in text


KILLED = """
import sys
import boltzwalk as bw
import boltzwalk.training.execute as execute
sys.path.insert(0, sys.argv[1])
import train_my_network
save, train = execute.save, bw.train


def save_or_die(run, path):
    save(run, path)
    if run.update == 10 and sys.argv[2] == "kill":
        sys.exit(9)


execute.save = save_or_die
bw.train = lambda *a, **k: train(*a, **k, output=bw.settings.Output(save_every=10))
bw.evaluate = bw.report = bw.Model.log_z = lambda *a, **k: None
for folder in sys.argv[3:]:
    train_my_network.main(folder, 20)
"""
"""The example, which dies after its checkpoint at update 10 where it is told to."""


@pytest.mark.slow
def test_the_example_goes_on_where_it_was_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    run(["killed.py", str(EXAMPLES), "kill", "killed"], tmp_path, expected=9)
    assert [p.name for p in (tmp_path / "killed" / "checkpoints").iterdir()] == [
        "update_00000010.safetensors"
    ]
    run(["killed.py", str(EXAMPLES), "live", "killed", "full"], tmp_path)
    name = "checkpoints/update_00000020.safetensors"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "full" / name).read_bytes()
