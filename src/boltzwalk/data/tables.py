"""Your own table, one row a line.

The columns are read by :mod:`.text_tables`, :mod:`.frames` or :func:`.files.read_array`, chosen by
:mod:`.table_columns` and scaled by :mod:`.table_units`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .column_values import ColumnChoice, Missing, RowNumbers
from .dataset import Dataset
from .dialect import Separator
from .files import find_user_path
from .held_out import dequantise_held_out
from .raw_table import ReadingOptions
from .repeats import Repeats
from .splits import LabelledRows, check_split
from .table_columns import ChosenTable, choose_columns
from .table_files import check_options, read_table_file
from .table_units import TableOptions, check_table_options, table_fields
from .tails import HeavyTails
from .whitening import Whitening

__all__ = ["Table"]


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
        shrinkage: Whether "pca" takes the variances of rows that did not determine the components,
            so that few rows of many columns cannot over-fit it.
        tails: "compress" lets values far from the median of a whitened column with heavy tails or
            outliers enter by their logarithm; "scale" gives such a column centre and scale of its
            quartiles alone; "keep" takes mean and standard deviation.
        dequantise: Whether to add uniform noise of the width of the median gap between the distinct
            values of a column. One-hot columns always have noise of width 1.
        separator: The separator of the fields of a line; "auto" to detect it.
        header: Whether the first line names the columns; None to detect it.
        key: The array of a .npz file; None where there is only one.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines the split and the noise of held-out rows.
        repeats: Where equal rows go: "together" into one split; "anywhere", as different rows do;
            "auto" for together, unless more than half of the rows repeat an earlier one.
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
        index: Whether a column that numbers the rows is left out, "drop", or kept, "keep".

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
    shrinkage: bool = True
    tails: HeavyTails = "compress"
    dequantise: bool = False
    separator: Separator = "auto"
    header: bool | None = None
    key: str | None = None
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    split_seed: int = 0
    repeats: Repeats = "auto"
    missing: Missing = "auto"
    missing_marks: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    decimal: str = "auto"
    thousands: str = ""
    encoding: str = "auto"
    sheet: str | None = None
    unpacked_gb: float = 2.0
    index: RowNumbers = "drop"

    def __post_init__(self) -> None:
        check_table_options(self.whitening, self.tails, self.repeats)
        if self.missing not in ("auto", "refuse", "drop", "median"):
            raise ValueError(
                f"missing must be auto, refuse, drop or median, got {self.missing!r}; write "
                "data.missing=drop"
            )
        if self.index not in ("drop", "keep"):
            raise ValueError(
                f"index must be drop or keep, got {self.index!r}; write data.index=keep"
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
        options = TableOptions(
            self.split,
            self.split_seed,
            self.whitening,
            self.shrinkage,
            self.tails,
            self.repeats,
            self.dequantise,
            one_hot=chosen.reading.one_hot,
        )
        fields = table_fields(LabelledRows(torch.from_numpy(chosen.values)), columns, options, path)
        data = Dataset(
            **fields._asdict(), columns=columns, source=str(path), reading=chosen.reading
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
            row_numbers=self.index,
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
