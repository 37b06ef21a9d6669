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

import json
import os
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..durable import write_atomically, write_once
from .spec import Study, study_differences, study_to_yaml
from .spec_file import read_study

__all__ = [
    "AnalysisRecord",
    "Claim",
    "acquire_claim",
    "claim_status",
    "claims_folder",
    "exhausted",
    "heartbeat",
    "open_study",
    "prepare_folder",
    "read_analysis_record",
    "results_folder",
    "trial_folder",
]

HEARTBEAT, TIMEOUT = 10.0, 120.0
"""Seconds between two touches of a claim, and without one until it is stale."""

MAX_ATTEMPTS = 4
"""Workers that may crash before a trial is given up: its next worker would crash as well."""


class AnalysisRecord(NamedTuple):
    """The path and the digest of the analysis of a study."""

    path: str
    sha256: str


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
        changes = study_differences(read_study(path), study)
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
    return read_study(path)


def acquire_claim(folder: Path, name: str) -> Claim | None:
    """Claims a trial; returns None where a living process has it, or it is given up.

    Arguments:
        folder: The folder of the claims, shared by all workers.
        name: The name of the trial, without a dot.
    """
    last, alive = claim_status(folder, name)
    if alive or last >= MAX_ATTEMPTS:
        return None
    path = folder / f"{name}.{last + 1}"
    owner = json.dumps({"machine": _machine(), "process": os.getpid()})
    # Linked into place: a file that exists but is empty would look like the claim of nobody.
    return Claim(path, last + 1) if write_once(path, f"{owner}\n".encode()) else None


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


def _is_alive(path: Path) -> bool:
    """Whether the owner of a claim lives."""
    try:
        touched, owner = path.stat().st_mtime, json.loads(path.read_text())
        machine, process = str(owner["machine"]), int(owner["process"])
    except FileNotFoundError:  # released just now
        return False
    except (LookupError, TypeError, ValueError):  # damaged: its time alone tells
        machine, process = "", 0
    if machine == _machine() and process > 0:
        if process == os.getpid():
            return True
        try:
            os.kill(process, 0)
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
