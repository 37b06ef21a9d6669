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

import json
import os
import platform
import re
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor

from .. import __version__
from ..checkpoint import write_atomically
from ..settings.plain_yaml import load_yaml
from ..settings.settings import Settings, from_yaml, to_yaml
from ..settings.tree import missing, to_tree

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


def write_settings(folder: Path, settings: Settings) -> None:
    """Writes the settings of a run and its environment.

    Arguments:
        folder: The run folder.
        settings: The settings.

    Raises:
        OSError: If it cannot be written.
    """
    write_atomically(folder / "settings.yaml", to_yaml(settings).encode())
    write_atomically(folder / "environment.yaml", yaml.safe_dump(_environment()).encode())


def read_settings(folder: Path) -> Settings:
    """Returns the settings of a run.

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
    text = path.read_text(encoding="utf-8")
    settings = from_yaml(text, path)
    absent = missing(to_tree(settings), load_yaml(text))
    if absent and version_of(folder) == __version__:
        warnings.warn(
            f"{path} has no line {', '.join(absent[:4])}: the default is taken; put the line back "
            "if the run had another",
            stacklevel=2,
        )
    return settings


def version_of(folder: Path) -> str:
    """Returns the version of boltzwalk that wrote a run folder; "" where it is not known."""
    path = folder / "environment.yaml"
    try:
        environment = yaml.safe_load(path.read_text()) if path.is_file() else None
        return str(environment["versions"]["boltzwalk"] or "") if environment else ""
    except (KeyError, TypeError, yaml.YAMLError):
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


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Appends one row to a JSON-lines file."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON-lines file, without a last line that was cut short.

    Raises:
        ValueError: If a line is no JSON.
    """
    if not path.exists():
        return []
    complete, _, _ = path.read_text().rpartition("\n")
    rows = []
    for number, line in enumerate(complete.splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}, line {number}, must be JSON, got {line[:40]!r}; delete the line"
            ) from error
    return rows


def flush_rows(folder: Path) -> None:
    """Brings the rows that were appended to the disk."""
    for name in ROWS:
        if (folder / name).exists():
            with (folder / name).open("a") as file:
                os.fsync(file.fileno())


def remove_temporaries(folder: Path) -> None:
    """Deletes the temporary files of a killed process; for the process that holds the folder."""
    for name in ("", "checkpoints", "proven", "samples"):
        directory = folder / name
        for path in directory.glob(".*.[0-9]*"):
            path.unlink()


def truncate_rows(path: Path, update: int) -> None:
    """Drops the rows after an update, which a resumed run will write again."""
    if path.exists():
        rows = [row for row in read_rows(path) if row["update"] <= update]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


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
