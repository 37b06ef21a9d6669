"""Your own table of numbers, one row a line."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .dataset import Dataset, dequantise_held_out
from .files import find_user_path, read_array
from .repeats import Repeats
from .splits import LabelledRows, check_split
from .table_units import TableOptions, check_table_options, table_fields
from .tails import HeavyTails
from .text_tables import Separator, parse_columns, read_text_table
from .whitening import Whitening

__all__ = ["Table", "select_columns"]


@dataclass(frozen=True)
class Table:
    """Your own table, event shape (columns,).

    Text files are .csv, .data, .tsv or .txt, or .gz of these; a .npy or .npz file holds an array of
    shape (rows, columns), whose columns are called column0, column1 and so on.

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
            outliers enter by their logarithm; "keep" leaves them.
        dequantise: Whether to add uniform noise of the width of the median gap between the distinct
            values of a column.
        separator: The separator of the fields of a line; "auto" to detect it.
        header: Whether the first line names the columns; None to detect it.
        key: The array of a .npz file; None where there is only one.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines the split and the noise of held-out rows.
        repeats: Where equal rows go: "together" into one split; "anywhere", as different rows do;
            "auto" for together, unless more than half of the rows repeat an earlier one.

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

    def __post_init__(self) -> None:
        check_table_options(self.whitening, self.tails, self.repeats)
        if self.separator not in ("auto", ",", ";", "tab", "space"):
            raise ValueError(
                f"separator must be auto, a comma, a semicolon, tab or space, "
                f"got {self.separator!r}; write data.separator=tab"
            )
        check_split(self.split)

    def load(self) -> Dataset:
        """Loads the table.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If the file is damaged or empty, a value is missing or not finite, or the
                columns cannot be whitened.
        """
        path = find_user_path(self.path, self.root)
        columns, values = self.read()
        options = TableOptions(
            self.split,
            self.split_seed,
            self.whitening,
            self.shrinkage,
            self.tails,
            self.repeats,
            self.dequantise,
        )
        fields = table_fields(LabelledRows(torch.from_numpy(values)), columns, options, path)
        data = Dataset(**fields._asdict(), columns=columns, source=str(path))
        return dequantise_held_out(data, self.split_seed)

    def read(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns the names of the selected columns and their values, float64, shape (N, D).

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If the file is damaged or has fewer than two rows, or a value is missing or
                not finite.
        """
        path = find_user_path(self.path, self.root)
        columns, values = self._selected(path)
        _check_finite(values, columns, path)
        if len(values) < 2:
            raise ValueError(
                f"{path} must have at least two rows, got {len(values)}; provide more rows"
            )
        return columns, values

    def _selected(self, path: Path) -> tuple[tuple[str, ...], np.ndarray]:
        """The names of the selected columns and their values."""
        if path.is_dir():
            raise ValueError(
                f"path must name a file, got the folder {path}; write data.path={path}/FILE, or "
                "use the images data set for a folder of images"
            )
        if path.suffix not in (".npy", ".npz"):
            table = read_text_table(path, self.separator, self.header)
            selected = select_columns(table.names, self.columns, self.drop)
            return selected, parse_columns(table, selected, path)
        array = read_array(path, self.key)
        if array.ndim != 2 or array.dtype.kind not in "fiub" or 0 in array.shape:
            raise ValueError(
                f"{path} must hold real numbers of shape (rows, columns), got {array.dtype} of "
                f"shape {array.shape}; write array.reshape(len(array), -1) of type float64"
            )
        names = tuple(f"column{i}" for i in range(array.shape[1]))
        selected = select_columns(names, self.columns, self.drop)
        return selected, array[:, [names.index(name) for name in selected]].astype(np.float64)


def select_columns(
    names: tuple[str, ...], use: tuple[str, ...] | None, drop: tuple[str, ...]
) -> tuple[str, ...]:
    """Returns the names of the columns to use.

    Arguments:
        names: All columns.
        use: The columns to use, in this order; None for all.
        drop: The columns to leave out.

    Raises:
        ValueError: If a name is unknown or repeated, or no column is left.

    Example:
        >>> select_columns(("a", "b", "c"), None, ("b",))
        ('a', 'c')
    """
    for name in (*(use or ()), *drop):
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3) or names
            raise ValueError(
                f"columns and drop must name columns of the table, got {name!r}; did you mean "
                f"{', '.join(near)}?"
            )
    selected = tuple(name for name in (names if use is None else use) if name not in drop)
    if not selected or len(set(selected)) < len(selected):
        raise ValueError(
            f"columns and drop must leave at least one column and each only once, got "
            f"columns={use} and drop={drop} for a table of {', '.join(names)}; leave fewer out"
        )
    return selected


def _check_finite(values: np.ndarray, columns: tuple[str, ...], path: Path) -> None:
    """Raises ValueError where a value is nan or infinite."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"column {columns[column]!r} of {path} must hold finite numbers, got "
            f"{values[row, column]} in row {row} (the first is 0), and {len(bad) - 1} more; delete "
            f"these rows or leave the column out with data.drop={columns[column]}"
        )
