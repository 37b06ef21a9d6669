"""Rows of a table that repeat: kept in one split, counted, and marked where they are not.

A copy of a training row among the test rows is no new row: a model that remembers it has a high
likelihood there. Equal rows therefore go into one split, all of them; rows of dequantised columns
are equal where each value lies in the same cell. Where more than half of the rows repeat an earlier
one, the values are kinds rather than measurements, and equal rows come by chance: a split by kind
would test on kinds that no training row has, so that such rows are split one by one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .splits import LabelledRows, split_rows

__all__ = [
    "Repeats",
    "SplitTable",
    "check_repeats",
    "mark_copies",
    "repeats_note",
    "row_groups",
    "split_table",
]

Repeats: TypeAlias = Literal["auto", "together", "anywhere"]
"""Where equal rows go: into one split where they are few, always, or anywhere."""

FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
"""Odd numbers that mix the bits of a row."""


class SplitTable(NamedTuple):
    """The splits of a table.

    Attributes:
        train: The training rows.
        validation: The validation rows.
        test: The test rows.
        validation_copies: Which validation rows repeat a training row, shape (V,).
        test_copies: Which test rows do, shape (T,).
        note: A sentence that counts the repeats; "" without any.
    """

    train: LabelledRows
    validation: LabelledRows
    test: LabelledRows
    validation_copies: Bool[Tensor, " V"]
    test_copies: Bool[Tensor, " T"]
    note: str


def check_repeats(repeats: str) -> None:
    """Checks the setting of repeated rows.

    Arguments:
        repeats: The setting.

    Raises:
        ValueError: If it is none.
    """
    if repeats not in ("auto", "together", "anywhere"):
        raise ValueError(
            f"repeats must be auto, together or anywhere, got {repeats!r}; write "
            "data.repeats=together to keep equal rows in one split"
        )


def split_table(
    rows: LabelledRows,
    relative: tuple[float, float, float],
    seed: int,
    repeats: Repeats = "auto",
    cells: Float[Tensor, " D"] | None = None,
) -> SplitTable:
    """Splits a table at random, equal rows into one split.

    Without repeats it is the split of `split_rows`.

    Arguments:
        rows: All rows, x of shape (N, D).
        relative: The relative sizes of training, validation and test split.
        seed: Determines the split.
        repeats: Where equal rows go.
        cells: The width of the cell of each column, shape (D,), in which values are equal; 0 or
            None for equal values alone.

    Raises:
        ValueError: If a split that should have rows gets none.

    Example:
        >>> x = torch.arange(8.0).repeat(2)[:, None]
        >>> split = split_table(LabelledRows(x), (2, 1, 1), seed=0)
        >>> len(split.train.x), int(split.test_copies.sum()), split.note
        (8, 0, '8 of 16 rows repeat an earlier row: equal rows are in one split')
    """
    groups = row_groups(rows.x, cells)
    n, distinct = len(groups), int(groups.max()) + 1 if len(groups) else 0
    count = n - distinct
    together = repeats == "together" or (repeats == "auto" and 2 * count <= n)
    numbers = LabelledRows(torch.arange(n))
    try:
        parts = split_rows(numbers, relative, seed, groups if together and count else None)
    except ValueError:
        if repeats == "together" or not count:
            raise
        parts, together = split_rows(numbers, relative, seed), False
    copies = mark_copies(groups, parts[0].x, parts[1].x, parts[2].x)
    note = repeats_note(groups, copies, together, repeats == "auto" and 2 * count > n, cells)
    train, validation, test = (rows.take(part.x) for part in parts)
    return SplitTable(train, validation, test, *copies, note)


def mark_copies(
    groups: Int[Tensor, " N"],
    train: Int[Tensor, " M"],
    validation: Int[Tensor, " V"],
    test: Int[Tensor, " T"],
) -> tuple[Bool[Tensor, " V"], Bool[Tensor, " T"]]:
    """Returns which validation rows and which test rows equal a training row.

    Arguments:
        groups: The number of the group of equal rows of each row.
        train: The numbers of the training rows.
        validation: Those of the validation rows.
        test: Those of the test rows.

    Example:
        >>> mark_copies(torch.tensor([0, 1, 0, 2]), *torch.tensor([[0, 1], [2, 3], [3, 3]]))
        (tensor([ True, False]), tensor([False, False]))
    """
    trained = torch.zeros(int(groups.max()) + 1 if len(groups) else 0, dtype=torch.bool)
    trained[groups[train]] = True
    return trained[groups[validation]], trained[groups[test]]


def repeats_note(
    groups: Int[Tensor, " N"],
    copies: tuple[Bool[Tensor, " V"], Bool[Tensor, " T"]],
    together: bool,
    kinds: bool = False,
    cells: Float[Tensor, " D"] | None = None,
) -> str:
    """Returns a sentence that counts rows which repeat an earlier one; "" without any.

    Arguments:
        groups: The number of the group of equal rows of each row.
        copies: The validation and test rows that equal a training row.
        together: Whether equal rows are in one split.
        kinds: Whether so many repeat that they were split one by one.
        cells: The width of the cell in which values are equal; None for equal values alone.
    """
    n = len(groups)
    count = n - len(groups.unique())
    if not count:
        return ""
    equal = "row" if cells is None else "row within the step of each column"
    note = f"{count:,} of {n:,} rows repeat an earlier {equal}: "
    if together:
        return note + "equal rows are in one split"
    shares = [
        f"{int(marks.sum()):,} of {len(marks):,} {name} rows"
        for name, marks in zip(("validation", "test"), copies, strict=True)
        if len(marks)
    ]
    note += "as values that recur by chance they are split one by one; " if kinds else ""
    return f"{note}{' and '.join(shares) or 'no other row'} equal a training row"


def row_groups(
    x: Float[Tensor, "N D"], cells: Float[Tensor, " D"] | None = None
) -> Int[Tensor, " N"]:
    """Returns the number of the group of equal rows of each row, from 0, shape (N,).

    Arguments:
        x: The rows, shape (N, D).
        cells: The width of the cell of each column, shape (D,); 0 or None for equal values alone.

    Example:
        >>> a, b, c = row_groups(torch.tensor([[1.0, 2.0], [0.0, 5.0], [1.0, 2.0]])).tolist()
        >>> a == c, a == b
        (True, False)
    """
    values = x.flatten(1).double()
    if cells is not None:
        widths = torch.where(cells > 0, cells, 1.0).to(values)
        values = torch.where(cells.to(values) > 0, (values / widths).round(), values)
    array = np.ascontiguousarray(values.cpu().numpy()) + 0.0  # one zero, not two
    bits = array.view(np.uint64)
    mixed = np.zeros(len(array), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in bits.T:
            mixed = (mixed ^ column) * np.uint64(FACTORS[0])
            mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(FACTORS[1])
    _, first, groups = np.unique(mixed, return_index=True, return_inverse=True)
    if not np.array_equal(array[first][groups], array):  # two rows of one number
        _, groups = np.unique(array, axis=0, return_inverse=True)
    return torch.from_numpy(groups.reshape(-1).astype(np.int64))
