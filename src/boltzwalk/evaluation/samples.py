"""Samples of a run for its evaluation: many, in the way it was trained to draw them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..metrics.rows import describe_non_finite
from ..model import Model
from ..smc.resampling import ancestors
from ..walkers import cat, effective_sample_size

__all__ = ["Drawn", "draw_many", "finite_part"]


class Drawn(NamedTuple):
    """Samples and how they came about.

    Attributes:
        x: The finite ones, shape (N, *event), in model units.
        log_w: Their log-weights, shape (N,); None where all count the same.
        protocol: How they were drawn.
        wrong: Which were not finite, in words; "" where all were.
        asked: How many there were with those.
        labels: The class that each was asked for, shape (N,); None where none was.
    """

    x: Tensor
    log_w: Tensor | None
    protocol: str
    wrong: str
    asked: int
    labels: Tensor | None = None

    @property
    def share(self) -> Tensor | None:
        """The weights as shares of one, shape (N,); None where all count the same."""
        return None if self.log_w is None else torch.softmax(self.log_w.double(), 0)

    def rows(self, most: int, rng: torch.Generator) -> Tensor:
        r"""Returns samples of equal weight in random order, at most so many, on the CPU.

        Weighted ones are resampled, so that some come more than once.

        Arguments:
            most: The largest number of rows.
            rng: The source of the choice.
        """
        x = self.x
        if self.log_w is not None and len(x):
            x = x[ancestors(self.log_w, torch.Generator().manual_seed(rng.initial_seed()))]
        return x[torch.randperm(len(x), generator=rng, device=rng.device).cpu()[:most]]


def draw_many(model: Model, n: int, rng: torch.Generator) -> Drawn:
    """Draws n samples by the sampler of training, or takes the weighted walkers that there are.

    Where a run keeps fewer walkers than that, they are visited again each time they have moved on
    by the steps of training.

    Arguments:
        model: The model.
        n: How many samples.
        rng: The source of the noise.
    """
    walkers = model.weighted_walkers()
    if walkers is not None:
        effective = float(effective_sample_size(walkers.log_w))
        protocol = f"{len(walkers):,} weighted walkers, {effective:,.0f} in effect"
        return finite_part(walkers.x, walkers.log_w, protocol)
    least, steps = model.available(n), model.method.steps
    condition = model.method.condition
    if condition.classes:
        c = condition.sample(condition.rows(model.data), n, rng)
        assert c is not None
        protocol = f"{n:,} samples, {steps} steps each, of classes in the proportions of the data"
        return finite_part(model.draw(n, rng, c=c).x, None, protocol, c.argmax(1))
    visits = [model.draw(least, rng)]
    while sum(map(len, visits)) < n:
        visits.append(model.move(visits[-1], steps, rng))
    protocol = f"{n:,} samples, {steps} steps each"
    if len(visits) > 1:
        protocol = f"{n:,} samples: {least:,} walkers, {len(visits)} times, {steps} steps apart"
    return finite_part(cat(*visits).x[:n], None, protocol)


def finite_part(
    x: Tensor, log_w: Tensor | None, protocol: str, labels: Tensor | None = None
) -> Drawn:
    """Parts the samples that are not finite from the others, and says so.

    Arguments:
        x: The samples, shape (N, *event).
        log_w: Their log-weights, shape (N,); None where all count the same.
        protocol: How they were drawn.
        labels: The class that each was asked for, shape (N,); None where none was.
    """
    x = x.detach().float().cpu()
    keep = x.flatten(1).isfinite().all(1)
    if log_w is not None:
        log_w = log_w.detach().cpu()[keep]
    if labels is not None:
        labels = labels.cpu()[keep]
    return Drawn(x[keep], log_w, protocol, describe_non_finite(x), len(x), labels)
