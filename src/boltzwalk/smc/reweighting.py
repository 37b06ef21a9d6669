r"""Walkers that follow an energy as it changes, weighted so that they stand for every one of it.

Walkers that stand for :math:`e^{-U / T}` under an energy :math:`U`, which evaluated them last, move
and are weighed so that they stand for the next energy :math:`U'`: for any function f,

.. math:: \mathbb E_{p'}[f] = \frac{\mathbb E[w' f(x')]}{\mathbb E[w']} , \qquad
    Z' = Z \, \frac{\mathbb E[w']}{\mathbb E[w]} ,

exactly, however far :math:`U'` is from :math:`U` and however large the step. What the log-weight
gains depends on how a walker moves:

* it stays put (:func:`reweight`): :math:`\log w' - \log w = (U(x) - U'(x)) / T`;
* a step that leaves :math:`e^{-U'/T}` invariant (MALA, HMC), after it was reweighted to
  :math:`U'`: nothing more;
* an unadjusted Langevin step from :math:`x` to :math:`y` with the drift under the old energy and
  the reversed step under the new one:
  :func:`~boltzwalk.kernels.langevin.log_ratio`. This is Algorithm 1 of Carbone et al.; the walker
  is evaluated once. Where old and new are the same energy it is what pays for the bias of the step.

Not guaranteed: that the weights stay even. Their variance grows with every change that the
walkers do not follow; the effective sample size tells.

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
from ..kernels import ULA, Kernel, refuse_weights
from ..kernels.langevin import log_ratio, propose
from ..walkers import Walkers, evaluate

__all__ = ["Followed", "follow", "follow_attached", "noise_floor", "reweight"]

PROBES = 256
"""Walkers whose curvature is measured."""


class Followed(NamedTuple):
    """Walkers that have followed an energy.

    Attributes:
        walkers: The walkers, evaluated under the new energy and weighted for it.
        acceptance: The acceptance probability, mean over walkers and steps, shape ().
    """

    walkers: Walkers
    acceptance: Float[Tensor, ""]


def reweight(energy: Energy, walkers: Walkers, temperature: float = 1.0) -> Walkers:
    r"""Weighs walkers for an energy where they are: :math:`\log w + (U(x) - U'(x)) / T`.

    Arguments:
        energy: The new energy :math:`U'`.
        walkers: The walkers, evaluated under the old energy :math:`U`.
        temperature: The temperature :math:`T`.

    Example:
        >>> walkers = evaluate(lambda x: x.square().sum(-1) / 2, torch.ones(4, 2))
        >>> reweight(lambda x: x.square().sum(-1), walkers).log_w
        tensor([-1., -1., -1., -1.])
    """
    new = evaluate(energy, walkers.x, walkers.log_w, walkers.memory)
    return _paid(new, walkers.log_w + (walkers.energy - new.energy) / temperature)


def follow(
    kernel: Kernel,
    energy: Energy,
    walkers: Walkers,
    steps: int,
    rng: torch.Generator,
    update_first: bool = False,
) -> Followed:
    """Moves walkers of the old energy by steps of a kernel and weighs them for the new energy.

    ULA takes its first step with the drift under the old energy, which costs no evaluation. With
    `update_first`, and for invariant kernels always, walkers are reweighted before they move;
    without a step that is all.

    Arguments:
        kernel: How they move; its temperature is that of the model.
        energy: The new energy.
        walkers: The walkers, evaluated under the old energy.
        steps: The number of steps, 0 or more.
        rng: The source of the noise.
        update_first: Whether walkers are reweighted before their first step.

    Raises:
        ValueError: If the kernel clips or clamps: such moves have no weights.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> wide, narrow = lambda x: x.square().sum(-1) / 2, lambda x: x.square().sum(-1)
        >>> walkers = evaluate(wide, torch.randn(4000, 1, generator=rng))
        >>> walkers = follow(ULA(0.1), narrow, walkers, 5, rng).walkers
        >>> share = torch.softmax(walkers.log_w, 0)
        >>> round(float(share @ walkers.x[:, 0].square()), 1)  # the variance of the narrow one
        0.5
    """
    refuse_weights(kernel)
    if kernel.invariant or update_first or steps == 0:
        walkers = reweight(energy, walkers, kernel.temperature)
    acceptance = torch.zeros_like(walkers.energy)
    for _ in range(steps):
        moved, info = kernel.step(energy, walkers, rng)
        if isinstance(kernel, ULA):
            gain = log_ratio(walkers, moved, kernel.step_size, kernel.temperature)
            moved = _paid(moved, walkers.log_w + gain)
        walkers, acceptance = moved, acceptance + info.acceptance
    return Followed(walkers, acceptance.mean() / max(steps, 1))


def follow_attached(
    kernel: Kernel,
    energy: Energy,
    walkers: Walkers,
    steps: int,
    rng: torch.Generator,
    update_first: bool = False,
) -> tuple[Followed, Float[Tensor, " N"]]:
    """Does what `follow` does, and returns the last energies with the graph of the parameters.

    For ULA the graph is that of the evaluation that the last step needs anyway.

    Arguments:
        kernel: How the walkers move.
        energy: The new energy.
        walkers: The walkers, evaluated under the old energy.
        steps: The number of steps, 1 or more.
        rng: The source of the noise.
        update_first: Whether walkers are reweighted before their first step.

    Raises:
        ValueError: If the kernel clips or clamps: such moves have no weights.
    """
    refuse_weights(kernel)
    if not isinstance(kernel, ULA):
        followed = follow(kernel, energy, walkers, steps, rng)
        return followed, energy(followed.walkers.x)
    old = walkers
    if steps > 1 or update_first:
        old = follow(kernel, energy, walkers, steps - 1, rng, update_first).walkers
    x = propose(old, kernel.step_size, kernel.temperature, rng)
    u, grad = attached_energy_and_grad(energy, x)
    new = Walkers(x, u.detach(), grad, old.log_w)
    gain = log_ratio(old, new, kernel.step_size, kernel.temperature)
    return Followed(_paid(new, old.log_w + gain), torch.ones_like(u[0].detach())), u


@torch.no_grad()
def noise_floor(
    kernel: Kernel, energy: Energy, walkers: Walkers, rng: torch.Generator
) -> Float[Tensor, ""]:
    r"""Returns the variance below which log-weights never fall, though the energy stands still.

    The bias of an unadjusted step is paid for by weights that fluctuate, on a quadratic energy of
    curvature H with the variance

    .. math:: \frac{\varepsilon^2}{4} \operatorname{tr} H^2 = \frac{\varepsilon}{8 T} \,
        \mathbb E \big\| \nabla U(x + \sqrt{2 \varepsilon T}\, \xi) - \nabla U(x) \big\|^2 ,

    so the effective sample size ends near :math:`N e^{-\text{variance}}`, and a threshold above
    that resamples for ever. Invariant kernels have no such floor.

    Arguments:
        kernel: How the walkers move.
        energy: The energy, which must be the one that evaluated the walkers.
        walkers: Where its curvature is measured; at most 256 of them are used.
        rng: The source of the directions.
    """
    if not isinstance(kernel, ULA):
        return torch.zeros((), dtype=walkers.x.dtype, device=walkers.x.device)
    probes = walkers[torch.randperm(len(walkers), generator=rng, device=rng.device)[:PROBES]]
    noise = torch.randn(probes.x.shape, generator=rng, device=rng.device, dtype=probes.x.dtype)
    width = (2 * kernel.step_size * kernel.temperature) ** 0.5
    _, grad = energy_and_grad(energy, probes.x + width * noise)
    change = (grad - probes.grad).flatten(1).square().sum(1).mean()
    return change * kernel.step_size / (8 * kernel.temperature)


def _paid(walkers: Walkers, log_w: Float[Tensor, " N"]) -> Walkers:
    return dataclasses.replace(walkers, log_w=log_w)
