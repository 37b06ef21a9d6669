"""Columns of a table as they were read, before any is chosen or filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .dialect import Separator

__all__ = ["Expected", "RawColumn", "RawTable", "ReadingOptions"]


class ReadingOptions(NamedTuple):
    """How a file is read.

    Attributes:
        separator: The separator of the fields of a line; "auto" to detect it.
        decimal: The decimal sign, "." or ","; "auto" to detect it.
        thousands: The sign between groups of three digits; "" for none.
        header: Whether the first line names the columns; None to detect it.
        missing_marks: Fields that are missing besides the usual marks.
        encoding: The encoding of text; "auto" for UTF-8 or that of a byte order mark.
        key: The array of a .npz file; None where there is only one.
        sheet: The sheet of a workbook; None for the first.
        unpacked_gb: The largest unpacked size of a packed file, in gigabytes.
    """

    separator: Separator = "auto"
    decimal: str = "auto"
    thousands: str = ""
    header: bool | None = None
    missing_marks: tuple[str, ...] = ()
    encoding: str = "auto"
    key: str | None = None
    sheet: str | None = None
    unpacked_gb: float = 2.0


class Expected(NamedTuple):
    """The layout that a new file of known data probably has; it decides where there is doubt.

    Attributes:
        names: The names of the columns.
        header: Whether the first line names them; None where it is not known.
        separator: The separator; "" where it is not known.
        decimal: The decimal sign; "" where it is not known.
    """

    names: tuple[str, ...] = ()
    header: bool | None = None
    separator: str = ""
    decimal: str = ""


class RawColumn(NamedTuple):
    """One column as it was read.

    Attributes:
        name: Its name.
        numbers: Its fields as numbers, float64, shape (N,); nan where missing or text.
        texts: The number of fields that are neither numbers nor missing.
        examples: The row and the content of some of these.
        fields: All fields as text, where they were asked for; "" where missing.
        integer_ids: Whether it holds whole numbers that float64 cannot tell apart.
        kind: "number", "boolean" or "date", where the source says so; "" where it is text.
        full: Whether every number is known to be finite.
    """

    name: str
    numbers: np.ndarray
    texts: int = 0
    examples: Sequence[tuple[int, str]] = ()
    fields: Sequence[str] | None = None
    integer_ids: bool = False
    kind: str = ""
    full: bool = False


def _in_row(row: int) -> str:
    return f"row {row}"


@dataclass(frozen=True)
class RawTable:
    """A table as it was read.

    Attributes:
        source: The file, or the name of rows in memory.
        columns: The columns.
        rows: The number of rows.
        header: Whether the first line named the columns; None where a file has no lines.
        separator: The separator of a text table; "" for others.
        decimal: The decimal sign of a text table; "" for others.
        notes: Facts that a reader must know, such as lines that were passed over.
        problems: The reasons why the table cannot be read.
        titles: The names as the first line has them; () where all have one.
        location: Returns the location of a row in the source, such as "line 3".
    """

    source: str
    columns: tuple[RawColumn, ...]
    rows: int
    header: bool | None = None
    separator: str = ""
    decimal: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    location: Callable[[int], str] = field(default=_in_row, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)
