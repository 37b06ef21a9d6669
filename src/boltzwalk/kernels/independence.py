r"""Independence Metropolis: proposals that do not depend on the position of the walker.

The proposal :math:`y` is drawn from a density :math:`q \propto \exp(-U_q)` and accepted with
probability

.. math:: \min\Big(1, \exp\big[ (U(x) - U(y)) / T + U_q(y) - U_q(x) \big]\Big) ,

which leaves :math:`\exp(-U / T)` invariant; the normalising constants cancel. With the prior of a
generative model as proposal, and an energy that contains the same prior, the exponent is the
difference of the remaining terms.

Not guaranteed: mixing. Where :math:`q` has lighter tails than the target, a walker stays for as
long as the ratio of the densities implies. The acceptance falls exponentially with the dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy, ExactEnergy
from ..kernel import StepInfo, accept, event_sum, require_positive
from ..walkers import Walkers, walkers_at

__all__ = ["Independence", "NormalProposals"]


@dataclass(frozen=True)
class Independence:
    r"""Independence Metropolis. Leaves :math:`\exp(-U / T)` invariant.

    Arguments:
        proposal: The energy :math:`U_q` of the proposals, with exact samples. The temperature does
            not apply to it.
        temperature: The temperature :math:`T`.

    Raises:
        ValueError: If the temperature is not positive, or the proposals have another shape
            than x.

    References:
        | Markov chains for exploring posterior distributions (Tierney, 1994)

    Example:
        >>> from boltzwalk.energies.analytic import Gaussian
        >>> from boltzwalk.walkers import walkers_at
        >>> energy = Gaussian(2)
        >>> walkers = walkers_at(energy, torch.zeros(3, 2))
        >>> kernel = Independence(proposal=energy)
        >>> walkers, info = kernel.step(energy, walkers, torch.Generator().manual_seed(0))
        >>> info.acceptance
        tensor([1., 1., 1.])
    """

    proposal: ExactEnergy
    temperature: float = 1.0

    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = True
    weighable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive("Independence", "temperature", self.temperature, "temperature=1.0")

    @property
    def drift(self) -> float:
        """Zero: a proposal does not depend on the gradient."""
        return 0.0

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Draws a proposal for every walker, then accepts or rejects it."""
        y = self.proposal.sample(len(walkers), rng)
        if y.shape != walkers.x.shape:
            raise ValueError(
                f"proposal.sample(n, rng) must have shape {tuple(walkers.x.shape)}, got "
                f"{tuple(y.shape)}; write a proposal with the event shape of the walkers"
            )
        new = walkers_at(energy, y, walkers.log_w)
        with torch.no_grad():
            proposal_log_ratio = self.proposal(new.x) - self.proposal(walkers.x)
        log_ratio = (walkers.energy - new.energy) / self.temperature + proposal_log_ratio
        return accept(walkers, new, log_ratio, rng)


@dataclass(frozen=True)
class NormalProposals:
    r"""Independence Metropolis with proposals from :math:`N(0, I)`; the target is invariant.

    For an energy :math:`\frac12 |x|^2 + f(x)`, such as that of latent variables with a standard
    normal prior, a proposal is accepted with probability
    :math:`\min(1, e^{f(x) - f(y)})`.

    Arguments:
        temperature: The temperature :math:`T` of the target; it does not apply to the proposals.

    Raises:
        ValueError: If the temperature is not positive.

    References:
        | Metropolis-Hastings generative adversarial networks (Turner et al., 2019)

    Example:
        >>> from boltzwalk.walkers import walkers_at
        >>> normal = lambda x: x.square().sum(1) / 2
        >>> walkers = walkers_at(normal, torch.zeros(3, 2))
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

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Draws a proposal for every walker, then accepts or rejects it."""
        return Independence(_Normal(walkers.x), self.temperature).step(energy, walkers, rng)


@dataclass(frozen=True, eq=False)
class _Normal:
    """The standard normal density with the event shape, dtype and device of given walkers."""

    like: Tensor

    @property
    def log_z(self) -> float:
        return self.like[0].numel() / 2 * math.log(2 * math.pi)

    def __call__(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        return event_sum(x.square()) / 2

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *event"]:
        like = self.like
        shape = (n, *like.shape[1:])
        return torch.randn(shape, generator=rng, dtype=like.dtype, device=like.device)
