"""The layout of a text table: separator, header and names, decided from its first lines."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .dialect import (
    FieldParser,
    Separator,
    comma_doubt,
    detect_separator,
    header_doubt,
    split_lines,
)
from .raw_table import Expected, ReadingOptions

__all__ = ["TextLayout", "is_blank", "is_comment", "layout_of", "without_rows"]

DETECTED = 200
SAMPLE = 1 << 16
"""The characters that decide the layout."""


@dataclass
class TextLayout:
    """The layout of a text table, decided from its first block."""

    separator: Separator
    parser: FieldParser
    names: tuple[str, ...]
    header: bool
    first: int  # the first record of the body
    extra: bool = False  # every line ends in a separator
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    titles: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """The number of fields of a line."""
        return len(self.names) + self.extra


def layout_of(
    path: Path, sample: str, options: ReadingOptions, parser: FieldParser, expected: Expected
) -> TextLayout:
    """Returns the separator, the names and the first record of the body of a text table.

    Arguments:
        path: The file, for messages.
        sample: Its first lines.
        options: How it is read.
        parser: How numbers are written.
        expected: The layout of the data that the file resembles.

    Raises:
        ValueError: If there are no rows.
    """
    cut, sample = len(sample) > SAMPLE, sample[:SAMPLE]
    lines = [line for line in re.split(r"\r\n|\r|\n", sample) if line.strip()]
    plain = [line for line in lines if not line.startswith("#")] or lines
    separator = options.separator
    if separator == "auto":
        separator = detect_separator(plain[:DETECTED], options.decimal != "," or '"' in sample)
    records = [record for record in split_lines(sample, separator) if not is_blank(record, 0)]
    records = records[:-1] if cut and len(records) > 2 else records
    widths = Counter(len(r) for r in records if not r[0].startswith("#"))
    width = widths.most_common(1)[0][0] if widths else 0
    first = 0
    while first < len(records) and is_comment(records[first], width):
        first += 1
    if len(records) <= first:
        raise ValueError(without_rows(path, 0))
    line, body = [f.strip() for f in records[first]], records[first + 1 :]
    layout = TextLayout(separator, parser, (), False, first)
    if line[0].startswith("#") and len(line) > 1:  # as numpy.savetxt writes a header
        shorter = line[1:] if line[0] == "#" and len(line) == width + 1 else line
        line = [shorter[0].lstrip("# ") or shorter[0], *shorter[1:]]
    layout.header = _has_header(layout, line, body, options, expected)
    layout.first = first + layout.header
    if layout.header and not body:
        raise ValueError(without_rows(path, len(line)))
    detected = options.separator == options.decimal == "auto"
    if detected and layout.header and len(line) == 1 and comma_doubt(body, separator):
        # One name above lines such as 1,5: the comma is the decimal sign.
        return layout_of(path, sample, options._replace(separator=";"), parser, expected)
    if detected and not layout.header and comma_doubt([line, *body], separator):
        if expected.decimal:
            known = options._replace(separator=expected.separator, decimal=expected.decimal)  # type: ignore[arg-type]
            return layout_of(path, sample, known, parser, expected)
        layout.problems.append(
            f"{','.join(line)} may be one number with a decimal comma or two whole numbers; "
            'write data.decimal="," for one, data.decimal=. for two'
        )
    _name(layout, line, {len(r) for r in body if not is_comment(r, width)})
    return layout


def _has_header(
    layout: TextLayout,
    line: list[str],
    body: list[list[str]],
    options: ReadingOptions,
    expected: Expected,
) -> bool:
    """Whether the first line names the columns; doubt is added to the problems."""
    if options.header is not None:
        return options.header
    if set(expected.names) & set(line):
        return True
    header, doubt = header_doubt(line, body[:1000], layout.parser)
    if doubt and expected.header is None:
        layout.problems.append(
            f"the first line may name the columns or be a row: {doubt}; write data.header=true or "
            "data.header=false"
        )
    return header if expected.header is None or not doubt else expected.header


def is_blank(record: list[str], width: int) -> bool:
    """Returns whether a line has no field.

    One field without text is missing in a table of one column.

    Arguments:
        record: The fields of the line.
        width: The number of columns.
    """
    return not record or (len(record) == 1 and width != 1 and not record[0].strip())


def is_comment(record: list[str], width: int) -> bool:
    """Returns whether a line that begins with # is no row: it has another number of fields.

    Arguments:
        record: The fields of the line.
        width: The number of columns.
    """
    named = record[0] == "#" and len(record) == width + 1
    return record[0].startswith("#") and (width == 1 or len(record) != width) and not named


def _name(layout: TextLayout, line: list[str], widths: set[int]) -> None:
    """Gives the columns their names."""
    names = line if layout.header else [""] * len(line)
    if layout.header and widths == {len(line) + 1}:
        if layout.separator in ("space", "tab"):
            names = ["row names", *names]  # as R writes them
        else:
            layout.extra = True
    layout.titles = tuple(names)
    layout.names = tuple(name or f"column{i}" for i, name in enumerate(names))
    repeated = sorted({n for i, n in enumerate(layout.names) if n in layout.names[:i]})
    if repeated:
        layout.problems.append(
            f"columns must have different names, got {', '.join(map(repr, repeated))} more than "
            "once; rename them in the first line"
        )


def without_rows(path: Path, names: int) -> str:
    """Returns the problem of a table without rows.

    Arguments:
        path: The file.
        names: The number of names in its first line.
    """
    return (
        f"{path} must have at least one row of numbers, got {names} names of columns and nothing "
        "below; provide rows, or write data.header=false if the first line is one"
    )
