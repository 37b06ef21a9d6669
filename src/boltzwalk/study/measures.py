"""Measures of a trial: its quality at every rung, and more of a finished one.

==============  =================================================================================
quality         Of samples drawn as in training, or of the density in the plane.
class_entropy   Of the mean class probabilities of these samples, in nats; ln C where the C classes
                have equal shares. Of labelled images.
neighbours      Their median distance to the nearest training row, over that of held-out rows: well
                below 1 for copies, above 1 for samples that are off.
longer          The quality of samples after ten times the steps of training.
displacement    The distance of walkers from held-out rows after 2,000 steps that began there.
proposals       The quality of the proposals of a base, before any walker moves.
==============  =================================================================================

All use the same held-out rows and the same number of samples, so that trials compare. The first
three are measured on every finished trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data import Dataset
from ..evaluation.features import Features, distance_to, features_for
from ..metrics.neighbours import nearest_neighbours
from ..metrics.quadrature import divergences_in_the_plane
from ..model import Model
from ..rng import generator
from ..walkers import walkers_at
from .spec import TrialMeasure

__all__ = ["Judge", "QualityCheck", "judge_for"]

LONG_FACTOR = 10
"""Factor on the steps of training."""

DISPLACEMENT_STEPS, DISPLACEMENT_WALKERS = 2000, 64
"""Steps and number of the walkers that start at held-out rows."""


class QualityCheck(NamedTuple):
    """The quality of a run at its present update; inf where it is not finite.

    Attributes:
        quality: The quality.
        samples: The samples that it was measured on; None for that of a density.
    """

    quality: float
    samples: Tensor | None


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures runs on the same data.

    Attributes:
        name: The name of the quality; lower is better.
        distance: The distance of samples, shape (N, *event), from held-out rows.
        samples: The number of samples.
        density: Whether the quality is that of the density.
        describe: Further measures of samples, by name.
    """

    name: str
    distance: Callable[[Tensor], float]
    samples: int
    density: bool = False
    describe: Callable[[Tensor], dict[str, float]] = lambda x: {}

    def check(self, model: Model) -> QualityCheck:
        """Returns the quality of a run at its present update."""
        if self.density:
            return QualityCheck(self._density(model), None)
        x = self._samples(model)
        return QualityCheck(self._finite(x), x)

    def measure(
        self, model: Model, measures: Sequence[TrialMeasure], x: Tensor | None
    ) -> dict[str, float]:
        """Returns further measures of a finished model, by name.

        Arguments:
            model: The model.
            measures: The measures in addition to those of every trial.
            x: The samples of the last check, shape (N, *event); None where there are none.
        """
        values = {} if x is None or not bool(x.isfinite().all()) else self.describe(x)
        if "longer" in measures:
            steps = LONG_FACTOR * model.settings.method.steps
            values["longer"] = self._finite(self._samples(model, steps))
        if "displacement" in measures:
            values["displacement"] = self._displacement(model)
        if "proposals" in measures:
            x = model.propose(self.samples, self._rng(model, "proposals"))
            values["proposals"] = math.nan if x is None else self._finite(x)
        return values

    def _samples(self, model: Model, steps: int = 0) -> Tensor:
        return model.draw(model.available(self.samples), self._rng(model, "quality"), steps).x

    def _finite(self, x: Tensor) -> float:
        if not bool(x.isfinite().all()):
            return math.inf
        try:
            value = self.distance(x)
        except ValueError:  # too few samples, or samples too far off
            return math.inf
        return value if math.isfinite(value) else math.inf

    def _density(self, model: Model) -> float:
        if not model.temperature > 0:
            return math.inf  # no density without noise
        log_density = _true_log_density(model.settings.data)
        divergences = divergences_in_the_plane(
            model.module, log_density, model.data.train, model.temperature
        )
        return divergences.kl if math.isfinite(divergences.kl) else math.inf

    def _displacement(self, model: Model) -> float:
        rows = model.data.test_rows()[0][:DISPLACEMENT_WALKERS]
        rng = self._rng(model, "displacement")
        final = model.move(walkers_at(model.module, rows), DISPLACEMENT_STEPS, rng).x
        distance = float((final - rows).flatten(1).norm(dim=1).mean())
        return distance if math.isfinite(distance) else math.inf

    def _rng(self, model: Model, purpose: str) -> torch.Generator:
        return generator(model.settings.seed, f"study {purpose}", model.update, model.device)


def _true_log_density(data: object) -> Any:  # noqa: ANN401
    """The log-density that rows were drawn from; None where it is unknown."""
    return getattr(data, "true_log_density", None)


def judge_for(dataset: Dataset, quality: str, samples: int, data: object) -> Judge:
    """Returns the judge of runs on a data set.

    Arguments:
        dataset: The data.
        quality: "samples" or "density", as in a study.
        samples: The number of samples.
        data: The settings of the data.

    Raises:
        ValueError: If the density of the data is not known, or there are too few rows or samples.
    """
    if quality == "density":
        if _true_log_density(data) is None or dataset.event_shape != (2,):
            raise ValueError(
                "quality density needs data whose density is known, such as recipe toy; write "
                "quality: samples"
            )
        return Judge("KL from the data", lambda x: math.nan, samples, density=True)
    reference, _ = dataset.held_out()
    features = features_for(dataset)
    name, distance = distance_to(reference, features, samples)
    distance(reference[: min(samples, len(reference))])  # refuses too few of either at once
    return Judge(name, distance, samples, describe=_describe(dataset, reference, features))


def _describe(
    dataset: Dataset, reference: Tensor, features: Features
) -> Callable[[Tensor], dict[str, float]]:
    """The measures of every finished trial."""
    training = dataset.train.flatten(1)
    held_out = float(nearest_neighbours(reference.flatten(1), training)[0].median())

    def describe(x: Tensor) -> dict[str, float]:
        values = {}
        if features.classes is not None:
            values["class_entropy"] = float(torch.special.entr(features.classes(x).mean(0)).sum())
        if held_out > 0:
            values["neighbours"] = (
                float(nearest_neighbours(x.flatten(1), training)[0].median()) / held_out
            )
        return values

    return describe
