r"""The method that a network which proposes and an energy that revises have in common.

One update: the base proposes, the kernel revises, the energy learns from data against the revision,
and the base learns its lesson from the revision. The two losses are summed; their gradients do not
meet, because no revised walker has a graph. How the base learns is the lesson of the settings.

Where something is given, walker i is told of row i of the batch, or of row i mod B where there are
more walkers than rows: energy and base learn from pairs that differ in x alone.

A network proposes where walkers start, MCMC under the energy revises them.

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
from torch import Tensor, nn

from ..data.dataset import Labelled
from ..energies.conditional import given, held
from ..energy import Energy
from ..kernels import ChainInfo, Kernel, run
from ..kernels.chain import of_the_chain
from ..walkers import Walkers, cat, evaluate
from .condition import Condition

__all__ = [
    "Proposes",
    "Revision",
    "Taught",
    "Teaching",
    "ancestral",
    "energy_gap",
    "parts",
    "revise",
]


class Teaching(nn.Module):
    """A method with the network that proposes.

    Arguments:
        settings: How walkers move, and the lesson of the network.
        base: The network.
    """

    def __init__(self, settings: Taught, base: nn.Module) -> None:
        super().__init__()
        self.settings = settings
        self.base: Any = base  # a module that proposes

    def groups(self) -> list[dict[str, Any]]:
        """Returns the parameters of the network with a rate of their own."""
        betas = (self.settings.base_beta1, 0.999)
        parameters = list(self.base.parameters())
        return [{"params": parameters, "lr": self.settings.base_rate, "betas": betas}]

    def init(self, energy: Energy, data: Tensor | Labelled, rng: torch.Generator) -> None:
        """Returns None: no walkers are kept."""

    def step(
        self,
        energy: Energy,
        data: Tensor | Labelled,
        state: None,
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], None, dict[str, Tensor]]:
        r"""Returns the sum of both losses, whose gradients do not meet, no state, and the log.

        Arguments:
            energy: The energy that learns.
            data: A batch, shape (B, \*event), with the classes of its rows where they are given.
            state: None.
            rng: The source of the noise.
        """
        own, x = self.settings, data.x if isinstance(data, Labelled) else data
        condition: Any = own.condition  # which takes such data as it asked for
        c, n = condition.of(data, rng), own.walkers or len(x)
        theirs = c if c is None else c[torch.arange(n, device=c.device) % len(c)]
        revision = revise(self.base, own.kernel, energy, n, own.steps, rng, theirs)
        noise = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        noisy = x + own.data_noise * noise
        u_data, u_walkers = given(energy, c)(noisy), given(energy, theirs)(revision.walkers.x)
        gap, info = energy_gap(u_data, u_walkers, noisy, revision, own.kernel, own.steps)
        told, taught = (c, x) if own.teacher == "data" else (theirs, revision.walkers.x)
        loss, said = own.lesson(given(self.base, told), taught, revision.z, rng)
        return gap + loss, None, info | said

    def sample(
        self,
        energy: Energy,
        data: Tensor | Labelled,
        state: None,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
        c: Tensor | None = None,
    ) -> Walkers:
        r"""Draws n walkers: proposals, revised under the energy.

        Arguments:
            energy: The energy that has learnt.
            data: The training data, shape (M, \*event), with classes where they are given.
            state: None.
            n: How many walkers.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of the settings.
            from_noise: All of them do: latent noise.
            c: One condition for each walker; None draws them in the proportions of the data, where
                something is given.
        """
        own = self.settings
        condition: Any = own.condition
        c = condition.drawn(data, n, rng) if c is None else c
        steps = steps or own.sample_steps or own.steps
        return ancestral(self.base, own.kernel, energy, n, steps, rng, c)

    def population(self, energy: Energy, state: None) -> None:
        """Returns None: these walkers carry no weights."""

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update: K + 1 a walker for ULA."""
        own = self.settings
        return (own.walkers or batch) * (1 + own.steps * own.kernel.gradients)


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
