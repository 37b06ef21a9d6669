r"""Generalized energy-based models: an energy relative to a base that learns with it.

.. math:: Q(dx) = e^{-E(x) - A}\, B(dx) , \qquad x \sim B: \; x = g(z), \; z \sim N(0, I) , \qquad
    A = \log \mathbb E_B\, e^{-E} .

The base decides where samples can be, the energy how much mass is there. An update is one step of
the energy, which ascends F of :mod:`.bounds` in E and c, or one of the base, which descends it:

=======  ==========================================================================================
energy   data x, as many base samples y = g(z) without graph:
         :math:`\overline{E(x)} + c + \overline{e^{-E(y) - c}} - 1` and, for a smooth E,
         :math:`\overline{|\nabla E|^2}` at random points between x and y. The gradient for c is
         :math:`e^{c - \hat A} - 1`.
base     new y: :math:`\sum_m w_m \nabla E(y_m) \cdot dy_m` with
         :math:`w = \mathrm{softmax}(-E(y))`.
=======  ==========================================================================================

Batch statistics are used in the step of the base only. Not guaranteed: that E has converged when
the base moves. Where the log has an effective sample size below a percent, or c far from the
estimate of the batch, base and data lie too far apart for either number to be believed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..base import require_density
from ..bases import Flow, Generator
from ..bases.latent import ShiftedEnergy
from ..data.rows import Batch
from ..energy import Energy
from ..extension import BASE
from ..kernels import ULA
from ..kernels.chain import walker_distance
from ..method import require_fields
from ..networks import batch_statistics
from ..networks.fusion import fuse_for_inference
from ..networks.network import without_gradient
from ..walkers import Walkers, cat
from . import objectives
from .latents import LatentKernel, StepDecay, latent_chain, latent_energy, latent_walkers
from .objectives import Objective
from .proposal_training import chunk_sizes

__all__ = ["AlternationState", "Generalized", "GeneralizedMethod"]


@dataclass(frozen=True)
class Generalized:
    r"""An energy relative to a base, and the base.

    Arguments:
        base: The network that samples are made by.
        objective: What is optimised: "kale" with c, "donsker_varadhan" with the log-partition of
            the batch, or, for comparison, a GAN of the same networks whose critic is the energy,
            "logistic" or "hinge".
        learns: Which of both learns; "energy" with a base that stays, "base" the reverse.
        relative: Whether the network gives E. Otherwise it gives U, the energy of the model itself,
            and :math:`E = U + \log b`, which needs a base with a density.
        reweight: Whether the base learns from its samples as they weigh in the model; without, as
            in a GAN.
        noise_factor: The base samples M of an update over its data N.
        energy_steps: The steps of the energy before each of the base.
        first_energy_steps: The same before the first two steps of the base, and after every
            `refresh_every`.
        refresh_every: The steps of the base between two longer visits to the energy.
        gradient_penalty: The weight of :math:`\overline{|\nabla E|^2}`.
        parameter_penalty: The weight of the squared parameters of the energy.
        floor: E is no lower than this, where a number is given; -10 in the published code.
        squash: Whether gradients of the energy become :math:`2 g / (1 + g^2)`, entry by entry, as
            in the published code.
        initial_samples: The base samples from which c starts; 0 starts it at 0.
        log_partition_rate: The learning rate of c.
        base_rate: The learning rate of the base.
        base_beta1: The decay of its first moment, under Adam.
        kernel: How latent variables move when samples are drawn.
        sample_steps: The steps of a sample; 0 draws from the base alone.
        decay: How the step size falls along them.
        inverse_temperature: The factor :math:`\beta` of the energy when samples are drawn; 1 is
            the model that was trained, 100 was published for images.

    References:
        | Generalized energy based models (Arbel, Zhou and Gretton, 2021)
        | https://arxiv.org/abs/2003.05033
    """

    base: Annotated[Generator | Flow, BASE] = field(default_factory=Generator)
    objective: Objective = "kale"
    learns: Literal["both", "energy", "base"] = "both"
    relative: bool = True
    reweight: bool = True
    noise_factor: int = 1
    energy_steps: int = 5
    first_energy_steps: int = 100
    refresh_every: int = 500
    gradient_penalty: float = 0.0
    parameter_penalty: float = 0.0
    floor: float | None = None
    squash: bool = False
    initial_samples: int = 0
    log_partition_rate: float = 1e-3
    base_rate: float = 1e-4
    base_beta1: float = 0.5
    kernel: LatentKernel = field(default_factory=lambda: ULA(step_size=1e-4))
    sample_steps: int = 200
    decay: StepDecay = field(default_factory=StepDecay)
    inverse_temperature: float = 1.0

    latent: ClassVar[bool] = True
    temperature: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        counts = ("noise_factor", "energy_steps", "first_energy_steps", "refresh_every")
        weights = ("gradient_penalty", "parameter_penalty", "initial_samples", "sample_steps")
        least = dict.fromkeys(counts, 1) | dict.fromkeys((*weights, "inverse_temperature"), 0)
        require_fields(self, least, ("log_partition_rate", "base_rate"))
        if not 0 <= self.base_beta1 < 1:
            raise ValueError(f"base_beta1 must be in [0, 1), got {self.base_beta1}; 0.5 is usual")
        if not self.relative and self.objective in ("logistic", "hinge"):
            raise ValueError(
                f"the critic of a GAN is relative to its generator, got relative=False with "
                f"objective={self.objective}; write relative=true"
            )
        if self.kernel.temperature != 1 and getattr(self.kernel, "has_prior", True):
            raise ValueError(
                f"latent kernels must have temperature 1, got {self.kernel.temperature}, which "
                "would temper the prior as well; write inverse_temperature for the energy alone"
            )

    @property
    def steps(self) -> int:
        """The steps of a sample, under the name that they have for other methods."""
        return self.sample_steps

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update, on average, rounded up.

        A step of the base has as many as it has samples, one of the energy as many as it has data
        where the gradient is penalised.
        """
        of_energy = batch if self.gradient_penalty else 0
        of_base = batch * self.noise_factor
        if self.learns != "both":
            return of_base if self.learns == "base" else of_energy
        return -(-(self.energy_steps * of_energy + of_base) // (self.energy_steps + 1))

    def build(self, event_shape: tuple[int, ...], seed: int, data: Batch) -> GeneralizedMethod:
        r"""Returns the method with its base and its c.

        Arguments:
            event_shape: The shape of one event.
            seed: The seed of the first parameters.
            data: The training rows, which the base must be able to make.
        """
        return GeneralizedMethod(self, self.base.build(event_shape, seed, data.x))


@dataclass(frozen=True, eq=False)
class AlternationState:
    """The steps that energy and base have made.

    Attributes:
        energy_steps: The steps of the energy since the last one of the base.
        base_steps: The steps of the base so far.
    """

    energy_steps: Int[Tensor, ""]
    base_steps: Int[Tensor, ""]


class GeneralizedMethod(nn.Module):
    """A method with the base and the log-partition c.

    Arguments:
        settings: How both learn.
        base: The network that samples are made by.

    Raises:
        ValueError: If the energy is not relative to the base, and this has no density.
    """

    def __init__(self, settings: Generalized, base: nn.Module) -> None:
        super().__init__()
        self.settings = settings
        self.base: Any = base
        self.log_partition = nn.Parameter(torch.zeros(()))
        self.kernel = settings.kernel
        self.steps = settings.sample_steps
        self.relative = settings.relative
        self.inverse_temperature = settings.inverse_temperature
        self.temperature = 1.0  # learnt without walkers, at 1, whatever kernel draws samples
        self.latent = True
        if not settings.relative:
            require_density(base, "an energy that is not relative to the base")

    @property
    def _c(self) -> Tensor | None:
        """The log-partition c that is learnt; None for a GAN, which has none."""
        learnt = self.settings.objective in ("kale", "donsker_varadhan")
        return self.log_partition if learnt else None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Returns the parameters of the base, and c, each with a rate of its settings."""
        settings = self.settings
        betas = (settings.base_beta1, 0.999)
        base = {"params": list(self.base.parameters()), "lr": settings.base_rate, "betas": betas}
        return [base, {"params": [self.log_partition], "lr": settings.log_partition_rate}]

    def init(self, energy: Energy, data: Batch, rng: torch.Generator) -> AlternationState:
        r"""Returns the first state, and sets c to an estimate where the settings ask for one.

        Arguments:
            energy: The energy that learns.
            data: The training rows.
            rng: The source of the base samples.
        """
        n = self.settings.initial_samples
        if n:
            with torch.no_grad():
                e = self.relative_energy(energy)
                energies = [e(self._base_samples(size, rng)) for size, _ in chunk_sizes(n)]
                self.log_partition.copy_(objectives.log_partition(torch.cat(energies)))
        zero = torch.zeros((), dtype=torch.int64)
        return AlternationState(zero, zero.clone())

    def relative_energy(self, energy: Energy) -> Energy:
        """Returns the energy E relative to the base, of the network of the settings."""
        settings = self.settings
        e = energy if settings.relative else ShiftedEnergy(energy, self.base, 1)
        if settings.floor is None:
            return e
        low = settings.floor
        return lambda x: torch.relu(e(x) - low) + low

    def density_energy(self, energy: Energy) -> Energy:
        """Returns the energy U of the model, whose density is exp(-U) / Z.

        Raises:
            ValueError: If the base has no density: then the model has none either.
        """
        if not self.settings.relative and self.settings.floor is None:
            return energy
        return ShiftedEnergy(self.relative_energy(energy), self.base, -1)

    def step(
        self,
        energy: Energy,
        data: Batch,
        state: AlternationState,
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], AlternationState, dict[str, Tensor]]:
        r"""Returns the loss of the energy or of the base, the next state and metrics to log.

        Arguments:
            energy: The network of the settings.
            data: A batch of rows.
            state: The steps so far.
            rng: The source of base samples and of the points of the penalty.
        """
        if self.next_is_base(state):
            loss, info = self._base_loss(energy, data.x, rng)
            nothing = torch.zeros_like(state.energy_steps)
            return loss, AlternationState(nothing, state.base_steps + 1), info
        loss, info = self._energy_loss(energy, data.x, rng)
        return loss, AlternationState(state.energy_steps + 1, state.base_steps), info

    def next_is_base(self, state: AlternationState) -> bool:
        """Returns whether the base learns next."""
        settings, made = self.settings, int(state.base_steps)
        if settings.learns != "both":
            return settings.learns == "base"
        longer = made < 2 or made % settings.refresh_every == 0
        needed = settings.first_energy_steps if longer else settings.energy_steps
        return int(state.energy_steps) >= needed

    def _base_samples(self, n: int, rng: torch.Generator) -> Tensor:
        """Base samples without a graph."""
        with torch.no_grad():
            x: Tensor = self.base.decode(self.base.latents(n, rng))
        return x

    def _energy_loss(
        self, energy: Energy, data: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the energy and of c."""
        settings = self.settings
        y = self._base_samples(len(data) * settings.noise_factor, rng)
        with without_gradient(self.base):  # on which E may depend
            e = self.relative_energy(energy)(torch.cat([data, y]))
            at_data, at_base = e[: len(data)], e[len(data) :]
            loss = objectives.energy_loss(settings.objective, at_data, at_base, self.log_partition)
            info = objectives.gap_metrics(at_data, at_base, self._c)
            info["walker_distance"] = walker_distance(data, y, -at_base.detach())
            if settings.gradient_penalty:
                slopes = objectives.squared_slopes(self.relative_energy(energy), data, y, rng)
                loss = loss + settings.gradient_penalty * slopes
                info["gradient_penalty"] = slopes.detach()
            parameters = list(energy.parameters()) if isinstance(energy, nn.Module) else []
            if settings.parameter_penalty:
                squares = torch.stack([p.square().sum() for p in parameters]).sum()
                loss = loss + settings.parameter_penalty * squares
            if settings.squash:
                loss = objectives.squashed_gradient(loss, parameters)
        if self._c is not None:
            estimate = info["log_partition_estimate"]
            loss = loss + objectives.log_partition_loss(self.log_partition, estimate)
        return loss, info

    def _base_loss(
        self, energy: Energy, data: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the base."""
        settings = self.settings
        z = self.base.latents(len(data) * settings.noise_factor, rng)
        with batch_statistics(self.base, rng):
            y = self.base.decode(z)
        if settings.relative:
            at_base = objectives.generator_gradient(self.relative_energy(energy), y)
            with torch.no_grad():
                at_data = self.relative_energy(energy)(data)
        else:  # E changes with the base, at the data as well
            below = -math.inf if settings.floor is None else settings.floor
            with torch.no_grad():
                u = energy(data)
            at_data = (u + self.base.log_density(data)).clamp(min=below)
            at_base = objectives.generator_gradient(energy, y) + self.base.log_density(y)
            at_base = at_base.clamp(min=below)
        loss = objectives.base_loss(settings.objective, at_base, settings.reweight)
        if not settings.relative:
            loss = loss - at_data.double().mean()
        return loss, objectives.gap_metrics(at_data, at_base, self._c)

    def sample(
        self,
        energy: Energy,
        data: Batch,
        state: AlternationState,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
    ) -> Walkers:
        r"""Draws n walkers: base samples whose latent variables were moved under the model.

        Arguments:
            energy: The network of the settings, which has learnt.
            data: The training rows.
            state: The state, which is not used.
            n: How many walkers.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of the settings.
            from_noise: Ignored: every chain starts from latent noise.
        """
        ends = [steps or self.settings.sample_steps]
        return cat(*(next(self.trajectory(energy, size, ends, rng)) for size, _ in chunk_sizes(n)))

    def trajectory(
        self, energy: Energy, n: int, steps: Sequence[int], rng: torch.Generator
    ) -> Iterator[Walkers]:
        r"""Draws n walkers and yields them, decoded, after each number of steps, lazily.

        Arguments:
            energy: The network of the settings, which has learnt.
            n: How many walkers.
            steps: The numbers of steps, increasing; 0 gives the samples of the base.
            rng: The source of the noise.
        """
        settings = self.settings
        base, relative = (
            fuse_for_inference(self.base),
            self.relative_energy(
                fuse_for_inference(energy) if isinstance(energy, nn.Module) else energy
            ),
        )
        z = base.latents(n, rng)  # as the base alone draws them, to be compared
        u = latent_energy(base, relative, settings.kernel, settings.inverse_temperature, rng)
        for walkers in latent_chain(settings.kernel, settings.decay, u, z, steps, rng):
            yield latent_walkers(base, relative, walkers)

    def log_z(self, energy: nn.Module) -> float | None:
        r"""Returns :math:`\log Z` where it is known: the network gives U and knows its own.

        Arguments:
            energy: The network of the settings.
        """
        if self.settings.relative or self.settings.floor is not None:
            return None  # that of exp(-E), which is not the model
        known = getattr(energy, "log_z", None)
        return None if known is None else float(known)

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update, on average, rounded up."""
        return self.settings.gradients(batch)
