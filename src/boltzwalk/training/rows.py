"""Rows of numbers in JSON-lines files, each with its update and a checksum.

Damaged rows are left out wherever rows are read, with a warning that names their lines.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from ..durable import append_line, write_atomically
from ..sealed import open_object, seal_object

__all__ = ["append_row", "read_rows", "truncate_rows"]


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Appends one row with its checksum to a JSON-lines file.

    Arguments:
        path: The file; a link is not followed.
        row: The row, with at least one entry.

    Raises:
        OSError: If the disk is full or the file cannot be written.
    """
    append_line(path, seal_object(json.dumps(row), path.name))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON-lines file, without a last line that was cut short.

    Lines that are damaged are left out, with a warning that names them.

    Arguments:
        path: The file, which need not exist.
    """
    return [row for row, _ in _lines(path)]


def _lines(path: Path) -> list[tuple[dict[str, Any], bytes]]:
    """The rows that are whole, with their lines."""
    if not path.is_file():
        return []
    rows, damaged = [], []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                rows.append((_row(line, path.name), line))
            except ValueError:
                damaged.append(number)
    if damaged:
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        listed = ", ".join(map(str, damaged[:5]))
        warnings.warn(
            f"{path}, line {listed}{more} of {number}: damaged, and left out", stacklevel=3
        )
    return rows


def _row(line: bytes, name: str) -> dict[str, Any]:
    """The row in a line; a ValueError if it is damaged."""
    row = open_object(line, name)
    # Rows of older versions have no checksum; all have numbers and lists.
    if not isinstance(row.get("update"), int) or any(isinstance(v, str) for v in row.values()):
        raise ValueError("it must be a row of numbers with its update")
    return row


def truncate_rows(path: Path, update: int) -> None:
    """Drops damaged rows and those after an update, which a resumed run will write again.

    Arguments:
        path: The file, which need not exist.
        update: The update.
    """
    content = b"".join(line for row, line in _lines(path) if row["update"] <= update)
    if path.is_file() and (path.is_symlink() or content != path.read_bytes()):
        write_atomically(path, content)
