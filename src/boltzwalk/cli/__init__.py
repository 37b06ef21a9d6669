"""The command line: every command ends with the paths of its results.

Nothing heavy is imported before a command runs, so that `boltzwalk --help` answers at once.
"""

import codecs
import sys
import warnings

from .errors import app

# isort: off
from . import train, study, use, judge  # noqa: F401 (the order of the commands in --help)
# isort: on

__all__ = ["app", "main"]


PLAIN = {"±": "+-", "×": "x", "−": "-", "–": "-", "→": "->", "≤": "<=", "≥": ">=", "…": "..."}
"""Signs that a terminal may not have, and letters for them."""


def main() -> None:
    """Runs the command line."""
    codecs.register_error("boltzwalk", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="boltzwalk")
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    app()


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Writes signs that a terminal has not by letters, and others by their numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(PLAIN.get(c, ascii(c)[1:-1]) for c in signs), error.end
