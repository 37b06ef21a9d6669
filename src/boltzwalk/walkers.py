r"""Weighted walkers: the state that kernels and methods pass on.

Weights are unnormalised logarithms :math:`\log w_i`, so that

.. math:: \hat Z / Z_0 = \frac{1}{N} \sum_i w_i , \qquad
    \mathbb{E}[f] \approx \sum_i \bar w_i f(x_i) , \quad \bar w = \mathrm{softmax}(\log w) .

The cached energy and gradient belong to the energy that evaluated the walkers last. An update of
the parameters makes them stale, so every method begins its step by evaluating the walkers anew, or
by reweighting them from the old energy to the new one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .energy import Energy, energy_and_grad

__all__ = [
    "Walkers",
    "cat",
    "effective_sample_size",
    "log_mean_weight",
    "put",
    "walkers_at",
    "where",
]


@dataclass(frozen=True, eq=False)
class Walkers:
    r"""Positions with cached energies, gradients and weights. Immutable; indexing picks walkers.

    Attributes:
        x: The positions, shape (N, \*event).
        energy: The energies :math:`U(x)` under the energy that evaluated them last, shape (N,).
        grad: The gradients :math:`\nabla U(x)` under the same energy, shape (N, \*event).
        log_w: The unnormalised log-weights, shape (N,).
        memory: Tensors that a kernel carries from step to step, each of shape (N, ...): the
            velocity of kinetic Langevin, the moments of descent. Empty for kernels without memory
            and for walkers that were just evaluated.

    Example:
        >>> walkers = walkers_at(lambda x: x.square().sum(-1) / 2, torch.ones(5, 2))
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


def walkers_at(
    energy: Energy,
    x: Float[Tensor, "N *event"],
    log_w: Float[Tensor, " N"] | None = None,
    memory: tuple[Tensor, ...] = (),
) -> Walkers:
    r"""Returns walkers at x, with their energies and gradients; unweighted by default.

    Arguments:
        energy: The energy :math:`U`.
        x: The positions, shape (N, \*event).
        log_w: The log-weights, shape (N,); zeros by default.
        memory: The tensors that a kernel carries from step to step.
    """
    u, grad = energy_and_grad(energy, x)
    return Walkers(x.detach(), u, grad, torch.zeros_like(u) if log_w is None else log_w, memory)


def where(mask: Bool[Tensor, " N"], a: Walkers, b: Walkers) -> Walkers:
    """Picks walker i from a where mask[i], else from b; mask has shape (N,)."""

    def pick(s: Tensor, t: Tensor) -> Tensor:
        return torch.where(mask.reshape(-1, *[1] * (s.ndim - 1)), s, t)

    return _each(pick, a, b)


def cat(*populations: Walkers) -> Walkers:
    """Concatenates populations, in order."""
    return _each(lambda *fields: torch.cat(fields), *populations)


def put(walkers: Walkers, index: Int[Tensor, " M"], moved: Walkers) -> Walkers:
    """Returns the walkers with those at the indices, shape (M,), replaced by the moved ones.

    Both populations have memories of the same shapes.
    """
    return _each(lambda field, new: field.index_copy(0, index, new), walkers, moved)


def log_mean_weight(log_w: Float[Tensor, "*replicates N"]) -> Float[Tensor, "*replicates"]:
    r"""Returns :math:`\log \frac{1}{N} \sum_i w_i` over the last dimension."""
    return torch.logsumexp(log_w, -1) - math.log(log_w.shape[-1])


def effective_sample_size(log_w: Float[Tensor, "*replicates N"]) -> Float[Tensor, "*replicates"]:
    r"""Returns :math:`(\sum_i w_i)^2 / \sum_i w_i^2` over the last dimension, between 1 and N.

    Example:
        >>> effective_sample_size(torch.tensor([0.0, 0.0, -torch.inf, -torch.inf]))
        tensor(2.)
    """
    log_w = log_w - log_w.amax(-1, keepdim=True)  # large log-weights would lose digits
    return torch.exp(2 * torch.logsumexp(log_w, -1) - torch.logsumexp(2 * log_w, -1))
