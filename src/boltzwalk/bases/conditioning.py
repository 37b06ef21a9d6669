r"""Exact samples of hidden entries under a Gaussian mixture, given the visible ones.

.. math:: p(h \mid v) = \sum_k \frac{\pi_k N(v; \mu_{k,v}, \Sigma_{k,vv})}{\sum_j (\cdot)_j}\,
    N\big(h;\, \mu_{k,h} + \Sigma_{k,hv} \Sigma_{k,vv}^{-1} (v - \mu_{k,v}),\,
    \Sigma_{k,hh} - \Sigma_{k,hv} \Sigma_{k,vv}^{-1} \Sigma_{k,vh}\big)
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["ConditionalGaussians"]


class ConditionalGaussians:
    r"""Gaussians of common shape or one each, conditioned on the same entries of all rows.

    Arguments:
        means: The means, shape (K, D).
        covariances: The covariances, shape (K, D, D), or (1, D, D) for all.
        log_shares: The logarithms of the shares, shape (K,).
        visible: The visible entries, shape (D,).

    Example:
        >>> covariance = torch.tensor([[[1.0, 0.6], [0.6, 1.0]]])
        >>> visible = torch.tensor([True, False])
        >>> zero = torch.zeros(1)
        >>> given = ConditionalGaussians(torch.zeros(1, 2), covariance, zero, visible)
        >>> given.gain.flatten(), given.factor.flatten()  # 0.6 v, and the root of 1 - 0.6^2
        (tensor([0.6000]), tensor([0.8000]))
    """

    def __init__(
        self,
        means: Float[Tensor, "K D"],
        covariances: Float[Tensor, "C D D"],
        log_shares: Float[Tensor, " K"],
        visible: Bool[Tensor, " D"],
    ) -> None:
        self.log_shares = log_shares
        self.means_visible, self.means_hidden = means[:, visible], means[:, ~visible]
        vv = covariances[:, visible][:, :, visible]
        hv = covariances[:, ~visible][:, :, visible]
        hh = covariances[:, ~visible][:, :, ~visible]
        root = torch.linalg.cholesky(vv)
        eye = torch.eye(vv.shape[1], dtype=vv.dtype, device=vv.device)
        self.whiten = torch.linalg.solve_triangular(root, eye.expand_as(root), upper=False)
        half = hv @ self.whiten.transpose(1, 2)
        self.gain = half @ self.whiten
        rest = hh - half @ half.transpose(1, 2)
        jitter = 1e-6 * torch.diag_embed(hh.diagonal(dim1=1, dim2=2))
        self.factor, failed = torch.linalg.cholesky_ex(rest)
        if bool(failed.any()):
            self.factor = torch.linalg.cholesky(rest + jitter)

    def log_weights(self, visible: Float[Tensor, "N V"]) -> Float[Tensor, "N K"]:
        r"""Returns :math:`\log \pi_k N(v; \mu_{k,v}, \Sigma_{k,vv})`, shape (N, K).

        Arguments:
            visible: The visible entries of rows, shape (N, V).
        """
        white_means = (self.whiten @ self.means_visible[:, :, None])[:, :, 0]
        white = visible @ self.whiten.transpose(1, 2)  # (K, N, V) or (1, N, V)
        if len(white) == len(white_means):
            squares = (white - white_means[:, None]).square().sum(2).T
        else:
            squares = torch.cdist(white[0], white_means).square()
        log_scale = self.whiten.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = log_scale - visible.shape[1] / 2 * math.log(2 * math.pi)
        exponents: Tensor = self.log_shares + constant - squares / 2
        return exponents

    def sample(
        self, visible: Float[Tensor, "N V"], component: Tensor, rng: torch.Generator
    ) -> Float[Tensor, "N H"]:
        """Returns hidden entries of rows, one component each, shape (N, H).

        Arguments:
            visible: The visible entries of rows, shape (N, V).
            component: The numbers of the components, shape (N,).
            rng: The source of noise.
        """
        shape = component if len(self.gain) > 1 else torch.zeros_like(component)
        away = visible - self.means_visible[component]
        mean = self.means_hidden[component] + (self.gain[shape] @ away[:, :, None])[:, :, 0]
        noise = torch.randn(mean.shape, generator=rng, device=rng.device, dtype=mean.dtype)
        hidden: Tensor = mean + (self.factor[shape] @ noise.to(mean)[:, :, None])[:, :, 0]
        return hidden
