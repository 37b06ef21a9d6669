r"""Variational MCMC teaching: an energy, and a VAE that learns to propose what the energy revises.

One update, with n walkers:

1. :math:`\hat z_i \sim N(0, I)`, :math:`\hat x_i = g(\hat z_i)`: means are decoded, no pixel noise.
2. :math:`\tilde x_i`: K steps under the energy from :math:`\hat x_i`.
3. The energy learns from :math:`\overline{U(x)} - \overline{U(\tilde x)}`.
4. Encoder and decoder learn from :math:`\tilde x` as if it were data, in one step on

.. math:: L = \frac1n \sum_i \|g(z_i) - \tilde x_i\|^2
    + \gamma \, \mathrm{KL}\big(q(z \mid \tilde x_i) \,\|\, N(0, I)\big) , \qquad
    z_i = \mu(\tilde x_i) + e^{s(\tilde x_i)} \xi_i ,

which is :math:`2 \sigma^2` times the evidence bound for :math:`\gamma = 2 \sigma^2`. A latent
direction stays alive only if it explains more of the variance of :math:`\tilde x` than
:math:`\gamma / 2`, so :math:`\gamma` must shrink with the total variance of the pixels; 0 takes the
published ratio to it. The VAE never sees data.

Not guaranteed: that the latent variables are used. The log says how many are, as ``active``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..bases import Vae, VariationalAutoencoder, default_gamma, learning, vae_loss
from ..energies.energy import Energy
from ..kernels import HMC, MALA, ULA, AdamDescent, Descent, KineticLangevin
from ..walkers import Walkers
from .revision import ancestral, energy_gap, revise

__all__ = ["Teaching", "Variational"]


@dataclass(frozen=True)
class Variational:
    r"""An energy and a VAE that learn from each other.

    Arguments:
        vae: The networks that infer and propose.
        kernel: How the walkers move: ULA with the noise of the equations, Descent without it, as
            the published code runs.
        steps: The number of steps K of a walker in one update.
        walkers: The number of walkers n; 0 takes as many as there are data.
        data_noise: The standard deviation of noise added to the data of every update.
        sample_steps: The number of steps when samples are drawn; 0 takes those of training.
        gamma: The weight :math:`\gamma` of the divergence, in squared units of a pixel; 0 takes 2
            times the total variance of the data over that of CIFAR-10, for which 2 was published.
        vae_rate: The learning rate of the VAE.
        vae_beta1: The decay of its first moment, under Adam.

    References:
        | Learning energy-based model with variational auto-encoder as amortized sampler
        | (Xie, Zheng, Li, 2021), https://arxiv.org/abs/2012.14936
    """

    vae: Vae = field(default_factory=Vae)
    kernel: ULA | MALA | HMC | KineticLangevin | Descent | AdamDescent = field(
        default_factory=lambda: ULA(step_size=2e-6)
    )
    steps: int = 15
    walkers: int = 0
    data_noise: float = 0.0
    sample_steps: int = 0
    gamma: float = 0.0
    vae_rate: float = 2e-4
    vae_beta1: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; 15 are usual")
        for name in ("walkers", "data_noise", "sample_steps", "gamma"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not self.vae_rate > 0:
            raise ValueError(f"vae_rate must be > 0, got {self.vae_rate}; 2e-4 is usual")
        if not 0 <= self.vae_beta1 < 1:
            raise ValueError(f"vae_beta1 must be in [0, 1), got {self.vae_beta1}; 0.5 is usual")

    def build(self, event_shape: tuple[int, ...], seed: int, data: Tensor) -> Teaching:
        r"""Returns the method with its VAE.

        Arguments:
            event_shape: The shape of one event.
            seed: The seed of the first parameters.
            data: The training data, shape (M, \*event): their variance sets :math:`\gamma`.
        """
        gamma = self.gamma or default_gamma(data)
        return Teaching(self, self.vae.build(event_shape, seed, data), gamma)


class Teaching(nn.Module):
    r"""Variational teaching with its VAE: a method.

    Arguments:
        settings: How it learns.
        base: The VAE.
        gamma: The weight :math:`\gamma`.
    """

    def __init__(self, settings: Variational, base: VariationalAutoencoder, gamma: float) -> None:
        super().__init__()
        self.settings = settings
        self.base = base
        self.gamma = gamma

    def groups(self) -> list[dict[str, Any]]:
        """Returns the parameters of the VAE with a rate of their own."""
        rate, beta1 = self.settings.vae_rate, self.settings.vae_beta1
        return [{"params": list(self.base.parameters()), "lr": rate, "betas": (beta1, 0.999)}]

    def init(self, energy: Energy, data: Float[Tensor, "M *event"], rng: torch.Generator) -> None:
        """Returns None: no walkers are kept."""

    def step(
        self,
        energy: Energy,
        data: Float[Tensor, "B *event"],
        state: None,
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], None, dict[str, Tensor]]:
        r"""Returns the sum of both losses, whose gradients do not meet, no state, and the log.

        Arguments:
            energy: The energy that learns.
            data: A batch, shape (B, \*event).
            state: None.
            rng: The source of the noise.
        """
        own = self.settings
        n = own.walkers or len(data)
        revision = revise(self.base, own.kernel, energy, n, own.steps, rng)
        noise = torch.randn(data.shape, generator=rng, dtype=data.dtype, device=data.device)
        noisy = data + own.data_noise * noise
        gap, info = energy_gap(energy, noisy, revision, own.kernel, own.steps)
        with learning(self.base, rng):
            loss, parts = vae_loss(self.base, revision.walkers.x, self.gamma, rng)
        info |= {"reconstruction": parts.reconstruction, "kl": parts.kl, "active": parts.active}
        return gap + loss, None, info

    def sample(
        self,
        energy: Energy,
        data: Float[Tensor, "M *event"],
        state: None,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
    ) -> Walkers:
        r"""Draws n walkers: proposals of the decoder, revised under the energy.

        Arguments:
            energy: The energy that has learnt.
            data: The training data, shape (M, \*event).
            state: None.
            n: How many walkers.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of the settings.
            from_noise: All of them do: latent noise.
        """
        steps = steps or self.settings.sample_steps or self.settings.steps
        return ancestral(self.base, self.settings.kernel, energy, n, steps, rng)

    def population(self, energy: Energy, state: None) -> None:
        """Returns None: these walkers carry no weights."""

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update: K + 1 a walker for ULA."""
        own = self.settings
        return (own.walkers or batch) * (1 + own.steps * own.kernel.gradients)
