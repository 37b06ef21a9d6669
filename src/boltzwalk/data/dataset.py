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
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from . import affine
from .column_values import ColumnChoice, Missing
from .reading import TableReading
from .repeats import Repeats
from .rows import Batch, FullData, check_rows, kept_rows, random_rows, tensors_digest
from .sources import read_source
from .table_units import TableOptions, memory_fields
from .tails import HeavyTails, compress, expand, log_slope
from .whitening import Whitening

__all__ = ["Batch", "Dataset"]


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
        class_names: The names of all classes of the set; label i is ``class_names[i]``.
        columns: The names of a table's columns, in original units.
        low: The lower bound of the valid range in model units; None where there is none.
        high: The upper bound of the valid range in model units; None where there is none.
        quantum: The width :math:`q` of a cell in model units: a number, one a column, shape (D,),
            or a matrix that maps the noise, shape (D, D); 0 without dequantisation.
        shift: The offset of the original units, shape () or (D,): original = x * scale + shift. It
            is in float64 where float32 would lose digits.
        scale: The factor of the original units, shape () or (D,), or the matrix of
            original = x @ scale + shift, shape (D, D).
        tails: Centre, knee and length of the columns whose tails are compressed, see `.tails`,
            shape (3, D); None where no column is.
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
        repeats: Where equal rows went, in that split.
        validation_copies: Which validation rows equal a training row, shape (V,); None if unknown.
        test_copies: Which test rows do, shape (T,); None if unknown.
        notes: Sentences on rows that repeat and on how the units were chosen.
        former: The digest that an earlier version gave to these data; "" where it is derived.
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
    tails: Tensor | None = None
    source: str = ""
    standard: str = ""
    identity: str = ""
    full: FullData | None = None
    whitening: Whitening = "none"
    split: tuple[float, float, float] | None = None
    split_seed: int = 0
    repeats: Repeats = "anywhere"
    validation_copies: Tensor | None = None
    test_copies: Tensor | None = None
    notes: tuple[str, ...] = ()
    former: str = ""
    reading: TableReading | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            part, labels = getattr(self, name), getattr(self, f"{name}_labels")
            check_rows(name, part, labels, self.event_shape)

    @staticmethod
    def of(
        source: object,
        labels: object = None,
        *,
        whitening: Whitening = "none",
        split: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        repeats: Repeats = "auto",
        tails: HeavyTails = "compress",
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
                column of a table, of the training rows; "pca" for no correlations either.
            split: Relative sizes of training, validation and test split.
            seed: Determines which row goes where.
            repeats: Where equal rows of a table go, as `Table` has it.
            tails: What happens to heavy tails of whitened columns, as `Table` has it.
            missing: The treatment of missing values of a frame, as `Table` has it.
            categories: Columns of a frame that become one-hot columns, as `Table` has it.
            dates: Columns of a frame that become days since 1970-01-01.

        Raises:
            ValueError: If the rows cannot be used; the message names every problem.

        Example:
            >>> Dataset.of(torch.randn(100, 2))
            Dataset(train=80, validation=10, test=10, event_shape=(2,))
        """
        choice = ColumnChoice(categories=categories, dates=dates, missing=missing, python=True)
        options = TableOptions(
            split, seed, whitening, tails=tails, repeats=repeats, unit_constants=True
        )
        return Dataset(**memory_fields(read_source(source, labels, choice), options))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{n}={len(getattr(self, n))}" for n in ("train", "validation", "test"))
        return f"Dataset({sizes}, event_shape={self.event_shape})"

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.train.shape[1:])

    @property
    def log_volume(self) -> float:
        """The nats by which a log-density in model units exceeds that in original units.

        Raises:
            ValueError: If tails are compressed, where it is another for each row.
        """
        if self.tails is not None:
            raise ValueError(
                "data with compressed tails must have a volume for each row, got one for all; "
                "write data.log_jacobian(x)"
            )
        return affine.log_volume(self.scale, self.train[0].numel())

    @property
    def digest(self) -> str:
        """The digest of all training rows and their units, and of the labels of rows in memory."""
        if self.full is not None:
            return self.full.digest
        if self.identity:
            return hashlib.sha256(self.identity.encode()).hexdigest()
        return tensors_digest(*self._bits(self.shift, self.scale))

    def has_digest(self, digest: str) -> bool:
        """Returns whether these are the data of a digest, also of one of an earlier version."""
        return bool(digest) and digest in (self.digest, *self._former)

    @property
    def _former(self) -> tuple[str, ...]:
        """The digests that earlier versions gave to these data."""
        if self.full is not None:
            return (self.full.bits,)
        # Units were float32; version 0.1.0 did not count the labels, nor the name of a recipe.
        single = self._bits(self.shift.float(), self.scale.float())
        return (
            *([self.former] if self.former else []),
            tensors_digest(*single),
            tensors_digest(*single[:3]),
        )

    def _bits(self, shift: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        """The training rows and their units, and the labels of rows in memory."""
        labels = self.train_labels if self.split is not None and not self.identity else None
        return tuple(
            part for part in (self.train, shift, scale, labels, self.tails) if part is not None
        )

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
            index = kept_rows(getattr(self, name), getattr(self, f"{name}_labels"))
            for part in (name, f"{name}_labels", f"{name}_copies"):
                if (values := getattr(self, part, None)) is not None:
                    splits[part] = values[index]
        sizes = (len(self.train), len(self.validation), len(self.test))
        full = FullData(self.digest, *sizes, self._former[0])
        return dataclasses.replace(self, full=full, **splits)  # type: ignore[arg-type]

    def batch(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *event"]:
        r"""Draws n training rows without replacement, dequantised, shape (n, \*event).

        Arguments:
            n: The number of rows.
            rng: Determines which rows are drawn and the noise of their dequantisation.

        Raises:
            ValueError: If there are fewer than n training rows.
        """
        return self.dequantised(self.train[random_rows(self.train, n, rng)], rng)

    def labelled_batch(self, n: int, rng: torch.Generator) -> Batch:
        """Draws the rows that `batch` draws, with their classes.

        Arguments:
            n: The number of rows.
            rng: Determines which rows are drawn and the noise of their dequantisation.

        Raises:
            ValueError: If there are fewer than n training rows, or they have no classes.
        """
        x, labels = self.labelled()
        rows = random_rows(self.train, n, rng)
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

    def held_out(self, most: int = 10_000, validation: bool = True) -> tuple[Tensor, str]:
        """Returns rows that were not trained on, at most so many, and their name.

        Training rows take their place where fewer than two were held out.

        Arguments:
            most: The largest number of rows, which are spread over all.
            validation: Whether validation rows are among them, which may choose a checkpoint.
        """
        rows, name = self.test, "test rows"
        if validation:
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

        The result is in float64 where the units are, else of the type of the rows.

        Arguments:
            x: Rows in model units, shape (n, \*event), such as samples.
        """
        y = affine.to_original(x, self.shift, self.scale)
        return y if self.tails is None else expand(y, self.tails)

    def from_original(self, y: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        r"""Maps original units to model units, as a model needs new rows.

        The result is of the type of the rows; the map itself is in that of the units.

        Arguments:
            y: Rows in original units, shape (n, \*event).

        Raises:
            ValueError: If rows in float32 cannot have the digits that the units need.
        """
        affine.require_digits(y, self.shift, self.scale, self.columns)
        compressed = y if self.tails is None else compress(y, self.tails)
        x = affine.to_model(compressed, self.shift, self.scale)
        return x.to(y.dtype) if y.is_floating_point() else x

    def log_jacobian(self, x: Float[Tensor, "n *event"]) -> Float[Tensor, " n"]:
        r"""Returns :math:`\log |\partial y / \partial x|` of rows, shape (n,), in float64.

        Log-densities in original units are those in model units less this number.

        Arguments:
            x: Rows in model units, shape (n, \*event).
        """
        volume = affine.log_volume(self.scale, self.train[0].numel())
        result = torch.full((len(x),), volume, dtype=torch.float64, device=x.device)
        if self.tails is None:
            return result
        return result + log_slope(affine.to_original(x, self.shift, self.scale), self.tails)

    def to(self, device: torch.device | str) -> Dataset:
        """Moves all tensors to a device.

        Arguments:
            device: Where to, such as "cuda".
        """
        moved: dict[str, Any] = {
            field.name: value.to(device)
            for field in dataclasses.fields(self)
            if torch.is_tensor(value := getattr(self, field.name))
        }
        return dataclasses.replace(self, **moved)  # type: ignore[arg-type]
