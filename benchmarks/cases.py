"""What is sampled: four energies, described once for all libraries.

A network is a table of layers, so that every library builds it with its own parts. The weights
differ from library to library, the shapes and the work do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["CASES", "MEANS", "SCALE", "Case", "PlainMixture", "plain_energy"]

SCALE = 0.15
MEANS = tuple((math.cos(2 * math.pi * k / 8), math.sin(2 * math.pi * k / 8)) for k in range(8))


@dataclass(frozen=True)
class Case:
    """An energy, its walkers and its chains.

    Attributes:
        title: What the table calls it.
        event_shape: The shape of one event.
        chains: The number of walkers N.
        step_size: ε of ULA and MALA, noise of variance 2ε; the leapfrog time is sqrt(2ε).
        steps: The Langevin steps of one chain that is timed.
        leapfrog_steps: The leapfrog steps of one HMC proposal.
        convolutions: Rows (channels, kernel, stride, padding).
        hidden: The widths of the dense layers, before a linear output.
        activation: The activation after each layer but the last, "silu" or "leaky_relu" (0.2).
    """

    title: str
    event_shape: tuple[int, ...]
    chains: int
    step_size: float
    steps: int
    leapfrog_steps: int = 10
    convolutions: tuple[tuple[int, int, int, int], ...] = ()
    hidden: tuple[int, ...] = ()
    activation: str = "silu"

    @property
    def is_network(self) -> bool:
        """Whether it has parameters to train."""
        return bool(self.convolutions or self.hidden)

    @property
    def proposals(self) -> int:
        """The HMC proposals of one chain that is timed."""
        return max(1, self.steps // self.leapfrog_steps)

    @property
    def leapfrog_time(self) -> float:
        """The leapfrog step with which HMC of one step would be MALA."""
        return math.sqrt(2 * self.step_size)


CASES = {
    "mixture": Case("8-mode mixture of Gaussians in 2-D", (2,), 4096, 0.005, 100),
    "dense": Case("network 2-128-128-1, SiLU", (2,), 4096, 0.005, 20, hidden=(128, 128)),
    "mnist": Case(
        "Jarzynski network for MNIST, 1x28x28",
        (1, 28, 28),
        128,
        0.001,
        10,
        convolutions=((16, 5, 2, 4), (32, 3, 2, 1), (64, 3, 2, 1), (64, 3, 2, 1)),
        hidden=(64,),
    ),
    "cifar": Case(
        "short-run network for CIFAR, 3x32x32",
        (3, 32, 32),
        64,
        0.001,
        3,
        leapfrog_steps=5,
        convolutions=((64, 3, 1, 1), (128, 4, 2, 1), (256, 4, 2, 1), (512, 4, 2, 1)),
        activation="leaky_relu",
    ),
}


class PlainMixture(nn.Module):
    """The mixture as it is usually written: distances to all modes, then logsumexp."""

    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.tensor(MEANS))

    def forward(self, x: Tensor) -> Tensor:
        """Returns U(x), shape (N,)."""
        squares = (x[:, None, :] - self.means).square().sum(-1)
        return -torch.logsumexp(-squares / (2 * SCALE**2), dim=1)


def plain_energy(case: Case) -> nn.Module:
    """Builds the energy as published code does: default layers, layout and memory."""
    if not case.is_network:
        return PlainMixture()

    def activation() -> nn.Module:
        return nn.SiLU() if case.activation == "silu" else nn.LeakyReLU(0.2)

    layers: list[nn.Module] = []
    inputs, side = case.event_shape[0], case.event_shape[-1]
    for channels, kernel, stride, padding in case.convolutions:
        layers += [nn.Conv2d(inputs, channels, kernel, stride, padding), activation()]
        inputs, side = channels, (side + 2 * padding - kernel) // stride + 1
    if case.convolutions:
        layers.append(nn.Flatten())
        inputs *= side * side
    for width in case.hidden:
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1), nn.Flatten(0))
