"""What was computed once is not computed again, as long as what it depends on is the same.

Every part of an evaluation is a file of its own under `evaluation/` in the run folder, which holds
the key of what it was made from: the content of the run, its own settings, its version.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..train.checkpoint import write_atomically
from .measure import Part, from_json, to_json

__all__ = ["recall", "remembered"]


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
