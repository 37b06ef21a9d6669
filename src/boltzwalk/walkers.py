r"""A population of weighted walkers: the one state that kernels and methods pass on.

Weights are kept as unnormalised logarithms :math:`\log w_i`, so that

.. math:: \hat Z / Z_0 = \frac{1}{N} \sum_i w_i , \qquad
    \mathbb{E}[f] \approx \sum_i \bar w_i f(x_i) , \quad \bar w = \mathrm{softmax}(\log w) .

The cached energy and gradient are those of the energy that evaluated the walkers last. An update
of the parameters makes them stale, so every method begins its step by evaluating anew, or by
reweighting from the old pair to the new one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .energies.energy import Energy, energy_and_grad

__all__ = [
    "Walkers",
    "cat",
    "effective_sample_size",
    "evaluate",
    "log_mean_weight",
    "resample",
    "where",
]


@dataclass(frozen=True, eq=False)
class Walkers:
    r"""Positions and what is known about them. Immutable; indexing picks walkers.

    Attributes:
        x: The positions, shape (N, \*event).
        energy: The energies :math:`U(x)` under the energy that evaluated them last, shape (N,).
        grad: The gradients :math:`\nabla U(x)` under the same energy, shape (N, \*event).
        log_w: The unnormalised log-weights, shape (N,).
        memory: What a kernel carries from step to step, each of shape (N, ...): kinetic Langevin
            its velocity, descent its moments. Empty for kernels without memory and for walkers
            that were just evaluated.

    Example:
        >>> walkers = evaluate(lambda x: x.square().sum(-1) / 2, torch.ones(5, 2))
        >>> len(walkers[:3]), walkers[:3].energy
        (3, tensor([1., 1., 1.]))
    """

    x: Float[Tensor, "N *event"]
    energy: Float[Tensor, " N"]
    grad: Float[Tensor, "N *event"]
    log_w: Float[Tensor, " N"]
    memory: tuple[Float[Tensor, "N ..."], ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Int[Tensor, " M"] | Bool[Tensor, " N"] | slice) -> Walkers:
        return _each(lambda field: field[index], self)


def _each(function: Callable[..., Tensor], *populations: Walkers) -> Walkers:
    """Applies a function of tensors to every field."""
    first = populations[0]
    fields = [field.name for field in dataclasses.fields(Walkers) if field.name != "memory"]
    x, energy, grad, log_w = (
        function(*(getattr(walkers, name) for walkers in populations)) for name in fields
    )
    memory = (
        function(*(walkers.memory[i] for walkers in populations)) for i in range(len(first.memory))
    )
    return Walkers(x, energy, grad, log_w, tuple(memory))


def evaluate(
    energy: Energy,
    x: Float[Tensor, "N *event"],
    log_w: Float[Tensor, " N"] | None = None,
    memory: tuple[Tensor, ...] = (),
) -> Walkers:
    r"""Evaluates the energy and its gradient at x and returns walkers, unweighted by default.

    Arguments:
        energy: The energy :math:`U`.
        x: The positions, shape (N, \*event).
        log_w: The log-weights, shape (N,); zeros by default.
        memory: What a kernel carries along.
    """
    u, grad = energy_and_grad(energy, x)
    return Walkers(x.detach(), u, grad, torch.zeros_like(u) if log_w is None else log_w, memory)


def where(mask: Bool[Tensor, " N"], a: Walkers, b: Walkers) -> Walkers:
    """Picks walker i from a where mask[i], else from b; mask has shape (N,)."""

    def pick(s: Tensor, t: Tensor) -> Tensor:
        return torch.where(mask.reshape(-1, *[1] * (s.ndim - 1)), s, t)

    return _each(pick, a, b)


def cat(*populations: Walkers) -> Walkers:
    """Joins populations into one, in order."""
    return _each(lambda *fields: torch.cat(fields), *populations)


def log_mean_weight(log_w: Float[Tensor, " N"]) -> Float[Tensor, ""]:
    r"""Returns :math:`\log \frac{1}{N} \sum_i w_i`, shape ()."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


def effective_sample_size(log_w: Float[Tensor, " N"]) -> Float[Tensor, ""]:
    r"""Returns :math:`(\sum_i w_i)^2 / \sum_i w_i^2`, between 1 and N, shape ().

    Example:
        >>> effective_sample_size(torch.tensor([0.0, 0.0, -torch.inf, -torch.inf]))
        tensor(2.)
    """
    return torch.exp(2 * torch.logsumexp(log_w, 0) - torch.logsumexp(2 * log_w, 0))


def resample(walkers: Walkers, rng: torch.Generator) -> Walkers:
    r"""Systematic resampling: walker i is kept :math:`\lfloor N\bar w_i \rfloor` or one more times.

    Every survivor gets the mean weight, so :func:`log_mean_weight` is unchanged.
    """
    n, log_w = len(walkers), walkers.log_w
    u = torch.rand((), generator=rng, device=log_w.device, dtype=torch.float64)
    points = (torch.arange(n, device=log_w.device) + u) / n
    # In float64: a float32 sum over a million walkers misplaces a hundred of them.
    shares = torch.softmax(log_w.double(), 0).cumsum(0)
    ancestors = torch.searchsorted(shares, points).clamp(max=n - 1)
    survivors = walkers[ancestors]
    return dataclasses.replace(survivors, log_w=log_mean_weight(log_w).expand(n))
