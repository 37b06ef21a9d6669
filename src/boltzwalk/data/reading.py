"""The reading of a table as a value: columns, rows left out or filled in, and its options."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .raw_table import ReadingOptions

__all__ = ["TableReading", "some_names"]


@dataclass(frozen=True)
class TableReading:
    """How a table was read; part of the description of a model, which reads new files alike.

    Attributes:
        source: The file, or the name of rows in memory.
        names: All columns of the source, in order.
        inputs: The columns of the source that are used, in the order of the model.
        columns: The columns of the model; several for an input with more than two levels.
        rows: The number of rows that are used.
        rows_read: The number of rows of the source.
        options: How the file was read, as it was asked for.
        header: Whether the first line named the columns; None where a file has no lines.
        separator: The separator of a text table; "" for others.
        decimal: The decimal sign of a text table; "" for others.
        left_out: Columns that are not used, with the reason.
        gaps: Columns with missing fields, with their number.
        gap_rows: The number of rows with a missing field.
        missing: What became of rows with missing fields: "drop" or "median"; "" without any.
        levels: The levels of one-hot columns; all are 0 for the first.
        dates: The columns of dates, as days since 1970-01-01.
        notes: Other facts, such as lines that were passed over.
    """

    source: str
    names: tuple[str, ...]
    inputs: tuple[str, ...]
    columns: tuple[str, ...]
    rows: int
    rows_read: int
    options: ReadingOptions = field(default_factory=ReadingOptions)
    header: bool | None = None
    separator: str = ""
    decimal: str = ""
    left_out: tuple[tuple[str, str], ...] = ()
    gaps: tuple[tuple[str, int], ...] = ()
    gap_rows: int = 0
    missing: str = ""
    levels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def altered(self) -> bool:
        """Whether a column, row or field of the source is not used as it is."""
        return bool(self.left_out or self.gap_rows or self.rows < self.rows_read)

    @property
    def one_hot(self) -> tuple[int, ...]:
        """The columns of the model that are one-hot, by their numbers."""
        names = {f"{name}={level}" for name, levels in self.levels for level in levels}
        return tuple(i for i, name in enumerate(self.columns) if name in names)

    def lines(self) -> list[str]:
        """Returns the reading as lines for people.

        Example:
            >>> TableReading("a.csv", ("x", "id"), ("x",), ("x",), 9, 10, header=True,
            ...     separator=",", left_out=(("id", "row numbers"),), gaps=(("x", 1),), gap_rows=1,
            ...     missing="drop").lines()
            ['read a.csv: 10 rows, 1 column, with a header, separated by commas',
             'left out: id (row numbers)',
             'missing: 10.0 % of the fields (x 1); 1 row with gaps left out, 9 rows used']
        """
        source = Path(self.source).name if "/" in self.source else self.source
        facts = [_count(self.rows_read, "row"), _count(len(self.columns), "column")]
        if self.header is not None:
            facts.append("with a header" if self.header else "without a header")
        if self.separator:
            separators = {",": "commas", ";": "semicolons", "tab": "tabs", "space": "spaces"}
            facts.append(f"separated by {separators.get(self.separator, self.separator)}")
        if self.decimal == ",":
            facts.append("with decimal commas")
        lines = [f"read {source}: {', '.join([*facts, *self.notes])}"]
        if self.left_out:
            reasons = [f"{name} ({reason})" for name, reason in self.left_out]
            more = [f"and {len(reasons) - 12:,} more"] if len(reasons) > 12 else []
            lines.append(f"left out: {', '.join([*reasons[:12], *more])}")
        if self.levels:
            texts = (
                f"{name} ({levels[0]} = 0, {', '.join(levels[1:])})" for name, levels in self.levels
            )
            lines.append(f"one-hot: {', '.join(texts)}")
        if self.dates:
            lines.append(f"dates: {', '.join(self.dates)}, in days since 1970-01-01")
        return lines + ([self._missing_line()] if self.gap_rows else [])

    def _missing_line(self) -> str:
        """The line about missing fields."""
        share = sum(n for _, n in self.gaps) / max(self.rows_read * len(self.inputs), 1)
        shown = sorted(self.gaps, key=lambda gap: -gap[1])[:6]
        named = ", ".join(f"{name} {n:,}" for name, n in shown)
        named += ", ..." if len(self.gaps) > len(shown) else ""
        done = (
            f"{_count(self.gap_rows, 'row')} with gaps left out, {_count(self.rows, 'row')} used"
            if self.missing == "drop"
            else "filled with the median of the column, which is no measurement: a density "
            "has a false peak there"
        )
        return f"missing: {share:.1%} of the fields ({named}); {done}".replace("%", " %")

    def tree(self) -> dict[str, Any]:
        """Returns the reading as plain values, for a file."""
        return dataclasses.asdict(self) | {"options": list(self.options)}

    @staticmethod
    def from_plain(tree: dict[str, Any]) -> TableReading:
        """Returns the reading of plain values.

        Arguments:
            tree: The values, as `tree` returned them.

        Raises:
            TypeError: If a value is missing or unknown.
        """
        values = {key: _tuples(value) for key, value in tree.items()}
        values["options"] = ReadingOptions(*values["options"])
        return TableReading(**values)


def some_names(names: tuple[str, ...] | list[str], most: int = 8) -> str:
    """Returns the first names of a list as text.

    Arguments:
        names: The names.
        most: The largest number of names.
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _tuples(value: Any) -> Any:  # noqa: ANN401
    """Lists as tuples."""
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value
