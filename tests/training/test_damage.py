"""Damaged, swapped and edited files of a run: it falls back and says so, or refuses."""

import shutil
import warnings
from dataclasses import replace

import pytest
import torch
from crash_cases import METHODS, TINY, contents, finish

from boltzwalk.checkpoint import load_checkpoint, save_checkpoint
from boltzwalk.settings.optimizers import Adam
from boltzwalk.training import changes
from boltzwalk.training import folder as run_folder
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import checkpoint_path, checkpoints, read_settings
from boltzwalk.training.run import open_model, open_run
from boltzwalk.training.signals import StopRequest

KEPT = replace(TINY, output=replace(TINY.output, keep=2))


def trained(folder, settings=KEPT):
    finish(settings, folder)
    return folder


@pytest.fixture
def run(tmp_path):
    return trained(tmp_path / "run")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def test_a_flipped_bit_of_a_checkpoint_falls_back(run):
    flip(checkpoints(run)[0], -5)
    with pytest.warns(UserWarning, match=r"00000004.* is damaged, went back to .*00000002"):
        assert open_run(run).update == 2


def test_a_checkpoint_under_the_name_of_another_update_is_refused(run):
    shutil.copy(checkpoint_path(run, 2), checkpoint_path(run, 4))
    with pytest.warns(UserWarning, match="must be of the update that it is named after, got 2"):
        assert open_run(run).update == 2


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"optimizer": Adam(2e-3)}, {"method": replace(KEPT.method, steps=3)}],
    ids=["seed", "rate", "steps"],
)
def test_a_checkpoint_of_another_run_is_refused(run, tmp_path, other):
    stranger = trained(tmp_path / "other", replace(KEPT, **other))
    shutil.copy(checkpoint_path(stranger, 4), checkpoint_path(run, 4))
    with pytest.warns(UserWarning, match="was written by a run with other settings"):
        assert open_run(run).update == 2


def test_settings_of_another_run_are_refused(run, tmp_path):
    stranger = trained(tmp_path / "other", replace(KEPT, optimizer=Adam(2e-3)))
    shutil.copy(stranger / "settings.yaml", run / "settings.yaml")
    with pytest.raises(ValueError, match=r"other settings \(optimizer.learning_rate"):
        open_run(run)


def test_settings_that_a_resumed_run_changed_are_its_own(run):
    changed = replace(KEPT, optimizer=Adam(2e-3), updates=6)
    updates = execute(changed, run, changed=True)
    next(updates)  # and then the process ends, without a checkpoint of the new settings
    updates.close()
    assert open_run(run).update == 4
    assert finish(changed, run) == [5, 6]


def test_edited_settings_are_those_of_the_checkpoint(run):
    path = run / "settings.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.001", "learning_rate: 0.003"))
    with pytest.warns(UserWarning, match="was edited or is damaged"):
        assert read_settings(run) == KEPT


def test_a_log_of_another_run_is_told(run, tmp_path):
    stranger = trained(tmp_path / "other", replace(KEPT, seed=1))
    shutil.copy(stranger / "log.jsonl", run / "log.jsonl")
    with pytest.warns(UserWarning, match=r"log.jsonl is not as it was when update_00000004"):
        open_model(run)


def test_rows_that_are_lost_are_told_where_they_choose_the_checkpoint(tmp_path):
    run = trained(tmp_path, replace(METHODS["flow"], updates=6))
    lines = (run / "log.jsonl").read_bytes().splitlines(keepends=True)
    (run / "log.jsonl").write_bytes(b"".join(lines[:-1]))
    with pytest.warns(UserWarning, match=r"log.jsonl is not as it was"):
        open_model(run)


def test_damaged_rows_are_dropped_when_a_run_goes_on(tmp_path):
    stop = StopRequest()
    for done in execute(KEPT, tmp_path, stop):
        stop.asked = done.update == 2
    expected = (tmp_path / "log.jsonl").read_bytes()
    flip(tmp_path / "log.jsonl", 20)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        finish(KEPT, tmp_path)
    messages = [str(one.message) for one in told]
    assert any("log.jsonl, line 1 of 1: damaged, and left out" in text for text in messages)
    assert any("log.jsonl is not as it was when update_" in text for text in messages)
    rows = run_folder.read_rows(tmp_path / "log.jsonl")
    assert [row["update"] for row in rows] == [4]
    assert expected not in (tmp_path / "log.jsonl").read_bytes()


def test_a_tensor_of_another_type_is_refused(run):
    """As the type of an older version, whose files have no checksum, may be damaged."""
    path = checkpoint_path(run, 4)
    tensors, text = load_checkpoint(path)
    name = next(name for name in tensors if name.startswith("energy."))
    save_checkpoint(path, tensors | {name: tensors[name].to(torch.bfloat16)}, text)
    with pytest.warns(UserWarning, match=r"must hold .* in torch.float32, got another type"):
        assert open_run(run).update == 2


@pytest.mark.parametrize("changed", [False, True], ids=["train", "resume"])
def test_a_finished_run_is_not_changed(run, changed):
    def state():
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes())
            for path in run.rglob("*")
            if path.is_file()
        }

    before = state()
    assert finish(KEPT, run, changed=changed) == []
    assert state() == before


def test_a_refused_change_leaves_a_run_as_it_is(run):
    before = contents(run)
    with pytest.raises(ValueError, match="nothing to train"):
        finish(replace(KEPT, optimizer=Adam(1.0)), run, changed=True)
    assert contents(run) == before
    assert not (run / "changes.jsonl").exists()
    assert changes.other_settings(run, KEPT) == []


class BrokenWriter:
    """A writer of events on a disk that is full."""

    def __init__(self, *_, **__):
        pass

    def add_scalar(self, *_):
        raise OSError(28, "No space left on device")

    def close(self):
        raise OSError(28, "No space left on device")


def test_events_that_fail_cost_no_run(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    settings = replace(TINY, output=replace(TINY.output, events=True))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.yaml").touch()
    (tmp_path / "run" / "tensorboard").write_text("a file in the way")
    with pytest.warns(UserWarning, match="no more events for TensorBoard"):
        assert finish(settings, tmp_path / "run") == [1, 2, 3, 4]
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", BrokenWriter)
    with pytest.warns(UserWarning, match="no more events for TensorBoard .*No space left"):
        assert finish(settings, tmp_path / "other") == [1, 2, 3, 4]
