r"""Fréchet distance between two sets of features, with Gaussian moments.

.. math:: \|\mu_1 - \mu_2\|^2 + \operatorname{tr}\left(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\right)

It is the square of the Wasserstein distance of order 2 between Gaussians of these moments.

On the features of the small classifier of this library it is a *classifier-FID*. It must not be
compared with the FID of the literature, which is defined by the weights of one Inception network,
and by the number of samples.

`frechet_distance` is biased: for two samples of one distribution it is above 0, by about
c / N + c' / M with c of the order of D. Compare its values for equally many samples only.
`unbiased_frechet_distance` removes this bias from the distances F of random halves of both sides,

.. math:: \hat F = \overline{2 F(n, n) - F(n / 2, n / 2)}

which have twice the bias. Of the larger side random rows, as many as the smaller has in effect, are
compared, since the terms of second order then nearly cancel (for 64 features they are -0.29 at N =
300 and M = 10,000, of a bias of 3.9). Values for different numbers of samples agree within their
intervals, and are about 0, of either sign, for samples of the distribution of the reference.

Not guaranteed: that terms of second order, in 1 / N^2, cancel for all distributions. A covariance
of D features needs more than D rows; fewer are refused.

References:
    | GANs trained by a two time-scale update rule converge to a local Nash equilibrium
    | (Heusel et al., 2017), https://arxiv.org/abs/1706.08500

    | Effectively unbiased FID and Inception score and where to find them
    | (Chong and Forsyth, 2020), https://arxiv.org/abs/1911.07023, for the extrapolation in 1 / N
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

from .rows import check_samples, sample_weights

__all__ = [
    "FrechetDistance",
    "frechet_distance",
    "frechet_of_moments",
    "unbiased_frechet_distance",
]

SPLITS, MANY_FEATURES, FEW_SPLITS = 20, 512, 5
"""Random splits into halves; fewer of more features than that, of which each takes seconds."""


class FrechetDistance(NamedTuple):
    """A squared Fréchet distance without the bias of first order, with its 95 % interval."""

    value: float  # about 0, of either sign, for samples of the distribution of the reference
    low: float
    high: float


def frechet_distance(features: Tensor, reference: Tensor, share: Tensor | None = None) -> float:
    r"""Returns the squared Fréchet distance between features, shape (N, D) and (M, D).

    .. math:: \|\mu_1 - \mu_2\|^2 + \operatorname{tr}\left(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\right)

    Arguments:
        features: The features of the samples, shape (N, D).
        reference: The features of the reference, shape (M, D).
        share: The weight of each sample, shape (N,), not negative; None for equal weights.

    Raises:
        ValueError: If either has fewer than D + 1 rows, or a value that is not finite, or if the
            weights leave fewer than D + 1 samples in effect.

    Example:
        >>> x = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(x + 2, x), 3)
        16.0
    """
    a, b, weights = _checked(features, reference, share)
    return _distance(_moments(a, weights), _moments(b, sample_weights(None, b)))


def unbiased_frechet_distance(
    features: Tensor, reference: Tensor, rng: torch.Generator, share: Tensor | None = None
) -> FrechetDistance:
    r"""Returns the squared Fréchet distance without the bias of first order, and its 95 % interval.

    .. math:: \hat F = \overline{2 F(n, n) - F(n / 2, n / 2)} \pm t_B \, s / \sqrt 2

    over B random splits of n = min(N, M) rows of both sides into halves, with s the standard
    deviation of the distance of a half. The interval holds the sampling error of both sides, and is
    too wide by up to a factor of 1.4 where both have one distribution, or one side is much larger.

    Arguments:
        features: The features of the samples, shape (N, D).
        reference: The features of the reference, shape (M, D).
        rng: The generator that draws the splits.
        share: The weight of each sample, shape (N,), not negative; None for equal weights.

    Raises:
        ValueError: If either has fewer than 2 (D + 1) rows, or a value that is not finite, or if
            the weights leave fewer samples in effect, in all or in a half.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(2, 500, 4, generator=rng)
        >>> result = unbiased_frechet_distance(x, y, rng)
        >>> result.low < 0 < result.high
        True
    """
    a, b, weights = _checked(features, reference, share, halves=2)
    effective = 1 / float(weights.square().sum())
    size_a = round(len(a) * min(1, len(b) / effective))
    size_b = min(len(b), round(effective))
    equal = sample_weights(None, b)
    splits = SPLITS if a.shape[1] <= MANY_FEATURES else FEW_SPLITS
    total, squares = 0.0, 0.0
    for _ in range(splits):
        x, y = _halves(a, weights, size_a, rng), _halves(b, equal, size_b, rng)
        full, one, two = (_distance(_moments(*p), _moments(*q)) for p, q in zip(x, y, strict=True))
        total += 2 * full - (one + two) / 2
        squares += (one - two) ** 2
    # One half has twice the variance of all rows, or more.
    half = float(stdtrit(splits, 0.975)) * math.sqrt(squares / splits) / 2
    value = total / splits
    return FrechetDistance(value, value - half, value + half)


def _checked(
    features: Tensor, reference: Tensor, share: Tensor | None, halves: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns both sides in float64, and the weights, after checks of the numbers of rows."""
    a, b = check_samples(features, reference, min_rows=1)
    a, b = a.cpu().double(), b.cpu().double()
    size = a.shape[1]
    needed = halves * (size + 1)
    each = f" for each of {halves} halves" if halves > 1 else ""
    for name, values in (("features", a), ("reference", b)):
        if len(values) < needed:
            raise ValueError(
                f"{name} must have {needed} rows or more, one more than the {size} features"
                f"{each}, got {len(values)}: a covariance of fewer is singular; take more "
                "samples, or kernel_distance(...), which needs none"
            )
    return a, b, sample_weights(share, a, min_effective=needed)


def _halves(
    x: Tensor, weights: Tensor, size: int, rng: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """So many random rows and their two halves, each with weights of sum 1."""
    order = torch.randperm(len(x), generator=rng, device=rng.device).cpu()[:size]
    middle = size // 2
    parts = order, order[:middle], order[middle : 2 * middle]
    return [(x[i], sample_weights(weights[i], x[i], x.shape[1] + 1)) for i in parts]


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, and a root R of the unbiased covariance :math:`R^T R`, without its squares."""
    mean = weights @ x
    scale = weights / (1 - weights.square().sum())
    return mean, torch.linalg.qr(scale.sqrt()[:, None] * (x - mean), mode="r").R


def _distance(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """The squared distance; the trace of the root of C1 C2 is the nuclear norm of R1 R2^T."""
    (mean_a, root_a), (mean_b, root_b) = a, b
    squares = (mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum()
    return float(squares - 2 * torch.linalg.svdvals(root_a @ root_b.T).sum())


def frechet_of_moments(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> float:
    r"""Returns the squared Fréchet distance between two Gaussians, in closed form.

    .. math:: \|\mu_1 - \mu_2\|^2 + \operatorname{tr}\left(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\right)

    Arguments:
        mean_a: The mean of the first, shape (D,).
        covariance_a: The covariance of the first, shape (D, D), symmetric.
        mean_b: The mean of the second, shape (D,).
        covariance_b: The covariance of the second, shape (D, D), symmetric.

    Raises:
        ValueError: If a shape is another or a value is not finite.

    Example:
        >>> eye = torch.eye(4)
        >>> frechet_of_moments(torch.zeros(4), eye, torch.ones(4), 4 * eye)
        8.0
    """
    d = len(mean_a) if mean_a.ndim else 0
    for name, values, shape in (
        ("mean_a", mean_a, (d,)),
        ("covariance_a", covariance_a, (d, d)),
        ("mean_b", mean_b, (d,)),
        ("covariance_b", covariance_b, (d, d)),
    ):
        if values.shape != shape or d == 0:
            raise ValueError(f"{name} must have shape {shape}, D >= 1, got {tuple(values.shape)}")
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} must be finite, got nan or inf")
    a, b = covariance_a.cpu().double(), covariance_b.cpu().double()
    # The eigenvalues of C1 C2 are those of the symmetric R C2 R with R the root of C1.
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    means = (mean_a.cpu().double() - mean_b.cpu().double()).square().sum()
    return float(means + a.trace() + b.trace() - 2 * cross)
