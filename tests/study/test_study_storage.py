"""Claims: one owner at a time, dead ones replaced, sleeping ones told."""

import json
import os
import subprocess
import sys
import time

import pytest

from boltzwalk.study import storage
from boltzwalk.study.storage import acquire_claim, claim_status, exhausted, heartbeat


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def owned_by(path, process, machine=None):
    owner = {"machine": machine or storage._machine(), "process": process}
    path.write_text(json.dumps(owner))


def test_only_one_can_claim(tmp_path):
    held = acquire_claim(tmp_path, "a")
    assert held is not None
    assert held.number == 1
    assert acquire_claim(tmp_path, "a") is None
    assert acquire_claim(tmp_path, "b") is not None
    held.release()
    assert acquire_claim(tmp_path, "a") is not None
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_of_two_that_saw_nobody_the_first_has_it(tmp_path, monkeypatch):
    """Both looked before either had written: only one file can be created."""
    monkeypatch.setattr(storage, "claim_status", lambda folder, name: (0, False))
    assert acquire_claim(tmp_path, "a") is not None
    assert acquire_claim(tmp_path, "a") is None


def test_the_work_of_a_dead_process_is_taken_over_at_once(tmp_path):
    owned_by(tmp_path / "a.1", dead_process())
    held = acquire_claim(tmp_path, "a")
    assert held is not None
    assert held.number == 2


def test_the_work_of_another_machine_is_taken_over_when_it_is_not_touched(tmp_path):
    owned_by(tmp_path / "a.1", 1, "elsewhere")
    assert acquire_claim(tmp_path, "a") is None
    old = time.time() - storage.TIMEOUT - 1
    os.utime(tmp_path / "a.1", (old, old))
    assert acquire_claim(tmp_path, "a").number == 2


def test_an_owner_that_slept_learns_that_it_has_lost(tmp_path):
    held = acquire_claim(tmp_path, "a")
    assert not held.lost
    owned_by(tmp_path / "a.2", os.getpid())
    assert held.lost


def test_work_that_kills_its_process_is_given_up(tmp_path):
    for number in range(1, storage.MAX_ATTEMPTS + 1):
        owned_by(tmp_path / f"a.{number}", dead_process())
        assert exhausted(tmp_path, "a") == (number == storage.MAX_ATTEMPTS)
    assert acquire_claim(tmp_path, "a") is None
    assert claim_status(tmp_path, "a") == (storage.MAX_ATTEMPTS, False)


@pytest.mark.timeout(60)
def test_a_claim_with_a_heartbeat_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "HEARTBEAT", 0.02)
    held = acquire_claim(tmp_path, "a")
    os.utime(held.path, (1, 1))
    with heartbeat(held):
        while held.path.stat().st_mtime < 100:  # for ever, were it not touched
            time.sleep(0.01)


@pytest.mark.parametrize("processes", [6])
def test_of_many_processes_one_gets_each_piece_of_work(tmp_path, processes):
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from boltzwalk.study.storage import acquire_claim\n"
        "folder = Path(sys.argv[1])\n"
        "while not (folder / 'go').exists(): time.sleep(0.001)\n"
        "print(' '.join(str(i) for i in range(40) if acquire_claim(folder / 'claims', str(i))))\n"
        "sys.stdin.read()"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(words, **pipes) for _ in range(processes)]
    (tmp_path / "go").touch()
    # All live until all have claimed: the work of a dead one would rightly be taken over.
    taken = [process.stdout.readline().split() for process in running]
    for process in running:
        process.communicate(timeout=60)
    assert sorted(int(i) for part in taken for i in part) == list(range(40))
