"""What is measured of a trial: its quality at every rung, and more of a finished one.

==============  =================================================================================
quality         Of samples drawn as in training, or of the density in the plane.
class_entropy   Of the mean class probabilities of these samples, in nats; ln C where the C classes
                have equal shares. Of labelled images.
neighbours      Their median distance to the nearest training row, over that of held-out rows: well
                below 1 for copies, above 1 for samples that are off.
longer          The quality of samples after ten times the steps of training.
displacement    How far walkers are from held-out rows after 2,000 steps that began there.
proposals       The quality of what a network proposes, before any walker moves.
==============  =================================================================================

All of it is against the same held-out rows and with as many samples, so that trials compare. The
first three are taken of every finished trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import Dataset, Toy
from ..evaluation.features import Features, distance_to, features_for
from ..evaluation.quality import held_out_rows
from ..metrics.neighbours import nearest
from ..metrics.quadrature import divergences_in_the_plane
from ..rng import generator
from ..train.execute import unseen
from ..train.run import Run
from ..train.sampling import available, draw, move, proposals
from ..walkers import evaluate
from .spec import Measure

__all__ = ["Judge", "Look", "judge_for"]

LONGER = 10
"""Times the steps of training."""

STEPS, WALKERS = 2000, 64
"""Of the walkers that start at held-out rows."""


class Look(NamedTuple):
    """The quality of a run as it is, inf where it is not a number, and the samples that have it.

    Of a density there are no samples.
    """

    quality: float
    samples: Tensor | None


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures runs on the same data.

    Attributes:
        name: What the quality is called; lower is better.
        distance: How far samples, shape (N, *event), are from held-out rows.
        samples: How many are drawn.
        density: Whether the quality is that of the density.
        describe: More numbers of samples, by name.
    """

    name: str
    distance: Callable[[Tensor], float]
    samples: int
    density: bool = False
    describe: Callable[[Tensor], dict[str, float]] = lambda x: {}

    def look(self, run: Run) -> Look:
        """Returns the quality of a run as it is."""
        if self.density:
            return Look(self._density(run), None)
        x = self._drawn(run)
        return Look(self._finite(x), x)

    def measure(self, run: Run, wanted: Sequence[Measure], x: Tensor | None) -> dict[str, float]:
        """Returns more numbers of a finished run, by name.

        Arguments:
            run: The run.
            wanted: What is taken beside what always is.
            x: The samples of the last look at it, where there are some.
        """
        found = {} if x is None or not bool(x.isfinite().all()) else self.describe(x)
        if "longer" in wanted:
            steps = LONGER * run.settings.method.steps
            found["longer"] = self._finite(self._drawn(run, steps))
        if "displacement" in wanted:
            found["displacement"] = self._displacement(run)
        if "proposals" in wanted:
            x = proposals(run, self.samples, self._rng(run, "proposals"))
            found["proposals"] = math.nan if x is None else self._finite(x)
        return found

    def _drawn(self, run: Run, steps: int = 0) -> Tensor:
        return draw(run, available(run, self.samples), self._rng(run, "quality"), steps).x

    def _finite(self, x: Tensor) -> float:
        if not bool(x.isfinite().all()):
            return math.inf
        try:
            value = self.distance(x)
        except ValueError:  # no distance to so few samples, or samples so far off
            return math.inf
        return value if math.isfinite(value) else math.inf

    def _density(self, run: Run) -> float:
        data, settings = run.dataset, run.settings
        assert isinstance(settings.data, Toy)  # `judge_for` refuses others
        kernel = settings.method.kernel
        if not kernel.temperature > 0:
            return math.inf  # no density without noise
        found = divergences_in_the_plane(
            run.model, settings.data.density().log_density, data.train, kernel.temperature
        )
        return found.kl if math.isfinite(found.kl) else math.inf

    def _displacement(self, run: Run) -> float:
        rows = unseen(run.dataset)[0][:WALKERS]
        moved = move(run, evaluate(run.model, rows), STEPS, self._rng(run, "displacement")).x
        found = float((moved - rows).flatten(1).norm(dim=1).mean())
        return found if math.isfinite(found) else math.inf

    def _rng(self, run: Run, purpose: str) -> torch.Generator:
        return generator(run.settings.seed, f"study {purpose}", run.update, run.settings.device)


def judge_for(dataset: Dataset, quality: str, samples: int, data: object) -> Judge:
    """Returns what measures runs on this data.

    Arguments:
        dataset: The data.
        quality: "samples" or "density", as in a study.
        samples: How many samples are judged.
        data: The settings of the data.

    Raises:
        ValueError: If the density of the data is not known, or there are too few rows or samples.
    """
    if quality == "density":
        if not isinstance(data, Toy):
            raise ValueError(
                "quality density needs data whose density is known, such as recipe toy; write "
                "quality: samples"
            )
        return Judge("KL from the data", lambda x: math.nan, samples, density=True)
    reference, _ = held_out_rows(dataset)
    features = features_for(dataset)
    name, distance = distance_to(reference, features)
    distance(reference[: min(samples, len(reference))])  # refuses too few of either, at once
    return Judge(name, distance, samples, describe=_describe(dataset, reference, features))


def _describe(
    dataset: Dataset, reference: Tensor, features: Features
) -> Callable[[Tensor], dict[str, float]]:
    """The numbers of every finished trial."""
    training = dataset.train.flatten(1)
    usual = float(nearest(reference.flatten(1), training)[0].median())

    def describe(x: Tensor) -> dict[str, float]:
        found = {}
        if features.classes is not None:
            found["class_entropy"] = float(torch.special.entr(features.classes(x).mean(0)).sum())
        if usual > 0:
            found["neighbours"] = float(nearest(x.flatten(1), training)[0].median()) / usual
        return found

    return describe
