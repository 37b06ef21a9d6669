r"""Cooperative learning of an energy and a generator (CoopNets).

One update, with n walkers (not tied to the size of the batch):

=====  ============================================================================================
G0     :math:`\hat z_i \sim N(0, I)`, :math:`\hat x_i = g(\hat z_i)`.
D1     :math:`\tilde x_i`: K steps under the energy from :math:`\hat x_i`.
G1     :math:`z_i`: steps of Langevin dynamics on the posterior of the generator given
       :math:`\tilde x_i`, from :math:`\hat z_i`; usually none.
D2     The energy learns from :math:`\overline{U(x)} - \overline{U(\tilde x)}`.
G2     The generator learns from :math:`\overline{\|\tilde x - g(z)\|^2} / 2 \sigma^2`: it is taught
       by the revision of what it proposed.
=====  ============================================================================================

Without G1 each revised walker is ascribed to the latent variables that proposed it, which is right
as long as the revision is small. The likelihood in G1 is a sum over pixels and no mean over chains.

Batch statistics are used in G2 only; whatever is drawn or revised uses running statistics, so that
no walker depends on another.

With a condition c for each row, :math:`\hat x = g(\hat z, c)`, and the energy is
:math:`U(x \mid c)`.

Not guaranteed: that the generator has the masses of the energy's modes; it has no density.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..bases import Generator, posterior_energy
from ..bases.conditional import ConditionedBase
from ..condition import NoCondition
from ..data.rows import Batch
from ..extension import BASE
from ..kernels import ULA, TrainingKernel, run_chain
from ..method import require_fields
from ..networks import Decoder, batch_statistics
from ..walkers import walkers_at
from .condition import ConditionSettings
from .proposal_training import CooperativeStep

__all__ = ["Cooperative"]


@dataclass(frozen=True)
class Cooperative:
    r"""An energy and a generator that learn from each other.

    The published step :math:`x - \frac{\delta^2}{2} (x / s^2 - f'(x)) + \delta z` is ULA with the
    step size :math:`\delta^2 / 2` under an energy with ``energy.reference_scale`` s; without its
    noise, as most published codes run it, it is Descent.

    Arguments:
        generator: The network that proposes.
        kernel: How the walkers move.
        steps: The number of steps K of a walker in one update.
        walkers: The number of walkers n; 0 takes as many as there are data.
        data_noise: The standard deviation of noise added to the data of every update.
        sample_steps: The number of steps when samples are drawn; 0 takes those of training.
        latent_steps: The Langevin steps of G1.
        latent_step_size: Their step size :math:`\delta_z^2 / 2`.
        sigma: The deviation :math:`\sigma` of a pixel around what the generator makes.
        base_rate: The learning rate of the generator.
        base_beta1: The decay of its first moment, under Adam.
        condition: The condition: NoCondition, ClassConditional, or ObservedPixels.

    References:
        | Cooperative training of descriptor and generator networks (Xie, Lu, Gao, Zhu, Wu, 2018)
        | https://arxiv.org/abs/1609.09408
    """

    generator: Annotated[Generator, BASE] = field(default_factory=Generator)
    kernel: TrainingKernel = field(default_factory=lambda: ULA(step_size=2e-6))
    steps: int = 15
    walkers: int = 0
    data_noise: float = 0.0
    sample_steps: int = 0
    latent_steps: int = 0
    latent_step_size: float = 0.005
    sigma: float = 0.3
    base_rate: float = 1e-4
    base_beta1: float = 0.5
    condition: ConditionSettings = field(default_factory=NoCondition)

    teacher: ClassVar[Literal["revision"]] = "revision"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; 15 are usual")
        least = {"walkers": 0, "data_noise": 0, "sample_steps": 0, "latent_steps": 0}
        require_fields(self, least, ("latent_step_size", "sigma", "base_rate"))
        if not 0 <= self.base_beta1 < 1:
            raise ValueError(f"base_beta1 must be in [0, 1), got {self.base_beta1}; 0.5 is usual")

    def build(self, event_shape: tuple[int, ...], seed: int, data: Batch) -> CooperativeStep:
        r"""Returns the method with its generator.

        Arguments:
            event_shape: The shape of one event.
            seed: The seed of the first parameters.
            data: The training rows, which the generator must be able to make.

        Raises:
            ValueError: If the generator or the condition do not fit such data.
        """
        settings = replace(self, condition=self.condition.resolved(data))
        base = settings.condition.build_base(self.generator, event_shape, seed, data.x)
        return CooperativeStep(settings, base)

    @property
    def decoder_std(self) -> float:
        """The deviation of an entry around the decoded one."""
        return self.sigma

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update: K + 1 a walker for ULA."""
        return (self.walkers or batch) * (1 + self.steps * self.kernel.gradients)

    def generator_loss(
        self,
        base: Decoder | ConditionedBase,
        x: Float[Tensor, "n *event"],
        z: Float[Tensor, "n d"],
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        r"""Returns the loss of the generator, G1 and G2, and its metrics.

        Arguments:
            base: The generator, given the conditions of the walkers where there are any.
            x: The revised walkers, shape (n, \*event).
            z: The latent variables that they were proposed from, shape (n, d).
            rng: The source of the noise.
        """
        if self.latent_steps:
            posterior = posterior_energy(base.decode, x, self.sigma)
            kernel, walkers = ULA(self.latent_step_size), walkers_at(posterior, z)
            z = run_chain(kernel, posterior, walkers, self.latent_steps, rng, False, False)[0].x
        with batch_statistics(base, rng):
            made = base(z)
        misfit = (x - made).flatten(1).square().sum(1).mean()
        return misfit / (2 * self.sigma**2), {"reconstruction": misfit.detach()}
