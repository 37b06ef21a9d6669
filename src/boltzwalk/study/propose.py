"""Points that depend on what was found: Optuna proposes them, and is told what became of them.

Optuna keeps what it knows in a journal in the study folder, or in a database of the user's, for
many machines without a shared clock. Each proposal is a file as well, written under a claim like
any other work, so that none is made twice and none is lost where a worker dies.

A point is worth the median quality over its seeds. A trial that failed is worth `WORST`, finite, so
that the sampler learns to stay away; one that was pruned what it had reached.
"""

from __future__ import annotations

import json
import math
import statistics
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipes.lookup import chosen
from ..train.checkpoint import write_atomically
from .claim import claim
from .folder import claims
from .levels import leaves, level_of, value_at
from .plan import Trial, trials_of
from .result import Result
from .spec import Axis, Block, Study

if TYPE_CHECKING:
    import optuna

__all__ = ["propose", "proposed", "tell"]

WORST = 1e6
"""The quality of a trial that failed, to a sampler."""


def proposed(study: Study, folder: Path) -> list[Trial]:
    """Returns the trials of all points that were proposed so far.

    Arguments:
        study: The study.
        folder: Its folder.
    """
    found = []
    for block in study.blocks:
        for path in sorted((folder / "proposed").glob(f"{block.name}-*.json")):
            tree = json.loads(path.read_text())
            values = zip(block.axes, tree["values"].values(), strict=True)
            found += trials_of(study, block, [axis.at(value) for axis, value in values])
    return found


def propose(study: Study, folder: Path, storage: str = "") -> bool:
    """Proposes one more point of a block that has points left; returns whether there was one.

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
            held = claim(claims(folder), path.stem)
            if held is None:
                continue
            try:
                if not path.exists():
                    _write(study, block, number, path, folder, storage)
            finally:
                held.release()
            return True
    return False


def tell(
    study: Study, folder: Path, results: Mapping[str, Result], block: str, storage: str = ""
) -> None:
    """Tells the sampler of the points of a block whose trials are all over.

    Arguments:
        study: The study.
        folder: Its folder.
        results: All results so far.
        block: The block.
        storage: The URL of a database; "" for the journal in the folder.
    """
    import optuna

    known = _optuna_study(study.block(block), folder, storage)
    waiting = {t.number for t in known.get_trials(states=(optuna.trial.TrialState.RUNNING,))}
    for path in sorted((folder / "proposed").glob(f"{block}-*.json")):
        tree = json.loads(path.read_text())
        if tree["number"] not in waiting:
            continue
        axes = study.block(block).axes
        levels = [axis.at(v) for axis, v in zip(axes, tree["values"].values(), strict=True)]
        trials = trials_of(study, study.block(block), levels)
        if all(trial.name in results for trial in trials):
            worth = statistics.median(_worth(results[trial.name]) for trial in trials)
            known.tell(tree["number"], worth, skip_if_finished=True)


def _worth(result: Result) -> float:
    quality = result.quality
    if result.label == "pruned" and result.rungs:
        quality = result.rungs[-1].quality
    return min(quality, WORST) if math.isfinite(quality) else WORST


def _write(study: Study, block: Block, number: int, path: Path, folder: Path, storage: str) -> None:
    """Asks for a point and writes it down."""
    known = _optuna_study(block, folder, storage)
    if number == 0:  # the first one is the recipe as it is, where the axes have it
        known.enqueue_trial(_begin_with(study, block), skip_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sampler that is experimental
        asked = known.ask({axis.name: _distribution(axis) for axis in block.axes})
    values = {axis.name: asked.params[axis.name] for axis in block.axes}
    tree = {"number": asked.number, "values": values}
    write_atomically(path, (json.dumps(tree, indent=1) + "\n").encode())


def _begin_with(study: Study, block: Block) -> dict[str, Any]:
    """The values of the recipe along the axes that it lies on."""
    found = leaves(chosen(study.recipe, [*study.settings, *block.settings]))
    values: dict[str, Any] = {}
    for axis in block.axes:
        value: Any = level_of(axis, found) if axis.levels else value_at(found, axis.name)
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
    """What Optuna knows of a block."""
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
        place: Any = storage or JournalStorage(JournalFileBackend(str(folder / "journal.log")))
        return optuna.create_study(
            storage=place,
            study_name=f"{folder.resolve().name} {block.name}",
            sampler=sampler,
            load_if_exists=True,
        )
