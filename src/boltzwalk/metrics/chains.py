r"""Convergence of chains: rank-normalised R-hat and bulk effective sample size.

Every chain is split into two halves, so that drift shows as disagreement, and values are replaced
by normal scores of their ranks over all chains, so that heavy tails are no problem:

.. math:: z = \Phi^{-1}\left(\frac{\operatorname{rank} - 3/8}{S + 1/4}\right)

With m half-chains of n draws, B and W the variance between and within them,

.. math:: \hat R = \sqrt{\frac{B / W + n - 1}{n}}, \qquad
    S_\text{eff} = \frac{m n}{-1 + 2 \sum_{t=0}^{t_\text{last}} \hat\rho_t}

where :math:`\hat\rho_t` are the autocorrelations over all chains, summed in pairs as long as a pair
is positive, and made monotone (Geyer).

Not guaranteed: that chains which agree have visited all modes. R-hat compares chains with each
other; if all miss the same mode it is 1. Start them far apart.

References:
    | Rank-normalization, folding, and localization: an improved R-hat
    | (Vehtari et al., 2021), https://arxiv.org/abs/1903.08008
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .rows import describe_non_finite

__all__ = ["bulk_effective_sample_size", "r_hat"]


@torch.no_grad()
def r_hat(chains: Tensor) -> Tensor:
    r"""Returns the rank-normalised split R-hat of each dimension, shape (D,), or () without one.

    The larger of the R-hat of the values and of :math:`|x - \operatorname{median}|`, which detects
    chains that agree in location and not in scale. Below 1.01 chains agree. It is inf if every
    half-chain is constant at different values, and nan if all are constant at one value (as a
    pixel that is always black).

    Arguments:
        chains: The draws, shape (chains, draws) or (chains, draws, D).

    Raises:
        ValueError: If there are fewer than two chains or four draws, a draw is not finite, or no
            dimension ever changes.

    Example:
        >>> x = torch.randn(4, 500, 2, generator=torch.Generator().manual_seed(0))
        >>> x[0, :, 1] += 3
        >>> r_hat(x) < 1.01
        tensor([ True, False])
    """
    x = _halves(chains, 2)
    median = torch.from_numpy(np.median(x.flatten(1).numpy(), axis=1))
    folded = (x - median[:, None, None]).abs()
    # Folded values may be constant where the values are not, as those of a coin; fmax passes nan.
    result = torch.fmax(_between_over_within(x), _between_over_within(folded))
    return result.reshape(chains.shape[2:])


@torch.no_grad()
def bulk_effective_sample_size(chains: Tensor) -> Tensor:
    r"""Returns the bulk effective sample size of each dimension, shape (D,), or () without one.

    The number of independent draws with the same error of the mean of normal scores. It may exceed
    the number of draws, up to :math:`S \log_{10} S`, if draws alternate. It is nan if all draws
    are equal.

    Arguments:
        chains: The draws, shape (chains, draws) or (chains, draws, D).

    Raises:
        ValueError: If there is no chain, fewer than four draws, a draw is not finite, or no
            dimension ever changes.

    Example:
        >>> x = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
        >>> bool(bulk_effective_sample_size(x) > 1500)
        True
        >>> bool(bulk_effective_sample_size(x.cumsum(1)) < 50)
        True
    """
    x = _halves(chains, 1)
    z = _normal_scores(x)
    m, n = z.shape[1:]
    means = z.mean(2, keepdim=True)
    size = 2 ** math.ceil(math.log2(2 * n))
    spectrum = torch.fft.rfft(z - means, size)
    power = (spectrum.real.square() + spectrum.imag.square()).mean(1)
    covariance = torch.fft.irfft(power, size)[:, :n] / n
    within = covariance[:, :1] * n / (n - 1)
    total = covariance[:, :1] + means[:, :, 0].var(1)[:, None]
    correlation = 1 - (within - covariance) / total
    correlation[:, 0] = 1
    result = m * n / _autocorrelation_time(correlation).clamp(min=1 / math.log10(m * n))
    result[_constant(x.flatten(1))] = torch.nan
    return result.reshape(chains.shape[2:])


def _halves(chains: Tensor, min_chains: int) -> Tensor:
    """Returns half-chains in float64 after checks, shape (D, 2 chains, draws // 2)."""
    shape = tuple(chains.shape)
    if len(shape) not in (2, 3) or shape[0] < min_chains or shape[1] < 4 or 0 in shape:
        raise ValueError(
            "chains must have shape (chains, draws) or (chains, draws, D) with "
            f"{min_chains} chains and 4 draws or more, got {shape}"
        )
    wrong = describe_non_finite(chains)
    if wrong:
        raise ValueError(f"chains must be finite, got {wrong}, counting chains as rows")
    x = chains.detach().cpu().double().reshape(*shape[:2], -1).permute(2, 0, 1)
    if bool(_constant(x.flatten(1)).all()):
        raise ValueError(
            "chains must change, but every dimension has one value throughout; do the walkers move "
            "(is the acceptance 0, or the step size)?"
        )
    half = shape[1] // 2
    return torch.cat([x[..., :half], x[..., -half:]], 1)


def _constant(x: Tensor) -> Tensor:
    """Whether the last dimension is constant."""
    return x.amax(-1) == x.amin(-1)


def _normal_scores(x: Tensor) -> Tensor:
    """Returns normal scores of the ranks over all chains, equal values sharing their mean rank."""
    values = x.flatten(1).numpy()
    count = values.shape[1]
    # Mean ranks are multiples of 1/2: their scores come from a table.
    ranks = 1 + torch.arange(2 * count - 1).double() / 2
    table = torch.special.ndtri((ranks - 3 / 8) / (count + 1 / 4)).numpy()
    scores = np.empty_like(values)
    for row, into in zip(values, scores, strict=True):
        order = row.argsort()
        ordered = row[order]
        starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        if len(starts) == count - 1:
            into[order] = table[::2]
            continue
        bounds = np.concatenate([[0], starts, [count]])
        into[order] = table[bounds[:-1] + bounds[1:] - 1].repeat(np.diff(bounds))
    return torch.from_numpy(scores).reshape(x.shape)


def _between_over_within(x: Tensor) -> Tensor:
    """Returns R-hat of half-chains, shape (D,)."""
    z = _normal_scores(x)
    n = z.shape[2]
    result = (z.mean(2).var(1) / z.var(2).mean(1) + (n - 1) / n).sqrt()
    result[_constant(x.flatten(1))] = torch.nan
    return result


def _autocorrelation_time(correlation: Tensor) -> Tensor:
    """Returns the sum over all lags of autocorrelations, shape (D, n), by Geyer's pairs."""
    n = correlation.shape[1]
    stop = max((n - 1) // 2 - 1, 0)  # the last pair that may be the last
    even, odd = correlation[:, 0 : 2 * stop + 1 : 2], correlation[:, 1 : 2 * stop + 2 : 2]
    pairs = even + odd
    positive = (pairs > 0).cummin(1).values
    count = positive[:, :-1].sum(1, keepdim=True)
    summed = torch.arange(stop + 1) < count
    last, last_pair = even.gather(1, count)[:, 0], pairs.gather(1, count)[:, 0]
    # The even half of the pair that ends the sum: dropped where that pair and it are negative.
    last = torch.where(last_pair < 0, last.clamp(min=0), last)
    return -1 + 2 * torch.where(summed, pairs.cummin(1).values, 0).sum(1) + last
