"""Errors as a user meets them: one message that says what to do, and an exit code."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

__all__ = ["INTERRUPTED", "errors"]

INTERRUPTED = 130
"""The exit code of a run that was stopped by Ctrl-C, as shells have it."""


@contextmanager
def errors(debug: bool) -> Iterator[None]:
    """Turns the errors that users can mend into one message and an exit code.

    Arguments:
        debug: Whether to let them through, with their traceback.
    """
    try:
        yield
    except (ValueError, OSError, ArithmeticError, RuntimeError) as error:
        code = 3 if isinstance(error, FloatingPointError) else 2
        if debug or (code == 2 and not _can_be_mended(error)):
            raise
        _fail(_words(error), code)
    except KeyboardInterrupt:
        _fail("interrupted; what was saved last is kept", INTERRUPTED)


def _can_be_mended(error: Exception) -> bool:
    """Whether an error is the user's to mend; memory is the one that PyTorch calls RuntimeError."""
    return isinstance(error, ValueError | OSError) or _out_of_memory(error)


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def _words(error: Exception) -> str:
    """One message: what went wrong, where, and what to do."""
    if _out_of_memory(error):
        return (
            "the memory is not enough; take a smaller batch, fewer walkers or a narrower network "
            f"({str(error).splitlines()[0][:120]})"
        )
    if isinstance(error, OSError) and error.strerror:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        where = f": {error.filename}" if error.filename else ""
        cure = (
            "; nothing that was saved is lost, make room and give the same command" if full else ""
        )
        return f"{error.strerror}{where}{cure}"
    return str(error)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
