r"""The Fréchet distance between two sets of features, as if both were Gaussian.

.. math:: \|\mu_1 - \mu_2\|^2 + \operatorname{tr}\left(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\right)

On the features of the small classifier of this library it is a *classifier-FID*. It must not be
compared with the FID of the literature, which is defined by the weights of one Inception network.

References:
    | GANs trained by a two time-scale update rule converge to a local Nash equilibrium
    | (Heusel et al., 2017), https://arxiv.org/abs/1706.08500
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["frechet_distance"]


def frechet_distance(features: Tensor, reference: Tensor, share: Tensor | None = None) -> float:
    """Returns the squared Fréchet distance between features, shape (N, D) and (M, D).

    Arguments:
        features: The features of the samples, shape (N, D).
        reference: The features of the reference, shape (M, D).
        share: The weight of each sample, shape (N,), not negative; None for equal weights.

    Raises:
        ValueError: If either has fewer than two rows, or a value that is not finite, or if the
            weights leave fewer than two samples in effect.

    Example:
        >>> x = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(x + 2, x), 3)
        16.0
    """
    for name, values in (("features", features), ("reference", reference)):
        if values.ndim != 2 or len(values) < 2:
            raise ValueError(f"{name} must have shape (N, D), N >= 2, got {tuple(values.shape)}")
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} must be finite, got nan or inf; look at the samples first")
    a, b = features.cpu().double(), reference.cpu().double()
    weights = torch.full((len(a),), 1 / len(a)).to(a) if share is None else share.to(a)
    effective = float(weights.sum() ** 2 / weights.square().sum())
    if not effective >= 2 - 1e-9:
        raise ValueError(
            f"share must have an effective sample size of 2 or more, got {effective:.3g}: a single "
            "sample has no covariance"
        )
    covariance_a, covariance_b = torch.cov(a.T, aweights=weights), torch.cov(b.T)
    # The eigenvalues of C1 C2 are those of the symmetric R C2 R with R the root of C1.
    values, vectors = torch.linalg.eigh(covariance_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0).sqrt().sum()
    means = (weights @ a / weights.sum() - b.mean(0)).square().sum()
    return float(means + covariance_a.trace() + covariance_b.trace() - 2 * cross)
