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


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Returns the squared Fréchet distance between features, shape (N, D) and (M, D).

    Raises:
        ValueError: If either has fewer than two rows, or a value that is not finite.

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
    covariance_a, covariance_b = torch.cov(a.T), torch.cov(b.T)
    # The eigenvalues of C1 C2 are those of the symmetric R C2 R with R the root of C1.
    values, vectors = torch.linalg.eigh(covariance_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0).sqrt().sum()
    means = (a.mean(0) - b.mean(0)).square().sum()
    return float(means + covariance_a.trace() + covariance_b.trace() - 2 * cross)
