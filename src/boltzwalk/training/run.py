"""A run in memory: from settings, or from a checkpoint."""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..base import as_base
from ..checkpoint import (
    flatten,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
    unflatten,
)
from ..data import Dataset
from ..energy import check_energy, require_rowwise_energy
from ..method import Method, learned_module, with_defaults
from ..model import Model
from ..rng import generator
from ..settings.settings import Settings, carries_weights, from_yaml, resolve_auto, to_yaml
from ..settings.tree import differences, from_tree, override, to_tree
from ..walkers import Walkers
from . import folder as run_folder
from .code import code_needed
from .description import read_description, training_data
from .guard_record import actions, with_remedies
from .process import keep_freed_memory

__all__ = [
    "Run",
    "content",
    "open_model",
    "open_run",
    "require_trained_on",
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
        dataset: The data, or the sample of a run folder, on the device of the run.
        energy: The energy that learns.
        method: How it learns; a network itself where it learns something beside the energy.
        average: The running average of its parameters, if there is one.
        optimizer: The optimizer of its parameters.
        state: The state of the method.
        witness: The witness, if there is one.
        update: How many updates have been done.
        remembered: The values that the guard remembers, as text.
    """

    settings: Settings
    dataset: Dataset
    energy: nn.Module
    method: Method[Any]
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    state: Any  # of the type that the method returns
    witness: Walkers | None
    update: int = 0
    remembered: str = ""

    def model(self, folder: Path | None = None) -> Model:
        """Returns the model, with a sample of the data.

        Arguments:
            folder: The run folder; None for a run that is not kept.
        """
        return self.judged_on(self.dataset.sample(), folder)

    def judged_on(self, data: Dataset, folder: Path | None = None) -> Model:
        """Returns the model with other rows of its data, such as all of them.

        Arguments:
            data: The rows.
            folder: The run folder; None for a run that is not kept.
        """
        module = self.energy if self.average is None else self.average.module
        digest = functools.partial(content, self)
        return Model(
            module, self.method, self.state, data, self.settings, self.update, digest, folder
        )

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint, by dotted name."""
        networks = {
            f"{name}.{key}": tensor
            for name, network in _networks(self).items()
            for key, tensor in network.state_dict().items()
        }
        averages = optimizer_tensors(self.optimizer, "optimizer")
        walkers = flatten(self.state, "state") | flatten(self.witness, "witness")
        return networks | averages | walkers


def start(
    settings: Settings,
    dataset: Dataset | None = None,
    energy: nn.Module | None = None,
    restoring: bool = False,
) -> Run:
    """Returns a run before its first update, from resolved settings.

    Arguments:
        settings: The settings.
        dataset: Their data on their device, where they were loaded before; None loads them.
        energy: The module that learns, where it was given in Python; None builds it.
        restoring: Whether a checkpoint follows, so that nothing is fitted to the rows.

    Raises:
        ValueError: If the data, the network, the walkers and the batch do not fit each other.
    """
    keep_freed_memory()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    dataset = dataset or settings.data.load().to(settings.device)
    most = len(dataset.train) if dataset.full is None else dataset.full.train
    if getattr(settings.energy, "any_rows", False):
        settings = replace(settings, batch=min(settings.batch, most))
    if settings.batch > most:
        raise ValueError(
            f"batch must be at most the {most} rows of training data, got {settings.batch}; write "
            f"batch={most}"
        )
    unbuilt = with_defaults(settings.method)
    rows = unbuilt.condition.rows(dataset)
    seed = generator(settings.seed, "method network").initial_seed()
    method = with_defaults(unbuilt.build(dataset.event_shape, seed, rows), built=True)
    if method.base is not None and method.condition.unconditional:
        as_base(method.base)
    method.check_batch(settings.batch)
    network: Any = energy or _network(settings, method, dataset)
    network = network.to(settings.device, dataset.train.dtype)
    require_rowwise_energy(network)
    if hasattr(network, "initialise") and not restoring:
        rng = generator(settings.seed, "initialise", 0, settings.device)
        network.initialise(dataset.dequantised(dataset.train, rng), rng)
    average = None
    if settings.average:
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
        average.requires_grad_(requires_grad=False)
    groups: list[dict[str, Any]] = [{"params": list(network.parameters())}]
    if (module := learned_module(method)) is not None:
        module.to(settings.device, dataset.train.dtype)
        groups += method.parameter_groups()
    rng = generator(settings.seed, "init", 0, settings.device)
    state = method.init(network, rows, rng)
    flatten(state, "state")  # a checkpoint must be able to hold it
    witness = None
    if settings.witness.walkers:
        assert method.kernel is not None
        rng = generator(settings.seed, "witness init", 0, settings.device)
        witness = settings.witness.init(method.kernel, network, dataset.train, rng)
    optimizer = settings.optimizer.build(groups)
    return Run(settings, dataset, network, method, average, optimizer, state, witness)


def _network(settings: Settings, method: Method[Any], dataset: Dataset) -> nn.Module:
    """The energy of the settings, with its first parameters."""
    seed = generator(settings.seed, "network").initial_seed()
    shape, rows = dataset.event_shape, dataset.train
    return method.condition.build_energy(settings.energy, shape, seed, rows)


def save(run: Run, path: Path) -> None:
    """Writes a checkpoint.

    Raises:
        FloatingPointError: If anything in it is not finite.
        OSError: If it cannot be written.
    """
    text = {
        "settings": to_yaml(run.settings),
        "update": str(run.update),
        "data": run.dataset.digest,
        "guard": run.remembered,
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
    saved = _compatibility_key(from_yaml(text["settings"], path))
    current = _compatibility_key(run.settings)
    if run.witness is None:  # which may leave at any time, but not come in
        saved["witness"] = current["witness"]
        if not carries_weights(run.settings):
            saved["temperature"] = None
    if changed := differences(saved, current):
        raise ValueError(
            f"{path} was written by a run with other settings ({'; '.join(changed[:4])})"
        )
    _require_digest(run.dataset, text["data"], path)
    for name, network in _networks(run).items():
        names = [key for key in tensors if key.startswith(f"{name}.")]
        try:
            network.load_state_dict({k.removeprefix(f"{name}."): tensors[k] for k in names})
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold this network: {error}") from error
    load_optimizer(run.optimizer, tensors, "optimizer")
    if run.witness is not None:  # without a record of effective sample sizes log Z is refused
        record = f"witness.memory.{len(run.witness.memory) - 1}"
        tensors.setdefault(record, torch.full_like(run.witness.log_w, torch.nan))
    return replace(
        run,
        state=unflatten(run.state, tensors, "state"),
        witness=unflatten(run.witness, tensors, "witness"),
        update=int(text["update"]),
        remembered=text.get("guard", ""),
    )


def require_trained_on(folder: Path, dataset: Dataset) -> None:
    """Raises where a run was trained on other data.

    Arguments:
        folder: The run folder.
        dataset: The data.

    Raises:
        ValueError: If they are others, or its newest checkpoint is damaged.
    """
    for path in run_folder.checkpoints(folder)[:1]:
        _require_digest(dataset, load_checkpoint(path)[1].get("data", ""), path)


def _require_digest(dataset: Dataset, digest: str, path: Path) -> None:
    """Raises where data are not those of a checkpoint."""
    if not dataset.has_digest(digest):
        raise ValueError(
            f"the data are not those that {path} was trained on; put the old file back, or train "
            "the new one under another --name"
        )


def restore_newest(fresh: Run, candidates: list[Path]) -> Run:
    """Returns the run at the newest checkpoint that is whole; warns of those that are not.

    Raises:
        ValueError: If none is whole.
    """
    problem: ValueError | None = None
    for path in candidates:
        try:
            restored = restore(fresh, path)
        except ValueError as error:
            problem = problem or error
            continue
        if path != candidates[0]:
            warnings.warn(f"{candidates[0]} is damaged, went back to {path}", stacklevel=2)
        return restored
    if problem is not None and len(candidates) > 1:
        raise ValueError(
            f"one checkpoint of {candidates[0].parent} must be readable, got {len(candidates)} "
            f"that are not, the newest: {problem}; train again under another --name"
        ) from problem
    raise problem or ValueError("there is no checkpoint")


def open_run(
    path: Path,
    device: str | None = None,
    dataset: Dataset | None = None,
    energy: nn.Module | None = None,
    changes: Sequence[str] = (),
) -> Run:
    """Returns the run of a folder, as it was saved last or best, or of one of its checkpoints.

    Arguments:
        path: A run folder, or a checkpoint file.
        device: The device; None takes the one it was trained on.
        dataset: Its data on that device, where they were loaded before; None loads them.
        energy: The module that learns, where it was given in Python; None builds it.
        changes: Where the data are now, such as ``data.path=FILE``.

    Raises:
        FileNotFoundError: If there is no run, or nothing was saved yet.
        ValueError: If no checkpoint can be read, the device does not exist here, or code of the
            user's is needed.
    """
    settings, candidates = _saved(path)
    with code_needed(path):
        tree = override(Settings, to_tree(settings), changes) if changes else to_tree(settings)
        settings = from_tree(Settings, tree)
        here = resolve_auto(replace(settings, device=device or settings.device))
        if dataset is None:
            folder = run_folder.folder_of(path)
            dataset = training_data(here, folder, moved=bool(changes)).to(here.device)
        run = restore_newest(start(here, dataset, energy, restoring=True), candidates)
    if energy is not None and run.method.condition.unconditional:
        check_energy(run.energy, dataset.train[:4])
    return run


def open_model(path: Path, device: str | None = None, energy: nn.Module | None = None) -> Model:
    """Returns the model of a run folder, or of one of its checkpoints, without its training data.

    Folders of version 0.1.0 hold no description of their data: these are loaded once more.

    Arguments:
        path: A run folder, or a checkpoint file.
        device: The device; None takes the one it was trained on.
        energy: The module that learnt, where it was given in Python; None builds it.

    Raises:
        FileNotFoundError: If there is no run, or nothing was saved yet.
        ValueError: If no checkpoint can be read, the device does not exist here, or code of the
            user's is needed.
    """
    folder = run_folder.folder_of(path)
    data = read_description(folder)
    if data is not None:
        settings, _ = _saved(path)
        data = data.to(resolve_auto(replace(settings, device=device or settings.device)).device)
    return open_run(path, device, data, energy).model(folder)


def _saved(path: Path) -> tuple[Settings, list[Path]]:
    """The settings of a run, and its checkpoints in the order in which they are tried."""
    with code_needed(path):
        if path.is_file():
            _, text = load_checkpoint(path)
            return from_yaml(text.get("settings", ""), path), [path]
        settings, candidates = run_folder.read_settings(path), run_folder.checkpoints(path)
        settings = with_remedies(settings, actions(path))
    best = run_folder.best_checkpoint(path) if settings.output.best else None
    candidates.sort(key=lambda candidate: candidate != best)  # the others stay in their order
    if not candidates:
        raise FileNotFoundError(
            f"{path} holds no checkpoint yet; `boltzwalk resume {shlex.quote(str(path))}` goes on"
        )
    return settings, candidates


def content(run: Run) -> str:
    """Returns a digest of all that the samples and numbers of a run depend on.

    Arguments:
        run: The run.
    """
    free = ("output", "data", "guard")  # the rows count, wherever they lie
    settings = {key: value for key, value in to_tree(run.settings).items() if key not in free}
    state = [settings, run.dataset.digest, run.update]
    digest = hashlib.sha256(json.dumps(state).encode())
    for name, tensor in sorted(run.tensors().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _networks(run: Run) -> dict[str, nn.Module]:
    """The networks of a run by the name that they have in a checkpoint."""
    parts = {"energy": run.energy, "average": run.average, "method": learned_module(run.method)}
    return {name: part for name, part in parts.items() if part is not None}


def _compatibility_key(settings: Settings) -> dict[str, Any]:
    """Settings that must agree before a checkpoint is restored."""
    tree = to_tree(settings)
    temperature = with_defaults(settings.method).temperature
    return {
        "energy": tree["energy"],
        "method": tree["method"]["kind"],
        "networks": {
            k: tree["method"].get(k)
            for k in ("start", "generator", "vae", "condition", "base", "relative")
        },
        "witness": {key: tree["witness"][key] for key in ("walkers", "replicates")},
        "temperature": temperature if carries_weights(settings) else None,
        "optimizer": tree["optimizer"]["kind"],
        "average": bool(tree["average"]),
    }
