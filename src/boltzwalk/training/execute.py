"""The training driver: updates, guard, log, checkpoints and pictures of a run in its folder."""

from __future__ import annotations

import json
import shlex
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ..data import Dataset
from ..data.rows import Batch
from ..durable import write_atomically
from ..energy import check_energy
from ..rng import generator
from ..settings.settings import Settings
from ..settings.tree import to_tree
from . import changes, guard_record, recovery
from . import folder as run_folder
from .code import write_code
from .description import training_data, write_description
from .events import event_writer
from .evidence import log_evidence, validation_metrics
from .folder import Recorder
from .guard import Alarm, Diagnosis, Guard
from .loop import BATCH, REFUSED, Update, train_loop
from .process import only_process, peak_memory
from .row_scale import Batches, RowScale, row_scale
from .run import Run, restore_newest, save, start
from .run_pictures import picture_is_due, picture_path, try_picture
from .signals import StopRequest

__all__ = [
    "Progress",
    "execute",
    "updates",
]


class Progress(NamedTuple):
    """How far a run is, the row of the log where one was written, and the run itself."""

    update: int
    row: dict[str, float] | None
    run: Run


def execute(
    settings: Settings,
    folder: Path,
    stop: StopRequest | None = None,
    dataset: Dataset | None = None,
    events: bool = True,
    energy: nn.Module | None = None,
    changed: bool = False,
) -> Iterator[Progress]:
    """Trains a run in its folder, from where it stopped, one update for each item asked for.

    Nothing in the folder changes before all is checked and the folder is held.

    Arguments:
        settings: The resolved settings.
        folder: The run folder; made where there is none.
        stop: A request to stop, looked at after each update. What was learnt is saved first.
        dataset: The data on the device of the run, where they were loaded before.
        events: Whether TensorBoard gets the log as well, where it is installed.
        energy: The module that learns, where it was given in Python; None builds it.
        changed: Whether the settings may differ from those in the folder.

    Raises:
        ValueError: If the folder holds another run, or the settings do not fit each other.
        FloatingPointError: If the loss or its gradient is not finite.
        OSError: If the folder cannot be written.
    """
    rows = dataset or training_data(settings, folder).to(settings.device)
    fresh = start(settings, rows, energy, restoring=bool(run_folder.checkpoints(folder)))
    is_outside = type(settings.energy).__module__.partition(".")[0] != "boltzwalk"
    if is_outside:
        condition = fresh.method.condition
        every = condition.rows(rows)
        few = Batch(every.x[:4], None if every.labels is None else every.labels[:4])
        rng = generator(settings.seed, "probe", 0, settings.device)
        check_energy(fresh.energy, few.x, condition.of(few, rng))
    _require_folder(folder, settings, changed)
    folder.mkdir(parents=True, exist_ok=True)
    with only_process(folder):
        _require_folder(folder, settings, changed)  # another process may have trained meanwhile
        saved = run_folder.checkpoints(folder)
        if not saved and energy is None and getattr(settings.energy, "from_python", False):
            raise ValueError(
                f"{folder} has no checkpoint yet, and its energy was given in Python; begin again "
                "with the same boltzwalk.train"
            )
        before = run_folder.read_settings(folder) if changed else None
        ended = None if before is None else guard_record.forget(folder, before, settings)
        now = _at_newest(fresh, folder, before, [] if ended is None else [ended])
        finished = now.update >= settings.updates  # and then left as it is, but for damage
        if ended is not None:
            guard_record.record(folder, ended)
        if before is not None:
            changes.change(folder, settings, finished)
        else:
            run_folder.write_settings(folder, settings, finished)
        write_description(folder, now.dataset)
        if not finished:
            write_code(folder, settings)
        run_folder.remove_temporaries(folder)
        (folder / run_folder.FAILURE).unlink(missing_ok=True)
        events = events and settings.output.events and not finished
        yield from _named(_guarded(now, folder, events, stop), folder)


def _at_newest(
    fresh: Run,
    folder: Path,
    before: Settings | None = None,
    more: Sequence[guard_record.Action] = (),
) -> Run:
    """The run at its newest checkpoint, with the remedies that are in force; or a fresh one.

    `before` are its settings so far, where a user changes them; `more` are actions to come.
    """
    past = guard_record.actions(folder)
    done = [*past, *more]
    settings = guard_record.with_remedies(fresh.settings, done)
    proven = [path for path in recovery.proven(folder) if done or run_folder.update_of(path)]
    saved = run_folder.checkpoints(folder) + proven
    saved.sort(key=run_folder.update_of, reverse=True)
    if not saved:
        return fresh
    if done or fresh.update:
        given = recovery.first_network(fresh, folder)
        fresh = start(settings, fresh.dataset, given, restoring=True)
    known = None if before is None else guard_record.with_remedies(before, past)
    return recovery.treated(restore_newest(fresh, saved, known), done)


def _guarded(
    now: Run,
    folder: Path,
    events: bool,
    stop: StopRequest | None,
) -> Iterator[Progress]:
    """The updates of a run; after an alarm it goes on from a proven checkpoint."""
    mode = now.settings.guard
    scale = None if mode == "off" else row_scale(now.dataset.train)
    while True:
        for name in run_folder.ROWS:
            run_folder.truncate_rows(folder / name, now.update)
        saved = run_folder.checkpoints(folder)
        if saved and saved[0] == run_folder.checkpoint_path(folder, now.update):  # it is whole
            _prune(folder, now.settings)
        guard = None if scale is None else _guard_of(now, scale)
        with event_writer(folder, now.update) if events else nullcontext() as writer:
            alarm = yield from _trained(now, folder, writer, stop, guard)
        if alarm is None:
            return
        action = recovery.plan(alarm, guard_record.actions(folder), now.settings, folder)
        recovery.discard_later(folder, action.back_to)  # before the record
        if action.remedy == "stop":
            recovery.keep_as_newest(folder, action.back_to)
        guard_record.record(folder, action)
        if action.remedy == "stop":
            raise FloatingPointError(recovery.why_stopped(folder, action))
        warnings.warn(guard_record.told(action), stacklevel=2)
        now = _at_newest(now, folder)


def _guard_of(run: Run, scale: RowScale) -> Guard:
    """The guard of a run as its checkpoint left it."""
    settings = run.settings
    initial, updates = settings.optimizer.learning_rate, settings.updates

    def rate(update: int) -> float:
        return initial * settings.schedule.factor(update, updates)

    batches = Batches(scale, len(run.dataset.train))
    guard = Guard(batches, updates, rate, run.method.weighted, settings.guard == "act")
    return guard.with_text(run.remembered, _guard_key(run))


def _guard_key(run: Run) -> str:
    """The settings on which the values depend that a guard compares."""
    tree = to_tree(run.settings)
    return json.dumps([tree[name] for name in ("optimizer", "schedule", "updates", "method")])


def _require_folder(folder: Path, settings: Settings, changed: bool) -> None:
    """Raises where the folder cannot take the run."""
    if changed:
        before = run_folder.read_settings(folder)
        changes.require_changeable(before, settings)
        changes.require_resumable(folder, before, settings)
    else:
        changes.require_usable(folder, settings)


def _trained(
    now: Run,
    folder: Path,
    events: Callable[[Mapping[str, float]], None] | None,
    stop: StopRequest | None,
    guard: Guard | None,
) -> Generator[Progress, None, Alarm | None]:
    """The updates of a run, and all that is written between them; the alarm that ends them."""
    settings, output, clock = now.settings, now.settings.output, _Clock(folder)
    trace = Recorder(folder / "trace.jsonl")
    if guard is not None and guard.acts and not recovery.proven(folder):
        save(now, recovery.proven_path(folder, now.update))  # the oldest to go back to
    if now.update and picture_is_due(now) and not picture_path(folder, now.update).exists():
        try_picture(now.model(folder), folder)  # the process ended between checkpoint and picture
    for done, failure in _traced(now, trace, guard):
        if done is None:
            return failure
        now = replace(now, update=done.update, state=done.state, witness=done.witness)
        last = done.update == settings.updates
        row = None
        if guard is not None and (alarm := _alarm(now, done, guard, folder)):
            return alarm
        if last or done.update % output.log_every == 0:
            trace.write(done.update)
            row = {"update": done.update} | {k: float(v) for k, v in done.info.items()}
            row |= validation_metrics(now, row)
            row |= log_evidence(now.judged_on(now.dataset), last)
            run_folder.append_row(folder / "log.jsonl", row)
            run_folder.append_row(folder / "cost.jsonl", clock.row(now))
            if events is not None:
                events(row)
        stopping = stop is not None and stop.asked
        saving = last or stopping or done.update % output.save_every == 0
        proving = guard is not None and guard.acts and done.update % recovery.every(settings) == 0
        if saving or proving:
            trace.write(done.update)
            run_folder.flush_rows(folder)  # a checkpoint must not know more than the log
            now = now if guard is None else replace(now, remembered=guard.text(_guard_key(now)))
        if proving:
            save(now, recovery.proven_path(folder, now.update))
            recovery.thin(folder, now.update)
        if saving:
            save(now, run_folder.checkpoint_path(folder, now.update))
            _prune(folder, settings)
        if picture_is_due(now):  # after the checkpoint, which it must never cost
            try_picture(now.model(folder), folder)
        yield Progress(done.update, row, now)
        if stopping:
            break
    return None


def _alarm(now: Run, done: Update[Any], guard: Guard, folder: Path) -> Alarm | None:
    """The alarm to act on after an update; one that is only told is recorded."""
    refused = int(done.info.get("batches_refused", 0))
    alarm = guard.check(done.update, done.info, now.optimizer)
    told = Alarm("batch", guard.refused, done.update) if refused else alarm
    if told is None or (guard.acts and not refused):
        return alarm
    action = guard_record.Action(told.update, told.diagnosis, told.reason)
    if guard_record.record(folder, action):
        warnings.warn(guard_record.told(action), stacklevel=2)
    return alarm if guard.acts else None


def _prune(folder: Path, settings: Settings) -> None:
    """Deletes the checkpoints that are neither among the newest nor the best."""
    best = run_folder.best_checkpoint(folder) if settings.output.best else None
    run_folder.prune(folder, settings.output.keep, best)


def _traced(
    run: Run, trace: Recorder, guard: Guard | None
) -> Iterator[tuple[Update[Any], None] | tuple[None, Alarm]]:
    """The updates of a run, recorded; the trace is also written where one fails.

    Where a guard acts a failure is an alarm, without an update.
    """
    update = run.update
    try:
        for one in updates(run, guard):
            trace.add(one.info)
            update = one.update
            yield one, None
    except FloatingPointError as error:
        trace.write(update)
        if guard is None or not guard.acts:
            raise
        text = str(error).partition(": ")[2]
        cause: Diagnosis = "batch" if text.startswith((BATCH, REFUSED)) else "not finite"
        yield None, Alarm(cause, text, update + 1)


def updates(run: Run, guard: Guard | None = None) -> Iterator[Update[Any]]:
    """Returns the updates that a run has left, each made when it is asked for.

    Arguments:
        run: The run.
        guard: Looks at batches before they are learnt from; None learns from all.
    """
    settings, condition, kernel = run.settings, run.method.condition, run.method.kernel
    return train_loop(
        run.energy,
        run.method,
        lambda rng: condition.batch(run.dataset, settings.batch, rng),
        run.optimizer,
        state=run.state,
        updates=settings.updates,
        first=run.update,
        seed=settings.seed,
        factor=settings.schedule.factor,
        clip=settings.clip_gradient,
        average=run.average,
        bfloat16=settings.precision == "bf16",
        watch=None if kernel is None else partial(settings.witness.step, kernel),
        witness=run.witness,
        columns=run.dataset.columns,
        batch_problem=None if guard is None else guard.refuse,
    )


def _named(progress: Iterator[Progress], folder: Path) -> Iterator[Progress]:
    """Adds to the message of a run that goes wrong where it can be taken up again."""
    try:
        yield from progress
    except FloatingPointError as error:
        with suppress(OSError):  # the message matters more
            write_atomically(folder / run_folder.FAILURE, f"{error}\n".encode())
        good = run_folder.checkpoints(folder)
        resume = shlex.join(["boltzwalk", "resume", str(folder)])
        where = "Nothing was saved before"
        if good and BATCH in str(error):
            where = f"The last good checkpoint is {good[0]}: mend the data, then `{resume}`"
        elif good:
            where = (
                f"The last good checkpoint is {good[0]}: go on from it with other settings, "
                f"`{resume} learning_rate=...`, or delete it to go back further"
            )
        raise FloatingPointError(f"{error}. {where}") from error


class _Clock:
    """The cost of a run so far, over all the times it was resumed."""

    def __init__(self, folder: Path) -> None:
        rows = run_folder.read_rows(folder / "cost.jsonl")
        self.before = float(rows[-1].get("seconds", 0.0)) if rows else 0.0
        self.began = time.monotonic()

    def row(self, run: Run) -> dict[str, Any]:
        settings = run.settings
        return {
            "update": run.update,
            "seconds": round(self.before + time.monotonic() - self.began, 3),
            "gradients": run.update * run.method.gradients(settings.batch),
            "peak_memory_mb": round(peak_memory(torch.device(settings.device)), 1),
        }
