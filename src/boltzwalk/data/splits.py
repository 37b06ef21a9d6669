r"""Labelled rows, their random split into training, validation and test rows, and class choice.

A split is given by relative sizes: (8, 1, 1), (0.8, 0.1, 0.1) and (80, 10, 10) are the same. The
split depends on the number of rows, their groups and the seed alone; within a split the rows keep
their order. Groups of rows stay in one split: each goes where its first row would go alone, as long
as there is room, and single rows fill the splits up to their sizes.

With proportions of classes such as 4:2:1 each split becomes the largest set that has exactly these
proportions; of every class the first rows are taken. Labels keep their meaning.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "LabelledRows",
    "check_classes",
    "check_share",
    "check_split",
    "hold_out",
    "integer_ratio",
    "select_classes",
    "split_rows",
    "split_sizes",
]


SPLIT_NAMES = ("train", "validation", "test")


class LabelledRows(NamedTuple):
    r"""Rows, shape (N, \*event), of any type, with labels, shape (N,), or None."""

    x: Tensor
    labels: Tensor | None = None

    def take(self, rows: Tensor) -> LabelledRows:
        """Picks rows by their indices, shape (M,)."""
        return LabelledRows(self.x[rows], None if self.labels is None else self.labels[rows])


def check_split(relative: tuple[float, float, float]) -> None:
    """Checks the relative sizes of a split.

    Arguments:
        relative: The relative sizes of training, validation and test split.

    Raises:
        ValueError: If a size is negative or not finite, or that of training is 0.
    """
    valid = len(relative) == 3 and all(math.isfinite(s) and s >= 0 for s in relative)
    if not valid or relative[0] <= 0:
        raise ValueError(
            "split must be three relative sizes, for training (above 0), validation and test "
            f"(0 or above), got {relative}; write split=(0.8, 0.1, 0.1)"
        )


def check_share(validation: float) -> None:
    """Checks the share of training rows that is held out for validation.

    Arguments:
        validation: The share of the training rows that is held out, from 0 to below 1.

    Raises:
        ValueError: If it is outside that range.
    """
    if not 0 <= validation < 1:
        raise ValueError(
            "validation must be a share of the training rows, at least 0 and below 1, "
            f"got {validation}; write data.validation=0.1"
        )


def split_sizes(n: int, relative: tuple[float, float, float]) -> tuple[int, int, int]:
    """Returns the number of rows of each split; training takes the remainder of rounding.

    Arguments:
        n: The number of rows.
        relative: The relative sizes of training, validation and test split.

    Raises:
        ValueError: If a split that should have rows gets none.

    Example:
        >>> split_sizes(1599, (0.8, 0.1, 0.1))
        (1279, 160, 160)
    """
    total = sum(relative)
    validation, test = (round(n * size / total) for size in relative[1:])
    sizes = (n - validation - test, validation, test)
    for name, size, share in zip(SPLIT_NAMES, sizes, relative, strict=True):
        if share > 0 and size <= 0:
            raise ValueError(
                f"every split must get a row, got {n} rows, of which a split of {relative} gives "
                f"the {name} split {size}; provide more rows, or write 0 for a split you do not "
                "need, as in split=(1, 0, 0)"
            )
    return sizes


def split_rows(
    rows: LabelledRows,
    relative: tuple[float, float, float],
    seed: int,
    groups: Tensor | None = None,
) -> tuple[LabelledRows, LabelledRows, LabelledRows]:
    """Splits rows at random into training, validation and test rows.

    Arguments:
        rows: All rows.
        relative: The relative sizes of training, validation and test split.
        seed: Determines the split.
        groups: The number of the group of each row, from 0, shape (N,); None for single rows.

    Raises:
        ValueError: If a split that should have rows gets none.

    Example:
        >>> train, validation, test = split_rows(LabelledRows(torch.arange(10)), (3, 1, 1), seed=0)
        >>> len(train.x), len(validation.x), len(test.x)
        (6, 2, 2)
    """
    sizes = split_sizes(len(rows.x), relative)
    shuffled = torch.randperm(len(rows.x), generator=torch.Generator().manual_seed(seed))
    if groups is not None:
        shuffled, sizes = _grouped(shuffled, sizes, groups, relative)
    train, validation, test = (rows.take(i.sort().values) for i in shuffled.split(sizes))
    return train, validation, test


def _grouped(
    shuffled: Tensor, sizes: tuple[int, int, int], groups: Tensor, relative: tuple[float, ...]
) -> tuple[Tensor, tuple[int, int, int]]:
    """The rows in the order of the splits, and the sizes of these, no group in two."""
    n = len(shuffled)
    position = torch.empty_like(shuffled)
    position[shuffled] = torch.arange(n)
    counts = groups.bincount()
    first = torch.full_like(counts, n).scatter_reduce(0, groups, torch.arange(n), "amin")
    several = (counts > 1).nonzero().flatten()
    several = several[position[first[several]].argsort()]
    ends = torch.tensor(sizes).cumsum(0)
    alone = torch.searchsorted(ends, position[first[several]], right=True).tolist()
    room, splits = list(sizes), []
    for count, wanted in zip(counts[several].tolist(), alone, strict=True):
        split = wanted if room[wanted] >= count else room.index(max(room))
        room[split] -= count
        splits.append(split)
    split_of_group = torch.full_like(counts, -1)
    split_of_group[several] = torch.tensor(splits, dtype=split_of_group.dtype)
    of_row = split_of_group[groups][shuffled]
    single = (of_row < 0).nonzero().flatten()
    taken = 0
    for split in (2, 1):  # from the end, as single rows without groups lie
        count = min(max(room[split], 0), len(single) - taken)
        of_row[single[len(single) - taken - count : len(single) - taken]] = split
        taken += count
    of_row[of_row < 0] = 0
    result = tuple(int((of_row == split).sum()) for split in range(3))
    for name, size, share in zip(SPLIT_NAMES, result, relative, strict=True):
        if share > 0 and size == 0:
            raise ValueError(
                f"every split must get a row, got {n} rows of which {len(counts)} differ, so that "
                f"none is left for the {name} split where equal rows stay in one; write "
                "data.repeats=anywhere, or 0 for a split you do not need, as in split=(1, 0, 0)"
            )
    order = torch.cat([shuffled[of_row == split] for split in range(3)])
    return order, (result[0], result[1], result[2])


def hold_out(rows: LabelledRows, share: float, seed: int) -> tuple[LabelledRows, LabelledRows]:
    """Splits training rows into training and validation rows.

    Arguments:
        rows: All rows for training.
        share: The share for validation, at least 0 and below 1.
        seed: Determines the split.

    Raises:
        ValueError: If a split that should have rows gets none.
    """
    train, validation, _ = split_rows(rows, (1 - share, share, 0), seed)
    return train, validation


def check_classes(
    classes: tuple[int, ...] | None,
    proportions: tuple[float, ...] | None,
    class_names: tuple[str, ...],
) -> None:
    """Checks the classes of a set and their proportions.

    Arguments:
        classes: The labels of the wanted classes, None for all.
        proportions: Their relative numbers of rows, None for all rows.
        class_names: The names of all classes of the set.

    Raises:
        ValueError: If a class is unknown or named twice, or the proportions do not fit.
    """
    if classes is not None:
        known = range(len(class_names))
        if not classes or len(set(classes)) < len(classes) or not set(classes) <= set(known):
            listed = ", ".join(f"{i} ({name})" for i, name in enumerate(class_names))
            raise ValueError(
                f"classes must be different labels of this set, got {classes}; "
                f"choose from {listed}, as in data.classes=(0, 1)"
            )
    if proportions is None:
        return
    if classes is None or len(proportions) != len(classes):
        raise ValueError(
            f"proportions must be one number for each class, got {len(proportions)} of them, "
            f"{proportions}, for classes={classes}; write data.classes=(2, 3, 6) with "
            "data.proportions=(4, 2, 1)"
        )
    if not all(math.isfinite(p) and p > 0 for p in proportions):
        raise ValueError(
            f"proportions must be finite and above 0, got {proportions}; leave a class out of "
            "data.classes to have none of it"
        )


def integer_ratio(proportions: tuple[float, ...]) -> tuple[int, ...]:
    """Returns the smallest integers in these proportions.

    Arguments:
        proportions: Numbers above 0, with the value of their decimal notation.

    Example:
        >>> integer_ratio((0.4, 0.2, 0.1)), integer_ratio((8, 4, 2))
        ((4, 2, 1), (4, 2, 1))
    """
    exact = [Fraction(str(p)) for p in proportions]
    denominator = math.lcm(*(p.denominator for p in exact))
    scaled = [int(p * denominator) for p in exact]
    divisor = math.gcd(*scaled)
    return tuple(p // divisor for p in scaled)


def select_classes(
    labelled: LabelledRows,
    classes: tuple[int, ...] | None,
    proportions: tuple[float, ...] | None,
    name: str,
) -> LabelledRows:
    """Returns the rows of some classes, in their order.

    Arguments:
        labelled: The rows.
        classes: The labels of the wanted classes, None for all.
        proportions: Their relative numbers of rows, None for all rows.
        name: The name of the rows in errors.

    Raises:
        ValueError: If there are too few rows for one set in these proportions.

    Example:
        >>> labels = torch.tensor([2, 2, 3, 2, 6, 2, 2])
        >>> select_classes(LabelledRows(torch.arange(7), labels), (2, 3), (2, 1), "train").x
        tensor([0, 1, 2])
    """
    if classes is None or labelled.labels is None:
        return labelled
    rows = [(labelled.labels == label).nonzero().squeeze(1) for label in classes]
    if proportions is not None:
        units = integer_ratio(proportions)
        sets = min(len(r) // unit for r, unit in zip(rows, units, strict=True))
        if sets == 0 and len(labelled.x) > 0:
            counts = ", ".join(f"{len(r)} of class {c}" for r, c in zip(rows, classes, strict=True))
            raise ValueError(
                f"the {name} split must have at least {':'.join(map(str, units))} rows of classes "
                f"{classes}, got {counts}; write rounder proportions, such as "
                "data.proportions=(4, 2, 1), or a larger split"
            )
        rows = [r[: sets * unit] for r, unit in zip(rows, units, strict=True)]
    return labelled.take(torch.cat(rows).sort().values)
