"""Kills and failing disks at every call of the system by which a run writes: it goes on, exactly.

A kill inside of the process is one for all that can be written: after it no call does anything, not
even those that clean up.
"""

import os
import random
import shutil
import warnings

import pytest
from crash_cases import METHODS, contents, finish, leftovers
from fault_layer import ERRORS, KILLS, FaultLayer, KilledError

ENDINGS = {"ENOSPC": "No space left on device", "EIO": "Input/output error"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run of a method leaves that nothing disturbs, and its data."""
    known = {}

    def get(name):
        if name not in known:
            folder = tmp_path_factory.mktemp("undisturbed")
            data = METHODS[name].data.load()
            finish(METHODS[name], folder, data)
            known[name] = contents(folder), data
        return known[name]

    return get


def calls_of(monkeypatch, name, folder, data):
    """The calls of a run that nothing disturbs."""
    with FaultLayer(monkeypatch, folder) as layer:
        finish(METHODS[name], folder, data)
    shutil.rmtree(folder)
    return layer.calls


def disturbed(monkeypatch, name, folder, data, at, kind):
    """Trains until the fault at a call; returns whether it happened, and how the run ended."""
    ending = "finished"
    with FaultLayer(monkeypatch, folder, at, kind) as layer, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a lock that fails is told
        try:
            finish(METHODS[name], folder, data)
        except KilledError:
            ending = "killed"
        except OSError as error:
            ending = error.strerror
    return layer, ending


def require_the_same(monkeypatch, name, folder, undisturbed, at, kind):
    expected, data = undisturbed(name)
    layer, ending = disturbed(monkeypatch, name, folder, data, at, kind)
    assert layer.happened, f"there is no call {at}"
    assert ending == ENDINGS.get(kind, "killed"), (at, kind, layer.calls[-1])
    finish(METHODS[name], folder, data)
    assert contents(folder) == expected, (at, kind, layer.calls[at - 1])
    assert leftovers(folder) == [], (at, kind, layer.calls[at - 1])
    shutil.rmtree(folder)
    return layer.calls[at - 1][0]


def test_the_layer_sees_every_kind_of_call(tmp_path, monkeypatch, undisturbed):
    calls = calls_of(monkeypatch, "replay", tmp_path / "run", undisturbed("replay")[1])
    assert {call for call, _ in calls} >= {"mkdir", "open", "write", "fsync", "replace"}
    assert len(calls) > 40


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch):
    """What a killed process wrote is with the system: no test need wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


STRIDE = pytest.mark.parametrize("stride", [8, pytest.param(1, marks=pytest.mark.slow)])
"""Every so many calls; all of them in the slow target."""


@STRIDE
@pytest.mark.parametrize("name", ["replay", "flow"])
def test_a_run_killed_at_any_call_ends_the_same(tmp_path, monkeypatch, undisturbed, name, stride):
    calls = calls_of(monkeypatch, name, tmp_path / "run", undisturbed(name)[1])
    for at in range(1 + len(name) % stride, len(calls) + 1, stride):
        kind = "kill halfway" if calls[at - 1][0] == "write" else KILLS[at % 2 * 2]
        require_the_same(monkeypatch, name, tmp_path / "run", undisturbed, at, kind)


@STRIDE
@pytest.mark.parametrize("kind", ERRORS)
def test_a_disk_that_fails_stops_a_run_that_goes_on(
    tmp_path, monkeypatch, undisturbed, kind, stride
):
    calls = calls_of(monkeypatch, "replay", tmp_path / "run", undisturbed("replay")[1])
    numbers = [n for n, (call, _) in enumerate(calls, 1) if call in ("open", "write", "fsync")]
    for at in numbers[len(kind) % stride :: stride]:
        require_the_same(monkeypatch, "replay", tmp_path / "run", undisturbed, at, kind)


def test_short_writes_change_nothing(tmp_path, monkeypatch, undisturbed):
    expected, data = undisturbed("replay")
    layer, ending = disturbed(monkeypatch, "replay", tmp_path, data, 1, "short")
    assert ending == "finished"
    assert sum(call == "write" for call, _ in layer.calls) > 60
    assert contents(tmp_path) == expected


@pytest.mark.slow
def test_three_hundred_kills(tmp_path, monkeypatch, undisturbed):
    """Over all methods; 100 of them inside of a write, several in the life of a run."""
    chance, kills, inside = random.Random(0), 0, 0
    calls = {}
    for name in METHODS:
        made = calls_of(monkeypatch, name, tmp_path / "run", undisturbed(name)[1])
        calls[name] = [call for call, _ in made]
    names = list(METHODS)
    while kills < 300 or inside < 100:
        name = names[kills % len(names)]
        expected, data = undisturbed(name)
        for _ in range(chance.randint(1, 4)):
            kind = chance.choice(KILLS)
            wanted = "write" if kind == "kill halfway" else chance.choice(calls[name])
            at = chance.choice([n for n, call in enumerate(calls[name], 1) if call == wanted])
            layer, ending = disturbed(monkeypatch, name, tmp_path / "run", data, at, kind)
            kills += ending == "killed"
            inside += layer.happened and kind == "kill halfway" and layer.calls[-1][0] == "write"
        finish(METHODS[name], tmp_path / "run", data)
        assert contents(tmp_path / "run") == expected, name
        assert leftovers(tmp_path / "run") == []
        shutil.rmtree(tmp_path / "run")
    print(f"{kills} kills, {inside} of them inside of a write: all ends are bit-identical")
