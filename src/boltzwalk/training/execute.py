r"""The training driver: updates, log, checkpoints, pictures, and metrics of validation rows.

With :math:`\log Z` from weighted walkers, the mean of :math:`U(x) / T + \log Z` over held-out rows
is the cross-entropy in nats, in model units; original units add
:meth:`~boltzwalk.data.Dataset.log_jacobian`. For an energy that knows its :math:`\log Z` it is
exact, and decides which update is kept.
"""

from __future__ import annotations

import math
import shlex
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ..checkpoint import write_atomically
from ..data import Dataset
from ..data.rows import Batch
from ..energy import check_energy
from ..method import can_sample
from ..model import Model
from ..rng import generator
from ..settings.settings import Settings
from . import changes
from . import folder as run_folder
from .code import write_code
from .description import training_data, write_description
from .events import event_writer
from .evidence import log_evidence
from .folder import NLL, Recorder
from .loop import BATCH, Update, train_loop
from .pictures import image_png, picture, picture_of_classes
from .process import only_process, peak_memory
from .run import Run, restore_newest, save, start
from .signals import StopRequest

__all__ = [
    "Progress",
    "draw_picture",
    "execute",
    "picture_path",
    "try_picture",
    "updates",
    "validation_metrics",
]


PICTURED = 100
COMPLETED = 12


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
    if is_outside and fresh.method.condition.unconditional:
        check_energy(fresh.energy, rows.train[:4])
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
        now = restore_newest(fresh, saved, before) if saved else fresh
        finished = now.update >= settings.updates  # and then left as it is, but for damage
        if changed:
            changes.change(folder, settings, finished)
        else:
            run_folder.write_settings(folder, settings, finished)
        write_description(folder, now.dataset)
        if not finished:
            write_code(folder, settings)
        run_folder.remove_temporaries(folder)
        for name in run_folder.ROWS:
            run_folder.truncate_rows(folder / name, now.update)
        if saved and saved[0] == run_folder.checkpoint_path(folder, now.update):  # it is whole
            _prune(folder, settings)
        events = events and settings.output.events and not finished
        with event_writer(folder, now.update) if events else nullcontext() as writer:
            (folder / run_folder.FAILURE).unlink(missing_ok=True)
            yield from _named(_trained(now, folder, writer, stop), folder)


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
) -> Iterator[Progress]:
    """The updates of a run, and all that is written between them."""
    settings, output, clock = now.settings, now.settings.output, _Clock(folder)
    trace = Recorder(folder / "trace.jsonl")
    if now.update and _picture_is_due(now) and not picture_path(folder, now.update).exists():
        try_picture(now.model(folder), folder)  # the process ended between checkpoint and picture
    for done in _traced(updates(now), trace, now.update):
        now = replace(now, update=done.update, state=done.state, witness=done.witness)
        last = done.update == settings.updates
        row = None
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
        if last or stopping or done.update % output.save_every == 0:
            trace.write(done.update)
            run_folder.flush_rows(folder)  # a checkpoint must not know more than the log
            save(now, run_folder.checkpoint_path(folder, now.update))
            _prune(folder, settings)
        if _picture_is_due(now):  # after the checkpoint, which it must never cost
            try_picture(now.model(folder), folder)
        yield Progress(done.update, row, now)
        if stopping:
            return


def _prune(folder: Path, settings: Settings) -> None:
    """Deletes the checkpoints that are neither among the newest nor the best."""
    best = run_folder.best_checkpoint(folder) if settings.output.best else None
    run_folder.prune(folder, settings.output.keep, best)


def _picture_is_due(now: Run) -> bool:
    """Whether a picture is drawn after this update."""
    output = now.settings.output
    last = now.update == now.settings.updates
    due = last or bool(output.picture_every and now.update % output.picture_every == 0)
    return output.pictures and due and can_sample(now.method)


def picture_path(folder: Path, update: int) -> Path:
    """Returns where the picture of an update belongs."""
    return folder / "samples" / f"update_{update:08d}.png"


def _traced(done: Iterator[Update[Any]], trace: Recorder, update: int) -> Iterator[Update[Any]]:
    """Records every update; the trace is also written where one fails."""
    try:
        for one in done:
            trace.add(one.info)
            update = one.update
            yield one
    except FloatingPointError:
        trace.write(update)
        raise


def updates(run: Run) -> Iterator[Update[Any]]:
    """Returns the updates that a run has left, each made when it is asked for."""
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


def draw_picture(model: Model, folder: Path) -> None:
    """Draws samples into the folder, under the number of the update and as samples.png.

    A model of classes has a line for each; one that completes images has three lines: the observed
    pixels of held-out images, their completions, and the images.
    """
    data, condition = model.data, model.method.condition
    rng = generator(model.settings.seed, "picture", model.update, model.device)
    n = model.available(PICTURED if len(data.event_shape) == 3 else 1000)
    if condition.completes:
        rows = data.test_rows()[0][:COMPLETED]
        c = condition.of(Batch(rows), rng)
        assert c is not None
        x = model.draw(len(rows), rng, c=c).x
        png = image_png(torch.cat([c[:, :-1], x, rows]), data, len(rows))
    else:
        labels = condition.labels(data, n)
        x = model.draw(n, rng, c=condition.of_labels(labels)).x
        png = picture(x, data) if labels is None else picture_of_classes(x, labels, data)
    write_atomically(picture_path(folder, model.update), png)
    write_atomically(folder / "samples.png", png)


PICTURE_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError),
)
"""The errors by which a picture may fail; none of them may cost a run."""


def try_picture(model: Model, folder: Path) -> None:
    """Draws samples into the folder as `draw_picture` does; warns where that fails.

    Arguments:
        model: The model.
        folder: The run folder.

    Raises:
        FloatingPointError: If the samples are not finite.
    """
    try:
        draw_picture(model, folder)
    except FloatingPointError:
        raise
    except PICTURE_ERRORS as error:
        warnings.warn(
            f"no picture of update {model.update} ({type(error).__name__}: {error}); the run goes "
            "on",
            stacklevel=2,
        )


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


ROWS = 1000
"""The rows whose energies are taken at every row of the log, at most."""


@torch.no_grad()
def validation_metrics(run: Run, row: dict[str, float]) -> dict[str, float]:
    """Returns the metrics of validation rows to log beside the numbers of an update.

    The mean energy; where the energy knows its log Z, this and the exact mean of -log p; where
    walkers carry log Z, the cross-entropy with it; and where a witness does, the same with the
    half-width of its 95 % interval, which has both the error of log Z and that of the mean over the
    rows.

    Arguments:
        run: The run after an update.
        row: The numbers of the update.
    """
    rows = run.dataset.validation
    rows = rows[:: -(-len(rows) // ROWS) or 1]  # spread over all of them, which may be sorted
    model = run.judged_on(run.dataset)
    temperature, unconditional = model.temperature, model.method.condition.unconditional
    if len(rows) < 2 or not temperature > 0 or not unconditional:
        return {}
    u = run.energy(rows).cpu().double() / temperature
    metrics = {"energy_validation": float(u.mean()) * temperature}
    if "log_z" in row:
        metrics["cross_entropy_validation"] = float(u.mean()) + row["log_z"]
    log_z = model.known_log_z()
    if run.average is not None and (log_z is not None or "witness_log_z" in row):
        u = model.module(rows).cpu().double() / temperature
    if log_z is not None and temperature == 1:
        metrics[NLL] = float(u.mean()) + log_z
        metrics["log_z_exact"] = log_z
    if "witness_log_z" in row:
        error = 1.96 * float(u.std()) / math.sqrt(len(u))
        metrics["witness_cross_entropy"] = float(u.mean()) + row["witness_log_z"]
        metrics["witness_cross_entropy_half_width"] = math.hypot(error, row["witness_half_width"])
    return metrics
