"""One trial: an ordinary run in its own folder, monitored while it trains.

The verdict of :mod:`boltzwalk.diagnostics.verdict` is taken at every row of the log. A trial that
is nan or has exploded is stopped at once; one that has collapsed or stalled when two consecutive
rows agree. Its last update is a time to failure; trials that were not stopped are censored at their
budget.
"""

from __future__ import annotations

import dataclasses
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

from ..checkpoint import write_atomically
from ..data import Dataset
from ..diagnostics.oscillation import oscillation, recent
from ..diagnostics.verdict import Verdict, verdict
from ..model import Model
from ..settings.settings import Settings, resolve_auto
from ..training import folder as run_folder
from ..training.execute import Progress, execute
from ..training.folder import Trace, read_trace
from ..training.process import is_held
from ..training.run import Run, open_run
from ..training.signals import StopRequest
from .measures import Judge
from .plan import Trial, gradients_per_update
from .results import ResultLabel, Rung, TrialResult
from .storage import Claim

__all__ = ["TrialContext", "add_rung", "read_rungs", "run_trial"]

STOP_AT_ONCE = ("nan", "exploded")
STOP_IF_REPEATED = ("collapsed", "stalled")

LOG_MEANS = ("travel", "distance", "gradient_mean", "energy_gap", "acceptance", "temperature")
"""Columns of the log whose means over its last third are measures."""

RUNG_FILE = "quality.jsonl"

TRIAL_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of one trial, also in the code of a user."""


@dataclass(frozen=True)
class TrialContext:
    """The data, the judge and the limits of a trial.

    Attributes:
        judge: The judge of its quality.
        dataset: Its data, on the device of the worker.
        rungs: The shares of its updates at which its quality is taken.
        halving: The trial stops at a rung unless it is among the best 1/halving; 0 never stops it.
        minutes: The time after which it is stopped; 0 for none.
        rivals: The run folders of the trials that it is compared with.
        deadline: The time, as `time.time` gives it, at which the worker stops; 0 for none.
    """

    judge: Judge
    dataset: Dataset
    rungs: Sequence[float]
    halving: float = 0.0
    minutes: float = 0.0
    rivals: Sequence[Path] = field(default_factory=tuple)
    deadline: float = 0.0


class _Ending(NamedTuple):
    """The label of a trial that has ended, and the reason."""

    label: ResultLabel
    reason: str = ""


def run_trial(
    trial: Trial, folder: Path, context: TrialContext, claim: Claim | None, stop: StopRequest
) -> TrialResult | None:
    """Trains a trial, from its last checkpoint if any; returns None if it is stopped from outside.

    Arguments:
        trial: The trial.
        folder: Its run folder.
        context: Its data, judge and limits.
        claim: The claim on it; a trial that another worker has taken over is left to that one.
        stop: A request to stop, after which the trial can be resumed.

    Raises:
        OSError: If the folder cannot be written, which is no failure of the trial.
    """
    settings = resolve_auto(trial.settings)
    if folder.exists() and is_held(folder):  # by a worker that was presumed dead
        return None
    monitor = _Monitor(folder, settings, context, claim)
    ending, inner = None, StopRequest()
    try:
        run = execute(settings, folder, inner, context.dataset, events=False)
        for progress in monitor.timed(run):
            ending = monitor.observe(progress)
            inner.asked = stop.asked or (context.deadline > 0 and time.time() > context.deadline)
            if ending or monitor.taken_over:
                break
        unfinished = monitor.update < settings.updates and monitor.run is not None
        if monitor.taken_over or (not ending and unfinished):
            return None
        if not ending:
            monitor.measure(trial)
    except FloatingPointError as error:
        diagnosis = verdict(*monitor.log(), failure=str(error).partition(". The last good")[0])
        ending = _Ending("nan", diagnosis.reason)
    except OSError:
        raise
    except TRIAL_ERRORS as error:  # they are the trial's: the study goes on without it
        ending = _Ending("crashed", f"{type(error).__name__}: {error}")
        write_atomically(folder.with_suffix(".traceback.txt"), traceback.format_exc().encode())
    return monitor.result(trial, ending or _Ending("finished"))


def read_rungs(folder: Path) -> list[Rung]:
    """Returns the rungs that the run of a folder has reached."""
    return [Rung(**row) for row in run_folder.read_rows(folder / RUNG_FILE)]


def add_rung(folder: Path, rung: Rung) -> None:
    """Appends a rung to the run of a folder."""
    run_folder.append_row(folder / RUNG_FILE, dataclasses.asdict(rung))


class _Monitor:
    """The log, the verdicts and the quality of a trial while it trains."""

    def __init__(
        self, folder: Path, settings: Settings, context: TrialContext, claim: Claim | None
    ) -> None:
        self.folder, self.settings, self.context, self.claim = folder, settings, context, claim
        self.began = time.monotonic()
        self.training = 0.0  # seconds spent in updates
        self.update = 0
        self.run: Run | None = None
        self.rows: list[dict[str, float]] = []
        self.columns: tuple[list[float], list[float]] = ([], [])
        self.position = 0
        self.previous_label = ""  # the verdict of the previous row
        self.taken_over = False
        self.previous_seconds = 0.0  # spent by previous workers
        self.rung_at = {max(1, round(s * settings.updates)): s for s in context.rungs}
        self.rungs: list[Rung] = []
        self.measures: dict[str, float] = {}
        self.samples: Tensor | None = None  # of the last rung

    def timed(self, updates: Iterator[Progress]) -> Iterator[Progress]:
        """Passes updates on, and adds up their time."""
        while True:
            began = time.monotonic()
            progress = next(updates, None)
            self.training += time.monotonic() - began
            if progress is None:
                return
            yield progress

    def observe(self, progress: Progress) -> _Ending | None:
        """Takes the quality at a rung and the verdict at a row; returns the ending, if any."""
        if self.run is None:
            self._begin(progress)
        self.run, self.update = progress.run, progress.update
        if progress.row is not None:
            self._read(progress.row)
            ending = self._take_verdict()
            if ending:
                return ending
            self.taken_over = self.claim is not None and self.claim.lost
            minutes = self.context.minutes
            if minutes and time.monotonic() - self.began > 60 * minutes:
                return _Ending("too long", f"it took more than {minutes:g} minutes")
        return self._reach(progress.run) if progress.update in self.rung_at else None

    def measure(self, trial: Trial) -> None:
        """Takes the measures of a finished trial."""
        judge = self.context.judge
        if self.run is None:  # all updates are done; the last rung may be missing
            self.run = open_run(self.folder, dataset=self.context.dataset)
            self.update = self.run.update
            self.previous_seconds = self._seconds_until(self.update)
            self.rows, self.rungs = self._written(), read_rungs(self.folder)
            trace = read_trace(self.folder)
            self.columns = (trace.energy_gap.tolist(), trace.gradient_mean.tolist())
            if not self.rungs or self.rungs[-1].update < self.update:
                self._reach(self.run)
        x = self.samples if self.samples is not None else judge.check(_judged(self.run)).samples
        self.measures |= judge.measure(_judged(self.run), trial.measures, x)

    def log(self) -> tuple[list[dict[str, float]], Trace]:
        """The rows of the log and the trace, as written so far."""
        return self._written(), read_trace(self.folder)

    def result(self, trial: Trial, ending: _Ending) -> TrialResult:
        """The result of the trial."""
        rows, trace = self.log()
        gradients = gradients_per_update(self.settings)
        update = max(self.update, len(trace.energy_gap))
        last = rows[-max(1, len(rows) // 3) :]
        for name in LOG_MEANS:
            values = [row[name] for row in last if name in row]
            if values:
                self.measures[name] = float(np.mean(values))
        self.measures |= _gap_measures(trace)
        history = json.dumps([self.columns, [rung.quality for rung in self.rungs]])
        return TrialResult(
            name=trial.name,
            label=ending.label,
            reason=ending.reason,
            update=update,
            updates=self.settings.updates,
            gradients=update * gradients,
            budget=self.settings.updates * gradients,
            seconds=round(self.previous_seconds + self.training, 3),
            overhead_seconds=round(time.monotonic() - self.began - self.training, 3),
            rungs=tuple(self.rungs),
            measures={name: float(f"{value:.6g}") for name, value in self.measures.items()},
            worker=f"{platform.node()} {os.getpid()}",
            block=trial.block,
            levels=trial.levels,
            history_digest=hashlib.sha256(history.encode()).hexdigest()[:16] if update else "",
        )

    def _begin(self, progress: Progress) -> None:
        """Restores the state of a previous worker at the checkpoint where this one began."""
        first = progress.update - 1
        run_folder.truncate_rows(self.folder / RUNG_FILE, first)
        self.rungs = read_rungs(self.folder)
        self.rows = [row for row in self._written() if row["update"] <= first]
        self.previous_seconds = self._seconds_until(first)

    def _seconds_until(self, update: int) -> float:
        """The seconds of all updates up to one."""
        costs = run_folder.read_rows(self.folder / "cost.jsonl")
        return max((row["seconds"] for row in costs if row["update"] <= update), default=0.0)

    def _written(self) -> list[dict[str, float]]:
        return run_folder.read_rows(self.folder / "log.jsonl")

    def _read(self, row: dict[str, float]) -> None:
        """Adds a row of the log, and the lines of the trace since the previous one."""
        self.rows.append(row)
        with (self.folder / "trace.jsonl").open("rb") as file:
            file.seek(self.position)
            lines = file.read()
        complete = lines[: lines.rfind(b"\n") + 1]
        self.position += len(complete)
        for line in complete.splitlines():
            values = json.loads(line)
            for column, name in zip(self.columns, Trace._fields, strict=True):
                column.extend(values[name])

    def _take_verdict(self) -> _Ending | None:
        diagnosis: Verdict = verdict(self.rows, Trace(*map(np.array, self.columns)))
        label, repeated = diagnosis.label, diagnosis.label == self.previous_label
        if label in STOP_AT_ONCE or (label in STOP_IF_REPEATED and repeated):
            return _Ending(label, diagnosis.reason)  # type: ignore[arg-type]  # one of these four
        self.previous_label = label
        return None

    def _reach(self, run: Run) -> _Ending | None:
        """Takes the quality at a rung; a trial that is not among the best there has ended."""
        context, share = self.context, self.rung_at.get(run.update, 1.0)
        quality, self.samples = context.judge.check(_judged(run))
        rung = Rung(share, run.update, run.update * gradients_per_update(self.settings), quality)
        self.rungs.append(rung)
        add_rung(self.folder, rung)
        if not context.halving or share == 1 or self._is_among_the_best(rung):
            return None
        return _Ending(
            "pruned",
            f"{context.judge.name} {quality:.3g} at {share:.3g} of its updates is not among the "
            f"best 1/{context.halving:g} there",
        )

    def _is_among_the_best(self, rung: Rung) -> bool:
        """Asynchronous successive halving (Li et al., 2020), among the rungs reached so far."""
        rivals = [
            other.quality
            for folder in self.context.rivals
            if folder != self.folder
            for other in read_rungs(folder)
            if other.share == rung.share
        ]
        better = sum(quality < rung.quality for quality in rivals)
        return better < max(1, math.ceil((len(rivals) + 1) / self.context.halving))


def _judged(run: Run) -> Model:
    """The model of a run, with all rows of its data."""
    return run.judged_on(run.dataset)


def _gap_measures(trace: Trace) -> dict[str, float]:
    """Statistics of the energy gap d over the last updates.

    Its mean and root mean square, the share of d > 0, the autocorrelation at lag 1, and the
    correlation of d with the following change of the gradient norm.
    """
    swing = oscillation(trace)
    gap = recent(trace.energy_gap)
    values = {
        "gap_mean": float(gap.mean()) if len(gap) else math.nan,
        "gap_rms": float(np.sqrt(np.square(gap).mean())) if len(gap) else math.nan,
        "gap_positive": swing.positive,
        "gap_acf1": swing.acf1,
        "gap_follows": swing.follows,
    }
    return {name: value for name, value in values.items() if math.isfinite(value)}
