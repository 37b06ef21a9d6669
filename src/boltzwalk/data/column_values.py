"""The numbers of one column: as they are, one-hot columns of a category, days of dates."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from .dialect import MISSING, FieldParser, decimal_of, thousands_of
from .raw_table import RawColumn, RawTable

__all__ = [
    "ColumnChoice",
    "EncodedColumn",
    "Missing",
    "RowNumbers",
    "date_of",
    "day_of",
    "encode_column",
    "nearest_level",
    "one_hot",
]

Missing: TypeAlias = Literal["auto", "refuse", "drop", "median"]
"""The treatment of rows with missing fields."""

RowNumbers: TypeAlias = Literal["drop", "keep"]
"""The treatment of a column that numbers the rows."""

LEVELS = 50
"""The largest number of levels of a category."""


class ColumnChoice(NamedTuple):
    """Which columns of a table are used, and how.

    Attributes:
        columns: The names of the columns to use, in this order; None for all.
        drop: The names of the columns to leave out.
        categories: Columns of text, booleans or whole numbers that become one-hot columns.
        dates: Columns of dates that become numbers.
        missing: "refuse", "drop" or "median" for rows with gaps; "auto" to drop them where at
            least half of the rows are left, else "median".
        varying: Whether a column with one value only is a problem.
        python: Whether messages name arguments of Python instead of settings.
        row_numbers: Whether a column that numbers the rows is left out or kept.
    """

    columns: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    missing: Missing = "auto"
    varying: bool = False
    python: bool = False
    row_numbers: RowNumbers = "drop"

    def write(self, name: str, value: str) -> str:
        """Returns a setting as the user writes it.

        Arguments:
            name: The name of the setting.
            value: Its value.
        """
        if not self.python:
            return f"data.{name}={value}"
        if name == "drop":
            return f"frame.drop(columns=[{', '.join(map(repr, value.split(',')))}])"
        return f"{name}={(value,)!r}" if name in ("categories", "dates") else f"{name}={value!r}"


class EncodedColumn(NamedTuple):
    """The columns that one column of the source becomes."""

    names: tuple[str, ...]
    values: np.ndarray
    levels: tuple[str, ...] = ()


def encode_column(
    column: RawColumn, table: RawTable, choice: ColumnChoice
) -> tuple[EncodedColumn | None, str]:
    """The numbers of a column, or its problem."""
    if column.name in choice.categories:
        return _one_hot(column, choice)
    if column.name in choice.dates:
        return _days(column, table)
    drop = choice.write("drop", column.name)
    if column.integer_ids:
        return None, (
            f"column {column.name!r} must hold numbers that float64 can tell apart, got whole "
            f"numbers above 2**53, such as ids; leave it out with {drop}"
        )
    if column.texts:
        row, text = column.examples[0]
        more = f", and text in {column.texts - 1:,} more fields" if column.texts > 1 else ""
        sign = thousands_of(text)
        comma = decimal_of(text for _, text in column.examples) == ","
        marks = ",".join(dict.fromkeys(text for _, text in column.examples[:3]))
        cure = f"write {choice.write('missing_marks', marks)} if that stands for a missing value"
        if sign and not choice.python:
            decimal = ' data.decimal=","' if sign == "." or text.count(",") else ""
            decimal = decimal if sign != "," else ""
            cure = f'write data.thousands="{sign}"{decimal} if that is one number'
        if comma and not choice.python:
            cure = 'write data.decimal="," if that is one number, in every column'
        return None, (
            f"column {column.name!r} must hold numbers, got text, {text[:40]!r} in "
            f"{table.location(row)}{more}; {cure}, mend the fields, or leave the column out with "
            f"{drop}"
        )
    bad = [] if column.full else np.flatnonzero(np.isinf(column.numbers)).tolist()
    if bad:
        return None, (
            f"column {column.name!r} must hold finite numbers, got "
            f"{column.numbers[bad[0]]} in {table.location(int(bad[0]))}{_more(len(bad) - 1)}; "
            f"delete these rows or leave the column out with {drop}"
        )
    return EncodedColumn((column.name,), column.numbers[:, None]), ""


def _more(count: int) -> str:
    """The number of further places."""
    return f", and {count:,} more" if count else ""


def _texts(column: RawColumn) -> list[str]:
    """The levels of a column; "" where missing. Whole numbers read the same however written."""
    if column.texts == 0 and column.kind in ("", "number"):
        return ["" if np.isnan(v) else f"{v:.15g}" for v in column.numbers.tolist()]
    assert column.fields is not None
    missing = np.isnan(column.numbers)
    strip = (field.strip() for field in column.fields)
    return ["" if m and f.lower() in MISSING else f for f, m in zip(strip, missing, strict=True)]


def _one_hot(column: RawColumn, choice: ColumnChoice) -> tuple[EncodedColumn | None, str]:
    """The columns of the levels of a category, but the first."""
    fields = _texts(column)
    counts = Counter(field for field in fields if field)
    if not 2 <= len(counts) <= LEVELS:
        return None, (
            f"a category must have 2 to {LEVELS} levels, got {len(counts):,} in column "
            f"{column.name!r}; leave it out with {choice.write('drop', column.name)}"
        )
    numeric = all(FieldParser().number(level) is not None for level in counts)
    levels = tuple(sorted(counts, key=float if numeric else str))
    return EncodedColumn(
        tuple(f"{column.name}={level}" for level in levels[1:]),
        one_hot(fields, levels),
        levels,
    ), ""


def one_hot(fields: Sequence[str], levels: tuple[str, ...]) -> np.ndarray:
    """Returns the columns of the levels of a category but the first, nan for other fields.

    Arguments:
        fields: The fields.
        levels: The levels.

    Example:
        >>> one_hot(["b", "a", "z"], ("a", "b"))
        array([[ 1.],
               [ 0.],
               [nan]])
    """
    known = {level: i for i, level in enumerate(levels)}
    index = np.array([known.get(field, -1) for field in fields])
    values: np.ndarray = np.equal(index[:, None], np.arange(1, len(levels))).astype(np.float64)
    values[index < 0] = np.nan
    return values


def nearest_level(values: np.ndarray, levels: tuple[str, ...]) -> str:
    """Returns the level whose one-hot columns are nearest.

    Arguments:
        values: The values of the columns of all levels but the first.
        levels: The levels.

    Example:
        >>> nearest_level(np.array([0.2, 0.9]), ("a", "b", "c"))
        'c'
    """
    corners = np.eye(len(levels))[:, 1:]
    return levels[int(((corners - values) ** 2).sum(1).argmin())]


def _days(column: RawColumn, table: RawTable) -> tuple[EncodedColumn | None, str]:
    """A column of dates as days since 1970-01-01."""
    if column.kind == "date":
        return EncodedColumn((column.name,), column.numbers[:, None]), ""
    assert column.fields is not None
    days, bad = [], []
    for row, text in enumerate(column.fields):
        day = day_of(text)
        if day is None and text.strip().lower() not in MISSING:
            bad.append(row)
        days.append(np.nan if day is None else day)
    if bad:
        return None, (
            f"column {column.name!r} must hold dates such as 2024-01-31, 2024-01-31T12:00 or "
            f"31.01.2024, got {column.fields[bad[0]]!r} in {table.location(bad[0])}"
            f"{_more(len(bad) - 1)}; write them so (where 1/2/2024 has two meanings)"
        )
    return EncodedColumn((column.name,), np.array(days)[:, None]), ""


def day_of(text: str) -> float | None:
    """Returns a date as days since 1970-01-01; None for other text.

    Arguments:
        text: A date as ISO 8601 writes it, or as day.month.year or year/month/day; times without a
            zone are taken as UTC.

    Example:
        >>> day_of("1970-01-02T12:00"), day_of("02.01.1970"), day_of("1/2/1970")
        (1.5, 1.0, None)
    """
    text = text.strip()
    swapped = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(.*)", text, re.ASCII)
    if swapped:
        day, month, year, time = swapped.groups()
        text = f"{year}-{month:0>2}-{day:0>2}{time}"
    if re.match(r"\d{4}/\d\d/\d\d", text):
        text = text.replace("/", "-")
    if not re.match(r"\d{4}-\d\d", text):
        return None
    try:
        moment = datetime.datetime.fromisoformat(f"{text}-01" if len(text) == 7 else text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (moment - start) / datetime.timedelta(days=1)


def date_of(day: float) -> str:
    """Returns days since 1970-01-01 as a date, with the time where it is not midnight.

    Arguments:
        day: The days; "" is returned for nan.

    Example:
        >>> date_of(1.5), date_of(0.0)
        ('1970-01-02T12:00:00', '1970-01-01')
    """
    if not np.isfinite(day) or abs(day) > 700_000:
        return "" if np.isnan(day) else repr(day)
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    moment = (start + datetime.timedelta(seconds=round(day * 86400))).replace(tzinfo=None)
    midnight = moment.time() == datetime.time()
    return moment.date().isoformat() if midnight else moment.isoformat()
