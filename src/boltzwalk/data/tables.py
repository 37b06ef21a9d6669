r"""Your own table of numbers, one row a line, and its whitening.

Whitening is the affine map after which training rows have mean 0 and unit variance or covariance.
For "pca" the columns are standardised first, and their correlation matrix :math:`R = V \Lambda V^T`
gives :math:`x = D^{-1} (y - m) V \Lambda^{-1/2}`; so the result does not depend on the units of the
columns. Variances are those of the rows, with 1/N. The statistics come from the training split
alone, so that test rows cannot leak into them.

The columns are read by :mod:`.text_tables`, :mod:`.frames` or :func:`.files.read_array`, and chosen
by :mod:`.table_columns`.

Not guaranteed: that repeated rows of the file stay in one split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import affine
from .column_values import ColumnChoice, Missing
from .dataset import Dataset, dequantise_held_out
from .dialect import Separator
from .files import find_user_path
from .raw_table import ReadingOptions
from .splits import LabelledRows, check_split, split_rows
from .table_columns import ChosenTable, choose_columns
from .table_files import check_options, read_table_file

__all__ = ["Table", "Whitening", "cell_widths", "fit_whitening"]


@dataclass(frozen=True)
class Table:
    """Your own table, event shape (columns,).

    Text files are .csv, .data, .tsv or .txt, or .gz of these; a .npy or .npz file holds an array of
    shape (rows, columns), whose columns are called column0, column1 and so on; .parquet and .xlsx
    need pandas, the extra ``tables``. Columns of text, dates or booleans that are not named, row
    numbers and empty columns are left out; `Dataset.reading` says so.

    Arguments:
        path: The file, as it is or below the root.
        root: The folder that a relative path may start from; None for the environment variable
            BOLTZWALK_DATA, else ./data.
        columns: The names of the columns to use, in this order; None for all.
        drop: The names of the columns to leave out.
        whitening: "standard" for mean 0 and variance 1 in each column, "pca" for no correlations
            either, "none" for values as they are.
        dequantise: Whether to add uniform noise of the width of the median gap between the distinct
            values of a column. One-hot columns always have noise of width 1.
        separator: The separator of the fields of a line; "auto" to detect it.
        header: Whether the first line names the columns; None to detect it.
        key: The array of a .npz file; None where there is only one.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines the split and the noise of held-out rows.
        missing: The treatment of rows with missing fields: "refuse" for an error, "drop" to leave
            them out, "median" to fill fields with the median of the column, "auto" for
            "drop" where at least half of the rows are left, else "median"; columns that are mostly
            empty are then left out before.
        missing_marks: Fields that are missing, besides empty ones, NA, nan, null, None, ?, - and
            the like.
        categories: Columns of text, booleans or whole numbers that become one-hot columns.
        dates: Columns of dates that become days since 1970-01-01.
        decimal: The decimal sign, "." or ","; "auto" to detect it.
        thousands: The sign between groups of three digits, such as ","; "" for none.
        encoding: The encoding of text, such as cp1252; "auto" for UTF-8.
        sheet: The sheet of a workbook; None for the first.
        unpacked_gb: The largest unpacked size of a packed file, in gigabytes.

    Raises:
        ValueError: If a setting makes no sense.

    Example:
        >>> Table("wine.csv", drop=("quality",), whitening="pca").split
        (0.8, 0.1, 0.1)
    """

    path: str
    root: str | None = None
    columns: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    whitening: Whitening = "standard"
    dequantise: bool = False
    separator: Separator = "auto"
    header: bool | None = None
    key: str | None = None
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    split_seed: int = 0
    missing: Missing = "auto"
    missing_marks: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    decimal: str = "auto"
    thousands: str = ""
    encoding: str = "auto"
    sheet: str | None = None
    unpacked_gb: float = 2.0

    def __post_init__(self) -> None:
        if self.whitening not in ("none", "standard", "pca"):
            raise ValueError(
                f"whitening must be none, standard or pca, got {self.whitening!r}; write "
                "data.whitening=standard"
            )
        if self.missing not in ("auto", "refuse", "drop", "median"):
            raise ValueError(
                f"missing must be auto, refuse, drop or median, got {self.missing!r}; write "
                "data.missing=drop"
            )
        check_options(self.options)
        check_split(self.split)

    def load(self) -> Dataset:
        """Loads the table.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If the file is damaged or empty, a value is missing or not finite, or the
                columns cannot be whitened.
        """
        path = find_user_path(self.path, self.root)
        chosen = self.choose()
        columns = chosen.reading.columns
        rows = LabelledRows(torch.from_numpy(chosen.values))
        parts = split_rows(rows, self.split, self.split_seed)
        shift, scale = fit_whitening(parts[0].x, self.whitening, columns)
        quantum: float | torch.Tensor = 0.0
        if self.dequantise or chosen.reading.levels:
            width = cell_widths(parts[0].x) * self.dequantise
            width = torch.where(chosen.one_hot_columns(), 1.0, width)
            # A matrix of cells, one a row, for "pca"; else one width a column.
            cells = width.diag() if scale.ndim == 2 else width
            quantum = affine.to_model(cells, torch.zeros_like(shift), scale).float()
        train, validation, test = (affine.to_model(p.x, shift, scale).float() for p in parts)
        data = Dataset(
            train,
            validation,
            test,
            columns=columns,
            quantum=quantum,
            shift=shift.float(),
            scale=scale.float(),
            source=str(path),
            reading=chosen.reading,
        )
        return dequantise_held_out(data, self.split_seed)

    @property
    def options(self) -> ReadingOptions:
        """How the file is read."""
        return ReadingOptions(
            self.separator,
            self.decimal,
            self.thousands,
            self.header,
            self.missing_marks,
            self.encoding,
            self.key,
            self.sheet,
            self.unpacked_gb,
        )

    def choose(self) -> ChosenTable:
        """Returns the numbers of the selected columns, and how they were read.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: With every problem of the table.
        """
        path = find_user_path(self.path, self.root)
        choice = ColumnChoice(
            self.columns,
            self.drop,
            self.categories,
            self.dates,
            self.missing,
            self.whitening != "none",
        )
        keep = frozenset((*self.categories, *self.dates))
        chosen = choose_columns(read_table_file(path, self.options, keep), choice, self.options)
        if len(chosen.values) < 2:
            raise ValueError(
                f"{path} must have at least two rows, got {len(chosen.values)}; provide more rows"
            )
        return chosen

    def read(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns the names of the selected columns and their values, float64, shape (N, D).

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If the file is damaged or has fewer than two rows, or a value is not finite.
        """
        chosen = self.choose()
        return chosen.reading.columns, chosen.values


Whitening: TypeAlias = Literal["none", "standard", "pca"]
"""No change; mean 0 and variance 1 for each column; or uncorrelated columns as well."""

SINGULAR = 1e-10
"""The variance of a combination of standardised columns below which it is constant."""


def fit_whitening(
    train: Float[Tensor, "N D"], whitening: Whitening, columns: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Returns shift, shape (D,), and scale, shape (D,) or (D, D): original = x scale + shift.

    Arguments:
        train: The training rows in original units, float64, shape (N, D).
        whitening: The kind of whitening.
        columns: The names of the columns, for errors.

    Raises:
        ValueError: If a column is constant, or for "pca" a combination of columns is.

    Example:
        >>> fit_whitening(torch.tensor([[1.0], [3.0]]), "standard", ("a",))
        (tensor([2.]), tensor([1.]))
    """
    if whitening == "none":
        return torch.zeros_like(train[0]), torch.ones_like(train[0])
    constant = train.amax(0) == train.amin(0)
    if constant.any():
        names = [name for name, is_constant in zip(columns, constant, strict=True) if is_constant]
        raise ValueError(
            f"whitening={whitening} needs columns that vary, got {len(train)} training rows in "
            f"which {', '.join(names)} has one value only; leave it out with data.drop="
            f"{','.join(names)}, or write data.whitening=none"
        )
    mean, sd = train.mean(0), train.std(0, correction=0)
    if whitening == "standard":
        return mean, sd
    standardised = (train - mean) / sd
    variance, vectors = torch.linalg.eigh(standardised.T @ standardised / len(train))
    if variance[0] < SINGULAR:
        heaviest = vectors[:, 0].abs().topk(min(3, len(columns))).indices.tolist()
        raise ValueError(
            f"whitening=pca needs more rows than columns and columns that do not determine each "
            f"other, got {len(train)} training rows of {len(columns)} columns, one combination of "
            f"which, mainly of {', '.join(columns[i] for i in heaviest)}, is constant; leave one "
            f"out with data.drop={columns[heaviest[0]]}, or write data.whitening=standard"
        )
    variance, vectors = variance.flip(0), vectors.flip(1)
    # The sign of an eigenvector is arbitrary: make its largest entry positive.
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = vectors * largest.sign()
    return mean, variance.sqrt().unsqueeze(1) * vectors.T * sd


def cell_widths(train: Float[Tensor, "N D"]) -> Float[Tensor, " D"]:
    """Returns the median gap between the sorted distinct values of each column, shape (D,).

    It is the width of one step where a column was rounded, next to nothing where it was not, and 0
    where the column is constant.

    Arguments:
        train: The training rows in original units, shape (N, D).

    Example:
        >>> cell_widths(torch.tensor([[0.5], [1.0], [1.0], [2.0], [1.5]]))
        tensor([0.5000])
    """
    gaps = [column.unique(sorted=True).diff() for column in train.T]
    return torch.stack([g.median() if len(g) else g.new_zeros(()) for g in gaps])
