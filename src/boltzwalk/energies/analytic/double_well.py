r"""The double well: two modes behind a barrier, of unequal mass where it is tilted.

.. math:: U(x) = \sum_i \Big[ b \Big( \frac{x_i^2}{a^2} - 1 \Big)^2 + c \, x_i \Big] .

The wells are near :math:`\pm a`, the barrier between them is b high, and a tilt :math:`c > 0`
favours the left one by about :math:`e^{2ac}`. The :math:`Z` and the moments of one coordinate
are sums of the trapezoidal rule, which for a smooth function that vanishes on both sides converges
faster than any power of the step. Samples come from the inverse of the distribution function on the
same grid, exact to about 1e-9 in probability.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...energy import require_event_shape

__all__ = ["DoubleWell"]

# Where the energy is this far above its minimum, exp(-U) is below 1e-32 of its peak.
TAIL = 75.0
CELLS = 2**16


@dataclass(frozen=True)
class DoubleWell:
    r"""A product of identical one-dimensional double wells.

    Attributes:
        dim: The dimension :math:`d`; the density has :math:`2^d` modes.
        barrier: The height b of the barrier between level wells.
        separation: The position a of the wells, at :math:`\pm a`.
        tilt: The slope c.

    Raises:
        ValueError: If ``barrier`` or ``separation`` is not positive.

    Example:
        >>> DoubleWell()(torch.tensor([[0.0], [1.0]])).tolist()
        [4.0, 0.0]
    """

    dim: int = 1
    barrier: float = 4.0
    separation: float = 1.0
    tilt: float = 0.0

    def __post_init__(self) -> None:
        if self.barrier <= 0 or self.separation <= 0:
            raise ValueError(
                "a double well must have barrier > 0 and separation > 0, "
                f"got barrier = {self.barrier}, separation = {self.separation}"
            )

    def __call__(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, (self.dim,))
        return self._potential(x).sum(1)

    def energy_and_grad(
        self, x: Float[Tensor, "N dim"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N dim"]]:
        r"""Returns :math:`U(x)`, shape (N,), and :math:`\nabla U(x)`, shape (N, dim)."""
        require_event_shape(x, (self.dim,))
        well = (x / self.separation).square() - 1
        grad = (4 * self.barrier / self.separation**2) * well * x + self.tilt
        return (self.barrier * well.square() + self.tilt * x).sum(1), grad

    def _potential(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The energy of each coordinate."""
        return self.barrier * ((x / self.separation).square() - 1).square() + self.tilt * x

    @functools.cached_property
    def _table(self) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"], Float[Tensor, ""]]:
        r"""A grid on one axis, its probability at each point, and log Z of one axis; float64.

        Beyond :math:`|x| = a t` the energy exceeds its minimum by :data:`TAIL` as soon as
        :math:`b (t^2 - 1)^2 \ge T + 2 |c| a t`: the minimum is at most :math:`U(\pm a) \le |c| a`.
        """
        a, c, t = self.separation, abs(self.tilt), 2.0
        while self.barrier * (t * t - 1) ** 2 < TAIL + 2 * c * a * t:
            t *= 1.1
        with torch.inference_mode(False):
            x = torch.linspace(-a * t, a * t, CELLS + 1, dtype=torch.float64, device="cpu")
            log_density = -self._potential(x)
            log_sum = torch.logsumexp(log_density, 0)
            log_step = math.log(2 * a * t / CELLS)
            return x, torch.exp(log_density - log_sum), log_sum + log_step

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Returns n samples, shape (n, dim)."""
        x, density, _ = (values.to(rng.device) for values in self._table)
        masses = (density[1:] + density[:-1]) / 2
        cumulative = torch.cat([masses.new_zeros(1), masses.cumsum(0)])
        u = (
            torch.rand(n, self.dim, generator=rng, device=rng.device, dtype=x.dtype)
            * cumulative[-1]
        )
        cell = (torch.searchsorted(cumulative, u, right=True) - 1).clamp(0, CELLS - 1)
        fraction = (u - cumulative[cell]) / masses[cell]
        return (x[cell] + fraction * (x[1] - x[0])).to(torch.get_default_dtype())

    @property
    def log_z(self) -> float:
        r""":math:`\log Z`, to about 1e-14."""
        return self.dim * float(self._table[2])

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        """The mean, to about 1e-14, shape (dim,)."""
        x, density, _ = self._table
        return torch.full((self.dim,), float(density @ x))

    @property
    def variance(self) -> Float[Tensor, " dim"]:
        """The variance, to about 1e-14, shape (dim,)."""
        x, density, _ = self._table
        return torch.full((self.dim,), float(density @ (x - density @ x).square()))
