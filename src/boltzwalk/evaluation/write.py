"""An evaluation as lines to read and as a file to compute with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..train.checkpoint import write_atomically
from .measure import Measure, Part, to_json

__all__ = ["lines", "write_evaluation"]


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
