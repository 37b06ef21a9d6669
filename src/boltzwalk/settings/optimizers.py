r"""How the parameters follow the gradient: Adam, SGD, and one schedule for both.

Scale of the energy and rate of learning. The anatomy paper writes :math:`U = 2F/\varepsilon^2` with
a network F and multiplies the SGD rate by :math:`\varepsilon^2/2`. Here the network itself is the
energy and :math:`T = \varepsilon^2/2` the temperature of the kernel: the chains are the same, and
the SGD rate on the network needs no factor.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

__all__ = ["SGD", "Adam", "Parameters", "Schedule"]

Parameters: TypeAlias = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
"""Parameters, or groups of them as PyTorch's optimizers have them."""


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015).

    Arguments:
        learning_rate: The rate before the schedule.
        beta1: The decay of the first moment.
        beta2: The decay of the second moment.
        weight_decay: The weight of the squared parameters.
    """

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self.learning_rate, self.weight_decay)
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Returns the optimizer of these parameters, or of groups with rates of their own."""
        betas = (self.beta1, self.beta2)
        optimizer: torch.optim.Optimizer = _without_compiler(torch.optim.Adam)(
            parameters, self.learning_rate, betas, weight_decay=self.weight_decay
        )
        return optimizer


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent.

    Arguments:
        learning_rate: The rate before the schedule.
        momentum: The decay of the running gradient.
        weight_decay: The weight of the squared parameters.
    """

    learning_rate: float = 1e-2
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self.learning_rate, self.weight_decay)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Returns the optimizer of these parameters, or of groups with rates of their own."""
        optimizer: torch.optim.Optimizer = _without_compiler(torch.optim.SGD)(
            parameters, self.learning_rate, self.momentum, weight_decay=self.weight_decay
        )
        return optimizer


@dataclass(frozen=True)
class Schedule:
    r"""The factor on the learning rate at update t of T.

    .. math:: \min\!\left(1, \tfrac{t+1}{\text{warmup}}\right) \cdot
        \max(\text{decay}^t, \text{minimum})
        \cdot \min\!\left(1, \tfrac{T-t}{\text{anneal}\,T}\right)

    Arguments:
        warmup: The number of updates over which the rate rises from zero.
        decay: The factor of each update.
        minimum: The least factor that the decay reaches.
        anneal: The share of the run, at its end, over which the rate falls to zero.

    Example:
        >>> Schedule(warmup=10).factor(4, 100), Schedule(anneal=0.5).factor(75, 100)
        (0.5, 0.5)
    """

    warmup: int = 0
    decay: float = 1.0
    minimum: float = 0.0
    anneal: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ValueError(f"warmup must be >= 0 updates, got {self.warmup}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be in (0, 1], got {self.decay}; 1 keeps the rate")
        for name in ("minimum", "anneal"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")

    def factor(self, update: int, updates: int) -> float:
        """Returns the factor at an update, counted from 0, of a run of so many updates."""
        rise = min(1.0, (update + 1) / self.warmup) if self.warmup else 1.0
        fall = min(1.0, (updates - update) / (self.anneal * updates)) if self.anneal else 1.0
        return rise * max(self.decay**update, self.minimum) * fall


@functools.cache
def _without_compiler(cls: type[Any]) -> type[Any]:
    """An optimizer whose methods do not import PyTorch's compiler, which takes over a second."""
    names = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    members: dict[str, Any] = {name: inspect.unwrap(getattr(cls, name)) for name in names}
    members["step"] = torch.no_grad()(inspect.unwrap(cls.step))
    return type(cls.__name__, (cls,), members)


def _check(learning_rate: float, weight_decay: float) -> None:
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be > 0, got {learning_rate}; Adam often takes 1e-4")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be >= 0, got {weight_decay}")
