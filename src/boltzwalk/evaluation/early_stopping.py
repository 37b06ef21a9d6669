"""Where the quality of latent chains turns: as many steps as make samples better, and no more.

Chains that go down an energy faster than they spread gain at first, and then leave the data: how
many steps are best is not known before. A thousand chains from the base, ten thousand of small
events, are looked at ten times, each time judged by rows that they were not trained on, and left
when two looks in a row are worse than the best. Test rows take no part, so that what is chosen can
be judged by them.

Not guaranteed: that the best look is best for other chains as well; where all looks are within the
noise of so many samples, any of them may be the best.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..model import Model
from .features import distance_to, features_for

__all__ = ["Turning", "turning"]

LOOKS, ROWS = 10, 5000

FEWEST, MOST, ENTRIES = 1000, 10_000, 800_000
"""Chains: as many as have so many entries in all, within these bounds."""

PATIENCE = 2
"""Looks in a row that are worse than the best."""


class Turning(NamedTuple):
    """How good samples are along latent chains.

    Attributes:
        name: What the quality is called; lower is better.
        split: The rows that judge.
        looks: The numbers of steps; the first is 0, the base alone.
        quality: The quality after each.
        most: The steps after which the chains would have ended.
    """

    name: str
    split: str
    looks: tuple[int, ...]
    quality: tuple[float, ...]
    most: int

    @property
    def best(self) -> int:
        """The number of steps of the best look."""
        return self.looks[self.quality.index(min(self.quality))]

    @property
    def text(self) -> str:
        """The looks in words."""
        pairs = zip(self.looks[1:], self.quality[1:], strict=True)
        along = ", ".join(f"{value:.3g} after {look}" for look, value in pairs)
        base, least = self.quality[0], min(self.quality)
        stopped = "" if self.looks[-1] == self.most else f", stopped before {self.most}"
        return (
            f"{self.name} to {self.split} rows: base {base:.3g}, {along}{stopped}; best after "
            f"{self.best} steps, {least / base:.2f} of the base"
        )


def turning(model: Model, rng: torch.Generator, steps: int = 0, chains: int = 0) -> Turning:
    """Returns how good samples of a generalized model are along its latent chains.

    Arguments:
        model: The model.
        rng: The source of the noise.
        steps: The most steps; 0 takes those of the settings.
        chains: How many chains; 0 takes a thousand, or more of small events.

    Raises:
        ValueError: If the run moves no latent variables, or samples by the base alone.
    """
    if not model.method.latent:
        raise ValueError(
            "an early stop must be of latent chains of a generalized model, got the method "
            f"{type(model.settings.method).__name__}; `boltzwalk evaluate --parts long_run` says "
            "what becomes of its chains"
        )
    most = steps or model.method.steps
    if not most:
        raise ValueError("an early stop needs chains, got sample_steps=0; write --steps 200")
    rows, split = model.data.validation, "validation"
    if len(rows) < 2:
        rows, split = model.data.train, "training"
    name, distance = distance_to(rows[:: -(-len(rows) // ROWS)], features_for(model.data))
    chains = chains or max(FEWEST, min(MOST, ENTRIES // math.prod(model.data.event_shape)))
    planned = sorted({0, *(round(most * share / LOOKS) for share in range(1, LOOKS + 1))})
    looks: list[int] = []
    quality: list[float] = []
    with model.arithmetic():
        for look, walkers in zip(
            planned, model.method.trajectory(model.module, chains, planned, rng), strict=True
        ):
            if not bool(walkers.x.isfinite().all()):
                break
            looks.append(look)
            quality.append(distance(walkers.x))
            if min(quality) < min(quality[-PATIENCE:]):
                break
    return Turning(name, split, tuple(looks), tuple(quality), most)
