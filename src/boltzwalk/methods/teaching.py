"""The method that a network which proposes and an energy that revises have in common.

One update: the base proposes, the kernel revises, the energy learns from data against the revision,
and the base learns its lesson from the revision. The two losses are summed; their gradients do not
meet, because no revised walker has a graph. How the base learns is the lesson of the settings.

Where something is given, walker i is told of row i of the batch, or of row i mod B where there are
more walkers than rows: energy and base learn from pairs that differ in x alone.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..data.dataset import Labelled
from ..energies.conditional import given
from ..energies.energy import Energy
from ..walkers import Walkers
from .revision import Taught, ancestral, energy_gap, revise

__all__ = ["Teaching"]


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
