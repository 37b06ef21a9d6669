"""Files that outlive a crash: they are there whole or not at all.

A file is written under a temporary name that is new, flushed to the disk and renamed, so a reader
finds either all of it or nothing, whenever the process is killed. Lines are appended; one that was
cut short is dropped by the next.
"""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["append_line", "flush_file", "write_atomically", "write_once"]

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a temporary file is opened: it is new, and no link to a file of somebody else."""

APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all.

    Raises:
        OSError: If the disk is full or the folder cannot be written; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _write_temporary(path, content)
    try:
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_once(path: Path, content: bytes) -> bool:
    """Writes a file where there is none yet, whole or not at all; returns whether there was none.

    Arguments:
        path: The file.
        content: Its bytes.

    Raises:
        OSError: If it cannot be written; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _write_temporary(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _write_temporary(path: Path, content: bytes) -> Path:
    """Writes the content to a new file next to a path, flushed to the disk."""
    for number in itertools.count():
        # Short, as a name may be as long as names can be.
        temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}.{number}")
        try:
            descriptor = os.open(temporary, NEW, 0o666)
        except FileExistsError:  # of a killed process of this number, or of another thread
            continue
        break
    try:
        try:
            _write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _write_all(descriptor: int, content: bytes) -> None:
    """Writes all bytes, however few the system takes at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _flush_folder(folder: Path) -> None:
    """Brings a renaming to the disk, which a file of its own does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: Path, line: str) -> None:
    """Appends a line to a file; one that a killed process left unfinished is dropped first.

    Arguments:
        path: The file; a link is not followed.
        line: The line, without its end.

    Raises:
        OSError: If the disk is full or the file cannot be written.
    """
    descriptor = os.open(path, APPEND, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.ftruncate(descriptor, path.read_bytes().rfind(b"\n") + 1)
        _write_all(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def flush_file(path: Path) -> None:
    """Brings the lines that were appended to a file to the disk, where there is such a file.

    Arguments:
        path: The file.
    """
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
