r"""Independence Metropolis: proposals that do not look at where the walker is.

The proposal :math:`y` is drawn from a density :math:`q \propto \exp(-U_q)` and accepted with
probability

.. math:: \min\Big(1, \exp\big[ (U(x) - U(y)) / T + U_q(y) - U_q(x) \big]\Big) ,

which leaves :math:`\exp(-U / T)` invariant; the constants of both densities cancel. With the prior
of a generative model as proposal, and an energy that contains the same prior, what is left is the
difference of the correction alone.

Not guaranteed: where :math:`q` has lighter tails than the target, a walker out there is stuck for
as long as the ratio of the densities says. The acceptance falls exponentially with the dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy
from ..kernel import Info, accept, event_sum, require_positive
from ..walkers import Walkers, evaluate

__all__ = ["Independence", "NormalProposals", "Proposal"]


@runtime_checkable
class Proposal(Protocol):
    r"""An energy :math:`U_q` with exact samples; nothing inherits from it."""

    def __call__(self, x: Tensor, /) -> Tensor:
        r"""Returns :math:`U_q(x)`, shape (N,), for x of shape (N, \*event)."""

    def sample(self, n: int, rng: torch.Generator, /) -> Tensor:
        r"""Draws n samples of :math:`\exp(-U_q)`, shape (n, \*event)."""


@dataclass(frozen=True)
class Independence:
    r"""Independence Metropolis. Leaves :math:`\exp(-U / T)` invariant.

    Arguments:
        proposal: The energy :math:`U_q` of the proposals, with ``sample(n, rng)``. The temperature
            does not apply to it.
        temperature: The temperature :math:`T`.

    Raises:
        ValueError: If the temperature is not positive, or the proposals are not shaped like x.

    References:
        | Markov chains for exploring posterior distributions (Tierney, 1994)

    Example:
        >>> class Normal:
        ...     def __call__(self, x):
        ...         return x.square().sum(-1) / 2
        ...     def sample(self, n, rng):
        ...         return torch.randn(n, 2, generator=rng)
        >>> from boltzwalk.walkers import evaluate
        >>> walkers = evaluate(Normal(), torch.zeros(3, 2))
        >>> kernel = Independence(proposal=Normal())
        >>> walkers, info = kernel.step(Normal(), walkers, torch.Generator().manual_seed(0))
        >>> info.acceptance
        tensor([1., 1., 1.])
    """

    proposal: Proposal
    temperature: float = 1.0

    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = True
    weighable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive("Independence", "temperature", self.temperature, "temperature=1.0")

    @property
    def drift(self) -> float:
        """Zero: a proposal does not look at the gradient."""
        return 0.0

    def step(self, energy: Energy, walkers: Walkers, rng: torch.Generator) -> tuple[Walkers, Info]:
        """Draws a proposal for every walker, then accepts or rejects it."""
        y = self.proposal.sample(len(walkers), rng)
        if y.shape != walkers.x.shape:
            raise ValueError(
                f"proposal.sample(n, rng) must have shape {tuple(walkers.x.shape)}, got "
                f"{tuple(y.shape)}; write a proposal with the event shape of the walkers"
            )
        new = evaluate(energy, y, walkers.log_w)
        with torch.no_grad():
            towards = self.proposal(new.x) - self.proposal(walkers.x)
        ratio = (walkers.energy - new.energy) / self.temperature + towards
        return accept(walkers, new, ratio, rng)


@dataclass(frozen=True)
class NormalProposals:
    r"""Independence Metropolis with proposals from :math:`N(0, I)`. Leaves its target invariant.

    Where the target is :math:`\frac12 |x|^2 + f(x)`, such as that of latent variables with a
    standard normal prior, a proposal is accepted with probability
    :math:`\min(1, e^{f(x) - f(y)})`.

    Arguments:
        temperature: The temperature :math:`T` of the target; it does not apply to the proposals.

    Raises:
        ValueError: If it is not positive.

    References:
        | Metropolis-Hastings generative adversarial networks (Turner et al., 2019)

    Example:
        >>> from boltzwalk.walkers import evaluate
        >>> normal = lambda x: x.square().sum(1) / 2
        >>> walkers = evaluate(normal, torch.zeros(3, 2))
        >>> NormalProposals().step(normal, walkers, torch.Generator().manual_seed(0))[1].acceptance
        tensor([1., 1., 1.])
    """

    temperature: float = 1.0

    drift: ClassVar[float] = 0.0
    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = True
    weighable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive("NormalProposals", "temperature", self.temperature, "temperature=1.0")

    def step(self, energy: Energy, walkers: Walkers, rng: torch.Generator) -> tuple[Walkers, Info]:
        """Draws a proposal for every walker, then accepts or rejects it."""
        return Independence(_Normal(walkers.x), self.temperature).step(energy, walkers, rng)


@dataclass(frozen=True, eq=False)
class _Normal:
    """The standard normal of the shape, type and device of walkers."""

    like: Tensor

    def __call__(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        return event_sum(x.square()) / 2

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *event"]:
        like = self.like
        shape = (n, *like.shape[1:])
        return torch.randn(shape, generator=rng, dtype=like.dtype, device=like.device)
