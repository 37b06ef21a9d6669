r"""A loaded data set: three splits as tensors, and the map to their original units.

A density over real numbers does not fit values that lie on a grid: it can be made infinite there.
Uniform dequantisation spreads each value over its own cell,

.. math:: \tilde x = x + q \odot u , \qquad u \sim \mathcal{U}[-1/2, 1/2)^D ,

with the width :math:`q` of the cell. Training rows lie at the centres of their cells and get fresh
noise in every batch; validation and test rows get theirs once, when they are loaded, so that a
number computed from them can be compared between runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from . import affine
from .column_values import ColumnChoice, Missing
from .reading import TableReading
from .rows import Batch, FullData, check_rows, kept_rows, tensors_digest
from .sources import read_source
from .splits import LabelledRows, check_split, split_rows

__all__ = ["Batch", "Dataset", "dequantise_held_out"]


Whitened: TypeAlias = Literal["none", "standard"]
"""The units of a model of rows in memory: those of the rows, or whitened columns."""


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
        identity: The settings of rows that are generated, whose last bits differ between
            processors; "" for rows that are read.
        full: The digest and the sizes of the data that these rows are a sample of; None for data
            that are complete.
        whitening: The units of the model, where `of` made them.
        split: The relative sizes of the splits that `of` made; None for data of another source.
        split_seed: The seed of that split.
        reading: How a table was read; None for other data.

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
    identity: str = ""
    full: FullData | None = None
    whitening: Whitened = "none"
    split: tuple[float, float, float] | None = None
    split_seed: int = 0
    reading: TableReading | None = None

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise ValueError(
                f"train must have at least one row, got shape {tuple(self.train.shape)}; "
                "give the training split a larger share"
            )
        for name in ("train", "validation", "test"):
            check_rows(name, getattr(self, name), getattr(self, f"{name}_labels"), self.event_shape)

    @staticmethod
    def of(
        source: object,
        labels: object = None,
        *,
        whitening: Whitened = "none",
        split: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        missing: Missing = "auto",
        categories: tuple[str, ...] = (),
        dates: tuple[str, ...] = (),
    ) -> Dataset:
        r"""Returns rows in memory as a data set, split at random.

        Arguments:
            source: A tensor or an array, shape (N, \*event), a frame of numbers, or a dataset of
                PyTorch whose items are x or (x, label).
            labels: The class of each row, as numbers from 0 or names; None for none.
            whitening: "none" for values as they are; "standard" for mean 0 and variance 1 of every
                column of a table, of the training rows.
            split: Relative sizes of training, validation and test split.
            seed: Determines which row goes where.
            missing: The treatment of missing values of a frame, as `Table` has it.
            categories: Columns of a frame that become one-hot columns.
            dates: Columns of a frame that become days since 1970-01-01.

        Raises:
            ValueError: If the rows cannot be used; the message names every problem.

        Example:
            >>> Dataset.of(torch.randn(100, 2))
            Dataset(train=80, validation=10, test=10, event_shape=(2,))
        """
        if whitening not in ("none", "standard"):
            raise ValueError(f"whitening must be 'none' or 'standard', got {whitening!r}")
        choice = ColumnChoice(categories=categories, dates=dates, missing=missing, python=True)
        rows = read_source(source, labels, choice)
        check_split(split)
        parts = split_rows(LabelledRows(rows.x, rows.labels), split, seed)
        shift, scale = torch.zeros(()), torch.ones(())
        if whitening == "standard":
            if rows.x.ndim != 2:
                raise ValueError(
                    "whitening=standard needs a table, shape (N, columns), got "
                    f"{tuple(rows.x.shape)}; write whitening='none'"
                )
            shift = parts[0].x.double().mean(0).float()
            deviation = parts[0].x.double().std(0, correction=0).float()
            scale = torch.where(deviation > 0, deviation, 1.0)
        train, validation, test = (affine.to_model(part.x, shift, scale) for part in parts)
        return Dataset(
            train,
            validation,
            test,
            parts[0].labels,
            parts[1].labels,
            parts[2].labels,
            class_names=rows.class_names,
            columns=rows.columns,
            shift=shift,
            scale=scale,
            source="rows in memory",
            whitening=whitening,
            split=split,
            split_seed=seed,
            reading=rows.reading,
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

    @property
    def digest(self) -> str:
        """The digest of all training rows and their units, and of the labels of rows in memory."""
        if self.full is not None:
            return self.full.digest
        if self.identity:
            return hashlib.sha256(self.identity.encode()).hexdigest()
        labels = self.train_labels if self.split is not None else None
        return (
            self._bits
            if labels is None
            else tensors_digest(self.train, self.shift, self.scale, labels)
        )

    def has_digest(self, digest: str) -> bool:
        """Returns whether these are the data of a digest, also of one of version 0.1.0."""
        return digest in (self.digest, self._bits if self.full is None else self.full.bits)

    @property
    def _bits(self) -> str:
        return tensors_digest(self.train, self.shift, self.scale)

    @property
    def complete(self) -> bool:
        """Whether all rows are here: the data themselves, or a sample that left none out."""
        sizes = (len(self.train), len(self.validation), len(self.test))
        return self.full is None or self.full[1:4] == sizes

    def sample(self) -> Dataset:
        """Returns a sample of the rows, for a run folder: equal to the data where they are few.

        Of each split at most 10,000 rows and 2 MiB are taken, at random and the same each time,
        with one row of every class at least.
        """
        if self.full is not None:
            return self
        splits: dict[str, Tensor | None] = {}
        for name in ("train", "validation", "test"):
            rows, labels = getattr(self, name), getattr(self, f"{name}_labels")
            index = kept_rows(rows, labels)
            splits[name] = rows[index]
            splits[f"{name}_labels"] = None if labels is None else labels[index]
        sizes = (len(self.train), len(self.validation), len(self.test))
        full = FullData(self.digest, *sizes, self._bits if self.identity else "")
        return dataclasses.replace(self, full=full, **splits)  # type: ignore[arg-type]

    def batch(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *event"]:
        r"""Draws n training rows without replacement, dequantised, shape (n, \*event).

        Arguments:
            n: The number of rows.
            rng: Determines which rows are drawn and the noise of their dequantisation.

        Raises:
            ValueError: If there are fewer than n training rows.
        """
        return self.dequantised(self.train[self._random_rows(n, rng)], rng)

    def labelled_batch(self, n: int, rng: torch.Generator) -> Batch:
        r"""Draws the rows that `batch` draws, with their classes.

        Arguments:
            n: The number of rows.
            rng: Determines which rows are drawn and the noise of their dequantisation.

        Raises:
            ValueError: If there are fewer than n training rows, or they have no classes.
        """
        x, labels = self.labelled()
        rows = self._random_rows(n, rng)
        assert labels is not None
        return Batch(self.dequantised(x[rows], rng), labels[rows])

    def labelled(self) -> Batch:
        """Returns the training rows with their classes.

        Raises:
            ValueError: If they have none.
        """
        if self.train_labels is None:
            raise ValueError(
                f"the data must have classes, got {self.source or 'rows'} without labels; take a "
                "labelled set such as data=Digits, or write condition=NoCondition"
            )
        return Batch(self.train, self.train_labels)

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
        r"""Draws n rows uniformly over the range of each column, or of all pixels, of the data.

        Arguments:
            n: The number of rows.
            rng: The source of the noise.
        """
        low, high = self.train.amin(0), self.train.amax(0)
        if len(self.event_shape) == 3:
            low, high = low.amin(), high.amax()
        shape, dtype = (n, *self.event_shape), self.train.dtype
        u = torch.rand(shape, generator=rng, device=rng.device, dtype=dtype)
        return low + (high - low) * u.to(self.train.device)

    def held_out(self, most: int = 10_000) -> tuple[Tensor, str]:
        """Returns rows that were not trained on, at most so many, and their name.

        Training rows take their place where fewer than two were held out.

        Arguments:
            most: The largest number of rows.
        """
        rows, name = torch.cat([self.validation, self.test]), "held-out rows"
        if len(rows) < 2:
            rows, name = self.train, "training rows, as none were held out"
        n = min(most, len(rows))
        return rows[torch.arange(n, device=rows.device) * len(rows) // n], f"{n:,} {name}"

    def test_rows(self) -> tuple[Tensor, str]:
        """Returns the rows to test on and their split: test, else validation, else training."""
        for rows, name in ((self.test, "test"), (self.validation, "validation")):
            if len(rows):
                return rows, name
        return self.train, "training"

    def to_original(self, x: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        r"""Maps model units to original units: grey levels, or the units of a table.

        Arguments:
            x: Rows in model units, shape (n, \*event), such as samples.
        """
        return affine.to_original(x, self.shift.to(x), self.scale.to(x))

    def from_original(self, y: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        r"""Maps original units to model units, as a model needs new rows.

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

    def _random_rows(self, n: int, rng: torch.Generator) -> Int[Tensor, " n"]:
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
        data: Splits whose rows lie at the centres of their cells.
        seed: Determines the noise.
    """
    rng = torch.Generator().manual_seed(seed)
    return dataclasses.replace(
        data,
        validation=data.dequantised(data.validation, rng),
        test=data.dequantised(data.test, rng),
    )
