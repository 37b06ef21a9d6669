r"""The loss of a variational autoencoder, its bound, and whether it uses its latent variables.

With :math:`\mu, s` from the encoder, :math:`z = \mu + e^s \xi`, and :math:`\xi \sim N(0, I)`,

.. math:: L = \frac1N \sum_i \big[ |g(z_i) - x_i|^2 + \gamma \, \mathrm{KL}_i \big], \qquad
    \mathrm{KL}_i = -\tfrac12 \sum_k \big( 1 + 2 s_k - \mu_k^2 - e^{2 s_k} \big) .

:math:`\gamma = 2 \sigma^2` makes it :math:`-2 \sigma^2` times the evidence lower bound of a decoder
with pixel noise :math:`\sigma`, up to a constant. A latent direction survives only where it
explains a variance of more than :math:`\gamma / 2` of the data, so that :math:`\gamma` must shrink
with their number of pixels: see :func:`default_gamma`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..networks.network import VariationalAutoencoder
from .conditional import GivenBase

__all__ = ["VaeParts", "active_dimensions", "default_gamma", "elbo", "vae_loss"]

CIFAR_GAMMA = 2.0
"""The weight of the latent loss in the published setting for CIFAR-10 in [-1, 1]."""

CIFAR_VARIANCE = 763.2
"""The sum of the variances of all 3072 pixels of CIFAR-10 in [-1, 1]: unbiased, over 4,000 training
images of original pixels. The 50,000 after JPEG have 754.6."""

ACTIVE = 0.01
"""The variance over rows of the posterior mean of a latent variable that is in use."""

CHUNK = 1000
"""Rows that are encoded at a time."""


class VaeParts(NamedTuple):
    """What the loss is made of, means over rows, and what it says of the latents; detached."""

    reconstruction: Tensor
    """Squared error, summed over pixels."""
    kl: Tensor
    """KL(q(z | x) || N(0, I)), in nats."""
    active: Tensor
    """Latent variables whose mean varies by more than 0.01 over the rows."""


def vae_loss(
    vae: VariationalAutoencoder | GivenBase,
    x: Float[Tensor, "N *event"],
    gamma: float,
    rng: torch.Generator,
) -> tuple[Tensor, VaeParts]:
    r"""Returns :math:`L`, whose gradient is the update of both networks, and its parts.

    Call it within ``learning(vae, rng)`` where it is to be learnt from, and without to be judged.

    Arguments:
        vae: The autoencoder.
        x: The events, shape (N, \*event); no gradient flows to them.
        gamma: The weight :math:`\gamma` of the divergence, at least 0, in squared units of x.
        rng: The generator of :math:`\xi`.

    Raises:
        ValueError: If gamma is negative or not finite.

    References:
        | Learning Energy-Based Model with Variational Auto-Encoder as Amortized Sampler
          (Xie, Zheng and Li, 2021)

    Example:
        >>> from boltzwalk.bases import DenseEncoder, DenseGenerator, Vae
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
    active = (spread > ACTIVE).sum().to(loss.dtype)
    return loss, VaeParts(errors.detach().mean(), divergences.detach().mean(), active)


@torch.no_grad()
def elbo(
    vae: VariationalAutoencoder,
    x: Float[Tensor, "N *event"],
    sigma: float,
    rng: torch.Generator,
    samples: int = 1,
) -> Float[Tensor, " N"]:
    r"""Returns an estimate of the evidence lower bound of each row, in nats.

    .. math:: \mathbb E_q \big[ \log N(x; g(z), \sigma^2 I) + \log N(z; 0, I) - \log q(z \mid x)
        \big] \le \log p(x)

    All three terms are sampled, so that the estimate has no variance where q is the posterior.

    Arguments:
        vae: The autoencoder.
        x: The events, shape (N, \*event).
        sigma: The deviation :math:`\sigma` of the noise of one pixel, positive.
        rng: The generator of z.
        samples: How many z are averaged for each row.

    Raises:
        ValueError: If sigma is not positive, or there is no sample.

    References:
        | Auto-Encoding Variational Bayes (Kingma and Welling, 2014)

    Example:
        >>> from boltzwalk.bases import DenseEncoder, DenseGenerator, Vae
        >>> vae = Vae(DenseEncoder(), DenseGenerator(), latent=2).build((3,), 0)
        >>> elbo(vae, torch.zeros(8, 3), 1.0, torch.Generator(), samples=10).shape
        torch.Size([8])
    """
    if not sigma > 0 or samples < 1:
        raise ValueError(
            f"sigma must be positive and samples at least 1, got sigma={sigma} and samples="
            f"{samples}; write sigma=(gamma / 2) ** 0.5 for a vae that learnt with gamma"
        )
    mean, log_std = vae.encode(x)
    pixels = math.prod(vae.event_shape)
    constant = log_std.sum(1) - pixels / 2 * math.log(2 * math.pi * sigma**2)
    total = torch.zeros_like(constant)
    for _ in range(samples):
        noise = torch.randn(mean.shape, generator=rng, dtype=mean.dtype, device=mean.device)
        z = mean + log_std.exp() * noise
        error = (x - vae.decode(z)).flatten(1).square().sum(1)
        total += (noise.square() - z.square()).sum(1) / 2 - error / (2 * sigma**2)
    return constant + total / samples


@torch.no_grad()
def active_dimensions(
    vae: VariationalAutoencoder, x: Float[Tensor, "N *event"], threshold: float = ACTIVE
) -> int:
    r"""Returns how many latent variables the encoder uses.

    .. math:: \# \{ k : \mathrm{Var}_x [\mu_k(x)] > t \}

    Zero is the collapse: every code is the prior whatever x is.

    Arguments:
        vae: The autoencoder.
        x: The events, shape (N, \*event), two or more.
        threshold: The variance t; that of the prior is 1.

    Raises:
        ValueError: If there are fewer than two rows, or the threshold is negative.

    References:
        | Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016)

    Example:
        >>> from boltzwalk.bases import DenseEncoder, DenseGenerator, Vae
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
    r"""Returns the weight of the divergence to start from.

    .. math:: \gamma = 2 \, \frac{\sum_j \mathrm{Var}[x_j]}{763.2}

    which keeps the share of :math:`\gamma / 2` in the total variance of the data as it is in the
    published setting for CIFAR-10. For the 8 x 8 digits that is 0.05 instead of 2, at which nearly
    no latent direction would survive.

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
