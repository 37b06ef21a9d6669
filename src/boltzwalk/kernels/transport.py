r"""Discriminator optimal transport: deterministic descent with a penalty on the distance moved.

.. math:: z \leftarrow z - \varepsilon\, P_z \nabla \big[ U(z) + |z - z_0 + \delta| \big] ,
    \qquad P_z g = g - \frac{g \cdot z}{|z|^2} z ,

from the start :math:`z_0`. The offset :math:`\delta = 10^{-3}` in each coordinate makes the
gradient exist at the start. For the latent variables of a generator, U is a critic divided by its
Lipschitz constant, and the projection :math:`P_z` keeps them on their sphere, which holds nearly
all the mass of a standard normal density.

Not guaranteed: anything about :math:`\exp(-U)`. The kernel is a baseline for comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..energy import Energy
from ..kernel import StepInfo, event_sum, require_positive, unadjusted_info
from ..walkers import Walkers, walkers_at

__all__ = ["Transport"]

OFFSET = 1e-3
"""The offset of every coordinate in the penalty."""


@dataclass(frozen=True)
class Transport:
    r"""Descent of :math:`U(z) + |z - z_0 + \delta|`.

    The start is the one tensor of the walkers' memory; with an empty memory it is their position.

    Arguments:
        step_size: The step :math:`\varepsilon`.
        sphere: Whether the gradient is projected onto the sphere around 0 that contains z.

    Raises:
        ValueError: If the step is not positive.

    References:
        | Discriminator optimal transport (Tanaka, 2019)

    Example:
        >>> walkers = walkers_at(lambda z: 10 * z[:, 0], torch.tensor([[0.0, 1.0]]))
        >>> moved, _ = Transport(0.1).step(lambda z: 10 * z[:, 0], walkers, torch.Generator())
        >>> moved.x
        tensor([[-1.0707,  1.0000]])
    """

    step_size: float
    sphere: bool = True

    temperature: ClassVar[float] = 0.0
    has_prior: ClassVar[bool] = False
    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = False
    weighable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_positive("Transport", "step_size", self.step_size, "Transport(step_size=0.01)")

    @property
    def drift(self) -> float:
        """The distance that a unit gradient moves a walker in a step."""
        return self.step_size

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Makes one step; ``rng`` is not used."""
        start = walkers.memory[0] if walkers.memory else walkers.x
        offset = walkers.x - start + OFFSET
        grad = walkers.grad + offset / _per_event(event_sum(offset.square()).sqrt(), offset)
        if self.sphere:
            radial = event_sum(grad * walkers.x) / event_sum(walkers.x.square())
            grad = grad - _per_event(radial, grad) * walkers.x
        x = torch.add(walkers.x, grad, alpha=-self.step_size)
        return walkers_at(energy, x, walkers.log_w, memory=(start,)), unadjusted_info(walkers)


def _per_event(values: Tensor, like: Tensor) -> Tensor:
    """One value per walker, shaped to multiply events."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
