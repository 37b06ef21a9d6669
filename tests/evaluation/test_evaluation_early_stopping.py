"""Latent chains are left where they are best, as chains show whose energy is known."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.data import Table
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation.early_stopping import ChainQuality, best_chain_length
from boltzwalk.kernels import ULA
from boltzwalk.method import with_defaults
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.generalized import Generalized, GeneralizedMethod
from boltzwalk.networks import Multilayer
from boltzwalk.recipes import RECIPES
from boltzwalk.rng import generator
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute
from boltzwalk.training.run import start


class Standard(nn.Module):
    """A base that is a standard normal in three dimensions."""

    event_shape = (3,)

    def latents(self, n, rng):
        return torch.randn(n, 3, generator=rng)

    def decode(self, z):
        return z


class Pull(nn.Module):
    """An energy that pulls to one side with a constant slope."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x):
        return -self.slope * x.sum(1)


@pytest.fixture
def model(tmp_path):
    """Data are N(1, 1) and the base is N(0, 1)."""
    rows = 1 + torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n" + "\n".join(",".join(f"{v:.4f}" for v in row) for row in rows))
    settings = Settings(
        data=Table(str(path), whitening="none"),
        energy=NetworkEnergy(Multilayer((4,))),
        method=Generalized(kernel=ULA(0.01), sample_steps=1000, inverse_temperature=1.0),
        optimizer=RECIPES["digits"]().optimizer,
        updates=1,
        batch=10,
        threads=1,
    )
    run = start(resolve_auto(settings))
    method = with_defaults(GeneralizedMethod(settings.method, Standard()))
    return replace(run.judged_on(run.dataset), method=method, module=Pull(3.0))


def test_a_constant_pull_is_best_where_the_mean_is_that_of_data(model):
    """The mean goes to 3 as 3 (1 - e^(-t)) and passes 1 at t = log(3 / 2), after 41 steps."""
    found = best_chain_length(model, generator(0, "test"), steps=200)
    assert found.checkpoints[0] == 0
    assert found.best == 40
    assert found.checkpoints == (0, 20, 40, 60, 80)
    mean = [3 * (1 - (1 - 0.01) ** steps) for steps in found.checkpoints]
    expected = [3 * (m - 1) ** 2 for m in mean]
    assert found.quality == pytest.approx(expected, abs=0.35)
    assert found.split == "validation"
    assert (
        f"best after 40 steps, {min(found.quality) / found.quality[0]:.2f} of the base"
        in found.text
    )
    assert "stopped before 200" in found.text


def test_one_that_never_pulls_too_far_goes_to_its_end(model):
    """With a slope of 1 the chains converge to the data."""
    found = best_chain_length(replace(model, module=Pull(1.0)), generator(0, "test"), steps=100)
    assert found.checkpoints[-1] == 100 or min(found.quality) < min(found.quality[-2:])
    assert found.quality[-1] < found.quality[0] / 2


def test_the_least_of_the_checkpoints_is_the_best():
    assert ChainQuality("FD", "validation", (0, 5, 9), (3.0, 1.0, 2.0), 9).best == 5


def test_what_has_no_latent_chains_is_refused(model):
    method = Contrastive(kernel=ULA(0.1))
    settings = replace(model.settings, method=method)
    other = replace(model, method=with_defaults(method), settings=settings)
    with pytest.raises(ValueError, match="got the method Contrastive"):
        best_chain_length(other, generator(0, "test"))


@pytest.mark.slow
def test_the_command_says_where_it_stops(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = RECIPES["gebm_digits"]()
    method = replace(settings.method, first_energy_steps=5, energy_steps=1, refresh_every=1000)
    small = replace(settings, method=method, updates=300, threads=1, output=Output(picture_every=0))
    torch.set_default_dtype(torch.float32)
    for _ in execute(resolve_auto(small), tmp_path / "run"):
        pass
    words = ["sample", "run", "--stop-early", "-n", "10", "--steps", "20"]
    done = CliRunner().invoke(app, words)
    assert "samples to validation rows: base" in done.output
    best = int(re.search(r"best after (\d+) steps", done.output)[1])
    said = f"10 samples, {best} steps each" if best else "some step must make samples better"
    assert said in done.output
    assert done.exit_code == (0 if best else 1)
