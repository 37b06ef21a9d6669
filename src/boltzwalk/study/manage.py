"""Workers of one machine: started, watched, and replaced where one is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from ..settings.settings import resolve
from ..train.process import StopRequest
from .folder import prepare, results
from .plan import drawn_levels, planned, trials_of
from .result import Result, read_results
from .spec import Study
from .unused import refuse_unused
from .worker import Job, all_trials, read_names, work

__all__ = ["conduct", "count", "refuse", "summary"]

SPEAK = 10.0
"""Seconds between two lines."""

REPLACED = 5
"""Workers that are replaced when they die, for each that was asked for."""


def conduct(
    study: Study, job: Job, workers: int, stop: StopRequest, quiet: bool = False
) -> list[Result]:
    """Makes the trials of a study that are left, and returns all results there are.

    The same call on another machine, with the same folder, joins in.

    Arguments:
        study: The study.
        job: Its folder, and how much of it is done.
        workers: Processes on this machine; 1 works in this process.
        stop: A request to stop.
        quiet: Whether to say nothing.

    Raises:
        ValueError: If the study asks for what there is not, or the folder holds another.
        OSError: If the folder cannot be written.
        RuntimeError: If a worker went wrong.
    """
    if workers < 1:
        raise ValueError(f"workers must be >= 1, got {workers}; one for each core")
    if not (job.folder / "study.yaml").exists():
        if not quiet:
            print("looking whether every trial uses what it varies", file=sys.stderr, flush=True)
        refuse(study)
    prepare(job.folder, study)
    said = _Said(study, job, quiet)
    if workers == 1:
        work(job, stop, lambda result: said.progress())
    else:
        _together(job, workers, stop, said)
    said.progress(last=True)
    return list(read_results(results(job.folder)).values())


def refuse(study: Study) -> None:
    """Raises where a study asks for what there is not, before anything is made.

    Arguments:
        study: The study.

    Raises:
        ValueError: If an axis names no setting, a value outside of its type, a setting that a
            trial does not use, or the budget is smaller than one update.
    """
    trials = [*planned(study)]
    for block in (block for block in study.blocks if block.adaptive):
        for number in range(2):  # two points of the space stand for those to be proposed
            some = replace(study, seeds=study.seeds[:1])
            trials += trials_of(some, block, drawn_levels(block.axes, 0, block.name, number))
    settings = [resolve(trial.settings) for trial in trials]
    same = len({repr(s.data) for s in settings}) == 1
    refuse_unused(trials, settings[0].data.load().to(settings[0].device) if same else None)


def count(study: Study, folder: Path, most: int = 0) -> int:
    """Returns how many trials a study has.

    Arguments:
        study: The study.
        folder: Its folder.
        most: Trials that may be begun; 0 for all.
    """
    known = len(all_trials(study, folder))
    adaptive = [block for block in study.blocks if block.adaptive]
    made = sum(len(list((folder / "proposed").glob(f"{b.name}-*.json"))) for b in adaptive)
    open_points = sum(block.trials for block in adaptive) - made
    total = known + open_points * len(study.seeds)
    return min(total, most) if most else total


def summary(found: Sequence[Result]) -> str:
    """Returns how trials have ended, in words.

    Arguments:
        found: The results.

    Example:
        >>> summary([])
        'nothing yet'
    """
    labels = Counter(result.label for result in found)
    return ", ".join(f"{n} {label}" for label, n in labels.most_common()) or "nothing yet"


class _Said:
    """What the user sees of a study while it runs."""

    def __init__(self, study: Study, job: Job, quiet: bool) -> None:
        self.job, self.quiet = job, quiet
        self.total = count(study, job.folder, job.most)
        self.before = len(read_names(results(job.folder)))
        self.began = self.spoke = time.monotonic()

    def progress(self, last: bool = False) -> None:
        """Says how far the study is, every so many seconds."""
        now = time.monotonic()
        if self.quiet or not (last or now - self.spoke > SPEAK):
            return
        self.spoke = now
        found = list(read_results(results(self.job.folder)).values())
        minutes = (now - self.began) / 60
        pace = (len(found) - self.before) / minutes
        left = self.total - len(found)
        words = f"{len(found)}/{self.total} trials  {pace:.1f} a minute"
        if self.job.until:
            rest = max(0.0, self.job.until - time.time()) / 60
            words = f"{len(found)} trials  {pace:.1f} a minute  {rest:.1f} min left"
        elif left > 0 and pace > 0 and not last:
            words += f"  {left / pace:.0f} min left"
        print(f"{words}  {summary(found)}", file=sys.stderr, flush=True)


def _together(job: Job, workers: int, stop: StopRequest, said: _Said) -> None:
    """Works in processes of their own until all of them have ended."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before they import PyTorch
    context = multiprocessing.get_context("spawn")

    def begin() -> BaseProcess:
        process = context.Process(target=_work, args=(job,))
        process.start()
        return process

    running = [begin() for _ in range(workers)]
    chances, told = workers * REPLACED, False
    try:
        while running:
            time.sleep(0.2)
            if stop.asked and not told:
                told = True
                for process in running:
                    process.terminate()
            for process in [process for process in running if not process.is_alive()]:
                running.remove(process)
                code = process.exitcode or 0
                if code > 0:
                    raise RuntimeError(f"a worker went wrong, as it says above (exit code {code})")
                if code < 0 and not stop.asked:
                    if chances == 0:
                        raise RuntimeError("workers are killed again and again; out of memory?")
                    chances -= 1
                    what = signal.Signals(-code).name
                    print(f"a worker was killed ({what}); another takes over", file=sys.stderr)
                    running.append(begin())
            said.progress()
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()


def _work(job: Job) -> None:
    """The life of a worker process."""
    stop = StopRequest()

    def ask(number: int, frame: object) -> None:
        stop.asked = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    try:
        work(job, stop)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
