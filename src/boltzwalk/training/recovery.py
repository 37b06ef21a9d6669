"""Recovery of a run: proven checkpoints, and one remedy after each alarm.

After an alarm a run goes back to its newest *proven* checkpoint: one with `PROOF` updates after it
in which no rule of the guard spoke. It goes on from there with one remedy of the list of its
diagnosis; the next alarm soon after takes the next one, and goes back farther. Proven checkpoints
lie in ``proven/``, fewer the older they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from ..checkpoint import load_checkpoint
from ..durable import write_atomically
from ..method import with_defaults
from ..rng import generator
from ..settings.settings import Settings
from . import folder as run_folder
from .guard import PROOF, Alarm, compared_anew
from .guard_record import SOON, Action, actions, in_force
from .remedies import PLANS, REMEDIES, nothing
from .run import Run

__all__ = [
    "discard_later",
    "every",
    "first_network",
    "keep_as_newest",
    "plan",
    "proven",
    "proven_path",
    "thin",
    "treated",
    "why_stopped",
]

EVERY = 100
"""Updates between two checkpoints for the guard."""

MOST = 8
"""Alarms, each soon after the last, after which a run stops."""

ALL = 30
"""Actions after which a run stops, however far apart they are."""


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
    last = Action(alarm.update, alarm.diagnosis, alarm.reason, "stop", _back_to(alarm, 0, folder))
    if len(recent) >= MOST or len(before) >= ALL:
        return last
    names = PLANS[alarm.diagnosis]
    tried = sum(action.diagnosis == alarm.diagnosis for action in recent)
    if recent and recent[-1].diagnosis != alarm.diagnosis:
        tried += 1  # another sign of the fault for which the run went back already
    for name in names[tried:]:
        if name == "restart of chains" and with_defaults(settings.method).weighted:
            continue  # their weights would no longer belong to them
        changes = REMEDIES[name](settings)
        if changes or REMEDIES[name] is nothing:
            back_to = _back_to(alarm, len(recent), folder)
            return last._replace(remedy=name, back_to=back_to, changes=tuple(changes))
    return last


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
    """The update of the proven checkpoint to go back to; the oldest where none is old enough."""
    proof = PROOF * 2 ** max(0, recurrences - 1)
    updates = [run_folder.update_of(path) for path in proven(folder)]
    oldest = min(updates, default=0)  # not 0 where an earlier version began the run
    return max((update for update in updates if update <= alarm.update - proof), default=oldest)


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


def first_network(run: Run, folder: Path) -> nn.Module | None:
    """Returns the network of a run with its first parameters; None where the settings build it.

    Arguments:
        run: The run.
        folder: The run folder, with a checkpoint for the guard.
    """
    if not getattr(run.settings.energy, "from_python", False):
        return None
    tensors, _ = load_checkpoint(proven(folder)[-1])
    names = [name for name in tensors if name.startswith("energy.")]
    run.energy.load_state_dict({name.removeprefix("energy."): tensors[name] for name in names})
    return run.energy


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


def why_stopped(folder: Path, action: Action) -> str:
    """Returns the message of a run that the guard stopped.

    Arguments:
        folder: The run folder.
        action: The last action.
    """
    tried = [one.remedy for one in in_force(actions(folder)) if one.remedy != "stop"]
    after = f", after {len(tried)} remedies ({', '.join(tried[-MOST:])})" if tried else ""
    return (
        f"update {action.update}: {action.reason} ({action.diagnosis}){after}. The model is that "
        f"of update {action.back_to}, the last that is proven good"
    )
