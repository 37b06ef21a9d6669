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

Not guaranteed: that the generator has the masses of the energy's modes; it has no density.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..bases import Decoder, Generator, learning, posterior_energy
from ..energies.energy import Energy
from ..kernels import HMC, MALA, ULA, AdamDescent, Descent, KineticLangevin, run
from ..walkers import Walkers, evaluate
from .revision import ancestral, energy_gap, revise

__all__ = ["Cooperation", "Cooperative"]


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
        generator_rate: The learning rate of the generator.
        generator_beta1: The decay of its first moment, under Adam.

    References:
        | Cooperative training of descriptor and generator networks (Xie, Lu, Gao, Zhu, Wu, 2018)
        | https://arxiv.org/abs/1609.09408
    """

    generator: Generator = field(default_factory=Generator)
    kernel: ULA | MALA | HMC | KineticLangevin | Descent | AdamDescent = field(
        default_factory=lambda: ULA(step_size=2e-6)
    )
    steps: int = 15
    walkers: int = 0
    data_noise: float = 0.0
    sample_steps: int = 0
    latent_steps: int = 0
    latent_step_size: float = 0.005
    sigma: float = 0.3
    generator_rate: float = 1e-4
    generator_beta1: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; 15 are usual")
        for name in ("walkers", "data_noise", "sample_steps", "latent_steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("latent_step_size", "sigma", "generator_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.generator_beta1 < 1:
            raise ValueError(
                f"generator_beta1 must be in [0, 1), got {self.generator_beta1}; 0.5 is usual"
            )

    def build(self, event_shape: tuple[int, ...], seed: int, data: Tensor) -> Cooperation:
        r"""Returns the method with its generator.

        Arguments:
            event_shape: The shape of one event.
            seed: The seed of the first parameters.
            data: The training data, shape (M, \*event), which the generator must be able to make.
        """
        return Cooperation(self, self.generator.build(event_shape, seed, data))


class Cooperation(nn.Module):
    """Cooperative learning with its generator: a method.

    Arguments:
        settings: How it learns.
        base: The generator.
    """

    def __init__(self, settings: Cooperative, base: Decoder) -> None:
        super().__init__()
        self.settings = settings
        self.base = base

    def groups(self) -> list[dict[str, Any]]:
        """Returns the parameters of the generator with a rate of their own."""
        rate, beta1 = self.settings.generator_rate, self.settings.generator_beta1
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
        z = self._inferred(revision.z, revision.walkers.x, rng)
        noise = torch.randn(data.shape, generator=rng, dtype=data.dtype, device=data.device)
        noisy = data + own.data_noise * noise
        gap, info = energy_gap(energy, noisy, revision, own.kernel, own.steps)
        with learning(self.base, rng):
            made = self.base(z)
        misfit = (revision.walkers.x - made).flatten(1).square().sum(1).mean()
        info["reconstruction"] = misfit.detach()
        return gap + misfit / (2 * own.sigma**2), None, info

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
        r"""Draws n walkers: proposals of the generator, revised under the energy.

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

    def _inferred(
        self, z: Float[Tensor, "n d"], x: Float[Tensor, "n *event"], rng: torch.Generator
    ) -> Float[Tensor, "n d"]:
        """The latent variables of revised walkers: those that proposed them, moved on by G1."""
        own = self.settings
        if not own.latent_steps:
            return z
        posterior = posterior_energy(self.base.decode, x, own.sigma)
        kernel = ULA(own.latent_step_size)
        walkers = evaluate(posterior, z)
        return run(kernel, posterior, walkers, own.latent_steps, rng, diagnose=False)[0].x
