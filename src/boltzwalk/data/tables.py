r"""Your own table of numbers, one row a line, and its whitening.

Whitening is the affine map after which training rows have mean 0 and unit variance or covariance.
For "pca" the columns are standardised first, and their correlation matrix :math:`R = V \Lambda V^T`
gives :math:`x = D^{-1} (y - m) V \Lambda^{-1/2}`; so the result does not depend on the units of the
columns. Variances are those of the rows, with 1/N. The statistics come from the training split
alone, so that test rows cannot leak into them.

Not guaranteed: that repeated rows of the file stay in one split.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import affine
from .dataset import Dataset, dequantise_held_out
from .files import find_user_path, read_array
from .splits import LabelledRows, check_split, split_rows
from .text_tables import Separator, parse_columns, read_text_table

__all__ = ["Table", "Whitening", "cell_widths", "fit_whitening", "select_columns"]


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
        dequantise: Whether to add uniform noise of the width of the median gap between the distinct
            values of a column.
        separator: The separator of the fields of a line; "auto" to detect it.
        header: Whether the first line names the columns; None to detect it.
        key: The array of a .npz file; None where there is only one.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines the split and the noise of held-out rows.

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
        path = find_user_path(self.path, self.root)
        columns, values = self.read()
        parts = split_rows(LabelledRows(torch.from_numpy(values)), self.split, self.split_seed)
        shift, scale = fit_whitening(parts[0].x, self.whitening, columns)
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
