"""Fields of a text table: numbers, missing marks, separators, decimal signs, and the first line.

Everything here is decided from a sample of lines, and named by the reading that uses it. Where two
readings are possible the caller asks: see `comma_doubt` and `header_doubt`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = [
    "FieldParser",
    "Separator",
    "comma_doubt",
    "decimal_of",
    "detect_separator",
    "header_doubt",
    "is_number",
    "split_lines",
    "thousands_of",
]

Separator: TypeAlias = Literal["auto", ",", ";", "tab", "|", "space"]
"""The separator of two fields of a line."""

MISSING = frozenset(
    (
        *("", "na", "n/a", "#n/a", "#na", "#n/a n/a", "<na>", "nan", "-nan", "null", "none"),
        *("?", "-", "--", ".", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    )
)
"""Fields that are missing, in upper or lower case."""

POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA = re.compile(r"[+-]?(\d+(,\d+)?|,\d+)([eE][+-]?\d+)?", re.ASCII)
GROUPED = re.compile(r"[+-]?\d{1,3}([,.' _\u00a0\u202f])\d{3}(\1\d{3})*([.,]\d*)?", re.ASCII)


class FieldParser(NamedTuple):
    """The numbers and missing marks of the fields of a text table.

    Attributes:
        decimal: The decimal sign, "." or ",".
        thousands: The sign between groups of three digits; "" for none.
        marks: Missing marks besides `MISSING`.
    """

    decimal: str = "."
    thousands: str = ""
    marks: tuple[str, ...] = ()

    def is_missing(self, field: str) -> bool:
        """Returns whether a field is missing.

        Arguments:
            field: The text between two separators.
        """
        field = field.strip()
        return field.lower() in MISSING or field in self.marks

    def number(self, field: str) -> float | None:
        """Returns a field as a number; None for text.

        Arguments:
            field: The text between two separators.

        Example:
            >>> FieldParser(",", ".").number("1.234,5"), FieldParser().number("1_000")
            (1234.5, None)
        """
        field = field.strip()
        if self.thousands and self.thousands in field:
            sign = re.escape(self.thousands)
            groups = rf"([+-]?\d{{1,3}})(({sign}\d{{3}})+)({re.escape(self.decimal)}\d*)?"
            if not re.fullmatch(groups, field, re.ASCII):
                return None
            field = field.replace(self.thousands, "")
        if self.decimal == ",":
            if "." in field:
                return None
            field = field.replace(",", ".")
        if "_" in field or not field.isascii():
            return None
        try:
            return float(field)
        except ValueError:
            return None


def is_number(field: str) -> bool:
    """Returns whether a field is a number with a decimal point.

    Arguments:
        field: The text between two separators.
    """
    return FieldParser().number(field) is not None


def split_lines(text: str | Iterable[str], separator: str, strict: bool = False) -> Any:  # noqa: ANN401
    """Returns a reader of the records of a text table, lists of fields.

    Arguments:
        text: The text, or its lines.
        separator: The separator of two fields; a quoted field may hold it.
        strict: Whether a quote inside of a field, or one that is never closed, is an error.

    Example:
        >>> list(split_lines('a,"b,c"', ","))
        [['a', 'b,c']]
    """
    lines = io.StringIO(text, newline="") if isinstance(text, str) else text
    delimiter = {"tab": "\t", "space": " "}.get(separator, separator)
    if separator == "space":
        lines = (line.replace("\t", " ").rstrip() for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=strict)


def detect_separator(lines: Sequence[str], comma: bool = True) -> Separator:
    """Returns the separator of a table: most lines have equally many fields, most are numbers.

    Where none divides the lines, it is a comma, or a semicolon where a comma is excluded.

    Arguments:
        lines: Lines of the table.
        comma: Whether a comma may separate fields.

    Example:
        >>> detect_separator(["a;b", "1,5;2,5"])
        ';'
    """
    best: Separator = "," if comma else ";"
    most = (0.0, 0.0, 0)
    candidates: tuple[Separator, ...] = (",", ";", "tab", "|", "space")
    for separator in candidates[not comma :]:
        try:
            rows = [row for row in split_lines("\n".join(lines), separator) if any(row)]
        except csv.Error:
            continue
        if not rows:
            continue
        width, count = Counter(map(len, rows)).most_common(1)[0]
        if len(rows[0]) > 1 and Counter(map(len, rows))[len(rows[0])] == count:
            width = len(rows[0])
        if width < 2:
            continue
        fields = [f for row in rows if len(row) == width for f in row[:200]]
        known = sum(
            bool(POINT.fullmatch(f.strip()) or COMMA.fullmatch(f.strip()))
            or f.strip().lower() in MISSING
            for f in fields
        )
        score = (round(count / len(rows), 1), round(known / len(fields), 2), width)
        if score[0] > 0.5 and score > most:
            best, most = separator, score
    return best


def comma_doubt(rows: Sequence[Sequence[str]], separator: str) -> bool:
    """Returns whether lines such as 1,5 may be one number with a decimal comma, or two numbers.

    Arguments:
        rows: The fields of the lines, without a header.
        separator: The separator that was detected.
    """
    if separator != "," or not rows or any(len(row) != 2 for row in rows):
        return False
    left = all(re.fullmatch(r"[+-]?\d+", row[0], re.ASCII) for row in rows)
    return left and all(re.fullmatch(r"\d+([eE][+-]?\d+)?", row[1], re.ASCII) for row in rows)


def decimal_of(texts: Iterable[str]) -> str:
    """Returns the decimal sign of fields that are no numbers with a point.

    Arguments:
        texts: The fields.

    Returns:
        "," where all of them are numbers with a decimal comma, "?" where the comma may as well
        stand between groups of three digits, and "." else.

    Example:
        >>> decimal_of(["1,5", "2,25"]), decimal_of(["1,250"]), decimal_of(["n/k", "1,5"])
        (',', '?', '.')
    """
    texts = list(texts)
    if not texts or not all(COMMA.fullmatch(text.strip()) for text in texts):
        return "."
    groups = all(GROUPED.fullmatch(text.strip()) for text in texts)
    return "?" if groups else ","


def thousands_of(text: str) -> str:
    """Returns the sign between the groups of three digits of a field; "" for none.

    Arguments:
        text: The field.

    Example:
        >>> thousands_of("1,234.5"), thousands_of("12 000"), thousands_of("1,5")
        (',', ' ', '')
    """
    match = GROUPED.fullmatch(text.strip())
    return match.group(1) if match else ""


def header_doubt(
    first: Sequence[str], body: Sequence[Sequence[str]], parser: FieldParser
) -> tuple[bool, str]:
    """Returns whether the first line names the columns, and the reason for doubt, "" if clear.

    Arguments:
        first: The fields of the first line.
        body: The fields of some lines below.
        parser: How numbers are written.

    Example:
        >>> header_doubt(["a", "b"], [["1", "2"], ["3", "4"]], FieldParser())
        (True, '')
    """
    columns = [[row[j] for row in body if j < len(row)] for j in range(len(first))]
    parsed = [[v for f in column if (v := parser.number(f)) is not None] for column in columns]
    numeric = [len(v) > len(c) / 2 for v, c in zip(parsed, columns, strict=True)]
    values = [parser.number(field) for field in first]
    names = [
        value is None and not parser.is_missing(field)
        for value, field in zip(values, first, strict=True)
    ]
    over = any(n and is_numeric for n, is_numeric in zip(names, numeric, strict=True))
    if not any(value is not None for value in values):
        if over or not any(numeric):
            return True, ""
        steps = {b - a for a, b in pairwise(parsed[0])}
        if first[0].strip() == "" and steps == {1.0} and not any(numeric[1:]):
            return True, ""  # pandas writes its index below an empty name
        return True, f"its fields are text above text or missing marks ({_some(first)})"
    below = any(v is not None and is_numeric for v, is_numeric in zip(values, numeric, strict=True))
    if over:
        return (
            True,
            "some of its fields are text above numbers, others are numbers" if below else "",
        )
    strange = _strange_numbers(first, values, columns, parsed)
    if first[0].strip() == "" and strange:
        return True, ""  # pandas writes its index below an empty name
    return False, strange


def _strange_numbers(
    first: Sequence[str],
    values: Sequence[float | None],
    columns: Sequence[Sequence[str]],
    parsed: Sequence[Sequence[float]],
) -> str:
    """The reason why numbers of a first line are rather names; "" for none."""
    given = [(j, v) for j, v in enumerate(values) if v is not None]
    integers = all(re.fullmatch(r"\s*\d+\s*", first[j]) for j, _ in given)
    numbers = [v for _, v in given]
    bodies = [parsed[j] for j, _ in given]
    if any(len(body) < 3 for body in bodies) or min(numbers) < 0:
        return ""
    far = 0
    for value, body in zip(numbers, bodies, strict=True):
        low, high = min(body), max(body)
        far += high > low and not low - 2 * (high - low) <= value <= high + 2 * (high - low)
    if far and far >= len(given) / 2:
        return f"its numbers ({_some(first)}) are far outside of those below"
    if not integers or len(set(numbers)) < len(numbers):
        return ""
    chance = 1.0
    for (j, _), body in zip(given, bodies, strict=True):
        integer = sum(bool(re.fullmatch(r"\s*[+-]?\d+\s*", f)) for f in columns[j])
        chance *= (integer + 0.5) / (len(body) + 1)
    steps = {b - a for a, b in pairwise(numbers)}
    running = len(numbers) > 2 and len(steps) == 1 and numbers[0] in (0, 1)
    years = len(numbers) > 2 and steps == {1.0} and 1800 <= numbers[0] <= 2200
    if running or years or chance < (1e-3 if len(numbers) > 1 else 1e-2 * (numbers == [0.0])):
        return f"its fields ({_some(first)}) are distinct whole numbers, as names may be"
    return ""


def _some(fields: Sequence[str]) -> str:
    """The first fields of a line."""
    return ", ".join(fields[:4]) + (", ..." if len(fields) > 4 else "")
