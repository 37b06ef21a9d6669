r"""Rings around the origin of the plane: modes that are curves.

The radius is normal around each ring, with its sign dropped, and the angle uniform. In other words
the signed radius is a mixture of Gaussians at :math:`\pm r_k`, with energy :math:`V`, and

.. math:: U(x) = \log r + V(r) , \quad r = |x| , \qquad \log Z = \log \pi + \log \sqrt{2\pi} ,

so that ring k has the mass :math:`w_k` whatever its length. Not guaranteed: the origin itself has
an infinite density (of mass zero), and no gradient.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...energy import require_event_shape
from .mixture import GaussianMixture

__all__ = ["GaussianRings"]


@dataclass(frozen=True)
class GaussianRings:
    r"""Concentric rings in two dimensions.

    Attributes:
        radii: The radii :math:`r_k`, one or more.
        scale: The standard deviation :math:`\sigma` of the radius around them.
        weights: The masses :math:`w_k`, positive; they are divided by their sum. Equal by default.

    Raises:
        ValueError: If there is no ring, a value is not positive, or the lengths do not agree.

    References:
        | On the Anatomy of MCMC-Based Maximum Likelihood Learning of Energy-Based Models
          (Nijkamp, Hill, Han, Zhu and Wu, 2020)

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> GaussianRings(radii=(3.0,), scale=0.01).sample(4, rng).norm(dim=1).round().tolist()
        [3.0, 3.0, 3.0, 3.0]
    """

    radii: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    scale: float = 0.15
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        masses = (1.0,) * len(self.radii) if self.weights is None else self.weights
        positive = min((*self.radii, *masses, self.scale)) > 0
        if not self.radii or len(masses) != len(self.radii) or not positive:
            raise ValueError(
                "rings must have one or more positive radii, a positive scale and as many positive "
                f"weights as radii, got radii = {self.radii}, scale = {self.scale}, "
                f"weights = {self.weights}"
            )

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    @functools.cached_property
    def _signed_radius(self) -> GaussianMixture:
        """The density of the radius with a random sign."""
        means = tuple((sign * radius,) for sign in (1, -1) for radius in self.radii)
        weights = None if self.weights is None else (*self.weights, *self.weights)
        return GaussianMixture(means, self.scale, weights)

    def __call__(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, (self.dim,))
        r = torch.linalg.vector_norm(x, dim=1)
        return torch.log(r) + self._signed_radius(r[:, None])

    def energy_and_grad(
        self, x: Float[Tensor, "N dim"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N dim"]]:
        r"""Returns :math:`U(x)`, shape (N,), and :math:`\nabla U(x)`, shape (N, 2)."""
        require_event_shape(x, (self.dim,))
        r = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        v, slope = self._signed_radius.energy_and_grad(r)
        return torch.log(r[:, 0]) + v, (1 / r + slope) * (x / r)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Returns n exact samples, shape (n, 2)."""
        angle = 2 * math.pi * torch.rand(n, 1, generator=rng, device=rng.device)
        direction = torch.cat([torch.cos(angle), torch.sin(angle)], 1)
        return self._signed_radius.sample(n, rng) * direction

    @property
    def log_z(self) -> float:
        r""":math:`\log Z`, exact."""
        return math.log(math.pi) + math.log(2 * math.pi) / 2

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        """Zeros, shape (2,)."""
        return torch.zeros(2)

    @property
    def variance(self) -> Float[Tensor, " dim"]:
        r""":math:`\frac{1}{2} \sum_k w_k (r_k^2 + \sigma^2)` twice, shape (2,)."""
        return (self._signed_radius.variance / 2).repeat(2)
