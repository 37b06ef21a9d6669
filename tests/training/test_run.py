"""A run in its folder: resumed exactly, never lost, never mixed up with another."""

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from boltzwalk.checkpoint import load_checkpoint, save_checkpoint
from boltzwalk.data import Digits, Table, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.methods.starts import NoiseStart, ReplayStart
from boltzwalk.networks import Convolutional, Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.optimizers import SGD, Adam, Schedule
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.smc.witness import Witness
from boltzwalk.training import changes
from boltzwalk.training import folder as run_folder
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import read_trace
from boltzwalk.training.run import open_run
from boltzwalk.training.signals import StopRequest

SMALL = resolve_auto(
    Settings(
        data=Toy("eight_gaussians", n=1000),
        energy=NetworkEnergy(Multilayer((16, 16)), spectral_norm=True),
        method=Contrastive(
            ReplayStart(size=200, restart_share=0.1), ULA(0.1), steps=3, data_noise=0.05
        ),
        optimizer=Adam(1e-3),
        schedule=Schedule(warmup=5, anneal=0.5),
        updates=40,
        batch=32,
        average=0.9,
        threads=1,
        output=Output(log_every=2, save_every=7, picture_every=0),
    )
)

WEIGHTED = {
    "energy": NetworkEnergy(Multilayer((16, 16)), reference_fit=0.5, zero_start=True),
    "method": Jarzynski(ExactStart(200), ULA(0.05), steps=2, threshold=0.95),
    "witness": Witness(64, steps=2, threshold=0.99),
}


def finish(settings, folder):
    return [done.update for done in execute(settings, folder)]


def contents(folder):
    """All that must be the same: the newest checkpoint, the log and the trace."""
    newest = run_folder.checkpoints(folder)[0].read_bytes()
    trace = [values.tolist() for values in read_trace(folder)]
    return newest, (folder / "log.jsonl").read_bytes(), trace


def test_a_run_leaves_what_it_promises(tmp_path):
    assert finish(SMALL, tmp_path / "a") == list(range(1, 41))
    rows = run_folder.read_rows(tmp_path / "a" / "log.jsonl")
    assert [row["update"] for row in rows] == list(range(2, 41, 2))
    trace = read_trace(tmp_path / "a")
    assert trace.energy_gap[1::2].tolist() == [row["energy_gap"] for row in rows]
    assert trace.gradient_mean[1::2].tolist() == [row["gradient_mean"] for row in rows]
    assert [p.stem for p in run_folder.checkpoints(tmp_path / "a")] == [
        "update_00000040",
        "update_00000035",
        "update_00000028",
    ]
    assert run_folder.read_settings(tmp_path / "a") == SMALL
    assert (tmp_path / "a" / "samples.png").stat().st_size > 0
    cost = run_folder.read_rows(tmp_path / "a" / "cost.jsonl")[-1]
    assert cost["gradients"] == 40 * 32 * 4


@pytest.fixture(
    scope="module",
    params=[
        {},
        {"optimizer": SGD(1e-2, momentum=0.9)},
        {"method": Contrastive(NoiseStart(), ULA(0.1), steps=3), "average": 0.0},
        WEIGHTED,
        WEIGHTED | {"method": replace(WEIGHTED["method"], walkers=50), "average": 0.0},
        {"energy": WEIGHTED["energy"], "witness": Witness(64)},
    ],
    ids=["adam", "sgd", "noise", "weighted", "weighted, mini-batches", "watched"],
)
def uninterrupted(request, tmp_path_factory):
    """The settings of a run, and what it leaves that was never stopped."""
    torch.set_default_dtype(torch.float32)
    settings, folder = replace(SMALL, **request.param), tmp_path_factory.mktemp("uninterrupted")
    finish(settings, folder)
    return settings, contents(folder)


@pytest.mark.parametrize("stop_at", [1, 6, 7, 8, 39])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, stop_at, uninterrupted):
    settings, expected = uninterrupted
    stop = StopRequest()
    for done in execute(settings, tmp_path, stop):
        stop.asked = done.update + 1 >= stop_at
    assert 0 < done.update <= max(2, stop_at)
    finish(settings, tmp_path)
    assert contents(tmp_path) == expected


@pytest.mark.slow
def test_killed_five_times_it_ends_the_same(tmp_path):
    """A real process, SIGKILL at random moments."""
    settings = replace(SMALL, updates=300, output=replace(SMALL.output, save_every=10))
    finish(settings, tmp_path / "whole")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["pytest", "boltzwalk.training.execute"])  # imported once
    chance = random.Random(0)
    for _ in range(5):
        before = run_folder.checkpoints(tmp_path / "parts")
        process = processes.Process(target=finish, args=(settings, tmp_path / "parts"))
        process.start()
        # Wait until it has saved something new, then a random moment, so that every life counts.
        while run_folder.checkpoints(tmp_path / "parts")[:1] == before[:1]:
            assert process.is_alive(), "the run ended before it could be killed five times"
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.01))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    finish(settings, tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    finish(replace(SMALL, updates=2), tmp_path)
    with pytest.raises(ValueError, match=r"other settings \(batch: 32, now 16\).*--name"):
        finish(replace(SMALL, updates=2, batch=16), tmp_path)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="must be empty or hold a run"):
        finish(SMALL, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path):
    finish(SMALL, tmp_path)
    expected = contents(tmp_path)
    newest = run_folder.checkpoints(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="update_00000040.safetensors is damaged, went back to"):
        assert finish(SMALL, tmp_path) == [36, 37, 38, 39, 40]
    assert contents(tmp_path) == expected


def test_when_all_are_damaged_nothing_is_overwritten(tmp_path):
    finish(SMALL, tmp_path)
    for path in run_folder.checkpoints(tmp_path):
        path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        finish(SMALL, tmp_path)
    assert {p.read_bytes() for p in run_folder.checkpoints(tmp_path)} == {b"damaged"}


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    finish(SMALL, tmp_path / "a")
    other = replace(SMALL, energy=NetworkEnergy(Multilayer((8,))))
    finish(other, tmp_path / "b")
    theirs = run_folder.checkpoints(tmp_path / "a")[0]
    mine = run_folder.checkpoints(tmp_path / "b")[0]
    mine.write_bytes(theirs.read_bytes())
    for path in run_folder.checkpoints(tmp_path / "b")[1:]:
        path.unlink()
    with pytest.raises(ValueError, match="written by a run with other settings"):
        open_run(tmp_path / "b")


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path):
    finish(replace(SMALL, updates=3), tmp_path)
    for path in run_folder.checkpoints(tmp_path):
        save_checkpoint(path, {"w": torch.zeros(3)}, {})
    with pytest.raises(ValueError, match="must be a checkpoint of boltzwalk"):
        open_run(tmp_path)


def test_a_run_that_goes_wrong_names_the_checkpoint_to_return_to(tmp_path):
    wild = replace(SMALL, optimizer=SGD(1e9), schedule=Schedule(warmup=40), updates=40)
    wild = replace(wild, energy=NetworkEnergy(Multilayer((16, 16))), average=0.0, guard="off")
    wild = replace(wild, output=replace(wild.output, save_every=1))
    folder = tmp_path / "MyRun"
    with pytest.raises(FloatingPointError, match=r"update \d+: loss.*") as caught:
        finish(wild, folder)
    assert str(run_folder.checkpoints(folder)[0]) in str(caught.value)
    for path in run_folder.checkpoints(folder):
        tensors, _ = load_checkpoint(path)
        assert all(t.isfinite().all() for t in tensors.values())


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    stop = StopRequest()
    for done in execute(replace(SMALL, updates=10), tmp_path, stop):
        stop.asked = done.update == 6
    before = contents(tmp_path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        finish(replace(SMALL, updates=10), tmp_path)
    assert contents(tmp_path) == before


def test_samples_come_from_the_average_and_repeat(tmp_path):
    finish(SMALL, tmp_path)
    opened = open_run(tmp_path)
    assert opened.update == 40
    a = opened.model().draw(50, generator(1, "sample"))
    b = opened.model().draw(50, generator(1, "sample"))
    assert torch.equal(a.x, b.x)
    assert opened.model().module is opened.average.module
    torch.testing.assert_close(a.energy, opened.model().module(a.x).detach())


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    settings = replace(SMALL, data=Digits(), batch=1300)
    with pytest.raises(ValueError, match="at most the 1200 rows of training data, got 1300"):
        finish(settings, tmp_path)
    assert not any(tmp_path.iterdir()), "a wrong setting leaves no folder behind"


def test_the_torn_last_line_of_a_log_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"update": 1}\n{"update": 2}\n{"upd')
    assert run_folder.read_rows(path) == [{"update": 1}, {"update": 2}]
    run_folder.truncate_rows(path, 1)
    assert path.read_text() == json.dumps({"update": 1}) + "\n"


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    first = execute(SMALL, tmp_path)
    next(first)
    with pytest.raises(ValueError, match="is being trained by another process"):
        next(execute(SMALL, tmp_path))
    first.close()
    assert next(execute(SMALL, tmp_path)).update == 1


def test_convolutions_in_bfloat16_go_on_bit_for_bit(tmp_path):
    settings = replace(
        SMALL,
        data=Digits(dequantise=True),
        energy=NetworkEnergy(Convolutional(4, ((1, 3, 1, 1), (2, 4, 2, 1))), spectral_norm=True),
        precision="bf16",
        updates=12,
    )
    finish(settings, tmp_path / "whole")
    stop = StopRequest()
    for done in execute(settings, tmp_path / "parts", stop):
        stop.asked = done.update == 5
    finish(settings, tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_other_data_under_the_same_name_are_refused(tmp_path):
    """Else samples would come back in the units of the new file, and training go on with it."""
    table = tmp_path / "my.csv"

    def write(scale):
        rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * scale
        np.savetxt(table, rows.numpy(), "%.6f", ",", header="a,b,c", comments="")

    settings = replace(SMALL, data=Table(str(table)), updates=3)
    write(1.0)
    finish(settings, tmp_path / "run")
    write(1000.0)  # the same rows in other units: whitened, they are equal
    with pytest.raises(ValueError, match="the data are not those that"):
        open_run(tmp_path / "run")
    write(1.0)
    assert open_run(tmp_path / "run").update == 3


def test_the_machine_may_change_and_the_settings_may_not(tmp_path):
    finish(SMALL, tmp_path)
    elsewhere = replace(SMALL, threads=2, output=replace(SMALL.output, keep=1))
    assert finish(elsewhere, tmp_path) == []
    assert run_folder.read_settings(tmp_path) == elsewhere


def test_a_run_may_go_on_with_another_learning_rate_and_longer(tmp_path):
    finish(SMALL, tmp_path)
    longer = replace(SMALL, updates=45, optimizer=Adam(1e-4))
    changes.change(tmp_path, longer)
    assert finish(longer, tmp_path) == [41, 42, 43, 44, 45]
    rows = run_folder.read_rows(tmp_path / "changes.jsonl")
    changed = ["optimizer.learning_rate: 0.001, now 0.0001", "updates: 40, now 45"]
    assert rows == [{"update": 40, "changed": changed}]


@pytest.mark.parametrize(
    "change",
    [{"seed": 5}, {"data": Digits()}, {"energy": NetworkEnergy(Multilayer((8,)))}],
    ids=["seed", "data", "energy"],
)
def test_a_run_cannot_go_on_as_another(tmp_path, change):
    finish(replace(SMALL, updates=2), tmp_path)
    with pytest.raises(ValueError, match="a run cannot go on with another"):
        changes.change(tmp_path, replace(SMALL, updates=2, **change))


def test_until_something_is_saved_settings_may_change(tmp_path):
    run_folder.write_settings(tmp_path, SMALL)
    assert finish(replace(SMALL, batch=16, updates=2), tmp_path) == [1, 2]


def test_a_store_smaller_than_an_update_is_refused_before_a_folder_is_made(tmp_path):
    small = replace(SMALL, method=Contrastive(ReplayStart(size=20), ULA(0.1), steps=1))
    with pytest.raises(ValueError, match=r"start\.size must be at least the 32 walkers"):
        finish(small, tmp_path)
    assert not any(tmp_path.iterdir())


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    finish(replace(SMALL, updates=2), tmp_path)
    left = tmp_path / "checkpoints" / ".update_00000002.safetensors.12345"
    left.write_bytes(b"half")
    finish(replace(SMALL, updates=2), tmp_path)
    assert not left.exists()
    assert (tmp_path / ".lock").exists()


def test_a_damaged_log_is_named_by_its_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"update": 1}\nnonsense\n{"update": 3}\n')
    with pytest.warns(UserWarning, match=r"log.jsonl, line 2 of 3: damaged, and left out"):
        assert run_folder.read_rows(path) == [{"update": 1}, {"update": 3}]


def test_a_witness_may_leave_a_run_but_not_come_in(tmp_path):
    settings = replace(SMALL, **WEIGHTED)
    finish(replace(settings, updates=10), tmp_path / "a")
    without = replace(settings, witness=replace(settings.witness, walkers=0))
    changes.change(tmp_path / "a", without)
    finish(without, tmp_path / "a")
    rows = run_folder.read_rows(tmp_path / "a" / "log.jsonl")
    assert ["witness_log_z" in row for row in rows] == [True] * 5 + [False] * 15
    with pytest.raises(ValueError, match=r"cannot go on with another witness.walkers"):
        changes.change(tmp_path / "a", settings)


def test_held_out_rows_are_judged_in_the_log(tmp_path):
    """Their cross-entropy is the mean energy and log Z, of the model that draws the samples."""
    finish(replace(SMALL, **WEIGHTED), tmp_path / "a")
    row, run = run_folder.read_rows(tmp_path / "a" / "log.jsonl")[-1], open_run(tmp_path / "a")
    rows = run.dataset.validation
    with torch.no_grad():
        model, energy = run.model().module(rows).mean(), run.energy(rows).mean()
    assert model != energy
    assert row["energy_validation"] == pytest.approx(float(energy))
    expected = float(energy) + row["log_z"]
    assert row["cross_entropy_validation"] == pytest.approx(expected, abs=1e-5)
    expected = float(model) + row["witness_log_z"]
    assert row["witness_cross_entropy"] == pytest.approx(expected, abs=1e-5)
    assert row["witness_cross_entropy_half_width"] > row["witness_half_width"] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"witness": Witness(64)}, "reference_scale=1.0 energy.zero_start=true"),
        (
            {"witness": Witness(64), "method": Contrastive(kernel=ULA(0.1, box=(-1.0, 1.0)))},
            "weighted walkers need a kernel",
        ),
        ({"method": Jarzynski()}, "reference_scale=1.0 energy.zero_start=true"),
    ],
    ids=["no exact start", "a box", "a method without an exact start"],
)
def test_weights_that_cannot_be_had_are_refused_before_a_folder_is_made(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        finish(replace(SMALL, **change), tmp_path / "a")
    assert not (tmp_path / "a").exists()
