"""What a trial of a study costs beside its training, and how many there are in a minute.

    python benchmarks/study.py

The same trials of `thesis_digits`, with a tenth of their energy gradients, once as plain updates
and once as trials: with their folder, log, checkpoints, verdicts, and quality at four rungs. In
processor time of one thread, in turns; the second line of each is what starting a process for
every trial would add.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import describe

from boltzwalk.settings.settings import resolve
from boltzwalk.study.measures import judge_for
from boltzwalk.study.plan import Trial, gradients, planned
from boltzwalk.study.shipped import thesis_digits
from boltzwalk.study.spec import changed
from boltzwalk.study.trial import Work, run_trial
from boltzwalk.train.execute import updates
from boltzwalk.train.process import StopRequest
from boltzwalk.train.run import start

ROUNDS, SHARE = 3, 10


def plain(trial: Trial, work: Work) -> float:
    """The processor time of the updates alone."""
    run = start(resolve(trial.settings), work.dataset)
    began = time.process_time()
    for _ in updates(run):
        pass
    return time.process_time() - began


def whole(trial: Trial, work: Work) -> tuple[float, str]:
    """The processor time of the trial."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        found = run_trial(trial, Path(folder) / trial.name, work, None, StopRequest())
        assert found is not None
        return time.process_time() - began, found.label


def importing() -> float:
    """The time that a process needs before its first trial."""
    began = time.perf_counter()
    words = "import boltzwalk.study.worker, boltzwalk.evaluation.features"
    subprocess.run([sys.executable, "-c", words], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Prints the share beside training for few and for many steps."""
    torch.set_num_threads(1)
    study = thesis_digits()
    study = changed(study, [f"budget={study.budget // SHARE}", "seeds=[0]"])
    data = study and planned(study)[0].settings.data
    dataset = data.load()
    work = Work(judge_for(dataset, study.quality, study.samples, data), dataset, study.rungs)
    print(describe(ROUNDS))
    print(f"importing, once a worker    {importing():.1f} s")
    for steps in (5, 25, 50):
        trial = next(
            t
            for t in planned(study)
            if t.block == "grid"
            and t.settings.method.steps == steps
            and t.settings.method.data_noise == 0.15
            and t.settings.optimizer.learning_rate == 1e-4
        )
        parts = []
        for turn in range(ROUNDS + 1):
            alone = plain(trial, work)
            together, label = whole(trial, work)
            assert label == "finished", label
            if turn:  # the first one warms up
                parts.append((alone, together))
        alone, together = (statistics.median(part[i] for part in parts) for i in (0, 1))
        beside = (together - alone) / SHARE  # what is beside does not grow with the budget
        full = SHARE * alone
        spent = trial.settings.updates * gradients(trial.settings)
        print(
            f"K = {steps:<3} {spent:>9,} gradients  {alone:6.2f} s alone  {together:6.2f} s as a "
            f"trial  {together / alone - 1:.1%} beside; a whole trial about {full:.0f} s and "
            f"{SHARE * beside / full:.1%}"
        )


if __name__ == "__main__":
    main()
