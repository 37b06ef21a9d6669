r"""Descent of the energy without noise.

Some published models are trained on samples made without noise, and reported to lose nothing by it.
These kernels make the claim testable: they move walkers as an optimiser would, each walker
independently,

.. math:: m \leftarrow \beta m + (1 - \beta) \nabla U(x) , \qquad x \leftarrow x - \varepsilon m .

Not guaranteed: anything about :math:`\exp(-U)`. Only the critical points of the energy are
invariant, the walkers collapse towards its minima, and no weight can correct for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from ..energy import Energy
from ..kernel import StepInfo, require_positive, unadjusted_info
from ..walkers import Walkers, walkers_at

__all__ = ["AdamDescent", "Descent"]


@dataclass(frozen=True)
class Descent:
    r"""Gradient descent on x, with the momentum of an exponential average.

    The average is the one tensor of the walkers' memory, and starts at zero; without momentum the
    memory is empty.

    Arguments:
        step_size: The step :math:`\varepsilon`.
        momentum: The weight :math:`\beta` of the past, in [0, 1). At a constant gradient the speed
            is the same for every :math:`\beta`.

    Raises:
        ValueError: If the step is not positive, the momentum is outside [0, 1), or the
            memory belongs to another kernel.

    Example:
        >>> from boltzwalk.walkers import walkers_at
        >>> energy = lambda x: x.square().sum(-1) / 2
        >>> walkers = walkers_at(energy, torch.ones(1, 1))
        >>> Descent(0.25).step(energy, walkers, torch.Generator())[0].x
        tensor([[0.7500]])
    """

    step_size: float
    momentum: float = 0.0

    temperature: ClassVar[float] = 0.0
    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = False
    weighable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_positive("Descent", "step_size", self.step_size, "Descent(step_size=0.01)")
        _require_share("Descent", "momentum", self.momentum)

    @property
    def drift(self) -> float:
        """The distance that a constant unit gradient moves a walker in a step, in the long run."""
        return self.step_size

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Makes one step of descent; ``rng`` is not used."""
        if self.momentum == 0:
            x = torch.add(walkers.x, walkers.grad, alpha=-self.step_size)
            return walkers_at(energy, x, walkers.log_w), unadjusted_info(walkers)
        shape = walkers.x.shape
        _require_memory("Descent", walkers, [shape])
        average = walkers.memory[0] if walkers.memory else torch.zeros_like(walkers.x)
        average = torch.lerp(walkers.grad, average, self.momentum)
        x = torch.add(walkers.x, average, alpha=-self.step_size)
        return walkers_at(energy, x, walkers.log_w, memory=(average,)), unadjusted_info(walkers)


@dataclass(frozen=True)
class AdamDescent:
    r"""Adam on x: every component moves by about :math:`\varepsilon`, however steep the energy.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g , \quad
        s \leftarrow \beta_2 s + (1 - \beta_2) g^2 , \quad
        x \leftarrow x - \varepsilon
            \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \delta}

    The memory is (m, s, t); every walker counts its steps, so that walkers started at different
    times can share a population.

    Arguments:
        step_size: The step :math:`\varepsilon`.
        beta1: The weight :math:`\beta_1` of the past in the average gradient.
        beta2: The weight :math:`\beta_2` of the past in the average square.
        epsilon: The floor :math:`\delta` of the denominator.

    Raises:
        ValueError: If the step or the floor is not positive, a weight is outside [0, 1), or the
            memory belongs to another kernel.

    References:
        | Adam: a method for stochastic optimization (Kingma and Ba, 2014)
        | https://arxiv.org/abs/1412.6980

    Example:
        >>> AdamDescent(0.1)
        AdamDescent(step_size=0.1, beta1=0.5, beta2=0.999, epsilon=1e-08)
    """

    step_size: float
    beta1: float = 0.5
    beta2: float = 0.999
    epsilon: float = 1e-8

    temperature: ClassVar[float] = 0.0
    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = False
    weighable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_positive("AdamDescent", "step_size", self.step_size, "AdamDescent(step_size=0.01)")
        require_positive("AdamDescent", "epsilon", self.epsilon, "epsilon=1e-8")
        _require_share("AdamDescent", "beta1", self.beta1)
        _require_share("AdamDescent", "beta2", self.beta2)

    @property
    def drift(self) -> float:
        """Undefined (nan): the steps of Adam do not grow with the gradient."""
        return math.nan

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Makes one Adam step; ``rng`` is not used."""
        x, grad = walkers.x, walkers.grad
        _require_memory("AdamDescent", walkers, [x.shape, x.shape, x.shape[:1]])
        zero = (torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(walkers.energy))
        average, square, count = walkers.memory or zero
        count = count + 1
        average = torch.lerp(grad, average, self.beta1)
        square = torch.lerp(grad.square(), square, self.beta2)
        t = count.reshape(-1, *[1] * (x.ndim - 1))
        root = (square / (1 - self.beta2**t)).sqrt_().add_(self.epsilon)
        move = average / (1 - self.beta1**t) / root
        x = torch.add(x, move, alpha=-self.step_size)
        return walkers_at(
            energy, x, walkers.log_w, memory=(average, square, count)
        ), unadjusted_info(walkers)


def _require_share(kernel: str, name: str, value: float) -> None:
    """Raises unless the hyper-parameter is in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{kernel} needs 0 <= {name} < 1, got {value}; write {name}=0.9")


def _require_memory(kernel: str, walkers: Walkers, shapes: list[torch.Size]) -> None:
    """Raises unless the memory is empty or has the shapes of this kernel."""
    got = [field.shape for field in walkers.memory]
    if got and got != shapes:
        raise ValueError(
            f"{kernel} needs an empty memory or tensors of shapes {[tuple(s) for s in shapes]}, "
            f"got {[tuple(s) for s in got]}; write dataclasses.replace(walkers, memory=()) to "
            "start anew"
        )
