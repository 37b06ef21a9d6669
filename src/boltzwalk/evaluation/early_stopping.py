"""The number of steps after which latent chains give the best samples.

Chains that descend an energy faster than they spread improve at first, and then leave the data. A
thousand chains from the base, ten thousand of small events, are compared with held-out rows at ten
checkpoints; they stop after two checkpoints in a row that are worse than the best. Test rows take
no part, so that they can judge the result.

Not guaranteed: that the best checkpoint is best for other chains as well. Where all checkpoints
agree within the noise of so many samples, any of them may be the best.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..model import Model
from .features import distance_to, features_for

__all__ = ["ChainQuality", "best_chain_length"]

CHECKPOINTS, ROWS = 10, 5000

MIN_CHAINS, MAX_CHAINS, ENTRIES = 1000, 10_000, 800_000
"""Chains: as many as have so many entries in all, within these bounds."""

PATIENCE = 2
"""Checkpoints in a row that are worse than the best."""


class ChainQuality(NamedTuple):
    """The quality of samples along latent chains.

    Attributes:
        name: The name of the distance; lower is better.
        split: The rows that it is measured to.
        checkpoints: The numbers of steps; the first is 0, the base alone.
        quality: The distance at each.
        max_steps: The steps after which the chains would have ended.
    """

    name: str
    split: str
    checkpoints: tuple[int, ...]
    quality: tuple[float, ...]
    max_steps: int

    @property
    def best(self) -> int:
        """The number of steps of the best checkpoint."""
        return self.checkpoints[self.quality.index(min(self.quality))]

    @property
    def text(self) -> str:
        """The checkpoints as text."""
        pairs = zip(self.checkpoints[1:], self.quality[1:], strict=True)
        along = ", ".join(f"{value:.3g} after {steps}" for steps, value in pairs)
        base, least = self.quality[0], min(self.quality)
        ended = self.checkpoints[-1] == self.max_steps
        stopped = "" if ended else f", stopped before {self.max_steps}"
        return (
            f"{self.name} to {self.split} rows: base {base:.3g}, {along}{stopped}; best after "
            f"{self.best} steps, {least / base:.2f} of the base"
        )


def best_chain_length(
    model: Model, rng: torch.Generator, steps: int = 0, chains: int = 0
) -> ChainQuality:
    """Returns the quality of samples of a generalized model along its latent chains.

    Arguments:
        model: The model.
        rng: The source of the noise.
        steps: The largest number of steps; 0 takes that of the settings.
        chains: The number of chains; 0 takes a thousand, or more of small events.

    Raises:
        ValueError: If the method moves no latent variables, or samples by the base alone.
    """
    if not model.method.latent:
        raise ValueError(
            "an early stop must be of latent chains of a generalized model, got the method "
            f"{type(model.settings.method).__name__}; `boltzwalk evaluate --sections long_run` "
            "judges its long chains"
        )
    max_steps = steps or model.method.steps
    if not max_steps:
        raise ValueError("an early stop needs chains, got sample_steps=0; write --steps 200")
    rows, split = model.data.validation, "validation"
    if len(rows) < 2:
        rows, split = model.data.train, "training"
    entries = math.prod(model.data.event_shape)
    chains = chains or max(MIN_CHAINS, min(MAX_CHAINS, ENTRIES // entries))
    name, distance = distance_to(rows[:: -(-len(rows) // ROWS)], features_for(model.data), chains)
    shares = range(1, CHECKPOINTS + 1)
    planned = sorted({0, *(round(max_steps * share / CHECKPOINTS) for share in shares)})
    checkpoints: list[int] = []
    quality: list[float] = []
    with model.arithmetic():
        walkers_along = model.method.trajectory(model.module, chains, planned, rng)
        for checkpoint, walkers in zip(planned, walkers_along, strict=True):
            if not bool(walkers.x.isfinite().all()):
                break
            checkpoints.append(checkpoint)
            quality.append(distance(walkers.x))
            if min(quality) < min(quality[-PATIENCE:]):
                break
    return ChainQuality(name, split, tuple(checkpoints), tuple(quality), max_steps)
