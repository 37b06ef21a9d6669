"""Settings that earlier versions did not have, with the value that keeps their behaviour.

A run keeps its rows where its settings are read again: a file that has every setting of its version
gets the former behaviour for those that came later. A file by hand, which leaves others out as
well, gets the defaults.
"""

from __future__ import annotations

from typing import Any

__all__ = ["with_former_values"]

FORMER_VALUES: dict[str, dict[str, Any]] = {
    "Table": {"shrinkage": False, "tails": "keep", "repeats": "anywhere", "index": "keep"},
    "InMemory": {"tails": "keep", "repeats": "anywhere"},
    "Images": {"repeats": "anywhere"},
}
"""By the kind of the data: settings that were added, with the value of files without them."""

COMPLETE = {
    "Table": ("path", "columns", "drop", "whitening", "dequantise", "split", "split_seed"),
    "InMemory": ("digest", "rows", "whitening", "split", "split_seed"),
    "Images": ("path", "size", "channels", "resize", "dequantise", "split", "split_seed"),
}
"""By the kind of the data: settings that every file of a run has."""


def with_former_values(tree: Any) -> Any:  # noqa: ANN401
    """Returns a tree of settings of an earlier version with the settings that came later.

    Arguments:
        tree: The tree of a file; others than those of an earlier version come back as they are.

    Example:
        >>> with_former_values({"data": {"kind": "Toy"}})
        {'data': {'kind': 'Toy'}}
    """
    data = tree.get("data") if isinstance(tree, dict) else None
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in COMPLETE or not isinstance(data, dict):
        return tree
    if not all(name in data for name in COMPLETE[kind]):
        return tree
    return {**tree, "data": {**FORMER_VALUES[kind], **data}}
