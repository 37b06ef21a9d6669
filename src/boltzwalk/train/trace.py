"""The energy gap and the gradient size of every update: what diagnostics of a run are made from.

The log has one row each so many updates; how a run swings from one update to the next shows only
where none is left out. Values stay on their device until they are written, many at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .folder import append_row, read_rows

__all__ = ["Recorder", "Trace", "read_trace"]

NAMES = ("energy_gap", "gradient_mean")


class Trace(NamedTuple):
    """What a run has been through, one value an update."""

    energy_gap: np.ndarray  # d: the mean energy of data minus that of walkers, shape (T,)
    gradient_mean: np.ndarray  # v: the mean size of the energy gradient along the chains, (T,)


class Recorder:
    """Collects the values of updates and appends them to a file.

    Arguments:
        path: The file, `trace.jsonl` in the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: list[Tensor] = []

    def add(self, info: Mapping[str, Tensor]) -> None:
        """Keeps what an update says of itself; NaN where its method does not say it."""
        missing = torch.full_like(info["loss"], torch.nan)
        self.kept.append(torch.stack([info.get(name, missing).float() for name in NAMES]))

    def write(self, update: int) -> None:
        """Appends what was kept since the last time, up to this update, as one line."""
        if self.kept:
            columns = torch.stack(self.kept).T.cpu().tolist()
            append_row(self.path, {"update": update, **dict(zip(NAMES, columns, strict=True))})
            self.kept = []


def read_trace(folder: Path) -> Trace:
    """Returns the trace of a run; empty arrays where there is none.

    Arguments:
        folder: The run folder.
    """
    rows = read_rows(folder / "trace.jsonl")
    return Trace(*(np.array([v for row in rows for v in row[name]]) for name in NAMES))
