"""Text tables: .csv, .data, .tsv, .txt, packed with gzip or not, read in blocks.

The first block decides the separator, the decimal sign and the header. Blocks of plain numbers go
through the reader of NumPy, which is written in C; blocks with quotes, text, missing marks, comment
lines or lines of another length go through the `csv` module, field by field. Both give the same
numbers. A field that is neither a number nor missing is counted, with its place: nothing is filled
in or dropped here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from .dialect import (
    FieldParser,
    Separator,
    decimal_of,
    split_lines,
)
from .file_kinds import text_blocks
from .raw_table import Expected, RawColumn, RawTable, ReadingOptions
from .text_layout import TextLayout, is_blank, is_comment, layout_of, without_rows

__all__ = ["read_text_table"]

EXAMPLES = 1000
RECORDS = 8192
NAN = float("nan")
IDS = re.compile(r"\s*[+-]?\d{16,}\s*", re.ASCII)
"""Whole numbers that float64 may not tell apart."""


@dataclass
class _Body:
    """The body of a table while it is read; the buffer grows in place."""

    values: np.ndarray
    full: np.ndarray  # which columns have finite numbers only
    rows: int = 0
    comments: int = 0
    texts: list[int] = field(default_factory=list)
    examples: list[list[tuple[int, str]]] = field(default_factory=list)
    signs: list[str] = field(default_factory=list)  # the decimal sign of the text of a column
    fields: dict[int, list[str]] = field(default_factory=dict)
    ragged: list[tuple[int, int]] = field(default_factory=list)
    large: set[int] = field(default_factory=set)
    points: bool = False  # whether a number has a decimal point

    def append(self, block: np.ndarray) -> None:
        needed = self.rows + len(block)
        if needed > len(self.values):
            size = max(needed, len(self.values) + (len(self.values) >> 3))
            self.values.resize((size, self.values.shape[1]), refcheck=False)
        self.values[self.rows : needed] = block
        self.full &= np.isfinite(block).all(0)
        self.rows = needed


def read_text_table(
    path: Path,
    options: ReadingOptions,
    keep: frozenset[str] | None = frozenset(),
    expected: Expected = Expected(),  # noqa: B008
) -> RawTable:
    """Reads a text table, packed with gzip or not.

    Arguments:
        path: The file.
        options: How it is read. Columns without a name are called column0, column1 and so on.
        keep: The columns whose fields are returned as text as well; None for all.
        expected: The layout of the data that the file resembles; it decides where there is doubt.

    Raises:
        ValueError: If the file is of another kind, encoding, or has no rows.
    """
    parser = FieldParser(
        "." if options.decimal == "auto" else options.decimal,
        options.thousands,
        options.missing_marks,
    )
    for _ in range(3):  # again where fields further below show a decimal comma
        try:
            layout, body = _read(path, options, parser, keep, expected)
        except csv.Error as error:
            raise ValueError(
                f"{path} must be a table of text, got one that cannot be read ({error}): is a "
                "quote not closed? Mend it, save it as .csv anew, or write data.separator=..."
            ) from error
        if _commas(options, parser, body):
            parser = parser._replace(decimal=",")
            continue
        break
    return _finished(path, options, layout, body)


def _read(
    path: Path,
    options: ReadingOptions,
    parser: FieldParser,
    keep: frozenset[str] | None,
    expected: Expected,
) -> tuple[TextLayout, _Body]:
    """The layout and the body of a file, with a given decimal sign."""
    blocks = text_blocks(path, options.encoding, options.unpacked_gb)
    first = next(blocks, "")
    layout = layout_of(path, first, options, parser, expected)
    width = layout.width
    lines = max(first.count("\n"), 1)
    size = path.stat().st_size * lines // max(len(first), 1) if len(first) > 1 << 17 else lines
    body = _Body(np.empty((size + 8, width)), np.ones(width, dtype=bool))
    body.texts, body.signs = [0] * width, [""] * width
    body.examples = [[] for _ in range(width)]
    if keep is None or keep:
        body.fields = {j: [] for j, n in enumerate(layout.names) if keep is None or n in keep}
    skip = layout.first
    for records, block in _records(chain([first], blocks), layout.separator):
        # A header is the first line that is not empty.
        rest = block if skip == 0 else block.lstrip("\r\n").partition("\n")[2]
        if rest and skip <= 1 and _fast(rest, layout, body):
            skip = 0
            continue
        rows = split_lines(block, layout.separator) if records is None else records
        while part := list(islice(rows, RECORDS)):
            part = [r for r in part if not is_blank(r, width)]
            part, skip = part[skip:], max(skip - len(part), 0)
            _slow(part, layout, body)
        if block == first and _commas(options, parser, body):
            break  # read again with a decimal comma
    body.values.resize((body.rows, width), refcheck=False)
    return layout, body


def _commas(options: ReadingOptions, parser: FieldParser, body: _Body) -> bool:
    """Whether the numbers have a decimal comma, although they were read with a point."""
    undecided = options.decimal == "auto" and parser.decimal == "."
    return undecided and "," in body.signs and not body.points


def _records(
    blocks: Iterator[str], separator: Separator
) -> Iterator[tuple[Iterator[list[str]] | None, str]]:
    """Blocks of text, up to the first quote; then a reader of all records that follow."""
    for block in blocks:
        if '"' in block:
            following = chain([block], blocks)
            lines = chain.from_iterable(io.StringIO(b, newline="") for b in following)
            yield iter(split_lines(lines, separator, strict=True)), ""
            return
        yield None, block


def _fast(block: str, layout: TextLayout, body: _Body) -> bool:
    """Reads a block of plain numbers; False where it has anything else."""
    separator, parser = layout.separator, layout.parser
    if parser.thousands or body.fields or any(body.texts) or layout.extra:
        return False
    if parser.decimal == ",":
        if "." in block or separator == ",":
            return False
        block = block.replace(",", ".")
    sign = {"tab": "\t", "space": None}.get(separator, separator)
    values = _numbers(block, sign)
    if values is None and sign is not None:
        values = _numbers(_with_nan(block, sign), sign)
    if values is None:
        return False
    if values.shape[1] != layout.width or not len(values):
        return False
    body.points |= "." in block
    body.append(values)
    return True


def _numbers(block: str, sign: str | None) -> np.ndarray | None:
    """The numbers of a block; None where it has anything else."""
    try:
        return np.loadtxt(
            io.StringIO(block, newline=""), delimiter=sign, comments=None, ndmin=2, encoding=None
        )
    except ValueError:
        return None


def _with_nan(block: str, sign: str) -> str:
    """A block with nan in the place of empty fields."""
    for end in (sign, "\n", "\r"):
        if sign + end in block:
            block = block.replace(sign + end, f"{sign}nan{end}")
            block = block.replace(sign + end, f"{sign}nan{end}")
    if block.startswith(sign) or "\n" + sign in block:
        block = re.sub(rf"(?m)^(?={re.escape(sign)})", "nan", block)
    return block


def _slow(rows: list[list[str]], layout: TextLayout, body: _Body) -> None:
    """Reads records field by field."""
    width = layout.width
    before = len(rows)
    rows = [row for row in rows if not is_comment(row, width)]
    body.comments += before - len(rows)
    if any(len(row) != width for row in rows):
        body.ragged += [(body.rows + i, len(r)) for i, r in enumerate(rows) if len(r) != width]
        rows = [(r + [""] * width)[:width] for r in rows]
    if not rows:
        return
    values = np.empty((len(rows), width))
    for j, column in enumerate(zip(*rows, strict=True)):
        values[:, j] = _column(j, column, layout.parser, body)
    for j, texts in body.fields.items():
        texts += [row[j] for row in rows]
    body.append(values)


def _column(j: int, column: tuple[str, ...], parser: FieldParser, body: _Body) -> list[float]:
    """The numbers of a column of a block; its text is counted."""
    known: dict[str, float | None] = {}
    for text in set(column):
        if parser.is_missing(text):
            known[text] = NAN
        else:
            number = parser.number(text)
            known[text] = number
            if number is not None and abs(number) > 2**53 and re.fullmatch(IDS, text):
                body.large.add(j)
    strange = [text for text, value in known.items() if value is None]
    body.points |= any("." in text for text, value in known.items() if value is not None)
    if strange:
        sign = decimal_of(strange)
        order = ("", "?", ",", ".")
        body.signs[j] = max(body.signs[j], sign, key=order.index)
        at = [(i, text) for i, text in enumerate(column) if known[text] is None]
        body.texts[j] += len(at)
        room = EXAMPLES - len(body.examples[j])
        body.examples[j] += [(body.rows + i, text.strip()) for i, text in at[:room]]
        known |= dict.fromkeys(strange, NAN)
    return [known[text] for text in column]  # type: ignore[misc]


def _finished(path: Path, options: ReadingOptions, layout: TextLayout, body: _Body) -> RawTable:
    """The columns, and all problems of the lines."""
    problems, notes = list(layout.problems), list(layout.notes)
    if not body.rows:
        raise ValueError(without_rows(path, len(layout.names) if layout.header else 0))

    def location(row: int) -> str:
        return f"line {_line(path, options, layout, row)}"

    problems += _line_problems(options, layout, body, location)
    if layout.extra:
        notes.append("every line ends in a separator")
    if body.comments or layout.first > layout.header:
        count = body.comments + layout.first - layout.header
        notes.append(f"{count:,} lines that begin with # passed over")
    columns = tuple(
        RawColumn(
            name,
            body.values[:, j],
            body.texts[j],
            body.examples[j],
            body.fields.get(j),
            j in body.large,
            full=bool(body.full[j]),
        )
        for j, name in enumerate(layout.names)
    )
    return RawTable(
        str(path),
        columns,
        body.rows,
        layout.header,
        layout.separator,
        layout.parser.decimal,
        tuple(notes),
        tuple(problems),
        layout.titles if layout.header else (),
        location,
    )


def _line_problems(
    options: ReadingOptions, layout: TextLayout, body: _Body, location: Callable[[int], str]
) -> list[str]:
    """The problems of lines of another length, and of a decimal sign that has two meanings."""
    problems = []
    last = body.values.shape[1] - 1
    if layout.extra and (body.texts[last] or not np.isnan(body.values[:, last]).all()):
        layout.extra = False
        problems.append(
            f"every line must have {len(layout.names)} fields as the first has, got {last + 1} in "
            'every other line; name all columns in the first line, or write data.decimal="," or '
            "data.separator=..."
        )
    if body.ragged:
        row, width = body.ragged[0]
        more = f", and {len(body.ragged) - 1:,} more such lines" if len(body.ragged) > 1 else ""
        problems.append(
            f"every line must have {layout.width} fields as the first has, got {width} in "
            f"{location(row)}{more}; mend these lines, or write data.separator=... (it was read as "
            f"{layout.separator!r})"
        )
    if options.decimal == "auto" and "?" in body.signs and "," not in body.signs:
        j = body.signs.index("?")
        problems.append(
            f"{body.examples[j][0][1]!r} in column {layout.names[j]!r} may have a decimal comma or "
            'groups of three digits; write data.decimal="," or data.thousands=","'
        )
    return problems


def _line(path: Path, options: ReadingOptions, layout: TextLayout, row: int) -> int:
    """The number of the line, from 1, at which a row of the body ends."""
    blocks = text_blocks(path, options.encoding, options.unpacked_gb)
    lines = chain.from_iterable(io.StringIO(block, newline="") for block in blocks)
    reader = split_lines(lines, layout.separator)
    width, before = layout.width, layout.first
    for record in reader:
        if is_blank(record, width):
            continue
        if before:
            before -= 1
        elif not is_comment(record, width):
            if row == 0:
                return int(reader.line_num)
            row -= 1
    return 0
