"""What tells runs apart, how walkers of a run are moved and taken, and what a failure leaves."""

from dataclasses import replace

import pytest
import torch

from boltzwalk.data import Modes, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.learnt_mixture import LearntMixture, MixtureEnergy
from boltzwalk.kernels import MALA, ULA, run_chain
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.methods.starts import NoiseStart, ReplayStart
from boltzwalk.networks import Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training import execute as executing
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import FAILURE, checkpoints, read_rows, read_trace
from boltzwalk.training.run import content, open_run, start
from boltzwalk.walkers import walkers_at

SMALL = resolve_auto(
    Settings(
        data=Toy("eight_gaussians", n=300),
        energy=NetworkEnergy(Multilayer((8,))),
        method=Contrastive(ReplayStart(size=50), ULA(0.05), steps=3),
        updates=10,
        batch=16,
        average=0.9,
        device="cpu",
        threads=1,
        output=Output(log_every=4, save_every=5, picture_every=0),
    )
)
WEIGHTED = replace(
    SMALL,
    data=Modes(2, (0.0,), (1.0,), rows=100),
    energy=MixtureEnergy(),
    method=Jarzynski(ExactStart(60), ULA(0.05), steps=3),
    average=0.0,
)


# Content.


def test_the_content_is_a_function_of_the_run():
    assert content(start(SMALL)) == content(start(SMALL))
    assert len(content(start(SMALL))) == 64


@pytest.mark.parametrize(
    "output", [Output(log_every=1), Output(save_every=7), Output(picture_every=3), Output(keep=9)]
)
def test_how_often_a_run_writes_is_not_its_content(output):
    assert content(start(replace(SMALL, output=output))) == content(start(SMALL))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"updates": 11},
        {"batch": 17},
        {"clip_gradient": 1.0},
        {"method": replace(SMALL.method, steps=4)},
        {"method": replace(SMALL.method, kernel=ULA(0.06))},
        {"method": replace(SMALL.method, start=ReplayStart(size=51))},
        {"average": 0.8},
        {"data": replace(SMALL.data, seed=1)},
        {"energy": NetworkEnergy(Multilayer((9,)))},
    ],
)
def test_other_settings_are_another_content(change):
    assert content(start(replace(SMALL, **change))) != content(start(SMALL))


def test_every_tensor_counts_and_so_does_its_smallest_change():
    run = start(SMALL)
    before = content(run)
    assert {name.split(".")[0] for name in run.tensors()} >= {"energy", "average", "state"}
    for name, tensor in run.tensors().items():
        flat = tensor.detach().view(-1)
        kept = flat[:1].clone()
        with torch.no_grad():
            if tensor.is_floating_point():
                flat[:1] = torch.nextafter(kept, kept + 1)
            else:
                flat[:1] += 1
        assert content(run) != before, name
        with torch.no_grad():
            flat[:1] = kept
        assert content(run) == before, name


def test_the_update_and_the_data_count():
    run = start(SMALL)
    assert content(replace(run, update=1)) != content(run)
    other = replace(run.dataset, identity="another")
    assert content(replace(run, dataset=other)) != content(run)


def test_a_run_that_is_opened_has_the_content_that_was_saved(tmp_path):
    for _ in execute(SMALL, tmp_path / "a"):
        pass
    run = open_run(tmp_path / "a")
    assert content(run) == content(open_run(tmp_path / "a"))
    assert content(run) == content(open_run(checkpoints(tmp_path / "a")[0]))
    assert content(run) != content(open_run(checkpoints(tmp_path / "a")[1]))


# Walkers.


def test_as_many_samples_are_available_as_walkers_are_kept():
    kept = start(SMALL)
    assert [kept.model().available(n) for n in (1, 50, 51, 9999)] == [1, 50, 50, 50]
    assert [start(WEIGHTED).model().available(n) for n in (60, 61)] == [60, 60]
    noise = start(replace(SMALL, method=replace(SMALL.method, start=NoiseStart())))
    assert noise.model().available(9999) == 9999


@pytest.mark.parametrize("kernel", [ULA(0.05), MALA(0.05)])
def test_walkers_are_moved_by_the_kernel_of_the_run_under_its_model(kernel):
    run = start(replace(SMALL, method=replace(SMALL.method, kernel=kernel)))
    with torch.no_grad():
        for parameter in run.average.module.parameters():
            parameter += 0.1  # the average is not the energy
    walkers = walkers_at(run.model().module, run.state.x[:20])
    moved = run.model().move(walkers, 7, generator(0, "test"))
    expected, _ = run_chain(kernel, run.average.module, walkers, 7, generator(0, "test"))
    assert torch.equal(moved.x, expected.x)
    assert torch.equal(moved.energy, expected.energy)
    assert not torch.equal(moved.x, walkers.x)
    torch.testing.assert_close(moved.energy, run.model().module(moved.x).detach())


def test_walkers_without_weights_are_no_population():
    assert start(SMALL).model().weighted_walkers() is None


def test_weighted_walkers_are_weighted_for_the_model_as_it_is_now():
    """Started as exact samples: the weights are those of importance sampling, mean Z' / Z."""
    run = start(replace(WEIGHTED, method=replace(WEIGHTED.method, start=ExactStart(4000))))
    before = run.model().weighted_walkers()
    assert torch.equal(before.x, run.state.walkers.x)
    assert float(before.log_w.exp().mean().log()) == pytest.approx(run.energy.log_z, rel=1e-5)
    assert isinstance(run.energy, LearntMixture)
    with torch.no_grad():
        run.energy.means += 0.1
        run.energy.zeta += 0.2
    after = run.model().weighted_walkers()
    assert torch.equal(after.x, before.x)
    # A mean over 4000 walkers, whose weights scatter by a fifth.
    assert float(after.log_w.exp().mean().log()) == pytest.approx(run.energy.log_z, abs=0.05)


# Failures, without the guard, which would go back and try again.

UNGUARDED = replace(SMALL, guard="off")


def broken(monkeypatch, at):
    """Makes an update go wrong, as a loss that is not finite does."""
    honest = executing.updates

    def fails(run, guard):
        for done in honest(run, guard):
            if done.update == at:
                raise FloatingPointError(f"update {at}: loss nan")
            yield done

    monkeypatch.setattr(executing, "updates", fails)


def lines(folder):
    return [(row["update"], len(row["energy_gap"])) for row in read_rows(folder / "trace.jsonl")]


@pytest.mark.parametrize(("at", "traced"), [(8, [(4, 4), (5, 1), (7, 2)]), (2, [(1, 1)]), (1, [])])
def test_a_failure_leaves_its_reason_and_the_trace_up_to_it(tmp_path, monkeypatch, at, traced):
    folder = tmp_path / "a"
    with monkeypatch.context() as patch:
        broken(patch, at)
        with pytest.raises(FloatingPointError, match=f"update {at}: loss nan. (The last|Nothing)"):
            list(execute(UNGUARDED, folder))
    assert (folder / FAILURE).read_text() == f"update {at}: loss nan\n"
    assert lines(folder) == traced
    assert len(read_trace(folder).energy_gap) == at - 1
    assert len(checkpoints(folder)) == (1 if at > 5 else 0)

    # It goes on as if nothing had been, and the reason is gone.
    list(execute(UNGUARDED, folder))
    list(execute(UNGUARDED, tmp_path / "whole"))
    assert not (folder / FAILURE).exists()
    logs = [(place / "log.jsonl").read_bytes() for place in (folder, tmp_path / "whole")]
    assert logs[0] == logs[1]
    assert (
        read_trace(folder).energy_gap.tolist() == read_trace(tmp_path / "whole").energy_gap.tolist()
    )
    assert content(open_run(folder)) == content(open_run(tmp_path / "whole"))


def test_a_run_that_fails_again_says_so_again(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    for at in (8, 9):
        with monkeypatch.context() as patch:
            broken(patch, at)
            with pytest.raises(FloatingPointError, match="last good checkpoint"):
                list(execute(UNGUARDED, folder))
        assert (folder / FAILURE).read_text() == f"update {at}: loss nan\n"
        assert len(read_trace(folder).gradient_mean) == at - 1
    list(execute(UNGUARDED, folder))
    assert len(read_trace(folder).gradient_mean) == 10


def test_a_real_loss_that_is_not_finite_is_a_failure(tmp_path):
    """A step that is far too large lets the walkers run away."""
    method = Contrastive(NoiseStart(), ULA(1e18), steps=50)
    with pytest.raises(FloatingPointError, match="Nothing was saved before"):
        list(
            execute(
                replace(
                    UNGUARDED,
                    method=method,
                    energy=NetworkEnergy(Multilayer((8,)), reference_scale=1.0),
                ),
                tmp_path / "a",
            )
        )
    assert (tmp_path / "a" / FAILURE).read_text().startswith("update 1: loss")
    assert read_rows(tmp_path / "a" / "log.jsonl") == []
    assert len(read_trace(tmp_path / "a").energy_gap) == 0
