"""Some classes of a labelled set, all their rows or in given proportions.

With proportions such as 4:2:1 each split becomes the largest set that has exactly these
proportions; of every class the first rows are taken. Labels keep their meaning.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch

from .parts import Part

__all__ = ["check_classes", "choose", "whole_numbers"]


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
