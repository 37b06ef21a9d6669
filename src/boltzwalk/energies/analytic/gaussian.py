r"""The Gaussian with independent coordinates.

.. math:: U(x) = \sum_i \frac{(x_i - \mu_i)^2}{2 \sigma_i^2} , \qquad
    \log Z = \sum_i \log \sigma_i + \frac{d}{2} \log 2\pi .
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...energy import require_event_shape

__all__ = ["Gaussian"]


@dataclass(frozen=True)
class Gaussian:
    r"""A Gaussian, isotropic or stretched along its axes.

    Attributes:
        dim: The dimension :math:`d`.
        loc: The mean :math:`\mu`, one number or one for each coordinate.
        scale: The standard deviation :math:`\sigma`, one number or one for each coordinate.

    Raises:
        ValueError: If ``loc`` or ``scale`` has not ``dim`` entries, or a scale is not positive.

    Example:
        >>> Gaussian(dim=2, scale=(1.0, 10.0))(torch.tensor([[1.0, 10.0]])).item()
        1.0
    """

    dim: int
    loc: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        for name, values in (("loc", self._locs), ("scale", self._scales)):
            if len(values) != self.dim:
                raise ValueError(
                    f"{name} must be one number or dim = {self.dim} numbers, got {len(values)}"
                )
        if min(self._scales) <= 0:
            raise ValueError(f"scale must be positive, got {self.scale}")

    @property
    def _locs(self) -> tuple[float, ...]:
        return self.loc if isinstance(self.loc, tuple) else (self.loc,) * self.dim

    @property
    def _scales(self) -> tuple[float, ...]:
        return self.scale if isinstance(self.scale, tuple) else (self.scale,) * self.dim

    def __call__(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, (self.dim,))
        loc, scale = self._constants(x)
        return ((x - loc) / scale).square().sum(1) / 2

    def energy_and_grad(
        self, x: Float[Tensor, "N dim"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N dim"]]:
        r"""Returns :math:`U(x)`, shape (N,), and :math:`\nabla U(x)`, shape (N, dim)."""
        require_event_shape(x, (self.dim,))
        loc, scale = self._constants(x)
        z = (x - loc) / scale
        return z.square().sum(1) / 2, z / scale

    def _constants(
        self, x: Float[Tensor, "N dim"]
    ) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
        """The mean and the scale in the dtype and on the device of the walkers, made once."""
        key = (x.dtype, x.device)
        if key not in self._cache:
            with torch.inference_mode(False):
                loc = torch.tensor(self._locs, dtype=x.dtype, device=x.device)
                scale = torch.tensor(self._scales, dtype=x.dtype, device=x.device)
            self._cache[key] = (loc, scale)
        return self._cache[key]

    @functools.cached_property
    def _cache(self) -> dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]]:
        return {}

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Returns n exact samples, shape (n, dim)."""
        z = torch.randn(n, self.dim, generator=rng, device=rng.device)
        loc, scale = self._constants(z)
        return loc + scale * z

    @property
    def log_z(self) -> float:
        r""":math:`\log Z`, exact."""
        return math.fsum(map(math.log, self._scales)) + self.dim / 2 * math.log(2 * math.pi)

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        r""":math:`\mu`, shape (dim,)."""
        return torch.tensor(self._locs)

    @property
    def variance(self) -> Float[Tensor, " dim"]:
        r""":math:`\sigma^2`, shape (dim,)."""
        return torch.tensor(self._scales).square()
