"""The folder of a study: its specification, the claims of workers, and one result for each trial.

::

    studies/NAME/
      study.yaml        the specification; `boltzwalk study` reads it back
      analysis.json     path and digest of the study's own analysis, where it has one
      trials/HASH/      one ordinary run each
      claims/           the claims of workers
      proposed/         the points that a sampler has proposed, by number
      results/HASH.json the result of a trial, written once
      journal.log       the state of the sampler, where there is one
      report.html, *.csv

Workers share the folder, with no server and no locks. The claim of a trial is a file NAME.1, which
exactly one process can create and touches while it lives. A claim without a living owner is stale,
and the process that creates NAME.2 takes over; the owner of NAME.1, if it only slept, notices and
stops. An owner on the same machine is looked up by its process number; one on another machine is
dead after two minutes without a touch. Times are those of the folder, not of any machine.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..checkpoint import write_atomically
from .spec import BASELINE, Study, study_differences, study_from_yaml, study_to_yaml

__all__ = [
    "FAILED_LABELS",
    "AnalysisRecord",
    "Claim",
    "ResultLabel",
    "Rung",
    "TrialResult",
    "acquire_claim",
    "claim_status",
    "claims_folder",
    "exhausted",
    "finished_names",
    "heartbeat",
    "open_study",
    "prepare_folder",
    "read_analysis_record",
    "read_results",
    "results_folder",
    "trial_folder",
    "write_result",
]

HEARTBEAT, TIMEOUT = 10.0, 120.0
"""Seconds between two touches of a claim, and without one until it is stale."""

MAX_ATTEMPTS = 4
"""Workers that may crash before a trial is given up: its next worker would crash as well."""

ResultLabel = Literal[
    "finished", "nan", "exploded", "collapsed", "stalled", "crashed", "pruned", "too long"
]

FAILED_LABELS = ("nan", "exploded", "collapsed", "stalled", "crashed")
"""The labels of trials whose training failed."""

RENAMED_KEYS = {"beside": "overhead_seconds", "same": "history_digest"}
"""Keys of results that an earlier version wrote."""

RENAMED_LEVELS = {"as it is": BASELINE.name}
"""Levels of results that an earlier version wrote."""


class AnalysisRecord(NamedTuple):
    """The path and the digest of the analysis of a study."""

    path: str
    sha256: str


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


class Claim:
    """A claim of this process on a trial.

    Attributes:
        path: The file of the claim.
        number: The number of the attempt: 1 for the first owner.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.number = path, number

    @property
    def lost(self) -> bool:
        """Whether another process has taken over."""
        following = self.path.with_name(f"{self.path.stem}.{self.number + 1}")
        return following.exists() or not self.path.exists()

    def release(self) -> None:
        """Releases the trial, so that any worker may claim it."""
        self.path.unlink(missing_ok=True)


def claims_folder(folder: Path) -> Path:
    """Returns the folder of the claims of a study."""
    return folder / "claims"


def results_folder(folder: Path) -> Path:
    """Returns the folder of the results of a study."""
    return folder / "results"


def trial_folder(folder: Path, name: str) -> Path:
    """Returns the run folder of a trial."""
    return folder / "trials" / name


def prepare_folder(folder: Path, study: Study, analysis: AnalysisRecord | None = None) -> None:
    """Makes the folder of a study, or checks that the existing one belongs to the same study.

    Arguments:
        folder: The folder.
        study: The study.
        analysis: The path and digest of its own analysis.

    Raises:
        ValueError: If it holds another study, or other files.
    """
    path = folder / "study.yaml"
    if path.exists():
        changes = study_differences(study_from_yaml(path.read_text(), source=path), study)
        if changes:
            raise ValueError(
                f"{folder} holds another study ({'; '.join(changes[:4])}); take another folder "
                "with --name"
            )
    elif folder.is_dir() and any(p for p in folder.iterdir() if not p.name.startswith(".")):
        raise ValueError(f"{folder} must be empty or hold a study; take another with --name")
    else:
        write_atomically(path, study_to_yaml(study).encode())
    if analysis:
        text = json.dumps(analysis._asdict(), indent=1) + "\n"
        write_atomically(folder / "analysis.json", text.encode())


def read_analysis_record(folder: Path) -> AnalysisRecord | None:
    """Returns the path and digest of the analysis of a study; None where it has none.

    Arguments:
        folder: The folder of the study.

    Raises:
        ValueError: If the file of the record is damaged.
    """
    path = folder / "analysis.json"
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text())
        return AnalysisRecord(str(tree["path"]), str(tree["sha256"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must hold the path and the sha256 of an analysis, got {error}; delete it"
        ) from error


def open_study(folder: Path) -> Study:
    """Returns the study of a folder.

    Raises:
        FileNotFoundError: If it holds no study.
    """
    path = folder / "study.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"a study folder must hold study.yaml, got none in {folder}; `boltzwalk study "
            "FILE.yaml` makes a study folder"
        )
    return study_from_yaml(path.read_text(), source=path)


def acquire_claim(folder: Path, name: str) -> Claim | None:
    """Claims a trial; returns None where a living process has it, or it is given up.

    Arguments:
        folder: The folder of the claims, shared by all workers.
        name: The name of the trial, without a dot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last, alive = claim_status(folder, name)
    if alive or last >= MAX_ATTEMPTS:
        return None
    path = folder / f"{name}.{last + 1}"
    owner = json.dumps({"machine": _machine(), "process": os.getpid()})
    # Linked into place: a file that exists but is empty would look like the claim of nobody.
    temporary = folder / f".{name}.{os.getpid()}.{threading.get_ident()}"
    temporary.write_text(owner + "\n")
    try:
        os.link(temporary, path)
    except FileExistsError:
        return None
    finally:
        temporary.unlink()
    return Claim(path, last + 1)


def claim_status(folder: Path, name: str) -> tuple[int, bool]:
    """Returns the number of attempts at a trial, and whether the owner of the last one lives.

    Arguments:
        folder: The folder of the claims.
        name: The name of the trial.
    """
    suffixes = (path.suffix for path in folder.glob(f"{name}.*"))
    last = max((int(s[1:]) for s in suffixes if re.fullmatch(r"\.\d+", s)), default=0)
    return last, bool(last) and _is_alive(folder / f"{name}.{last}")


def exhausted(folder: Path, name: str) -> bool:
    """Returns whether every worker that claimed a trial crashed, as often as is allowed.

    Arguments:
        folder: The folder of the claims.
        name: The name of the trial.
    """
    last, alive = claim_status(folder, name)
    return last >= MAX_ATTEMPTS and not alive


@contextmanager
def heartbeat(claim: Claim) -> Iterator[None]:
    """Touches a claim every few seconds, from its own thread."""
    done = threading.Event()

    def touch() -> None:
        while not done.wait(HEARTBEAT):
            try:
                os.utime(claim.path)
            except OSError:  # released, or the folder is away for a moment
                continue

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def write_result(folder: Path, result: TrialResult) -> bool:
    """Writes a result atomically where there is none yet; returns whether there was none.

    Arguments:
        folder: The folder of the results.
        result: The result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{result.name}.{os.getpid()}"
    with temporary.open("w") as file:
        file.write(json.dumps(dataclasses.asdict(result), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, folder / f"{result.name}.json")
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def read_results(folder: Path) -> dict[str, TrialResult]:
    """Returns the results of a folder by the name of the trial.

    Arguments:
        folder: The folder of the results.

    Raises:
        ValueError: If a file holds no result.
    """
    return {path.stem: _read_result(path) for path in sorted(folder.glob("[0-9a-f]*.json"))}


def finished_names(folder: Path) -> set[str]:
    """Returns the names of the trials that have a result, without reading these."""
    return {path.stem for path in folder.glob("[0-9a-f]*.json")}


def _read_result(path: Path) -> TrialResult:
    try:
        tree: dict[str, Any] = json.loads(path.read_text())
        tree = {RENAMED_KEYS.get(key, key): value for key, value in tree.items()}
        tree["rungs"] = tuple(Rung(**rung) for rung in tree["rungs"])
        tree["levels"] = tuple((a, RENAMED_LEVELS.get(b, b)) for a, b in tree["levels"])
        return TrialResult(**tree)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} must hold the result of a trial ({error}); delete it to make the trial again"
        ) from error


def _is_alive(path: Path) -> bool:
    """Whether the owner of a claim lives."""
    try:
        owner, touched = json.loads(path.read_text()), path.stat().st_mtime
    except FileNotFoundError:  # released just now
        return False
    if owner["machine"] == _machine():
        if owner["process"] == os.getpid():
            return True
        try:
            os.kill(owner["process"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
    return _folder_time(path.parent) - touched < TIMEOUT


def _folder_time(folder: Path) -> float:
    """The time by the clock of the folder, which may be that of a server."""
    path = folder / f".now.{platform.node()}.{os.getpid()}"
    path.touch()
    os.utime(path)
    now = path.stat().st_mtime
    path.unlink(missing_ok=True)
    return now


def _machine() -> str:
    """The name of the machine, and of the namespace of its process numbers."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{platform.node()} {namespace}".strip()
