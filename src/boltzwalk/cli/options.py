"""The application, and the options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Debug",
    "Device",
    "Folder",
    "Quiet",
    "Runs",
    "Seed",
    "Steps",
    "Trained",
    "app",
    "run_folder",
]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Train and sample energy-based models, p(x) = exp(-U(x)) / Z. "
    "(Not Explainable Boosting Machines.)",
    epilog="Begin with: boltzwalk train digits",
)

Runs = Annotated[Path, typer.Option(help="The folder that holds the run folders.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Folder = Annotated[Path, typer.Argument(help="A run folder, such as runs/digits.")]
Trained = Annotated[Path, typer.Argument(help="A run folder, or one of its checkpoints.")]
Steps = Annotated[int, typer.Option(min=0, help="Kernel steps; 0 takes those of training.")]
Seed = Annotated[int, typer.Option(help="The seed of the noise.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")]


def run_folder(folder: Path) -> Path:
    """Returns the folder of a run, also where one of its checkpoints is named."""
    return folder.parent.parent if folder.is_file() else folder
