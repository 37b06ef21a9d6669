r"""The product of Gumbel densities: smooth, skewed, every moment in closed form.

.. math:: U(x) = \sum_i \big( x_i + e^{-x_i} \big) , \qquad Z = 1 .

A sign error that no symmetric target detects changes the moments of this one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...energy import require_event_shape

__all__ = ["GumbelProduct"]

EULER_GAMMA = 0.57721566490153286061


@dataclass(frozen=True)
class GumbelProduct:
    r"""Independent standard Gumbel coordinates.

    Attributes:
        dim: The dimension :math:`d`.

    Example:
        >>> GumbelProduct(dim=3)(torch.zeros(1, 3)).item()
        3.0
    """

    dim: int

    def __call__(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, (self.dim,))
        return (x + torch.exp(-x)).sum(1)

    def energy_and_grad(
        self, x: Float[Tensor, "N dim"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N dim"]]:
        r"""Returns :math:`U(x)`, shape (N,), and :math:`\nabla U(x)`, shape (N, dim)."""
        require_event_shape(x, (self.dim,))
        decay = torch.exp(-x)
        return (x + decay).sum(1), 1 - decay

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Returns n exact samples, shape (n, dim)."""
        exponential = torch.empty(n, self.dim, device=rng.device).exponential_(generator=rng)
        return -torch.log(exponential)

    @property
    def log_z(self) -> float:
        r""":math:`\log Z = 0`."""
        return 0.0

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        r"""Euler's :math:`\gamma`, shape (dim,)."""
        return torch.full((self.dim,), EULER_GAMMA)

    @property
    def variance(self) -> Float[Tensor, " dim"]:
        r""":math:`\pi^2 / 6`, shape (dim,)."""
        return torch.full((self.dim,), math.pi**2 / 6)
