r"""Variational MCMC teaching: an energy that refines the proposals of a VAE, which learns from it.

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
published ratio to it. The VAE never sees data, unless they are its teacher: then it learns as a VAE
alone does, and the energy only revises what it proposes.

With a condition c for each row, :math:`\hat x = g(\hat z, c)`, the energy is :math:`U(x \mid c)`
and the encoder :math:`q(z \mid \tilde x, c)`; of a picture of which a part is given, only the
hidden entries move, and only they are learnt.

Not guaranteed: that the latent variables are used. The log says how many are, as ``active``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..bases import Vae, default_gamma, vae_loss
from ..bases.conditional import ConditionedBase
from ..condition import NoCondition
from ..data.rows import Batch
from ..extension import BASE
from ..kernels import ULA, TrainingKernel
from ..method import require_fields
from ..networks import VariationalAutoencoder, batch_statistics
from .condition import ConditionSettings
from .proposal_training import CooperativeStep

__all__ = ["Variational"]


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
        teacher: What the VAE learns from: the revision, or data, to compare.
        base_rate: The learning rate of the VAE.
        base_beta1: The decay of its first moment, under Adam.
        condition: The condition: NoCondition, ClassConditional, or ObservedPixels.

    References:
        | Learning energy-based model with variational auto-encoder as amortized sampler
        | (Xie, Zheng, Li, 2021), https://arxiv.org/abs/2012.14936
    """

    vae: Annotated[Vae, BASE] = field(default_factory=Vae)
    kernel: TrainingKernel = field(default_factory=lambda: ULA(step_size=2e-6))
    steps: int = 15
    walkers: int = 0
    data_noise: float = 0.0
    sample_steps: int = 0
    gamma: float = 0.0
    teacher: Literal["revision", "data"] = "revision"
    base_rate: float = 2e-4
    base_beta1: float = 0.5
    condition: ConditionSettings = field(default_factory=NoCondition)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; 15 are usual")
        require_fields(self, {"walkers": 0, "data_noise": 0, "sample_steps": 0, "gamma": 0})
        if not self.base_rate > 0:
            raise ValueError(f"base_rate must be > 0, got {self.base_rate}; 2e-4 is usual")
        if not 0 <= self.base_beta1 < 1:
            raise ValueError(f"base_beta1 must be in [0, 1), got {self.base_beta1}; 0.5 is usual")

    def build(self, event_shape: tuple[int, ...], seed: int, data: Batch) -> CooperativeStep:
        r"""Returns the method with its VAE.

        Arguments:
            event_shape: The shape of one event.
            seed: The seed of the first parameters.
            data: The training rows: the variance of the entries that the model predicts sets
                :math:`\gamma`.

        Raises:
            ValueError: If the networks or the condition do not fit such data.
        """
        condition = self.condition.resolved(data)
        gamma = self.gamma or default_gamma(condition.free_entries(data))
        settings = replace(self, condition=condition, gamma=gamma)
        base = condition.build_base(self.vae, event_shape, seed, data.x)
        return CooperativeStep(settings, base)

    @property
    def decoder_std(self) -> float:
        r"""The deviation of an entry around the decoded one, :math:`\sqrt{\gamma / 2}`."""
        return math.sqrt(self.gamma / 2)

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update: K + 1 a walker for ULA."""
        return (self.walkers or batch) * (1 + self.steps * self.kernel.gradients)

    def generator_loss(
        self,
        base: VariationalAutoencoder | ConditionedBase,
        x: Float[Tensor, "n *event"],
        z: Float[Tensor, "m d"],
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        r"""Returns the loss of the VAE, and its metrics.

        Arguments:
            base: The VAE, given the conditions of the rows where there are any.
            x: The rows that it is taught, shape (n, \*event).
            z: What the revised walkers were proposed from; a VAE infers its own.
            rng: The source of the noise.
        """
        with batch_statistics(base, rng):
            loss, parts = vae_loss(base, x, self.gamma, rng)
        return loss, parts._asdict()
