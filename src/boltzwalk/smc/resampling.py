r"""Resampling: walkers are copied or dropped by their weights, with an unchanged log Z.

A scheme draws N ancestors so that walker i has :math:`N \bar w_i` children on average,
:math:`\bar w = \mathrm{softmax}(\log w)`. The schemes differ in the noise that they add:

===============  ==================================================================
``systematic``   one uniform number; :math:`\lfloor N\bar w_i \rfloor` or one more
                 children of walker i: the least noise, the default
``stratified``   one uniform number in each of N equal strata
``residual``     :math:`\lfloor N\bar w_i \rfloor` children for certain, the rest multinomial
``multinomial``  N independent draws: the most noise
===============  ==================================================================

Every survivor gets the mean weight, so that the mean weight, and with it log Z, is unchanged.

Not guaranteed: that modes survive. Each resampling is a random step of the mass of every mode; a
population that is resampled at every step loses its modes one by one. Resample rarely.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..walkers import Walkers, effective_sample_size, log_mean_weight

__all__ = ["ResamplingScheme", "ancestors", "require_ess_threshold", "resample", "resample_below"]

ResamplingScheme: TypeAlias = Literal["systematic", "stratified", "residual", "multinomial"]
"""The names of the schemes."""


def ancestors(
    log_w: Float[Tensor, " N"], rng: torch.Generator, scheme: ResamplingScheme = "systematic"
) -> Int[Tensor, " N"]:
    r"""Draws the ancestor of each of N walkers, shape (N,), in ascending order.

    Arguments:
        log_w: The log-weights, shape (N,).
        rng: The random generator.
        scheme: The resampling scheme.

    Raises:
        FloatingPointError: If every weight is zero, or one is nan or infinite.

    References:
        | Comparison of resampling schemes for particle filtering (Douc, Cappé and Moulines, 2005)

    Example:
        >>> log_w = torch.tensor([0.5, 0.5, 2.0, 1.0]).log()
        >>> ancestors(log_w, torch.Generator().manual_seed(1), "residual")
        tensor([0, 2, 2, 3])
    """
    # In float64: a float32 sum over a million walkers misplaces a hundred of them.
    shares = torch.softmax(log_w.double(), 0)
    if not bool(shares.isfinite().all()):
        largest = "nan" if bool(log_w.isnan().any()) else f"{float(log_w.max())} at most"
        raise FloatingPointError(
            f"resampling needs a walker of positive finite weight, got log-weights of {largest}: "
            "the energy has changed more in one update than the walkers could follow; lower the "
            "learning rate or the step size"
        )
    n = len(log_w)
    if scheme == "residual":
        return _residual(shares, rng)
    count = 1 if scheme == "systematic" else n
    u = torch.rand(count, generator=rng, device=log_w.device, dtype=torch.float64)
    if scheme == "multinomial":
        points = u.sort().values
    else:
        points = (torch.arange(n, device=log_w.device) + u) / n
    return _at(shares, points)


def resample(
    walkers: Walkers, rng: torch.Generator, scheme: ResamplingScheme = "systematic"
) -> Walkers:
    """Returns N walkers of equal weight, each a copy of its ancestor in every field.

    The mean weight, :func:`~boltzwalk.walkers.log_mean_weight`, is unchanged.

    Arguments:
        walkers: The weighted walkers.
        rng: The random generator.
        scheme: The resampling scheme.

    Raises:
        FloatingPointError: If every weight is zero, or one is nan or infinite.
    """
    survivors = walkers[ancestors(walkers.log_w, rng, scheme)]
    equal = log_mean_weight(walkers.log_w).expand(len(walkers)).clone()
    return dataclasses.replace(survivors, log_w=equal)


def resample_below(
    walkers: Walkers,
    threshold: float,
    rng: torch.Generator,
    scheme: ResamplingScheme = "systematic",
    replicates: int = 1,
) -> tuple[Walkers, int]:
    """Resamples each replicate whose effective sample size is below its threshold.

    Replicates are consecutive blocks of equal size that share only the energy.

    Arguments:
        walkers: The walkers of all the replicates.
        threshold: The share of a replicate below which it is resampled, in (0, 1].
        rng: The random generator.
        scheme: The resampling scheme.
        replicates: The number of replicates.

    Returns:
        The walkers, and the number of resampled replicates.

    Raises:
        FloatingPointError: If every weight of a replicate is zero, or one is nan or infinite.
    """
    blocks = walkers.log_w.reshape(replicates, -1)
    size = blocks.shape[1]
    low = ~(effective_sample_size(blocks) >= threshold * size)  # nan counts as low
    if not bool(low.any()):
        return walkers, 0
    index = torch.arange(len(walkers), device=blocks.device).reshape(replicates, size)
    log_w = blocks.clone()
    chosen = low.nonzero().flatten().tolist()
    for i in chosen:
        index[i] = i * size + ancestors(blocks[i], rng, scheme)
        log_w[i] = log_mean_weight(blocks[i])
    return dataclasses.replace(walkers[index.flatten()], log_w=log_w.flatten()), len(chosen)


def require_ess_threshold(threshold: float) -> None:
    """Raises unless a threshold of the effective sample size is in (0, 1].

    Raises:
        ValueError: For any other number.
    """
    if not 0 < threshold <= 1:
        raise ValueError(
            f"threshold must be in (0, 1], got {threshold}: the share of the walkers below which "
            "the effective sample size leads to resampling; 0.5 is usual"
        )


def _residual(shares: Float[Tensor, " N"], rng: torch.Generator) -> Int[Tensor, " N"]:
    """The integer part of every expected number for certain, the rest multinomial."""
    n = len(shares)
    expected = n * shares
    integer_part = (
        expected + 1e-9
    ).floor()  # a sum that rounds to 0.999... is one child for certain
    certain = torch.repeat_interleave(torch.arange(n, device=shares.device), integer_part.long())
    rest = n - len(certain)
    if rest == 0:
        return certain
    points = torch.rand(rest, generator=rng, device=shares.device, dtype=torch.float64)
    remainder = (expected - integer_part).clamp(min=0)
    return torch.cat([certain, _at(remainder / remainder.sum(), points)]).sort().values


def _at(shares: Float[Tensor, " N"], points: Float[Tensor, " M"]) -> Int[Tensor, " M"]:
    """Inverts the cumulative distribution of the shares at points of [0, 1)."""
    ends = shares.cumsum(0)
    # Rounded shares may add up to less than 1: a larger point would select a walker of weight 0.
    return torch.searchsorted(ends / ends[-1], points)
