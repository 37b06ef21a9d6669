"""The overhead of a trial of a study: its folder, log, checkpoints, verdicts and quality.

    python benchmarks/study.py

The same trials of `thesis_digits`, with a tenth of their energy gradients, as plain updates and as
trials, alternately, in processor time of one thread. The line on importing is the start-up of a
worker.
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

from boltzwalk.settings.settings import resolve_auto
from boltzwalk.study.measures import judge_for
from boltzwalk.study.plan import Trial, gradients_per_update, planned_trials
from boltzwalk.study.spec_file import study_from_yaml
from boltzwalk.study.trial import TrialContext, run_trial
from boltzwalk.training.execute import updates
from boltzwalk.training.run import start
from boltzwalk.training.signals import StopRequest

STUDY = Path(__file__).parents[1] / "studies/thesis/thesis_digits.yaml"
ROUNDS, SHARE = 3, 10


def plain(trial: Trial, context: TrialContext) -> float:
    """The processor time of the updates alone."""
    run = start(resolve_auto(trial.settings), context.dataset)
    began = time.process_time()
    for _ in updates(run):
        pass
    return time.process_time() - began


def as_trial(trial: Trial, context: TrialContext) -> tuple[float, str]:
    """The processor time of the trial, and its label."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        result = run_trial(trial, Path(folder) / trial.name, context, None, StopRequest())
        assert result is not None
        return time.process_time() - began, result.label


def importing() -> float:
    """The time that a process needs before its first trial."""
    began = time.perf_counter()
    words = "import boltzwalk.study.workers, boltzwalk.evaluation.features"
    subprocess.run([sys.executable, "-c", words], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Prints the overhead for few and for many steps."""
    torch.set_num_threads(1)
    changes = [f"budget={1_000_000 // SHARE}", "seeds=[0]"]
    study = study_from_yaml(STUDY.read_text(), changes, STUDY)
    data = planned_trials(study)[0].settings.data
    dataset = data.load()
    judge = judge_for(dataset, study.quality, study.samples, data)
    context = TrialContext(judge, dataset, study.rungs)
    print(describe(ROUNDS))
    print(f"importing, once a worker    {importing():.1f} s")
    for steps in (5, 25, 50):
        trial = next(
            t
            for t in planned_trials(study)
            if t.block == "grid"
            and t.settings.method.steps == steps
            and t.settings.method.data_noise == 0.15
            and t.settings.optimizer.learning_rate == 1e-4
        )
        pairs = []
        for i in range(ROUNDS + 1):
            alone = plain(trial, context)
            full, label = as_trial(trial, context)
            assert label == "finished", label
            if i:  # the first round warms up
                pairs.append((alone, full))
        alone, full = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        overhead = (full - alone) / SHARE  # it does not grow with the budget
        spent = trial.settings.updates * gradients_per_update(trial.settings)
        print(
            f"K = {steps:<3} {spent:>9,} gradients  {alone:6.2f} s alone  {full:6.2f} s as trial  "
            f"{full / alone - 1:.1%} overhead; at the full budget about {SHARE * alone:.0f} s and "
            f"{overhead / alone:.1%}"
        )


if __name__ == "__main__":
    main()
