"""The command line: every command ends with the paths of its results.

Nothing heavy is imported before a command runs, so that `boltzwalk --help` answers at once.
"""

import warnings

from .errors import app

# isort: off
from . import train, study, use, judge  # noqa: F401 (the order of the commands in --help)
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Runs the command line."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    app()
