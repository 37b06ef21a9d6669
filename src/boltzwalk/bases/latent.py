r"""Energies on the latent variables of a base.

The energy of a model :math:`Q \propto e^{-E} B` relative to a base B is, on the latent variables,

.. math:: U(z) = -\log \eta(z) + \beta E(g(z)) , \qquad -\log \eta(z) = \tfrac12 |z|^2 +
    \mathrm{const} .

Walkers in z with the density :math:`e^{-U}`, decoded, are samples of
:math:`Q \propto e^{-\beta E} B`, whatever the support of the base: no density in the space of
events is needed. Only the energy is tempered, not the prior. Any kernel moves them.

If the base has a density b, the energy relative to the base converts to an absolute one,

.. math:: Q \propto e^{-E} B = e^{-U} , \qquad U(x) = E(x) - \log b(x) .

The posterior of the latent variables under the model :math:`z \sim N(0, I)`,
:math:`x = g(z) + \sigma \epsilon` has the energy

.. math:: U(z) = \tfrac12 |z|^2 + \frac{|x - g(z)|^2}{2 \sigma^2} = -\log p(z, x) + \mathrm{const} .

Not guaranteed: that :math:`\beta \ne 1` is the model that was trained; published images have
:math:`\beta = 100`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..base import require_density
from ..energy import Energy

__all__ = [
    "LatentEnergy",
    "ShiftedEnergy",
    "posterior_energy",
]


class LatentEnergy(nn.Module):
    r"""The energy :math:`\frac12 |z|^2 + \beta E(g(z))` of latent variables.

    Arguments:
        base: The base g, in evaluation mode.
        energy: The energy E relative to the base; None for none.
        inverse_temperature: The factor :math:`\beta` of the energy.
        prior: Whether to include the first term.
        misfit: A further energy of the decoded event, such as that of its observed entries.

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
        base: Any,  # noqa: ANN401  # a base, or any module with decode(z)
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
        self.base: Any = base  # a module with standard normal latent variables
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


class ShiftedEnergy(nn.Module):
    r"""The energy :math:`f(x) + s \log b(x)`.

    It makes an absolute energy relative to the base with :math:`s = 1`, and the reverse with
    :math:`s = -1`.

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
        self.base = require_density(base, "an absolute energy, not relative to the base,")
        self.sign = sign

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        """Returns the energies, shape (N,)."""
        u: Tensor = self.energy(x) + self.sign * self.base.log_density(x)
        return u


def posterior_energy(
    decode: Callable[[Tensor], Tensor], x: Float[Tensor, "N *event"], sigma: float
) -> Energy:
    r"""Returns the posterior energy of latent variables z, shape (N, d), one event x per row.

    The likelihood is summed over pixels and never averaged over rows. Some published codes divide
    it by the number of chains, which weakens it by that factor.

    Arguments:
        decode: The generator g, in evaluation mode; batch statistics would couple the chains.
        x: The events, shape (N, \*event); no gradient flows to them.
        sigma: The deviation :math:`\sigma` of the noise of one pixel, positive; 0.3 in the
            published settings, for images in [-1, 1].

    Raises:
        ValueError: If sigma is not positive; from the energy, unless there is one event for each
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
