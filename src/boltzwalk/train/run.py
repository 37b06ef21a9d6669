"""One run: from settings to a folder, resumed where it stopped, saved before it stops."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data import Dataset
from ..energies.energy import refuse_coupled_layers
from ..replay import Replay
from ..rng import generator
from ..walkers import Walkers
from . import folder as run_folder
from .checkpoint import (
    flatten,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
    unflatten,
    write_atomically,
)
from .loop import Update, train
from .pictures import picture
from .process import StopRequest, keep_freed_memory, only_process, peak_memory
from .settings import Settings, from_yaml, to_yaml
from .tree import differences, to_tree

__all__ = ["Progress", "Run", "draw", "open_run", "restore", "run", "start"]

PICTURED = 100


@dataclass(frozen=True, eq=False)
class Run:
    """A run in memory. The energy, its average and the optimizer are updated in place.

    Attributes:
        settings: What determines it.
        dataset: The data, on the device of the run.
        energy: The energy that learns.
        average: The running average of its parameters, if there is one.
        optimizer: The optimizer of its parameters.
        state: The state of the method.
        update: How many updates have been done.
    """

    settings: Settings
    dataset: Dataset
    energy: nn.Module
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    state: Replay | None
    update: int = 0

    @property
    def model(self) -> nn.Module:
        """The energy that draws samples: the running average where there is one."""
        return self.energy if self.average is None else self.average.module

    def tensors(self) -> dict[str, Tensor]:
        """Returns all that a checkpoint holds, by dotted name."""
        parts = {"energy": self.energy, "average": self.average}
        networks = {
            f"{name}.{key}": tensor
            for name, network in parts.items()
            if network is not None
            for key, tensor in network.state_dict().items()
        }
        averages = optimizer_tensors(self.optimizer, "optimizer")
        return networks | averages | flatten(self.state, "state")


class Progress(NamedTuple):
    """How far a run is, and the row of the log where one was written."""

    update: int
    row: dict[str, float] | None


def start(settings: Settings) -> Run:
    """Returns a run before its first update, from resolved settings.

    Raises:
        ValueError: If the data, the network and the batch do not fit each other.
    """
    keep_freed_memory()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    dataset = settings.data.load().to(settings.device)
    if settings.batch > len(dataset.train):
        raise ValueError(
            f"batch must be at most the {len(dataset.train)} rows of training data, "
            f"got {settings.batch}; write batch={len(dataset.train)}"
        )
    energy = settings.energy.build(dataset.event_shape, settings.seed)
    energy = energy.to(settings.device, dataset.train.dtype)
    refuse_coupled_layers(energy)
    average = None
    if settings.average:
        average = AveragedModel(energy, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
        average.requires_grad_(requires_grad=False)
    rng = generator(settings.seed, "init", 0, settings.device)
    state = settings.method.init(energy, dataset.train, rng)
    return Run(
        settings, dataset, energy, average, settings.optimizer.build(energy.parameters()), state
    )


def restore(run: Run, path: Path) -> Run:
    """Returns the run as a checkpoint of it left it.

    Raises:
        ValueError: If the checkpoint is damaged, or was written by a run with another network,
            method or data.
    """
    tensors, text = load_checkpoint(path)
    if "settings" not in text or "update" not in text:
        raise ValueError(f"{path} must be a checkpoint of boltzwalk; its header has no settings")
    theirs, ours = to_tree(from_yaml(text["settings"], path)), to_tree(run.settings)
    parts = ("data", "energy", "method", "optimizer")
    changed = [line for part in parts for line in differences(theirs[part], ours[part], part)]
    if changed:
        raise ValueError(
            f"{path} was written by a run with other settings ({'; '.join(changed[:4])})"
        )
    for name, network in {"energy": run.energy, "average": run.average}.items():
        if network is not None:
            names = [key for key in tensors if key.startswith(f"{name}.")]
            network.load_state_dict({key.removeprefix(f"{name}."): tensors[key] for key in names})
    load_optimizer(run.optimizer, tensors, "optimizer")
    return replace(run, state=unflatten(run.state, tensors, "state"), update=int(text["update"]))


def open_run(path: Path, device: str | None = None) -> Run:
    """Returns the run of a folder, or of one of its checkpoints, as it was saved last.

    Arguments:
        path: A run folder, or a checkpoint file.
        device: Where to put it; None takes the device it was trained on.

    Raises:
        FileNotFoundError: If there is no run, or nothing was saved yet.
        ValueError: If no checkpoint can be read.
    """
    if path.is_file():
        _, text = load_checkpoint(path)
        settings, candidates = from_yaml(text.get("settings", ""), path), [path]
    else:
        settings, candidates = run_folder.read_settings(path), run_folder.checkpoints(path)
    if not candidates:
        raise FileNotFoundError(
            f"{path} holds no checkpoint yet; `boltzwalk resume {path}` goes on"
        )
    return _newest(start(replace(settings, device=device or settings.device)), candidates)


def _newest(fresh: Run, candidates: list[Path]) -> Run:
    """The run at the newest checkpoint that is whole."""
    problems = []
    for path in candidates:
        try:
            return restore(fresh, path)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems))


def draw(
    run: Run, n: int, rng: torch.Generator, steps: int = 0, from_noise: bool = False
) -> Walkers:
    """Draws samples the way the run was trained: from the same start, by the same kernel.

    Arguments:
        run: The run.
        n: How many.
        rng: The source of the noise.
        steps: The number of kernel steps; 0 takes those of training.
        from_noise: Whether to leave the walkers that were kept alone and start from noise.

    Raises:
        ValueError: If there are fewer walkers in the store.
    """
    settings = run.settings
    state = None if from_noise else run.state
    device = torch.device(settings.device)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
        return settings.method.sample(run.model, run.dataset.train, state, n, rng, steps)


def run(settings: Settings, folder: Path, stop: StopRequest | None = None) -> Iterator[Progress]:
    """Trains a run in its folder, from where it stopped, one update for each item asked for.

    Arguments:
        settings: The resolved settings.
        folder: The run folder; made where there is none.
        stop: A request to stop, looked at after each update. What was learnt is saved first.

    Raises:
        ValueError: If the folder holds another run, or the settings do not fit each other.
        FloatingPointError: If the loss or its gradient is not finite.
        OSError: If the folder cannot be written.
    """
    fresh = start(settings)
    run_folder.prepare(folder, settings)
    with only_process(folder):
        found = run_folder.checkpoints(folder)
        now = _newest(fresh, found) if found else fresh
        for name in ("log.jsonl", "cost.jsonl"):
            run_folder.truncate_rows(folder / name, now.update)
        with _tensorboard(folder, now.update) as events:
            yield from _trained(now, folder, events, stop)


def _trained(
    now: Run,
    folder: Path,
    events: Any,  # noqa: ANN401
    stop: StopRequest | None,
) -> Iterator[Progress]:
    """The updates of a run, and all that is written between them."""
    settings, output, clock = now.settings, now.settings.output, _Clock(folder)
    for done in _named(_updates(now), folder):
        now = replace(now, update=done.update, state=done.state)
        last = done.update == settings.updates
        row = None
        if last or done.update % output.log_every == 0:
            row = {"update": done.update} | {k: float(v) for k, v in done.info.items()}
            run_folder.append_row(folder / "log.jsonl", row)
            run_folder.append_row(folder / "cost.jsonl", clock.row(now))
            for key, value in row.items() if events else ():
                events.add_scalar(key, value, done.update)
        stopping = stop is not None and stop.asked
        if last or stopping or done.update % output.save_every == 0:
            _save(now, folder)
        if last or (output.picture_every and done.update % output.picture_every == 0):
            _draw_picture(now, folder)
        yield Progress(done.update, row)
        if stopping:
            return


def _updates(run: Run) -> Iterator[Update[Replay | None]]:
    settings = run.settings
    return train(
        run.energy,
        settings.method,
        lambda rng: run.dataset.batch(settings.batch, rng),
        run.optimizer,
        state=run.state,
        updates=settings.updates,
        first=run.update,
        seed=settings.seed,
        factor=settings.schedule.factor,
        clip=settings.clip_gradient,
        average=run.average,
        bfloat16=settings.precision == "bf16",
    )


def _named(
    updates: Iterator[Update[Replay | None]], folder: Path
) -> Iterator[Update[Replay | None]]:
    """Adds to the message of a run that goes wrong where it can be taken up again."""
    try:
        yield from updates
    except FloatingPointError as error:
        good = run_folder.checkpoints(folder)
        where = f"the last good checkpoint is {good[0]}" if good else "nothing was saved before"
        raise FloatingPointError(f"{error}. {where.capitalize()}") from error


def _save(run: Run, folder: Path) -> None:
    text = {"settings": to_yaml(run.settings), "update": str(run.update)}
    save_checkpoint(run_folder.checkpoint_path(folder, run.update), run.tensors(), text)
    run_folder.prune(folder, run.settings.output.keep)


def _draw_picture(run: Run, folder: Path) -> None:
    data = run.dataset
    rng = generator(run.settings.seed, "picture", run.update, run.settings.device)
    n = PICTURED if len(data.event_shape) == 3 else 1000
    if run.state is not None:
        n = min(n, len(run.state))
    png = picture(draw(run, n, rng).x, data)
    write_atomically(folder / "samples" / f"update_{run.update:08d}.png", png)
    write_atomically(folder / "samples.png", png)


class _Clock:
    """What a run has cost so far, over all the times it was resumed."""

    def __init__(self, folder: Path) -> None:
        rows = run_folder.read_rows(folder / "cost.jsonl")
        self.before = rows[-1]["seconds"] if rows else 0.0
        self.began = time.monotonic()

    def row(self, run: Run) -> dict[str, Any]:
        settings = run.settings
        walkers = settings.method.walkers or settings.batch
        return {
            "update": run.update,
            "seconds": round(self.before + time.monotonic() - self.began, 3),
            "gradients": run.update * settings.method.gradients(walkers),
            "peak_memory_mb": round(peak_memory(torch.device(settings.device)), 1),
        }


def _tensorboard(folder: Path, update: int) -> Any:  # noqa: ANN401
    """A writer of events, or nothing where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return nullcontext()
    return SummaryWriter(str(folder / "tensorboard"), purge_step=update + 1)
