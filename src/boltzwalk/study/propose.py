"""Points that depend on results: Optuna proposes them and is told their objective.

Optuna keeps its state in a journal in the study folder, or in a database of the user's, for many
machines without a shared clock. Each proposal is a file as well, written under a claim like a
trial, so that none is made twice and none is lost where a worker dies.

The objective of a point is the median quality over its seeds: `FAILURE_QUALITY`, which is finite,
for a trial that failed, so that the sampler learns to avoid it, and the quality at the last rung
for one that was pruned.
"""

from __future__ import annotations

import json
import math
import statistics
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checkpoint import write_atomically
from ..recipes.lookup import settings_from
from .levels import leaves, level_of, value_at
from .plan import Trial, planned_trials, trials_of
from .results import TrialResult, read_result_folder
from .spec import Axis, Block, Level, Study
from .storage import acquire_claim, claims_folder, results_folder

if TYPE_CHECKING:
    import optuna

__all__ = [
    "Proposals",
    "ProposedPoint",
    "all_trials",
    "damage_note",
    "propose_point",
    "proposed_trials",
    "read_proposals",
    "tell",
]

MOST_NAMED = 5
"""The most damaged files that a message names."""

FAILURE_QUALITY = 1e6
"""The quality of a trial that failed, to a sampler."""


class Proposals(NamedTuple):
    """The proposed points of a block, by file."""

    points: dict[Path, ProposedPoint]
    damaged: dict[Path, str]  # why a file holds none


class ProposedPoint(NamedTuple):
    """A point that the sampler has proposed."""

    number: int  # of the point, to the sampler
    levels: list[Level]  # on the axes of the block


def read_proposals(folder: Path, block: Block) -> Proposals:
    """Returns the proposed points of a block.

    Arguments:
        folder: The folder of the study.
        block: The block.
    """
    proposals = Proposals({}, {})
    for path in sorted((folder / "proposed").glob(f"{block.name}-*.json")):
        try:
            proposals.points[path] = _point(block, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            proposals.damaged[path] = str(error) or type(error).__name__
    return proposals


def _point(block: Block, tree: Any) -> ProposedPoint:  # noqa: ANN401
    """The point of a file; a ValueError gives the reason where it holds none."""
    if not isinstance(tree, dict) or type(tree.get("number")) is not int:
        raise ValueError("it has no number of a point")
    values, names = tree.get("values"), [axis.name for axis in block.axes]
    if not isinstance(values, dict) or set(values) != set(names):
        raise ValueError(f"it has no values of {', '.join(names)}")
    for axis in block.axes:
        value = values[axis.name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        levels = [level.name for level in axis.levels]
        if value not in levels if levels else not (is_number and axis.low <= value <= axis.high):
            raise ValueError(f"{axis.name} has no such value: {value!r:.40}")
    return ProposedPoint(tree["number"], [axis.at(values[axis.name]) for axis in block.axes])


def proposed_trials(study: Study, folder: Path) -> list[Trial]:
    """Returns the trials of all proposed points, but those whose files are damaged.

    Arguments:
        study: The study.
        folder: Its folder.
    """
    return [
        trial
        for block in study.blocks
        for point in read_proposals(folder, block).points.values()
        for trial in trials_of(study, block, point.levels)
    ]


def damage_note(study: Study, folder: Path) -> str:
    """Returns sentences on damaged results and proposed points, which are left out; "" for none.

    Arguments:
        study: The study.
        folder: Its folder.
    """
    results, proposed = results_folder(folder), folder / "proposed"
    points = {
        path.name: reason
        for block in study.blocks
        for path, reason in read_proposals(folder, block).damaged.items()
    }
    return " ".join(
        f"{len(damaged)} damaged of {len(list(path.glob('*.json')))} {kind} are left out "
        f"({_listed(damaged)}). To make {them}, delete the files in {path} and run the study."
        for damaged, path, kind, them in (
            (read_result_folder(results).damaged, results, "results", "these trials again"),
            (points, proposed, "proposed points", "other ones"),
        )
        if damaged
    )


def _listed(damaged: Mapping[str, str]) -> str:
    """The first files with the reasons, and the number of the others."""
    named = [f"{name}: {reason}" for name, reason in damaged.items()]
    more = [f"and {len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    return "; ".join([*named[:MOST_NAMED], *more])


def all_trials(study: Study, folder: Path) -> list[Trial]:
    """Returns the planned and the proposed trials of a study.

    Arguments:
        study: The study.
        folder: Its folder.
    """
    return [*planned_trials(study), *proposed_trials(study, folder)]


def propose_point(study: Study, folder: Path, storage: str = "") -> bool:
    """Proposes the next point of a block with open points; returns whether there was one.

    Arguments:
        study: The study.
        folder: Its folder.
        storage: The URL of a database; "" for the journal in the folder.
    """
    for block in (block for block in study.blocks if block.adaptive):
        for number in range(block.trials):
            path = folder / "proposed" / f"{block.name}-{number:05d}.json"
            if path.exists():
                continue
            claim = acquire_claim(claims_folder(folder), path.stem)
            if claim is None:
                continue
            try:
                if not path.exists():
                    _write(study, block, number, path, folder, storage)
            finally:
                claim.release()
            return True
    return False


def tell(
    study: Study, folder: Path, results: Mapping[str, TrialResult], block: str, storage: str = ""
) -> None:
    """Tells the sampler the objective of the points of a block whose trials have all ended.

    Arguments:
        study: The study.
        folder: Its folder.
        results: All results so far.
        block: The block.
        storage: The URL of a database; "" for the journal in the folder.
    """
    import optuna

    sampler_study = _optuna_study(study.block(block), folder, storage)
    waiting = {
        t.number for t in sampler_study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    }
    for point in read_proposals(folder, study.block(block)).points.values():
        if point.number not in waiting:
            continue
        trials = trials_of(study, study.block(block), point.levels)
        if all(trial.name in results for trial in trials):
            objective = statistics.median(_objective(results[trial.name]) for trial in trials)
            sampler_study.tell(point.number, objective, skip_if_finished=True)


def _objective(result: TrialResult) -> float:
    quality = result.quality
    if result.label == "pruned" and result.rungs:
        quality = result.rungs[-1].quality
    return min(quality, FAILURE_QUALITY) if math.isfinite(quality) else FAILURE_QUALITY


def _write(study: Study, block: Block, number: int, path: Path, folder: Path, storage: str) -> None:
    """Asks the sampler for a point and writes its file."""
    sampler_study = _optuna_study(block, folder, storage)
    if number == 0:  # the first point is the baseline, where the axes contain it
        sampler_study.enqueue_trial(_baseline_values(study, block), skip_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sampler that is experimental
        asked = sampler_study.ask({axis.name: _distribution(axis) for axis in block.axes})
    values = {axis.name: asked.params[axis.name] for axis in block.axes}
    tree = {"number": asked.number, "values": values}
    write_atomically(path, (json.dumps(tree, indent=1) + "\n").encode())


def _baseline_values(study: Study, block: Block) -> dict[str, Any]:
    """The values of the recipe on the axes that contain them."""
    settings = leaves(settings_from(study.recipe, [*study.settings, *block.settings]))
    values: dict[str, Any] = {}
    for axis in block.axes:
        value: Any = level_of(axis, settings) if axis.levels else value_at(settings, axis.name)
        if value and (axis.levels or axis.low <= value <= axis.high):
            values[axis.name] = value
    return values


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if axis.levels:
        return CategoricalDistribution([level.name for level in axis.levels])
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _optuna_study(block: Block, folder: Path, storage: str) -> optuna.Study:
    """The study of a block in Optuna."""
    try:
        import optuna
    except ImportError as error:
        raise ValueError(
            f"sampler {block.sampler} needs Optuna; pip install 'boltzwalk[study]', or write "
            "sampler: random"
        ) from error
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler: optuna.samplers.BaseSampler
        if block.sampler == "gp":
            sampler = optuna.samplers.GPSampler()
        else:
            sampler = optuna.samplers.TPESampler(constant_liar=True, multivariate=True)
        backend: Any = storage or JournalStorage(JournalFileBackend(str(folder / "journal.log")))
        return optuna.create_study(
            storage=backend,
            study_name=f"{folder.resolve().name} {block.name}",
            sampler=sampler,
            load_if_exists=True,
        )
