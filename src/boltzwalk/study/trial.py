"""One trial: an ordinary run in a folder of its own, watched while it trains.

The verdict of :mod:`boltzwalk.diagnostics.verdict` is asked for at every row of the log. A trial
that is nan or has exploded is stopped at once; one that has collapsed or stalled when two rows in a
row say so. What it had reached is kept: the update is a time to failure, and those that were not
stopped are censored at their budget.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..data import Dataset
from ..diagnostics.oscillation import oscillation, recent
from ..diagnostics.verdict import Verdict, verdict
from ..settings.settings import Settings, resolve
from ..train import folder as run_folder
from ..train.checkpoint import write_atomically
from ..train.execute import Progress, execute
from ..train.folder import Trace, read_trace
from ..train.process import StopRequest, is_held
from ..train.run import Run, open_run
from .claim import Claim
from .measures import Judge
from .plan import Trial, gradients
from .result import RUNGS, Label, Result, Rung, add_rung, read_rungs

__all__ = ["Work", "run_trial"]

AT_ONCE = ("nan", "exploded")
TWICE = ("collapsed", "stalled")

LOGGED = ("travel", "distance", "gradient_mean", "energy_gap", "acceptance", "temperature")
"""What of the log is kept as the mean over its last third."""


@dataclass(frozen=True)
class Work:
    """What all trials of a worker share.

    Attributes:
        judge: What measures them.
        dataset: Their data, on the device of the worker.
        rungs: The shares of a trial at which its quality is taken.
        halving: A trial stops at a rung unless it is among the best 1/halving there; 0 stops none.
        minutes: The time after which a trial is stopped; 0 for none.
        rivals: The run folders of the trials that it is measured against.
        until: The time, as `time.time` has it, at which the worker stops; 0 for none.
    """

    judge: Judge
    dataset: Dataset
    rungs: Sequence[float]
    halving: float = 0.0
    minutes: float = 0.0
    rivals: Sequence[Path] = field(default_factory=tuple)
    until: float = 0.0


class _End(NamedTuple):
    """Why a trial is over."""

    label: Label
    reason: str = ""


def run_trial(
    trial: Trial, place: Path, work: Work, held: Claim | None, stop: StopRequest
) -> Result | None:
    """Trains a trial, from where it was left; returns None where it was stopped from outside.

    Arguments:
        trial: The trial.
        place: Its run folder.
        work: What the trials of a worker share.
        held: The claim on it; a trial that was taken over is left to its new owner.
        stop: A request to stop, after which the trial can be taken up again.

    Raises:
        OSError: If the folder cannot be written: that is no fault of the trial.
    """
    settings = resolve(trial.settings)
    if place.exists() and is_held(place):  # by one that is thought to be dead, and only sleeps
        return None
    watch = _Watch(place, settings, work, held)
    end, own = None, StopRequest()
    try:
        for done in watch.timed(execute(settings, place, own, work.dataset, events=False)):
            end = watch.look(done)
            own.asked = stop.asked or (work.until > 0 and time.time() > work.until)
            if end or watch.taken:
                break
        if watch.taken or (not end and watch.update < settings.updates and watch.run is not None):
            return None
        if not end:
            watch.conclude(trial)
    except FloatingPointError as error:
        found = verdict(*watch.log(), failure=str(error).partition(". The last good")[0])
        end = _End("nan", found.reason)
    except OSError:
        raise
    except Exception as error:  # any other is the trial's own: the study goes on without it
        end = _End("crashed", f"{type(error).__name__}: {error}")
        write_atomically(place.with_suffix(".traceback.txt"), traceback.format_exc().encode())
    return watch.result(trial, end or _End("finished"))


class _Watch:
    """What is seen of a trial while it trains."""

    def __init__(self, place: Path, settings: Settings, work: Work, held: Claim | None) -> None:
        self.place, self.settings, self.work, self.held = place, settings, work, held
        self.began = time.monotonic()
        self.training = 0.0  # seconds spent in updates
        self.update = 0
        self.run: Run | None = None
        self.rows: list[dict[str, float]] = []
        self.columns: tuple[list[float], list[float]] = ([], [])
        self.position = 0
        self.before = ""  # the verdict of the row before
        self.taken = False
        self.earlier = 0.0  # seconds that earlier workers have spent
        self.rung_at = {max(1, round(s * settings.updates)): s for s in work.rungs}
        self.rungs: list[Rung] = []
        self.measures: dict[str, float] = {}
        self.samples: Tensor | None = None  # of the last rung

    def timed(self, updates: Iterator[Progress]) -> Iterator[Progress]:
        """Passes updates on, and measures the time that they take."""
        while True:
            began = time.monotonic()
            done = next(updates, None)
            self.training += time.monotonic() - began
            if done is None:
                return
            yield done

    def look(self, done: Progress) -> _End | None:
        """Takes the quality at a rung, asks for a verdict at a row; returns why it is over."""
        if self.run is None:
            self._begin(done)
        self.run, self.update = done.run, done.update
        if done.row is not None:
            self._read(done.row)
            end = self._judge()
            if end:
                return end
            self.taken = self.held is not None and self.held.lost
            if self.work.minutes and time.monotonic() - self.began > 60 * self.work.minutes:
                return _End("too long", f"it took more than {self.work.minutes:g} minutes")
        return self._reach(done.run) if done.update in self.rung_at else None

    def conclude(self, trial: Trial) -> None:
        """Measures what is measured of finished trials."""
        if self.run is None:  # all updates were made before; the last rung may be missing
            self.run = open_run(self.place, dataset=self.work.dataset)
            self.update = self.run.update
            self.earlier = self._spent(self.update)
            self.rows, self.rungs = self._written(), read_rungs(self.place)
            trace = read_trace(self.place)
            self.columns = (trace.energy_gap.tolist(), trace.gradient_mean.tolist())
            if not self.rungs or self.rungs[-1].update < self.update:
                self._reach(self.run)
        x = self.samples if self.samples is not None else self.work.judge.look(self.run).samples
        self.measures |= self.work.judge.measure(self.run, trial.measures, x)

    def log(self) -> tuple[list[dict[str, float]], Trace]:
        """The rows of the log and the trace, as far as they were written."""
        return self._written(), read_trace(self.place)

    def result(self, trial: Trial, end: _End) -> Result:
        """What became of the trial."""
        rows, trace = self.log()
        each = gradients(self.settings)
        update = max(self.update, len(trace.energy_gap))
        last = rows[-max(1, len(rows) // 3) :]
        for name in LOGGED:
            values = [row[name] for row in last if name in row]
            if values:
                self.measures[name] = float(np.mean(values))
        self.measures |= _swings(trace)
        went = json.dumps([self.columns, [rung.quality for rung in self.rungs]])
        return Result(
            name=trial.name,
            label=end.label,
            reason=end.reason,
            update=update,
            updates=self.settings.updates,
            gradients=update * each,
            budget=self.settings.updates * each,
            seconds=round(self.earlier + self.training, 3),
            beside=round(time.monotonic() - self.began - self.training, 3),
            rungs=tuple(self.rungs),
            measures={name: float(f"{value:.6g}") for name, value in self.measures.items()},
            worker=f"{platform.node()} {os.getpid()}",
            block=trial.block,
            levels=trial.levels,
            same=hashlib.sha256(went.encode()).hexdigest()[:16] if update else "",
        )

    def _begin(self, done: Progress) -> None:
        """Takes over what an earlier worker had seen up to where this one began."""
        first = done.update - 1
        run_folder.truncate_rows(self.place / RUNGS, first)
        self.rungs = read_rungs(self.place)
        self.rows = [row for row in self._written() if row["update"] <= first]
        self.earlier = self._spent(first)

    def _spent(self, update: int) -> float:
        """The seconds of all updates up to one."""
        costs = run_folder.read_rows(self.place / "cost.jsonl")
        return max((row["seconds"] for row in costs if row["update"] <= update), default=0.0)

    def _written(self) -> list[dict[str, float]]:
        return run_folder.read_rows(self.place / "log.jsonl")

    def _read(self, row: dict[str, float]) -> None:
        """Adds a row, and what the trace has got since the last one."""
        self.rows.append(row)
        with (self.place / "trace.jsonl").open("rb") as file:
            file.seek(self.position)
            lines = file.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self.position += len(whole)
        for line in whole.splitlines():
            values = json.loads(line)
            for column, name in zip(self.columns, Trace._fields, strict=True):
                column.extend(values[name])

    def _judge(self) -> _End | None:
        found: Verdict = verdict(self.rows, Trace(*map(np.array, self.columns)))
        if found.label in AT_ONCE or (found.label in TWICE and found.label == self.before):
            return _End(found.label, found.reason)  # type: ignore[arg-type]  # one of these four
        self.before = found.label
        return None

    def _reach(self, run: Run) -> _End | None:
        """Takes the quality at a rung; a trial that is not among the best there is over."""
        share = self.rung_at.get(run.update, 1.0)
        quality, self.samples = self.work.judge.look(run)
        rung = Rung(share, run.update, run.update * gradients(self.settings), quality)
        self.rungs.append(rung)
        add_rung(self.place, rung)
        if not self.work.halving or share == 1 or self._is_among_the_best(rung):
            return None
        return _End(
            "pruned",
            f"{self.work.judge.name} {quality:.3g} at {share:.3g} of its updates is not among "
            f"the best 1/{self.work.halving:g} there",
        )

    def _is_among_the_best(self, rung: Rung) -> bool:
        """Asynchronous successive halving (Li et al., 2020), among what was seen so far."""
        there = [
            other.quality
            for place in self.work.rivals
            if place != self.place
            for other in read_rungs(place)
            if other.share == rung.share
        ]
        better = sum(quality < rung.quality for quality in there)
        return better < max(1, math.ceil((len(there) + 1) / self.work.halving))


def _swings(trace: Trace) -> dict[str, float]:
    """How the energy gap d swings in the last updates.

    Its mean and root mean square, the share of d > 0, the autocorrelation at lag 1, and how d goes
    with the change of the gradient size that follows.
    """
    found = oscillation(trace)
    gap = recent(trace.energy_gap)
    values = {
        "gap_mean": float(gap.mean()) if len(gap) else math.nan,
        "gap_rms": float(np.sqrt(np.square(gap).mean())) if len(gap) else math.nan,
        "gap_positive": found.positive,
        "gap_acf1": found.acf1,
        "gap_follows": found.follows,
    }
    return {name: value for name, value in values.items() if math.isfinite(value)}
