r"""Neal's funnel: a scale that changes by orders of magnitude with the first coordinate.

.. math:: v \sim \mathcal{N}(0, \sigma^2), \quad x_i \mid v \sim \mathcal{N}(0, e^v), \qquad
    U(v, x) = \frac{v^2}{2\sigma^2} + \sum_{i=1}^{d-1} \frac{x_i^2 e^{-v} + v}{2} .

No single step size suits all of it: small steps never leave the mouth, large ones never enter the
neck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...energy import require_event_shape

__all__ = ["Funnel"]


@dataclass(frozen=True)
class Funnel:
    r"""The funnel; coordinate 0 is :math:`v`.

    Attributes:
        dim: The dimension :math:`d`, two or more.
        scale: The standard deviation :math:`\sigma` of :math:`v`.

    Raises:
        ValueError: If ``dim`` is less than 2 or ``scale`` not positive.

    References:
        | Slice Sampling (Neal, 2003)

    Example:
        >>> Funnel(dim=2)(torch.tensor([[0.0, 2.0]])).item()
        2.0
    """

    dim: int = 10
    scale: float = 3.0

    def __post_init__(self) -> None:
        if self.dim < 2 or self.scale <= 0:
            raise ValueError(
                "a funnel must have dim >= 2 and scale > 0, "
                f"got dim = {self.dim}, scale = {self.scale}; write Gaussian for one dimension"
            )

    def __call__(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, (self.dim,))
        v, rest = x[:, 0], x[:, 1:]
        quadratic = rest.square().sum(1) * torch.exp(-v) + (self.dim - 1) * v
        return (v / self.scale).square() / 2 + quadratic / 2

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Returns n exact samples, shape (n, dim)."""
        z = torch.randn(n, self.dim, generator=rng, device=rng.device)
        v = self.scale * z[:, :1]
        return torch.cat([v, torch.exp(v / 2) * z[:, 1:]], 1)

    @property
    def log_z(self) -> float:
        r""":math:`\log \sigma + \frac{d}{2} \log 2\pi`."""
        return math.log(self.scale) + self.dim / 2 * math.log(2 * math.pi)

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        """Zeros, shape (dim,)."""
        return torch.zeros(self.dim)

    @property
    def variance(self) -> Float[Tensor, " dim"]:
        r""":math:`(\sigma^2, e^{\sigma^2/2}, \dots)`, shape (dim,).

        At the usual :math:`\sigma = 3` the fourth moment of :math:`x_i` is :math:`3 e^{18}`: no
        feasible number of samples estimates this variance.
        """
        variance = torch.full((self.dim,), math.exp(self.scale**2 / 2))
        variance[0] = self.scale**2
        return variance
