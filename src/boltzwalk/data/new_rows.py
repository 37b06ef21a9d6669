"""New rows of a table for a model: read as its data were, with the reason where one is not usable.

The options of the model's data count, and are detected anew where they were detected. Columns are
taken by name; a file without names must have the columns of the data, all or those of the model.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .column_values import date_of, day_of, one_hot
from .dataset import Dataset
from .dialect import FieldParser
from .files import array_headers
from .raw_table import Expected, RawColumn, RawTable, ReadingOptions
from .readable import unquoted_formula
from .reading import TableReading, some_names
from .table_columns import problems_of
from .table_files import read_table_file

__all__ = ["NewRows", "field_of", "read_new_rows"]


class NewRows(NamedTuple):
    """The rows of a file for a model.

    Attributes:
        values: The numbers of the columns of the model, float64, shape (N, D); nan where missing
            or not readable.
        notes: For each row the reason why it cannot be scored; "" where it can.
        unreadable: Which rows hold something that is neither a number nor missing, shape (N,).
        table: The table as it was read, with all fields.
        inputs: The columns of the table that the model takes.
        spans: For each of these, its columns of the model.
    """

    values: np.ndarray
    notes: list[str]
    unreadable: np.ndarray
    table: RawTable
    inputs: tuple[RawColumn, ...]
    spans: tuple[slice, ...]

    @property
    def partial(self) -> np.ndarray:
        """The rows that can be completed: readable, with a number; their indices, shape (M,)."""
        return np.flatnonzero(~self.unreadable & ~np.isnan(self.values).all(1))

    @property
    def others(self) -> tuple[RawColumn, ...]:
        """The columns that the model does not take."""
        return tuple(c for c in self.table.columns if not any(c is used for used in self.inputs))

    @property
    def lines(self) -> list[str]:
        """The reading as lines for people."""
        gaps = sum(bool(note) for note in self.notes)
        table = self.table
        reading = TableReading(
            table.source,
            table.names,
            tuple(column.name for column in self.inputs),
            tuple(column.name for column in self.inputs),
            table.rows,
            table.rows,
            header=table.header,
            separator=table.separator,
            decimal=table.decimal,
            notes=table.notes,
        )
        passed = [column.name for column in self.others]
        lines = reading.lines()
        if passed:
            lines.append(f"passed on: {some_names(passed)}")
        if gaps:
            lines.append(f"{gaps:,} of {table.rows:,} rows have gaps or text")
        return lines


def read_new_rows(path: Path, dataset: Dataset) -> NewRows:
    """Returns the rows of a file in the units of the data of a model.

    Arguments:
        path: The file.
        dataset: The data of the model, a table.

    Raises:
        ValueError: If the file cannot be read, or lacks columns of the data.
    """
    reading = dataset.reading
    names = dataset.columns or tuple(f"column{i}" for i in range(dataset.event_shape[0]))
    if reading is None:
        reading = TableReading("", names, names, names, 0, 0)
    options = reading.options._replace(header=None)
    if path.suffix == ".npz":
        options = options._replace(key=_key(path, options.key))
    if path.suffix in (".npy", ".npz"):
        _require_shape(path, options, reading)
    expected = Expected(reading.inputs, reading.header, reading.separator, reading.decimal)
    try:
        table, inputs = _read(path, options, expected, reading)
    except ValueError:
        detected = options._replace(separator="auto", decimal="auto")
        if detected == options:
            raise
        table, inputs = _read(path, detected, expected, reading)  # written by another program
    values = np.empty((table.rows, len(reading.columns)))
    reasons: list[list[str]] = [[] for _ in range(table.rows)]
    unreadable = np.zeros(table.rows, dtype=bool)
    spans, start = [], 0
    levels = dict(reading.levels)
    for name, column in zip(reading.inputs, inputs, strict=True):
        part = _converted(name, column, reading, levels.get(name))
        span = slice(start, start + part.shape[1])
        values[:, span] = part
        spans.append(span)
        start = span.stop
        for row in np.flatnonzero(~np.isfinite(part[:, 0])).tolist():
            reason = _reason(name, column, row, options, name in levels)
            unreadable[row] |= not reason.startswith("missing")
            reasons[row].append(reason)
    values[~np.isfinite(values)] = np.nan
    return NewRows(
        values, ["; ".join(texts) for texts in reasons], unreadable, table, inputs, tuple(spans)
    )


def _require_shape(path: Path, options: ReadingOptions, reading: TableReading) -> None:
    """Raises where an array does not have the columns of the data."""
    headers = array_headers(path)
    shape, dtype, _ = headers.get(options.key or next(iter(headers), ""), ((), np.dtype(float), 0))
    widths = {len(reading.inputs), len(reading.names)}
    if len(shape) != 2 or shape[1] not in widths or dtype.kind not in "fiub":
        raise ValueError(
            f"{path} must hold numbers of shape (N, {len(reading.inputs)}), the columns of the "
            f"data, got {dtype} of shape {shape}"
        )


def _read(
    path: Path, options: ReadingOptions, expected: Expected, reading: TableReading
) -> tuple[RawTable, tuple[RawColumn, ...]]:
    """The table, and the columns of the model."""
    table = read_table_file(path, options, None, expected)
    if table.problems:
        raise problems_of(table.source, list(table.problems))
    return table, _inputs(table, reading)


def field_of(column: RawColumn, row: int) -> str:
    """Returns a field as it was written; "" where an array or a frame has none.

    Arguments:
        column: The column.
        row: The number of the row, from 0.
    """
    if column.fields is not None:
        return column.fields[row]
    value = float(column.numbers[row])
    if column.kind == "date":
        return date_of(value)
    return "" if np.isnan(value) else repr(int(value) if value.is_integer() else value)


def _key(path: Path, key: str | None) -> str | None:
    """The array of a .npz file: that of `boltzwalk sample` in original units, or as in training."""
    try:
        with zipfile.ZipFile(path) as content:
            names = content.namelist()
    except (zipfile.BadZipFile, OSError):
        return key  # reading the array reports the damage
    if "original.npy" in names:
        return "original"
    return None if len(names) == 1 else key


def _inputs(table: RawTable, reading: TableReading) -> tuple[RawColumn, ...]:
    """The columns of the model, by name, or by position where one side has no names."""
    names = table.names
    if not (_numbered(names) or _numbered(reading.names)):
        if not set(reading.inputs) <= set(names):  # as written with --quote-formulas
            names = tuple(map(unquoted_formula, names))
        lacking = [name for name in reading.inputs if name not in names]
        if lacking:
            raise ValueError(
                f"{table.source} must have the columns of the data, lacks {some_names(lacking)}; "
                f"it has {some_names(table.names)}; rename them in the first line"
            )
        return tuple(table.columns[names.index(name)] for name in reading.inputs)
    if len(table.columns) == len(reading.inputs):
        return table.columns
    if len(table.columns) == len(reading.names):
        return tuple(table.columns[reading.names.index(name)] for name in reading.inputs)
    columns = "column" if len(reading.inputs) == 1 else "columns"
    every = ""
    if len(reading.names) > len(reading.inputs):
        every = f" (or all {len(reading.names)} of the file of the data)"
    raise ValueError(
        f"{table.source} must have {len(reading.inputs)} {columns}, those of the data{every}, got "
        f"{len(table.columns)}; name them in the first line: {some_names(reading.inputs)}"
    )


def _numbered(names: tuple[str, ...]) -> bool:
    """Whether columns have default names, column0, column1 and so on."""
    return names == tuple(f"column{i}" for i in range(len(names)))


def _converted(
    name: str, column: RawColumn, reading: TableReading, levels: tuple[str, ...] | None
) -> np.ndarray:
    """The numbers of a column, nan where there are none, shape (N, columns of the model)."""
    if levels is not None:
        if column.fields is None or column.kind == "number":
            return one_hot([f"{v:.15g}" for v in column.numbers.tolist()], levels)
        parser = FieldParser()
        fields = [unquoted_formula(field.strip()) for field in column.fields]
        if all(parser.number(level) is not None for level in levels):
            numbers = [parser.number(field) for field in fields]
            fields = ["" if v is None else f"{v:.15g}" for v in numbers]
        return one_hot(fields, levels)
    if name in reading.dates and column.kind != "date" and column.fields is not None:
        days = [day_of(field) for field in column.fields]
        return np.array([[np.nan if day is None else day] for day in days])
    return column.numbers[:, None]


def _reason(
    name: str, column: RawColumn, row: int, options: ReadingOptions, has_levels: bool
) -> str:
    """The reason why a field has no number."""
    field = "" if column.fields is None else column.fields[row].strip()
    parser = FieldParser(marks=options.missing_marks)
    if parser.is_missing(field) and not np.isinf(column.numbers[row]):
        return f"missing {name}"
    if has_levels:
        return f"unknown level {field[:20]!r} of {name}"
    return f"no number {(field or str(column.numbers[row]))[:20]!r} in {name}"
