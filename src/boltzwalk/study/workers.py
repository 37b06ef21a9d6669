"""Workers: one process each, started, watched, and replaced where one is killed.

A worker runs one trial after the other until all have ended, next to any number of other workers.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from ..data import Dataset
from ..settings.settings import resolve_auto
from ..training.process import keep_freed_memory
from ..training.signals import StopRequest
from .measures import Judge, judge_for
from .plan import (
    Trial,
    baseline_trials,
    gradients_per_update,
    planned_trials,
    sample_levels,
    trials_of,
)
from .propose import all_trials, propose_point, proposed_trials, tell
from .results import TrialResult, finished_names, read_results, write_result
from .spec import Study
from .storage import (
    AnalysisRecord,
    acquire_claim,
    claim_status,
    claims_folder,
    exhausted,
    heartbeat,
    open_study,
    prepare_folder,
    results_folder,
    trial_folder,
)
from .trial import TrialContext, run_trial
from .unused import require_used

__all__ = [
    "WorkerJob",
    "check_study",
    "count_labels",
    "count_trials",
    "run_study",
    "run_worker",
]

PROGRESS_INTERVAL = 10.0
"""Seconds between two lines of progress."""

REPLACEMENTS = 5
"""Workers that are replaced when they die, for each requested one."""

PAUSE = 0.5
"""Mean seconds between two searches for trials that other workers may leave."""


@dataclass(frozen=True)
class WorkerJob:
    """The task of a worker.

    Attributes:
        folder: The folder of the study.
        max_trials: The maximum number of trials, over all workers and all calls; 0 for no limit.
        storage: The URL of a database for proposals; "" for the journal in the folder.
        deadline: The time, as `time.time` gives it, at which the worker stops; 0 for none.
        only: The name of the single trial to run; "" for all.
    """

    folder: Path
    max_trials: int = 0
    storage: str = ""
    deadline: float = 0.0
    only: str = ""


def run_study(
    study: Study,
    job: WorkerJob,
    workers: int,
    stop: StopRequest,
    quiet: bool = False,
    analysis: AnalysisRecord | None = None,
) -> list[TrialResult]:
    """Runs the remaining trials of a study and returns all results.

    The same call on another machine, with the same folder, joins in.

    Arguments:
        study: The study.
        job: Its folder and its limits.
        workers: The number of processes on this machine; 1 works in this process.
        stop: A request to stop.
        quiet: Whether to print nothing.
        analysis: The path and digest of the study's own analysis, for its folder.

    Raises:
        ValueError: If the study is invalid, or the folder holds another.
        OSError: If the folder cannot be written.
        RuntimeError: If a worker failed.
    """
    if workers < 1:
        raise ValueError(f"workers must be >= 1, got {workers}; write one for each core")
    if not (job.folder / "study.yaml").exists():
        if not quiet:
            print("checking that every trial uses its settings", file=sys.stderr, flush=True)
        check_study(study)
    prepare_folder(job.folder, study, analysis)
    line = _ProgressLine(study, job, quiet)
    if workers == 1:
        run_worker(job, stop, lambda result: line.print())
    else:
        _run_processes(job, workers, stop, line)
    line.print(last=True)
    return list(read_results(results_folder(job.folder)).values())


def check_study(study: Study) -> None:
    """Raises if a study is invalid, before anything is written.

    Arguments:
        study: The study.

    Raises:
        ValueError: If an axis names no setting, a value outside of its type, or a setting that a
            trial does not use, or if the budget is smaller than one update.
    """
    trials = [*planned_trials(study)]
    for block in (block for block in study.blocks if block.adaptive):
        for number in range(2):  # two points of the space stand for those to be proposed
            first_seed = replace(study, seeds=study.seeds[:1])
            levels = sample_levels(block.axes, 0, block.name, number)
            trials += trials_of(first_seed, block, levels)
    settings = [resolve_auto(trial.settings) for trial in trials]
    one_source = len({repr(s.data) for s in settings}) == 1
    require_used(trials, settings[0].data.load().to(settings[0].device) if one_source else None)


def count_trials(study: Study, folder: Path, max_trials: int = 0) -> int:
    """Returns the number of trials of a study.

    Arguments:
        study: The study.
        folder: Its folder.
        max_trials: The maximum number of trials; 0 for no limit.
    """
    adaptive = [block for block in study.blocks if block.adaptive]
    files = (path for b in adaptive for path in (folder / "proposed").glob(f"{b.name}-*.json"))
    open_points = sum(block.trials for block in adaptive) - len(list(files))
    total = len(all_trials(study, folder)) + open_points * len(study.seeds)
    return min(total, max_trials) if max_trials else total


def count_labels(results: Sequence[TrialResult]) -> str:
    """Returns the number of trials with each label, as text.

    Arguments:
        results: The results.

    Example:
        >>> count_labels([])
        'no result yet'
    """
    labels = Counter(result.label for result in results)
    return ", ".join(f"{n} {label}" for label, n in labels.most_common()) or "no result yet"


def run_worker(
    job: WorkerJob,
    stop: StopRequest,
    report: Callable[[TrialResult], None] = lambda result: None,
) -> int:
    """Works until every trial has ended; returns the number that this worker has ended.

    Arguments:
        job: The task.
        stop: A request to stop: the current trial is saved, and can be resumed.
        report: A function that is called with every result.

    Raises:
        OSError: If the folder cannot be written.
        ValueError: If the folder holds no study.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    study, ended = open_study(job.folder), 0
    planned = planned_trials(study)
    adaptive = [block.name for block in study.blocks if block.adaptive]
    while not _must_stop(job, stop):
        trials = [*planned, *(proposed_trials(study, job.folder) if adaptive else ())]
        if job.max_trials:
            trials = trials[: job.max_trials]
        if job.only:
            trials = [trial for trial in trials if trial.name == job.only]
        finished = finished_names(results_folder(job.folder))
        remaining = [trial for trial in trials if trial.name not in finished]
        result = next(_run_claimed(study, job, remaining, stop), None)
        if result is not None:
            ended += 1
            report(result)
            if result.block in adaptive:
                results = read_results(results_folder(job.folder))
                tell(study, job.folder, results, result.block, job.storage)
            continue
        full = job.max_trials and len(trials) >= job.max_trials
        more = adaptive and not full and not job.only and not _must_stop(job, stop)
        if more and propose_point(study, job.folder, job.storage):
            continue
        if not remaining:
            break
        time.sleep(PAUSE * (0.5 + random.random()))  # other workers have claimed all of these
    return ended


def _must_stop(job: WorkerJob, stop: StopRequest) -> bool:
    """Whether the worker is to stop."""
    return stop.asked or (job.deadline > 0 and time.time() > job.deadline)


def _run_claimed(
    study: Study, job: WorkerJob, remaining: Sequence[Trial], stop: StopRequest
) -> Iterator[TrialResult]:
    """Claims and runs trials, one for each result that is asked for."""
    claims, results = claims_folder(job.folder), results_folder(job.folder)
    for trial in remaining:
        if _must_stop(job, stop):
            return
        claim = acquire_claim(claims, trial.name)
        if claim is None:
            if exhausted(claims, trial.name):
                crashed = _crashed_result(trial, claim_status(claims, trial.name)[0])
                if write_result(results, crashed):
                    yield crashed
            continue
        if (results / f"{trial.name}.json").exists():  # ended a moment ago
            claim.release()
            continue
        with heartbeat(claim):
            folder = trial_folder(job.folder, trial.name)
            result = run_trial(trial, folder, _context(study, job, trial), claim, stop)
        if result is None:
            if not claim.lost:
                claim.release()
        elif write_result(results, result):
            claim.release()
            yield result


def _context(study: Study, job: WorkerJob, trial: Trial) -> TrialContext:
    settings = resolve_auto(trial.settings)
    dataset = _load_data(settings.data, settings.device)
    block = study.block(trial.block)
    halving, rivals = block.halving, []
    if trial.name in {t.name for t in baseline_trials(study, block)}:
        halving = 0.0  # the others are compared with the baseline
    if halving:
        trials = all_trials(study, job.folder)
        rivals = [trial_folder(job.folder, t.name) for t in trials if t.block == trial.block]
    judge = _load_judge(settings.data, settings.device, study.quality, study.samples)
    return TrialContext(
        judge, dataset, study.rungs, halving, study.minutes, tuple(rivals), job.deadline
    )


@functools.lru_cache(maxsize=2)
def _load_data(data: object, device: str) -> Dataset:
    """The data of trials, loaded once for all that share them."""
    dataset: Dataset = data.load().to(device)  # type: ignore[attr-defined]
    return dataset


@functools.lru_cache(maxsize=2)
def _load_judge(data: object, device: str, quality: str, samples: int) -> Judge:
    return judge_for(_load_data(data, device), quality, samples, data)


def _crashed_result(trial: Trial, attempts: int) -> TrialResult:
    """The result of a trial that has killed every process that ran it."""
    return TrialResult(
        name=trial.name,
        label="crashed",
        reason=f"its process was killed {attempts} times: out of memory?",
        update=0,
        updates=trial.settings.updates,
        gradients=0,
        budget=trial.settings.updates * gradients_per_update(trial.settings),
        seconds=0.0,
        overhead_seconds=0.0,
        block=trial.block,
        levels=trial.levels,
    )


class _ProgressLine:
    """A line of progress, printed every few seconds."""

    def __init__(self, study: Study, job: WorkerJob, quiet: bool) -> None:
        self.job, self.quiet = job, quiet
        self.total = count_trials(study, job.folder, job.max_trials)
        self.first_count = len(finished_names(results_folder(job.folder)))
        self.began = self.printed = time.monotonic()

    def print(self, last: bool = False) -> None:
        """Prints the line where it is due."""
        now = time.monotonic()
        if self.quiet or not (last or now - self.printed > PROGRESS_INTERVAL):
            return
        self.printed = now
        results = list(read_results(results_folder(self.job.folder)).values())
        minutes = (now - self.began) / 60
        rate = (len(results) - self.first_count) / minutes
        remaining = self.total - len(results)
        words = f"{len(results)}/{self.total} trials  {rate:.1f} a minute"
        if self.job.deadline:
            left = max(0.0, self.job.deadline - time.time()) / 60
            words = f"{len(results)} trials  {rate:.1f} a minute  {left:.1f} min left"
        elif remaining > 0 and rate > 0 and not last:
            words += f"  {remaining / rate:.0f} min left"
        print(f"{words}  {count_labels(results)}", file=sys.stderr, flush=True)


def _run_processes(job: WorkerJob, workers: int, stop: StopRequest, line: _ProgressLine) -> None:
    """Runs workers as processes until all of them have ended."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before they import PyTorch
    context = multiprocessing.get_context("spawn")

    def begin() -> BaseProcess:
        process = context.Process(target=_worker_process, args=(job,))
        process.start()
        return process

    running = [begin() for _ in range(workers)]
    replacements, stopping = workers * REPLACEMENTS, False
    try:
        while running:
            time.sleep(0.2)
            if stop.asked and not stopping:
                stopping = True
                for process in running:
                    process.terminate()
            for process in [process for process in running if not process.is_alive()]:
                running.remove(process)
                code = process.exitcode or 0
                if code > 0:
                    raise RuntimeError(f"a worker failed with exit code {code}; see its message")
                if code < 0 and not stop.asked:
                    if replacements == 0:
                        raise RuntimeError("workers are killed repeatedly; out of memory?")
                    replacements -= 1
                    name = signal.Signals(-code).name
                    print(f"a worker was killed ({name}); another takes over", file=sys.stderr)
                    running.append(begin())
            line.print()
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()


def _worker_process(job: WorkerJob) -> None:
    """The body of a worker process."""
    stop = StopRequest()

    def ask(number: int, frame: object) -> None:
        stop.asked = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    try:
        run_worker(job, stop)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
