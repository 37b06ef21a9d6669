r"""Adaptation of a kernel's step size to a target acceptance.

Robbins-Monro on the logarithm of the step size, with the mean acceptance :math:`a_t` of the
population,

.. math:: \log \varepsilon_{t+1} = \log \varepsilon_t + 4\, t^{-0.6} (a_t - a) ,

and the average of :math:`\log \varepsilon` over the second half of the steps as the result.

Not guaranteed: that the walkers of the adaptive steps are samples. A kernel that depends on the
past leaves no density invariant, so the adaptive steps are warm-up: adapt, freeze the kernel, then
sample, and weigh walkers only from there on. Each step reads one number back from the device.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TypeVar

import torch

from ..energy import Energy, require_same_energy
from ..kernel import Kernel
from ..walkers import Walkers
from .chain import require_movable

__all__ = ["adapt_step_size"]

FEWEST = 10
"""The number of adaptive steps from which their acceptances say something."""

NEVER = 1e-3
"""The acceptance below which no step is accepted."""

K = TypeVar("K", bound=Kernel)


def adapt_step_size(
    kernel: K,
    energy: Energy,
    walkers: Walkers,
    steps: int,
    rng: torch.Generator,
    target: float | None = None,
    check: bool = True,
) -> tuple[K, Walkers]:
    r"""Returns the kernel with its step size adapted, and the walkers after the warm-up.

    Arguments:
        kernel: A kernel with a step size and an accept step; its step size is the initial value.
        energy: The energy :math:`U`.
        walkers: The walkers; more walkers give less noise in :math:`a_t`.
        steps: The number of adaptive steps; 100 suffice from a step size a thousand times off.
        rng: The random generator.
        target: The acceptance :math:`a`; by default that of the kernel, 0.574 for MALA and 0.8 for
            HMC.
        check: Whether to check that the energy is that of the walkers, as :func:`run_chain` does.

    Raises:
        ValueError: If the kernel has no accept step, ``steps`` is below 1, the target is not
            between 0 and 1, or the energy is not that of the walkers.
        FloatingPointError: If a walker cannot move from its start, or no step size has an
            acceptance between 0 and 1.

    References:
        | A tutorial on adaptive MCMC (Andrieu and Thoms, 2008)
        | Acceleration of stochastic approximation by averaging (Polyak and Juditsky, 1992)

    Example:
        >>> from boltzwalk.kernels import MALA
        >>> from boltzwalk.walkers import walkers_at
        >>> energy, rng = lambda x: x.square().sum(-1) / 2, torch.Generator().manual_seed(0)
        >>> walkers = walkers_at(energy, torch.randn(500, 20, generator=rng))
        >>> kernel, walkers = adapt_step_size(MALA(0.01), energy, walkers, 100, rng)
        >>> round(kernel.step_size, 1)
        0.5
    """
    default = getattr(kernel, "target_acceptance", None)
    initial = getattr(kernel, "step_size", None)
    if default is None or initial is None:
        raise ValueError(
            "adaptation needs a kernel with a step size and an accept step, "
            f"got {kernel!r}; write MALA(step_size) or HMC(step_size)"
        )
    target = default if target is None else target
    if not 0 < target < 1:
        raise ValueError(
            f"target must be an acceptance between 0 and 1, got {target}; write target={default}"
        )
    if steps < 1:
        raise ValueError(f"adaptation needs steps >= 1, got {steps}; write steps=100")
    require_movable(walkers)
    if check:
        require_same_energy(energy, walkers.x, walkers.energy)
    log_step = math.log(initial)
    log_steps, acceptances = [], []
    for t in range(1, steps + 1):
        kernel = dataclasses.replace(kernel, step_size=math.exp(log_step))
        walkers, info = kernel.step(energy, walkers, rng)
        acceptances.append(info.acceptance.mean().item())
        log_step += 4 * t**-0.6 * (acceptances[-1] - target)
        log_steps.append(log_step)
    _require_adapted(acceptances[steps // 2 :], initial, math.exp(log_step))
    second_half = log_steps[steps // 2 :]
    mean = sum(second_half) / len(second_half)
    return dataclasses.replace(kernel, step_size=math.exp(mean)), walkers


def _require_adapted(acceptances: list[float], first: float, last: float) -> None:
    """Raises where every acceptance was zero, or every one was one."""
    if len(acceptances) < FEWEST:
        return
    sizes = f"at step sizes from {first:.3g} to {last:.3g}"
    if max(acceptances) < NEVER:
        raise FloatingPointError(
            f"no step is accepted {sizes}: the energy and its gradient do not belong together, or "
            "the walkers stand where the energy is not smooth; start elsewhere, or check the "
            "energy by torch.autograd.gradcheck"
        )
    if min(acceptances) == 1:
        raise FloatingPointError(
            f"every step is accepted {sizes}: the energy is constant, or the first step size is "
            "far too small; give a larger one or more steps, or check that the energy depends on x"
        )
