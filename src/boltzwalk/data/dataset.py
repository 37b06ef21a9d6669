r"""What a loaded data set is: three splits as tensors, and how they relate to the original units.

A density over real numbers does not fit values that lie on a grid: it can be made infinite there.
Uniform dequantisation spreads each value over its own cell,

.. math:: \tilde x = x + q \odot u , \qquad u \sim \mathcal{U}[-1/2, 1/2)^D ,

with the width :math:`q` of the cell. Training rows lie at the centres of their cells and get fresh
noise in every batch; validation and test rows get theirs once, when they are loaded, so that a
number computed from them can be compared between runs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from . import affine

__all__ = ["Dataset", "Labelled", "dequantise_held_out"]


class Labelled(NamedTuple):
    r"""Rows with the class of each.

    Attributes:
        x: The rows, shape (N, \*event).
        labels: Their classes, shape (N,).
    """

    x: Float[Tensor, "N *event"]
    labels: Int[Tensor, " N"]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    r"""Training, validation and test rows in model units. Immutable.

    Attributes:
        train: The training rows, shape (N, \*event), at the centres of their cells.
        validation: The validation rows, shape (V, \*event); V may be 0.
        test: The test rows, shape (T, \*event); T may be 0.
        train_labels: The class of each training row, shape (N,), or None.
        validation_labels: The class of each validation row, shape (V,), or None.
        test_labels: The class of each test row, shape (T,), or None.
        class_names: What the labels mean: label i is ``class_names[i]``. All names of the set,
            also where only some classes were chosen.
        columns: The names of a table's columns, in original units.
        low: The lower bound of the valid range in model units; None where there is none.
        high: The upper bound of the valid range in model units; None where there is none.
        quantum: The width :math:`q` of a cell in model units: a number, one a column, shape (D,),
            or a matrix that maps the noise, shape (D, D); 0 without dequantisation.
        shift: The offset of the original units, shape () or (D,): original = x * scale + shift.
        scale: The factor of the original units, shape () or (D,), or the matrix of
            original = x @ scale + shift, shape (D, D).
        source: Where the rows came from, for people to read.
        standard: Which well-known set the images are of, all of its pixels and no others: "digits",
            "mnist" or "fashion_mnist", for each of which a classifier is shipped; "" for others.

    Raises:
        ValueError: If the splits do not fit together, training rows are missing or a value is not
            finite.

    Example:
        >>> data = Dataset(torch.ones(10, 2), torch.ones(3, 2), torch.ones(0, 2))
        >>> data, data.batch(4, torch.Generator().manual_seed(0)).shape
        (Dataset(train=10, validation=3, test=0, event_shape=(2,)), torch.Size([4, 2]))
    """

    train: Float[Tensor, "N *event"]
    validation: Float[Tensor, "V *event"]
    test: Float[Tensor, "T *event"]
    train_labels: Int[Tensor, " N"] | None = None
    validation_labels: Int[Tensor, " V"] | None = None
    test_labels: Int[Tensor, " T"] | None = None
    class_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    quantum: float | Tensor = 0.0
    shift: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float32))
    scale: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.float32))
    source: str = ""
    standard: str = ""

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise ValueError(
                f"train must have at least one row, got shape {tuple(self.train.shape)}; "
                "give the training split a larger share"
            )
        for name in ("train", "validation", "test"):
            part, labels = getattr(self, name), getattr(self, f"{name}_labels")
            if part.shape[1:] != self.train.shape[1:]:
                raise ValueError(
                    f"{name} must have rows of shape {self.event_shape} as train has, "
                    f"got {tuple(part.shape[1:])}; for no rows write {name}=train[:0]"
                )
            if labels is not None and labels.shape != part.shape[:1]:
                raise ValueError(
                    f"{name}_labels must have shape ({len(part)},), one label a row, "
                    f"got {tuple(labels.shape)}"
                )
            if part.dtype != torch.float32 or not part.isfinite().all():
                raise ValueError(
                    f"{name} must hold finite float32 values, got {part.dtype} with "
                    f"{int((~part.isfinite()).sum())} values that are not finite; remove these "
                    "rows and write x.float()"
                )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{n}={len(getattr(self, n))}" for n in ("train", "validation", "test"))
        return f"Dataset({sizes}, event_shape={self.event_shape})"

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.train.shape[1:])

    @property
    def log_volume(self) -> float:
        """The nats by which a log-density in model units exceeds that in original units."""
        return affine.log_volume(self.scale, self.train[0].numel())

    def batch(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *event"]:
        r"""Draws n training rows without replacement, dequantised, shape (n, \*event).

        Arguments:
            n: The number of rows.
            rng: Determines which rows are drawn and the noise of their dequantisation.

        Raises:
            ValueError: If there are fewer than n training rows.
        """
        return self.dequantised(self.train[self._drawn(n, rng)], rng)

    def labelled_batch(self, n: int, rng: torch.Generator) -> Labelled:
        r"""Draws the rows that `batch` draws, with their classes.

        Arguments:
            n: The number of rows.
            rng: Determines which rows are drawn and the noise of their dequantisation.

        Raises:
            ValueError: If there are fewer than n training rows, or they have no classes.
        """
        x, labels = self.labelled()
        rows = self._drawn(n, rng)
        return Labelled(self.dequantised(x[rows], rng), labels[rows])

    def labelled(self) -> Labelled:
        """Returns the training rows with their classes.

        Raises:
            ValueError: If they have none.
        """
        if self.train_labels is None:
            raise ValueError(
                f"the data must have classes, got {self.source or 'rows'} without labels; take a "
                "labelled set such as data=Digits, or write condition=Unconditional"
            )
        return Labelled(self.train, self.train_labels)

    def dequantised(
        self, x: Float[Tensor, "n *event"], rng: torch.Generator
    ) -> Float[Tensor, "n *event"]:
        r"""Spreads rows from the centres of their cells over the cells, shape (n, \*event).

        Without dequantisation the rows come back as they are.

        Arguments:
            x: Rows at the centres of their cells, as those of `train`, shape (n, \*event).
            rng: Determines the noise.
        """
        quantum = torch.as_tensor(self.quantum, dtype=x.dtype, device=x.device)
        if not quantum.any():
            return x
        u = torch.rand(x.shape, generator=rng, device=rng.device, dtype=x.dtype).to(x.device) - 0.5
        return x + (u @ quantum if quantum.ndim == 2 else u * quantum)

    def noise(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *event"]:
        r"""Draws n rows uniformly over the range of the training data, shape (n, \*event).

        The range is that of each column of a table, and of all the pixels of images.

        Arguments:
            n: The number of rows.
            rng: The source of the noise.
        """
        low, high = self.train.amin(0), self.train.amax(0)
        if len(self.event_shape) == 3:
            low, high = low.amin(), high.amax()
        shape = (n, *self.event_shape)
        u = torch.rand(shape, generator=rng, device=rng.device, dtype=self.train.dtype)
        return low + (high - low) * u.to(self.train.device)

    def to_original(self, x: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        r"""Maps model units to original units: grey levels, or the units of a table.

        Arguments:
            x: Rows in model units, shape (n, \*event), such as samples.
        """
        return affine.to_original(x, self.shift.to(x), self.scale.to(x))

    def from_original(self, y: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        r"""Maps original units to model units: what new rows need before a model sees them.

        Arguments:
            y: Rows in original units, shape (n, \*event).
        """
        return affine.to_model(y, self.shift.to(y), self.scale.to(y))

    def to(self, device: torch.device | str) -> Dataset:
        """Moves all tensors to a device.

        Arguments:
            device: Where to, such as "cuda".
        """

        def move(labels: Tensor | None) -> Tensor | None:
            return None if labels is None else labels.to(device)

        return dataclasses.replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            train_labels=move(self.train_labels),
            validation_labels=move(self.validation_labels),
            test_labels=move(self.test_labels),
            quantum=torch.as_tensor(self.quantum).to(device),
            shift=self.shift.to(device),
            scale=self.scale.to(device),
        )

    def _drawn(self, n: int, rng: torch.Generator) -> Int[Tensor, " n"]:
        """The numbers of n different training rows."""
        if not 1 <= n <= len(self.train):
            raise ValueError(
                f"a batch must have between 1 and {len(self.train)} rows, the size of the "
                f"training set, got {n}; write a smaller batch size"
            )
        rows = torch.randperm(len(self.train), generator=rng, device=rng.device)[:n]
        return rows.to(self.train.device)


def dequantise_held_out(data: Dataset, seed: int) -> Dataset:
    """Gives validation and test rows their noise, the same for the same seed.

    Arguments:
        data: Splits whose rows all lie at the centres of their cells.
        seed: Determines the noise.
    """
    rng = torch.Generator().manual_seed(seed)
    return dataclasses.replace(
        data,
        validation=data.dequantised(data.validation, rng),
        test=data.dequantised(data.test, rng),
    )
