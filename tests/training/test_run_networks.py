"""Runs whose method has a network of its own: resumed exactly, and never mixed up."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from boltzwalk.bases import Generator, Vae, default_gamma
from boltzwalk.checkpoint import load_checkpoint
from boltzwalk.data import Digits, Table, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA, Descent
from boltzwalk.methods.cooperative import Cooperative
from boltzwalk.methods.variational import Variational
from boltzwalk.networks import DenseEncoder, DenseGenerator, Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.optimizers import SGD, Adam, Schedule
from boltzwalk.settings.settings import Output, Settings, from_yaml, resolve_auto, to_yaml
from boltzwalk.smc.witness import Witness
from boltzwalk.training import changes
from boltzwalk.training import folder as run_folder
from boltzwalk.training.execute import execute, updates
from boltzwalk.training.folder import read_trace
from boltzwalk.training.run import open_run, start
from boltzwalk.training.signals import StopRequest

COOPERATIVE = Cooperative(
    Generator(DenseGenerator((12,)), 3),
    ULA(0.1),
    steps=3,
    walkers=20,
    data_noise=0.05,
    latent_steps=2,
    base_rate=3e-3,
)
VARIATIONAL = Variational(
    Vae(DenseEncoder((12,), dropout=0.1), DenseGenerator((12,)), 3),
    ULA(0.1),
    steps=3,
    walkers=20,
    data_noise=0.05,
    base_rate=3e-3,
)
SMALL = resolve_auto(
    Settings(
        data=Toy("eight_gaussians", n=1000),
        energy=NetworkEnergy(Multilayer((16, 16)), spectral_norm=True),
        method=COOPERATIVE,
        optimizer=Adam(1e-3),
        schedule=Schedule(warmup=5, anneal=0.5),
        updates=20,
        batch=32,
        average=0.9,
        threads=1,
        output=Output(log_every=2, save_every=7, picture_every=0),
    )
)
BOTH = pytest.mark.parametrize(
    "settings",
    [SMALL, replace(SMALL, method=VARIATIONAL)],
    ids=["cooperative", "variational"],
)
NARROW = {
    "generator": replace(COOPERATIVE, generator=Generator(DenseGenerator((12,)), 2)),
    "vae": replace(VARIATIONAL, vae=replace(VARIATIONAL.vae, latent=2)),
}


def finish(settings, folder):
    return [done.update for done in execute(settings, folder)]


def contents(folder):
    """All that must be the same: the newest checkpoint, the log and the trace."""
    newest = run_folder.checkpoints(folder)[0].read_bytes()
    trace = [values.tolist() for values in read_trace(folder)]
    return newest, (folder / "log.jsonl").read_bytes(), trace


def narrow(settings):
    """The same run with fewer latent variables, and the name of the network."""
    name = "vae" if isinstance(settings.method, Variational) else "generator"
    return replace(settings, method=NARROW[name]), name


@BOTH
@pytest.mark.parametrize("stop_at", [1, 8])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": SGD(1e-3, momentum=0.9), "average": 0.0},
        {"data": Digits(), "precision": "bf16"},
    ],
    ids=["adam", "sgd", "bf16"],
)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, settings, stop_at, change):
    settings = replace(settings, **change)
    finish(settings, tmp_path / "whole")
    stop = StopRequest()
    for done in execute(settings, tmp_path / "parts", stop):
        stop.asked = done.update + 1 >= stop_at
    assert done.update == max(2, stop_at)
    finish(settings, tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


@BOTH
def test_a_checkpoint_holds_the_network_and_its_averages(tmp_path, settings):
    finish(settings, tmp_path)
    tensors, _ = load_checkpoint(run_folder.checkpoints(tmp_path)[0])
    run = open_run(tmp_path)
    for name, value in run.method.state_dict().items():
        assert torch.equal(tensors[f"method.{name}"], value), name
    fresh = start(settings).method.state_dict()
    moved = [k for k, v in run.method.state_dict().items() if not torch.equal(v, fresh[k])]
    assert len(moved) == len(fresh), "all parameters and running statistics have learnt"
    (tracked,) = (v for k, v in fresh.items() if k.endswith("num_batches_tracked"))
    (now,) = (v for k, v in tensors.items() if k.endswith("num_batches_tracked"))
    assert now == tracked + settings.updates
    both = [p for group in run.optimizer.param_groups for p in group["params"]]
    assert len(both) == len([*run.energy.parameters(), *run.method.parameters()])
    for index, parameter in enumerate(both):
        assert tensors[f"optimizer.{index}.exp_avg"].shape == parameter.shape
        assert tensors[f"optimizer.{index}.step"] == settings.updates
        assert torch.equal(
            run.optimizer.state[parameter]["exp_avg"], tensors[f"optimizer.{index}.exp_avg"]
        )


@BOTH
def test_the_log_says_how_both_networks_do(tmp_path, settings):
    finish(settings, tmp_path)
    rows = run_folder.read_rows(tmp_path / "log.jsonl")
    expected = {"energy_gap", "gradient_mean", "travel", "reconstruction", "out_of_range"}
    if isinstance(settings.method, Variational):
        expected |= {"kl", "active"}
        gamma = default_gamma(start(settings).dataset.train)
        for row in rows:
            whole = row["energy_gap"] + row["reconstruction"] + gamma * row["kl"]
            assert row["loss"] == pytest.approx(whole, rel=1e-5)
    else:
        for row in rows:
            whole = row["energy_gap"] + row["reconstruction"] / (2 * settings.method.sigma**2)
            assert row["loss"] == pytest.approx(whole, rel=1e-5)
    assert all(expected <= row.keys() for row in rows)
    cost = run_folder.read_rows(tmp_path / "cost.jsonl")[-1]
    assert cost["gradients"] == 20 * 20 * 4
    assert (tmp_path / "samples.png").stat().st_size > 0


@BOTH
def test_both_rates_follow_the_schedule(settings):
    run = start(settings)
    seen = []
    for done in updates(run):
        seen.append([group["lr"] for group in run.optimizer.param_groups])
        assert done.info["learning_rate"] == pytest.approx(seen[-1][0])
    factors = [settings.schedule.factor(t, 20) for t in range(20)]
    assert min(factors) < 0.2 < 0.9 < max(factors)
    for (energy_rate, own_rate), factor in zip(seen, factors, strict=True):
        assert energy_rate == pytest.approx(1e-3 * factor)
        assert own_rate == pytest.approx(3e-3 * factor)


@BOTH
def test_the_first_update_of_adam_is_the_rate_of_each_network(settings):
    """It divides a gradient by itself: every parameter that learns moves by its own rate."""
    settings = replace(settings, schedule=Schedule())
    run = start(settings)
    parts = {run.method: 3e-3, run.energy: 1e-3}
    before = {part: [p.detach().clone() for p in part.parameters()] for part in parts}
    next(updates(run))
    for part, rate in parts.items():
        pairs = zip(part.parameters(), before[part], strict=True)
        moved = [(p - q).abs().max().item() for p, q in pairs]
        assert max(moved) == pytest.approx(rate, rel=1e-3)


@BOTH
def test_a_checkpoint_of_another_network_is_refused(tmp_path, settings):
    settings = replace(settings, updates=2)
    other, name = narrow(settings)
    finish(settings, tmp_path / "a")
    finish(other, tmp_path / "b")
    theirs = run_folder.checkpoints(tmp_path / "a")[0]
    run_folder.checkpoints(tmp_path / "b")[0].write_bytes(theirs.read_bytes())
    message = rf"written by a run with other settings \(networks\.{name}\.latent: 3, now 2\)"
    with pytest.raises(ValueError, match=message):
        open_run(tmp_path / "b")


def test_a_checkpoint_of_another_method_is_refused(tmp_path):
    settings = replace(SMALL, updates=2)
    other = replace(settings, method=VARIATIONAL)
    finish(settings, tmp_path / "a")
    finish(other, tmp_path / "b")
    theirs = run_folder.checkpoints(tmp_path / "a")[0]
    run_folder.checkpoints(tmp_path / "b")[0].write_bytes(theirs.read_bytes())
    with pytest.raises(ValueError, match="method: Cooperative, now Variational"):
        open_run(tmp_path / "b")


@BOTH
def test_a_run_cannot_go_on_with_another_network(tmp_path, settings):
    settings = replace(settings, updates=2)
    other, name = narrow(settings)
    finish(settings, tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=rf"cannot go on with another method\.{name}\.latent"):
        changes.change(tmp_path, other)
    with pytest.raises(ValueError, match=rf"other settings \(method\.{name}\.latent: 3, now 2\)"):
        finish(other, tmp_path)
    assert contents(tmp_path) == before
    assert run_folder.read_settings(tmp_path) == settings


@BOTH
def test_a_run_may_go_on_with_another_rate_of_its_network(tmp_path, settings):
    finish(settings, tmp_path)
    method = replace(settings.method, steps=5, base_rate=1e-9)
    longer = replace(settings, updates=25, method=method, schedule=Schedule())
    changes.change(tmp_path, longer)
    before = [p.detach().clone() for p in open_run(tmp_path).method.parameters()]
    assert finish(longer, tmp_path) == [21, 22, 23, 24, 25]
    after = open_run(tmp_path).method.parameters()
    moved = [(p - q).abs().max().item() for p, q in zip(after, before, strict=True)]
    assert 0 < max(moved) < 1e-6


@BOTH
def test_settings_go_to_yaml_and_back(settings):
    assert from_yaml(to_yaml(settings)) == settings
    defaults = replace(settings, method=type(settings.method)())
    assert from_yaml(to_yaml(defaults)) == defaults
    unknown = to_yaml(settings).replace("latent: 3", "latents: 3")
    with pytest.raises(ValueError, match="latents"):
        from_yaml(unknown)


@BOTH
def test_samples_are_proposals_revised_under_the_average(tmp_path, settings):
    finish(settings, tmp_path)
    run = open_run(tmp_path)
    a, b = (run.model().draw(50, generator(1, "sample")) for _ in range(2))
    assert torch.equal(a.x, b.x)
    torch.testing.assert_close(a.energy, run.model().module(a.x).detach())
    own = generator(1, "sample")
    x = run.method.base.decode(run.method.base.latents(50, own)).detach()
    for _ in range(3):
        x = x.requires_grad_()
        (slope,) = torch.autograd.grad(run.model().module(x).sum(), x)
        x = (x - 0.1 * slope + 0.2**0.5 * torch.randn(x.shape, generator=own)).detach()
    torch.testing.assert_close(a.x, x)


@BOTH
def test_a_bfloat16_run_keeps_positions_and_parameters_in_float32(tmp_path, settings):
    settings = replace(settings, data=Digits(), precision="bf16", updates=4)
    finish(settings, tmp_path)
    run = open_run(tmp_path)
    assert run.model().draw(10, generator(1, "sample")).x.dtype == torch.float32
    floating = [t for t in run.tensors().values() if t.is_floating_point()]
    assert {t.dtype for t in floating} == {torch.float32}
    single = open_run(tmp_path)
    exact = replace(single, settings=replace(settings, precision="fp32"))
    a, b = (r.model().draw(10, generator(1, "sample")).x for r in (run, exact))
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)


@BOTH
def test_a_witness_may_watch(tmp_path, settings):
    settings = replace(
        settings,
        energy=NetworkEnergy(Multilayer((16, 16)), reference_fit=0.5, zero_start=True),
        witness=Witness(64),
    )
    finish(settings, tmp_path)
    rows = run_folder.read_rows(tmp_path / "log.jsonl")
    assert all(abs(row["witness_log_z"]) < 100 for row in rows)
    assert rows[-1]["witness_cross_entropy_half_width"] > 0
    stop = StopRequest()
    for done in execute(settings, tmp_path / "parts", stop):
        stop.asked = done.update == 9
    finish(settings, tmp_path / "parts")
    assert contents(tmp_path) == contents(tmp_path / "parts")
    with pytest.raises(ValueError, match="weighted walkers need a kernel"):
        replace(settings, method=replace(settings.method, kernel=Descent(0.1)))


@BOTH
def test_data_beyond_the_range_are_refused_before_a_folder_is_made(tmp_path, settings):
    table = tmp_path / "wide.csv"
    rows = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    np.savetxt(table, rows.numpy(), "%.6f", ",", header="a,b", comments="")
    settings = replace(settings, data=Table(str(table)), updates=2)
    finish(settings, tmp_path / "unbounded")
    name = "vae" if isinstance(settings.method, Variational) else "generator"
    part = "decoder" if name == "vae" else "network"
    network = replace(
        getattr(settings.method, name), **{part: DenseGenerator((12,), output="tanh")}
    )
    bounded = replace(settings, method=replace(settings.method, **{name: network}))
    with pytest.raises(ValueError, match=r"makes events in \[-1, 1\].*write output='none'"):
        finish(bounded, tmp_path / "a")
    assert not (tmp_path / "a").exists()
