r"""A chain of K steps of one kernel, :math:`x_0, x_1, \dots, x_K`, and what it says about itself.

All methods move their walkers with :func:`run`. The loop keeps no graph and no past, so the memory
does not grow with K, and it reads nothing back from the device.

Not guaranteed: convergence. The numbers say how the chain went, not that it arrived.

What walkers say about themselves at an update, for all methods.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy
from ..kernel import Kernel
from ..walkers import Walkers

__all__ = ["ChainInfo", "of_the_chain", "out_of_range", "run"]


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


def of_the_chain(
    kernel: Kernel,
    steps: int,
    data: Float[Tensor, "B *event"],
    x: Float[Tensor, "N *event"],
    chain: ChainInfo,
) -> dict[str, Tensor]:
    r"""Returns what a chain says about itself, from values that are there already.

    The travel :math:`K \varepsilon v`, with the mean gradient size :math:`v`, is how far the
    drift alone carries a walker; where the steps of a kernel do not grow with the gradient,
    there is none. The noise path :math:`K \sqrt{2 \varepsilon T D}`, in D dimensions, is that of
    the noise alone, step by step: at rest under it, walkers drift as far or less where
    :math:`\varepsilon` times the stiffness is below 1.

    Arguments:
        kernel: How the walkers moved.
        steps: The number of steps K.
        data: A batch of data, shape (B, \*event).
        x: Where the walkers are, shape (N, \*event).
        chain: What was measured on the way.
    """
    found = {
        "gradient_first": chain.gradient_first,
        "gradient_mean": chain.gradient_mean,
        "gradient_last": chain.gradient_last,
        "displacement": chain.displacement,
        "acceptance": chain.acceptance,
        "temperature": torch.as_tensor(kernel.temperature),
    }
    if not math.isnan(kernel.drift):
        found["travel"] = steps * kernel.drift * chain.gradient_mean
        width = math.sqrt(2 * kernel.drift * kernel.temperature * x[0].numel())
        found["noise_path"] = torch.as_tensor(steps * width)
    return found | {"out_of_range": out_of_range(data, x)}


def out_of_range(
    data: Float[Tensor, "B *event"], x: Float[Tensor, "N *event"]
) -> Float[Tensor, ""]:
    r"""Returns the share of coordinates a twentieth of the range of the data beyond them.

    The range is that of each column of a table, and of all the pixels of images.

    Arguments:
        data: A batch of data, shape (B, \*event).
        x: Walkers, shape (N, \*event).

    Example:
        >>> import torch
        >>> out_of_range(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [1.04], [9.0], [-1.0]]))
        tensor(0.5000)
    """
    columns, walkers = (data, x) if data.ndim == 2 else (data.reshape(-1, 1), x.reshape(-1, 1))
    low, high = columns.amin(0), columns.amax(0)
    margin = (high - low) / 20
    outside = (walkers < low - margin) | (walkers > high + margin)
    return outside.to(data.dtype).mean()
