"""Names of settings that do not exist: the nearest that do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["unknown_setting"]

LISTED = 8
"""The most names that a message lists."""

SYNONYMS = {
    "lr": "learning_rate",
    "rate": "learning_rate",
    "batch_size": "batch",
    "bs": "batch",
    "epochs": "updates",
    "iterations": "updates",
    "n_iter": "updates",
    "max_iter": "updates",
    "max_steps": "updates",
    "gpu": "device",
    "random_state": "seed",
    "hidden": "widths",
    "layers": "widths",
    "ema": "average",
    "clip": "clip_gradient",
    "delimiter": "separator",
    "sep": "separator",
}
"""Words of other libraries for settings."""


def unknown_setting(name: str, known: Sequence[str], listed: Sequence[str] = ()) -> str:
    """Returns the message for a name that does not exist, with the nearest that do, or a few.

    Arguments:
        name: The name.
        known: All dotted names.
        listed: Names to list where none is near; () for those known.

    Example:
        >>> unknown_setting("lr", ["optimizer.learning_rate", "batch"])
        "unknown setting 'lr'; did you mean optimizer.learning_rate?"
    """
    by_ending = {path.rsplit(".", 1)[-1]: path for path in known}
    near = difflib.get_close_matches(name, known, 3, 0.6)
    near += [by_ending[n] for n in difflib.get_close_matches(name.rsplit(".", 1)[-1], by_ending, 3)]
    meant = SYNONYMS.get(name.rsplit(".", 1)[-1].lower())
    near = [path for path in known if path.rsplit(".", 1)[-1] == meant][:1] + near
    near = list(dict.fromkeys(near))[:3]
    few = [*(listed or known)[:LISTED], *(["..."] if len(known) > LISTED else [])]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(few)}"
    return f"unknown setting {name!r}; {hint}"
