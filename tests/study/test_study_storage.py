"""Claims: one owner at a time, dead ones replaced, sleeping ones warned."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from study_cases import tiny

from boltzwalk.study import results, storage
from boltzwalk.study.storage import acquire_claim, claim_status, exhausted, heartbeat


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def owned_by(path, process, machine=None):
    owner = {"machine": machine or storage._machine(), "process": process}
    path.write_text(json.dumps(owner))


def test_only_one_can_claim(tmp_path):
    claim = acquire_claim(tmp_path, "a")
    assert claim is not None
    assert claim.number == 1
    assert acquire_claim(tmp_path, "a") is None
    assert acquire_claim(tmp_path, "b") is not None
    claim.release()
    assert acquire_claim(tmp_path, "a") is not None
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_of_two_that_saw_nobody_the_first_has_it(tmp_path, monkeypatch):
    """Both looked before either had written: only one file can be created."""
    monkeypatch.setattr(storage, "claim_status", lambda folder, name: (0, False))
    assert acquire_claim(tmp_path, "a") is not None
    assert acquire_claim(tmp_path, "a") is None


def test_the_work_of_a_dead_process_is_taken_over_at_once(tmp_path):
    owned_by(tmp_path / "a.1", dead_process())
    claim = acquire_claim(tmp_path, "a")
    assert claim is not None
    assert claim.number == 2


def test_the_work_of_another_machine_is_taken_over_when_it_is_not_touched(tmp_path):
    owned_by(tmp_path / "a.1", 1, "elsewhere")
    assert acquire_claim(tmp_path, "a") is None
    old = time.time() - storage.TIMEOUT - 1
    os.utime(tmp_path / "a.1", (old, old))
    assert acquire_claim(tmp_path, "a").number == 2


def test_an_owner_that_slept_learns_that_it_has_lost(tmp_path):
    claim = acquire_claim(tmp_path, "a")
    assert not claim.lost
    owned_by(tmp_path / "a.2", os.getpid())
    assert claim.lost


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


@pytest.mark.slow
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


def test_results_of_an_earlier_version_are_read(tmp_path):
    """`beside`, `same` and the level "as it is" were the names before."""
    result = results.TrialResult(
        "ab12", "finished", "", 4, 4, 40, 40, 1.5, 0.25, (results.Rung(1.0, 4, 40, 2.0),),
        {"travel": 6.0}, "here 1", "grid", (("steps", "5"), ("noise", "baseline")), "c0ffee",
    )  # fmt: skip
    results.write_result(tmp_path / "new", result)
    tree = json.loads((tmp_path / "new" / "ab12.json").read_text())
    assert {"overhead_seconds", "history_digest"} <= tree.keys()
    old = {"overhead_seconds": "beside", "history_digest": "same"}
    del tree["checksum"]  # which no earlier version wrote
    tree = {old.get(key, key): value for key, value in tree.items()}
    tree["levels"][1][1] = "as it is"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "ab12.json").write_text(json.dumps(tree))
    assert results.read_results(tmp_path / "old") == {"ab12": result}


def test_an_analysis_does_not_make_another_study(tmp_path):
    study = tiny()
    storage.prepare_folder(tmp_path, study)
    record = storage.AnalysisRecord("/there/analysis.py", "0" * 64)
    storage.prepare_folder(tmp_path, replace(study, analysis="analysis.py", about="mine"), record)
    assert storage.open_study(tmp_path) == study
    assert storage.read_analysis_record(tmp_path) == record
    (tmp_path / "analysis.json").write_text("{}")
    with pytest.raises(ValueError, match=r"must hold the path and the sha256"):
        storage.read_analysis_record(tmp_path)
