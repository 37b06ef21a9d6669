"""Frames of pandas, Parquet files and workbooks as tables.

pandas is imported for files alone: a frame is told by its members.
"""

from __future__ import annotations

import datetime
import importlib.util
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .dialect import FieldParser, header_doubt
from .file_kinds import kind_of_file, unpacked_limit
from .raw_table import RawColumn, RawTable, ReadingOptions

__all__ = [
    "FRAME_SUFFIXES",
    "is_frame",
    "read_frame",
    "read_frame_file",
    "require_numbers",
]

FRAME_SUFFIXES = (".parquet", ".xlsx", ".xlsm")
"""The endings of files that pandas reads."""

EXAMPLES = 1000
EXPANSION = 10
"""The memory that a workbook takes, in bytes for each of its text."""
SAFE = 2**53
"""The whole numbers that float64 can tell apart."""


def is_frame(source: object) -> bool:
    """Returns whether an object is a frame: of pandas, or one that becomes a frame of pandas.

    Arguments:
        source: Any object.
    """
    return hasattr(source, "to_pandas") or (
        hasattr(source, "columns") and hasattr(source, "to_numpy")
    )


def read_frame(frame: Any, source: str, keep: bool = True) -> RawTable:  # noqa: ANN401
    """Returns a frame as a table.

    Arguments:
        frame: A frame of pandas, or an object with `to_pandas`.
        source: The name of the frame in messages.
        keep: Whether the fields of text are returned as well.

    Raises:
        ValueError: If it has no rows.
    """
    frame = frame.to_pandas() if hasattr(frame, "to_pandas") else frame
    if len(frame) == 0:
        raise ValueError(f"{source} must have at least one row, got none")
    names = tuple(str(name) for name in frame.columns)
    columns = tuple(_column(name, frame.iloc[:, j], keep) for j, name in enumerate(names))
    repeated = sorted({name for i, name in enumerate(names) if name in names[:i]})
    problems = []
    if repeated:
        problems.append(
            f"columns must have different names, got {', '.join(map(repr, repeated))} more than "
            "once; rename them"
        )
    return RawTable(source, columns, len(frame), problems=tuple(problems))


def require_numbers(rows: object, gaps: bool = False) -> None:
    """Raises where a frame has text, dates or missing values; other rows are not looked at.

    Arguments:
        rows: Rows, of which a frame is checked.
        gaps: Whether values may be missing.

    Raises:
        ValueError: With every problem of the frame.
    """
    if not is_frame(rows) or len(rows) == 0:  # type: ignore[arg-type]
        return
    table = read_frame(rows, "X", keep=False)
    texts = [column.name for column in table.columns if column.texts or column.kind == "date"]
    missing = {c.name: int(np.isnan(c.numbers).sum()) for c in table.columns if c.name not in texts}
    missing = {name: count for name, count in missing.items() if count}
    problems = []
    if texts:
        problems.append(
            f"every column must hold numbers, got text or dates in {', '.join(texts)}; write "
            f"X.drop(columns={texts}), or pandas.get_dummies(X) for categories"
        )
    if missing and not gaps:
        counts = ", ".join(f"{name} {count:,}" for name, count in missing.items())
        problems.append(
            f"no value must be missing, got {counts}; write X.dropna(), or fill them in with "
            "boltzwalk.EnergyImputer"
        )
    if problems:
        raise ValueError(f"X: {'; '.join(problems)}")


def _column(name: str, series: Any, keep: bool) -> RawColumn:  # noqa: ANN401
    """A column of a frame."""
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iuf":
        if kind != "f" and bool((series.dropna().abs() > SAFE).any()):
            return RawColumn(name, series.astype(float).to_numpy(dtype=float), integer_ids=True)
        return RawColumn(name, _floats(series), kind="number")
    if kind == "b":
        numbers = _floats(series)
        texts = ["" if np.isnan(v) else str(bool(v)) for v in numbers]
        return RawColumn(name, numbers, fields=texts, kind="boolean")
    if kind == "M":
        moments = series.dt.tz_convert("UTC").dt.tz_localize(None) if series.dt.tz else series
        days = moments.to_numpy().astype("datetime64[us]")
        numbers = (days - np.datetime64("1970-01-01", "us")) / np.timedelta64(1, "D")
        return RawColumn(name, np.where(np.isnat(days), np.nan, numbers), kind="date")
    return _objects(name, series.astype(object).tolist(), series.isna().tolist(), keep)


def _floats(series: Any) -> np.ndarray:  # noqa: ANN401
    """A column of numbers, nan where missing."""
    values: np.ndarray = series.to_numpy(dtype=float, na_value=np.nan)
    return values


def _objects(name: str, values: list[Any], missing: Sequence[bool], keep: bool) -> RawColumn:
    """A column of Python objects: numbers, text, dates."""
    parser = FieldParser()
    numbers, texts = np.full(len(values), np.nan), 0
    examples: list[tuple[int, str]] = []
    fields: list[str] = []
    for i, (value, is_missing) in enumerate(zip(values, missing, strict=True)):
        text = "" if is_missing else _text(value)
        fields.append(text)
        if parser.is_missing(text):
            continue
        number = None if isinstance(value, bool) else parser.number(text)
        if number is None:
            texts += 1
            if len(examples) < EXAMPLES:
                examples.append((i, text))
        else:
            numbers[i] = number
    return RawColumn(name, numbers, texts, examples, fields if keep else None)


def _text(value: object) -> str:
    """An object as the field of a text table."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def read_frame_file(path: Path, options: ReadingOptions, keep: bool = True) -> RawTable:
    """Reads a Parquet file or a workbook.

    Arguments:
        path: The file.
        options: How it is read; sheet and header serve a workbook.
        keep: Whether the fields of text are returned as well.

    Raises:
        ValueError: If pandas or its reader is not installed, or the file is damaged or empty.
    """
    engine = "pyarrow" if path.suffix == ".parquet" else "openpyxl"
    absent = [name for name in ("pandas", engine) if importlib.util.find_spec(name) is None]
    if absent:
        raise ValueError(
            f"{path} needs {' and '.join(absent)} to be read; write "
            "pip install 'boltzwalk[tables]', or save the table as .csv"
        )
    with open(path, "rb") as file:
        start = file.read(4096)
    expected = b"PAR1" if engine == "pyarrow" else b"PK\x03\x04"
    if not start.startswith(expected):
        kind = kind_of_file(start) or "text; give it the suffix .csv" if start else "an empty file"
        raise ValueError(f"{path} must be a {_kind(path)}, got {kind}")
    if engine == "pyarrow":
        return read_frame(_parquet(path, options.unpacked_gb), str(path), keep)
    return _workbook(path, options, keep)


def _kind(path: Path) -> str:
    return "Parquet file" if path.suffix == ".parquet" else "workbook of Excel"


def _parquet(path: Path, unpacked_gb: float) -> Any:  # noqa: ANN401
    """The frame of a Parquet file."""
    import pandas
    import pyarrow
    import pyarrow.parquet

    try:
        stated = pyarrow.parquet.read_metadata(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from error
    unpacked_limit(path, 8 * stated.num_rows * stated.num_columns, unpacked_gb)
    try:
        return pandas.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from error


DAMAGE = (
    *(AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError),
    *(ValueError, zipfile.BadZipFile, zlib.error),
)
"""The errors of a damaged workbook."""


def _require_small(path: Path, unpacked_gb: float) -> None:
    """Raises where a workbook unpacks to more than the limit."""
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
    except DAMAGE as error:
        raise _damaged(path, error) from error
    unpacked_limit(path, EXPANSION * size, unpacked_gb)


def _workbook(path: Path, options: ReadingOptions, keep: bool) -> RawTable:
    """One sheet of a workbook."""
    import pandas

    _require_small(path, options.unpacked_gb)
    try:
        sheets = pandas.read_excel(path, sheet_name=None, header=None, engine="openpyxl")
    except DAMAGE as error:
        raise _damaged(path, error) from error
    sheet = next(iter(sheets), "") if options.sheet is None else options.sheet
    if sheet not in sheets:
        raise ValueError(
            f"sheet must name one of {', '.join(sheets)} in {path}, got {sheet!r}; write "
            f"data.sheet={next(iter(sheets), '')}"
        )
    frame = sheets[sheet].dropna(how="all")
    frame = frame.dropna(how="all", axis=1)
    if frame.empty:
        raise ValueError(f"sheet {sheet!r} of {path} must have at least one row, got none")
    cells = [["" if m else _text(v) for v, m in zip(row, gap, strict=True)]
             for row, gap in zip(frame.head(1000).astype(object).to_numpy(),
                                 frame.head(1000).isna().to_numpy(), strict=True)]  # fmt: skip
    header, doubt = options.header, ""
    if header is None:
        header, doubt = header_doubt(cells[0], cells[1:], FieldParser())
        header = header or bool(doubt)
    names = [name.strip() for name in cells[0]] if header else [""] * len(cells[0])
    body = frame.iloc[int(header) :].reset_index(drop=True).infer_objects()
    body.columns = [name or f"column{j}" for j, name in enumerate(names)]
    table = read_frame(body, str(path), keep)
    problems = list(table.problems)
    if doubt:
        problems.append(
            f"the first line may name the columns or be a row: {doubt}; write data.header=true or "
            "data.header=false"
        )
    notes = (f"sheet {sheet}",) if len(sheets) > 1 else ()
    first = int(header) + 1
    return RawTable(
        str(path),
        table.columns,
        table.rows,
        header,
        notes=notes,
        problems=tuple(problems),
        location=lambda row: f"line {row + first}",
    )


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(
        f"{path} must be a complete {_kind(path)}, got one that cannot be read ({reason}); write "
        "it anew, or save the table as .csv"
    )
