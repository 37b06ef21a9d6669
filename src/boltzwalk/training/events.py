"""The log as events of TensorBoard, where it is installed. No event costs a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["event_writer"]

ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError),
)
"""The errors by which events may fail: a full disk, a folder in the way, other versions."""


@contextmanager
def event_writer(folder: Path, update: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Gives a function that writes a row of the log as events; it warns once where that fails.

    Arguments:
        folder: The run folder.
        update: The update after which events of an earlier process are dropped.
    """
    writer: Any = None  # SummaryWriter, whose module is imported here only
    try:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(folder / "tensorboard"), purge_step=update + 1)
    except ModuleNotFoundError:  # not installed
        writer = None
    except ERRORS as error:
        _warn(error)

    def write(row: Mapping[str, float]) -> None:
        nonlocal writer
        try:
            for key, value in row.items() if writer is not None else ():
                writer.add_scalar(key, value, int(row["update"]))
        except ERRORS as error:
            writer = None
            _warn(error)

    try:
        yield write
    finally:
        try:
            if writer is not None:
                writer.close()
        except ERRORS as error:
            _warn(error)


def _warn(error: Exception) -> None:
    warnings.warn(
        f"no more events for TensorBoard ({type(error).__name__}: {error}); the run goes on",
        stacklevel=3,
    )
