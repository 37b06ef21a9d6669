"""The command that compares three methods on two modes, judged by the masses they find."""

import re

import pytest
from typer.testing import CliRunner

from boltzwalk.cli import app

SMALL = ["data.dim=2", "data.rows=1000", "batch=1000", "learning_rate=0.02", "updates=1000"]


@pytest.mark.slow
def test_weighted_walkers_find_the_masses_and_others_do_not(tmp_path, monkeypatch):
    """In the plane, at eight times the published rate; the start has masses 1/2.

    Over five seeds the mass by 10,000 weighted walkers had a standard deviation of 0.011.
    """
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["train", "jarzynski_mixture", *SMALL, "-q"])
    assert done.exit_code == 0, done.output
    table = done.output.partition("KL from")[2]
    left = {
        name: float(mass) for name, mass in re.findall(r"^(\w+) +([\d.]+) ", table, re.MULTILINE)
    }
    assert left["data"] == 0.25
    assert left["jarzynski_mixture"] == pytest.approx(0.25, abs=0.05)
    assert left["jarzynski_mixture_pcd"] < 0.01
    assert 0.4 < left["jarzynski_mixture_cd"] < 0.6
    divergence = float(re.search(r"^jarzynski_mixture .* (-?[\d.]+) ± [\d.]+ ", table, re.M)[1])
    assert abs(divergence) < 0.02
