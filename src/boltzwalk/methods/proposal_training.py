r"""Training step shared by CoopNets and variational MCMC teaching.

.. math:: z \sim N(0, I), \qquad \hat x = g(z), \qquad \hat x \to \tilde x \text{ in K steps}

One update: the base proposes, K kernel steps refine the proposals, the energy learns from data
against the refined walkers, and the base learns by the `generator_loss` of the settings. The two
losses are summed; their gradients do not meet, because no refined walker has a graph. Samples are
drawn the same way (ancestral sampling).

With a condition, walker i has the condition of row i of the batch, or of row i mod B where there
are more walkers than rows: energy and base learn from pairs that differ in x alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..base import as_base
from ..condition import Condition
from ..data.rows import Batch
from ..energies.conditional import clamp_observed, conditioned_on
from ..energy import Energy
from ..kernel import Kernel
from ..kernels import ChainInfo, run_chain
from ..kernels.chain import chain_metrics
from ..walkers import Walkers, cat, walkers_at

__all__ = [
    "CooperativeSettings",
    "CooperativeStep",
    "RefinedProposals",
    "ancestral_samples",
    "chunk_sizes",
    "energy_gap",
    "refine",
]

CHUNK = 1000
"""Walkers that are refined at once when samples are drawn."""


@runtime_checkable
class CooperativeSettings(Protocol):
    """Settings of a method whose base learns from the refinement of its proposals."""

    @property
    def kernel(self) -> Kernel:
        """How walkers move."""

    @property
    def condition(self) -> Condition:
        """The condition."""

    @property
    def teacher(self) -> Literal["revision", "data"]:
        """The rows that the base learns from: refined walkers, or data."""

    @property
    def steps(self) -> int:
        """The kernel steps of a walker in one update."""

    @property
    def walkers(self) -> int:
        """The number of walkers; 0 for as many as the batch has rows."""

    @property
    def data_noise(self) -> float:
        """The deviation of the noise on the data."""

    @property
    def sample_steps(self) -> int:
        """The steps when samples are drawn; 0 for those of training."""

    @property
    def base_rate(self) -> float:
        """The learning rate of the base."""

    @property
    def base_beta1(self) -> float:
        """The decay of its first moment."""

    @property
    def decoder_std(self) -> float:
        """The deviation of an entry around the decoded one."""

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update."""

    def generator_loss(
        self,
        base: Any,  # noqa: ANN401  # generator or VAE, as the settings ask for
        x: Tensor,
        z: Tensor,
        rng: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss of the base on rows x, which it proposed from z, and metrics to log."""


class CooperativeStep(nn.Module):
    """A method with the base that proposes.

    Arguments:
        settings: How walkers move, and the loss of the base.
        base: The base.
    """

    def __init__(self, settings: CooperativeSettings, base: nn.Module) -> None:
        super().__init__()
        if settings.condition.unconditional:
            as_base(base)
        self.settings = settings
        self.base: Any = base  # a base, given the condition where there is one
        self.kernel = settings.kernel
        self.condition = settings.condition
        self.steps = settings.steps
        self.walkers = settings.walkers
        self.decoder_std = settings.decoder_std

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Returns the parameters of the base with a rate of their own."""
        betas = (self.settings.base_beta1, 0.999)
        parameters = list(self.base.parameters())
        return [{"params": parameters, "lr": self.settings.base_rate, "betas": betas}]

    def step(
        self, energy: Energy, data: Batch, state: None, rng: torch.Generator
    ) -> tuple[Float[Tensor, ""], None, dict[str, Tensor]]:
        """Returns the sum of both losses, no state, and the log.

        Arguments:
            energy: The energy that learns.
            data: A batch of rows, with labels where a class is given.
            state: None.
            rng: The source of the noise.
        """
        settings, x = self.settings, data.x
        c, n = settings.condition.of(data, rng), settings.walkers or len(x)
        walker_c = c if c is None else c[torch.arange(n, device=c.device) % len(c)]
        refined = refine(self.base, settings.kernel, energy, n, settings.steps, rng, walker_c)
        noise = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        noisy = x + settings.data_noise * noise
        u_data, u_walkers = (
            conditioned_on(energy, c)(noisy),
            conditioned_on(energy, walker_c)(refined.walkers.x),
        )
        gap, info = energy_gap(u_data, u_walkers, noisy, refined, settings.kernel, settings.steps)
        if settings.teacher == "data":
            base, rows = conditioned_on(self.base, c), x
        else:
            base, rows = conditioned_on(self.base, walker_c), refined.walkers.x
        loss, base_info = settings.generator_loss(base, rows, refined.z, rng)
        return gap + loss, None, info | base_info

    def sample(
        self,
        energy: Energy,
        data: Batch,
        state: None,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
        c: Tensor | None = None,
    ) -> Walkers:
        """Draws n walkers: proposals, refined under the energy.

        Arguments:
            energy: The energy that has learnt.
            data: The training rows, with labels where a class is given.
            state: None.
            n: The number of walkers.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of the settings.
            from_noise: Ignored: every proposal starts from latent noise.
            c: One condition for each walker; None draws them in the proportions of the data.
        """
        settings = self.settings
        c = settings.condition.sample(data, n, rng) if c is None else c
        steps = steps or settings.sample_steps or settings.steps
        return ancestral_samples(self.base, settings.kernel, energy, n, steps, rng, c)

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update: K + 1 a walker for ULA."""
        return self.settings.gradients(batch)


class RefinedProposals(NamedTuple):
    """Proposals and the walkers that K steps made of them; nothing has a graph.

    Attributes:
        z: The latent variables, shape (n, d).
        proposed: The decoded events, shape (n, *event).
        walkers: The walkers after the steps.
        chain: What the chain did.
    """

    z: Float[Tensor, "n d"]
    proposed: Float[Tensor, "n *event"]
    walkers: Walkers
    chain: ChainInfo


def refine(
    base: Any,  # noqa: ANN401  # a base, or one that takes a condition
    kernel: Kernel,
    energy: Energy,
    n: int,
    steps: int,
    rng: torch.Generator,
    c: Tensor | None = None,
) -> RefinedProposals:
    """Draws proposals and moves them by K steps.

    Arguments:
        base: The base, whose rows must not be coupled.
        kernel: How walkers move.
        energy: The energy.
        n: The number of walkers.
        steps: The number of steps K.
        rng: The source of all noise.
        c: One condition for each walker; None without a condition.
    """
    proposal, u = conditioned_on(base, c), conditioned_on(energy, c)
    with torch.no_grad():
        z = proposal.latents(n, rng)
        proposed = proposal.decode(z)
    walkers, chain = run_chain(kernel, u, walkers_at(u, proposed), steps, rng, check=False)
    if c is not None:  # noise moves observed entries as well, to no effect
        walkers = replace(walkers, x=clamp_observed(walkers.x, c))
        distance = (walkers.x - proposed).flatten(1).norm(dim=1).mean()
        chain = chain._replace(displacement=distance)
    return RefinedProposals(z, proposed, walkers, chain)


def ancestral_samples(
    base: Any,  # noqa: ANN401  # a base, or one that takes a condition
    kernel: Kernel,
    energy: Energy,
    n: int,
    steps: int,
    rng: torch.Generator,
    c: Tensor | None = None,
) -> Walkers:
    """Draws samples: refined proposals, some at a time.

    Arguments:
        base: The base.
        kernel: How walkers move.
        energy: The energy.
        n: The number of samples.
        steps: The number of steps.
        rng: The source of all noise.
        c: One condition for each sample; None without a condition.
    """
    chunks = (refine(base, kernel, energy, m, steps, rng, part) for m, part in chunk_sizes(n, c))
    return cat(*(refined.walkers for refined in chunks))


def chunk_sizes(n: int, c: Tensor | None = None) -> Iterator[tuple[int, Tensor | None]]:
    """Yields the sizes of the chunks in which n samples are drawn, and the conditions of each.

    Arguments:
        n: The number of samples.
        c: One condition for each; None without a condition.

    Example:
        >>> [size for size, _ in chunk_sizes(2500)]
        [1000, 1000, 500]
    """
    for first in range(0, n, CHUNK):
        size = min(CHUNK, n - first)
        yield size, None if c is None else c[first : first + size]


def energy_gap(
    u_data: Float[Tensor, " B"],
    u_walkers: Float[Tensor, " n"],
    data: Float[Tensor, "B *event"],
    refined: RefinedProposals,
    kernel: Kernel,
    steps: int,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Returns the loss of the energy, with its graph, and metrics of the chains.

    Arguments:
        u_data: The energies of the data, with their graph.
        u_walkers: The energies of the walkers, with their graph.
        data: The rows of the batch, shape (B, *event).
        refined: The walkers.
        kernel: How they moved.
        steps: The number of their steps.
    """
    gap = u_data.mean() - u_walkers.mean()
    return gap, {
        "energy_gap": gap.detach(),
        "energy_data": u_data.detach().mean(),
        "energy_walkers": u_walkers.detach().mean(),
        **chain_metrics(kernel, steps, data, refined.walkers.x, refined.chain),
    }
