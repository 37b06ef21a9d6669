r"""Reweighting: weighted walkers that represent an energy exactly while it changes.

Walkers that represent :math:`e^{-U / T}` under an energy :math:`U`, which evaluated them last, move
and get weights so that they represent the next energy :math:`U'`: for any function f,

.. math:: \mathbb E_{p'}[f] = \frac{\mathbb E[w' f(x')]}{\mathbb E[w']} , \qquad
    Z' = Z \, \frac{\mathbb E[w']}{\mathbb E[w]} ,

exactly, however far :math:`U'` is from :math:`U` and however large the step. The increment of the
log-weight depends on the move of the walker:

* no move (:func:`reweight`): :math:`\log w' - \log w = (U(x) - U'(x)) / T`;
* a step that leaves :math:`e^{-U'/T}` invariant (MALA, HMC), after reweighting to :math:`U'`: no
  further increment;
* an unadjusted Langevin step from :math:`x` to :math:`y` with the drift under the old energy and
  the reversed step under the new one: :func:`~boltzwalk.kernels.langevin_log_ratio`. This is
  Algorithm 1 of Carbone et al.; the walker is evaluated once. If the old and the new energy are the
  same, the increment corrects the bias of the step.

Not guaranteed: even weights. Their variance grows with every change that the walkers do not follow;
the effective sample size measures it.

References:
    | Efficient training of energy-based models using Jarzynski equality (Carbone, Hua, Coste and
    | Vanden-Eijnden, 2023), https://arxiv.org/abs/2305.19414
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy, attached_energy_and_grad, energy_and_grad
from ..kernels import Kernel, require_weighable
from ..kernels.langevin import langevin_log_ratio, langevin_proposal
from ..walkers import Walkers, walkers_at

__all__ = [
    "ReweightedWalkers",
    "move_and_reweight",
    "move_and_reweight_attached",
    "reweight",
    "weight_noise_floor",
]

PROBES = 256
"""The number of walkers at which the curvature is measured."""


class ReweightedWalkers(NamedTuple):
    """Walkers weighted for a new energy, and the acceptance of their steps.

    Attributes:
        walkers: The walkers, evaluated under the new energy and weighted for it.
        acceptance: The acceptance probability, mean over walkers and steps, shape ().
    """

    walkers: Walkers
    acceptance: Float[Tensor, ""]


def reweight(energy: Energy, walkers: Walkers, temperature: float = 1.0) -> Walkers:
    r"""Reweights walkers at their positions: :math:`\log w + (U(x) - U'(x)) / T`.

    Arguments:
        energy: The new energy :math:`U'`.
        walkers: The walkers, evaluated under the old energy :math:`U`.
        temperature: The temperature :math:`T`.

    Example:
        >>> walkers = walkers_at(lambda x: x.square().sum(-1) / 2, torch.ones(4, 2))
        >>> reweight(lambda x: x.square().sum(-1), walkers).log_w
        tensor([-1., -1., -1., -1.])
    """
    new = walkers_at(energy, walkers.x, walkers.log_w, walkers.memory)
    return dataclasses.replace(
        new, log_w=walkers.log_w + (walkers.energy - new.energy) / temperature
    )


def move_and_reweight(
    kernel: Kernel,
    energy: Energy,
    walkers: Walkers,
    steps: int,
    rng: torch.Generator,
    update_first: bool = False,
) -> ReweightedWalkers:
    """Moves walkers of the old energy by steps of a kernel, and weighs them for the new energy.

    ULA takes its first step with the drift under the old energy, which costs no evaluation. With
    `update_first`, and for invariant kernels always, walkers are reweighted before they move. With
    zero steps they are only reweighted.

    Arguments:
        kernel: The kernel; its temperature is that of the model.
        energy: The new energy.
        walkers: The walkers, evaluated under the old energy.
        steps: The number of steps, 0 or more.
        rng: The random generator.
        update_first: Whether walkers are reweighted before their first step.

    Raises:
        ValueError: If the kernel is not weighable, such as ULA with a clip or a box.

    Example:
        >>> from boltzwalk.kernels import ULA
        >>> rng = torch.Generator().manual_seed(0)
        >>> wide, narrow = lambda x: x.square().sum(-1) / 2, lambda x: x.square().sum(-1)
        >>> walkers = walkers_at(wide, torch.randn(4000, 1, generator=rng))
        >>> walkers = move_and_reweight(ULA(0.1), narrow, walkers, 5, rng).walkers
        >>> share = torch.softmax(walkers.log_w, 0)
        >>> round(float(share @ walkers.x[:, 0].square()), 1)  # the variance of the narrow one
        0.5
    """
    require_weighable(kernel)
    if kernel.invariant or update_first or steps == 0:
        walkers = reweight(energy, walkers, kernel.temperature)
    acceptance = torch.zeros_like(walkers.energy)
    for _ in range(steps):
        moved, info = kernel.step(energy, walkers, rng)
        if not kernel.invariant:
            increment = _langevin_increment(kernel, walkers, moved)
            moved = dataclasses.replace(moved, log_w=walkers.log_w + increment)
        walkers, acceptance = moved, acceptance + info.acceptance
    return ReweightedWalkers(walkers, acceptance.mean() / max(steps, 1))


def move_and_reweight_attached(
    kernel: Kernel,
    energy: Energy,
    walkers: Walkers,
    steps: int,
    rng: torch.Generator,
    update_first: bool = False,
) -> tuple[ReweightedWalkers, Float[Tensor, " N"]]:
    """Moves and reweights walkers; returns also their energies with the graph of the parameters.

    The same as :func:`move_and_reweight`. For ULA the graph is that of the evaluation which the
    last step needs anyway.

    Arguments:
        kernel: The kernel.
        energy: The new energy.
        walkers: The walkers, evaluated under the old energy.
        steps: The number of steps, 1 or more.
        rng: The random generator.
        update_first: Whether walkers are reweighted before their first step.

    Raises:
        ValueError: If the kernel is not weighable, such as ULA with a clip or a box.
    """
    require_weighable(kernel)
    if kernel.invariant:
        result = move_and_reweight(kernel, energy, walkers, steps, rng)
        return result, energy(result.walkers.x)
    old = walkers
    if steps > 1 or update_first:
        old = move_and_reweight(kernel, energy, walkers, steps - 1, rng, update_first).walkers
    step_size = _step_size(kernel)
    x = langevin_proposal(old, step_size, kernel.temperature, rng)
    u, grad = attached_energy_and_grad(energy, x)
    new = Walkers(x, u.detach(), grad, old.log_w)
    increment = _langevin_increment(kernel, old, new)
    new = dataclasses.replace(new, log_w=old.log_w + increment)
    return ReweightedWalkers(new, torch.ones_like(u[0].detach())), u


@torch.no_grad()
def weight_noise_floor(
    kernel: Kernel, energy: Energy, walkers: Walkers, rng: torch.Generator
) -> Float[Tensor, ""]:
    r"""Returns the variance of log-weights that remains when the energy does not change, shape ().

    The weights that correct the bias of an unadjusted step fluctuate; on a quadratic energy of
    curvature H their variance is

    .. math:: \frac{\varepsilon^2}{4} \operatorname{tr} H^2 = \frac{\varepsilon}{8 T} \,
        \mathbb E \big\| \nabla U(x + \sqrt{2 \varepsilon T}\, \xi) - \nabla U(x) \big\|^2 ,

    so the effective sample size ends near :math:`N e^{-\text{variance}}`, and a threshold above
    that triggers resampling at every step. Invariant kernels have no such floor.

    Arguments:
        kernel: The kernel.
        energy: The energy, which must be the one that evaluated the walkers.
        walkers: The walkers at which the curvature is measured; at most 256 of them are used.
        rng: The random generator.
    """
    if kernel.invariant:
        return torch.zeros((), dtype=walkers.x.dtype, device=walkers.x.device)
    probes = walkers[torch.randperm(len(walkers), generator=rng, device=rng.device)[:PROBES]]
    noise = torch.randn(probes.x.shape, generator=rng, device=rng.device, dtype=probes.x.dtype)
    step_size = _step_size(kernel)
    width = (2 * step_size * kernel.temperature) ** 0.5
    _, grad = energy_and_grad(energy, probes.x + width * noise)
    change = (grad - probes.grad).flatten(1).square().sum(1).mean()
    return change * step_size / (8 * kernel.temperature)


def _step_size(kernel: Kernel) -> float:
    """The step of a weighable kernel that is not invariant: overdamped Langevin, as in `ULA`."""
    return float(getattr(kernel, "step_size"))  # noqa: B009


def _langevin_increment(kernel: Kernel, old: Walkers, new: Walkers) -> Float[Tensor, " N"]:
    """The log-ratio of the reversed move to the move."""
    return langevin_log_ratio(old, new, _step_size(kernel), kernel.temperature)
