"""Separate Gaussian modes of known masses, in exact proportions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..energies.analytic import GaussianMixture
from .dataset import Dataset
from .splits import LabelledRows, integer_ratio

__all__ = ["Modes"]


@dataclass(frozen=True)
class Modes:
    r"""Rows of Gaussian modes of unit covariance with centres on the first axis, event shape (d,).

    Every split has the same number of rows, and of these every mode has its exact share, in random
    order: a wrong mass of a model is no sampling error of the data. Rows are labelled by their
    mode. The defaults are the two modes of the paper, with masses 1/4 and 3/4.

    Arguments:
        dim: The dimension d.
        centres: The first coordinate of the centre of each mode; the others are 0.
        proportions: The relative numbers of rows of the modes.
        rows: The number of rows of each split.
        seed: Determines the rows.

    Raises:
        ValueError: If a number makes no sense, the lengths do not agree, or the rows cannot be
            divided in these proportions.

    References:
        | Efficient training of energy-based models using Jarzynski equality (Carbone, Hua, Coste
        | and Vanden-Eijnden, 2023), https://arxiv.org/abs/2305.19414

    Example:
        >>> data = Modes(dim=3, rows=100).load()
        >>> data, data.train_labels.bincount().tolist()
        (Dataset(train=100, validation=100, test=100, event_shape=(3,)), [25, 75])
    """

    dim: int = 50
    centres: tuple[float, ...] = (-10.0, 6.0)
    proportions: tuple[float, ...] = (1.0, 3.0)
    rows: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"dim must be 1 or more, got {self.dim}; write data.dim=50")
        if not self.centres or not all(map(math.isfinite, self.centres)):
            raise ValueError(
                f"centres must be one or more finite numbers, got {self.centres}; write "
                "data.centres=(-10, 6)"
            )
        positive = all(math.isfinite(p) and p > 0 for p in self.proportions)
        if len(self.proportions) != len(self.centres) or not positive:
            raise ValueError(
                f"proportions must be positive, one for each of the {len(self.centres)} centres, "
                f"got {self.proportions}; write data.proportions=(1, 3) for masses 1/4 and 3/4"
            )
        units = sum(integer_ratio(self.proportions))
        if self.rows < 1 or self.rows % units:
            shares = ":".join(map(str, integer_ratio(self.proportions)))
            raise ValueError(
                f"rows must be a multiple of {units}, to be divided {shares}, got {self.rows}; "
                f"write data.rows={max(1, round(self.rows / units)) * units}"
            )

    def density(self) -> GaussianMixture:
        """Returns the density of the rows, whose proportions are exact instead of random."""
        means = tuple((centre, *[0.0] * (self.dim - 1)) for centre in self.centres)
        return GaussianMixture(means, 1.0, self.proportions)

    @property
    def true_log_density(self) -> Callable[[Tensor], Tensor]:
        """The log-density that the rows are drawn from, of rows in float64."""
        density = self.density()
        return lambda x: -density(x) - density.log_z

    def load(self) -> Dataset:
        """Draws the rows."""
        rng = torch.Generator().manual_seed(self.seed)
        train, validation, test = (self._split(rng) for _ in range(3))
        return Dataset(
            train.x,
            validation.x,
            test.x,
            train.labels,
            validation.labels,
            test.labels,
            class_names=tuple(f"mode {centre:g}" for centre in self.centres),
            source=f"{self}",
            identity=repr(self),
        )

    def _split(self, rng: torch.Generator) -> LabelledRows:
        """One split: labels in exact numbers, shuffled, and a row for each."""
        units = torch.tensor(integer_ratio(self.proportions))
        counts = units * (self.rows // int(units.sum()))
        labels = torch.repeat_interleave(torch.arange(len(units)), counts)
        labels = labels[torch.randperm(self.rows, generator=rng)]
        x = torch.randn(self.rows, self.dim, generator=rng, dtype=torch.float32)
        x[:, 0] += torch.tensor(self.centres, dtype=torch.float32)[labels]
        return LabelledRows(x, labels)
