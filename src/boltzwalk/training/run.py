"""A run in memory: from settings, or from a checkpoint."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint import load_checkpoint, load_optimizer, save_checkpoint, unflatten
from ..data import Dataset
from ..energy import check_energy
from ..method import with_defaults
from ..model import Model
from ..settings.settings import Settings, carries_weights, from_yaml, resolve_auto, to_yaml
from ..settings.tree import differences, from_tree, override, to_tree
from . import folder as run_folder
from .changes import unexplained
from .code import code_needed
from .description import read_description, training_data
from .guard_record import actions, with_remedies
from .start import Run, content, fitted, networks_of, start

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


def save(run: Run, path: Path) -> None:
    """Writes a checkpoint, which in a run folder knows the rows of its log.

    Arguments:
        run: The run.
        path: The file.

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
    folder = path.parent.parent
    if (folder / "settings.yaml").is_file():
        text["log"] = run_folder.log_digest(folder / "log.jsonl")
    save_checkpoint(path, run.tensors(), text)


def restore(run: Run, path: Path, before: Settings | None = None) -> Run:
    """Returns the run as a checkpoint of it left it.

    Arguments:
        run: The run.
        path: The checkpoint.
        before: The settings that it had so far, where they change now.

    Raises:
        ValueError: If the checkpoint is damaged, or was written by a run with another network,
            another start of the walkers or other data, or at another update than its name says.
    """
    tensors, text = load_checkpoint(path)
    if not {"settings", "update", "data"} <= text.keys():
        raise ValueError(f"{path} must be a checkpoint of boltzwalk; its header has no settings")
    settings, update = from_yaml(text["settings"], path), int(text["update"])
    if path.stem.removeprefix("update_").isdecimal() and path.stem != f"update_{update:08d}":
        raise ValueError(f"{path} must be of the update that it is named after, got {update}")
    saved, current = _compatibility_key(settings), _compatibility_key(run.settings)
    if run.witness is None:  # which may leave at any time, but not come in
        saved["witness"] = current["witness"]
        if not carries_weights(run.settings):
            saved["temperature"] = None
    folder = run_folder.folder_of(path)
    known = fitted(before or run.settings, run.dataset)
    changed = differences(saved, current) or unexplained(folder, update, settings, known)
    if changed:
        raise ValueError(
            f"{path} was written by a run with other settings ({'; '.join(changed[:4])})"
        )
    _require_digest(run.dataset, text["data"], path)
    for name, network in networks_of(run).items():
        names = [key for key in tensors if key.startswith(f"{name}.")]
        parts = {key.removeprefix(f"{name}."): tensors[key] for key in names}
        types = {key: tensor.dtype for key, tensor in network.state_dict().items()}
        wrong = [key for key, tensor in parts.items() if types.get(key) != tensor.dtype]
        if wrong and wrong[0] in types:
            raise ValueError(f"{path} must hold {wrong[0]} in {types[wrong[0]]}, got another type")
        try:
            network.load_state_dict(parts)
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold this network: {error}") from error
    load_optimizer(run.optimizer, tensors, "optimizer")
    if run.witness is not None:  # without a record of effective sample sizes log Z is refused
        record = f"witness.memory.{len(run.witness.memory) - 1}"
        tensors.setdefault(record, torch.full_like(run.witness.log_w, torch.nan))
    state = unflatten(run.state, tensors, "state")
    witness = unflatten(run.witness, tensors, "witness")
    if "log" in text and (folder / "settings.yaml").is_file():
        _warn_of_log(folder / "log.jsonl", text["log"], path)
    remembered = text.get("guard", "")
    return replace(run, state=state, witness=witness, update=update, remembered=remembered)


def _warn_of_log(log: Path, digest: str, path: Path) -> None:
    """Warns where the log is not the one that a checkpoint was saved with."""
    size = digest.partition(" ")[0]
    if not size.isdecimal() or run_folder.log_digest(log, int(size)) != digest:
        warnings.warn(
            f"{log} is not as it was when {path.name} was saved: rows are damaged, lost or of "
            "another run, and verdict and best checkpoint are those of the rows that are there",
            stacklevel=3,
        )


def _check_log(folder: Path, candidates: list[Path]) -> None:
    """Warns where the log is not the one of the newest checkpoint that is whole."""
    for path in candidates:
        try:
            _, text = load_checkpoint(path)
        except ValueError:
            continue
        if "log" in text:
            _warn_of_log(folder / "log.jsonl", text["log"], path)
        return


def require_trained_on(folder: Path, dataset: Dataset) -> None:
    """Raises where a run was trained on other data.

    Arguments:
        folder: The run folder.
        dataset: The data.

    Raises:
        ValueError: If they are others, or no checkpoint is whole.
    """
    problem: ValueError | None = None
    for path in run_folder.checkpoints(folder):
        try:
            _, text = load_checkpoint(path)
        except ValueError as error:  # an older one tells as well
            problem = problem or error
            continue
        return _require_digest(dataset, text.get("data", ""), path)
    if problem is not None:
        raise problem


def _require_digest(dataset: Dataset, digest: str, path: Path) -> None:
    """Raises where data are not those of a checkpoint."""
    if not dataset.has_digest(digest):
        raise ValueError(
            f"the data are not those that {path} was trained on; put the old file back, or train "
            "the new one under another --name"
        )


def restore_newest(fresh: Run, candidates: list[Path], before: Settings | None = None) -> Run:
    """Returns the run at the newest checkpoint that is whole; warns of those that are not.

    Arguments:
        fresh: The run before its first update.
        candidates: Its checkpoints, the newest first.
        before: The settings that it had so far, where they change now.

    Raises:
        ValueError: If none is whole.
    """
    problem: ValueError | None = None
    for path in candidates:
        try:
            restored = restore(fresh, path, before)
        except ValueError as error:
            problem = problem or error
            continue
        if path != candidates[0]:
            warnings.warn(
                f"{candidates[0]} is damaged, went back to {path} ({problem})", stacklevel=2
            )
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
    return _open(path, _saved(path), device, dataset, energy, changes)


def _open(
    path: Path,
    saved: tuple[Settings, list[Path]],
    device: str | None,
    dataset: Dataset | None,
    energy: nn.Module | None,
    changes: Sequence[str] = (),
) -> Run:
    """The run of settings, at the first of the checkpoints that is whole."""
    settings, candidates = saved
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
    data, saved = read_description(folder), _saved(path)
    if data is not None:
        here = resolve_auto(replace(saved[0], device=device or saved[0].device))
        data = data.to(here.device)
    return _open(path, saved, device, data, energy).model(folder)


def _saved(path: Path) -> tuple[Settings, list[Path]]:
    """The settings of a run, and its checkpoints in the order in which they are tried."""
    with code_needed(path):
        if path.is_file():
            _, text = load_checkpoint(path)
            return from_yaml(text.get("settings", ""), path), [path]
        settings, candidates = run_folder.read_settings(path), run_folder.checkpoints(path)
        settings = with_remedies(settings, actions(path))
    best = None
    if settings.output.best:  # which the log tells
        _check_log(path, candidates)
        best = run_folder.best_checkpoint(path)
    candidates.sort(key=lambda candidate: candidate != best)  # the others stay in their order
    if not candidates:
        raise FileNotFoundError(
            f"{path} holds no checkpoint yet; `boltzwalk resume {shlex.quote(str(path))}` goes on"
        )
    return settings, candidates


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
