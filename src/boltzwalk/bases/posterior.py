r"""The posterior of the latent variables of a generator, as an energy.

.. math:: U(z) = \tfrac12 |z|^2 + \frac{|x - g(z)|^2}{2 \sigma^2} = -\log p(z, x) + \mathrm{const}

under the model :math:`z \sim N(0, I)`, :math:`x = g(z) + \sigma \epsilon`. Walkers in z move by the
ordinary kernels, one for each x.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from ..energies.energy import Energy

__all__ = ["posterior_energy"]


def posterior_energy(
    decode: Callable[[Tensor], Tensor], x: Float[Tensor, "N *event"], sigma: float
) -> Energy:
    r"""Returns the energy of latent variables z, shape (N, d), given one event x for each row.

    The likelihood is summed over pixels and never averaged over rows: some published codes divide
    it by the number of chains, which weakens it by as much.

    Arguments:
        decode: The generator g, in evaluation mode: batch statistics would couple the chains.
        x: The events, shape (N, \*event); no gradient flows to them.
        sigma: The deviation :math:`\sigma` of the noise of one pixel, positive; 0.3 in the
            published settings, for images in [-1, 1].

    Raises:
        ValueError: If sigma is not positive; from the energy, if there is not one event for each
            row of z.

    References:
        | Cooperative Training of Descriptor and Generator Networks (Xie, Lu, Gao, Zhu and Wu, 2018)

    Example:
        >>> import torch
        >>> energy = posterior_energy(lambda z: 2 * z, torch.tensor([[2.0]]), sigma=0.5)
        >>> energy(torch.tensor([[2.0]])).item()
        10.0
    """
    if not sigma > 0:
        raise ValueError(
            f"sigma must be positive, got {sigma}; write the deviation of the noise of one pixel, "
            "such as sigma=0.3"
        )
    x = x.detach()

    def energy(z: Tensor) -> Tensor:
        decoded = decode(z)
        if decoded.shape != x.shape:
            raise ValueError(
                f"each row of z needs one event x of the shape that is decoded, got {len(z)} rows "
                f"decoded to {tuple(decoded.shape)} and x of shape {tuple(x.shape)}; give x[i] for "
                "z[i]"
            )
        misfit = (x - decoded).flatten(1).square().sum(1)
        return z.square().sum(1) / 2 + misfit / (2 * sigma**2)

    return energy
