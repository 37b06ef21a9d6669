"""A run in memory: from settings, or from what a checkpoint kept of it."""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data import Dataset
from ..energy import refuse_coupled_layers
from ..methods.condition import build_energy, condition_of
from ..methods.replay import Replay
from ..rng import generator
from ..settings.settings import Settings, carries_weights, from_yaml, resolve, to_yaml
from ..settings.tree import differences, to_tree
from ..walkers import Walkers
from . import folder as run_folder
from .checkpoint import (
    flatten,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
    unflatten,
)
from .process import keep_freed_memory

__all__ = [
    "Run",
    "content",
    "open_run",
    "restore",
    "restore_newest",
    "save",
    "start",
]


@dataclass(frozen=True, eq=False)
class Run:
    """A run in memory. The energy, its average and the optimizer are updated in place.

    Attributes:
        settings: What determines it.
        dataset: The data, on the device of the run.
        energy: The energy that learns.
        method: How it learns; a network itself where it learns something beside the energy.
        average: The running average of its parameters, if there is one.
        optimizer: The optimizer of its parameters.
        state: The state of the method.
        witness: The walkers that watch, if there are any.
        fingerprint: The digest of the data, which tells whether they have changed.
        update: How many updates have been done.
    """

    settings: Settings
    dataset: Dataset
    energy: nn.Module
    method: Any  # each has a type of its own
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    state: Any  # each method has a type of its own
    witness: Walkers | None
    fingerprint: str
    update: int = 0

    @property
    def model(self) -> nn.Module:
        """The energy that draws samples: the running average where there is one."""
        return self.energy if self.average is None else self.average.module

    def arithmetic(self) -> torch.autocast:
        """Returns the precision that it was trained in, a context for its networks to work in."""
        kind = torch.device(self.settings.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def tensors(self) -> dict[str, Tensor]:
        """Returns all that a checkpoint holds, by dotted name."""
        networks = {
            f"{name}.{key}": tensor
            for name, network in _networks(self).items()
            for key, tensor in network.state_dict().items()
        }
        averages = optimizer_tensors(self.optimizer, "optimizer")
        walkers = flatten(self.state, "state") | flatten(self.witness, "witness")
        return networks | averages | walkers


def start(settings: Settings, dataset: Dataset | None = None) -> Run:
    """Returns a run before its first update, from resolved settings.

    Arguments:
        settings: The settings.
        dataset: Their data on their device, where they were loaded before; None loads them.

    Raises:
        ValueError: If the data, the network, the walkers and the batch do not fit each other.
    """
    keep_freed_memory()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    dataset = dataset or settings.data.load().to(settings.device)
    if settings.batch > len(dataset.train):
        raise ValueError(
            f"batch must be at most the {len(dataset.train)} rows of training data, "
            f"got {settings.batch}; write batch={len(dataset.train)}"
        )
    rows: Any = condition_of(settings.method).rows(dataset)  # each method takes its own
    method: Any = settings.method.build(
        dataset.event_shape, generator(settings.seed, "method network").initial_seed(), rows
    )
    weights = generator(settings.seed, "network").initial_seed()
    energy = build_energy(
        condition_of(method), settings.energy, dataset.event_shape, weights, dataset.train
    ).to(settings.device, dataset.train.dtype)
    refuse_coupled_layers(energy)
    average = None
    if settings.average:
        average = AveragedModel(energy, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
        average.requires_grad_(requires_grad=False)
    rng = generator(settings.seed, "init", 0, settings.device)
    groups: list[dict[str, Any]] = [{"params": list(energy.parameters())}]
    learns = isinstance(method, nn.Module)
    if learns:
        method.to(settings.device, dataset.train.dtype)
        groups += method.groups()
    state = method.init(energy, rows, rng)
    needed = getattr(settings.method, "walkers", 0) or settings.batch
    if isinstance(state, Replay) and len(state) < needed:
        raise ValueError(
            f"start.size must be at least the {needed} walkers of one update, got {len(state)}; "
            f"write start.size={needed} or more"
        )
    witness = None
    if settings.witness.walkers:
        rng = generator(settings.seed, "witness init", 0, settings.device)
        witness = settings.witness.init(settings.method.kernel, energy, dataset.train, rng)
    optimizer = settings.optimizer.build(groups)
    digest = _digest(dataset)
    return Run(settings, dataset, energy, method, average, optimizer, state, witness, digest)


def save(run: Run, path: Path) -> None:
    """Writes a checkpoint.

    Raises:
        FloatingPointError: If anything in it is not finite.
        OSError: If it cannot be written.
    """
    text = {
        "settings": to_yaml(run.settings),
        "update": str(run.update),
        "data": run.fingerprint,
    }
    save_checkpoint(path, run.tensors(), text)


def restore(run: Run, path: Path) -> Run:
    """Returns the run as a checkpoint of it left it.

    Raises:
        ValueError: If the checkpoint is damaged, or was written by a run with another network,
            another start of the walkers or other data.
    """
    tensors, text = load_checkpoint(path)
    if not {"settings", "update", "data"} <= text.keys():
        raise ValueError(f"{path} must be a checkpoint of boltzwalk; its header has no settings")
    theirs, ours = (_what_is_kept(s) for s in (from_yaml(text["settings"], path), run.settings))
    if run.witness is None:  # which may leave at any time, but not come in
        theirs["witness"] = ours["witness"]
        if not carries_weights(run.settings):
            theirs["temperature"] = None
    changed = differences(theirs, ours)
    if changed:
        raise ValueError(
            f"{path} was written by a run with other settings ({'; '.join(changed[:4])})"
        )
    if text["data"] != run.fingerprint:
        raise ValueError(
            f"the data are not those that {path} was trained on; put the old file back, or train "
            "the new one under another --name"
        )
    for name, network in _networks(run).items():
        names = [key for key in tensors if key.startswith(f"{name}.")]
        try:
            network.load_state_dict({k.removeprefix(f"{name}."): tensors[k] for k in names})
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold this network: {error}") from error
    load_optimizer(run.optimizer, tensors, "optimizer")
    return replace(
        run,
        state=unflatten(run.state, tensors, "state"),
        witness=unflatten(run.witness, tensors, "witness"),
        update=int(text["update"]),
    )


def restore_newest(fresh: Run, candidates: list[Path]) -> Run:
    """Returns the run at the newest checkpoint that is whole; warns of those that are not.

    Raises:
        ValueError: If none is whole.
    """
    problem = ValueError("there is no checkpoint")
    for path in candidates:
        try:
            found = restore(fresh, path)
        except ValueError as error:
            problem = error
            continue
        if path != candidates[0]:
            warnings.warn(f"{candidates[0]} is damaged, went back to {path}", stacklevel=2)
        return found
    raise problem


def open_run(path: Path, device: str | None = None, dataset: Dataset | None = None) -> Run:
    """Returns the run of a folder, as it was saved last or best, or of one of its checkpoints.

    Arguments:
        path: A run folder, or a checkpoint file.
        device: Where to put it; None takes the device it was trained on.
        dataset: Its data on that device, where they were loaded before; None loads them.

    Raises:
        FileNotFoundError: If there is no run, or nothing was saved yet.
        ValueError: If no checkpoint can be read, or the device does not exist here.
    """
    if path.is_file():
        _, text = load_checkpoint(path)
        settings, candidates = from_yaml(text.get("settings", ""), path), [path]
    else:
        settings, candidates = run_folder.read_settings(path), run_folder.checkpoints(path)
        best = run_folder.best_checkpoint(path) if settings.output.best else None
        candidates.sort(key=lambda candidate: candidate != best)  # the others stay in their order
    if not candidates:
        raise FileNotFoundError(
            f"{path} holds no checkpoint yet; `boltzwalk resume {path}` goes on"
        )
    here = resolve(replace(settings, device=device or settings.device))
    return restore_newest(start(here, dataset), candidates)


def content(run: Run) -> str:
    """Returns a digest of all that the samples and numbers of a run depend on.

    Arguments:
        run: The run.
    """
    kept = {key: value for key, value in to_tree(run.settings).items() if key != "output"}
    digest = hashlib.sha256(json.dumps([kept, run.fingerprint, run.update]).encode())
    for name, tensor in sorted(run.tensors().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _networks(run: Run) -> dict[str, nn.Module]:
    """The networks of a run by the name that they have in a checkpoint."""
    parts = {"energy": run.energy, "average": run.average, "method": run.method}
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def _what_is_kept(settings: Settings) -> dict[str, Any]:
    """The settings that give the tensors of a checkpoint their meaning."""
    tree = to_tree(settings)
    return {
        "energy": tree["energy"],
        "method": tree["method"]["kind"],
        "networks": {
            k: tree["method"].get(k)
            for k in ("start", "generator", "vae", "condition", "base", "relative")
        },
        "witness": {key: tree["witness"][key] for key in ("walkers", "replicates")},
        "temperature": settings.method.kernel.temperature if carries_weights(settings) else None,
        "optimizer": tree["optimizer"]["kind"],
        "average": bool(tree["average"]),
    }


@functools.lru_cache(maxsize=4)  # the same object is the same data: they are immutable
def _digest(dataset: Dataset) -> str:
    """A digest of the training rows and of what turns them into original units."""
    digest = hashlib.sha256()
    for tensor in (dataset.train, dataset.shift, dataset.scale):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
