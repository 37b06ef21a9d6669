"""Rows in original units with the digits that they have, and text that is no formula, for files.

A spreadsheet takes a text that begins with =, +, - or @ for a formula, which may open files and
addresses; numbers with a sign are none. An apostrophe before it makes it a text again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from .dataset import Dataset

__all__ = ["formula_note", "is_formula", "quoted_formula", "readable_rows", "unquoted_formula"]

FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20].*\w", re.DOTALL)
"""A text that a spreadsheet takes for a formula, also in the wide letters of Chinese keyboards."""

SIGNED = re.compile(
    r"\s*[-+]\s?((\d{1,3}([ .,'\u2019\u00a0\u202f]\d{3})+|\d+)([.,]\d*)?|[.,]\d+)"
    r"([eE][-+]?\d+)?\s?%?\s*|\s*[-+](inf|infinity|nan)%?\s*",
    re.IGNORECASE,
)
"""A number with a sign, as tables have them: with groups of thousands, a decimal comma, or %."""

RESOLUTION = 2.0**-24
"""The rounding of a number of size 1 in float32."""

LONGEST = 40
"""The letters of a field that a note shows."""

EXACT = 2.0**53
"""The integers up to which float64 has no gaps."""


def readable_rows(dataset: Dataset, x: Float[Tensor, "n *event"]) -> np.ndarray:
    r"""Returns rows in original units, float64, whose shortest decimals are no longer than needed.

    Values of float32 get the shortest decimal that tells them apart: 8.1, not 8.100000381. Whitened
    columns are rounded to the last digit that float32 has in model units: a time stamp of 1.6e9 s
    with a deviation of 10 s to the microsecond.

    Arguments:
        dataset: The data of the rows.
        x: The rows in model units, shape (n, \*event).
    """
    y = dataset.to_original(x).detach().cpu().numpy()
    if y.dtype != np.float64:
        return y.astype(np.float32).astype(str).astype(np.float64)
    scale = np.abs(dataset.scale.double().cpu().numpy())
    size = scale
    if scale.ndim == 2:
        largest = scale.max(0)
        size = largest * np.sqrt(((scale / largest) ** 2).sum(0))
    digits = np.ceil(-np.log10(size * RESOLUTION))
    for column, count in enumerate(np.broadcast_to(digits, y.shape[1:])):
        factor = 10.0 ** min(abs(count), 300)
        values = y[:, column]
        shifted = values * factor if count > 0 else values / factor
        rounded = shifted.round() / factor if count > 0 else shifted.round() * factor
        y[:, column] = np.where(np.abs(shifted) < EXACT, rounded, values)
    return y


def is_formula(field: object) -> bool:
    """Returns whether a spreadsheet takes a field of a table for a formula.

    Arguments:
        field: The field; a number is none.

    Example:
        >>> [is_formula(field) for field in ("=1+1", "@sum(a)", "-x", "-1.5", "+1e3", "--", -2)]
        [True, True, True, False, False, False, False]
    """
    if not isinstance(field, str) or not FORMULA.match(field):
        return False
    ends = re.split(r"\s+to\s+", field)  # "-0.2 to 0.3", a range
    return not all(SIGNED.fullmatch(end) or re.fullmatch(r"-|[\d.]+", end) for end in ends)


def quoted_formula(field: object) -> object:
    """Returns a field with an apostrophe before it, if it is a formula.

    Arguments:
        field: The field.

    Example:
        >>> quoted_formula("=1+1"), quoted_formula("-1.5")
        ("'=1+1", '-1.5')
    """
    return f"'{field}" if is_formula(field) else field


def unquoted_formula(field: str) -> str:
    """Returns a field without the apostrophe of `quoted_formula`.

    Arguments:
        field: The field.
    """
    return field[1:] if field.startswith("'") and is_formula(field[1:]) else field


def formula_note(fields: Iterable[object], quoted: bool = False) -> list[str]:
    """Returns a line about fields that a spreadsheet takes for formulas, if there are such.

    Arguments:
        fields: The names of columns and fields that a file was written with.
        quoted: Whether they were written with an apostrophe before them.

    Example:
        >>> formula_note(("mass", "=1+1"))[0][:63]
        "'=1+1' is a formula to a spreadsheet: write --quote-formulas fo"
        >>> formula_note(("mass", "=1+1"), quoted=True)
        ["'=1+1' is written with an apostrophe: no formula to a spreadsheet"]
    """
    risky = list(dict.fromkeys(str(field) for field in fields if is_formula(field)))
    if not risky:
        return []
    words = [f"{text[:LONGEST]}..." if len(text) > LONGEST else text for text in risky[:3]]
    listed = ", ".join(map(repr, words))
    if len(risky) > 3:
        listed += f" and {len(risky) - 3:,} more texts"
    verb, kind = ("is", "formula") if len(risky) == 1 else ("are", "formulas")
    if quoted:
        return [f"{listed} {verb} written with an apostrophe: no {kind} to a spreadsheet"]
    kind = "a formula" if len(risky) == 1 else kind
    return [
        f"{listed} {verb} {kind} to a spreadsheet: write --quote-formulas for an apostrophe before "
        "such texts, or import the file as text"
    ]
