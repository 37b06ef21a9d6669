r"""Loss of a variational autoencoder, and its active latent variables.

With :math:`\mu, s` from the encoder, :math:`z = \mu + e^s \xi`, and :math:`\xi \sim N(0, I)`,

.. math:: L = \frac1N \sum_i \big[ |g(z_i) - x_i|^2 + \gamma \, \mathrm{KL}_i \big], \qquad
    \mathrm{KL}_i = -\tfrac12 \sum_k \big( 1 + 2 s_k - \mu_k^2 - e^{2 s_k} \big) .

:math:`\gamma = 2 \sigma^2` makes it :math:`-2 \sigma^2` times the evidence lower bound of a decoder
with pixel noise :math:`\sigma`, up to a constant. A latent direction survives only if it explains a
variance of more than :math:`\gamma / 2` of the data, so :math:`\gamma` must shrink with their
number of pixels: see :func:`default_gamma`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..networks.network import VariationalAutoencoder
from .conditional import ConditionedBase

__all__ = ["VaeParts", "active_dimensions", "default_gamma", "vae_loss"]

CIFAR_GAMMA = 2.0
"""The weight of the latent loss in the published setting for CIFAR-10 in [-1, 1]."""

CIFAR_VARIANCE = 763.2
"""The sum of the variances of all 3072 pixels of CIFAR-10 in [-1, 1]: unbiased, over 4,000 training
images of original pixels. The 50,000 after JPEG have 754.6."""

ACTIVE_VARIANCE = 0.01
"""The variance over rows of the posterior mean above which a latent variable is active."""

CHUNK = 1000
"""The number of rows encoded at once."""


class VaeParts(NamedTuple):
    """The terms of the loss, means over rows, and the number of active latents; detached."""

    reconstruction: Tensor
    """Squared error, summed over pixels."""
    kl: Tensor
    """KL(q(z | x) || N(0, I)), in nats."""
    active: Tensor
    """The number of latent variables whose mean has a variance over 0.01 over the rows."""


def vae_loss(
    vae: VariationalAutoencoder | ConditionedBase,
    x: Float[Tensor, "N *event"],
    gamma: float,
    rng: torch.Generator,
) -> tuple[Tensor, VaeParts]:
    r"""Returns :math:`L`, whose gradient trains both networks, and its terms.

    Call it within ``batch_statistics(vae, rng)`` to train, and without to evaluate.

    Arguments:
        vae: The autoencoder.
        x: The events, shape (N, \*event); no gradient flows to them.
        gamma: The weight :math:`\gamma` of the divergence, at least 0, in squared units of x.
        rng: The random generator of :math:`\xi`.

    Raises:
        ValueError: If gamma is negative or not finite.

    References:
        | Learning Energy-Based Model with Variational Auto-Encoder as Amortized Sampler
          (Xie, Zheng and Li, 2021)

    Example:
        >>> from boltzwalk.bases import Vae
        >>> from boltzwalk.networks import DenseEncoder, DenseGenerator
        >>> vae = Vae(DenseEncoder(), DenseGenerator(), latent=2).build((3,), 0)
        >>> loss, parts = vae_loss(vae, torch.zeros(8, 3), 0.5, torch.Generator())
        >>> bool(torch.isclose(loss, parts.reconstruction + 0.5 * parts.kl))
        True
    """
    if not 0 <= gamma < math.inf:
        raise ValueError(
            f"gamma must be at least 0 and finite, got {gamma}; start from default_gamma(data)"
        )
    x = x.detach()
    mean, log_std = vae.encode(x)
    decoded = vae.decode(vae.reparametrise(mean, log_std, rng))
    errors = (decoded - x).flatten(1).square().sum(1)
    divergences = -(1 + 2 * log_std - mean.square() - (2 * log_std).exp()).sum(1) / 2
    loss = (errors + gamma * divergences).mean()
    spread = mean.detach().var(0, correction=0)
    active = (spread > ACTIVE_VARIANCE).sum().to(loss.dtype)
    return loss, VaeParts(errors.detach().mean(), divergences.detach().mean(), active)


@torch.no_grad()
def active_dimensions(
    vae: VariationalAutoencoder, x: Float[Tensor, "N *event"], threshold: float = ACTIVE_VARIANCE
) -> int:
    r"""Returns the number of active latent variables of the encoder.

    .. math:: \# \{ k : \mathrm{Var}_x [\mu_k(x)] > t \}

    Zero means posterior collapse: the code does not depend on x.

    Arguments:
        vae: The autoencoder.
        x: The events, shape (N, \*event), two or more.
        threshold: The variance t; that of the prior is 1.

    Raises:
        ValueError: If there are fewer than two rows, or the threshold is negative.

    References:
        | Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016)

    Example:
        >>> from boltzwalk.bases import Vae
        >>> from boltzwalk.networks import DenseEncoder, DenseGenerator
        >>> vae = Vae(DenseEncoder(), DenseGenerator(), latent=2).build((3,), 0)
        >>> active_dimensions(vae, torch.zeros(8, 3))
        0
    """
    if len(x) < 2 or not threshold >= 0:
        raise ValueError(
            f"active dimensions need two rows or more and threshold >= 0, got {len(x)} rows and "
            f"threshold={threshold}; write threshold=0.01"
        )
    means = torch.cat([vae.encode(part)[0] for part in x.split(CHUNK)])
    return int((means.var(0) > threshold).sum())


def default_gamma(data: Float[Tensor, "M *event"]) -> float:
    r"""Returns a starting value of the weight of the divergence.

    .. math:: \gamma = 2 \, \frac{\sum_j \mathrm{Var}[x_j]}{763.2}

    which keeps the ratio of :math:`\gamma / 2` to the total variance of the data as in the
    published setting for CIFAR-10. For the 8 x 8 digits that is 0.05; with 2 nearly no latent
    direction would survive.

    Arguments:
        data: The rows, shape (M, \*event), two or more that differ.

    Raises:
        ValueError: If the rows have no variance, or are not finite.

    Example:
        >>> round(default_gamma(torch.tensor([[-1.0], [1.0]]) * 381.6**0.5), 3)
        2.0
    """
    variance = data.flatten(1).double().var(0).sum().item() if len(data) > 1 else 0.0
    if not 0 < variance < math.inf:
        raise ValueError(
            f"data must be two finite rows or more that differ, got {len(data)} rows of total "
            f"variance {variance}; give the training data, or write gamma as a number"
        )
    return CIFAR_GAMMA * variance / CIFAR_VARIANCE
