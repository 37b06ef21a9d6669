"""A worker: takes one trial after the other until all are over, beside any number of others."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ..data import Dataset
from ..settings.settings import resolve
from ..train.process import StopRequest, keep_freed_memory
from .claim import claim, claimed, given_up, kept
from .folder import claims, open_study, results, trial_folder
from .measures import Judge, judge_for
from .plan import Trial, as_it_is, gradients, planned
from .propose import propose, proposed, tell
from .result import Result, read_results, write_result
from .spec import Study
from .trial import Work, run_trial

__all__ = ["Job", "all_trials", "work"]

PAUSE = 0.5
"""Seconds between two looks for work that others may leave."""


@dataclass(frozen=True)
class Job:
    """What a worker is to do.

    Attributes:
        folder: The folder of the study.
        most: Trials that may be begun, by all workers and ever; 0 for all.
        storage: The URL of a database for proposals; "" for the journal in the folder.
        until: The time, as `time.time` has it, at which the worker stops; 0 for none.
        only: The name of the one trial that is worked on; "" for all.
    """

    folder: Path
    most: int = 0
    storage: str = ""
    until: float = 0.0
    only: str = ""


def all_trials(study: Study, folder: Path) -> list[Trial]:
    """Returns the trials of a study that are known by now.

    Arguments:
        study: The study.
        folder: Its folder.
    """
    return [*planned(study), *proposed(study, folder)]


def work(
    job: Job, stop: StopRequest, report: Callable[[Result], None] = lambda result: None
) -> int:
    """Works until every trial is over; returns how many this worker has ended.

    Arguments:
        job: What to do.
        stop: A request to stop: the trial at work is saved, and can be taken up again.
        report: Is told of every result.

    Raises:
        OSError: If the folder cannot be written.
        ValueError: If the folder holds something that is no study.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    study, ended = open_study(job.folder), 0
    known = [*planned(study)]
    adaptive = [block.name for block in study.blocks if block.adaptive]
    while not _over(job, stop):
        trials = [*known, *proposed(study, job.folder)] if adaptive else known
        if job.most:
            trials = trials[: job.most]
        if job.only:
            trials = [trial for trial in trials if trial.name == job.only]
        over = read_names(results(job.folder))
        left = [trial for trial in trials if trial.name not in over]
        done = next(_taken(study, job, left, stop), None)
        if done is not None:
            ended += 1
            report(done)
            if done.block in adaptive:
                tell(study, job.folder, read_results(results(job.folder)), done.block, job.storage)
            continue
        full = job.most and len(trials) >= job.most
        more = adaptive and not full and not job.only and not _over(job, stop)
        if more and propose(study, job.folder, job.storage):
            continue
        if not left:
            break
        time.sleep(PAUSE * (0.5 + random.random()))  # others are at work on what is left
    return ended


def _over(job: Job, stop: StopRequest) -> bool:
    """Whether the worker is to stop."""
    return stop.asked or (job.until > 0 and time.time() > job.until)


def read_names(folder: Path) -> set[str]:
    """Returns the names of the trials that are over.

    Arguments:
        folder: The folder of the results.
    """
    return {path.stem for path in folder.glob("[0-9a-f]*.json")}


def _taken(study: Study, job: Job, left: list[Trial], stop: StopRequest) -> Iterator[Result]:
    """The results of the trials that this worker takes, one when asked for."""
    folder = claims(job.folder)
    for trial in left:
        if _over(job, stop):
            return
        held = claim(folder, trial.name)
        if held is None:
            if given_up(folder, trial.name):
                lost = _lost(trial, claimed(folder, trial.name)[0])
                if write_result(results(job.folder), lost):
                    yield lost
            continue
        if (results(job.folder) / f"{trial.name}.json").exists():  # ended a moment ago
            held.release()
            continue
        with kept(held):
            found = run_trial(
                trial,
                trial_folder(job.folder, trial.name),
                _work(study, job, trial),
                held,
                stop,
            )
        if found is None:
            if not held.lost:
                held.release()
        elif write_result(results(job.folder), found):
            held.release()
            yield found


def _work(study: Study, job: Job, trial: Trial) -> Work:
    settings = resolve(trial.settings)
    dataset = _data(settings.data, settings.device)
    block = study.block(trial.block)
    halving, rivals = block.halving, []
    if trial.name in {t.name for t in as_it_is(study, block)}:
        halving = 0.0  # the recipe itself is what the others are compared with
    if halving:
        known = all_trials(study, job.folder)
        rivals = [trial_folder(job.folder, t.name) for t in known if t.block == trial.block]
    judge = _judge(settings.data, settings.device, study.quality, study.samples)
    return Work(judge, dataset, study.rungs, halving, study.minutes, tuple(rivals), job.until)


@functools.lru_cache(maxsize=2)
def _data(data: object, device: str) -> Dataset:
    """The data of trials, loaded once for all that have the same."""
    loaded: Dataset = data.load().to(device)  # type: ignore[attr-defined]
    return loaded


@functools.lru_cache(maxsize=2)
def _judge(data: object, device: str, quality: str, samples: int) -> Judge:
    return judge_for(_data(data, device), quality, samples, data)


def _lost(trial: Trial, attempts: int) -> Result:
    """The result of a trial that has killed every process that tried it."""
    settings = trial.settings
    each = gradients(settings)
    return Result(
        name=trial.name,
        label="crashed",
        reason=f"its process was killed {attempts} times: out of memory?",
        update=0,
        updates=settings.updates,
        gradients=0,
        budget=settings.updates * each,
        seconds=0.0,
        beside=0.0,
        block=trial.block,
        levels=trial.levels,
    )
