r"""From an energy relative to a base to one of its own, and back, where the base has a density.

.. math:: Q \propto e^{-E} B = e^{-U} , \qquad U(x) = E(x) - \log b(x) .
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from ..energies.energy import Energy

__all__ = ["HasDensity", "Shifted", "require_density"]


@runtime_checkable
class HasDensity(Protocol):
    """A base with a density."""

    def log_density(self, x: Tensor) -> Tensor:
        """Returns log b(x), shape (N,)."""


class Shifted(nn.Module):
    r"""The energy :math:`f(x) + s \log b(x)`.

    With :math:`s = 1` it is relative to the base where f is not, with :math:`s = -1` the reverse.

    Arguments:
        energy: The energy f.
        base: The base, which has a density.
        sign: The factor s.

    Raises:
        ValueError: If the base has no density.
    """

    def __init__(self, energy: Energy, base: nn.Module, sign: int) -> None:
        super().__init__()
        self.energy = energy
        self.base = require_density(base, "an energy of its own, not relative to the base,")
        self.sign = sign

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        """Returns the energies, shape (N,)."""
        u: Tensor = self.energy(x) + self.sign * self.base.log_density(x)
        return u


def require_density(base: nn.Module, what: str) -> HasDensity:
    """Returns a base that has a density.

    Arguments:
        base: The base.
        what: What needs it, for the message.

    Raises:
        ValueError: If it has none.

    Example:
        >>> require_density(nn.Identity(), "a likelihood")
        Traceback (most recent call last):
        ...
        ValueError: a likelihood needs a base with a density, got Identity, which makes events ...
    """
    if not isinstance(base, HasDensity):
        raise ValueError(
            f"{what} needs a base with a density, got {type(base).__name__}, which makes events "
            "but does not know how likely they are; take a flow as method.base"
        )
    return base
