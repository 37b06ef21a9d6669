r"""A network proposes where walkers start, MCMC under the energy revises them.

.. math:: z \sim N(0, I), \qquad \hat x = g(z), \qquad \hat x \to \tilde x \text{ in K steps}

What methods that learn together with a network share: the proposal and its revision, in training
and when samples are drawn (*ancestral* sampling). Where something is given,
:math:`\hat x = g(z, c)` moves under :math:`U(\cdot \mid c)`, one condition c for each walker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.conditional import given, held
from ..energies.energy import Energy
from ..kernels import ChainInfo, Kernel, run
from ..walkers import Walkers, cat, evaluate
from .condition import Condition
from .diagnosis import of_the_chain

__all__ = ["Proposes", "Revision", "Taught", "ancestral", "energy_gap", "parts", "revise"]

AT_ONCE = 1000
"""Walkers that are revised at once when samples are drawn."""


@runtime_checkable
class Proposes(Protocol):
    """What can be drawn from: latent variables, and events that are decoded from them."""

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        """Draws latent rows, shape (n, d)."""

    def decode(self, z: Tensor) -> Tensor:
        """Returns events, shape (n, *event)."""


@runtime_checkable
class Taught(Protocol):
    """Settings of a method whose network learns from the revision of what it proposes."""

    @property
    def kernel(self) -> Kernel:
        """How walkers move."""

    @property
    def condition(self) -> Condition:
        """What is given."""

    @property
    def teacher(self) -> Literal["revision", "data"]:
        """What the network learns from."""

    @property
    def steps(self) -> int:
        """The steps of a walker in one update."""

    @property
    def walkers(self) -> int:
        """The number of walkers; 0 for as many as there are data."""

    @property
    def data_noise(self) -> float:
        """The noise on the data."""

    @property
    def sample_steps(self) -> int:
        """The steps when samples are drawn; 0 for those of training."""

    @property
    def base_rate(self) -> float:
        """The learning rate of the network."""

    @property
    def base_beta1(self) -> float:
        """The decay of its first moment."""

    def lesson(
        self,
        base: Any,  # noqa: ANN401
        x: Tensor,
        z: Tensor,
        rng: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss of the network taught x, which it proposed from z, and what to log."""


class Revision(NamedTuple):
    """Proposals and what became of them; nothing has a graph."""

    z: Float[Tensor, "n d"]
    proposed: Float[Tensor, "n *event"]
    walkers: Walkers
    chain: ChainInfo


def revise(
    base: Any,  # noqa: ANN401
    kernel: Kernel,
    energy: Energy,
    n: int,
    steps: int,
    rng: torch.Generator,
    c: Tensor | None = None,
) -> Revision:
    """Draws proposals and moves them by K steps.

    Arguments:
        base: The network that proposes, whose rows must not be coupled.
        kernel: How they move.
        energy: The energy.
        n: The number of walkers.
        steps: The number of steps K.
        rng: The source of all noise.
        c: One condition for each walker; None where nothing is given.
    """
    proposes, u = given(base, c), given(energy, c)
    with torch.no_grad():
        z = proposes.latents(n, rng)
        proposed = proposes.decode(z)
    walkers, chain = run(kernel, u, evaluate(u, proposed), steps, rng)
    if c is not None:  # noise moves visible entries as well, to no effect
        walkers = replace(walkers, x=held(walkers.x, c))
        way = (walkers.x - proposed).flatten(1).norm(dim=1).mean()
        chain = chain._replace(displacement=way)
    return Revision(z, proposed, walkers, chain)


def ancestral(
    base: Any,  # noqa: ANN401
    kernel: Kernel,
    energy: Energy,
    n: int,
    steps: int,
    rng: torch.Generator,
    c: Tensor | None = None,
) -> Walkers:
    """Draws samples: proposals that were revised, some at a time.

    Arguments:
        base: The network that proposes.
        kernel: How walkers move.
        energy: The energy.
        n: The number of samples.
        steps: The number of steps.
        rng: The source of all noise.
        c: One condition for each sample; None where nothing is given.
    """
    each = (revise(base, kernel, energy, m, steps, rng, part) for m, part in parts(n, c))
    return cat(*(revision.walkers for revision in each))


def parts(n: int, c: Tensor | None = None) -> Iterator[tuple[int, Tensor | None]]:
    """Returns the sizes of the parts in which n samples are drawn, and the conditions of each.

    Arguments:
        n: The number of samples.
        c: One condition for each; None where nothing is given.

    Example:
        >>> [size for size, _ in parts(2500)]
        [1000, 1000, 500]
    """
    for begun in range(0, n, AT_ONCE):
        size = min(AT_ONCE, n - begun)
        yield size, None if c is None else c[begun : begun + size]


def energy_gap(
    u_data: Float[Tensor, " B"],
    u_walkers: Float[Tensor, " n"],
    data: Float[Tensor, "B *event"],
    revision: Revision,
    kernel: Kernel,
    steps: int,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Returns the loss of the energy, with its graph, and what to log of the chains.

    Arguments:
        u_data: The energies of the data, with their graph.
        u_walkers: The energies of the walkers, with their graph.
        data: A batch, shape (B, *event).
        revision: The walkers.
        kernel: How they moved.
        steps: In how many steps.
    """
    gap = u_data.mean() - u_walkers.mean()
    return gap, {
        "energy_gap": gap.detach(),
        "energy_data": u_data.detach().mean(),
        "energy_walkers": u_walkers.detach().mean(),
        **of_the_chain(kernel, steps, data, revision.walkers.x, revision.chain),
    }
