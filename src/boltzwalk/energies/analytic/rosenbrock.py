r"""Rosenbrock's banana: a curved, narrow valley, in independent pairs of coordinates.

.. math:: U(x) = \sum_{\text{pairs } (s, t)} a (s - \mu)^2 + b (t - s^2)^2 , \qquad
    \log Z = \frac{d}{2} \log \frac{\pi}{\sqrt{ab}} .

Each s is normal with variance :math:`1/2a`, and t given s normal around :math:`s^2` with variance
:math:`1/2b`. Of the extensions to many dimensions this is the one whose moments stay in closed
form and of moderate size (others chain the squares).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...energy import require_event_shape

__all__ = ["Rosenbrock"]


@dataclass(frozen=True)
class Rosenbrock:
    r"""Independent bananas; coordinates 0, 2, 4, ... are s, and 1, 3, 5, ... are t.

    Attributes:
        dim: The dimension :math:`d`, even.
        loc: The mean :math:`\mu` of s.
        a: The stiffness :math:`a` along the valley.
        b: The stiffness :math:`b` across it.

    Raises:
        ValueError: If ``dim`` is odd, or ``a`` or ``b`` is not positive.

    References:
        | An n-dimensional Rosenbrock distribution for Markov chain Monte Carlo testing
          (Pagani, Wiegand and Nadarajah, 2022)

    Example:
        >>> Rosenbrock(a=1.0, b=2.0)(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist()
        [0.0, 3.0]
    """

    dim: int = 2
    loc: float = 1.0
    a: float = 0.05
    b: float = 5.0

    def __post_init__(self) -> None:
        if self.dim < 2 or self.dim % 2 or self.a <= 0 or self.b <= 0:
            raise ValueError(
                "Rosenbrock must have an even dim >= 2, a > 0 and b > 0, "
                f"got dim = {self.dim}, a = {self.a}, b = {self.b}"
            )

    def __call__(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, (self.dim,))
        s, t = x[:, 0::2], x[:, 1::2]
        along, across = (s - self.loc).square(), (t - s.square()).square()
        return (self.a * along + self.b * across).sum(1)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Returns n exact samples, shape (n, dim)."""
        z = torch.randn(n, self.dim // 2, 2, generator=rng, device=rng.device)
        s = self.loc + z[..., 0] / math.sqrt(2 * self.a)
        t = s.square() + z[..., 1] / math.sqrt(2 * self.b)
        return torch.stack([s, t], 2).flatten(1)

    @property
    def log_z(self) -> float:
        r""":math:`\log Z`, exact."""
        return self.dim / 2 * math.log(math.pi / math.sqrt(self.a * self.b))

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        r""":math:`(\mu, \mu^2 + 1/2a)` for each pair, shape (dim,)."""
        return torch.tensor([self.loc, self.loc**2 + 0.5 / self.a]).repeat(self.dim // 2)

    @property
    def variance(self) -> Float[Tensor, " dim"]:
        r""":math:`(v, 2v^2 + 4\mu^2 v + 1/2b)` with :math:`v = 1/2a`, shape (dim,)."""
        v = 0.5 / self.a
        across = 2 * v**2 + 4 * self.loc**2 * v + 0.5 / self.b
        return torch.tensor([v, across]).repeat(self.dim // 2)
