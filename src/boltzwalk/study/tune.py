"""Tuning: a small study that ends with a trained model, the best within a given time.

The first trial is the recipe itself; Optuna proposes the others, with the same energy gradients,
and a trial that is not among the best third at a rung is stopped. At the end the recipe and the
best finished trials are judged again, by new samples; the best of these is the model, the recipe
itself where none beats it.

Not guaranteed: that another seed gives the same. One trial of each point says little about its
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

from ..data import Dataset
from ..model import Model
from ..recipes.lookup import settings_from
from ..settings.settings import Settings
from ..training.run import open_run
from ..training.signals import StopRequest
from .levels import leaves
from .measures import judge_for
from .outcome import Outcome, read_outcomes
from .plan import baseline_trials, gradients_per_update
from .propose import proposed_trials
from .results import read_results
from .spec import Axis, Block, Study
from .storage import results_folder, trial_folder
from .workers import WorkerJob, run_study, run_worker

__all__ = ["TuningResult", "parse_duration", "run_tuning", "search_space", "tuning_study"]

FINALISTS, FINAL_SAMPLES = 3, 5000
"""Finished trials that are judged again, and the samples of each."""

HALVING = 3.0
TUNING_RUNGS = (0.1, 0.3, 1.0)
MAX_TRIALS = 1000

TUNED_SETTINGS: dict[str, tuple[float, float]] = {
    "optimizer.learning_rate": (0.2, 5.0),
    "method.base_rate": (0.2, 5.0),
    "method.steps": (0.3, 2.0),
    "method.data_noise": (0.3, 4.0),
    "method.kernel.step_size": (0.2, 3.0),
}
"""The settings that are tuned where they are not zero, and the factors of their bounds."""


@dataclass(frozen=True)
class TuningResult:
    """The result of tuning.

    Attributes:
        folder: The run folder of the model.
        trial: The name of its trial.
        quality: Its quality by new samples.
        baseline: That of the recipe itself; nan where it failed.
        quality_name: The name of the quality.
        changes: The changes of the recipe, each `key=value`.
        trials: The number of trials that have ended.
        note: A remark for the user; "" for none.
    """

    folder: Path
    trial: str
    quality: float
    baseline: float
    quality_name: str
    changes: tuple[str, ...]
    trials: int
    note: str = ""


def parse_duration(text: str) -> float:
    """Returns a time such as 20m in seconds.

    Arguments:
        text: A number with s, m or h; a bare number is in seconds.

    Raises:
        ValueError: If it is no such time, or not positive.

    Example:
        >>> parse_duration("20m"), parse_duration("1.5h"), parse_duration("90")
        (1200.0, 5400.0, 90.0)
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([smh]?)\s*", text)
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not value > 0:
        raise ValueError(f"a budget must be a time such as 90s, 20m or 2h, got {text!r}")
    return value


def search_space(settings: Settings) -> tuple[Axis, ...]:
    """Returns the axes along which settings are tuned.

    Arguments:
        settings: The settings that are varied.

    Example:
        >>> from boltzwalk.recipes.starters import digits
        >>> [axis.name.split(".")[-1] for axis in search_space(digits())]
        ['learning_rate', 'steps', 'data_noise']
    """
    values, axes = leaves(settings), []
    for path, (low, high) in TUNED_SETTINGS.items():
        value = values.get(path)
        if not value or (path.endswith("step_size") and values["method.kernel.kind"] == "ULA"):
            continue  # ULA couples step size and temperature, and its drift scales with the energy
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
        assignments: Settings that are not tuned, each `key=value`.
    """
    settings = settings_from(recipe, assignments)
    axes = search_space(settings)
    return Study(
        recipe=recipe,
        settings=tuple(assignments),
        seeds=(settings.seed,),
        budget=settings.updates * gradients_per_update(settings),
        samples=1000,
        rungs=TUNING_RUNGS,
        blocks=(Block("tune", axes, sampler="tpe", trials=MAX_TRIALS, halving=HALVING),),
    )


def run_tuning(
    recipe: str,
    assignments: Sequence[str],
    budget: float,
    folder: Path,
    model: Path,
    workers: int,
    stop: StopRequest,
    quiet: bool = False,
) -> TuningResult | None:
    """Tunes a recipe within a time; returns None where it was stopped.

    The same call continues with the existing trials.

    Arguments:
        recipe: A recipe, a settings.yaml, or a file or folder of data.
        assignments: Settings that are not tuned, each `key=value`.
        budget: The time in seconds.
        folder: The folder of the study.
        model: The run folder of the model, which must not exist.
        workers: The number of processes.
        stop: A request to stop.
        quiet: Whether to print nothing.

    Raises:
        ValueError: If the folder of the model exists, or no trial has finished.
    """
    if model.exists():
        raise ValueError(f"{model} exists already; take another --name")
    study = tuning_study(recipe, assignments)
    run_study(study, WorkerJob(folder, deadline=time.time() + budget), workers, stop, quiet)
    if stop.asked:
        return None
    note = _finish_baseline(study, folder, stop)
    if _stop_asked(stop):
        return None
    outcomes = read_outcomes(study, folder)
    finished = [o for o in outcomes if o.result.label == "finished" and math.isfinite(o.quality)]
    if not finished:
        endings = ", ".join(sorted({o.ending for o in outcomes})) or "no trial has ended"
        raise ValueError(
            f"no trial has finished ({endings}); see `boltzwalk study report {folder}`, or give "
            "more --budget"
        )
    return _select_model(study, folder, model, finished, len(outcomes), note)


def _select_model(
    study: Study, folder: Path, model: Path, finished: list[Outcome], trials: int, note: str
) -> TuningResult:
    """Judges the finalists by new samples, and copies the best to the folder of the model."""
    recipe = settings_from(study.recipe, study.settings)
    baseline = [o for o in finished if _changes(recipe, o) == ()]
    best = sorted(finished, key=lambda o: o.quality)[:FINALISTS]
    finalists = {o.trial.name: o for o in (*baseline, *best)}  # the baseline first: it wins a tie
    data = open_run(trial_folder(folder, next(iter(finalists)))).dataset
    judge = judge_for(data, study.quality, FINAL_SAMPLES, recipe.data)
    values = {
        name: judge.check(_fresh(trial_folder(folder, name), data)).quality for name in finalists
    }
    winner = min(values, key=lambda name: values[name])
    shutil.copytree(trial_folder(folder, winner), model, ignore=_ignored_files)
    if not baseline:
        note = "the recipe itself did not finish, so there is no comparison with it"
    return TuningResult(
        model,
        winner,
        values[winner],
        values[baseline[0].trial.name] if baseline else math.nan,
        judge.name,
        _changes(recipe, finalists[winner]),
        trials,
        note,
    )


def _fresh(folder: Path, data: Dataset) -> Model:
    """The model of a trial, whose samples take noise that no rung has used."""
    run = open_run(folder, dataset=data)
    return dataclasses.replace(run.judged_on(data), update=-1)


def _ignored_files(folder: str, names: list[str]) -> list[str]:
    """The files of a trial that are not part of a run."""
    return [name for name in names if name in (".lock", "quality.jsonl")]


def _changes(recipe: Settings, outcome: Outcome) -> tuple[str, ...]:
    """The changes of the recipe, but for those of the machine and of the output."""
    before, after = leaves(recipe), outcome.settings
    ignored = ("output.", "threads", "device", "guard")
    return tuple(
        f"{path}={value}"
        for path, value in after.items()
        if not path.startswith(ignored) and before.get(path) != value
    )


def _finish_baseline(study: Study, folder: Path, stop: StopRequest) -> str:
    """Continues the trial of the recipe itself to its end; returns a note if that was needed."""
    (trial,) = baseline_trials(study, study.blocks[0])
    if trial.name in read_results(results_folder(folder)):
        return ""
    if trial.name in {proposed.name for proposed in proposed_trials(study, folder)}:
        run_worker(WorkerJob(folder, only=trial.name), stop)
    else:
        run_worker(WorkerJob(folder, max_trials=1), stop)  # the first proposal
    return "the time was up before the recipe itself had finished, so its training continued"


def _stop_asked(stop: StopRequest) -> bool:
    """Whether a stop was asked for, which mypy takes for settled after the first check."""
    return stop.asked


def _short(value: float) -> float:
    return float(f"{value:.3g}")
