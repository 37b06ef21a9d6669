r"""Gaussian mixtures by expectation maximisation, with covariances that are shrunk.

.. math:: p(z) = \sum_k \pi_k\, N(z; \mu_k, \Sigma_k) , \qquad
    \Sigma_k = \frac{S_k + \nu\, \bar S}{n_k + \nu} ,

where :math:`S_k` is the scatter of the rows of component k, :math:`n_k` their number, and
:math:`\bar S` the covariance within components, common to all. The posterior mode under an inverse
Wishart prior has this form. With :math:`\nu = D + 2` a component of few rows has the common shape
instead of a singular one.

Not guaranteed: the global optimum. Components start at the clusters of k-means.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Mixture", "fit_mixture", "mixture_exponents", "mixture_samples", "shrunk_covariance"]

ITERATIONS, TOLERANCE = 60, 1e-4
"""The iterations of EM, at most, and the gain in nats a row below which it ends."""


class Mixture(NamedTuple):
    r"""A mixture of Gaussians.

    Attributes:
        log_shares: The logarithms of the shares :math:`\pi_k`, shape (K,).
        means: The means, shape (K, D).
        whiten: The inverses of the lower Cholesky factors of the covariances, shape (K, D, D).
    """

    log_shares: Float[Tensor, " K"]
    means: Float[Tensor, "K D"]
    whiten: Float[Tensor, "K D D"]


def shrunk_covariance(z: Float[Tensor, "N D"]) -> Float[Tensor, "D D"]:
    """Returns the covariance of rows by Ledoit and Wolf, float64, shape (D, D).

    Arguments:
        z: The rows, shape (N, D).
    """
    from sklearn.covariance import ledoit_wolf

    rows = z.detach().double().cpu()
    deviation = rows.std(0, correction=0).clamp_min(1e-12)
    covariance, _ = ledoit_wolf((rows / deviation).numpy())
    return torch.from_numpy(covariance).to(z.device) * deviation * deviation[:, None]


def fit_mixture(z: Float[Tensor, "N D"], components: int, seed: int) -> Mixture:
    """Returns a mixture that was fitted to rows, in float64.

    Arguments:
        z: The rows, shape (N, D).
        components: The number of components.
        seed: The seed of k-means.

    Example:
        >>> z = torch.cat([torch.zeros(50, 1), torch.ones(50, 1)])
        >>> fit_mixture(z + 0.1 * torch.randn(100, 1), 2, 0).means.round().abs().msort().flatten()
        tensor([0., 1.], dtype=torch.float64)
    """
    z = z.detach().double()
    n, d = z.shape
    if components == 1:
        whiten = _inverse(torch.linalg.cholesky(shrunk_covariance(z)))
        return Mixture(z.new_zeros(1), z.mean(0, keepdim=True), whiten[None])
    weights = torch.nn.functional.one_hot(_clusters(z, components, seed), components).double()
    previous, floor = -math.inf, 1e-6 * torch.diag(z.var(0, correction=0))
    for iteration in range(ITERATIONS):
        counts = weights.sum(0)
        log_shares = ((counts + 1) / (n + components)).log()
        means = (weights.T @ z + 0.1 * z.mean(0)) / (counts[:, None] + 0.1)
        centred = (z - means[:, None]) * weights.T.sqrt()[:, :, None]
        scatter = centred.transpose(1, 2) @ centred
        common, share = scatter.sum(0) / n, min(1.0, d / n)
        common = (1 - share) * common + share * torch.diag(common.diag())
        covariance = (scatter + (d + 2) * common) / (counts[:, None, None] + d + 2) + floor
        mixture = Mixture(log_shares, means, _inverse(torch.linalg.cholesky(covariance)))
        exponents = mixture_exponents(z, mixture)
        log_p = torch.logsumexp(exponents, 1)
        weights = (exponents - log_p[:, None]).exp()
        if iteration > 5 and float(log_p.mean()) - previous < TOLERANCE:
            break
        previous = float(log_p.mean())
    return mixture


def mixture_exponents(z: Float[Tensor, "N D"], mixture: Mixture) -> Float[Tensor, "N K"]:
    r"""Returns :math:`\log \pi_k N(z; \mu_k, \Sigma_k)`, shape (N, K).

    Arguments:
        z: The rows, shape (N, D).
        mixture: The mixture, in the dtype of the rows.
    """
    centred = z - mixture.means[:, None]  # (K, N, D)
    squares = (centred @ mixture.whiten.transpose(1, 2)).square().sum(2)
    log_scale = mixture.whiten.diagonal(dim1=1, dim2=2).log().sum(1)
    constant = mixture.log_shares + log_scale - z.shape[1] / 2 * math.log(2 * math.pi)
    return constant - squares.T / 2


def mixture_samples(
    mixture: Mixture, component: Tensor, rng: torch.Generator
) -> Float[Tensor, "N D"]:
    """Returns a sample of each of the given components, shape (N, D).

    Arguments:
        mixture: The mixture.
        component: The numbers of the components, shape (N,).
        rng: The source of noise.
    """
    means = mixture.means[component]
    noise = torch.randn(means.shape, generator=rng, dtype=means.dtype, device=rng.device)
    factors = mixture.whiten[component]
    solved: Tensor = torch.linalg.solve_triangular(
        factors, noise.to(means)[:, :, None], upper=False
    )
    return means + solved[:, :, 0]


def _clusters(z: Tensor, components: int, seed: int) -> Tensor:
    """The clusters of whitened rows by k-means, shape (N,)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    whiten = _inverse(torch.linalg.cholesky(shrunk_covariance(z)))
    white = ((z - z.mean(0)) @ whiten.T).cpu().numpy()
    means = KMeans(components, n_init=1, max_iter=20, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = means.fit_predict(white)
    return torch.from_numpy(labels).long().to(z.device)


def _inverse(factor: Tensor) -> Tensor:
    """The inverses of lower triangular matrices."""
    eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
    return inverse
