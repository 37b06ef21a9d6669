"""The files and the printed lines of an evaluation.

Each section has a file under ``evaluation/`` in the run folder, with a key: the digest of the
model, the settings of the section, the version. A section is computed anew where its key changes.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..durable import write_atomically
from ..sealed import open_object, seal_object
from .measure import EvaluationSection, Measure, from_json, to_json

__all__ = ["format_lines", "load_or_compute", "read_section", "write_evaluation"]


def load_or_compute(
    path: Path, key: dict[str, Any], make: Callable[[], EvaluationSection]
) -> EvaluationSection:
    """Returns the section in a file if its key matches; else computes and writes it.

    Arguments:
        path: The JSON file.
        key: Everything that the section depends on, as JSON values.
        make: Computes the section.

    Raises:
        OSError: If the file cannot be written.
    """
    section = read_section(path, key)
    if section is None:
        began = time.monotonic()
        section = make()
        seconds = round(time.monotonic() - began, 2)
        tree = {"key": key, "seconds": seconds, **to_json(section._asdict())}
        write_atomically(path, (seal_object(json.dumps(tree), path.name) + "\n").encode())
        section = from_json(to_json(section._asdict()))  # equal whether computed or read
    return section


def read_section(path: Path, key: dict[str, Any]) -> EvaluationSection | None:
    """Returns the section in a file; None where there is none, or it is damaged or outdated.

    Arguments:
        path: The JSON file.
        key: The entries that the key of the file must have; it may have more.
    """
    if not path.is_file():
        return None
    try:
        tree = open_object(path.read_bytes(), path.name)
    except ValueError as error:
        warnings.warn(
            f"{path} is damaged and left out ({error}); `boltzwalk evaluate` computes it again",
            stacklevel=2,
        )
        return None
    try:
        stored = tree["key"]
        if any(stored.get(name) != value for name, value in key.items()):
            return None
        return from_json(tree)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # of another version: it is computed anew


def format_lines(section: EvaluationSection) -> list[str]:
    """Returns a section as lines: numbers with interval and protocol, or the reason for none.

    Arguments:
        section: The section.

    Example:
        >>> format_lines(EvaluationSection([Measure("recall", 0.91, 0.9, 0.92, floor=0.95)], {}))
        ['recall                0.910 ± 0.010         training data have 0.95']
    """
    rows = [(m.name, m.text, m.meaning) for m in section.measures]
    rows += [
        (f"mass of {name}", *_mass(row)) for name, row in section.details.get("classes", {}).items()
    ]
    rows += section.details.get("findings", [])
    if section.label:
        rows.append(("verdict", section.label, section.reason))
    width = max([20, *(len(name) for name, _, _ in rows)])
    return [f"{name:<{width}}  {text:<21} {meaning}".rstrip() for name, text, meaning in rows]


def _mass(row: Mapping[str, float]) -> tuple[str, str]:
    measure = Measure("", row["share"], row["low"], row["high"])
    return measure.text, f"the data have {row['data']:.3g}"


def write_evaluation(
    sections: Mapping[str, EvaluationSection], path: Path, protocol: dict[str, Any]
) -> None:
    """Writes all numbers of an evaluation to a JSON file; refused ones are null.

    Arguments:
        sections: The sections by name.
        path: The file.
        protocol: The update, the seed and the effort of the evaluation.
    """
    numbers = {name: to_json(section._asdict()) for name, section in sections.items()}
    tree = {"protocol": protocol, **numbers}
    write_atomically(path, (json.dumps(tree, indent=1) + "\n").encode())
