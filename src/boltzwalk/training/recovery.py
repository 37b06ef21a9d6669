"""Recovery of a run: proven checkpoints, one remedy after an alarm, and the record of both.

After an alarm a run goes back to its newest *proven* checkpoint: one with `PROOF` updates after it
in which no rule of the guard spoke. It goes on from there with one remedy of the list of its
diagnosis; the next alarm takes the next one, and goes back farther. Each action is a row of
``guard.jsonl``, written before anything else changes, so that a run that is killed meanwhile goes
on as if it had not been. Proven checkpoints lie in ``proven/``, fewer the older they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..checkpoint import write_atomically
from ..method import with_defaults
from ..rng import generator
from ..settings.settings import Settings
from ..settings.tree import differences, from_tree, override, to_tree
from . import folder as run_folder
from .guard import PROOF, Alarm, compared_anew
from .remedies import PLANS, REMEDIES, nothing
from .run import Run

__all__ = [
    "SOON",
    "Action",
    "actions",
    "discard_later",
    "every",
    "forget",
    "in_force",
    "keep_as_newest",
    "plan",
    "proven",
    "proven_path",
    "record",
    "thin",
    "told",
    "treated",
    "why_stopped",
    "with_remedies",
]

SETTINGS = "settings"
"""The diagnosis of the row that says that a user changed settings."""

FILE = "guard.jsonl"
"""The record of what the guard did, one row an action."""

EVERY = 100
"""Updates between two checkpoints for the guard."""

MOST = 6
"""Alarms, each soon after the last, after which a run stops."""

SOON = 4 * PROOF
"""Updates past an alarm without another one after which the list of remedies begins again."""

ALL = 30
"""Actions after which a run stops, however far apart they are."""


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
    """
    rows = run_folder.read_rows(folder / FILE)
    return [Action(**{**row, "changes": tuple(row["changes"])}) for row in rows]


def record(folder: Path, action: Action) -> bool:
    """Writes an action unless it is there, as after a kill, and returns whether it was not.

    Checkpoints of the branch that it leaves are deleted before. A run that is killed between both
    goes on before the alarm, and comes to the same action.

    Arguments:
        folder: The run folder.
        action: The action.
    """
    before = actions(folder)
    if action in before or _told_lately(action, before):
        return False
    done = [*before, action]
    write_atomically(
        folder / FILE, "".join(json.dumps(one._asdict()) + "\n" for one in done).encode()
    )
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


def forget(folder: Path, before: Settings, after: Settings) -> None:
    """Ends all remedies where a user changed settings of the run.

    Arguments:
        folder: The run folder.
        before: The settings of the run.
        after: The settings with which the user goes on.
    """
    free = ("updates:", "output.", "device:", "threads:", "guard:", "data.")
    changed = differences(to_tree(before), to_tree(after))
    if in_force(actions(folder)) and any(not line.startswith(free) for line in changed):
        update = run_folder.saved_update(folder)
        record(folder, Action(update, SETTINGS, "; ".join(changed[:4])))


def in_force(done: Sequence[Action]) -> list[Action]:
    """Returns the actions since a user last changed the settings.

    Arguments:
        done: The actions, the oldest first.
    """
    last = max((i for i, one in enumerate(done) if one.diagnosis == SETTINGS), default=-1)
    return [action for action in done[last + 1 :] if action.remedy]


def plan(alarm: Alarm, done: Sequence[Action], settings: Settings, folder: Path) -> Action:
    """Returns the action for an alarm; its remedy is "stop" where the run must end.

    Arguments:
        alarm: The alarm.
        done: The actions before.
        settings: The settings as they are in force.
        folder: The run folder.
    """
    before = in_force(done)
    recent = _recent(alarm, before)
    back_to = _back_to(alarm, len(recent), folder)
    stop = Action(alarm.update, alarm.diagnosis, alarm.reason, "stop", back_to)
    if len(recent) >= MOST or len(before) >= ALL:
        return stop
    names = PLANS[alarm.diagnosis]
    for name in names[sum(action.diagnosis == alarm.diagnosis for action in recent) :]:
        if name == "restart of chains" and with_defaults(settings.method).weighted:
            continue  # their weights would no longer belong to them
        changes = REMEDIES[name](settings)
        if changes or REMEDIES[name] is nothing:
            return stop._replace(remedy=name, changes=tuple(changes))
    return stop


def _recent(alarm: Alarm, done: Sequence[Action]) -> list[Action]:
    """The actions before an alarm that were each soon followed by the next."""
    recent: list[Action] = []
    update = alarm.update
    for action in reversed(done):
        if update > action.update + SOON:
            break
        recent.append(action)
        update = max(update, action.update)
    return recent


def _back_to(alarm: Alarm, recurrences: int, folder: Path) -> int:
    """The update of the proven checkpoint to go back to; 0 for the beginning."""
    proof = PROOF * 2 ** max(0, recurrences - 1)
    updates = [run_folder.update_of(path) for path in proven(folder)]
    return max((update for update in updates if update <= alarm.update - proof), default=0)


def every(settings: Settings) -> int:
    """Returns the updates between two checkpoints for the guard, which rows of the log have.

    Arguments:
        settings: The settings of the run.
    """
    return settings.output.log_every * -(-EVERY // settings.output.log_every)


def proven_path(folder: Path, update: int) -> Path:
    """Returns where the checkpoint of an update for the guard belongs."""
    return folder / "proven" / f"update_{update:08d}.safetensors"


def proven(folder: Path) -> list[Path]:
    """Returns the checkpoints for the guard, the newest first; the last ones wait for their proof.

    Arguments:
        folder: The run folder.
    """
    return run_folder.checkpoints(folder, "proven")


def thin(folder: Path, update: int) -> None:
    """Deletes checkpoints for the guard: of each octave of age the oldest is kept.

    Arguments:
        folder: The run folder.
        update: The update of the newest one.
    """
    oldest: dict[int, Path] = {}
    for path in proven(folder):
        age = (update - run_folder.update_of(path)) // EVERY
        octave = age.bit_length()
        if age > 1 and octave in oldest:
            oldest[octave].unlink()
        oldest[octave if age > 1 else -age] = path


def discard_later(folder: Path, update: int) -> None:
    """Deletes the checkpoints of a branch that an action left.

    Arguments:
        folder: The run folder.
        update: The update that the run went back to.
    """
    for name in ("checkpoints", "proven"):
        for path in run_folder.checkpoints(folder, name):
            if run_folder.update_of(path) > update:
                path.unlink()


def treated(run: Run, done: Sequence[Action]) -> Run:
    """Returns a run with the remedies that change no setting.

    A remedy belongs to the checkpoint that its action went back to; an action that went back
    farther later left it behind.

    Arguments:
        run: The run as a checkpoint left it.
        done: The actions.
    """
    remedies: list[Action] = []
    for action in in_force(done):
        remedies = [one for one in remedies if one.back_to <= action.back_to] + [action]
    for action in remedies:
        if action.back_to != run.update:
            continue
        run = replace(run, remembered=compared_anew(run.remembered))
        if action.remedy == "fresh moments":
            run.optimizer.state.clear()
        if action.remedy == "restart of chains":
            rows = run.method.condition.rows(run.dataset)
            rng = generator(run.settings.seed, "restart", action.update, run.settings.device)
            run = replace(run, state=run.method.init(run.energy, rows, rng))
    return run


def keep_as_newest(folder: Path, update: int) -> None:
    """Copies a proven checkpoint to those of the run, for a run that ends there.

    Arguments:
        folder: The run folder.
        update: Its update; 0, before the first one, is not copied.
    """
    path = run_folder.checkpoint_path(folder, update)
    if update and not path.exists():
        write_atomically(path, proven_path(folder, update).read_bytes())


def told(action: Action) -> str:
    """Returns an action as a sentence.

    Arguments:
        action: The action.
    """
    if not action.remedy:
        return f"guard: after update {action.update} {action.reason} ({action.diagnosis})"
    changes = f" ({', '.join(action.changes)})" if action.changes else ""
    remedy = "" if action.remedy == "go back" else f" with {action.remedy}{changes}"
    return (
        f"guard: after update {action.update} {action.reason} ({action.diagnosis}); back to the "
        f"proven checkpoint of update {action.back_to}{remedy}"
    )


def why_stopped(folder: Path, action: Action) -> str:
    """Returns the message of a run that the guard stopped.

    Arguments:
        folder: The run folder.
        action: The last action.
    """
    tried = [one.remedy for one in in_force(actions(folder)) if one.remedy not in ("stop",)]
    after = f", after {len(tried)} remedies ({', '.join(tried[-MOST:])})" if tried else ""
    return (
        f"update {action.update}: {action.reason} ({action.diagnosis}){after}. The model is that "
        f"of update {action.back_to}, the last that is proven good"
    )
