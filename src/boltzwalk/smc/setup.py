r"""The start of an annealing: coordinates, path, and reference within the support of the energy.

Where the energy is plus infinity outside of a support S, the reference is restricted to it,

.. math:: \log Z_S = \log Z_0 + \log P_0(S) ,

with the share :math:`P_0(S)` of the draws of the reference that fall into S.

Not guaranteed: that the reference reaches all of the support.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.analytic import Gaussian
from ..energy import Energy, ExactEnergy, energy_and_grad
from .annealing import EnergyPath
from .coordinates import Bijection, PulledBackEnergy, fit_affine
from .intervals import Interval

__all__ = ["AnnealingSetup", "CentredEnergy", "make_setup", "thinned"]

RAYS = 32
"""The number of rays through samples, through noise, and through the pilot's last walkers."""

MOST_DRAWS = 500
"""Draws of the reference for each walker within the support, at most."""


@dataclass(eq=False)
class CentredEnergy:
    r"""The energy :math:`U(x) - c`, and the number of walkers at which it was evaluated.

    Attributes:
        energy: The energy :math:`U`.
        constant: The constant c.
        rounding: Half a unit in the last place of energies near c.
        walkers: The number of evaluations of the energy of a walker.

    Example:
        >>> import torch
        >>> energy = CentredEnergy(lambda x: x.square().sum(1) + 1000)
        >>> energy.centre(torch.zeros(4, 1))
        >>> energy(torch.ones(1, 1)), energy.walkers
        (tensor([1.]), 5)
    """

    energy: Energy
    constant: float = 0.0
    rounding: float = 0.0
    walkers: int = 0

    def __call__(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x) - c`, shape (N,)."""
        self.walkers += len(x)
        return self.energy(x) - self.constant

    def energy_and_grad(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
        r"""Returns :math:`U(x) - c`, shape (N,), and its gradient, shape (N, \*event)."""
        self.walkers += len(x)
        u, grad = energy_and_grad(self.energy, x)
        return u - self.constant, grad

    @torch.no_grad()
    def centre(self, x: Tensor) -> None:
        r"""Takes the median energy as the constant, which the energy can represent exactly.

        Arguments:
            x: Approximate samples, shape (N, \*event).
        """
        u = self(x)
        known = u[u.isfinite()]
        if len(known):
            self.constant = float(known.median())
            self.rounding = torch.finfo(u.dtype).eps / 2 * abs(self.constant)


@dataclass(eq=False)
class AnnealingSetup:
    """The path, its reference within the support of the energy, and the coordinates.

    Attributes:
        energy: The centred energy in the coordinates of the samples.
        path: The path, in its own coordinates.
        reference: The reference.
        bijection: The coordinates of the path; None where they are those of the samples.
        like: Approximate samples, in the coordinates of the path.
        inside: The number of draws of the reference with a finite energy.
        draws: The number of draws.
    """

    energy: CentredEnergy
    path: EnergyPath
    reference: ExactEnergy
    bijection: Bijection | None
    like: Float[Tensor, "M *coordinates"]
    inside: int = 0
    draws: int = 0

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *coordinates"]:
        """Draws exact samples of the reference."""
        return self.reference.sample(n, rng).to(self.like)

    @torch.no_grad()
    def sample_inside(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *coordinates"]:
        """Draws exact samples of the reference where the energy is not plus infinity.

        Arguments:
            n: The number of samples.
            rng: The random generator.

        Raises:
            FloatingPointError: If fewer than one draw of 500 falls there.
        """
        parts, count, draws = [], 0, 0
        while count < n:
            if draws >= MOST_DRAWS * n:
                raise FloatingPointError(
                    f"{draws - count} of {draws} draws of the reference have an infinite energy; "
                    "start from a reference that lies where the energy is finite"
                )
            x = self.sample(n, rng)
            parts.append(x[self.path.end_energies(x) != math.inf])
            count, draws = count + len(parts[-1]), draws + n
        self.inside, self.draws = self.inside + count, self.draws + draws
        return torch.cat(parts)[:n]

    @property
    def start(self) -> Interval:
        """Log Z of the start: that of the reference within the support, in units of the energy."""
        share = self.inside / self.draws
        error = 1.96 * math.sqrt((1 - share) / self.inside)
        return Interval(self.reference.log_z + math.log(share) - self.energy.constant, error)

    def to_coordinates(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, "N *coordinates"]:
        """Maps positions to the coordinates of the path."""
        return x if self.bijection is None else self.bijection.to_z(x)


def make_setup(
    energy: Energy,
    like: Tensor,
    reference: ExactEnergy | None,
    bijection: Bijection | None,
    batch: int | None,
) -> AnnealingSetup:
    """Returns a path from the reference, or from N(0, I) in coordinates fitted to samples.

    Arguments:
        energy: The energy.
        like: Approximate samples of its density.
        reference: The reference, or None.
        bijection: The coordinates in which the reference is N(0, I); None fits them.
        batch: The number of walkers evaluated at once; None chooses for the device.
    """
    centred = CentredEnergy(energy)
    if reference is not None:
        setup = AnnealingSetup(
            centred, EnergyPath(reference, centred, batch), reference, None, like
        )
    else:
        bijection = fit_affine(like) if bijection is None else bijection
        z = bijection.to_z(like)
        normal = Gaussian(z.shape[1])
        path = EnergyPath(normal, PulledBackEnergy(centred, bijection), batch)
        setup = AnnealingSetup(centred, path, normal, bijection, z)
    centred.centre(thinned(like, RAYS))
    return setup


def thinned(x: Float[Tensor, "N *event"], n: int) -> Float[Tensor, "M *event"]:
    """Picks at most n rows, evenly spaced and in order.

    Arguments:
        x: The rows.
        n: The largest number of them.
    """
    if len(x) <= n:
        return x
    return x[torch.linspace(0, len(x) - 1, n, device=x.device).round().long()]
