"""What became of a trial, as one file that is written once."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..train.folder import append_row, read_rows

__all__ = [
    "BROKEN",
    "RUNGS",
    "Label",
    "Result",
    "Rung",
    "add_rung",
    "read_results",
    "read_rungs",
    "write_result",
]

Label = Literal[
    "finished", "nan", "exploded", "collapsed", "stalled", "crashed", "pruned", "too long"
]

BROKEN = ("nan", "exploded", "collapsed", "stalled", "crashed")
"""The labels of trials that learning itself has ended."""

RUNGS = "quality.jsonl"


@dataclass(frozen=True)
class Rung:
    """The quality of a trial on its way."""

    share: float
    update: int
    gradients: int
    quality: float


@dataclass(frozen=True)
class Result:
    """What became of a trial.

    Attributes:
        name: The name of the trial.
        label: "finished", or the verdict that ended it.
        reason: Why, in a sentence.
        update: The last update.
        updates: The updates that it was to have.
        gradients: The energy gradients that it had.
        budget: The energy gradients that it was to have.
        seconds: The time that its training took.
        beside: The time that was spent beside training: verdicts, quality, files.
        rungs: Its quality on the way.
        measures: What was measured when it had finished, and means of the last third of its log.
        worker: Who made it.
        levels: The level of each axis of its block.
        block: Its block.
        same: A digest of all that it went through: equal ones had the same training.
    """

    name: str
    label: Label
    reason: str
    update: int
    updates: int
    gradients: int
    budget: int
    seconds: float
    beside: float
    rungs: tuple[Rung, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    worker: str = ""
    block: str = ""
    levels: tuple[tuple[str, str], ...] = ()
    same: str = ""

    @property
    def quality(self) -> float:
        """The quality of a finished trial; inf of any other."""
        return self.rungs[-1].quality if self.label == "finished" and self.rungs else math.inf


def write_result(folder: Path, result: Result) -> bool:
    """Writes a result, whole, where there is none yet; returns whether there was none.

    Arguments:
        folder: The folder of the results.
        result: The result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{result.name}.{os.getpid()}"
    tree = dataclasses.asdict(result)
    with temporary.open("w") as file:
        file.write(json.dumps(tree, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, folder / f"{result.name}.json")
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def read_results(folder: Path) -> dict[str, Result]:
    """Returns the results that are there, by the name of the trial.

    Arguments:
        folder: The folder of the results.

    Raises:
        ValueError: If a file holds something else.
    """
    return {path.stem: _read(path) for path in sorted(folder.glob("[0-9a-f]*.json"))}


def read_rungs(folder: Path) -> list[Rung]:
    """Returns the rungs that a trial has reached.

    Arguments:
        folder: Its run folder.
    """
    return [Rung(**row) for row in read_rows(folder / RUNGS)]


def add_rung(folder: Path, rung: Rung) -> None:
    """Notes a rung that a trial has reached.

    Arguments:
        folder: Its run folder.
        rung: The rung.
    """
    append_row(folder / RUNGS, dataclasses.asdict(rung))


def _read(path: Path) -> Result:
    try:
        tree: dict[str, Any] = json.loads(path.read_text())
        tree["rungs"] = tuple(Rung(**rung) for rung in tree["rungs"])
        tree["levels"] = tuple((axis, level) for axis, level in tree["levels"])
        return Result(**tree)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must hold the result of a trial ({error}); delete it to make the trial again"
        ) from error
