"""Rows in memory as tensors: a tensor, a NumPy array, a pandas frame, a `torch.utils.data.Dataset`.

Nothing is imported for a source that is not used: a frame is told by its members.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .column_values import ColumnChoice
from .frames import is_frame, read_frame
from .raw_table import ReadingOptions
from .reading import TableReading
from .table_columns import choose_columns

__all__ = ["SourceRows", "read_source"]


class SourceRows(NamedTuple):
    r"""The rows of a source.

    Attributes:
        x: The rows, shape (N, \*event): float64 for numbers of a table that float32 may round, else
            float32.
        labels: The class of each row, shape (N,), int64; None without classes.
        columns: The names of the columns of a frame.
        class_names: The names of classes that were given as text.
        reading: How a frame was read; None for other sources.
    """

    x: Tensor
    labels: Tensor | None
    columns: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    reading: TableReading | None = None


def read_source(
    source: object,
    labels: object = None,
    choice: ColumnChoice = ColumnChoice(python=True),  # noqa: B008
) -> SourceRows:
    """Returns the rows of a source; numbers in one dimension become one column.

    Arguments:
        source: A tensor or an array with one row an entry, a frame of numbers, or a dataset of
            PyTorch whose items are x or (x, label).
        labels: The class of each row: numbers from 0, or names; None for none, or those of the
            items.
        choice: The columns of a frame that are used, and the treatment of missing values.

    Raises:
        ValueError: With every problem: no rows, rows of different shapes, values that are not
            finite, columns of a frame that cannot be used, labels of another length.
    """
    columns: tuple[str, ...] = ()
    if is_frame(source):
        return _frame(source, labels, choice)
    elif torch.is_tensor(source):
        values = _real(source.detach().cpu())
    elif isinstance(source, str | bytes | dict):
        raise ValueError(
            f"the data must be rows of numbers, got {type(source).__name__} {str(source)[:40]!r}; "
            "write a data source, such as bw.data.Toy('rings') or bw.data.Table('rows.csv'), or an "
            "array"
        )
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__") and not _is_array(source):
        values, item_labels = _items(source)
        labels = item_labels if labels is None else labels
    else:
        values = _numbers(source)
    return _checked(values, labels, columns)


def _checked(values: Tensor, labels: object, columns: tuple[str, ...]) -> SourceRows:
    """The rows with their labels, if they can be used."""
    problems = []
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim == 0 or len(values) == 0:
        problems.append(f"the data must have one row at least, got shape {tuple(values.shape)}")
    elif values[0].numel() == 0:
        problems.append(f"every row must have a number, got shape {tuple(values.shape)}")
    else:
        # Units of a table are determined in float64; images have levels that float32 holds.
        values = values.double() if _rounded(values) else values.float()
        bad = ~values.isfinite().flatten(1).all(1)
        if bool(bad.any()):
            first = int(bad.nonzero()[0])
            problems.append(
                f"every value must be finite, got {int(bad.sum())} rows with nan, infinity or, in "
                f"more than two dimensions, a number beyond float32, the first is row {first}; "
                "drop them, such as x[np.isfinite(x).all(1)]"
            )
    numbers: Tensor | None = None
    names: tuple[str, ...] = ()
    if labels is not None:
        numbers, names, problem = _labels(labels, len(values) if values.ndim else 0)
        problems += [problem] if problem else []
    if problems:
        raise ValueError("; ".join(problems))
    return SourceRows(values, numbers, columns, names)


def _rounded(values: Tensor) -> bool:
    """Whether float32 may round numbers of a table."""
    exact = (torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16)
    return values.ndim == 2 and values.dtype not in exact


def _is_array(source: object) -> bool:
    return isinstance(source, np.ndarray | list | tuple) or hasattr(source, "__array__")


def _numbers(source: object) -> Tensor:
    """An array of numbers as a tensor."""
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise ValueError(
            f"every row must have the same shape, got rows that NumPy cannot stack ({error}); cut "
            "or pad them"
        ) from error
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise ValueError(
            f"the data must be an array of numbers, got {type(source).__name__} of type "
            f"{array.dtype} and shape {array.shape}; write x.astype(float) for an array of "
            "numbers, and list(...) for an iterable"
        )
    return torch.from_numpy(np.ascontiguousarray(array))


def _real(values: Tensor) -> Tensor:
    """A tensor of real numbers."""
    if values.is_complex():
        raise ValueError(
            f"the data must be real numbers, got {values.dtype}; write torch.view_as_real(x)"
        )
    return values


def _frame(frame: object, labels: object, choice: ColumnChoice) -> SourceRows:
    """The numbers of a frame; labels of rows that are left out are left out as well."""
    chosen = choose_columns(read_frame(frame, "the frame"), choice, ReadingOptions())
    reading = chosen.reading
    if labels is not None and reading.rows < reading.rows_read:
        values = np.asarray(labels.cpu() if torch.is_tensor(labels) else labels)
        if len(values) == reading.rows_read:
            labels = values[chosen.kept_rows]
    if reading.altered:
        warnings.warn("\n".join(reading.lines()), stacklevel=4)
    rows = _checked(torch.from_numpy(chosen.values), labels, reading.columns)
    return rows._replace(reading=reading)


def _items(dataset: Any) -> tuple[Tensor, object]:  # noqa: ANN401
    """The rows of the items of a dataset, with their labels where items are pairs."""
    items = [dataset[i] for i in range(len(dataset))]
    parts = len(items[0]) if items and isinstance(items[0], tuple | list) else 0
    if parts > 2 or any(isinstance(item, dict) for item in items[:1]):
        raise ValueError(
            "an item of the data must be x or (x, label), got "
            f"{f'{parts} parts' if parts else 'a dictionary'}; wrap the dataset to return these"
        )
    pairs = parts == 2
    rows = [_row(item[0] if parts else item) for item in items]
    shapes = {tuple(row.shape) for row in rows}
    if len(shapes) > 1:
        raise ValueError(
            f"every row must have the same shape, got {', '.join(map(str, sorted(shapes)[:3]))}; "
            "resize or pad the items"
        )
    x = torch.stack(rows) if rows else torch.zeros(0)
    return x, [item[1] for item in items] if pairs else None


def _row(item: Any) -> Tensor:  # noqa: ANN401
    """One row of numbers, which may be a picture of Pillow."""
    if torch.is_tensor(item):
        return _real(item.detach().cpu())
    array = np.array(item)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"every item of the data must be numbers, got {type(item).__name__} of type "
            f"{array.dtype}; convert it to a tensor"
        )
    return torch.from_numpy(array)


def _labels(labels: object, n: int) -> tuple[Tensor | None, tuple[str, ...], str]:
    """Labels as numbers from 0, the names of classes given as text, and the problem, if any."""
    values = np.asarray(labels.cpu() if torch.is_tensor(labels) else labels)
    if values.shape != (n,):
        shape = tuple(values.shape)
        return None, (), f"labels must have shape ({n},), one for each row, got {shape}"
    if values.dtype.kind == "f" and not (values % 1 == 0).all():
        return None, (), f"labels must be whole numbers or names, got {values[values % 1 != 0][0]}"
    if values.dtype.kind in "biuf":
        if n and values.min() < 0:
            return None, (), f"labels must be numbers from 0, got {values.min()}"
        return torch.from_numpy(values.astype(np.int64)), (), ""
    names, numbers = np.unique(values.astype(str), return_inverse=True)
    return torch.from_numpy(numbers.astype(np.int64)), tuple(map(str, names)), ""
