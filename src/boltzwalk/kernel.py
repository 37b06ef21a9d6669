r"""Kernels: the contract, and the Metropolis-Hastings decision that all exact kernels share.

A kernel is a frozen dataclass of hyper-parameters with one pure function

.. math:: (x, U(x), \nabla U(x)) \mapsto (x', U(x'), \nabla U(x')) ,

that moves every walker independently. A kernel at temperature :math:`T` has the target
:math:`\exp(-U / T)`. Every kernel declares three properties:

* ``gradients``: the number of gradients that a step costs per walker;
* ``invariant``: whether a step leaves the target exactly invariant. If so, a change of the energy
  from :math:`U` to :math:`U'` is accounted for by the log-weight :math:`(U(x) - U'(x)) / T`;
* ``weighable``: whether log-weights can be kept exact at all, by invariance or because the
  densities of the move and of its reversal are known
  (:func:`~boltzwalk.kernels.langevin_log_ratio`).

Not guaranteed: that the chain mixes. Invariance means that exact samples stay exact, not that other
walkers become exact.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .energy import Energy
from .walkers import Walkers, where

__all__ = [
    "Kernel",
    "StepInfo",
    "accept",
    "event_sum",
    "kernel_problems",
    "require_positive",
    "require_weighable",
    "takes",
    "unadjusted_info",
]


class StepInfo(NamedTuple):
    """Statistics of one step. The next step does not need them.

    Attributes:
        acceptance: The probability of accepting the move, shape (N,).
        accepted: Whether the move was accepted, shape (N,).
    """

    acceptance: Float[Tensor, " N"]
    accepted: Bool[Tensor, " N"]


@runtime_checkable
class Kernel(Protocol):
    """Interface of a kernel; a structural type for the type checker, not a base class."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def temperature(self) -> float:
        r"""The temperature :math:`T` of the target :math:`\exp(-U / T)`; 0 without noise."""

    @property
    def gradients(self) -> int:
        """The number of energy gradients that a step computes for each walker."""

    @property
    def drift(self) -> float:
        """How far a gradient of size one carries a walker in a step; nan where undefined."""

    @property
    def invariant(self) -> bool:
        """Whether a step leaves the target exactly invariant."""

    @property
    def weighable(self) -> bool:
        """Whether log-weights can be kept exact along the steps."""

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Moves every walker once; the cached energy and gradient are those of the new x."""


def accept(
    walkers: Walkers, proposal: Walkers, log_ratio: Float[Tensor, " N"], rng: torch.Generator
) -> tuple[Walkers, StepInfo]:
    r"""Moves walker i to its proposal with probability :math:`\min(1, e^{r_i})`.

    A proposal is rejected where the ratio is nan, and where its energy or its gradient is not
    finite, because a walker could not leave it again. Such rejections count as acceptance 0.

    Arguments:
        walkers: The walkers before the move.
        proposal: The proposed walkers, evaluated under the same energy.
        log_ratio: The log-ratio :math:`r` of the reversed move to the move, shape (N,).
        rng: Draws one uniform number for each walker.
    """
    # A sum is finite only if all its terms are: one test per walker instead of D.
    finite = (event_sum(proposal.grad) + proposal.energy).isfinite() & ~log_ratio.isnan()
    acceptance = torch.where(finite, log_ratio, -math.inf).clamp(max=0).exp()
    u = torch.rand(
        acceptance.shape, generator=rng, device=acceptance.device, dtype=acceptance.dtype
    )
    accepted = u < acceptance
    return where(accepted, proposal, walkers), StepInfo(acceptance, accepted)


def unadjusted_info(walkers: Walkers) -> StepInfo:
    """Returns the info of an unadjusted step: acceptance 1 for every walker."""
    one = walkers.energy.new_ones(())
    return StepInfo(one.expand(len(walkers)), one.bool().expand(len(walkers)))


def event_sum(field: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    r"""Sums over the event and not over the walkers, shape (N,).

    Example:
        >>> event_sum(torch.ones(2, 3, 4)), event_sum(torch.ones(2))
        (tensor([12., 12.]), tensor([1., 1.]))
    """
    return field.sum(tuple(range(1, field.ndim))) if field.ndim > 1 else field


def require_weighable(kernel: Kernel) -> None:
    """Raises unless log-weights stay exact along the steps of the kernel.

    Raises:
        ValueError: For a kernel that is not weighable.

    Example:
        >>> from boltzwalk.kernels import MALA
        >>> require_weighable(MALA(step_size=0.01))
    """
    if not kernel.weighable:
        raise ValueError(
            "weighted walkers need a kernel that leaves exp(-U / T) invariant or whose moves have "
            f"a known density, got {kernel!r}; write MALA(step_size), HMC(step_size), or "
            "ULA(step_size) without gradient_clip and box"
        )


def require_positive(kernel: str, name: str, value: float, instead: str) -> None:
    """Raises unless the hyper-parameter is positive and finite.

    Raises:
        ValueError: For zero, a negative number, infinity or nan.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{kernel} needs a finite {name} > 0, got {value}; write {instead}")


def kernel_problems(kernel: object) -> list[str]:
    """Returns the ways in which a value breaks the contract of a kernel; none for None.

    Arguments:
        kernel: The kernel of a method.

    Example:
        >>> kernel_problems(3)
        ['kernel must have step(energy, walkers, rng) -> (walkers, info), got int without it']
    """
    if kernel is None:
        return []
    name, signature = type(kernel).__name__, "step(energy, walkers, rng) -> (walkers, info)"
    if isinstance(kernel, type):
        return [f"kernel must be an instance, got the class {kernel.__name__}"]
    step = getattr(kernel, "step", None)
    problems = []
    if not callable(step):
        problems.append(f"kernel must have {signature}, got {name} without it")
    elif not takes(step, 3):
        problems.append(f"kernel must have {signature}, got step{inspect.signature(step)}")
    values = ("temperature", "gradients", "drift", "invariant", "weighable")
    missing = [value for value in values if not hasattr(kernel, value)]
    if callable(step) and missing:
        problems.append(
            f"kernel must have the values {', '.join(values)}, got {name} without "
            f"{', '.join(missing)}"
        )
    return problems


def takes(function: Callable[..., Any], n: int) -> bool:
    """Returns whether a function can be called with n positional arguments.

    Arguments:
        function: The function.
        n: The number of arguments.

    Example:
        >>> takes(lambda x, y=0: x, 1), takes(lambda x, y=0: x, 3)
        (True, False)
    """
    if isinstance(function, types.MethodType) and isinstance(function.__func__, types.FunctionType):
        return _takes(function.__func__, n + 1)
    return _takes.__wrapped__(function, n)


@functools.lru_cache(maxsize=1000)  # of functions of classes, which studies ask thousands of times
def _takes(function: Callable[..., Any], n: int) -> bool:
    try:
        inspect.signature(function).bind(*range(n))
    except TypeError:
        return False
    return True
