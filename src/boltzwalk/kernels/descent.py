r"""Descent of the energy without noise.

Some published models are trained on samples that no noise ever touched, and are said to lose
nothing by it. These kernels make the claim testable: they move walkers as an optimiser would, each
walker on its own,

.. math:: m \leftarrow \beta m + (1 - \beta) \nabla U(x) , \qquad x \leftarrow x - \varepsilon m .

Not guaranteed: anything about :math:`\exp(-U)`. Nothing is invariant but the critical points of
the energy, the walkers collapse towards its minima, and no weight can make up for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from ..energy import Energy
from ..kernel import Info, always, require_positive
from ..walkers import Walkers, evaluate

__all__ = ["AdamDescent", "Descent"]


@dataclass(frozen=True)
class Descent:
    r"""Gradient descent on x, with the momentum of an exponential average.

    The average is the one tensor of the walkers' memory, and starts from zero; without momentum
    the memory is empty.

    Arguments:
        step_size: The step :math:`\varepsilon`.
        momentum: The weight :math:`\beta` of the past, in [0, 1). At a constant gradient the speed
            is the same for every :math:`\beta`.

    Raises:
        ValueError: If the step is not positive, the momentum not in [0, 1), or the memory foreign.

    Example:
        >>> from boltzwalk.walkers import evaluate
        >>> energy = lambda x: x.square().sum(-1) / 2
        >>> walkers = evaluate(energy, torch.ones(1, 1))
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
        """How far a gradient of size one carries a walker in a step, once at speed."""
        return self.step_size

    def step(self, energy: Energy, walkers: Walkers, rng: torch.Generator) -> tuple[Walkers, Info]:
        """Makes one step downhill; the random numbers are not used."""
        if self.momentum == 0:
            x = torch.add(walkers.x, walkers.grad, alpha=-self.step_size)
            return evaluate(energy, x, walkers.log_w), always(walkers)
        shape = walkers.x.shape
        _require_memory("Descent", walkers, [shape])
        average = walkers.memory[0] if walkers.memory else torch.zeros_like(walkers.x)
        average = torch.lerp(walkers.grad, average, self.momentum)
        x = torch.add(walkers.x, average, alpha=-self.step_size)
        return evaluate(energy, x, walkers.log_w, memory=(average,)), always(walkers)


@dataclass(frozen=True)
class AdamDescent:
    r"""Adam on x: every component moves by about :math:`\varepsilon`, however steep the energy.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g , \quad
        s \leftarrow \beta_2 s + (1 - \beta_2) g^2 , \quad
        x \leftarrow x - \varepsilon
            \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \delta}

    The memory is (m, s, t); every walker counts its own steps, so that walkers which were started
    at different times can share a population.

    Arguments:
        step_size: The step :math:`\varepsilon`.
        beta1: The weight :math:`\beta_1` of the past in the average gradient.
        beta2: The weight :math:`\beta_2` of the past in the average square.
        epsilon: The floor :math:`\delta` of the denominator.

    Raises:
        ValueError: If the step or the floor is not positive, a weight not in [0, 1), or the memory
            foreign.

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

    def step(self, energy: Energy, walkers: Walkers, rng: torch.Generator) -> tuple[Walkers, Info]:
        """Makes one Adam step; the random numbers are not used."""
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
        return evaluate(energy, x, walkers.log_w, memory=(average, square, count)), always(walkers)


def _require_share(kernel: str, name: str, value: float) -> None:
    """Raises unless the hyper-parameter is a share of the past."""
    if not 0 <= value < 1:
        raise ValueError(f"{kernel} needs 0 <= {name} < 1, got {value}; write {name}=0.9")


def _require_memory(kernel: str, walkers: Walkers, shapes: list[torch.Size]) -> None:
    """Raises unless the memory is empty or this kernel's own."""
    got = [field.shape for field in walkers.memory]
    if got and got != shapes:
        raise ValueError(
            f"{kernel} needs an empty memory or tensors of shapes {[tuple(s) for s in shapes]}, "
            f"got {[tuple(s) for s in got]}; write dataclasses.replace(walkers, memory=()) to "
            "start anew"
        )
