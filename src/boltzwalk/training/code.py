"""The user's code that a run needs: where it came from, its digest, and how to load it.

A run folder never contains code that runs, and loading a folder imports nothing. ``code.yaml``
keeps, for every class of the settings from outside of boltzwalk, its reference, its file and the
SHA-256 of the file.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .. import __version__, references
from ..durable import write_atomically
from ..sealed import open_text, seal_text
from ..settings.outside import MissingCodeError
from ..settings.settings import Settings
from .folder import version_of

__all__ = ["code_needed", "write_code"]

NAME = "code.yaml"


def write_code(folder: Path, settings: Settings) -> None:
    """Writes the sources of the user's classes of a run; nothing where there are none.

    Arguments:
        folder: The run folder.
        settings: The settings of the run.
    """
    entries = {entry["reference"]: entry for entry in _outside(settings)}
    if entries:
        text = seal_text(yaml.safe_dump(list(entries.values()), sort_keys=False))
        write_atomically(folder / NAME, text.encode())


@contextmanager
def code_needed(path: Path) -> Iterator[None]:
    """Explains why a run cannot be read: code that is not imported, or a newer version.

    Arguments:
        path: A run folder, or a checkpoint of one.

    Raises:
        ValueError: If code is missing, or a newer version wrote the run.
    """
    folder = path.parent.parent if path.is_file() else path
    entries = _read(folder)
    for entry in entries:
        _warn_of_changes(entry)
    try:
        yield
    except MissingCodeError as error:
        reference = error.reference
        known = next((e for e in entries if e["reference"] == reference), {})
        file = known.get("file") or "FILE.py"
        digest = f" (sha256 {known['sha256'][:12]})" if known.get("sha256") else ""
        raise ValueError(
            f"{folder} was trained with code of yours, {known.get('reference', reference)} from "
            f"{file}{digest}, and loading executes no code by itself; add --import {file} to the "
            "command, or in Python write boltzwalk.load(folder, energy=...)"
        ) from error
    except ValueError as error:
        written_by = version_of(folder)
        if _numbers(written_by) <= _numbers(__version__):
            raise
        raise ValueError(
            f"{folder} must be of boltzwalk {__version__} or older, got {written_by}; update "
            f"boltzwalk to read it ({error})"
        ) from error


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, in the order in which versions compare."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0]))


def _outside(settings: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """The entries of all classes from outside of boltzwalk within settings."""
    cls = type(settings)
    if not dataclasses.is_dataclass(cls):
        return
    reference = getattr(cls, "__reference__", "") or getattr(settings, "reference", "")
    if not reference and cls.__module__.partition(".")[0] != "boltzwalk":
        reference = references.reference(cls)
    if reference and not reference.startswith(("torch.", "boltzwalk.")):
        yield _entry(str(reference))
    for field in dataclasses.fields(cls):
        yield from _outside(getattr(settings, field.name))


def _entry(reference: str) -> dict[str, Any]:
    """The file of a reference, with its digest."""
    try:
        file = references.file_of(references.resolve(reference))
    except LookupError:
        file = None
    digest = references.digest_of(file) if file is not None and file.is_file() else None
    return {"reference": reference, "file": str(file) if file else None, "sha256": digest}


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / NAME
    if not path.is_file():
        return []
    try:
        entries = yaml.safe_load(open_text(path.read_bytes())) or []
        return [
            {"file": None, "sha256": None} | dict(entry, reference=str(entry["reference"]))
            for entry in entries
        ]
    except (LookupError, RecursionError, TypeError, ValueError, yaml.YAMLError) as error:
        warnings.warn(
            f"{path} is damaged ({error}): whether your code has changed is not known", stacklevel=4
        )
        return []


def _warn_of_changes(entry: dict[str, Any]) -> None:
    """Warns where the code that is imported now is not the code of the run."""
    try:
        file = references.file_of(references.resolve(entry["reference"]))
    except LookupError:
        return
    if file is None or not entry["sha256"] or not file.is_file():
        return
    digest = references.digest_of(file)
    if digest != entry["sha256"]:
        warnings.warn(
            f"{file} has changed since the run was trained (sha256 {digest[:12]}, then "
            f"{entry['sha256'][:12]}); numbers may be those of other code",
            stacklevel=4,
        )
