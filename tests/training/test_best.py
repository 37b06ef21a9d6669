"""The update whose validation rows are the likeliest: kept, opened, and found again."""

import json
from dataclasses import replace

import pytest
import torch

from boltzwalk.bases.flow import Flow
from boltzwalk.bases.flow_energy import FlowEnergy
from boltzwalk.data import Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.maximum_likelihood import MaximumLikelihood
from boltzwalk.networks import Multilayer
from boltzwalk.settings.optimizers import Adam
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import NLL, best_checkpoint, checkpoints, read_rows
from boltzwalk.training.run import open_run
from boltzwalk.training.signals import StopRequest

# A rate at which few rows are learnt by heart within some updates.
SETTINGS = resolve_auto(
    Settings(
        data=Toy("two_moons", n=60),
        energy=FlowEnergy(Flow(widths=(64,), activation="tanh")),
        method=MaximumLikelihood(),
        optimizer=Adam(1e-2),
        updates=120,
        batch=40,
        threads=1,
        device="cpu",
        output=Output(log_every=5, save_every=10, picture_every=0, keep=2, best=True),
    )
)


def trained(folder, settings=SETTINGS, stop_at=0):
    stop = StopRequest()
    for done in execute(settings, folder, stop):
        stop.asked = done.update == stop_at
    return open_run(folder)


def test_the_best_is_kept_and_opened(tmp_path):
    run = trained(tmp_path)
    rows = {row["update"]: row[NLL] for row in read_rows(tmp_path / "log.jsonl")}
    saved = {update: value for update, value in rows.items() if update % 10 == 0}
    best = min(saved, key=saved.get)
    assert run.update == best < 100  # it overfits, or this test shows nothing
    kept = [int(path.stem[-8:]) for path in checkpoints(tmp_path)]
    assert kept == [120, 110, best]
    with torch.no_grad():
        x = run.dataset.validation
        found = float((run.model().module(x).double() + run.model().module.log_z).mean())
        assert found == pytest.approx(
            float(-run.model().module.flow.log_density(x).mean()), abs=1e-5
        )
    assert found == pytest.approx(saved[best], abs=1e-5)


def test_without_the_setting_the_last_is_opened(tmp_path):
    output = replace(SETTINGS.output, best=False)
    run = trained(tmp_path, replace(SETTINGS, output=output))
    assert run.update == 120
    assert len(checkpoints(tmp_path)) == 2


def test_a_run_that_was_stopped_goes_on_from_its_last_update_and_finds_the_same(tmp_path):
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "parts", stop_at=85)
    again = trained(tmp_path / "parts")
    assert again.update == whole.update
    for name in ("log.jsonl", "trace.jsonl"):
        texts = [(tmp_path / run / name).read_text() for run in ("whole", "parts")]
        rows = [[json.loads(line) for line in text.splitlines()] for text in texts]
        assert rows[0][-1] == rows[1][-1]
    names = [{p.name for p in checkpoints(tmp_path / run)} for run in ("whole", "parts")]
    assert names[0] == names[1]
    a, b = whole.tensors(), again.tensors()
    assert all(bool((a[key] == b[key]).all()) for key in a)


def test_where_log_z_is_not_known_the_last_is_opened(tmp_path):
    settings = replace(SETTINGS, energy=NetworkEnergy(Multilayer((4,))), method=Contrastive())
    assert trained(tmp_path, replace(settings, updates=30)).update == 30
    assert best_checkpoint(tmp_path) is None


def test_rows_of_the_log_must_meet_the_checkpoints():
    with pytest.raises(ValueError, match=r"got 15 and 10; write output\.save_every=20"):
        Output(log_every=10, save_every=15, best=True)
