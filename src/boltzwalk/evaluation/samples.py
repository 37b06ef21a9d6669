"""Samples of a model for its evaluation, drawn by the sampler of training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..metrics.rows import describe_non_finite
from ..model import Model
from ..smc.resampling import ancestors
from ..walkers import cat, effective_sample_size

__all__ = ["SampleSet", "draw_samples", "keep_finite"]


class SampleSet(NamedTuple):
    """Samples with their weights and the way they were drawn.

    Attributes:
        x: The finite samples, shape (N, *event), in model units.
        log_w: Their log-weights, shape (N,); None where all have the same weight.
        protocol: How they were drawn.
        not_finite: A description of samples that are not finite; "" where all are.
        requested: The number of samples with those.
        labels: The class that each was asked for, shape (N,); None without classes.
    """

    x: Tensor
    log_w: Tensor | None
    protocol: str
    not_finite: str
    requested: int
    labels: Tensor | None = None

    @property
    def weights(self) -> Tensor | None:
        """The normalised weights, shape (N,); None where all are the same."""
        return None if self.log_w is None else torch.softmax(self.log_w.double(), 0)

    def rows(self, n: int, rng: torch.Generator) -> Tensor:
        r"""Returns at most n samples of equal weight, in random order, on the CPU.

        Weighted samples are resampled, so that some occur more than once.

        Arguments:
            n: The largest number of rows.
            rng: The source of the choice.
        """
        x = self.x
        if self.log_w is not None and len(x):
            x = x[ancestors(self.log_w, torch.Generator().manual_seed(rng.initial_seed()))]
        return x[torch.randperm(len(x), generator=rng, device=rng.device).cpu()[:n]]


def draw_samples(model: Model, n: int, rng: torch.Generator) -> SampleSet:
    """Draws n samples by the sampler of training, or takes all weighted walkers.

    Where a model stores fewer walkers, each is taken again after it has moved on by the steps of
    training.

    Arguments:
        model: The model.
        n: The number of samples.
        rng: The source of the noise.
    """
    walkers = model.weighted_walkers()
    if walkers is not None:
        effective = float(effective_sample_size(walkers.log_w))
        protocol = f"{len(walkers):,} weighted walkers, {effective:,.0f} in effect"
        return keep_finite(walkers.x, walkers.log_w, protocol)
    stored, steps = model.available(n), model.method.steps
    condition = model.method.condition
    if condition.classes:
        c = condition.sample(condition.rows(model.data), n, rng)
        assert c is not None
        protocol = f"{n:,} samples, {steps} steps each, of classes in the proportions of the data"
        return keep_finite(model.draw(n, rng, c=c).x, None, protocol, c.argmax(1))
    visits = [model.draw(stored, rng)]
    while sum(map(len, visits)) < n:
        visits.append(model.move(visits[-1], steps, rng))
    protocol = f"{n:,} samples, {steps} steps each"
    if len(visits) > 1:
        protocol = f"{n:,} samples: {stored:,} walkers, {len(visits)} times, {steps} steps apart"
    return keep_finite(cat(*visits).x[:n], None, protocol)


def keep_finite(
    x: Tensor, log_w: Tensor | None, protocol: str, labels: Tensor | None = None
) -> SampleSet:
    """Returns the finite samples, with a description of the others.

    Arguments:
        x: The samples, shape (N, *event).
        log_w: Their log-weights, shape (N,); None where all have the same weight.
        protocol: How they were drawn.
        labels: The class that each was asked for, shape (N,); None without classes.
    """
    x = x.detach().float().cpu()
    keep = x.flatten(1).isfinite().all(1)
    if log_w is not None:
        log_w = log_w.detach().cpu()[keep]
    if labels is not None:
        labels = labels.cpu()[keep]
    return SampleSet(x[keep], log_w, protocol, describe_non_finite(x), len(x), labels)
