"""The numbers of a table: columns chosen, categories and dates converted, missing fields met.

A column of text is left out, with a line that says so, unless it is named. A level of a category
becomes a column of zeros and ones; the first level has none, since the columns of all levels add
up to 1, and such rows have no density. Dates become days since 1970-01-01.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np

from .column_values import ColumnChoice, EncodedColumn, day_of, encode_column
from .dialect import decimal_of, thousands_of
from .raw_table import RawColumn, RawTable, ReadingOptions
from .reading import TableReading, some_names

__all__ = [
    "ChosenTable",
    "choose_columns",
    "problems_of",
    "select_columns",
]

RARE = 5
"""Levels with fewer rows, and below a hundredth of all, cannot be learnt."""

INDEX = ("index", "id", "row", "rownames", "row names", "row_id", "no", "no.", "nr", "nr.", "#")
"""Names of columns that are left out where they count the rows."""


class ChosenTable(NamedTuple):
    """The numbers of a table.

    Attributes:
        values: The numbers, float64, shape (N, D).
        kept_rows: The rows of the source that they are of, shape (N,).
        reading: How they were read.
    """

    values: np.ndarray
    kept_rows: np.ndarray
    reading: TableReading


def choose_columns(table: RawTable, choice: ColumnChoice, options: ReadingOptions) -> ChosenTable:
    """Returns the numbers of the columns of a table.

    Arguments:
        table: The table.
        choice: The columns to use.
        options: How it was read, for the description.

    Raises:
        ValueError: With every problem of the table, if there is one.
    """
    problems = list(table.problems)
    try:
        selected = select_columns(table.names, choice.columns, choice.drop)
        unknown = [n for n in (*choice.categories, *choice.dates) if n not in table.names]
        if unknown:
            select_columns(table.names, tuple(unknown), ())
    except ValueError as error:
        raise problems_of(table.source, [*problems, str(error)]) from error
    left_out = [(name, "as asked") for name in table.names if name in choice.drop]
    by_name = {column.name: column for column in table.columns}
    encoded: dict[str, EncodedColumn] = {}
    for name in selected:
        named = name in (*(choice.columns or ()), *choice.categories, *choice.dates)
        column = by_name[name]
        reason = "" if named else _reason_to_leave_out(column, table, choice)
        if reason:
            left_out.append((name, reason))
            continue
        result, problem = encode_column(column, table, choice)
        if problem:
            problems.append(problem)
        elif result is not None:
            encoded[name] = result
    if not encoded and not problems:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out[:8])
        problems.append(
            f"a table must have a column of numbers, got none ({reasons}); "
            f"write {choice.write('categories', 'NAME')} for text, or another separator"
        )
    return _without_gaps(table, choice, options, encoded, left_out, problems)


def _without_gaps(
    table: RawTable,
    choice: ColumnChoice,
    options: ReadingOptions,
    encoded: dict[str, EncodedColumn],
    left_out: list[tuple[str, str]],
    problems: list[str],
) -> ChosenTable:
    """The numbers of the columns, without rows that cannot be used."""
    gaps, gap_rows = _gaps(table, encoded)
    count = int(gap_rows.sum())
    missing = choice.missing
    if missing == "auto":
        missing = "drop" if count <= table.rows / 2 else "median"
    keep = ~gap_rows if missing == "drop" else np.ones(table.rows, dtype=bool)
    if count and (missing == "refuse" or keep.sum() < 2):
        problems.append(_refused_gaps(gaps, count, table, choice))
    notes = list(table.notes)
    keep = _without_rare_levels(encoded, keep, notes)
    problems += _constant_columns(encoded, keep, choice)
    if problems:
        raise problems_of(table.source, problems)
    values = _matrix(table, encoded, keep)
    if missing == "median" and count:
        values = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
    reading = TableReading(
        table.source,
        table.names,
        tuple(encoded),
        tuple(name for one in encoded.values() for name in one.names),
        len(values),
        table.rows,
        options,
        table.header,
        table.separator,
        table.decimal,
        tuple(left_out),
        tuple(gaps.items()),
        count,
        missing if count else "",
        tuple((name, one.levels) for name, one in encoded.items() if one.levels),
        tuple(name for name in encoded if name in choice.dates),
        tuple(notes),
    )
    return ChosenTable(values, np.flatnonzero(keep), reading)


def _gaps(table: RawTable, encoded: dict[str, EncodedColumn]) -> tuple[dict[str, int], np.ndarray]:
    """The number of missing fields of the columns that have any, and the rows with a gap."""
    gaps: dict[str, int] = {}
    gap_rows = np.zeros(table.rows, dtype=bool)
    full = {column.name for column in table.columns if column.full}
    for name, one in encoded.items():
        if name in full and not one.levels:
            continue
        is_gap = np.isnan(one.values[:, 0])
        if is_gap.any():
            gaps[name] = int(is_gap.sum())
            gap_rows |= is_gap
    return gaps, gap_rows


def _matrix(table: RawTable, encoded: dict[str, EncodedColumn], keep: np.ndarray) -> np.ndarray:
    """The values of the columns, without a copy where they are one array already."""
    parts = [one.values for one in encoded.values()]
    base = parts[0].base
    base = base if base is None or base.base is None else base.base
    if keep.all() and base is not None and base.shape == (table.rows, len(parts)):
        starts = [part.__array_interface__["data"][0] for part in parts]
        first = base.__array_interface__["data"][0]
        if starts == [first + j * base.strides[1] for j in range(len(parts))]:
            return base
    return np.column_stack([part if keep.all() else part[keep] for part in parts])


def _constant_columns(
    encoded: dict[str, EncodedColumn], keep: np.ndarray, choice: ColumnChoice
) -> list[str]:
    """The problem of columns with one value, if there are any."""
    if not choice.varying:
        return []
    constant = [name for one in encoded.values() for name in _constant(one, keep)]
    if not constant or int(keep.sum()) < 2:
        return []
    largest = max(float(np.abs(one.values[keep]).max()) for one in encoded.values())
    ids = ", or whole numbers above 2**53 such as ids, which float64 cannot tell apart"
    ids = ids if largest >= 2**53 else ""
    return [
        f"whitening needs columns that vary, got {int(keep.sum())} rows in which "
        f"{', '.join(constant)} has one value only{ids}; leave it out with "
        f"{choice.write('drop', ','.join(constant))}, or write {choice.write('whitening', 'none')}"
    ]


def _constant(one: EncodedColumn, keep: np.ndarray) -> list[str]:
    """The columns that have one value only."""
    result = []
    for name, column in zip(one.names, one.values.T, strict=True):
        used = column if keep.all() else column[keep]
        if len(used) and np.nanmax(used) == np.nanmin(used):
            result.append(name)
    return result


def _without_rare_levels(
    encoded: dict[str, EncodedColumn], keep: np.ndarray, notes: list[str]
) -> np.ndarray:
    """The rows that are kept, without those of rare levels, which are noted."""
    for name, one in encoded.items():
        rare = _rare_rows(one) & keep
        if rare.any():
            keep = keep & ~rare
            notes.append(f"{int(rare.sum()):,} rows of rare levels of {name} left out")
    return keep


def _rare_rows(one: EncodedColumn) -> np.ndarray:
    """The rows of levels that are too rare."""
    rows = np.zeros(len(one.values), dtype=bool)
    if one.levels:
        first = 1 - one.values.sum(1)
        for column in (first, *one.values.T):
            count = np.nansum(column)
            if count < RARE and count < len(column) / 100:
                rows |= column == 1
    return rows


def _refused_gaps(gaps: dict[str, int], count: int, table: RawTable, choice: ColumnChoice) -> str:
    """The problem of missing fields."""
    largest = sorted(gaps.items(), key=lambda gap: -gap[1])
    mostly = [name for name, n in largest if n > table.rows / 2]
    named = ", ".join(f"{name} {n:,}" for name, n in largest[:12])
    named += f" and {len(gaps) - 12} more" if len(gaps) > 12 else ""
    advice = [
        f"{choice.write('missing', 'drop')} leaves out the rows with gaps ({count:,} of "
        f"{table.rows:,})",
        f"{choice.write('missing', 'median')} fills them in",
    ]
    if mostly:
        advice.insert(
            0,
            f"{choice.write('drop', ','.join(mostly))} leaves out "
            f"{'columns' if len(mostly) > 1 else 'a column'} mostly empty",
        )
    return (
        f"no field must be missing, got {sum(gaps.values()):,} empty fields ({named}): "
        f"{'; '.join(advice)}"
    )


def _reason_to_leave_out(column: RawColumn, table: RawTable, choice: ColumnChoice) -> str:
    """The reason why a column that nobody named is not used; "" if it is."""
    total = table.rows
    present = total if column.full else int(np.count_nonzero(~np.isnan(column.numbers)))
    if present + column.texts == 0:
        return "empty"
    if column.kind == "boolean":
        return f"true or false; {choice.write('categories', column.name)} takes it in"
    if column.kind == "date":
        return f"dates; {choice.write('dates', column.name)} takes it in"
    if column.texts > present:
        texts = [text for _, text in column.examples]
        if all(day_of(text) is not None for text in texts[:50]):
            return f"dates; {choice.write('dates', column.name)} takes it in"
        if {text.lower() for text in texts} <= {"true", "false", "yes", "no", "t", "f", "y", "n"}:
            return f"true or false; {choice.write('categories', column.name)} takes it in"
        if all(thousands_of(text) for text in texts[:50]) or decimal_of(texts) != ".":
            return ""  # numbers, which a setting makes readable: a problem
        return f"text such as {texts[0][:20]!r}"
    complete = column.texts == 0 and present == total
    if choice.row_numbers == "drop" and complete and _counts_rows(column, table):
        return "row numbers"
    if choice.missing == "auto" and present + column.texts < total / 2:
        return f"{1 - (present + column.texts) / total:.0%} empty".replace("%", " %")
    return ""


def _counts_rows(column: RawColumn, table: RawTable) -> bool:
    """Whether a column numbers the rows: named as an index, or the first one without a name."""
    numbers = column.numbers
    first = column.name == table.names[0]
    name = column.name.strip().lower()
    if not (first or name in INDEX):
        return False
    running = numbers[0] in (0, 1) and bool((np.diff(numbers[:100]) == 1).all())
    running = running and bool((np.diff(numbers) == 1).all())
    if name in INDEX:
        return running and len(numbers) > 2
    unnamed = table.header and name in ("column0", "unnamed: 0")
    if first and unnamed:
        integers = bool((numbers == np.floor(numbers)).all())
        return running or (integers and len(np.unique(numbers)) == len(numbers))
    return first and table.header is False and running and len(numbers) >= 10


def problems_of(source: str, problems: list[str]) -> ValueError:
    """Returns one error with every problem of a table.

    Arguments:
        source: The file, or the name of rows in memory.
        problems: The problems.
    """
    if len(problems) == 1:
        return ValueError(f"{source}: {problems[0]}")
    listed = "".join(f"\n  {i}. {problem}" for i, problem in enumerate(problems, 1))
    return ValueError(f"{source} has {len(problems)} problems:{listed}")


def select_columns(
    names: tuple[str, ...], use: tuple[str, ...] | None, drop: tuple[str, ...]
) -> tuple[str, ...]:
    """Returns the names of the columns to use.

    Arguments:
        names: All columns.
        use: The columns to use, in this order; None for all.
        drop: The columns to leave out.

    Raises:
        ValueError: If a name is unknown or repeated, or no column is left.

    Example:
        >>> select_columns(("a", "b", "c"), None, ("b",))
        ('a', 'c')
    """
    for name in (*(use or ()), *drop):
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3) or names
            raise ValueError(
                f"columns and drop must name columns of the table, got {name!r}; did you mean "
                f"{some_names(list(near))}?"
            )
    selected = tuple(name for name in (names if use is None else use) if name not in drop)
    if not selected or len(set(selected)) < len(selected):
        raise ValueError(
            f"columns and drop must leave at least one column and each only once, got "
            f"columns={use} and drop={drop} for a table of {some_names(names)}; leave fewer out"
        )
    return selected
