r"""The run folder: where a run keeps its settings, log, pictures and checkpoints.

::

    runs/NAME/
      settings.yaml       everything that determines the run; `boltzwalk train` takes it back
      changes.jsonl       what `boltzwalk resume RUN key=value` changed, and when
      environment.yaml    versions, machine, command
      log.jsonl           one row each so many updates: a function of the settings alone
      trace.jsonl         energy gap and gradient size of every update
      failure.txt         why the run broke off, if it did
      cost.jsonl          seconds, gradient evaluations and memory at the same updates
      tensorboard/        the same rows as events, where TensorBoard is installed
      samples/            pictures of samples by update; samples.png is the last one
      checkpoints/        the newest ones, each a safetensors file
      proven/             those that the guard may go back to, fewer the older they are
      guard.jsonl         what the guard did, if it did anything

The log has one row each so many updates; how a run swings from one update to the next shows only
where none is left out. Values stay on their device until they are written, many at a time.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor

from .. import __version__
from ..checkpoint import load_checkpoint
from ..durable import flush_file, write_atomically
from ..sealed import open_text, seal_text
from ..settings.plain_yaml import load_yaml
from ..settings.settings import Settings, from_yaml, to_yaml
from ..settings.tree import missing, to_tree
from .rows import append_row, read_rows, truncate_rows

__all__ = [
    "FAILURE",
    "NLL",
    "ROWS",
    "Recorder",
    "Trace",
    "append_row",
    "best_checkpoint",
    "checkpoint_path",
    "checkpoints",
    "flush_rows",
    "folder_of",
    "log_digest",
    "prune",
    "read_rows",
    "read_settings",
    "read_trace",
    "remove_temporaries",
    "saved_update",
    "truncate_rows",
    "update_of",
    "write_settings",
]


NLL = "nll_validation"
"""The number of the log that compares checkpoints: the mean of -log p of validation rows."""

FAILURE = "failure.txt"
"""Where a run that broke off says why, until it goes on."""

ROWS = ("log.jsonl", "trace.jsonl", "cost.jsonl")
"""The files of a run that grow by rows, each with its update."""

WRITTEN = ("checkpoints", "proven", "samples", "evaluation")
"""The folders of a run in which files are written."""


def write_settings(folder: Path, settings: Settings, finished: bool = False) -> None:
    """Writes the settings of a run and its environment.

    Arguments:
        folder: The run folder.
        settings: The settings.
        finished: Whether a file that says the same is left as it is.

    Raises:
        OSError: If it cannot be written.
    """
    path, text = folder / "settings.yaml", to_yaml(settings)
    with suppress(OSError, ValueError):
        if finished and open_text(path.read_bytes()) == text:
            return
    write_atomically(path, seal_text(text).encode())
    write_atomically(folder / "environment.yaml", yaml.safe_dump(_environment()).encode())


def read_settings(folder: Path) -> Settings:
    """Returns the settings of a run; where they are damaged, those of its newest checkpoint.

    Raises:
        FileNotFoundError: If the folder holds no run.
        ValueError: If it is of a newer version, or its settings cannot be read.
    """
    path = folder / "settings.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"a run folder must hold settings.yaml, found none in {folder}; "
            "runs are made by `boltzwalk train`, or boltzwalk.train with out="
        )
    content = path.read_bytes()
    try:
        text = open_text(content)
    except ValueError as error:
        if b"!!python" not in content:  # which is no accident
            return _settings_of_checkpoint(folder, error)
        text = content.decode(errors="replace")
    settings = from_yaml(text, path)
    absent = missing(to_tree(settings), load_yaml(text))
    if absent and version_of(folder) == __version__:
        warnings.warn(
            f"{path} has no line {', '.join(absent[:4])}: the default is taken; put the line back "
            "if the run had another",
            stacklevel=2,
        )
    return settings


def _settings_of_checkpoint(folder: Path, damage: ValueError) -> Settings:
    """The settings in the newest checkpoint that is whole."""
    path = folder / "settings.yaml"
    for checkpoint in checkpoints(folder):
        try:
            settings = from_yaml(load_checkpoint(checkpoint)[1].get("settings", ""), checkpoint)
        except ValueError:
            continue
        warnings.warn(
            f"{path} was edited or is damaged ({damage}): the settings of {checkpoint.name} are "
            "taken; to change some, write `boltzwalk resume RUN key=value`",
            stacklevel=3,
        )
        return settings
    raise ValueError(
        f"{path} must be as it was written, got other text than its SHA-256 is of, and no "
        "checkpoint has its settings; train again under another --name"
    ) from damage


def version_of(folder: Path) -> str:
    """Returns the version of boltzwalk that wrote a run folder; "" where it is not known."""
    try:
        environment = load_yaml((folder / "environment.yaml").read_text())
        return str(environment["versions"]["boltzwalk"] or "")
    except (OSError, LookupError, TypeError, ValueError, yaml.YAMLError):
        return ""


def folder_of(path: Path) -> Path:
    """Returns the run folder of a path: a run folder, or one of its checkpoints."""
    return path.parent.parent if path.is_file() else path


def checkpoint_path(folder: Path, update: int) -> Path:
    """Returns where the checkpoint of an update belongs."""
    return folder / "checkpoints" / f"update_{update:08d}.safetensors"


def checkpoints(folder: Path, name: str = "checkpoints") -> list[Path]:
    """Returns the checkpoints that are there, the newest first.

    Arguments:
        folder: The run folder.
        name: The folder in it: "checkpoints", or "proven" for those of the guard.
    """
    files = (folder / name).glob("update_*.safetensors")
    return sorted((p for p in files if re.fullmatch(r"update_\d{8,}", p.stem)), reverse=True)


def update_of(path: Path) -> int:
    """Returns the update of a checkpoint.

    Arguments:
        path: A checkpoint.
    """
    return int(path.stem.split("_")[1])


def saved_update(folder: Path) -> int:
    """Returns the update of the newest checkpoint; 0 where nothing was saved."""
    saved = checkpoints(folder)
    return update_of(saved[0]) if saved else 0


def best_checkpoint(folder: Path) -> Path | None:
    """Returns the checkpoint whose validation rows are the likeliest; None where none is known.

    Arguments:
        folder: The run folder.
    """
    updates = {path: update_of(path) for path in checkpoints(folder)}
    values = {row["update"]: row[NLL] for row in read_rows(folder / "log.jsonl") if NLL in row}
    known = [path for path, update in updates.items() if update in values]
    return min(known, key=lambda path: values[updates[path]], default=None)


def prune(folder: Path, keep: int, spared: Path | None = None) -> None:
    """Deletes all checkpoints but the newest ones, and one that is spared."""
    for path in checkpoints(folder)[keep:]:
        if path != spared:
            path.unlink()


def log_digest(path: Path, size: int | None = None) -> str:
    """Returns the size and the SHA-256 of a log, or of its first bytes; of no bytes without one.

    Arguments:
        path: The log.
        size: The number of bytes; None for all.
    """
    content = path.read_bytes()[:size] if path.is_file() else b""
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}"


def flush_rows(folder: Path) -> None:
    """Brings the rows that were appended to the disk."""
    for name in ROWS:
        flush_file(folder / name)


def remove_temporaries(folder: Path) -> None:
    """Deletes the temporary files of a killed process; for the process that holds the folder."""
    for directory in (folder, *(folder / name for name in WRITTEN)):
        for path in directory.glob(".*.[0-9]*"):
            with suppress(OSError):  # a folder, or a file of somebody else: it costs nothing
                path.unlink()


def _environment() -> dict[str, Any]:
    packages = ("torch", "numpy", "safetensors", "scikit-learn", "pydantic")
    return {
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {"boltzwalk": __version__} | {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


NAMES = ("energy_gap", "gradient_mean")


class Trace(NamedTuple):
    """The trace of a run, one value an update."""

    energy_gap: np.ndarray  # d: the mean energy of data minus that of walkers, shape (T,)
    gradient_mean: np.ndarray  # v: the mean size of the energy gradient along the chains, (T,)


class Recorder:
    """Collects the values of updates and appends them to a file.

    Arguments:
        path: The file, `trace.jsonl` in the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pending: list[Tensor] = []

    def add(self, info: Mapping[str, Tensor]) -> None:
        """Collects the values of an update; NaN where its method does not log them."""
        missing = torch.full_like(info["loss"], torch.nan)
        self.pending.append(torch.stack([info.get(name, missing).float() for name in NAMES]))

    def write(self, update: int) -> None:
        """Appends the values since the last time, up to this update, as one line."""
        if self.pending:
            columns = torch.stack(self.pending).T.cpu().tolist()
            append_row(self.path, {"update": update, **dict(zip(NAMES, columns, strict=True))})
            self.pending = []


def read_trace(folder: Path) -> Trace:
    """Returns the trace of a run; empty arrays where there is none.

    Arguments:
        folder: The run folder.
    """
    rows = read_rows(folder / "trace.jsonl")
    return Trace(*(np.array([v for row in rows for v in row[name]]) for name in NAMES))
