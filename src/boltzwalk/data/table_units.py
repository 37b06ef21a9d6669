"""The splits of a table in model units, with the map to its own units."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import affine
from .repeats import Repeats, check_repeats, split_table
from .rows import tensors_digest
from .sources import SourceRows
from .splits import LabelledRows, check_split, split_rows
from .tails import HeavyTails, compress, fit_tails, tails_note
from .whitening import (
    ROUNDING,
    Whitening,
    fit_whitening,
    moments,
    require_float32,
    require_resolved,
)

__all__ = [
    "TableFields",
    "TableOptions",
    "cell_widths",
    "check_table_options",
    "memory_fields",
    "table_fields",
]

COARSE = 2.0**-42
"""The spread of a column, as a share of its size, of which float64 resolves about 1,000 steps."""


class TableOptions(NamedTuple):
    """How a table is split and scaled.

    Attributes:
        split: Relative sizes of training, validation and test split.
        seed: Determines the split.
        whitening: The units of the model.
        shrinkage: Whether "pca" takes variances of rows that did not determine the components.
        tails: What happens to heavy tails of whitened columns.
        repeats: Where equal rows go.
        dequantise: Whether values are spread over their cells.
        unit_constants: Whether whitening=standard takes constant columns, with a scale of 1.
        one_hot: The numbers of columns of zeros and ones, which are always spread over cells of
            width 1, since a density over them would be infinite, and have no tails.
    """

    split: tuple[float, float, float]
    seed: int
    whitening: Whitening
    shrinkage: bool = True
    tails: HeavyTails = "compress"
    repeats: Repeats = "auto"
    dequantise: bool = False
    unit_constants: bool = False
    one_hot: tuple[int, ...] = ()


class TableFields(NamedTuple):
    """The fields of a `Dataset` that splits and units of a table determine; see there."""

    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor | None
    validation_labels: Tensor | None
    test_labels: Tensor | None
    quantum: float | Tensor
    shift: Tensor
    scale: Tensor
    tails: Tensor | None
    validation_copies: Tensor
    test_copies: Tensor
    notes: tuple[str, ...]


def check_table_options(whitening: str, tails: str, repeats: str) -> None:
    """Checks the settings of the units and the split of a table.

    Arguments:
        whitening: The units of the model.
        tails: What happens to heavy tails.
        repeats: Where equal rows go.

    Raises:
        ValueError: If one is unknown.
    """
    if whitening not in ("none", "standard", "pca"):
        raise ValueError(
            f"whitening must be none, standard or pca, got {whitening!r}; write "
            "data.whitening=standard"
        )
    if tails not in ("compress", "scale", "keep"):
        raise ValueError(
            f"tails must be compress, scale or keep, got {tails!r}; write data.tails=keep"
        )
    if tails == "scale" and whitening == "pca":
        raise ValueError(
            "tails=scale needs columns that are scaled one by one, got whitening=pca; write "
            "data.whitening=standard or data.tails=compress"
        )
    check_repeats(repeats)


def memory_fields(rows: SourceRows, options: TableOptions) -> dict[str, Any]:
    r"""Returns the fields of a `Dataset` of rows in memory; those of a table in its units.

    Arguments:
        rows: The rows, x of shape (N, \*event).
        options: How they are split and scaled.

    Raises:
        ValueError: If an option is unknown, or does not fit such rows.
    """
    check_table_options(options.whitening, options.tails, options.repeats)
    check_split(options.split)
    known = {
        "class_names": rows.class_names,
        "columns": rows.columns,
        "source": "rows in memory",
        "whitening": options.whitening,
        "split": options.split,
        "split_seed": options.seed,
        "repeats": options.repeats,
        "heavy_tails": options.tails,
        "reading": rows.reading,
    }
    names = ("train", "validation", "test")
    if rows.x.ndim != 2:
        if options.whitening != "none":
            raise ValueError(
                f"whitening={options.whitening} needs a table, shape (N, columns), got "
                f"{tuple(rows.x.shape)}; write whitening='none'"
            )
        parts = split_rows(LabelledRows(rows.x, rows.labels), options.split, options.seed)
        for name, part in zip(names, parts, strict=True):
            known |= {name: part.x.float(), f"{name}_labels": part.labels}
        return known
    columns = rows.columns or tuple(f"column{i}" for i in range(rows.x.shape[1]))
    if rows.x.dtype != torch.float64:
        require_resolved(rows.x.double(), columns)
    if rows.reading is not None:
        options = options._replace(one_hot=rows.reading.one_hot)
    labelled = LabelledRows(rows.x.double(), rows.labels)
    known |= table_fields(labelled, columns, options, known["source"])._asdict()
    if options.whitening == "none":
        zero = torch.zeros((), dtype=torch.float32)
        return known | {"shift": zero, "scale": zero + 1}
    return known | {"former": _former_digest(rows, options)}


def _former_digest(rows: SourceRows, options: TableOptions) -> str:
    """The digest of whitened rows of a version with units in float32."""
    labelled = LabelledRows(rows.x.float(), rows.labels)
    y, labels = split_rows(labelled, options.split, options.seed)[0]
    shift, scale = y.double().mean(0).float(), y.double().std(0, correction=0).float()
    scale = torch.where(scale > 0, scale, 1.0)
    train = affine.to_model(y, shift, scale)
    return tensors_digest(train, shift, scale, *([] if labels is None else [labels]))


def table_fields(
    rows: LabelledRows, columns: tuple[str, ...], options: TableOptions, source: object
) -> TableFields:
    """Returns the splits of a table in model units.

    Arguments:
        rows: All rows in original units, x of shape (N, D), float64.
        columns: The names of the columns, for notes and errors.
        options: How they are split and scaled.
        source: The name of the rows, for errors.

    Raises:
        ValueError: If the columns cannot be whitened, a value is too large, or a split that should
            have rows gets none.
    """
    cells = cell_widths(rows.x) if options.dequantise else None
    split = split_table(rows, options.split, options.seed, options.repeats, cells)
    train, whitening = split.train.x, options.whitening
    notes = [split.note, _coarse(train, columns)]
    tails, scaled = None, options.tails == "scale"
    if options.tails != "keep" and whitening != "none" and (scaled or not options.dequantise):
        tails = _without(fit_tails(train), options.one_hot)
    if tails is not None:
        notes.append(tails_note(train, tails, columns, scaled))
        train = train if scaled else compress(train, tails)
    shift, scale = fit_whitening(
        train, whitening, columns, options.shrinkage, options.unit_constants
    )
    if tails is not None and scaled:
        heavy = tails[2] > 0
        shift, scale = torch.where(heavy, tails[0], shift), torch.where(heavy, tails[2], scale)
        tails = None
    quantum: float | Tensor = 0.0
    if options.dequantise or options.one_hot:
        width = cell_widths(train) * options.dequantise
        width[list(options.one_hot)] = 1.0
        # A matrix of cells, one a row, for "pca"; else one width a column.
        quantum = width.diag() if scale.ndim == 2 else width
        quantum = affine.to_model(quantum, torch.zeros_like(shift), scale).float()

    def units(y: Tensor) -> Tensor:
        y = y if tails is None else compress(y, tails)
        return affine.to_model(y, shift, scale).float()

    parts = [units(part.x) for part in (split.train, split.validation, split.test)]
    if not all(bool(part.isfinite().all()) for part in parts):
        require_float32(units(rows.x), rows.x, columns, source)
    return TableFields(
        parts[0],
        parts[1],
        parts[2],
        split.train.labels,
        split.validation.labels,
        split.test.labels,
        quantum,
        shift,
        scale,
        tails,
        split.validation_copies,
        split.test_copies,
        tuple(note for note in notes if note),
    )


def _without(tails: Tensor | None, columns: tuple[int, ...]) -> Tensor | None:
    """Tails without those of some columns."""
    if tails is None:
        return None
    tails[:, list(columns)] = 0.0
    return tails if bool((tails[2] > 0).any()) else None


def cell_widths(train: Float[Tensor, "N D"]) -> Float[Tensor, " D"]:
    """Returns the median gap between the sorted distinct values of each column, shape (D,).

    It is the width of one step where a column was rounded, next to nothing where it was not, and 0
    where the column is constant.

    Arguments:
        train: The training rows in original units, shape (N, D).

    Example:
        >>> cell_widths(torch.tensor([[0.5], [1.0], [1.0], [2.0], [1.5]]))
        tensor([0.5000])
    """
    gaps = [column.unique(sorted=True).diff() for column in train.T]
    return torch.stack([g.median() if len(g) else g.new_zeros(()) for g in gaps])


def _coarse(train: Tensor, columns: tuple[str, ...]) -> str:
    """A sentence on columns whose values float64 barely tells apart, such as stamps in ns."""
    size, sd = train.abs().amax(0), moments(train)[1]
    coarse = (sd > ROUNDING * size) & (sd < COARSE * size)
    texts = []
    for j in coarse.nonzero().flatten().tolist()[:5]:
        steps = float(sd[j]) / float(np.spacing(float(size[j])))
        texts.append(f"{columns[j]} ({steps:.0f} steps in a standard deviation)")
    if not texts:
        return ""
    return (
        f"float64 holds few digits of the differences in {', '.join(texts)}; subtract the offset "
        "before the table is written"
    )
