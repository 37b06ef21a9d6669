"""A small study that ends with a trained model: the best settings that a given time can find.

The first trial is the recipe as it is; Optuna proposes the others, with as many energy gradients,
and a trial that is not among the best third at a rung is stopped. At the end the recipe and the
best finished trials are judged again, by new samples; the best of these is the model, the recipe
itself where none beats it.

Not guaranteed: that another seed finds the same. One trial of each point says little about its
spread; `boltzwalk study` does.
"""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..recipes.lookup import chosen
from ..settings.settings import Settings
from ..train.process import StopRequest
from ..train.run import open_run
from .folder import results, trial_folder
from .levels import leaves
from .manage import conduct
from .measures import judge_for
from .outcome import Outcome, outcomes
from .plan import as_it_is, gradients
from .propose import proposed
from .result import read_results
from .spec import Axis, Block, Study
from .worker import Job, work

__all__ = ["Tuned", "seconds", "space", "tune", "tuning_study"]

FINALISTS, JUDGED = 3, 5000

HALVING = 3.0
RUNGS = (0.1, 0.3, 1.0)
MOST = 1000

SPACES: dict[str, tuple[float, float]] = {
    "optimizer.learning_rate": (0.2, 5.0),
    "method.base_rate": (0.2, 5.0),
    "method.steps": (0.3, 2.0),
    "method.data_noise": (0.3, 4.0),
    "method.kernel.step_size": (0.2, 3.0),
}
"""What is tuned, where a recipe has it and it is not zero, and the factors that bound it."""


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        folder: The run folder of the model.
        trial: The name of its trial.
        quality: Its quality by new samples.
        default: That of the recipe as it is; nan where it broke off.
        quality_name: What the quality is called.
        changes: What differs from the recipe, each `key=value`.
        trials: How many trials have ended.
        note: What the user should know; "" for nothing.
    """

    folder: Path
    trial: str
    quality: float
    default: float
    quality_name: str
    changes: tuple[str, ...]
    trials: int
    note: str = ""


def seconds(text: str) -> float:
    """Returns a time such as 20m in seconds.

    Arguments:
        text: A number with s, m or h; a bare number has seconds.

    Raises:
        ValueError: If it is something else, or not positive.

    Example:
        >>> seconds("20m"), seconds("1.5h"), seconds("90")
        (1200.0, 5400.0, 90.0)
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([smh]?)\s*", text)
    value = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if not value > 0:
        raise ValueError(f"a budget must be a time such as 90s, 20m or 2h, got {text!r}")
    return value


def space(settings: Settings) -> tuple[Axis, ...]:
    """Returns the axes along which settings are tuned.

    Arguments:
        settings: The settings that are varied.

    Example:
        >>> from boltzwalk.recipes import digits
        >>> [axis.name.split(".")[-1] for axis in space(digits())]
        ['learning_rate', 'steps', 'data_noise']
    """
    own, axes = leaves(settings), []
    for path, (low, high) in SPACES.items():
        value = own.get(path)
        if not value or (path.endswith("step_size") and own["method.kernel.kind"] == "ULA"):
            continue  # a step of ULA goes with its temperature, and drift scales with the energy
        if isinstance(value, int):
            ends = (max(1, round(low * value)), max(2, round(high * value)))
            axes.append(Axis(path, (), *ends, True))
        else:
            axes.append(Axis(path, (), _short(low * value), _short(high * value), True))
    return tuple(axes)


def tuning_study(recipe: str, assignments: Sequence[str]) -> Study:
    """Returns the study that tunes a recipe.

    Arguments:
        recipe: A recipe, a settings.yaml, or a file or folder of data.
        assignments: Settings that are kept at a value, each `key=value`.
    """
    settings = chosen(recipe, assignments)
    axes = space(settings)
    return Study(
        recipe=recipe,
        settings=tuple(assignments),
        seeds=(settings.seed,),
        budget=settings.updates * gradients(settings),
        samples=1000,
        rungs=RUNGS,
        blocks=(Block("tune", axes, sampler="tpe", trials=MOST, halving=HALVING),),
    )


def tune(
    recipe: str,
    assignments: Sequence[str],
    budget: float,
    folder: Path,
    model: Path,
    workers: int,
    stop: StopRequest,
    quiet: bool = False,
) -> Tuned | None:
    """Tunes a recipe for some time, and returns what was found; None where it was stopped.

    The same call goes on with the trials that are there.

    Arguments:
        recipe: A recipe, a settings.yaml, or a file or folder of data.
        assignments: Settings that are kept at a value, each `key=value`.
        budget: The time in seconds.
        folder: The folder of the study.
        model: Where the run folder of the model is put; it must not be there.
        workers: Processes.
        stop: A request to stop.
        quiet: Whether to say nothing.

    Raises:
        ValueError: If there is something where the model is to be, or no trial has succeeded.
    """
    if model.exists():
        raise ValueError(f"{model} is there already; take another --name")
    study = tuning_study(recipe, assignments)
    conduct(study, Job(folder, until=time.time() + budget), workers, stop, quiet)
    if stop.asked:
        return None
    note = _finish_the_recipe(study, folder, stop)
    if _asked(stop):
        return None
    found = outcomes(study, folder)
    finished = [o for o in found if o.result.label == "finished" and math.isfinite(o.quality)]
    if not finished:
        ends = ", ".join(sorted({o.how for o in found})) or "nothing"
        raise ValueError(
            f"no trial has finished ({ends}); `boltzwalk study report {folder}` says why, more "
            "--budget tries more"
        )
    return _concluded(study, folder, model, finished, len(found), note)


def _concluded(
    study: Study, folder: Path, model: Path, finished: list[Outcome], trials: int, note: str
) -> Tuned:
    """Judges the finalists by new samples, and puts the best where the model is to be."""
    own = chosen(study.recipe, study.settings)
    default = [o for o in finished if _changes(own, o) == ()]
    best = sorted(finished, key=lambda o: o.quality)[:FINALISTS]
    finalists = {o.trial.name: o for o in (*default, *best)}  # the recipe first: it wins a tie
    data = open_run(trial_folder(folder, next(iter(finalists)))).dataset
    judge = judge_for(data, study.quality, JUDGED, own.data)
    values = {
        name: judge.look(
            dataclasses.replace(
                open_run(trial_folder(folder, name), dataset=data), update=-1
            )  # a purpose of its own: samples that no rung has seen
        ).quality
        for name in finalists
    }
    winner = min(values, key=lambda name: values[name])
    shutil.copytree(trial_folder(folder, winner), model, ignore=_left_out)
    if not default:
        note = "the recipe as it is broke off: there is nothing to compare with"
    return Tuned(
        model,
        winner,
        values[winner],
        values[default[0].trial.name] if default else math.nan,
        judge.name,
        _changes(own, finalists[winner]),
        trials,
        note,
    )


def _left_out(place: str, names: list[str]) -> list[str]:
    """What belongs to the trial alone."""
    return [name for name in names if name in (".lock", "quality.jsonl")]


def _changes(own: Settings, outcome: Outcome) -> tuple[str, ...]:
    """What differs from the recipe, but for what says how a run is written."""
    before, after = leaves(own), outcome.settings
    ignored = ("output.", "threads", "device")
    return tuple(
        f"{path}={value}"
        for path, value in after.items()
        if not path.startswith(ignored) and before.get(path) != value
    )


def _finish_the_recipe(study: Study, folder: Path, stop: StopRequest) -> str:
    """Goes on with the recipe as it is until it is over; returns what to say of it."""
    (recipe,) = as_it_is(study, study.blocks[0])
    if recipe.name in read_results(results(folder)):
        return ""
    if recipe.name in {trial.name for trial in proposed(study, folder)}:
        work(Job(folder, only=recipe.name), stop)
    else:
        work(Job(folder, most=1), stop)  # the first one that is proposed
    return "the time was up before the recipe as it is had finished, so its training went on"


def _asked(stop: StopRequest) -> bool:
    """Whether a stop was asked for by now."""
    return stop.asked


def _short(value: float) -> float:
    return float(f"{value:.3g}")
