r"""A chain of K steps of one kernel, :math:`x_0, x_1, \dots, x_K`, and what it says about itself.

All methods move their walkers with :func:`run`. The loop keeps no graph and no past, so the memory
does not grow with K, and it reads nothing back from the device.

Not guaranteed: convergence. The numbers say how the chain went, not that it arrived.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.energy import Energy
from ..walkers import Walkers
from .kernel import Kernel

__all__ = ["ChainInfo", "run"]


class ChainInfo(NamedTuple):
    r"""What a chain did, as numbers of shape (); nan where it was not asked for.

    Attributes:
        acceptance: The acceptance probability, mean over walkers and steps.
        gradient_first: The gradient norm :math:`\|\nabla U(x_0)\|`, mean over walkers.
        gradient_mean: The same at the start of every step, mean over :math:`x_0, \dots, x_{K-1}`.
        gradient_last: The same where the chain ended, at :math:`x_K`.
        displacement: The distance :math:`\|x_K - x_0\|`, mean over walkers.
    """

    acceptance: Float[Tensor, ""]
    gradient_first: Float[Tensor, ""]
    gradient_mean: Float[Tensor, ""]
    gradient_last: Float[Tensor, ""]
    displacement: Float[Tensor, ""]


def run(
    kernel: Kernel,
    energy: Energy,
    walkers: Walkers,
    steps: int,
    rng: torch.Generator,
    diagnose: bool = True,
) -> tuple[Walkers, ChainInfo]:
    """Moves the walkers by K steps of the kernel.

    Arguments:
        kernel: How they move.
        energy: The energy, which must be the one that evaluated the walkers.
        walkers: Where they start.
        steps: The number of steps K.
        rng: The source of the noise.
        diagnose: Whether to measure gradients and displacement. This costs nothing next to a
            network, and about 3 % of the time where the energy is a formula in two dimensions.

    Raises:
        ValueError: If there is no step to make.

    Example:
        >>> from boltzwalk.kernels import MALA
        >>> from boltzwalk.walkers import evaluate
        >>> energy, rng = lambda x: x.square().sum(-1) / 2, torch.Generator().manual_seed(0)
        >>> walkers, info = run(MALA(0.1), energy, evaluate(energy, torch.ones(100, 2)), 20, rng)
        >>> info.gradient_first, bool(info.acceptance > 0.9)
        (tensor(1.4142), True)
    """
    if steps < 1:
        raise ValueError(f"a chain needs steps >= 1, got {steps}; write steps=1 for one step")
    start = walkers
    acceptance = torch.zeros_like(walkers.energy)
    size = torch.zeros_like(walkers.energy)
    for _ in range(steps):
        if diagnose:
            size += _norm(walkers.grad)
        walkers, info = kernel.step(energy, walkers, rng)
        acceptance += info.acceptance
    accepted = acceptance.mean() / steps
    if not diagnose:
        unknown = torch.full_like(accepted, math.nan)
        return walkers, ChainInfo(accepted, unknown, unknown, unknown, unknown)
    return walkers, ChainInfo(
        acceptance=accepted,
        gradient_first=_norm(start.grad).mean(),
        gradient_mean=size.mean() / steps,
        gradient_last=_norm(walkers.grad).mean(),
        displacement=_norm(walkers.x - start.x).mean(),
    )


def _norm(field: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    """Returns the Euclidean norm over the event, shape (N,)."""
    event = tuple(range(1, field.ndim))
    return torch.linalg.vector_norm(field, dim=event) if event else field.abs()
