r"""Discriminator optimal transport: a deterministic descent that pays for the way.

.. math:: z \leftarrow z - \varepsilon\, P_z \nabla \big[ U(z) + |z - z_0 + \delta| \big] ,
    \qquad P_z g = g - \frac{g \cdot z}{|z|^2} z ,

from the start :math:`z_0`, with :math:`\delta = 10^{-3}` in each coordinate, without which there is
no gradient at the start. For the latent variables of a generator U is a critic divided by its
Lipschitz constant, and the projection :math:`P_z` keeps them on their sphere, where nearly all the
mass of a standard normal is.

Not guaranteed: anything about :math:`\exp(-U)`. It is here to be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..energy import Energy
from ..kernel import Info, always, event_sum, require_positive
from ..walkers import Walkers, evaluate

__all__ = ["Transport"]

OFFSET = 1e-3


@dataclass(frozen=True)
class Transport:
    r"""Descent of :math:`U(z) + |z - z_0 + \delta|`.

    The start is the one tensor of the walkers' memory; where the memory is empty, it is where they
    are.

    Arguments:
        step_size: The step :math:`\varepsilon`.
        sphere: Whether the gradient is projected on the sphere around 0 through z.

    Raises:
        ValueError: If the step is not positive.

    References:
        | Discriminator optimal transport (Tanaka, 2019)

    Example:
        >>> walkers = evaluate(lambda z: 10 * z[:, 0], torch.tensor([[0.0, 1.0]]))
        >>> moved, _ = Transport(0.1).step(lambda z: 10 * z[:, 0], walkers, torch.Generator())
        >>> moved.x
        tensor([[-1.0707,  1.0000]])
    """

    step_size: float
    sphere: bool = True

    temperature: ClassVar[float] = 0.0
    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = False
    weighable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_positive("Transport", "step_size", self.step_size, "Transport(step_size=0.01)")

    @property
    def drift(self) -> float:
        """How far a gradient of size one carries a walker in a step."""
        return self.step_size

    def step(self, energy: Energy, walkers: Walkers, rng: torch.Generator) -> tuple[Walkers, Info]:
        """Makes one step; the random numbers are not used."""
        start = walkers.memory[0] if walkers.memory else walkers.x
        way = walkers.x - start + OFFSET
        slope = walkers.grad + way / _each(event_sum(way.square()).sqrt(), way)
        if self.sphere:
            share = event_sum(slope * walkers.x) / event_sum(walkers.x.square())
            slope = slope - _each(share, slope) * walkers.x
        x = torch.add(walkers.x, slope, alpha=-self.step_size)
        return evaluate(energy, x, walkers.log_w, memory=(start,)), always(walkers)


def _each(values: Tensor, like: Tensor) -> Tensor:
    """One value a walker, shaped to multiply events."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
