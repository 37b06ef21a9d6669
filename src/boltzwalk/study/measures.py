"""What is measured of a trial: its quality at every rung, and more of a finished one.

==============  =================================================================================
quality         Of samples drawn as in training, or of the density in the plane.
longer          The quality of samples after ten times the steps of training.
displacement    How far walkers are from held-out rows after 2,000 steps that began there.
proposals       The quality of what a network proposes, before any walker moves.
==============  =================================================================================

All of it is against the same held-out rows and with as many samples, so that trials compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data import Dataset, Toy
from ..evaluation.features import distance_to, features_for
from ..evaluation.quality import held_out_rows
from ..metrics.quadrature import divergences_in_the_plane
from ..rng import generator
from ..train.held_out import unseen
from ..train.model import available, draw, move, proposals
from ..train.run import Run
from ..walkers import evaluate
from .spec import Measure

__all__ = ["Judge", "judge_for"]

LONGER = 10
"""Times the steps of training."""

STEPS, WALKERS = 2000, 64
"""Of the walkers that start at held-out rows."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures runs on the same data.

    Attributes:
        name: What the quality is called; lower is better.
        distance: How far samples, shape (N, *event), are from held-out rows.
        samples: How many are drawn.
        density: Whether the quality is that of the density.
    """

    name: str
    distance: Callable[[Tensor], float]
    samples: int
    density: bool = False

    def quality(self, run: Run) -> float:
        """Returns the quality of a run as it is; inf where it is not a number."""
        if self.density:
            return self._density(run)
        return self._of(run, 0)

    def measure(self, run: Run, wanted: Sequence[Measure]) -> dict[str, float]:
        """Returns more numbers of a finished run, by name."""
        found = {}
        if "longer" in wanted:
            steps = LONGER * run.settings.method.steps
            found["longer"] = self._of(run, steps)
        if "displacement" in wanted:
            found["displacement"] = self._displacement(run)
        if "proposals" in wanted:
            x = proposals(run, self.samples, self._rng(run, "proposals"))
            found["proposals"] = math.nan if x is None else self._finite(x)
        return found

    def _of(self, run: Run, steps: int) -> float:
        n = available(run, self.samples)
        return self._finite(draw(run, n, self._rng(run, "quality"), steps).x)

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
    name, distance = distance_to(reference, features_for(dataset))
    distance(reference[: min(samples, len(reference))])  # refuses too few of either, at once
    return Judge(name, distance, samples)
