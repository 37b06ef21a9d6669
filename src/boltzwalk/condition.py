r"""The contract of a condition: nothing, a class, or the observed pixels of an image.

.. math:: p(x) , \qquad p(x \mid \text{class}) , \qquad p(h \mid v)

A condition is a setting of a method. It gives every row of a batch its value c, which the energy
and the base receive beside x (:mod:`boltzwalk.energies.conditional`), and it answers every question
that depends on the kind of model: which rows it trains on, which networks it needs, which numbers
are defined. `NoCondition` is the default; the others are in :mod:`boltzwalk.methods.condition`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .data.dataset import Dataset
from .data.rows import Batch

__all__ = ["Condition", "NoCondition"]


@runtime_checkable
class Condition(Protocol):
    """The value c that a model receives for each row."""

    @property
    def unconditional(self) -> bool:
        """Whether the model is one of p(x): its energies can be compared between rows."""

    @property
    def completes(self) -> bool:
        """Whether the model fills in the hidden part of an image, and draws nothing else."""

    @property
    def classes(self) -> int:
        """The number of classes; 0 where no class is given."""

    def rows(self, dataset: Dataset) -> Batch:
        """Returns the training rows, with labels where the condition needs them."""

    def batch(self, dataset: Dataset, n: int, rng: torch.Generator) -> Batch:
        """Draws n training rows."""

    def resolved(self, data: Batch) -> Condition:
        """Returns the condition with its numbers taken from the data."""

    def free_entries(self, data: Batch) -> Tensor:
        """Returns rows whose variance is that of the entries which the model predicts."""

    def of(self, data: Batch, rng: torch.Generator) -> Tensor | None:
        """Returns c for each row, shape (N, ...); None without a condition."""

    def sample(self, data: Batch, n: int, rng: torch.Generator) -> Tensor | None:
        """Draws n values of c in the proportions of the data."""

    def labels(self, dataset: Dataset, n: int, name: str | None = None) -> Tensor | None:
        """Returns n labels to draw samples of; None where no class is given."""

    def of_labels(self, labels: Tensor | None) -> Tensor | None:
        """Returns c for labels, shape (N, K)."""

    def build_base(
        self,
        settings: Any,  # noqa: ANN401  # the architecture of any base
        event_shape: tuple[int, ...],
        seed: int,
        data: Tensor,
    ) -> nn.Module:
        """Returns the base of an architecture, which receives c."""

    def build_energy(
        self,
        settings: Any,  # noqa: ANN401  # the architecture of any energy
        event_shape: tuple[int, ...],
        seed: int,
        data: Tensor,
    ) -> nn.Module:
        """Returns the energy of an architecture, which receives c."""

    def refusal(self, section: str) -> str:
        """Returns why a section of an evaluation is undefined for the model; "" where it is not."""


@dataclass(frozen=True)
class NoCondition:
    """A model of p(x)."""

    unconditional = True
    completes = False
    classes = 0

    def rows(self, dataset: Dataset) -> Batch:
        r"""Returns the training rows, shape (M, \*event), without labels."""
        return Batch(dataset.train)

    def batch(self, dataset: Dataset, n: int, rng: torch.Generator) -> Batch:
        r"""Draws n training rows, shape (n, \*event)."""
        return Batch(dataset.batch(n, rng))

    def resolved(self, data: Batch) -> NoCondition:
        """Returns itself."""
        return self

    def free_entries(self, data: Batch) -> Tensor:
        """Returns the rows: the model predicts every entry."""
        return data.x

    def of(self, data: Batch, rng: torch.Generator) -> None:
        """Returns None."""

    def sample(self, data: Batch, n: int, rng: torch.Generator) -> None:
        """Returns None."""

    def labels(self, dataset: Dataset, n: int, name: str | None = None) -> None:
        """Returns None.

        Raises:
            ValueError: If a class is asked for.
        """
        if name is not None:
            raise ValueError(
                "a class can be asked for where it was given in training, got class "
                f"{name!r} for a model of p(x); train it with condition=ClassConditional"
            )

    def of_labels(self, labels: Tensor | None) -> None:
        """Returns None."""

    def build_base(
        self,
        settings: Any,  # noqa: ANN401
        event_shape: tuple[int, ...],
        seed: int,
        data: Tensor,
    ) -> nn.Module:
        r"""Returns the base of an architecture.

        Arguments:
            settings: The architecture, with ``build(event_shape, seed, data)``.
            event_shape: The shape of one event.
            seed: The seed of the initial parameters.
            data: Rows that the base must be able to make, shape (M, \*event).
        """
        network: nn.Module = settings.build(event_shape, seed, data)
        return network

    def build_energy(
        self,
        settings: Any,  # noqa: ANN401
        event_shape: tuple[int, ...],
        seed: int,
        data: Tensor,
    ) -> nn.Module:
        r"""Returns the energy of an architecture.

        Arguments:
            settings: The architecture, with ``build(event_shape, seed, data)``.
            event_shape: The shape of one event.
            seed: The seed of the initial parameters.
            data: Rows to which a reference is fitted, shape (M, \*event).
        """
        network: nn.Module = settings.build(event_shape, seed, data)
        return network

    def refusal(self, section: str) -> str:
        """Returns "": every number of p(x) is defined."""
        return ""
