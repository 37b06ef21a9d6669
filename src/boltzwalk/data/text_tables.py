"""Text tables: .csv, .data, .tsv, .txt, packed with gzip or not.

The separator is detected among comma, semicolon and tab, then spaces. The first line is a header if
none of its fields is a number. A field that is not a number gives an error that names its column
and line: no value is filled in or dropped silently.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from .files import read_bytes

__all__ = ["Separator", "TextTable", "parse_columns", "read_text_table"]

Separator: TypeAlias = Literal["auto", ",", ";", "tab", "space"]
"""The separator of two fields of a line."""

DETECTION_LINES = 50


class TextTable(NamedTuple):
    """The fields of a table as text: names of columns, rows, and the line number of each row."""

    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]


def read_text_table(path: Path, separator: Separator, header: bool | None) -> TextTable:
    """Reads a text table, packed with gzip or not.

    Arguments:
        path: The file.
        separator: The separator of two fields; "auto" to detect it.
        header: Whether the first line names the columns; None to detect it. Columns without a name
            are called column0, column1 and so on.

    Raises:
        ValueError: If there are no rows, rows differ in length or columns share a name.
    """
    lines = _read_lines(path)
    try:
        if separator == "auto":
            separator = detect_separator(lines)
        numbered = split_fields(lines, separator)
    except csv.Error as error:
        raise ValueError(
            f"{path} must be a table of text, got one that cannot be read ({error}); save it as "
            ".csv, or write data.separator=..."
        ) from error
    if header is None:
        header = bool(numbered) and not any(is_number(field) for field in numbered[0][1])
    names = [field.strip() for field in numbered.pop(0)[1]] if header and numbered else []
    if not numbered:
        raise ValueError(
            f"{path} must have at least one row of numbers, got {len(names)} names of columns and "
            "nothing below; provide rows, or write data.header=false if the first line is one"
        )
    width = len(names) or len(numbered[0][1])
    for line, row in numbered:
        if len(row) != width:
            raise ValueError(
                f"every line of {path} must have {width} fields as the first has, got {len(row)} "
                f"in line {line}; mend that line, or write data.separator=... (it was read as "
                f"{separator!r})"
            )
    named = tuple(name or f"column{i}" for i, name in enumerate(names or [""] * width))
    repeated = [name for i, name in enumerate(named) if name in named[:i]]
    if repeated:
        raise ValueError(
            f"the columns of {path} must have different names, got {repeated[0]!r} more than once; "
            "rename one in the first line"
        )
    return TextTable(named, [row for _, row in numbered], [line for line, _ in numbered])


def _read_lines(path: Path) -> list[str]:
    """Returns the lines of a text file."""
    try:
        return read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be text in UTF-8, got the byte {error.object[error.start]:#04x} at "
            f"position {error.start}; save it as UTF-8, or give arrays the suffix .npy or .npz"
        ) from error


def detect_separator(lines: list[str]) -> Separator:
    """Returns the separator that splits the most lines into as many fields as the first.

    Of two equally good ones the one with more fields is taken, and spaces if none splits the first
    line.

    Arguments:
        lines: Lines of a table; the first 50 are used.

    Example:
        >>> detect_separator(["a;b", "1,5;2,5"])
        ';'
    """
    candidates: tuple[Separator, ...] = (",", ";", "tab")
    best: Separator = "space"
    most = (0, 0)
    for separator in candidates:
        widths = [len(row) for _, row in split_fields(lines[:DETECTION_LINES], separator)]
        if widths and widths[0] > 1:
            score = (widths.count(widths[0]), widths[0])
            if score > most:
                best, most = separator, score
    return best


def split_fields(lines: list[str], separator: Separator) -> list[tuple[int, list[str]]]:
    """Splits lines that are not blank into fields; returns them with line numbers from 1.

    Arguments:
        lines: Lines of a table.
        separator: The separator of two fields; a quoted field may hold it.

    Example:
        >>> split_fields(["a,'b c'", "", "1,2"], ",")
        [(1, ['a', "'b c'"]), (3, ['1', '2'])]
    """
    if separator == "space":
        return [(i, line.split()) for i, line in enumerate(lines, 1) if line.strip()]
    delimiter = "\t" if separator == "tab" else separator
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    return [(reader.line_num, row) for row in reader if len(row) > 1 or "".join(row).strip()]


def is_number(field: str) -> bool:
    """Whether a field is a number; nan and inf count."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def parse_columns(table: TextTable, names: tuple[str, ...], path: Path) -> np.ndarray:
    """Returns some columns of a table as numbers, float64, shape (N, len(names)).

    Arguments:
        table: The fields of the table.
        names: The columns.
        path: The name of the table in errors.

    Raises:
        ValueError: If a field is not a finite number.
    """
    values = np.empty((len(table.rows), len(names)))
    for j, name in enumerate(names):
        i = table.names.index(name)
        fields = [row[i] for row in table.rows]
        try:
            values[:, j] = np.array(fields, dtype=np.float64)
        except ValueError:
            values[:, j] = [float(field) if is_number(field) else np.nan for field in fields]
        bad = np.flatnonzero(~np.isfinite(values[:, j]))
        if len(bad) == len(fields):
            raise ValueError(
                f"column {name!r} of {path} must hold numbers, got text, such as {fields[0]!r} in "
                f"line {table.lines[0]}; leave it out with data.drop={name}, or write "
                "data.separator=... if that is not one field"
            )
        if len(bad):
            raise ValueError(
                f"column {name!r} of {path} must hold finite numbers, got {fields[bad[0]]!r} in "
                f"line {table.lines[bad[0]]}, and {len(bad) - 1} more: missing values or text; "
                f"fill them in, delete the lines or leave the column out with data.drop={name}"
            )
    return values
