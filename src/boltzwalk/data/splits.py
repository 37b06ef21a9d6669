r"""Rows with their labels, and how they are split into training, validation and test rows.

A split is given by relative sizes: (8, 1, 1), (0.8, 0.1, 0.1) and (80, 10, 10) are the same. Which
row goes where depends on the number of rows and the seed alone; within a part the rows keep their
order.

Some classes of a labelled set, all their rows or in given proportions.

With proportions such as 4:2:1 each split becomes the largest set that has exactly these
proportions; of every class the first rows are taken. Labels keep their meaning.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Part",
    "check_classes",
    "check_share",
    "check_split",
    "choose",
    "hold_out",
    "split",
    "split_sizes",
    "whole_numbers",
]


NAMES = ("train", "validation", "test")


class Part(NamedTuple):
    r"""Some rows, shape (N, \*event), of any type, with their labels, shape (N,), or None."""

    x: Tensor
    labels: Tensor | None = None

    def take(self, rows: Tensor) -> Part:
        """Picks rows by their indices, shape (M,)."""
        return Part(self.x[rows], None if self.labels is None else self.labels[rows])


def check_split(relative: tuple[float, float, float]) -> None:
    """Raises where the relative sizes of a split make no sense.

    Arguments:
        relative: The relative sizes of training, validation and test split.

    Raises:
        ValueError: If a size is negative or not finite, or there is none for training.
    """
    fine = len(relative) == 3 and all(math.isfinite(s) and s >= 0 for s in relative)
    if not fine or relative[0] <= 0:
        raise ValueError(
            "split must be three relative sizes, for training (above 0), validation and test "
            f"(0 or above), got {relative}; write data.split=(0.8, 0.1, 0.1)"
        )


def check_share(validation: float) -> None:
    """Raises where the share of validation rows makes no sense.

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
    """Returns how many of n rows each split gets; training takes what rounding leaves.

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
    for name, size, share in zip(NAMES, sizes, relative, strict=True):
        if share > 0 and size <= 0:
            raise ValueError(
                f"every split must get a row, got {n} rows, of which a split of {relative} gives "
                f"the {name} split {size}; provide more rows, or write 0 for a split you do not "
                "need, as in data.split=(1, 0, 0)"
            )
    return sizes


def split(part: Part, relative: tuple[float, float, float], seed: int) -> tuple[Part, Part, Part]:
    """Splits rows at random into training, validation and test rows.

    Arguments:
        part: All rows.
        relative: The relative sizes of training, validation and test split.
        seed: Determines which row goes where.

    Raises:
        ValueError: If a split that should have rows gets none.

    Example:
        >>> train, validation, test = split(Part(torch.arange(10)), (3, 1, 1), seed=0)
        >>> len(train.x), len(validation.x), len(test.x)
        (6, 2, 2)
    """
    sizes = split_sizes(len(part.x), relative)
    shuffled = torch.randperm(len(part.x), generator=torch.Generator().manual_seed(seed))
    train, validation, test = (part.take(rows.sort().values) for rows in shuffled.split(sizes))
    return train, validation, test


def hold_out(part: Part, share: float, seed: int) -> tuple[Part, Part]:
    """Takes a share of the training rows away for validation; returns training, validation.

    Arguments:
        part: All rows for training.
        share: The share for validation, at least 0 and below 1.
        seed: Determines which rows are taken.

    Raises:
        ValueError: If a split that should have rows gets none.
    """
    train, validation, _ = split(part, (1 - share, share, 0), seed)
    return train, validation


def check_classes(
    classes: tuple[int, ...] | None,
    proportions: tuple[float, ...] | None,
    class_names: tuple[str, ...],
) -> None:
    """Raises where classes or proportions make no sense for a set.

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


def whole_numbers(proportions: tuple[float, ...]) -> tuple[int, ...]:
    """Returns the smallest whole numbers in these proportions.

    Arguments:
        proportions: Numbers above 0, taken as they are written in decimals.

    Example:
        >>> whole_numbers((0.4, 0.2, 0.1)), whole_numbers((8, 4, 2))
        ((4, 2, 1), (4, 2, 1))
    """
    exact = [Fraction(str(p)) for p in proportions]
    over = math.lcm(*(p.denominator for p in exact))
    scaled = [int(p * over) for p in exact]
    divisor = math.gcd(*scaled)
    return tuple(p // divisor for p in scaled)


def choose(
    part: Part, classes: tuple[int, ...] | None, proportions: tuple[float, ...] | None, name: str
) -> Part:
    """Picks the rows of some classes, in their order.

    Arguments:
        part: Labelled rows.
        classes: The labels of the wanted classes, None for all.
        proportions: Their relative numbers of rows, None for all rows.
        name: What to call the rows in an error.

    Raises:
        ValueError: If there are too few rows for one set in these proportions.

    Example:
        >>> labels = torch.tensor([2, 2, 3, 2, 6, 2, 2])
        >>> choose(Part(torch.arange(7), labels), (2, 3), (2, 1), "train").x
        tensor([0, 1, 2])
    """
    if classes is None or part.labels is None:
        return part
    rows = [(part.labels == label).nonzero().squeeze(1) for label in classes]
    if proportions is not None:
        units = whole_numbers(proportions)
        sets = min(len(r) // unit for r, unit in zip(rows, units, strict=True))
        if sets == 0 and len(part.x) > 0:
            counts = ", ".join(f"{len(r)} of class {c}" for r, c in zip(rows, classes, strict=True))
            raise ValueError(
                f"the {name} split must have at least {':'.join(map(str, units))} rows of classes "
                f"{classes}, got {counts}; write rounder proportions, such as "
                "data.proportions=(4, 2, 1), or a larger split"
            )
        rows = [r[: sets * unit] for r, unit in zip(rows, units, strict=True)]
    return part.take(torch.cat(rows).sort().values)
