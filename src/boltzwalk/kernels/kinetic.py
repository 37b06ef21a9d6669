r"""Kinetic (underdamped) Langevin dynamics.

Walkers carry a velocity :math:`v`, with friction :math:`\gamma` and inverse mass :math:`u`,

.. math:: dx = v\,dt , \qquad dv = -\gamma v\,dt - u \nabla U(x)\,dt + \sqrt{2 \gamma u T}\,dB ,

whose invariant density is :math:`\exp(-U(x) / T)\, \mathcal N(v \mid 0, u T I)`. A step of time
:math:`h` is split into position, kick, Ornstein-Uhlenbeck, kick, position:

.. math:: x \leftarrow x + \tfrac h2 v , \quad v \leftarrow v - \tfrac h2 u \nabla U(x) , \quad
    v \leftarrow C v + \sqrt{u T (1 - C^2)}\, \xi , \quad C = e^{-\gamma h} , \quad
    v \leftarrow v - \tfrac h2 u \nabla U(x) , \quad x \leftarrow x + \tfrac h2 v .

The gradient is taken at the middle position. Walkers cache it at their end position as well, so a
step of one substep costs two gradients; :math:`K` substeps share their inner half drifts and cost
:math:`K + 1`. (Positions at the middle would save the extra gradient, but they have the variance
:math:`1 / (1 - h^2 / 4)` on a standard normal, whereas those at the end are exact.)

Here `step_size` is the time :math:`h`. The code of the generalized EBM paper uses
:math:`h = 2 \sqrt\lambda`. In the limit of strong friction the walkers make ULA steps of
:math:`\varepsilon = u h^2 / 2`.

Not guaranteed: there is no accept step, so the target is invariant only up to :math:`O(h^2)`, and
the scheme diverges where :math:`h^2 u` exceeds 4 over the curvature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy, energy_and_grad
from ..kernel import StepInfo, require_positive, unadjusted_info
from ..walkers import Walkers, walkers_at

__all__ = ["KineticLangevin"]


@dataclass(frozen=True)
class KineticLangevin:
    r"""Kinetic Langevin dynamics, position-kick-OU-kick-position, without an accept step.

    The velocity is the one tensor of the walkers' memory. Where the memory is empty, the velocity
    is drawn from :math:`\mathcal N(0, u T I)`.

    Arguments:
        step_size: The time :math:`h` of a substep.
        friction: The friction :math:`\gamma`, an inverse time.
        inverse_mass: The inverse mass :math:`u`.
        temperature: The temperature :math:`T`.
        substeps: The number :math:`K` of substeps in a step.

    Raises:
        ValueError: If a hyper-parameter is not positive, or the memory is not one
            velocity.

    References:
        | Langevin dynamics with variable coefficients and nonconservative forces (Sachs,
          Leimkuhler and Danos, 2017)
        | Generalized energy based models (Arbel, Zhou and Gretton, 2021), Algorithm 3
        | https://arxiv.org/abs/2003.05033

    Example:
        >>> KineticLangevin(0.2, friction=1.0, substeps=20).gradients
        21
    """

    step_size: float
    friction: float
    inverse_mass: float = 1.0
    temperature: float = 1.0
    substeps: int = 1

    invariant: ClassVar[bool] = False
    weighable: ClassVar[bool] = False

    step_is_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, instead in (
            ("step_size", "step_size=0.1"),
            ("friction", "friction=1.0"),
            ("inverse_mass", "inverse_mass=1.0"),
            ("temperature", "temperature=1.0, or Descent(step_size) for no noise"),
        ):
            require_positive("KineticLangevin", name, getattr(self, name), instead)
        if self.substeps < 1:
            raise ValueError(
                f"KineticLangevin needs substeps >= 1, got {self.substeps}; write substeps=1"
            )

    @property
    def gradients(self) -> int:
        """The number of gradients of a step: one per substep, and one at the end."""
        return self.substeps + 1

    @property
    def drift(self) -> float:
        """The distance that a unit gradient moves a walker in a step, from rest, up to O(h²)."""
        t = self.substeps * self.step_size
        return (
            self.inverse_mass / self.friction * (t + math.expm1(-self.friction * t) / self.friction)
        )

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Makes the substeps, then evaluates the walkers at their end positions."""
        h, kick = self.step_size, -self.step_size / 2 * self.inverse_mass
        decay = math.exp(-self.friction * h)
        variance = -math.expm1(-2 * self.friction * h)  # 1 - decay², without cancellation
        scale = math.sqrt(self.inverse_mass * self.temperature * variance)
        v = self._velocity(walkers, rng)
        x = torch.add(walkers.x, v, alpha=h / 2)
        for i in range(self.substeps):
            _, grad = energy_and_grad(energy, x)
            v = torch.add(v, grad, alpha=kick).mul_(decay).add_(_noise(x, rng), alpha=scale)
            v = v.add_(grad, alpha=kick)
            x = torch.add(x, v, alpha=h / 2 if i == self.substeps - 1 else h)
        return walkers_at(energy, x, walkers.log_w, memory=(v,)), unadjusted_info(walkers)

    def _velocity(self, walkers: Walkers, rng: torch.Generator) -> Float[Tensor, "N *event"]:
        """Returns the velocity in the memory, or draws the first one."""
        if not walkers.memory:
            return _noise(walkers.x, rng).mul_(math.sqrt(self.inverse_mass * self.temperature))
        if [field.shape for field in walkers.memory] != [walkers.x.shape]:
            raise ValueError(
                f"KineticLangevin needs an empty memory or one velocity of shape "
                f"{tuple(walkers.x.shape)}, got {[tuple(f.shape) for f in walkers.memory]}; "
                "write dataclasses.replace(walkers, memory=()) to draw a new velocity"
            )
        return walkers.memory[0]


def _noise(x: Float[Tensor, "N *event"], rng: torch.Generator) -> Float[Tensor, "N *event"]:
    r"""Draws standard normal noise like x, shape (N, \*event)."""
    return torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
