"""Rows with their labels, and how they are split into training, validation and test rows.

A split is given by relative sizes: (8, 1, 1), (0.8, 0.1, 0.1) and (80, 10, 10) are the same. Which
row goes where depends on the number of rows and the seed alone; within a part the rows keep their
order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Part", "check_share", "check_split", "hold_out", "split", "split_sizes"]

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
