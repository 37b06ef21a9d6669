r"""Maximum likelihood by MCMC: contrastive divergence in all its forms.

The gradient of the negative log-likelihood of data :math:`q` under
:math:`p_\theta = e^{-U_\theta} / Z_\theta`

.. math:: \nabla_\theta \mathcal L =
    \mathbb E_q[\nabla_\theta U_\theta] - \mathbb E_{p_\theta}[\nabla_\theta U_\theta]

is estimated with walkers that moved K steps under the current energy. Where they start
(:mod:`boltzwalk.methods.starts`) is the method.

Not guaranteed: that the walkers stand for :math:`p_\theta`. After K steps from noise they do not,
and then what is learnt is the K-step sampler, not the density (short-run learning).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.rows import Batch
from ..energy import Energy
from ..kernels import ULA, TrainingKernel, run_chain
from ..kernels.chain import chain_metrics
from ..method import require_fields
from ..walkers import Walkers, cat, walkers_at
from .replay import Replay
from .starts import DataStart, NoiseStart, ReplayStart

__all__ = ["Contrastive"]

SAMPLED_AT_ONCE = 1000
"""Walkers of one chain when samples are drawn, so that any number of them fits the memory."""


@dataclass(frozen=True)
class Contrastive:
    r"""Learns from the difference between data and walkers that moved K steps.

    .. math:: \mathcal L = d + \alpha \left(\overline{U(x^+)^2} + \overline{U(x^-)^2}\right) ,
        \qquad d = \overline{U(x^+)} - \overline{U(x^-)} , \quad x^+ = x + \sigma \xi

    Arguments:
        start: Where the walkers start.
        kernel: How they move.
        steps: The number of kernel steps K of one update.
        walkers: The number of walkers of one update; 0 takes as many as the batch has rows.
        data_noise: The standard deviation :math:`\sigma` of the noise added to the data.
        energy_penalty: The weight :math:`\alpha` of the squared energies.

    Raises:
        ValueError: If steps < 1, or another number is negative.

    References:
        | Training products of experts by minimizing contrastive divergence (Hinton, 2002)
        | On the anatomy of MCMC-based maximum likelihood learning of energy-based models
        | (Nijkamp et al., 2020), https://arxiv.org/abs/1903.12370

    Example:
        >>> method = Contrastive(NoiseStart(), ULA(step_size=0.1), steps=5)
        >>> energy = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0))
        >>> data, rng = Batch(torch.ones(8, 2)), torch.Generator().manual_seed(0)
        >>> loss, state, info = method.step(energy, data, method.init(energy, data, rng), rng)
        >>> loss.backward()
    """

    start: NoiseStart | DataStart | ReplayStart = field(default_factory=NoiseStart)
    kernel: TrainingKernel = field(default_factory=lambda: ULA(step_size=0.01))
    steps: int = 50
    walkers: int = 0
    data_noise: float = 0.0
    energy_penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; contrastive divergence has 1")
        require_fields(self, {"walkers": 0, "data_noise": 0, "energy_penalty": 0})

    def init(self, energy: Energy, data: Batch, rng: torch.Generator) -> Replay | None:
        """Returns the first state from all training rows."""
        return self.start.init(data.x, rng)

    def check_batch(self, batch: int) -> None:
        """Raises where fewer walkers are stored than one update takes.

        Raises:
            ValueError: If the store is too small.
        """
        needed = self.walkers or batch
        size = getattr(self.start, "size", needed)
        if 0 < size < needed:  # 0 stores one walker for each row
            raise ValueError(
                f"start.size must be at least the {needed} walkers of one update, got {size}; "
                f"write start.size={needed} or more"
            )

    def step(
        self,
        energy: Energy,
        data: Batch,
        state: Replay | None,
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], Replay | None, dict[str, Tensor]]:
        r"""Returns the loss, whose gradient is the update, the next state and metrics to log.

        Arguments:
            energy: The energy that learns.
            data: A batch of rows.
            state: The walkers that are kept, if any.
            rng: The source of the noise.
        """
        rows = data.x
        noise = torch.randn(rows.shape, generator=rng, dtype=rows.dtype, device=rows.device)
        positive = rows + self.data_noise * noise
        n = self.walkers or len(rows)
        x, index = self.start.draw(positive, state, n, rng)
        walkers, chain = run_chain(
            self.kernel, energy, walkers_at(energy, x), self.steps, rng, check=False
        )

        u_data, u_walkers = energy(positive), energy(walkers.x)
        gap = u_data.mean() - u_walkers.mean()
        penalty = u_data.square().mean() + u_walkers.square().mean()
        loss = gap + self.energy_penalty * penalty if self.energy_penalty else gap
        info = {
            "energy_gap": gap.detach(),
            "energy_data": u_data.detach().mean(),
            "energy_walkers": u_walkers.detach().mean(),
            **chain_metrics(self.kernel, self.steps, rows, walkers.x, chain),
        }
        if self.start.from_noise:  # how far the data are from where the walkers start
            pairs = min(len(rows), n)
            info["distance"] = (x[:pairs] - rows[:pairs]).flatten(1).norm(dim=1).mean()
        return loss, self.start.put(state, index, walkers.x), info

    def sample(
        self,
        energy: Energy,
        data: Batch,
        state: Replay | None,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
    ) -> Walkers:
        r"""Draws n walkers the way training does: from the same start, by the same kernel.

        Arguments:
            energy: The energy that has learnt.
            data: The training rows.
            state: The walkers that were kept, if any.
            n: How many walkers.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of training.
            from_noise: Whether the chains start from noise even where walkers were kept.
        """
        start = self.start.noise_start if from_noise else self.start
        chains = start.sample(data.x, state, n, rng).split(SAMPLED_AT_ONCE)
        number = steps or self.steps
        moved = (
            run_chain(self.kernel, energy, walkers_at(energy, x), number, rng, False, False)[0]
            for x in chains
        )
        return cat(*moved)

    @property
    def noise_start(self) -> NoiseStart:
        """The start of chains from noise."""
        return self.start.noise_start

    @property
    def from_noise(self) -> bool:
        """Whether every chain of training starts from noise."""
        return self.start.from_noise

    def max_samples(self, state: Replay | None) -> int | None:
        """Returns the number of stored walkers; None where none are stored."""
        return None if state is None else len(state)

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of one update of a batch: K + 1 a walker for ULA."""
        return (self.walkers or batch) * (1 + self.steps * self.kernel.gradients)
