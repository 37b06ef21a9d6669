"""A table of numbers: one row a line, one column a measurement.

Statistics for whitening come from the training split alone, so that test rows cannot leak into it.
Not guaranteed: that rows which are repeated in the file stay in one split.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import affine
from .arrays import read_array
from .dataset import Dataset, dequantise_held_out
from .delimited import Separator, read_text_table, to_numbers
from .files import resolve
from .parts import Part, check_split, split
from .whitening import Whitening, cell_widths, fit

__all__ = ["Table", "choose_columns"]


@dataclass(frozen=True)
class Table:
    """Your own table, event shape (columns,).

    Text files are .csv, .data, .tsv or .txt, or .gz of these; a .npy or .npz file holds an array of
    shape (rows, columns), whose columns are called column0, column1 and so on.

    Arguments:
        path: The file, as it is or below the root.
        root: Where to look if there is nothing at the path; None for the environment variable
            BOLTZWALK_DATA, else ./data.
        columns: The names of the columns to use, in this order; None for all.
        drop: The names of the columns to leave out.
        whitening: "standard" for mean 0 and variance 1 in each column, "pca" for no correlations
            either, "none" for values as they are.
        dequantise: Whether to add uniform noise of the width of the median gap between the distinct
            values of a column.
        separator: What stands between the fields of a line; "auto" to find out.
        header: Whether the first line names the columns; None to find out.
        key: Which array of a .npz file to use; None where there is only one.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines which row goes where, and the noise of held-out rows.

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

    def __post_init__(self) -> None:
        if self.whitening not in ("none", "standard", "pca"):
            raise ValueError(
                f"whitening must be none, standard or pca, got {self.whitening!r}; write "
                "data.whitening=standard"
            )
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
        path = resolve(self.path, self.root)
        columns, values = self.read()
        parts = split(Part(torch.from_numpy(values)), self.split, self.split_seed)
        shift, scale = fit(parts[0].x, self.whitening, columns)
        quantum: float | torch.Tensor = 0.0
        if self.dequantise:
            width = cell_widths(parts[0].x)
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
        )
        return dequantise_held_out(data, self.split_seed)

    def read(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns the names of the chosen columns and their values, float64, shape (N, D).

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If the file is damaged or has fewer than two rows, or a value is missing or
                not finite.
        """
        path = resolve(self.path, self.root)
        columns, values = self._chosen(path)
        _check_finite(values, columns, path)
        if len(values) < 2:
            raise ValueError(
                f"{path} must have at least two rows, got {len(values)}; provide more rows"
            )
        return columns, values

    def _chosen(self, path: Path) -> tuple[tuple[str, ...], np.ndarray]:
        """The names of the chosen columns and their values."""
        if path.is_dir():
            raise ValueError(
                f"path must name a file, got the folder {path}; write data.path={path}/FILE, or "
                "use the images data set for a folder of images"
            )
        if path.suffix not in (".npy", ".npz"):
            table = read_text_table(path, self.separator, self.header)
            chosen = choose_columns(table.names, self.columns, self.drop)
            return chosen, to_numbers(table, chosen, path)
        array = read_array(path, self.key)
        if array.ndim != 2 or array.dtype.kind not in "fiub" or 0 in array.shape:
            raise ValueError(
                f"{path} must hold real numbers of shape (rows, columns), got {array.dtype} of "
                f"shape {array.shape}; write array.reshape(len(array), -1) of type float64"
            )
        names = tuple(f"column{i}" for i in range(array.shape[1]))
        chosen = choose_columns(names, self.columns, self.drop)
        return chosen, array[:, [names.index(name) for name in chosen]].astype(np.float64)


def choose_columns(
    names: tuple[str, ...], use: tuple[str, ...] | None, drop: tuple[str, ...]
) -> tuple[str, ...]:
    """Returns the names of the columns to use.

    Arguments:
        names: All columns.
        use: The wanted columns, in the wanted order; None for all.
        drop: The columns to leave out.

    Raises:
        ValueError: If a name is unknown or wanted twice, or no column is left.

    Example:
        >>> choose_columns(("a", "b", "c"), None, ("b",))
        ('a', 'c')
    """
    for name in (*(use or ()), *drop):
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3) or names
            raise ValueError(
                f"columns and drop must name columns of the table, got {name!r}; did you mean "
                f"{', '.join(near)}?"
            )
    chosen = tuple(name for name in (names if use is None else use) if name not in drop)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"columns and drop must leave at least one column and each only once, got "
            f"columns={use} and drop={drop} for a table of {', '.join(names)}; leave fewer out"
        )
    return chosen


def _check_finite(values: np.ndarray, columns: tuple[str, ...], path: Path) -> None:
    """Raises ValueError where a value is nan, infinite or too large for float32."""
    with np.errstate(over="ignore"):
        bad = np.argwhere(~np.isfinite(values.astype(np.float32)))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"column {columns[column]!r} of {path} must hold finite float32 numbers, got "
            f"{values[row, column]} in row {row} (the first is 0), and {len(bad) - 1} more; delete "
            f"these rows or leave the column out with data.drop={columns[column]}"
        )
