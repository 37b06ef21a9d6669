"""One command, several seeds: a folder each, and a table of densities with their spread."""

import re
from statistics import mean, stdev

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_wine
from typer.testing import CliRunner

from boltzwalk import cli
from boltzwalk.training.run import open_model

METHODS = ("", "_dv", "_cd", "_ml")
SMALL = [
    "data=Table", "data.path=wine.npy", "data.whitening=pca", "updates=20", "batch=30",
    "output.log_every=10", "output.save_every=10", "energy.flow.widths=[8]", "base.widths=[8]",
    "sample_steps=2",
]  # fmt: skip


@pytest.fixture
def boltzwalk(tmp_path, monkeypatch):
    """Runs the command in this process, beside the wines of scikit-learn."""
    monkeypatch.chdir(tmp_path)
    np.save("wine.npy", load_wine().data)

    def call(*words, code=0):
        done = CliRunner().invoke(cli.app, [*words, "--quiet"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, done.output
        return done.output

    return call


def table(said):
    """The lines of the last table by their name."""
    lines = said.partition("log mean weight")[2].splitlines()[1:]
    return {line.split()[0]: line for line in lines if line.strip()}


def nll(model):
    x = model.data.test
    return float(-model.module.flow.log_density(x).detach().double().mean())


@pytest.mark.slow
def test_every_method_is_trained_with_every_seed(tmp_path, boltzwalk):
    said = boltzwalk("train", "gebm_red_wine", *SMALL, "--seeds", "2", "--seed", "5")
    names = [f"gebm_red_wine{method}" for method in METHODS]
    folders = [f"{name}_seed{seed}" for name in names for seed in (5, 6)]
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == sorted(folders)
    assert len(re.findall(r"^training +healthy", said, re.MULTILINE)) == 8
    rows = table(said)
    assert list(rows) == names
    for name in names:
        runs = [open_model(tmp_path / "runs" / f"{name}_seed{seed}") for seed in (5, 6)]
        assert [model.settings.seed for model in runs] == [5, 6]
        values = [nll(model) for model in runs]
        assert values[0] != values[1]
        assert f" {mean(values):.2f} ± {stdev(values):.2f} " in rows[name]
        assert ", ".join(str(model.update) for model in runs) in rows[name]
        exact = [model.module.log_z for model in runs]
        assert f" {mean(exact):.3f} ± {stdev(exact):.3f} " in rows[name]
    assert "%" in rows["gebm_red_wine"]
    assert "%" not in rows["gebm_red_wine_ml"]  # which has no base


@pytest.mark.slow
def test_one_seed_has_the_name_of_its_recipe_and_an_interval(tmp_path, boltzwalk):
    said = boltzwalk("train", "gebm_red_wine", *SMALL, "--seeds", "1", "updates=10")
    assert (tmp_path / "runs" / "gebm_red_wine_cd" / "report.html").exists()
    assert re.search(r"gebm_red_wine +[\d.]+ ± [\d.]+ +\d+ +[\d.]+ +-?[\d.]+ ", said)
    settings = yaml.safe_load((tmp_path / "runs/gebm_red_wine/settings.yaml").read_text())
    assert settings["seed"] == 0
    again = boltzwalk("train", "gebm_red_wine", *SMALL, "--seeds", "1", "updates=10")
    assert {n: line.split()[:6] for n, line in table(again).items()} == {
        n: line.split()[:6] for n, line in table(said).items()
    }


def test_a_recipe_of_one_run_may_have_several_seeds(tmp_path, boltzwalk):
    few = ["updates=2", "data.n=100", "batch=8", "start.size=20", "steps=1"]
    said = boltzwalk("train", "toy", *few, "--seeds", "2")
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["toy_seed0", "toy_seed1"]
    assert "run 2 of 2" in said
    assert "time an update" in said


@pytest.mark.slow
def test_another_run_in_the_way_of_a_seed_gives_all_a_numbered_name(tmp_path, boltzwalk):
    words = [word for word in SMALL if not word.startswith(("base", "sample"))]
    words += ["--name", "gebm_red_wine_ml_seed1", "--seed", "1", "batch=20"]
    boltzwalk("train", "gebm_red_wine_ml", *words)
    said = boltzwalk("train", "gebm_red_wine", *SMALL, "--seeds", "2")
    assert "gebm_red_wine_ml_seed1 holds a run with other settings (batch: 20, now 30)" in said
    names = {p.name for p in (tmp_path / "runs").iterdir()} - {"gebm_red_wine_ml_seed1"}
    assert {name[: len("gebm_red_wine_2")] for name in names} == {"gebm_red_wine_2"}
    assert len(names) == 8
