r"""Adapts the step size of a kernel to a target acceptance.

Robbins-Monro on the logarithm of the step, with the mean acceptance :math:`a_t` of the population,

.. math:: \log \varepsilon_{t+1} = \log \varepsilon_t + 4\, t^{-0.6} (a_t - a) ,

and the average of :math:`\log \varepsilon` over the second half of the steps as the result.

Not guaranteed: that the walkers on the way are samples. A kernel that depends on the past leaves no
density invariant, so the adaptive steps are warm-up: adapt, freeze the kernel, then sample, and
weigh walkers only from there on. Each step reads one number back from the device.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TypeVar

import torch

from ..energy import Energy
from ..kernel import Kernel
from ..walkers import Walkers

__all__ = ["adapt_step_size"]

K = TypeVar("K", bound=Kernel)


def adapt_step_size(
    kernel: K,
    energy: Energy,
    walkers: Walkers,
    steps: int,
    rng: torch.Generator,
    target: float | None = None,
) -> tuple[K, Walkers]:
    r"""Returns the kernel with its step size adapted, and the walkers where the warm-up left them.

    Arguments:
        kernel: A kernel with a step size and an accept step; its step size is the first tried.
        energy: The energy :math:`U`.
        walkers: The walkers; the more they are, the less noise in :math:`a_t`.
        steps: The number of adaptive steps; 100 are enough from a start a thousand times off.
        rng: The source of the noise.
        target: The acceptance :math:`a`; by default the kernel's own, 0.574 for MALA and 0.8 for
            HMC.

    Raises:
        ValueError: If the kernel has no accept step, there is no step, or the target is not
            between 0 and 1.

    References:
        | A tutorial on adaptive MCMC (Andrieu and Thoms, 2008)
        | Acceleration of stochastic approximation by averaging (Polyak and Juditsky, 1992)

    Example:
        >>> from boltzwalk.kernels import MALA
        >>> from boltzwalk.walkers import evaluate
        >>> energy, rng = lambda x: x.square().sum(-1) / 2, torch.Generator().manual_seed(0)
        >>> walkers = evaluate(energy, torch.randn(500, 20, generator=rng))
        >>> kernel, walkers = adapt_step_size(MALA(0.01), energy, walkers, 100, rng)
        >>> round(kernel.step_size, 1)
        0.5
    """
    usual = getattr(kernel, "target_acceptance", None)
    first = getattr(kernel, "step_size", None)
    if usual is None or first is None:
        raise ValueError(
            "adaptation needs a kernel with a step size and an accept step, "
            f"got {kernel!r}; write MALA(step_size) or HMC(step_size)"
        )
    target = usual if target is None else target
    if not 0 < target < 1:
        raise ValueError(
            f"target must be an acceptance between 0 and 1, got {target}; write target={usual}"
        )
    if steps < 1:
        raise ValueError(f"adaptation needs steps >= 1, got {steps}; write steps=100")
    log_step = math.log(first)
    tried = []
    for t in range(1, steps + 1):
        kernel = dataclasses.replace(kernel, step_size=math.exp(log_step))
        walkers, info = kernel.step(energy, walkers, rng)
        log_step += 4 * t**-0.6 * (info.acceptance.mean().item() - target)
        tried.append(log_step)
    late = tried[steps // 2 :]
    return dataclasses.replace(kernel, step_size=math.exp(sum(late) / len(late))), walkers
