r"""Fréchet distance between two sets of features, with Gaussian moments.

.. math:: \|\mu_1 - \mu_2\|^2 + \operatorname{tr}\left(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\right)

It is the square of the Wasserstein distance of order 2 between Gaussians of these moments.

On the features of the small classifier of this library it is a *classifier-FID*. It must not be
compared with the FID of the literature, which is defined by the weights of one Inception network.

Not guaranteed: that it is small for two samples of one distribution. Its bias is above 0 and of the
order D / N, so compare only values of equally many samples. A covariance of D features needs more
than D samples; fewer are refused, because it would be singular and the distance would depend on N.

References:
    | GANs trained by a two time-scale update rule converge to a local Nash equilibrium
    | (Heusel et al., 2017), https://arxiv.org/abs/1706.08500
"""

from __future__ import annotations

import torch
from torch import Tensor

from .rows import check_samples, sample_weights

__all__ = ["frechet_distance", "frechet_of_moments"]


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
    a, b = check_samples(features, reference, min_rows=1)
    a, b = a.cpu().double(), b.cpu().double()
    needed = a.shape[1] + 1
    for name, values in (("features", a), ("reference", b)):
        if len(values) < needed:
            raise ValueError(
                f"{name} must have {needed} rows or more, one more than the {needed - 1} features, "
                f"got {len(values)}: a covariance of fewer is singular; take more samples, or "
                "kernel_distance(...), which needs none"
            )
    weights = sample_weights(share, a, min_effective=needed)
    moments = weights @ a, torch.cov(a.T, aweights=weights), b.mean(0), torch.cov(b.T)
    mean_a, covariance_a, mean_b, covariance_b = moments
    square = (needed - 1, needed - 1)  # of a single feature torch.cov returns a number
    return frechet_of_moments(
        mean_a, covariance_a.reshape(square), mean_b, covariance_b.reshape(square)
    )


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
