r"""Do chains agree, and how many independent draws are they worth.

Every chain is cut into two halves, so that drift shows as disagreement, and values are replaced by
normal scores of their ranks over all chains, so that heavy tails do no harm:

.. math:: z = \Phi^{-1}\left(\frac{\operatorname{rank} - 3/8}{S + 1/4}\right)

With m half-chains of n draws, B and W the variance between and within them,

.. math:: \hat R = \sqrt{\frac{B / W + n - 1}{n}}, \qquad
    S_\text{eff} = \frac{m n}{-1 + 2 \sum_{t=0}^{t_\text{last}} \hat\rho_t}

where :math:`\hat\rho_t` are the autocorrelations over all chains, summed in pairs as long as a pair
is positive, and made monotone (Geyer).

Not guaranteed: that chains which agree have found all modes. R-hat compares chains with each other;
if none has seen a mode it is 1. Start them from far apart.

References:
    | Rank-normalization, folding, and localization: an improved R-hat
    | (Vehtari et al., 2021), https://arxiv.org/abs/1903.08008
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .rows import where_not_finite

__all__ = ["bulk_effective_sample_size", "r_hat"]


@torch.no_grad()
def r_hat(chains: Tensor) -> Tensor:
    r"""Returns the rank-normalised split R-hat of each dimension, shape (D,), or () without one.

    The larger of that of the values and that of :math:`|x - \operatorname{median}|`, which sees
    chains that agree in location and not in scale. Below 1.01 chains agree. It is inf where every
    half-chain stands still, not all at one value, and nan where nothing ever changes (as a pixel
    that is always black): there is nothing to compare.

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
    middle = torch.from_numpy(np.median(x.flatten(1).numpy(), axis=1))
    folded = (x - middle[:, None, None]).abs()
    # Folded values may be constant where the values are not, as those of a coin; fmax passes nan.
    found = torch.fmax(_between_over_within(x), _between_over_within(folded))
    return found.reshape(chains.shape[2:])


@torch.no_grad()
def bulk_effective_sample_size(chains: Tensor) -> Tensor:
    r"""Returns the bulk effective sample size of each dimension, shape (D,), or () without one.

    The number of independent draws that know the middle of the distribution as well. It may exceed
    the number of draws, at most :math:`S \log_{10} S`, where draws alternate. It is nan where
    nothing ever changes.

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
    found = m * n / _autocorrelation_time(correlation).clamp(min=1 / math.log10(m * n))
    found[_constant(x.flatten(1))] = torch.nan
    return found.reshape(chains.shape[2:])


def _halves(chains: Tensor, least: int) -> Tensor:
    """Returns half-chains in float64 after checks, shape (D, 2 chains, draws // 2)."""
    shape = tuple(chains.shape)
    if len(shape) not in (2, 3) or shape[0] < least or shape[1] < 4 or 0 in shape:
        raise ValueError(
            f"chains must have shape (chains, draws) or (chains, draws, D) with {least} chains and "
            f"4 draws or more, got {shape}"
        )
    wrong = where_not_finite(chains)
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
    """Returns where the last dimension holds one value."""
    return x.amax(-1) == x.amin(-1)


def _normal_scores(x: Tensor) -> Tensor:
    """Returns normal scores of the ranks over all chains, equal values sharing their mean rank."""
    values = x.flatten(1).numpy()
    count = values.shape[1]
    # Mean ranks are whole or half, so few that their scores are looked up.
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
    found = (z.mean(2).var(1) / z.var(2).mean(1) + (n - 1) / n).sqrt()
    found[_constant(x.flatten(1))] = torch.nan
    return found


def _autocorrelation_time(correlation: Tensor) -> Tensor:
    """Returns the sum over all lags of autocorrelations, shape (D, n), by Geyer's pairs."""
    n = correlation.shape[1]
    stop = max((n - 1) // 2 - 1, 0)  # the last pair that may be the last
    even, odd = correlation[:, 0 : 2 * stop + 1 : 2], correlation[:, 1 : 2 * stop + 2 : 2]
    pairs = even + odd
    positive = (pairs > 0).cummin(1).values
    count = positive[:, :-1].sum(1, keepdim=True)
    kept = torch.arange(stop + 1) < count
    last, last_pair = even.gather(1, count)[:, 0], pairs.gather(1, count)[:, 0]
    # The even half of the pair that ends the sum: dropped where that pair and it are negative.
    last = torch.where(last_pair < 0, last.clamp(min=0), last)
    return -1 + 2 * torch.where(kept, pairs.cummin(1).values, 0).sum(1) + last
