r"""Scores of rows: energy, log-density, percentile among held-out rows, and an anomaly flag.

.. math:: \log p(y) = -U(x) / T - \log Z - \log |\partial y / \partial x|

in the units of the data, where the evaluation of the model has a trusted :math:`\log Z`. The flag
is conformal: of rows like the held-out ones at most the chosen share is flagged, however good the
model is.
"""

from __future__ import annotations

import csv
import io
import shlex
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
from .anomalies import energies_and_norms, scoring_energy
from .evaluate import known_sections

__all__ = ["Scores", "read_input", "score_rows", "write_scores"]


class Scores(NamedTuple):
    """The scores of rows; arrays of shape (N,).

    Attributes:
        energy: The energy U, in model units.
        log_density: log p in nats, in the units of the data; nan where log Z is unknown.
        percentile: The share of held-out rows with a lower energy.
        anomaly: Whether the energy is above the threshold.
        protocol: The threshold and its reference.
    """

    energy: np.ndarray
    log_density: np.ndarray
    percentile: np.ndarray
    anomaly: np.ndarray
    protocol: str


def read_input(model: Model, source: str, rng: torch.Generator) -> Tensor:
    """Returns the rows of a file, or of a table on standard input, in model units.

    Arguments:
        model: The model.
        source: A path, or - for standard input.
        rng: The source of the noise of dequantisation.

    Raises:
        FileNotFoundError: If the path does not exist.
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
    rows, reference = model.data.held_out()
    usual, energy = energies_and_norms(model, rows)[0], energies_and_norms(model, x)[0]
    bad = (~energy.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise FloatingPointError(
            f"the energy of {len(bad)} rows is not finite, the first is row {bad[0]}: so far "
            "from the data the network overflows; leave such rows out"
        )
    limit = conformal_threshold(usual, false_alarm)
    log_z, refusal = _log_z(model, folder)
    log_density = energy * np.nan
    if not refusal:
        log_density = -energy / model.temperature - log_z - model.data.log_jacobian(x).cpu()
    name = "energy"
    if model.method.latent and model.method.relative and scoring_energy(model) is model.module:
        name = "energy, relative to the base,"
    protocol = f"{name} above {limit:.6g}, against {reference}"
    return Scores(
        energy.numpy(),
        log_density.numpy(),
        percentile(usual, energy).numpy(),
        (energy > limit).numpy(),
        f"{protocol}; no log-density: {refusal}" if refusal else protocol,
    )


def _log_z(model: Model, folder: Path) -> tuple[float, str]:
    """The log Z of an evaluation of the model and "", or the reason why there is none."""
    section = known_sections(model, folder).get("likelihood")
    if section is None:
        return (
            0.0,
            f"run `boltzwalk evaluate {shlex.quote(str(folder))} --sections likelihood` first",
        )
    log_z = section.details["log_z"]
    if log_z["refusal"]:
        return 0.0, str(log_z["refusal"])
    return float(log_z["estimate"]), ""


def write_scores(scores: Scores, suffix: str) -> bytes:
    """Returns scores as the content of a file.

    Arguments:
        scores: The scores.
        suffix: ".csv" or ".npz".

    Raises:
        ValueError: If the suffix is another.
    """
    arrays = {name: getattr(scores, name) for name in Scores._fields[:-1]}
    if suffix == ".npz":
        binary = io.BytesIO()
        np.savez_compressed(binary, **arrays)
        return binary.getvalue()
    if suffix != ".csv":
        raise ValueError(f"scores are written to a .csv or .npz file, got {suffix!r}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *arrays])
    for i, (u, log_p, share, flag) in enumerate(zip(*arrays.values(), strict=True)):
        writer.writerow(
            [i, f"{u:.9g}", "" if np.isnan(log_p) else f"{log_p:.9g}", f"{share:.6g}", int(flag)]
        )
    return text.getvalue().encode()
