"""Which settings a run folder may change, and where a run may go on.

Nothing here writes but :func:`change`, so that a refusal leaves a folder as it is.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ..settings.settings import Settings, carries_weights
from ..settings.tree import differences, to_tree
from .folder import checkpoints, read_settings, saved_update, write_settings
from .guard_record import actions
from .rows import append_row, read_rows

__all__ = [
    "change",
    "other_settings",
    "require_changeable",
    "require_resumable",
    "require_usable",
    "unexplained",
]

FIXED = (
    "data.",
    "energy.",
    "method.kind",
    "method.start",
    "method.generator.",
    "method.vae.",
    "method.base.",
    "method.relative:",
    "optimizer.kind",
    "seed",
    "witness.walkers",
    "witness.replicates",
)
"""The settings that a run cannot change when it goes on."""

MOVABLE = ("data.path", "data.root")
"""The settings of where data lie: their digest proves that they are the same."""

WEIGHTED = ("method.kernel.temperature",)
"""Nor these, where walkers carry weights: they are those of one density."""


def other_settings(folder: Path, settings: Settings) -> list[str]:
    """Returns the settings in which the run in a folder differs, such as "batch: 64, now 32".

    A run may go on on another device, with other threads, and write more or less often. Until
    something was saved, everything may change.

    Arguments:
        folder: The folder.
        settings: The settings of the run that should be there.
    """
    if not (folder / "settings.yaml").exists() or not checkpoints(folder):
        return []
    return differences(_fixed(read_settings(folder)), _fixed(settings))


def require_usable(folder: Path, settings: Settings) -> None:
    """Raises where a folder cannot take a run: it holds another run, or other files.

    Arguments:
        folder: The folder, which need not exist.
        settings: The settings of the run.

    Raises:
        ValueError: If it holds a run with other settings, or files of another kind.
    """
    path, changed = folder / "settings.yaml", other_settings(folder, settings)
    if changed:
        raise ValueError(
            f"{folder} holds a run with other settings ({'; '.join(changed[:4])}); take "
            "another folder with --name (out= in Python), or go on with the changes by "
            f"`boltzwalk resume {shlex.quote(str(folder))} key=value`"
        )
    if folder.is_dir() and not path.exists():
        others = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
        if set(others) - {"environment.yaml"}:
            raise ValueError(
                f"{folder} must be empty or hold a run, found {others[0]}; take "
                "another with --name (out= in Python)"
            )


def change(folder: Path, settings: Settings, finished: bool = False) -> None:
    """Replaces the settings of a run and notes the changes in changes.jsonl.

    Arguments:
        folder: The run folder.
        settings: The settings to go on with.
        finished: Whether the run has no updates left, so that equal settings leave it as it is.

    Raises:
        ValueError: If the change is one of the data, the network or the start of the walkers.
    """
    before = read_settings(folder)
    require_changeable(before, settings)
    changed = differences(to_tree(before), to_tree(settings))
    if changed:
        row = {"update": saved_update(folder), "changed": changed}
        append_row(folder / "changes.jsonl", row)
    write_settings(folder, settings, finished and not changed)


def unexplained(folder: Path, update: int, saved: Settings, now: Settings) -> list[str]:
    """Returns the settings of a checkpoint that a run does not have, and never changed since.

    Arguments:
        folder: The run folder.
        update: The update of the checkpoint.
        saved: The settings of the checkpoint.
        now: The settings of the run.
    """
    lines = differences(_fixed(saved), _fixed(now))
    rows = read_rows(folder / "changes.jsonl") if lines else []
    since = [line for row in rows if row["update"] >= update for line in row["changed"]]
    remedies = [change for action in actions(folder) for change in action.changes] if lines else []
    keys = ("updates.", *(f"{line.partition(':')[0]}." for line in since))
    keys += tuple(f"{change.partition('=')[0]}." for change in remedies)
    return [line for line in lines if not f"{line.partition(':')[0]}.".startswith(keys)]


def require_changeable(before: Settings, after: Settings) -> None:
    """Raises where a run cannot go on with other settings.

    Arguments:
        before: The settings of the run.
        after: The settings to go on with.

    Raises:
        ValueError: If the change is one of the data, the network or the start of the walkers.
    """
    dropped = f"witness.walkers: {before.witness.walkers}, now 0"  # it may leave, but not come in
    fixed = FIXED + WEIGHTED if carries_weights(before) else FIXED
    for line in differences(to_tree(before), to_tree(after)):
        if line.startswith(fixed) and not line.startswith(MOVABLE) and line != dropped:
            raise ValueError(
                f"a run cannot go on with another {line.split(':')[0]} ({line}); train a new one"
            )


def require_resumable(folder: Path, before: Settings, after: Settings) -> None:
    """Raises where a run has no updates left that other settings could change.

    Arguments:
        folder: The run folder.
        before: The settings of the run.
        after: The settings to go on with.

    Raises:
        ValueError: If fewer updates are asked for than were done, or the run is finished and its
            settings would change.
    """
    done = saved_update(folder)
    if after.updates < done:
        raise ValueError(
            f"updates must be at least the {done} that are done, got {after.updates}; write "
            f"updates={done + 1000} for 1000 more"
        )
    changed = differences(_fixed(before), _fixed(after))
    changed = [line for line in changed if not line.startswith("updates:")]
    if changed and done == after.updates:
        key = changed[0].split(":")[0]
        raise ValueError(
            f"{folder} is at {done} of {done} updates, so a change ({'; '.join(changed[:4])}) has "
            f"nothing to train; write updates={done + 1000} as well, or train a new run: "
            f"`boltzwalk train {shlex.quote(str(folder / 'settings.yaml'))} {key}=... --name NEW`"
        )


def _fixed(settings: Settings) -> dict[str, Any]:
    """The settings that the same command must repeat."""
    free = ("device", "threads", "precision", "output", "guard")
    tree = {key: value for key, value in to_tree(settings).items() if key not in free}
    tree["data"] = {k: v for k, v in tree["data"].items() if f"data.{k}" not in MOVABLE}
    return tree
