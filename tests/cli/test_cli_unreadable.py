"""Folders that cannot be read: one message that says what to do, and exit code 2."""

import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.data import Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.networks import Multilayer
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute

COMMANDS = ("sample", "score", "complete", "reconstruct", "interpolate", "evaluate", "report")

MODULE = """
import torch
from dataclasses import dataclass
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x).square().squeeze(-1)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("runs") / "toy"
    settings = Settings(
        data=Toy("rings", n=100),
        energy=NetworkEnergy(Multilayer((4,))),
        method=Contrastive(NoiseStart(), ULA(0.1), steps=1),
        updates=2,
        batch=8,
        threads=1,
        device="cpu",
        output=Output(picture_every=0),
    )
    for _ in execute(resolve_auto(settings), folder):
        pass
    return folder


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def message(command, folder):
    """The error of a command, which is one line and ends in two."""
    rows = ["rows.csv"] if command == "score" else []
    done = CliRunner().invoke(app, [command, str(folder), *rows])
    assert done.exit_code == 2, (done.output, done.exception)
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert [line for line in lines if not line.startswith("warning: ")] == lines[-1:], lines
    assert lines[-1].startswith("error: ")
    return lines[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_folder_and_an_empty_one(command, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "none", tmp_path / "empty"):
        assert f"a run folder must hold settings.yaml, found none in {folder}" in message(
            command, folder
        )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_no_checkpoint(command, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("nothing")
    assert f"a checkpoint must be a whole safetensors file, got {path}" in message(command, path)


@pytest.mark.parametrize("command", COMMANDS)
def test_damaged_checkpoints(command, run):
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    assert "it is damaged or of another kind" in message(command, run)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_description_of_the_data(command, run):
    if command == "evaluate":  # which loads the data themselves
        return
    path = run / "data.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"got {path}" in message(command, run)


@pytest.mark.parametrize("command", [*COMMANDS, "resume"])
@pytest.mark.parametrize("change", ["kind", "setting"])
def test_a_run_of_a_newer_version(command, change, run):
    settings = yaml.safe_load((run / "settings.yaml").read_text())
    if change == "kind":
        settings["method"]["kind"] = "Flowing"
    else:
        settings["sharpness"] = 3
    (run / "settings.yaml").write_text(yaml.safe_dump(settings))
    environment = yaml.safe_load((run / "environment.yaml").read_text())
    environment["versions"]["boltzwalk"] = "99.1.0"
    (run / "environment.yaml").write_text(yaml.safe_dump(environment))
    error = message(command, run)
    assert f"{run} must be of boltzwalk" in error
    assert "got 99.1.0; update boltzwalk" in error
    assert ("Flowing" if change == "kind" else "sharpness") in error


def test_a_wrong_setting_of_this_version_is_not_called_newer(run):
    settings = yaml.safe_load((run / "settings.yaml").read_text())
    (run / "settings.yaml").write_text(yaml.safe_dump({**settings, "sharpness": 3}))
    for environment in ("versions: {boltzwalk: 0.1.0}", "versions: [", "nothing", ""):
        (run / "environment.yaml").write_text(environment)
        error = message("sample", run)
        assert "sharpness" in error
        assert "update boltzwalk" not in error


@pytest.mark.slow
def test_a_run_that_needs_code_says_which_and_how(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nets.py").write_text(MODULE)
    words = ["train", "toy", "energy=my_nets.py:Net", "updates=2", "data.n=100", "batch=8"]
    words += ["start.size=20", "steps=1", "threads=1", "--quiet"]
    command = [sys.executable, "-m", "boltzwalk"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        error = message(name, tmp_path / "runs" / "toy")
        assert "my_nets" in error
        assert f"add --import {tmp_path / 'my_nets.py'}" in error
        assert "(sha256 " in error
    words = ["sample", "runs/toy", "-n", "5", "--out", "x.csv", "--import", "my_nets.py"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 5
