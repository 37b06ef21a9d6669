"""Arrays from .npy and .npz files, without running code: pickled objects are refused."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

__all__ = ["read_array"]

DAMAGED = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def read_array(path: Path, key: str | None) -> np.ndarray:
    """Returns the array of a .npy file, or one array of a .npz file.

    Arguments:
        path: The file.
        key: The name of the array in a .npz file; None where there is only one.

    Raises:
        ValueError: If the file is damaged, holds Python objects, or the key does not fit.
    """
    with open(path, "rb") as file:
        try:
            content = np.load(file, allow_pickle=False)
        except DAMAGED as error:
            raise _unreadable(path, error) from error
        if isinstance(content, np.ndarray):
            return content
        names = list(content)
        if key is None and len(names) == 1:
            key = names[0]
        if key is None or key not in names:
            raise ValueError(
                f"key must name one of the arrays in {path}, which are "
                f"{', '.join(names) or 'none'}, got {key!r}; write data.key=..."
            )
        try:
            return np.asarray(content[key])
        except DAMAGED as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    """Returns the error that says that a file cannot be read, and why."""
    return ValueError(
        f"{path} must be a whole .npy or .npz file of numbers, got one that cannot be read "
        f"({error}); write it anew with numpy.savez(path, x=array), where array.dtype is not object"
    )
