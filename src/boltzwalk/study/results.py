"""Results of trials, each a JSON file that is written once, and which of them are damaged."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ..durable import write_once
from ..sealed import open_object, seal_object
from .spec import BASELINE

__all__ = [
    "FAILED_LABELS",
    "ResultFolder",
    "ResultLabel",
    "Rung",
    "TrialResult",
    "finished_names",
    "read_result_folder",
    "read_results",
    "write_result",
]

ResultLabel = Literal[
    "finished", "nan", "exploded", "collapsed", "stalled", "crashed", "pruned", "too long"
]

FAILED_LABELS = ("nan", "exploded", "collapsed", "stalled", "crashed")
"""The labels of trials whose training failed."""

RENAMED_KEYS = {"beside": "overhead_seconds", "same": "history_digest"}
"""Keys of results that an earlier version wrote."""

RENAMED_LEVELS = {"as it is": BASELINE.name}
"""Levels of results that an earlier version wrote."""


@dataclass(frozen=True)
class Rung:
    """The quality of a trial at a share of its updates."""

    share: float
    update: int
    gradients: int
    quality: float


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        name: The name of the trial.
        label: "finished", or the verdict that ended it.
        reason: The reason, in a sentence.
        update: The last update.
        updates: The planned updates.
        gradients: The energy gradients up to the last update.
        budget: The planned energy gradients.
        seconds: The seconds of its training.
        overhead_seconds: The seconds of all else: verdicts, quality, files.
        rungs: Its quality at each rung.
        measures: Measures of a finished trial, and means over the last third of its log.
        worker: The machine and process that ended it.
        block: Its block.
        levels: The level of each axis of its block.
        history_digest: A digest of its training history: equal ones had the same training.
    """

    name: str
    label: ResultLabel
    reason: str
    update: int
    updates: int
    gradients: int
    budget: int
    seconds: float
    overhead_seconds: float
    rungs: tuple[Rung, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    worker: str = ""
    block: str = ""
    levels: tuple[tuple[str, str], ...] = ()
    history_digest: str = ""

    @property
    def quality(self) -> float:
        """The quality of a finished trial; inf of any other."""
        return self.rungs[-1].quality if self.label == "finished" and self.rungs else math.inf


class ResultFolder(NamedTuple):
    """The results of a folder.

    Attributes:
        results: The results by the name of the trial.
        damaged: The reason by the name of each file that holds no result.
    """

    results: dict[str, TrialResult]
    damaged: dict[str, str]


def write_result(folder: Path, result: TrialResult) -> bool:
    """Writes a result atomically where there is none yet; returns whether there was none.

    Arguments:
        folder: The folder of the results.
        result: The result.
    """
    text = seal_object(json.dumps(dataclasses.asdict(result), indent=1)) + "\n"
    return write_once(folder / f"{result.name}.json", text.encode())


def read_results(folder: Path) -> dict[str, TrialResult]:
    """Returns the results of a folder by the name of the trial, without damaged ones.

    Arguments:
        folder: The folder of the results.
    """
    return read_result_folder(folder).results


def read_result_folder(folder: Path) -> ResultFolder:
    """Returns the results of a folder, and the damaged files with the reason.

    Arguments:
        folder: The folder of the results.
    """
    content = ResultFolder({}, {})
    for path in sorted(folder.glob("[0-9a-f]*.json")):
        try:
            content.results[path.stem] = _read_result(path)
        except (OSError, ValueError) as error:
            content.damaged[path.name] = str(error)
    return content


def finished_names(folder: Path) -> set[str]:
    """Returns the names of the trials that have a result, without reading these."""
    return {path.stem for path in folder.glob("[0-9a-f]*.json")}


def _read_result(path: Path) -> TrialResult:
    """The result in a file; a ValueError gives the reason where it holds none."""
    try:
        tree: dict[str, Any] = open_object(path.read_bytes())
        tree = {RENAMED_KEYS.get(key, key): value for key, value in tree.items()}
        tree["rungs"] = tuple(Rung(**rung) for rung in tree["rungs"])
        tree["levels"] = tuple((a, RENAMED_LEVELS.get(b, b)) for a, b in tree["levels"])
        result = TrialResult(**tree)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"it holds no result of a trial ({error!r})") from error
    numbers = [
        *(result.update, result.updates, result.gradients, result.budget),
        *(result.seconds, result.overhead_seconds, *result.measures.values()),
        *(value for rung in result.rungs for value in dataclasses.astuple(rung)),
    ]
    texts = result.reason, result.block, result.worker, result.history_digest
    if result.name != path.stem or result.label not in get_args(ResultLabel):
        raise ValueError(f"it is of trial {result.name!r} with the label {result.label!r}")
    if not all(isinstance(n, int | float | None) for n in numbers):
        raise ValueError("it has text in the place of a number")
    if not all(isinstance(t, str) for t in (*texts, *(v for pair in result.levels for v in pair))):
        raise ValueError("it has a number in the place of text")
    return result
