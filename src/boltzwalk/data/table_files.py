"""Files of tables by their kind: text, arrays, Parquet, workbooks."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np

from .files import read_array
from .frames import FRAME_SUFFIXES, read_frame_file
from .raw_table import Expected, RawColumn, RawTable, ReadingOptions
from .text_tables import read_text_table

__all__ = ["check_options", "read_table_file", "table_of_array"]


def check_options(options: ReadingOptions) -> None:
    """Checks the options of a reading.

    Arguments:
        options: The options.

    Raises:
        ValueError: If one makes no sense.
    """
    if options.separator not in ("auto", ",", ";", "tab", "|", "space"):
        raise ValueError(
            f"separator must be auto, a comma, a semicolon, tab, | or space, "
            f"got {options.separator!r}; write data.separator=tab"
        )
    if options.decimal not in ("auto", ".", ","):
        raise ValueError(
            f'decimal must be auto, "." or ",", got {options.decimal!r}; write data.decimal=","'
        )
    if options.thousands not in ("", ",", ".", " ", "'", "_", "\u00a0", "\u202f"):
        raise ValueError(
            "thousands must be a comma, a point, a blank, ' or _, or nothing, got "
            f'{options.thousands!r}; write data.thousands=","'
        )
    if options.thousands and options.thousands == options.decimal:
        raise ValueError(
            f"thousands and decimal must differ, got {options.decimal!r} for both; write "
            'data.decimal="," data.thousands=.'
        )
    if options.encoding != "auto":
        try:
            codecs.lookup(options.encoding)
        except LookupError as error:
            raise ValueError(
                f"encoding must be auto, utf-8, cp1252, latin-1 or another that Python knows, got "
                f"{options.encoding!r}; write data.encoding=cp1252"
            ) from error
    if not options.unpacked_gb > 0:
        raise ValueError(
            f"unpacked_gb must be above 0, got {options.unpacked_gb}; write data.unpacked_gb=2"
        )


def read_table_file(
    path: Path,
    options: ReadingOptions,
    keep: frozenset[str] | None = frozenset(),
    expected: Expected = Expected(),  # noqa: B008
) -> RawTable:
    """Reads a table of text, an array, a Parquet file or a workbook.

    Arguments:
        path: The file.
        options: How it is read.
        keep: The columns whose fields are returned as text as well; None for all.
        expected: The layout of the data that the file resembles.

    Raises:
        ValueError: If the file is damaged, empty or of another kind.
    """
    if path.is_dir():
        raise ValueError(
            f"path must name a file, got the folder {path}; write data.path={path}/FILE, or "
            "use the images data set for a folder of images"
        )
    if path.suffix in FRAME_SUFFIXES:
        return read_frame_file(path, options)
    if path.suffix in (".npy", ".npz"):
        array = read_array(path, options.key, options.unpacked_gb)
        return table_of_array(array, str(path))
    return read_text_table(path, options, keep, expected)


def table_of_array(array: np.ndarray, source: str) -> RawTable:
    """Returns an array as a table.

    Arguments:
        array: The numbers, shape (rows, columns).
        source: The name of the array in messages.

    Raises:
        ValueError: If it has another shape or type.
    """
    if array.ndim != 2 or array.dtype.kind not in "fiub" or 0 in array.shape:
        raise ValueError(
            f"{source} must hold real numbers of shape (rows, columns), got {array.dtype} of "
            f"shape {array.shape}; write array.reshape(len(array), -1) of type float64"
        )
    large = [False] * array.shape[1]
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        ends = zip(array.max(0).tolist(), array.min(0).tolist(), strict=True)
        large = [high > 2**53 or low < -(2**53) for high, low in ends]
    values = array.astype(np.float64)
    columns = tuple(
        RawColumn(f"column{i}", values[:, i], integer_ids=large[i], kind="number")
        for i in range(array.shape[1])
    )
    return RawTable(source, columns, len(array), location=lambda row: f"row {row} (the first is 0)")
