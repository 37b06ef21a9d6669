"""The application, the options that commands share, and errors as one message with an exit code."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .arguments import integer

__all__ = [
    "FAILED_RUN",
    "INTERRUPTED",
    "Debug",
    "Device",
    "Folder",
    "Imports",
    "Quiet",
    "Runs",
    "Seed",
    "Steps",
    "Trained",
    "app",
    "echo",
    "errors",
    "import_code",
    "import_named",
    "run_folder",
]


INTERRUPTED = 130
"""The exit code of a process that was stopped by Ctrl-C."""


FAILED_RUN = 3
"""The exit code of a training that gave no model: it is nan, exploded or collapsed."""


@contextmanager
def errors(debug: bool) -> Iterator[None]:
    """Turns user errors into one message and an exit code.

    Arguments:
        debug: Whether to raise them with their traceback instead.
    """
    try:
        with _notes():
            yield
    except (ValueError, OSError, ArithmeticError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError):  # such as of `boltzwalk recipes | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit from error
        code = FAILED_RUN if isinstance(error, FloatingPointError) else 2
        if debug or (code != FAILED_RUN and not _is_user_error(error)):
            raise
        _fail(_message(error), code)
    except KeyboardInterrupt:
        _fail("interrupted; the last checkpoint is kept", INTERRUPTED)


@contextmanager
def _notes() -> Iterator[None]:
    """Prints the log of the package, such as how a file was read."""
    handler, log = logging.StreamHandler(sys.stderr), logging.getLogger("boltzwalk")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _is_user_error(error: Exception) -> bool:
    """Whether a user can mend an error; PyTorch raises RuntimeError where memory is exhausted."""
    return isinstance(error, ValueError | OSError) or _out_of_memory(error)


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def _message(error: Exception) -> str:
    """One message: the problem, its place, and the remedy."""
    if _out_of_memory(error):
        return (
            "the memory is not enough; take a smaller batch, fewer walkers or a narrower network "
            f"({str(error).splitlines()[0][:120]})"
        )
    if isinstance(error, OSError) and error.strerror:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        where = f": {error.filename}" if error.filename else ""
        remedy = (
            "; nothing that was saved is lost, make room and give the same command" if full else ""
        )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "; name a place that you can write to: --out FILE, or --runs FOLDER for train"
        return f"{error.strerror}{where}{remedy}"
    return str(error)


def _fail(message: str, code: int) -> NoReturn:
    echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def echo(text: object = "", err: bool = False, nl: bool = True) -> None:
    """Prints a text in which names of files and columns may move no cursor and change no colour.

    Arguments:
        text: The text.
        err: Whether it goes to the stream of errors.
        nl: Whether a line ends after it.
    """
    plain = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in str(text))
    typer.echo(plain, err=err, nl=nl)


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Train and sample energy-based models, p(x) = exp(-U(x)) / Z. "
    "(Not Explainable Boosting Machines.)",
    epilog="Begin with: boltzwalk train digits",
)

Imports = Annotated[
    list[Path] | None,
    typer.Option(
        "--import",
        metavar="FILE.py",
        help="Python files with your classes; their code is executed. Can be repeated.",
    ),
]
Runs = Annotated[Path, typer.Option(help="The folder of the run folders.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result without progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Folder = Annotated[Path, typer.Argument(help="A run folder, such as runs/digits.")]
Trained = Annotated[Path, typer.Argument(help="A run folder, or one of its checkpoints.")]
Steps = Annotated[
    int,
    typer.Option(
        parser=integer(0), metavar="INTEGER", help="Kernel steps; 0 takes those of training."
    ),
]
Seed = Annotated[
    int, typer.Option(parser=integer(), metavar="INTEGER", help="The seed of the noise.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")]
QuoteFormulas = Annotated[
    bool,
    typer.Option(
        "--quote-formulas",
        help="CSV files: write an apostrophe before text that a spreadsheet takes for a formula.",
    ),
]


def import_code(files: Sequence[Path] | None) -> None:
    """Imports a user's Python files, which a run may need.

    Arguments:
        files: The files; None for none.

    Raises:
        ValueError: If there is no such file, or it cannot be imported.
    """
    from ..references import import_file

    for file in files or ():
        import_file(file)


def import_named(words: Sequence[str]) -> None:
    """Imports the Python files that a command names, such as ``energy=my_models.py:MyNet``.

    Arguments:
        words: The recipe and the assignments of a command.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    values = (word.rpartition("=")[2] for word in words)
    import_code([Path(v.rpartition(":")[0]) for v in values if ".py:" in v])


def run_folder(folder: Path) -> Path:
    """Returns the folder of a run, also where one of its checkpoints is named."""
    return folder.parent.parent if folder.is_file() else folder
