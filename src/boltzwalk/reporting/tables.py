r"""Tables of runs: class masses of different methods, and exact densities over several seeds.

With the exact :math:`\log Z` of an energy that knows it, the cross-entropy and the divergence

.. math:: H = \mathbb E_q[U] + \log Z , \qquad
    \mathrm{KL}(q \,\|\, p) = \mathbb E_q[U - U_q] + \log Z - \log Z_q

are means over held-out rows of the data q, with nothing estimated but these means. Densities are
compared in model units, which for whitened tables is as published; their spread is that of the
seeds, or for one seed the 95 % interval of the mean over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from ..evaluation.modes import class_shares, has_classes, mode_masses, target_shares
from ..evaluation.partition import model_partition
from ..metrics.classifier import classifier_for
from ..metrics.skewed_mean import skewed_mean
from ..model import Model
from ..rng import generator
from ..training.folder import checkpoints, read_rows
from ..training.run import open_model

__all__ = ["align_columns", "comparison_table", "density_table", "mean_interval", "results_of_runs"]


def results_of_runs(groups: Sequence[Sequence[Path]]) -> str:
    """Returns the table that fits finished runs: exact densities, else class masses.

    Arguments:
        groups: The run folders; the runs of a group differ in their seed only.

    Raises:
        ValueError: If a folder holds no run.
    """
    model = open_model(groups[0][0])
    if model.known_log_z() is not None and mode_masses(model) is None:
        return density_table(groups)
    return comparison_table([folder for group in groups for folder in group])


def comparison_table(folders: Sequence[Path]) -> str:
    """Returns a table of class masses and likelihoods: one row for the data, one for each run.

    Arguments:
        folders: The run folders.

    Raises:
        ValueError: If a folder holds no run.
    """
    models = [open_model(folder) for folder in folders]
    data, target = models[0].data, target_shares(models[0].data)
    classifier = classifier_for(data) if has_classes(data) else None
    rows = [["", *target, f"{data.test_rows()[1]} nll", "KL from the data", "time an update"]]
    rows.append(["data", *map(_share, target.values()), *_truth(models[0])])
    for folder, model in zip(folders, models, strict=True):
        shares = class_shares(model, classifier) or {}
        masses = [_share(shares[name]) if name in shares else "" for name in target]
        rows.append([folder.name, *masses, *_likelihood(model), _pace(folder)])
    return align_columns(rows)


def _share(share: float) -> str:
    return f"{share:.4f}"


def _truth(model: Model) -> list[str]:
    """The cross-entropy of the true density, its divergence from itself, and no time."""
    nats = _true_nats(model)
    return ["", "", ""] if nats is None else [mean_interval(nats, 2), "0", ""]


@torch.no_grad()
def _likelihood(model: Model) -> list[str]:
    """The cross-entropy of a run and its divergence, where they are exact."""
    log_z, truth = model.known_log_z(), _true_nats(model)
    if log_z is None or mode_masses(model) is None:
        return ["", ""]
    rows = model.data.test_rows()[0]
    nats = model.module(rows).cpu().double() + log_z + model.data.log_jacobian(rows).cpu()
    return [mean_interval(nats, 2), "" if truth is None else mean_interval(nats - truth, 4)]


def _true_nats(model: Model) -> Tensor | None:
    """-log p of each held-out row under the density of the data, in nats."""
    log_density = getattr(model.settings.data, "true_log_density", None)
    if log_density is None:
        return None
    nats: Tensor = -log_density(model.data.test_rows()[0].cpu().double())
    return nats


def mean_interval(values: Tensor, digits: int) -> str:
    """Returns the mean and the half-width of its 95 % interval as text.

    Arguments:
        values: The values, shape (N,).
        digits: The decimal places.

    Example:
        >>> mean_interval(torch.tensor([1.0, 2.0, 3.0]), 1)
        '2.0 ± 2.5'
    """
    mean, error = skewed_mean(values)
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def _pace(folder: Path) -> str:
    """The mean time of an update, pictures and checkpoints included."""
    costs = read_rows(folder / "cost.jsonl")
    return f"{1000 * costs[-1]['seconds'] / costs[-1]['update']:.1f} ms" if costs else ""


def align_columns(rows: list[list[str]]) -> str:
    """Returns rows as lines, with columns of equal width, two spaces apart.

    Arguments:
        rows: The cells.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def density_table(groups: Sequence[Sequence[Path]]) -> str:
    """Returns a table of exact likelihoods, with a row for each group of runs of several seeds.

    Arguments:
        groups: The run folders.

    Raises:
        ValueError: If a folder holds no model, or the log Z of one is not known.
    """
    split = open_model(groups[0][0]).data.test_rows()[1]
    head = ["", f"{split} nll", "update", "at the end", "c", "log mean weight", "log Z", "ESS", "s"]
    rows = [head]
    for group in groups:
        name = group[0].name.rpartition("_seed")[0] if len(group) > 1 else group[0].name
        rows.append([name, *_row(group)])
    return align_columns(rows)


def _row(group: Sequence[Path]) -> list[str]:
    """The cells of the runs of one group."""
    best, ends, updates, seconds, partitions = [], [], [], [], []
    for folder in group:
        model, last = open_model(folder), open_model(checkpoints(folder)[0])
        best.append(_nats(model))
        ends.append(float(_nats(last).mean()))
        updates.append(str(model.update))
        seconds.append(read_rows(folder / "cost.jsonl")[-1]["seconds"])
        rng = generator(model.settings.seed, "table", 0, model.settings.device)
        partitions.append(model_partition(model, rng))
    means = [float(nats.mean()) for nats in best]
    nll = mean_interval(best[0], 2) if len(best) == 1 else _spread(means, 2)
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
def _nats(model: Model) -> Tensor:
    """-log p of each held-out row, in nats and model units."""
    known = model.known_log_z()
    if known is None:
        raise ValueError(
            "densities are compared where log Z is known, got a "
            f"{type(model.settings.energy).__name__}; judge it by `boltzwalk evaluate`"
        )
    rows = model.data.test_rows()[0]
    energies: Tensor = model.module(rows)
    return energies.cpu().double() + known


def _spread(values: Sequence[float], digits: int) -> str:
    """The mean over seeds and their standard deviation; "" where there are no values."""
    if any(math.isnan(value) for value in values):
        return ""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"
