r"""Maximum likelihood, for energies whose log-partition is known.

.. math:: \mathcal L = \overline{U_\theta(x)} + \log Z_\theta = -\overline{\log p_\theta(x)} ,

with the gradient of both terms: no walker moves and nothing is estimated. This is what the methods
that do not know :math:`\log Z` are compared with. An energy with ``likelihood_loss(x, rng)``, such
as :class:`~boltzwalk.bases.StackedEnergy`, estimates it instead, from samples of its base.

Not guaranteed: that rows which were not learnt from are likely. A flow has more parameters than a
small table has entries, and its likelihood of held-out rows falls soon after its best; keep the
best update with ``output.best=true``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.rows import Batch
from ..energy import Energy
from ..kernels import HMC, MALA, run_chain
from ..walkers import Walkers, walkers_at

__all__ = ["KnownPartition", "MaximumLikelihood"]


@runtime_checkable
class KnownPartition(Protocol):
    r"""An energy with :math:`\log Z` and exact samples of :math:`e^{-U} / Z`."""

    def __call__(self, x: Tensor, /) -> Tensor:
        r"""Returns :math:`U(x)`, shape (N,)."""

    def log_partition(self) -> Tensor:
        r"""Returns :math:`\log Z`, shape (), with the graph of the parameters."""

    def sample(self, n: int, rng: torch.Generator, /) -> Tensor:
        r"""Draws n samples, shape (n, \*event)."""


@dataclass(frozen=True)
class MaximumLikelihood:
    r"""Learns from the likelihood itself.

    Arguments:
        kernel: How samples move on after their exact draw, which leaves their density as it is;
            training has no walkers.
        steps: The steps that they make when samples are drawn.
        data_noise: The standard deviation of noise added to the data of every update.

    Raises:
        ValueError: If there is no step, the noise is negative, or the temperature is not 1.

    Example:
        >>> from boltzwalk.bases.flow_energy import FlowEnergy
        >>> energy, rng = FlowEnergy().build((2,), 0), torch.Generator().manual_seed(0)
        >>> loss, state, info = MaximumLikelihood().step(energy, Batch(torch.ones(8, 2)), None, rng)
        >>> bool(torch.isclose(loss, -energy.flow.log_density(torch.ones(8, 2)).mean()))
        True
    """

    kernel: MALA | HMC = field(default_factory=lambda: MALA(step_size=0.05))
    steps: int = 1
    data_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; 1 is enough")
        if not self.data_noise >= 0:
            raise ValueError(f"data_noise must be >= 0, got {self.data_noise}")
        if self.kernel.temperature != 1:
            raise ValueError(
                "log Z is known at temperature 1, got "
                f"{self.kernel.temperature}; write kernel.temperature=1"
            )

    def init(self, energy: Energy, data: Batch, rng: torch.Generator) -> None:
        """Returns None: there are no walkers.

        Raises:
            ValueError: If log Z of the energy is not known.
        """
        _known(energy)

    def step(
        self, energy: Energy, data: Batch, state: None, rng: torch.Generator
    ) -> tuple[Float[Tensor, ""], None, dict[str, Tensor]]:
        r"""Returns the loss, whose gradient is the update, no state, and metrics to log.

        Arguments:
            energy: The energy that learns.
            data: A batch of rows.
            state: None.
            rng: The source of the noise on the data.
        """
        x = data.x
        noise = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        x = x + self.data_noise * noise
        estimated = getattr(energy, "likelihood_loss", None)
        if estimated is not None:
            loss, info = estimated(x, rng)
            return loss, None, info
        u, log_z = energy(x).mean(), _known(energy).log_partition()
        loss = u + log_z
        info = {
            "nll": loss.detach(),
            "energy_data": u.detach(),
            "temperature": torch.ones(()),
        }
        return loss, None, info

    @torch.no_grad()
    def sample(
        self,
        energy: Energy,
        data: Batch,
        state: None,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
    ) -> Walkers:
        r"""Draws n exact samples, and moves them on by steps that leave their density as it is.

        Arguments:
            energy: The energy that has learnt.
            data: The training rows.
            state: None.
            n: How many walkers.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of the settings.
            from_noise: All of them do: exact samples start from latent noise.
        """
        walkers = walkers_at(energy, _known(energy).sample(n, rng).to(data.x))
        steps = steps or self.steps
        return run_chain(self.kernel, energy, walkers, steps, rng, False, False)[0]


def _known(energy: Energy) -> KnownPartition:
    """The energy, if it has log Z with its graph, and exact samples."""
    if not callable(getattr(energy, "log_partition", None)) or not hasattr(energy, "sample"):
        raise ValueError(
            f"maximum likelihood needs an energy whose log Z is known, got {type(energy).__name__};"
            " write energy=FlowEnergy, or learn by method=Contrastive"
        )
    return cast(KnownPartition, energy)
