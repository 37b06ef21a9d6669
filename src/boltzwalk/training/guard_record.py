"""The record of a guard: one row for each action, ``guard.jsonl`` in the run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..durable import write_atomically
from ..sealed import open_object, seal_object
from ..settings.settings import Settings
from ..settings.tree import differences, from_tree, override, to_tree
from . import folder as run_folder
from .guard import PROOF

__all__ = [
    "SOON",
    "Action",
    "actions",
    "forget",
    "in_force",
    "record",
    "told",
    "with_remedies",
]

SETTINGS = "settings"
"""The diagnosis of the row that says that a user changed settings."""

FILE = "guard.jsonl"
"""The record of what the guard did, one row an action."""

SOON = 4 * PROOF
"""Updates past an alarm without another one after which the list of remedies begins again."""


class Action(NamedTuple):
    """A row of the record.

    Attributes:
        update: The update after which a rule spoke.
        diagnosis: The cause.
        reason: The value and the limit.
        remedy: The remedy, "stop" for the end of the run; "" where the alarm was only told.
        back_to: The update from which the run went on; -1 where it did not go back.
        changes: The settings that the remedy changed, as overrides.
    """

    update: int
    diagnosis: str
    reason: str
    remedy: str = ""
    back_to: int = -1
    changes: tuple[str, ...] = ()


def actions(folder: Path) -> list[Action]:
    """Returns the actions of a run, the oldest first.

    Arguments:
        folder: The run folder.

    Raises:
        ValueError: If the record is damaged.
    """
    path, done = folder / FILE, []
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            row = open_object(line, FILE)
            done.append(Action(**{**row, "changes": tuple(row["changes"])}))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}, must be as it was written ({error}): it says which "
                "settings are in force; put the file back from a copy"
            ) from error
    return done


def record(folder: Path, action: Action) -> bool:
    """Writes an action unless it is there, as after a kill, and returns whether it was not.

    Checkpoints of the branch that it leaves are deleted before. A run that is killed between both
    goes on before the alarm, and comes to the same action.

    Arguments:
        folder: The run folder.
        action: The action.
    """
    before = actions(folder)
    if action in in_force(before) or _told_lately(action, before):
        return False
    done = [*before, action]
    lines = [seal_object(json.dumps(one._asdict()), FILE) for one in done]
    write_atomically(folder / FILE, "".join(line + "\n" for line in lines).encode())
    return True


def _told_lately(action: Action, before: Sequence[Action]) -> bool:
    """Whether an alarm that is only told was told in the last updates."""
    same = [one for one in before if not one.remedy and one.diagnosis == action.diagnosis]
    return not action.remedy and any(0 <= action.update - one.update < SOON for one in same)


def with_remedies(settings: Settings, done: Sequence[Action]) -> Settings:
    """Returns the settings with the changes of the guard.

    Arguments:
        settings: The settings of the run.
        done: The actions.
    """
    changes = [change for action in in_force(done) for change in action.changes]
    if not changes:
        return settings
    return from_tree(Settings, override(Settings, to_tree(settings), changes))


def forget(folder: Path, before: Settings, after: Settings) -> Action | None:
    """Returns the row that ends all remedies where a user changed settings of the run.

    Arguments:
        folder: The run folder.
        before: The settings of the run.
        after: The settings with which the user goes on.
    """
    free = ("updates:", "output.", "device:", "threads:", "guard:", "data.")
    changed = differences(to_tree(before), to_tree(after))
    if not in_force(actions(folder)) or all(line.startswith(free) for line in changed):
        return None
    return Action(run_folder.saved_update(folder), SETTINGS, "; ".join(changed[:4]))


def in_force(done: Sequence[Action]) -> list[Action]:
    """Returns the actions since a user last changed the settings.

    Arguments:
        done: The actions, the oldest first.
    """
    last = max((i for i, one in enumerate(done) if one.diagnosis == SETTINGS), default=-1)
    return [action for action in done[last + 1 :] if action.remedy]


def told(action: Action) -> str:
    """Returns an action as a sentence.

    Arguments:
        action: The action.
    """
    if not action.remedy:
        return f"guard: after update {action.update} {action.reason} ({action.diagnosis})"
    if action.remedy == "stop":
        return (
            f"guard: after update {action.update} {action.reason} ({action.diagnosis}); stopped, "
            f"with the proven model of update {action.back_to}"
        )
    changes = f" ({', '.join(action.changes)})" if action.changes else ""
    remedy = "" if action.remedy == "go back" else f" with {action.remedy}{changes}"
    return (
        f"guard: after update {action.update} {action.reason} ({action.diagnosis}); back to the "
        f"proven checkpoint of update {action.back_to}{remedy}"
    )
