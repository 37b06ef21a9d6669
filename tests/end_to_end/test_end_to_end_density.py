"""The density recipes on the wines of scikit-learn: 124 rows that a flow learns by heart."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.evaluation.partition import model_partition
from boltzwalk.rng import generator
from boltzwalk.training.folder import checkpoints
from boltzwalk.training.run import open_model

WINES = [
    "data=Table", "data.path=wine.npy", "data.whitening=pca", "data.split=[0.7, 0.15, 0.15]",
    "updates=200", "batch=64", "output.log_every=20", "output.save_every=20",
]  # fmt: skip


def trained(recipe, folder):
    """The run at its best update, and at its last."""
    words = ["train", recipe, *WINES, "--seeds", "1", "--alone", "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return open_model(folder), open_model(checkpoints(folder)[0])


@torch.no_grad()
def nll(model):
    x = torch.cat([model.data.validation, model.data.test])
    return float((model.module(x).double() + model.module.log_z).mean())


@pytest.mark.slow
def test_kale_finds_log_z_and_does_not_overfit_as_maximum_likelihood_does(tmp_path, monkeypatch):
    """Without c that learnt, the last assertion on it would be off by 3 nats."""
    monkeypatch.chdir(tmp_path)
    np.save("wine.npy", load_wine().data)
    best, last = trained("gebm_red_wine", tmp_path / "runs" / "gebm_red_wine")
    assert last.update == 200
    assert best.update < 200
    x = torch.cat([best.data.validation, best.data.test])
    normal = float(x.double().square().sum(1).mean() / 2) + 13 / 2 * math.log(2 * math.pi)
    assert nll(best) < normal + 0.2
    found = model_partition(best, generator(0, "test"))
    assert abs(found.estimate - found.exact) < 5 / 1.96 * found.half_width
    assert abs(float(last.method.log_partition.detach()) - last.module.log_z) < 0.2
    known_best, known_last = trained("gebm_red_wine_ml", tmp_path / "runs" / "gebm_red_wine_ml")
    rises = nll(known_last) - nll(known_best), nll(last) - nll(best)
    print(
        rises,
        found,
        float(last.method.log_partition.detach()),
        last.module.log_z,
        nll(best),
        normal,
    )
    assert nll(known_last) - nll(known_best) > 10 * (nll(last) - nll(best))
    assert nll(known_best) == pytest.approx(nll(best), abs=1.0)
