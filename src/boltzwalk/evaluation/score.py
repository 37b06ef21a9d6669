r"""Scores of rows: energy, log-density, percentile among held-out rows, and an anomaly flag.

.. math:: \log p(y) = -U(x) / T - \log Z - \log |\partial y / \partial x|

in the units of the data, where the evaluation of the model has a trusted :math:`\log Z`. The flag
is conformal: of rows like the held-out ones at most the chosen share is flagged, however good the
model is. That is a mean over held-out rows; for those at hand the rate has an interval, which the
protocol states.
"""

from __future__ import annotations

import csv
import io
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ..data import Dataset
from ..data.external import load_external_rows
from ..data.new_rows import NewRows, field_of, read_new_rows
from ..data.readable import quoted_formula
from ..data.repeats import row_groups
from ..metrics.anomaly import conformal_threshold, percentile
from ..metrics.false_alarms import false_alarms
from ..model import REFERENCE_ROWS, Model
from .anomalies import energies_and_norms, scoring_energy
from .evaluate import known_sections

__all__ = [
    "ScoreInput",
    "Scores",
    "passed_texts",
    "read_input",
    "score_rows",
    "trained_rows",
    "write_scores",
]


class Scores(NamedTuple):
    """The scores of rows; arrays of shape (N,).

    Attributes:
        energy: The energy U, in model units.
        log_density: log p in nats, in the units of the data; nan where log Z is unknown.
        percentile: The share of held-out rows with a lower energy; of training rows, where a row
            equals one of them.
        anomaly: Whether the energy is above the threshold.
        protocol: The threshold and its reference.
    """

    energy: np.ndarray
    log_density: np.ndarray
    percentile: np.ndarray
    anomaly: np.ndarray
    protocol: str


class ScoreInput(NamedTuple):
    r"""Rows to score.

    Attributes:
        x: The rows that can be scored, in model units, shape (M, \*event).
        table: All rows of a table, with the reason where one cannot be scored; None for images.
    """

    x: Tensor
    table: NewRows | None


def read_input(model: Model, source: str, rng: torch.Generator) -> ScoreInput:
    """Returns the rows of a file, or of a table on standard input, in model units.

    Arguments:
        model: The model.
        source: A path, or - for standard input.
        rng: The source of the noise of dequantisation.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If it does not hold rows like those of the data, or none can be scored.
    """
    if source != "-":
        return _read_file(model, Path(source), rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stdin.csv"
        path.write_bytes(_standard_input())
        try:
            return _read_file(model, path, rng)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), "standard input")) from error


def _standard_input() -> bytes:
    """The bytes of standard input, whatever their encoding."""
    buffer = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read().encode() if buffer is None else bytes(buffer.read())


def _read_file(model: Model, path: Path, rng: torch.Generator) -> ScoreInput:
    """The rows of a file that can be scored."""
    data = model.data
    if len(data.event_shape) == 3 or not path.exists():
        return ScoreInput(load_external_rows(path, data, rng), None)
    rows = read_new_rows(path, data)
    usable = np.array([not note for note in rows.notes])
    if not usable.any():
        raise ValueError(
            f"{path} must have a row that can be scored, got {len(usable):,} with gaps or text, "
            f"the first is {rows.table.location(0)} ({rows.notes[0]}); `boltzwalk complete` fills "
            "gaps"
        )
    x = data.from_original(torch.from_numpy(rows.values[usable])).to(data.train)
    return ScoreInput(data.dequantised(x, rng), rows)


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
    rows, reference = model.reference_rows(false_alarm)
    usual, energy = energies_and_norms(model, rows)[0], energies_and_norms(model, x)[0]
    bad = (~energy.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise FloatingPointError(
            f"the energy of {len(bad)} rows is not finite, the first is row {bad[0]}: so far "
            "from the data the network overflows; leave such rows out"
        )
    limit = conformal_threshold(usual, false_alarm)
    share, flags = percentile(usual, energy), energy > limit
    trained = trained_rows(model.data, x)
    among = f"; {_rank_trained(model, false_alarm, energy, share, flags, trained)}"
    log_z, refusal = _log_z(model, folder)
    log_density = energy * np.nan
    if not refusal:
        log_density = -energy / model.temperature - log_z - model.data.log_jacobian(x).cpu()
    name = "energy"
    if model.method.latent and model.method.relative and scoring_energy(model) is model.module:
        name = "energy, relative to the base,"
    rate = false_alarms(usual, limit, false_alarm)
    protocol = f"{name} above {limit:.6g}, against {reference}; {rate}{among.rstrip('; ')}"
    return Scores(
        energy.numpy(),
        log_density.numpy(),
        share.numpy(),
        flags.numpy(),
        f"{protocol}; no log-density: {refusal}" if refusal else protocol,
    )


def trained_rows(data: Dataset, x: Tensor) -> Bool[Tensor, " N"]:
    """Returns which rows equal a training row that the description of the data has, shape (N,).

    Arguments:
        data: The data.
        x: The rows in model units; images, and rows with noise of dequantisation, equal none.
    """
    if x.ndim != 2 or bool(torch.as_tensor(data.quantum).any()):
        return torch.zeros(len(x), dtype=torch.bool)
    groups = row_groups(torch.cat([data.train.cpu(), x.cpu()]))
    return torch.isin(groups[len(data.train) :], groups[: len(data.train)])


def _rank_trained(
    model: Model,
    false_alarm: float,
    energy: Tensor,
    share: Tensor,
    flags: Tensor,
    trained: Tensor,
) -> str:
    """Ranks rows that equal training rows among these, in place; says so, "" where none does.

    A model that has learnt a row gives it a lower energy than a new one: against held-out rows
    fewer training rows than asked would be flagged.
    """
    count = int(trained.sum())
    if not count:
        return ""
    rows = model.data.train[:REFERENCE_ROWS]
    usual = energies_and_norms(model, rows)[0]
    told = f"{count:,} of the {len(trained):,} rows equal training rows, which the model has learnt"
    try:
        limit = conformal_threshold(usual, false_alarm)
    except ValueError:
        return f"{told}: fewer of them than asked are flagged"
    share[trained] = percentile(usual, energy[trained]).to(share)
    flags[trained] = energy[trained] > limit
    return f"{told}: these are ranked among {len(rows):,} training rows, above {limit:.6g}"


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


def write_scores(
    scores: Scores, suffix: str, table: NewRows | None = None, quote_formulas: bool = False
) -> bytes:
    """Returns scores as the content of a file.

    Arguments:
        scores: The scores.
        suffix: ".csv" or ".npz".
        table: The rows of a table: columns that the model does not take are passed on, and rows
            that cannot be scored have a note; None for rows that were all scored.
        quote_formulas: Whether texts that are formulas get an apostrophe in a .csv file.

    Raises:
        ValueError: If the suffix is another.
    """
    arrays = {name: getattr(scores, name) for name in Scores._fields[:-1]}
    notes = [""] * len(scores.energy) if table is None else table.notes
    usable = np.array([not note for note in notes], dtype=bool)
    if suffix == ".npz":
        if table is not None:
            arrays = {name: _spread(array, usable) for name, array in arrays.items()}
            arrays["note"] = np.array(notes)
        binary = io.BytesIO()
        np.savez_compressed(binary, **arrays)
        return binary.getvalue()
    if suffix != ".csv":
        raise ValueError(f"scores are written to a .csv or .npz file, got {suffix!r}")
    others = () if table is None else table.others
    taken = {"row", "note", *arrays}
    titles = {} if table is None else dict(zip(table.table.names, table.table.titles, strict=False))
    names = [f"{c.name} (input)" if c.name in taken else titles.get(c.name, c.name) for c in others]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keep: Callable[[object], object] = quoted_formula if quote_formulas else lambda field: field
    writer.writerow(["row", *map(keep, names), *arrays, *([] if table is None else ["note"])])
    numbers = iter(zip(*arrays.values(), strict=True))
    for i, note in enumerate(notes):
        fields = ["", "", "", ""] if note else _numbers(*next(numbers))
        passed = [keep(field_of(column, i)) for column in others]
        writer.writerow([i, *passed, *fields, *([] if table is None else [note])])
    return text.getvalue().encode()


def passed_texts(table: NewRows | None) -> Iterator[str]:
    """Yields the names and fields of a table that scores are written with.

    Arguments:
        table: The table; None for rows that are no table.
    """
    for column in () if table is None else table.others:
        yield column.name
        yield from column.fields or ()


def _numbers(u: float, log_p: float, share: float, flag: bool) -> list[str]:
    """The scores of a row as text."""
    return [f"{u:.9g}", "" if np.isnan(log_p) else f"{log_p:.9g}", f"{share:.6g}", str(int(flag))]


def _spread(array: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """The values of rows that were scored among all rows: nan, or False, for the others."""
    result = np.full(len(usable), False if array.dtype == bool else np.nan, dtype=array.dtype)
    result[usable] = array
    return result
