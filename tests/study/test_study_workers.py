"""Real processes on one folder: no trial twice, none lost, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from study_cases import TINY, content, run, tiny

from boltzwalk.study.plan import planned_trials
from boltzwalk.study.results import read_results
from boltzwalk.study.storage import MAX_ATTEMPTS, _machine, prepare_folder, results_folder
from boltzwalk.study.workers import WorkerJob, run_study, run_worker
from boltzwalk.training.signals import StopRequest

PROGRAM = """
import sys
from pathlib import Path
from boltzwalk.study.workers import WorkerJob, run_worker
from boltzwalk.training.signals import StopRequest
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
run_worker(WorkerJob(folder), StopRequest(), lambda result: print(result.name, flush=True))
"""

SLOW = TINY.replace("updates=40", "updates=300")


def worker(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
def test_two_workers_never_run_a_trial_twice_and_never_lose_one(tmp_path):
    study = tiny()
    prepare_folder(tmp_path / "two", study)
    both = [worker(tmp_path / "two") for _ in range(2)]
    for process in both:
        go(process)
    done = [process.communicate(timeout=300)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    counts = Counter(done[0] + done[1])
    assert counts == Counter(trial.name for trial in planned_trials(study))  # each exactly once
    run(study, tmp_path / "one")
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert list((tmp_path / "two" / "claims").iterdir()) == []


@pytest.mark.slow
def test_the_trial_of_a_killed_worker_is_taken_up_from_its_checkpoint(tmp_path):
    study = tiny(SLOW, "seeds=[0]")
    prepare_folder(tmp_path / "s", study)
    first = worker(tmp_path / "s")
    go(first)
    while not list((tmp_path / "s" / "trials").glob("*/checkpoints/update_*")):
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    begun = {path.parent.name for path in (tmp_path / "s").glob("trials/*/settings.yaml")}
    over = set(read_results(results_folder(tmp_path / "s")))
    assert len(begun - over) == 1, "it was killed in the middle of a trial"
    (left,) = begun - over
    checkpoint = max((tmp_path / "s" / "trials" / left).glob("checkpoints/*.safetensors")).stem
    second = worker(tmp_path / "s")
    go(second)
    taken = second.communicate(timeout=300)[0].split()
    assert left in taken
    environment = (tmp_path / "s" / "trials" / left / "cost.jsonl").read_text()
    updates = [json.loads(line)["update"] for line in environment.splitlines()]
    assert updates == sorted(set(updates)), "rows after the checkpoint were written once"
    assert int(checkpoint.split("_")[1]) >= 75
    run(study, tmp_path / "full")
    assert content(tmp_path / "s") == content(tmp_path / "full")


@pytest.mark.slow
def test_a_study_survives_the_killing_of_its_workers(tmp_path):
    """`--workers 2`, one of them killed: another takes over, and nothing is missing."""
    study = tiny(SLOW, "seeds=[0]")
    program = (
        "import sys; from pathlib import Path\n"
        "from boltzwalk.study.storage import open_study\n"
        "from boltzwalk.study.workers import run_study\n"
        "from boltzwalk.study.workers import WorkerJob\n"
        "from boltzwalk.training.signals import StopRequest\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    run_study(open_study(folder), WorkerJob(folder), 2, StopRequest())\n"
    )
    (tmp_path / "program.py").write_text(program)
    folder = tmp_path / "s"
    prepare_folder(folder, study)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(folder)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    victim = None
    while victim is None:
        assert process.poll() is None, process.communicate()
        for path in folder.glob("claims/*.1"):
            victim = json.loads(path.read_text())["process"]
        time.sleep(0.05)
    os.kill(victim, signal.SIGKILL)
    messages = process.communicate(timeout=300)[1]
    assert process.returncode == 0, messages
    assert "a worker was killed (SIGKILL); another takes over" in messages
    planned = {trial.name for trial in planned_trials(study)}
    assert set(read_results(results_folder(folder))) == planned
    run(study, tmp_path / "full")
    assert content(folder) == content(tmp_path / "full")


def test_a_trial_that_kills_every_process_is_given_up_and_the_study_goes_on(tmp_path):
    study = tiny(TINY, "seeds=[0]")
    prepare_folder(tmp_path, study)
    trial = planned_trials(study)[0]
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (tmp_path / "claims").mkdir(exist_ok=True)
    for number in range(1, MAX_ATTEMPTS + 1):
        owner = {"machine": _machine(), "process": process.pid}
        (tmp_path / "claims" / f"{trial.name}.{number}").write_text(json.dumps(owner))
    run_worker(WorkerJob(tmp_path, deadline=time.time() + 60), StopRequest())
    results = read_results(results_folder(tmp_path))
    assert len(results) == 4
    assert results[trial.name].label == "crashed"
    assert f"killed {MAX_ATTEMPTS} times" in results[trial.name].reason
    assert sum(r.label == "finished" for r in results.values()) == 3


@pytest.mark.slow
def test_a_worker_that_goes_wrong_ends_the_study(tmp_path):
    study = tiny(TINY, "seeds=[0]")
    prepare_folder(tmp_path / "s", study)
    (tmp_path / "s" / "results").write_text("no folder")
    with pytest.raises((RuntimeError, OSError)):
        run_study(study, WorkerJob(tmp_path / "s"), 2, StopRequest(), quiet=True)
