r"""What was computed once is not computed again, as long as what it depends on is the same.

Every part of an evaluation is a file of its own under `evaluation/` in the run folder, which holds
the key of what it was made from: the content of the model, its own settings, its version.

An evaluation as lines to read and as a file to compute with.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint import write_atomically
from .measure import Measure, Part, from_json, to_json

__all__ = ["lines", "recall", "remembered", "write_evaluation"]


def remembered(path: Path, key: dict[str, Any], make: Callable[[], Part]) -> Part:
    """Returns the part that a file holds if its key is this one; else makes and writes it.

    Arguments:
        path: The JSON file.
        key: All that the part depends on, as JSON has it.
        make: Computes the part.

    Raises:
        OSError: If the file cannot be written.
    """
    found = recall(path, key)
    if found is None:
        began = time.monotonic()
        found = make()
        seconds = round(time.monotonic() - began, 2)
        tree = {"key": key, "seconds": seconds, **to_json(found._asdict())}
        write_atomically(path, (json.dumps(tree) + "\n").encode())
        found = from_json(to_json(found._asdict()))  # the same whether it was computed or read
    return found


def recall(path: Path, key: dict[str, Any]) -> Part | None:
    """Returns the part that a file holds, if it is there, whole, and its key is this one.

    Arguments:
        path: The JSON file.
        key: All that the part depends on; what the file has beyond these is not asked for.
    """
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text())
        theirs = tree["key"]
        if any(theirs.get(name) != value for name, value in key.items()):
            return None
        return from_json(tree)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # of another version, or damaged: it is made anew


def lines(part: Part) -> list[str]:
    """Returns what a user reads: numbers with their intervals and protocol, or the reason why not.

    Arguments:
        part: A part of an evaluation.

    Example:
        >>> lines(Part([Measure("recall", 0.91, 0.9, 0.92, floor=0.95)], {}))
        ['recall                0.910 ± 0.010         training data have 0.95']
    """
    rows = [(m.name, m.text, m.meaning) for m in part.measures]
    rows += [
        (f"mass of {name}", *_mass(found))
        for name, found in part.details.get("classes", {}).items()
    ]
    rows += part.details.get("findings", [])
    if part.label:
        rows.append(("verdict", part.label, part.reason))
    wide = max([20, *(len(name) for name, _, _ in rows)])
    return [f"{name:<{wide}}  {text:<21} {meaning}".rstrip() for name, text, meaning in rows]


def _mass(found: Mapping[str, float]) -> tuple[str, str]:
    measure = Measure("", found["share"], found["low"], found["high"])
    return measure.text, f"the data have {found['data']:.3g}"


def write_evaluation(parts: Mapping[str, Part], path: Path, protocol: dict[str, Any]) -> None:
    """Writes all numbers of an evaluation to a JSON file; those that are refused are null.

    Arguments:
        parts: What was found, by name.
        path: The file.
        protocol: What was evaluated and how: the update, the seed, the effort.
    """
    tree = {"protocol": protocol, **{name: to_json(part._asdict()) for name, part in parts.items()}}
    write_atomically(path, (json.dumps(tree, indent=1) + "\n").encode())
