"""What is saved comes back bit for bit, and nothing in a file is ever executed."""

import os
import pickle
from typing import NamedTuple

import pytest
import torch

from boltzwalk.checkpoint import (
    flatten,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
    unflatten,
    write_atomically,
)
from boltzwalk.methods.replay import Replay
from boltzwalk.walkers import Walkers


class Pair(NamedTuple):
    a: torch.Tensor
    b: Replay


def test_tensors_and_text_come_back(tmp_path, rng):
    tensors = {
        "a": torch.randn(3, 4, generator=rng).T,  # not contiguous
        "b": torch.arange(5),
        "c": torch.zeros(()),
        "d": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    save_checkpoint(tmp_path / "x.safetensors", tensors, {"update": "7"})
    found, text = load_checkpoint(tmp_path / "x.safetensors")
    assert text == {"update": "7"}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_not_saved(tmp_path, bad):
    with pytest.raises(FloatingPointError, match=r"energy\.w is not finite"):
        save_checkpoint(tmp_path / "x", {"energy.w": torch.tensor([0.0, bad])}, {})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, {"a": torch.randn(100)}, {"update": "7"})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        load_checkpoint(path)


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    mark = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {mark}",)

    path = tmp_path / "x.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        load_checkpoint(path)
    assert not mark.exists()


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path], "no partial file may be left"


def test_nested_values_come_back(rng):
    walkers = Walkers(*(torch.randn(s, generator=rng) for s in ((4, 2), (4,), (4, 2), (4,))))
    value = (Pair(torch.ones(2), Replay(torch.zeros(3, 1))), walkers, None)
    tensors = flatten(value, "state")
    assert "state.0.1.x" in tensors or "state.0.b.x" in tensors
    back = unflatten(value, tensors, "state")
    for (name, a), b in zip(tensors.items(), flatten(back, "state").values(), strict=True):
        assert torch.equal(a, b), name
    assert back[2] is None


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"state\.x must have shape \(3, 2\), got \(4, 2\)"):
        unflatten(Replay(torch.zeros(3, 2)), {"state.x": torch.zeros(4, 2)}, "state")
    with pytest.raises(ValueError, match=r"state\.x must have shape \(3, 2\), got none"):
        unflatten(Replay(torch.zeros(3, 2)), {}, "state")


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, 1e-2),
        lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9),
        lambda p: torch.optim.SGD(p, 1e-2),
    ],
)
def test_an_optimizer_goes_on_exactly(make):
    def run(model, optimizer, updates):
        for _ in range(updates):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    a, b = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    first = make(a.parameters())
    run(a, first, 3)
    b.load_state_dict(a.state_dict())
    second = make(b.parameters())
    load_optimizer(second, optimizer_tensors(first, "o"), "o")
    run(a, first, 3)
    run(b, second, 3)
    assert torch.equal(a.weight, b.weight)
