"""The same `bw.train` again: an unfinished run goes on bit for bit, a finished one is returned."""

import os
import signal
from dataclasses import dataclass

import pytest
import torch

import boltzwalk as bw
import boltzwalk.training.execute as execute


class KilledError(Exception):
    """Ends a run as a kill does."""


@pytest.fixture
def kill_at(monkeypatch):
    """Lets a run die right after its checkpoint of an update."""
    save = execute.save

    def arm(update):
        def save_and_die(run, path):
            save(run, path)
            if run.update == update:
                raise KilledError

        monkeypatch.setattr(execute, "save", save_and_die if update else save)

    return arm


METHODS = {
    "stored walkers": bw.methods.Contrastive(
        start=bw.methods.ReplayStart(size=100), kernel=bw.kernels.MALA(0.05), steps=2
    ),
    "noise": bw.methods.Contrastive(steps=2),
    "weights": bw.methods.Jarzynski(kernel=bw.kernels.MALA(0.05)),
    "generator": bw.methods.Cooperative(),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_two_parts_end_with_the_bytes_of_one(
    train, rows, plain_net, tmp_path, kill_at, name, average
):
    method = METHODS[name]
    energy = plain_net
    if name in ("weights", "generator"):
        energy = bw.energies.NetworkEnergy(reference_scale=1.0, zero_start=True)
    weights = {k: v.clone() for k, v in plain_net.state_dict().items()}
    options = {"updates": 6, "average": average, "output": bw.settings.Output(save_every=2)}

    def run(folder):
        plain_net.load_state_dict(weights)
        return train(energy, rows, method, out=tmp_path / folder, **options)

    kill_at(4)
    with pytest.raises(KilledError):
        run("parts")
    kill_at(None)
    model, full = run("parts"), run("full")
    path = "checkpoints/update_00000006.safetensors"
    assert (tmp_path / "parts" / path).read_bytes() == (tmp_path / "full" / path).read_bytes()
    for log in ("log.jsonl", "trace.jsonl"):
        assert (tmp_path / "parts" / log).read_text() == (tmp_path / "full" / log).read_text()
    n = model.available(20)
    assert torch.equal(model.sample(n), full.sample(n))
    assert model.digest == full.digest


def test_a_finished_run_is_returned_without_an_update(
    train, rows, plain_net, tmp_path, monkeypatch
):
    first = train(plain_net, rows, out=tmp_path / "run")
    expected = first.energy(rows)

    def step(self, energy, data, state, rng):
        raise AssertionError("an update of a finished run")

    monkeypatch.setattr(bw.methods.Contrastive, "step", step)
    with torch.no_grad():
        for parameter in plain_net.parameters():
            parameter.zero_()
    again = train(plain_net, rows, out=tmp_path / "run")
    assert again.update == 3
    assert torch.equal(again.energy(rows), expected)
    assert again.module is plain_net  # it learnt in place, and has its parameters again


def test_more_updates_are_another_run_until_it_is_resumed(
    train, rows, plain_net, tmp_path, command
):
    train(plain_net, rows, out=tmp_path / "run")
    with pytest.raises(ValueError, match=r"updates: 3, now 5.*boltzwalk resume .* key=value"):
        train(plain_net, rows, out=tmp_path / "run", updates=5)
    command("resume", tmp_path / "run", "updates=5", "--quiet")  # few rows: the folder has them all
    assert bw.load(tmp_path / "run").update == 5
    assert train(plain_net, rows, out=tmp_path / "run", updates=5).update == 5


def test_a_run_without_a_folder_leaves_none_and_is_the_same(
    train, rows, plain_net, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    weights = {k: v.clone() for k, v in plain_net.state_dict().items()}
    kept = train(plain_net, rows, out="kept").energy(rows)
    plain_net.load_state_dict(weights)
    model = train(plain_net, rows)
    assert torch.equal(model.energy(rows), kept)
    assert model.folder is None
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@dataclass(frozen=True)
class Interrupted:
    """Sends Ctrl-C to its process in the third update."""

    def step(self, energy, data, state, rng):
        count = torch.zeros(()) if state is None else state
        if int(count) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return energy(data.x).square().mean(), count + 1, {}

    def init(self, energy, data, rng):
        return torch.zeros(())


def test_ctrl_c_saves_the_run_and_interrupts_the_script(train, rows, plain_net, tmp_path):
    with pytest.raises(KeyboardInterrupt, match=r"update 3 of 5.*run; the same call .* resumes"):
        train(plain_net, rows, Interrupted(), updates=5, out=tmp_path / "run")
    names = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert names == ["update_00000003.safetensors"]
    assert train(plain_net, rows, Interrupted(), updates=5, out=tmp_path / "run").update == 5
