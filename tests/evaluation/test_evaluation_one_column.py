"""A table of one column from file to likelihood: never refused, and covered by its interval."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.evaluation.likelihood import held_out_likelihood
from boltzwalk.recipes.lookup import resolved_settings
from boltzwalk.rng import generator
from boltzwalk.training.execute import execute
from boltzwalk.training.run import open_run


class Mixture:
    """A skewed mixture of two normal distributions."""

    weight, mean, scale = np.array([0.7, 0.3]), np.array([0.0, 3.0]), np.array([0.5, 1.5])

    def rvs(self, size, random_state):
        part = random_state.choice(2, size, p=self.weight)
        return random_state.normal(self.mean[part], self.scale[part])

    def pdf(self, x):
        return stats.norm.pdf(np.asarray(x)[..., None], self.mean, self.scale) @ self.weight


DENSITIES = {"normal": stats.norm(), "mixture": Mixture(), "exponential": stats.expon()}


def write_rows(path, name, seed, n):
    rows = DENSITIES[name].rvs(size=n, random_state=np.random.default_rng(seed))
    np.savetxt(path, rows, "%.17g", header="length", comments="")


def exact(model, name):
    """The true mean of -log p of the model, its log Z in the file's units, and the entropy."""
    grid = torch.linspace(-15, 25, 20_001, dtype=torch.float64)
    step = float(grid[1] - grid[0])
    x = model.data.from_original(grid[:, None]).to(model.data.train)
    with torch.no_grad():
        u = torch.cat([model.density_energy()(part).double() for part in x.split(5_000)])
    log_p = -u / model.temperature - model.data.log_jacobian(x).double()
    log_z = float(log_p.logsumexp(0)) + math.log(step)
    p = DENSITIES[name].pdf(grid.numpy())
    log_truth = np.log(np.where(p > 0, p, 1.0))
    return -float((p * (log_p - log_z).numpy()).sum()) * step, -float((p * log_truth).sum()) * step


def run(folder, name, seed, recipe, *words, n=1000):
    write_rows(folder / f"{seed}.csv", name, seed, n)
    words = [f"data.path={folder / f'{seed}.csv'}", f"seed={seed}", "threads=1", *words]
    words += ["output.pictures=false", "output.events=false"]
    for _ in execute(resolved_settings(recipe, words), folder / f"run{seed}"):
        pass
    result = open_run(folder / f"run{seed}")
    return result.judged_on(result.dataset, folder / f"run{seed}")


@pytest.mark.parametrize("name", DENSITIES)
def test_one_column_has_a_likelihood(tmp_path, name):
    """That of quadrature, not refused; the interval covers the mean over the true density."""
    words = ["updates=4", "output.save_every=2", "output.log_every=2"]
    model = run(tmp_path, name, 0, "table", *words, n=200)
    likelihood = held_out_likelihood(model, generator(0, "likelihood", 0))
    assert not likelihood.log_z.refusal
    truth, entropy = exact(model, name)
    assert entropy - 1e-6 < truth < entropy + 0.2
    assert abs(likelihood.nll - truth) <= likelihood.half_width


@pytest.mark.slow
def test_the_commands_give_one_column_a_likelihood(tmp_path, monkeypatch):
    """The commands, on N(0, 1): the likelihood is that of quadrature, and not refused."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "t.csv", "normal", 0, 300)
    small = ["updates=20", "output.save_every=10", "output.log_every=10", "threads=1", "--quiet"]
    for words in (
        ["train", "t.csv", *small, "output.pictures=false", "output.events=false"],
        ["evaluate", "runs/t", "--sections", "likelihood", "--quiet"],
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    section = json.loads((tmp_path / "runs/t/evaluation.json").read_text())
    details = section["likelihood"]["details"]
    assert not details["log_z"]["refusal"]
    opened = open_run(tmp_path / "runs/t")
    truth, entropy = exact(opened.judged_on(opened.dataset), "normal")
    assert truth > entropy - 1e-6
    assert abs(details["nll"] - truth) <= details["half_width"]
    assert abs(details["nll"] - entropy) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["table", "table_walkers"])
def test_of_24_one_column_tables_none_is_refused_and_their_intervals_cover(tmp_path, recipe):
    """Three densities, eight seeds each: at 95 %, fewer than 19 of 24 have probability 0.0004."""
    words = ["updates=200", "output.save_every=50", "output.log_every=50"]
    covered = 0
    for name in DENSITIES:
        (tmp_path / name).mkdir()
        for seed in range(8):
            model = run(tmp_path / name, name, seed, recipe, *words)
            likelihood = held_out_likelihood(model, generator(seed, "likelihood", 0))
            assert not likelihood.log_z.refusal
            truth, entropy = exact(model, name)
            assert truth > entropy - 1e-3
            covered += abs(likelihood.nll - truth) <= likelihood.half_width
    assert covered >= 19
