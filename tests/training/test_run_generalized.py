"""Runs of generalized models: resumed exactly in every turn, and never mixed up."""

from dataclasses import replace

import pytest
import torch

from boltzwalk.bases import Generator
from boltzwalk.checkpoint import load_checkpoint
from boltzwalk.data import Digits, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods.generalized import Generalized
from boltzwalk.networks import DenseGenerator, Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.optimizers import Adam, Schedule
from boltzwalk.settings.settings import Output, Settings, from_yaml, resolve_auto, to_yaml
from boltzwalk.smc.witness import Witness
from boltzwalk.training import changes
from boltzwalk.training import folder as run_folder
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import read_trace
from boltzwalk.training.pictures import write_samples
from boltzwalk.training.run import open_model, open_run, start
from boltzwalk.training.signals import StopRequest

METHOD = Generalized(
    Generator(DenseGenerator((12,)), 3),
    energy_steps=2,
    first_energy_steps=3,
    gradient_penalty=0.1,
    initial_samples=50,
    sample_steps=4,
    kernel=ULA(0.05),
)
SMALL = resolve_auto(
    Settings(
        data=Toy("damped_sine", n=1000),
        energy=NetworkEnergy(Multilayer((16, 16)), spectral_norm=True),
        method=METHOD,
        optimizer=Adam(1e-3, beta1=0.5),
        schedule=Schedule(warmup=5, anneal=0.5),
        updates=20,
        batch=32,
        average=0.9,
        threads=1,
        output=Output(log_every=2, save_every=7, picture_every=0),
    )
)


def finish(settings, folder):
    return [done.update for done in execute(settings, folder)]


def contents(folder):
    newest = run_folder.checkpoints(folder)[0].read_bytes()
    trace = [repr(values.tolist()) for values in read_trace(folder)]  # which may hold nan
    return newest, (folder / "log.jsonl").read_bytes(), trace


@pytest.mark.parametrize("stop_at", [2, 4, 9, 15])
@pytest.mark.parametrize(
    "change",
    [{}, {"method": replace(METHOD, objective="hinge")}, {"data": Digits(), "precision": "bf16"}],
    ids=["kale", "hinge", "bf16"],
)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, stop_at, change):
    settings = replace(SMALL, **change)
    finish(settings, tmp_path / "whole")
    stop = StopRequest()
    for done in execute(settings, tmp_path / "parts", stop):
        stop.asked = done.update + 1 >= stop_at
    assert done.update == max(2, stop_at)
    finish(settings, tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_a_checkpoint_holds_both_networks_c_and_whose_turn_it_is(tmp_path):
    finish(SMALL, tmp_path)
    tensors, _ = load_checkpoint(run_folder.checkpoints(tmp_path)[0])
    run, fresh = open_run(tmp_path), start(SMALL).method.state_dict()
    for name, value in run.method.state_dict().items():
        assert torch.equal(tensors[f"method.{name}"], value), name
        assert not torch.equal(value, fresh[name]), name
    # 3 + 1 + 3 + 1 updates, then 2 + 1 each: the base has learnt at 4, 8, 11, 14, 17, 20
    assert tensors["state.base_steps"] == 6
    assert tensors["state.energy_steps"] == 0
    assert (run.state.base_steps, run.state.energy_steps) == (6, 0)


def test_the_log_says_what_can_be_believed(tmp_path):
    finish(SMALL, tmp_path)
    rows = run_folder.read_rows(tmp_path / "log.jsonl")
    expected = {"kale", "log_partition", "log_partition_estimate", "ess", "energy_gap"}
    assert all(expected <= row.keys() for row in rows)
    assert all(0 < row["ess"] <= 1 for row in rows)
    assert any("gradient_penalty" in row for row in rows)
    cost = run_folder.read_rows(tmp_path / "cost.jsonl")[-1]
    assert cost["gradients"] == 20 * 32


def test_samples_are_proposals_moved_in_latent_space(tmp_path):
    finish(SMALL, tmp_path)
    run = open_run(tmp_path)
    found = run.model().draw(50, generator(1, "sample"))
    own = generator(1, "sample")
    z = run.method.base.latents(50, own)
    assert torch.equal(run.model().propose(50, generator(1, "sample")), run.method.base.decode(z))
    for _ in range(4):
        z = z.detach().requires_grad_()
        u = z.square().sum() / 2 + run.model().module(run.method.base.decode(z)).sum()
        (slope,) = torch.autograd.grad(u, z)
        z = z - 0.05 * slope + 0.1**0.5 * torch.randn(z.shape, generator=own)
    torch.testing.assert_close(found.x, run.method.base.decode(z).detach())
    torch.testing.assert_close(found.energy, run.model().module(found.x).detach())


def test_the_picture_of_samples_says_what_is_beside_what(tmp_path):
    finish(SMALL, tmp_path)
    said = write_samples(open_model(tmp_path), tmp_path / "x.npz", 30)
    assert said[-1].endswith("(left: the base, right: the model, from the same latent noise)")


def test_no_steps_draw_from_the_base_alone(tmp_path):
    settings = replace(SMALL, method=replace(METHOD, objective="logistic", sample_steps=0))
    finish(settings, tmp_path)
    model = open_run(tmp_path).model()
    a = model.draw(30, generator(1, "sample"))
    torch.testing.assert_close(a.x, model.propose(30, generator(1, "sample")))  # by a faster copy


def test_settings_go_to_yaml_and_back():
    assert from_yaml(to_yaml(SMALL)) == SMALL
    defaults = replace(SMALL, method=Generalized())
    assert from_yaml(to_yaml(defaults)) == defaults


def test_an_energy_of_another_base_is_refused(tmp_path):
    settings = replace(SMALL, updates=2)
    narrow = replace(METHOD, base=replace(METHOD.base, latent=2))
    finish(settings, tmp_path / "a")
    finish(replace(settings, method=narrow), tmp_path / "b")
    theirs = run_folder.checkpoints(tmp_path / "a")[0]
    run_folder.checkpoints(tmp_path / "b")[0].write_bytes(theirs.read_bytes())
    with pytest.raises(ValueError, match=r"other settings \(networks\.base\.latent: 3, now 2\)"):
        open_run(tmp_path / "b")
    with pytest.raises(ValueError, match=r"cannot go on with another method\.base\.latent"):
        changes.change(tmp_path / "a", replace(settings, method=narrow))


def test_a_run_may_go_on_with_the_energy_alone(tmp_path):
    finish(SMALL, tmp_path)
    before = open_run(tmp_path)
    longer = replace(SMALL, updates=24, method=replace(METHOD, learns="energy"))
    changes.change(tmp_path, longer)
    finish(longer, tmp_path)
    after = open_run(tmp_path)
    for name, value in before.method.base.state_dict().items():
        assert torch.equal(value, after.method.base.state_dict()[name]), name
    pairs = zip(before.energy.parameters(), after.energy.parameters(), strict=True)
    assert all(not torch.equal(p, q) for p, q in pairs)
    assert after.state.energy_steps == 4


def test_a_witness_is_refused():
    with pytest.raises(ValueError, match="generalized model moves latent variables"):
        replace(SMALL, witness=Witness(64))
