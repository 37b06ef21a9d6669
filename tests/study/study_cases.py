"""Small studies that run in seconds, and results that are made up, with a known answer."""

import math
from dataclasses import replace

from boltzwalk.study.folder import results
from boltzwalk.study.levels import leaves, level_of
from boltzwalk.study.manage import conduct
from boltzwalk.study.outcome import Outcome
from boltzwalk.study.plan import digest, gradients, planned
from boltzwalk.study.result import Result, Rung
from boltzwalk.study.spec import axes_of, from_yaml
from boltzwalk.study.worker import Job
from boltzwalk.train.process import StopRequest

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
    return from_yaml(text, changes)


def run(study, folder, **options):
    """All trials, in this process."""
    return conduct(study, Job(folder, **options), 1, StopRequest(), quiet=True)


def content(folder):
    """What the results say, but for times and workers."""
    found = {}
    for path in sorted(results(folder).glob("*.json")):
        from boltzwalk.study.result import read_results

        one = read_results(results(folder))[path.stem]
        found[path.stem] = replace(one, seconds=0.0, beside=0.0, worker="")
    return found


def made_up(study, quality, label=lambda trial: "finished", **measures):
    """Outcomes of all trials of a study, with the quality and the label of functions."""
    found, axes = [], axes_of(study)
    for trial in planned(study):
        settings, each = leaves(trial.settings), gradients(trial.settings)
        value, updates = float(quality(settings)), trial.settings.updates
        how = label(settings)
        end = updates if how == "finished" else updates // 2
        rungs = tuple(
            Rung(share, round(share * updates), round(share * updates) * each, value / share)
            for share in study.rungs
        )
        result = Result(
            trial.name, how, "", end, updates, end * each, updates * each,
            seconds=0.001 * end * settings["method.steps"], beside=0.0,
            rungs=rungs if how == "finished" else (),
            measures={name: float(of(settings)) for name, of in measures.items()},
            block=trial.block, levels=trial.levels,
        )  # fmt: skip
        levels = {name: level_of(axis, settings) for name, axis in axes.items()}
        levels |= dict(trial.levels)
        limit = math.inf if study.limit is None else study.limit
        point = digest(replace(trial.settings, seed=0))
        found.append(Outcome(trial, result, levels, settings, point, limit))
    return found
