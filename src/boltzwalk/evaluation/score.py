r"""Rows of a user scored by a model: how usual each is among held-out data.

.. math:: \log p(y) = -U(x) / T - \log Z - \log |\partial y / \partial x|

in the units of the data, where the evaluation of this very model has a :math:`\log Z` that can be
trusted. The flag is conformal: of rows like the held-out ones, at most the chosen share is flagged,
whatever the model is worth.
"""

from __future__ import annotations

import csv
import io
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.external import load_external_rows
from ..metrics.anomaly import conformal_threshold, percentile
from ..model import Model
from .anomalies import judging_energy, scores
from .evaluate import evaluated

__all__ = ["Scores", "read_for", "score_rows", "write_scores"]


class Scores(NamedTuple):
    """What a model says of each row; arrays of shape (N,)."""

    energy: np.ndarray  # U, in model units
    log_density: np.ndarray  # log p in nats, in the units of the data; nan where log Z is unknown
    percentile: np.ndarray  # the share of held-out rows with a lower energy
    anomaly: np.ndarray  # whether the energy is above the threshold
    protocol: str


def read_for(model: Model, source: str, rng: torch.Generator) -> Tensor:
    """Returns the rows of a file, or of a table on standard input, in model units.

    Arguments:
        model: The model.
        source: A path, or - for standard input.
        rng: The source of the noise of dequantisation.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If it does not hold rows like those of the data.
    """
    if source != "-":
        return load_external_rows(Path(source), model.data, rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stdin.csv"
        path.write_text(sys.stdin.read())
        try:
            return load_external_rows(path, model.data, rng)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), "standard input")) from error


def score_rows(model: Model, folder: Path, x: Tensor, false_alarm: float) -> Scores:
    """Returns the scores of rows.

    Arguments:
        model: The model.
        folder: Its folder, where an evaluation may know log Z.
        x: Rows in model units, shape (N, *event).
        false_alarm: The share of ordinary rows that may be flagged.

    Raises:
        ValueError: If there are too few held-out rows for such a share.
        FloatingPointError: If an energy is not finite.
    """
    rows, against = model.data.held_out()
    usual, energy = scores(model, rows)[0], scores(model, x)[0]
    wrong = (~energy.isfinite()).nonzero().flatten().tolist()
    if wrong:
        raise FloatingPointError(
            f"the energy of {len(wrong)} rows is not finite, the first is row {wrong[0]}: so far "
            "from the data the network overflows; leave such rows out"
        )
    limit = conformal_threshold(usual, false_alarm)
    log_z, known = _log_z(model, folder)
    temperature = model.temperature
    nats = -energy / temperature - log_z - model.data.log_volume if known == "" else energy * np.nan
    what = "energy"
    if model.method.latent and model.method.relative:
        what += ", relative to the base," if judging_energy(model) is model.module else ""
    protocol = f"{what} above {limit:.6g}, against {against}"
    return Scores(
        energy.numpy(),
        nats.numpy(),
        percentile(usual, energy).numpy(),
        (energy > limit).numpy(),
        protocol if known == "" else f"{protocol}; no log-density: {known}",
    )


def _log_z(model: Model, folder: Path) -> tuple[float, str]:
    """The log Z of an evaluation of this model and "", or why there is none."""
    part = evaluated(model, folder).get("likelihood")
    if part is None:
        return 0.0, f"run `boltzwalk evaluate {folder} --parts likelihood` first"
    log_z = part.details["log_z"]
    if log_z["refusal"]:
        return 0.0, str(log_z["refusal"])
    return float(log_z["estimate"]), ""


def write_scores(found: Scores, suffix: str) -> bytes:
    """Returns scores as the content of a file.

    Arguments:
        found: The scores.
        suffix: ".csv" or ".npz".

    Raises:
        ValueError: If the suffix is another.
    """
    arrays = {name: getattr(found, name) for name in Scores._fields[:-1]}
    if suffix == ".npz":
        binary = io.BytesIO()
        np.savez_compressed(binary, **arrays)
        return binary.getvalue()
    if suffix != ".csv":
        raise ValueError(f"scores are written to a .csv or .npz file, got {suffix!r}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *arrays])
    for i, (u, nats, share, flag) in enumerate(zip(*arrays.values(), strict=True)):
        writer.writerow(
            [i, f"{u:.9g}", "" if np.isnan(nats) else f"{nats:.9g}", f"{share:.6g}", int(flag)]
        )
    return text.getvalue().encode()
