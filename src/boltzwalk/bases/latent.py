r"""The energy of a generalized model on the latent variables of its base.

.. math:: U(z) = -\log \eta(z) + \beta E(g(z)) , \qquad -\log \eta(z) = \tfrac12 |z|^2 +
    \mathrm{const} .

Walkers in z with the density :math:`e^{-U}`, decoded, are samples of
:math:`Q \propto e^{-\beta E} B`, whatever the support of the base B is: no density in the space of
events is needed. Only the energy is tempered, the prior stays as it is. Any kernel moves them.

Not guaranteed: that :math:`\beta \ne 1` is the model that was trained; published images have
:math:`\beta = 100`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from ..energies.energy import Energy

__all__ = ["Decodes", "LatentEnergy"]


@runtime_checkable
class Decodes(Protocol):
    """A base: it decodes latent variables."""

    def decode(self, z: Tensor) -> Tensor:
        r"""Returns events, shape (n, \*event)."""


class LatentEnergy(nn.Module):
    r"""The energy :math:`\frac12 |z|^2 + \beta E(g(z))` of latent variables.

    Arguments:
        base: The base g, in evaluation mode.
        energy: The energy E relative to the base; None for none.
        inverse_temperature: The factor :math:`\beta` of the energy.
        prior: Whether the first term is there.
        misfit: A further energy of what is decoded, such as that of visible entries.

    Raises:
        ValueError: If the inverse temperature is negative; from a call, if z does not fit the base.

    References:
        | Generalized energy based models (Arbel, Zhou and Gretton, 2021)

    Example:
        >>> import torch
        >>> class Twice(nn.Module):
        ...     def decode(self, z):
        ...         return 2 * z
        >>> energy = LatentEnergy(Twice(), lambda x: x.sum(1), inverse_temperature=10.0)
        >>> energy(torch.tensor([[2.0]])).item()
        42.0
    """

    def __init__(
        self,
        base: Decodes,
        energy: Energy | None,
        inverse_temperature: float = 1.0,
        prior: bool = True,
        misfit: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if not inverse_temperature >= 0:
            raise ValueError(
                f"inverse_temperature must be >= 0, got {inverse_temperature}; 1 is the model that "
                "was trained"
            )
        self.base: Any = base  # a module, whose latent variables are standard normal
        self.energy = energy
        self.inverse_temperature = inverse_temperature
        self.prior = prior
        self.misfit = misfit

    def forward(self, z: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Returns the energies of latent rows, shape (N,)."""
        x = self.base.decode(z)
        u = z.square().sum(1) / 2 if self.prior else z.new_zeros(len(z))
        if self.energy is not None:
            u = u + self.inverse_temperature * self.energy(x)
        return u if self.misfit is None else u + self.misfit(x)
