"""Toy data sets: independent rows of a known density in the plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .dataset import Dataset
from .splits import check_split, split_sizes
from .toy_densities import (
    Checkerboard,
    ConcentricRings,
    DampedSine,
    EightGaussians,
    Pinwheel,
    TwoMoons,
)

__all__ = ["Toy", "ToyDensity"]

ToyDensity: TypeAlias = (
    EightGaussians | ConcentricRings | Pinwheel | Checkerboard | TwoMoons | DampedSine
)
"""A density in the plane with sample(n, rng), shape (n, 2), and log_density(x), shape (n,)."""

DENSITIES: dict[str, ToyDensity] = {
    "eight_gaussians": EightGaussians(),
    "rings": ConcentricRings(),
    "pinwheel": Pinwheel(),
    "checkerboard": Checkerboard(),
    "two_moons": TwoMoons(),
    "damped_sine": DampedSine(),
    "damped_curve": DampedSine(cycles=1.0, middle=0.4, noise=0.0),
}


@dataclass(frozen=True)
class Toy:
    """Independent rows of a density in the plane, event shape (2,).

    Arguments:
        name: The density; rows of "damped_curve" lie on a curve and have none.
        n: The number of rows, all splits together.
        split: Relative sizes of training, validation and test split.
        seed: Determines the rows.

    Raises:
        ValueError: If the name is unknown, or a number makes no sense.

    Example:
        >>> Toy("rings", n=100).load()
        Dataset(train=80, validation=10, test=10, event_shape=(2,))
    """

    name: Literal[
        "eight_gaussians",
        "rings",
        "pinwheel",
        "checkerboard",
        "two_moons",
        "damped_sine",
        "damped_curve",
    ] = "eight_gaussians"
    n: int = 10_000
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in DENSITIES:
            raise ValueError(
                f"name must be one of {', '.join(DENSITIES)}, got {self.name!r}; write "
                "data.name=rings"
            )
        if self.n < 1:
            raise ValueError(f"n must be a number of rows, 1 or more, got {self.n}; write n=10000")
        check_split(self.split)

    def density(self) -> ToyDensity:
        """Returns the density, with its default parameters."""
        return DENSITIES[self.name]

    @property
    def has_density(self) -> bool:
        """Whether the rows have a density in the plane."""
        return bool(getattr(self.density(), "noise", 1.0) > 0)  # without noise, a curve

    @property
    def true_log_density(self) -> Callable[[Tensor], Tensor] | None:
        """The log-density that the rows are drawn from, of rows in float64; None of none."""
        return self.density().log_density if self.has_density else None

    def load(self) -> Dataset:
        """Draws the rows.

        Raises:
            ValueError: If there are too few rows for the split.
        """
        rows = self.density().sample(self.n, torch.Generator().manual_seed(self.seed)).float()
        train, validation, test = rows.split(split_sizes(self.n, self.split))
        return Dataset(train, validation, test, source=f"{self.density()}", identity=repr(self))
