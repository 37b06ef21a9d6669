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

from ..energy import Energy
from ..kernels import HMC, MALA, ULA, AdamDescent, Descent, KineticLangevin, run
from ..kernels.chain import of_the_chain
from ..walkers import Walkers, cat, evaluate
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
        >>> data, rng = torch.ones(8, 2), torch.Generator().manual_seed(0)
        >>> loss, state, info = method.step(energy, data, method.init(energy, data, rng), rng)
        >>> loss.backward()
    """

    start: NoiseStart | DataStart | ReplayStart = field(default_factory=NoiseStart)
    kernel: ULA | MALA | HMC | KineticLangevin | Descent | AdamDescent = field(
        default_factory=lambda: ULA(step_size=0.01)
    )
    steps: int = 50
    walkers: int = 0
    data_noise: float = 0.0
    energy_penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; contrastive divergence has 1")
        for name in ("walkers", "data_noise", "energy_penalty"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")

    def build(self, event_shape: tuple[int, ...], seed: int, data: Tensor) -> Contrastive:
        """Returns itself: there is no network beside the energy."""
        return self

    def init(
        self, energy: Energy, data: Float[Tensor, "M *event"], rng: torch.Generator
    ) -> Replay | None:
        r"""Returns the first state from all the training data, shape (M, \*event)."""
        return self.start.init(data, rng)

    def step(
        self,
        energy: Energy,
        data: Float[Tensor, "B *event"],
        state: Replay | None,
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], Replay | None, dict[str, Tensor]]:
        r"""Returns the loss, whose gradient is the update, the next state and what to log.

        Arguments:
            energy: The energy that learns.
            data: A batch, shape (B, \*event).
            state: The walkers that are kept, if any.
            rng: The source of the noise.
        """
        noise = torch.randn(data.shape, generator=rng, dtype=data.dtype, device=data.device)
        positive = data + self.data_noise * noise
        n = self.walkers or len(data)
        x, index = self.start.draw(positive, state, n, rng)
        walkers, chain = run(self.kernel, energy, evaluate(energy, x), self.steps, rng)

        u_data, u_walkers = energy(positive), energy(walkers.x)
        gap = u_data.mean() - u_walkers.mean()
        penalty = u_data.square().mean() + u_walkers.square().mean()
        loss = gap + self.energy_penalty * penalty if self.energy_penalty else gap
        info = {
            "energy_gap": gap.detach(),
            "energy_data": u_data.detach().mean(),
            "energy_walkers": u_walkers.detach().mean(),
            **of_the_chain(self.kernel, self.steps, data, walkers.x, chain),
        }
        if self.start.from_noise:  # how far the data are from where the walkers start
            pairs = min(len(data), n)
            info["distance"] = (x[:pairs] - data[:pairs]).flatten(1).norm(dim=1).mean()
        return loss, self.start.put(state, index, walkers.x), info

    def sample(
        self,
        energy: Energy,
        data: Float[Tensor, "M *event"],
        state: Replay | None,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
    ) -> Walkers:
        r"""Draws n walkers the way training does: from the same start, by the same kernel.

        Arguments:
            energy: The energy that has learnt.
            data: The training data, shape (M, \*event).
            state: The walkers that were kept, if any.
            n: How many walkers.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of training.
            from_noise: Whether the chains start from noise even where walkers were kept.
        """
        start = self.start.noise_start if from_noise else self.start
        chains = start.sample(data, state, n, rng).split(SAMPLED_AT_ONCE)
        moved = (
            run(self.kernel, energy, evaluate(energy, x), steps or self.steps, rng)[0]
            for x in chains
        )
        return cat(*moved)

    def population(self, energy: Energy, state: Replay | None) -> None:
        """Returns None: these walkers carry no weights."""

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of one update of a batch: K + 1 a walker for ULA."""
        return (self.walkers or batch) * (1 + self.steps * self.kernel.gradients)
