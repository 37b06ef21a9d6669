"""Small studies that run in seconds, and results that are made up, with a known answer."""

import math
import sys
from dataclasses import replace
from pathlib import Path

from boltzwalk.study.levels import leaves, level_of
from boltzwalk.study.outcome import Outcome
from boltzwalk.study.plan import gradients_per_update, planned_trials, settings_digest
from boltzwalk.study.results import Rung, TrialResult, read_results
from boltzwalk.study.spec import all_axes
from boltzwalk.study.spec_file import study_from_yaml
from boltzwalk.study.storage import results_folder
from boltzwalk.study.workers import WorkerJob, run_study
from boltzwalk.training.signals import StopRequest

STUDIES = Path(__file__).parents[2] / "studies"
sys.path.insert(0, str(STUDIES))  # for the modules of the analysis in `thesis`

SMALL = "average=0, anneal=0, 'energy.network.widths=[16]', batch=32, steps=3, updates=40"

TINY = f"""
recipe: digits
settings: [{SMALL}]
samples: 100
rungs: [0.5, 1]
seeds: [0, 1]
blocks:
  grid:
    equal: false
    axes:
      method.steps: [2, 4]
      learning_rate: [1e-4, 1e-3]
"""


def tiny(text=TINY, *changes):
    return study_from_yaml(text, changes)


def run(study, folder, **options):
    """All trials, in this process."""
    return run_study(study, WorkerJob(folder, **options), 1, StopRequest(), quiet=True)


def content(folder):
    """The results of a study without times and workers."""
    results = read_results(results_folder(folder))
    rest = {"seconds": 0.0, "overhead_seconds": 0.0, "worker": ""}
    return {name: replace(result, **rest) for name, result in results.items()}


def made_up(study, quality, label=lambda trial: "finished", **measures):
    """Outcomes of all trials of a study, with the quality and the label of functions."""
    outcomes, axes = [], all_axes(study)
    for trial in planned_trials(study):
        settings, gradients = leaves(trial.settings), gradients_per_update(trial.settings)
        value, updates = float(quality(settings)), trial.settings.updates
        ending = label(settings)
        end = updates if ending == "finished" else updates // 2
        rungs = tuple(
            Rung(share, round(share * updates), round(share * updates) * gradients, value / share)
            for share in study.rungs
        )
        result = TrialResult(
            trial.name, ending, "", end, updates, end * gradients, updates * gradients,
            seconds=0.001 * end * settings["method.steps"], overhead_seconds=0.0,
            rungs=rungs if ending == "finished" else (),
            measures={name: float(of(settings)) for name, of in measures.items()},
            block=trial.block, levels=trial.levels,
        )  # fmt: skip
        levels = {name: level_of(axis, settings) for name, axis in axes.items()}
        levels |= dict(trial.levels)
        limit = math.inf if study.limit is None else study.limit
        point = settings_digest(replace(trial.settings, seed=0))
        outcomes.append(Outcome(trial, result, levels, settings, point, limit))
    return outcomes
