"""The real command on real data, judged by a number."""

import re

import pytest
from typer.testing import CliRunner

from boltzwalk.cli import app


def train(monkeypatch, folder, *words):
    """Runs `boltzwalk train` and returns the numbers that it ends with, by name."""
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["train", *words, "threads=1", "--quiet"])
    assert done.exit_code == 0, done.output
    rows = re.findall(r"^([a-zA-Z -]+?)  +(-?[\d.]+)", done.output, re.MULTILINE)
    return {name: float(value) for name, value in rows}


def test_digits_are_learnt_in_seconds(tmp_path, monkeypatch):
    """Twenty updates of three steps reach a classifier-FID of 579, training data have 2.5."""
    short = ["updates=300", "steps=20", "data_noise=0.05", "anneal=0"]
    numbers = train(monkeypatch, tmp_path, "digits", *short)
    assert numbers["classifier-FID"] < 60
    assert numbers["class coverage"] > 90
    assert numbers["class entropy"] < 0.6


@pytest.mark.slow
def test_a_density_in_the_plane_is_learnt(tmp_path, monkeypatch):
    """The start, a Gaussian of scale 2, has log(8 pi) + 1.045 / 8 = 3.35 nats, the truth 1.10."""
    short = ["updates=300", "steps=10", "data.n=3000"]
    numbers = train(monkeypatch, tmp_path, "toy", *short)
    assert 1.0 < numbers["test nll"] < 1.6
