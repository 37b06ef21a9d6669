r"""Runs of densities whose log Z is known, side by side, over several seeds.

.. math:: -\overline{\log p(x)} = \overline{U(x)} + \log Z

over held-out rows in model units, which for whitened tables is as published. Nothing is estimated:
the spread is that of the seeds, or for one seed the 95 % interval of the mean over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from ..evaluation.partition import partition
from ..rng import generator
from ..train.folder import checkpoints, read_rows
from ..train.held_out import unseen
from ..train.model import known_log_z
from ..train.run import Run, open_run
from .beside import aligned, interval

__all__ = ["table_of_densities"]


def table_of_densities(groups: Sequence[Sequence[Path]]) -> str:
    """Returns a table with a row for each group of runs that differ in their seed only.

    Arguments:
        groups: The run folders.

    Raises:
        ValueError: If a folder holds no run, or the log Z of one is not known.
    """
    split = unseen(open_run(groups[0][0]).dataset)[1]
    head = ["", f"{split} nll", "update", "at the end", "c", "log mean weight", "log Z", "ESS", "s"]
    rows = [head]
    for group in groups:
        name = group[0].name.rpartition("_seed")[0] if len(group) > 1 else group[0].name
        rows.append([name, *_row(group)])
    return aligned(rows)


def _row(group: Sequence[Path]) -> list[str]:
    """The cells of the runs of one group."""
    taken, ends, updates, seconds, partitions = [], [], [], [], []
    for folder in group:
        run, last = open_run(folder), open_run(checkpoints(folder)[0])
        taken.append(_nats(run))
        ends.append(float(_nats(last).mean()))
        updates.append(str(run.update))
        seconds.append(read_rows(folder / "cost.jsonl")[-1]["seconds"])
        rng = generator(run.settings.seed, "table", 0, run.settings.device)
        partitions.append(partition(run, rng))
    means = [float(nats.mean()) for nats in taken]
    nll = interval(taken[0], 2) if len(taken) == 1 else _spread(means, 2)
    shares = [p.effective / p.samples if p.samples else math.nan for p in partitions]
    return [
        nll,
        ", ".join(updates),
        _spread(ends, 2),
        _spread([p.learnt for p in partitions], 3),
        _spread([p.estimate for p in partitions], 3),
        _spread([p.exact for p in partitions], 3),
        "" if math.isnan(shares[0]) else f"{mean(shares):.1%}",
        f"{mean(seconds):.0f}",
    ]


@torch.no_grad()
def _nats(run: Run) -> Tensor:
    """The surprise of each held-out row, in model units."""
    known = known_log_z(run)
    if known is None:
        raise ValueError(
            "densities are compared where log Z is known, got a "
            f"{type(run.settings.energy).__name__}; judge it by `boltzwalk evaluate`"
        )
    rows = unseen(run.dataset)[0]
    energies: Tensor = run.model(rows)
    return energies.cpu().double() + known


def _spread(values: Sequence[float], digits: int) -> str:
    """The mean over seeds and their standard deviation; "" where there are no values."""
    if any(math.isnan(value) for value in values):
        return ""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"
