r"""The method of a generalized model: an energy and its base take turns.

A turn of the energy is followed by others until it has had as many as the settings say; then the
base has one. The state counts them, so that a run goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..bases import learning
from ..bases.latent import Shifted, require_density
from ..energy import Energy
from ..networks.frozen import frozen
from ..walkers import Walkers, cat, effective_sample_size
from . import objectives as bounds
from .latents import latent_energy, latent_walkers, moved
from .proposal_training import parts

if TYPE_CHECKING:
    from .generalized import Generalized

__all__ = ["Turn", "Turns"]


@dataclass(frozen=True, eq=False)
class Turn:
    """Whose turn it is.

    Attributes:
        energy_steps: The steps of the energy since the last one of the base.
        base_steps: The steps of the base so far.
    """

    energy_steps: Int[Tensor, ""]
    base_steps: Int[Tensor, ""]


class Turns(nn.Module):
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
        self.base: Any = base  # a module that decodes latent variables
        self.log_partition = nn.Parameter(torch.zeros(()))
        if not settings.relative:
            require_density(base, "an energy that is not relative to the base")

    @property
    def _learns_c(self) -> bool:
        """Whether the objective has a log-partition; a GAN has none."""
        return self.settings.objective in ("kale", "donsker_varadhan")

    def groups(self) -> list[dict[str, Any]]:
        """Returns the parameters of the base, and c, each with a rate of its own."""
        own = self.settings
        betas = (own.base_beta1, 0.999)
        base = {"params": list(self.base.parameters()), "lr": own.base_rate, "betas": betas}
        return [base, {"params": [self.log_partition], "lr": own.log_partition_rate}]

    def init(self, energy: Energy, data: Float[Tensor, "M *event"], rng: torch.Generator) -> Turn:
        r"""Returns the first state, and sets c to an estimate where the settings ask for one.

        Arguments:
            energy: The energy that learns.
            data: The training data, shape (M, \*event).
            rng: The source of the base samples.
        """
        n = self.settings.initial_samples
        if n:
            with torch.no_grad():
                found = [self.relative(energy)(self._drawn(size, rng)) for size, _ in parts(n)]
                self.log_partition.copy_(bounds.log_partition(torch.cat(found)))
        return Turn(torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.int64))

    def relative(self, energy: Energy) -> Energy:
        """Returns the energy E relative to the base, of the network of the settings.

        Arguments:
            energy: The network.
        """
        own = self.settings
        e = energy if own.relative else Shifted(energy, self.base, 1)
        if own.floor is None:
            return e
        low = own.floor
        return lambda x: torch.relu(e(x) - low) + low

    def own_energy(self, energy: Energy) -> Energy:
        """Returns the energy U of the model itself, whose density is exp(-U) / Z.

        Arguments:
            energy: The network of the settings.

        Raises:
            ValueError: If the base has no density: then the model has none either.
        """
        if not self.settings.relative and self.settings.floor is None:
            return energy
        return Shifted(self.relative(energy), self.base, -1)

    def step(
        self,
        energy: Energy,
        data: Float[Tensor, "B *event"],
        state: Turn,
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], Turn, dict[str, Tensor]]:
        r"""Returns the loss of whose turn it is, the next state and what to log.

        Arguments:
            energy: The network of the settings.
            data: A batch, shape (B, \*event).
            state: Whose turn it is.
            rng: The source of base samples and of the points of the penalty.
        """
        if self.is_turn_of_base(state):
            loss, info = self._teach_base(energy, data, rng)
            nothing = torch.zeros_like(state.energy_steps)
            return loss, Turn(nothing, state.base_steps + 1), info
        loss, info = self._teach_energy(energy, data, rng)
        return loss, Turn(state.energy_steps + 1, state.base_steps), info

    def is_turn_of_base(self, state: Turn) -> bool:
        """Returns whether the base learns next.

        Arguments:
            state: The state.
        """
        own, made = self.settings, int(state.base_steps)
        if own.learns != "both":
            return own.learns == "base"
        longer = made < 2 or made % own.refresh_every == 0
        needed = own.first_energy_steps if longer else own.energy_steps
        return int(state.energy_steps) >= needed

    def _drawn(self, n: int, rng: torch.Generator) -> Tensor:
        """Base samples without a graph."""
        with torch.no_grad():
            x: Tensor = self.base.decode(self.base.latents(n, rng))
        return x

    def _teach_energy(
        self, energy: Energy, data: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the energy and of c."""
        own = self.settings
        y = self._drawn(len(data) * own.noise_factor, rng)
        with _without_gradient(self.base):  # on which E may depend
            e = self.relative(energy)(torch.cat([data, y]))
            at_data, at_base = e[: len(data)], e[len(data) :]
            loss = bounds.energy_loss(own.objective, at_data, at_base, self.log_partition)
            info = self._log(at_data, at_base)
            if own.gradient_penalty:
                slopes = self._slopes(energy, data, y, rng)
                loss = loss + own.gradient_penalty * slopes.square().mean()
                info["gradient_penalty"] = slopes.detach().square().mean()
            parameters = list(energy.parameters()) if isinstance(energy, nn.Module) else []
            if own.parameter_penalty:
                squares = torch.stack([p.square().sum() for p in parameters]).sum()
                loss = loss + own.parameter_penalty * squares
            if own.squash:
                loss = _squashed(loss, parameters)
        if self._learns_c:
            estimate = info["log_partition_estimate"]
            loss = loss + bounds.log_partition_loss(self.log_partition, estimate)
        return loss, info

    def _slopes(self, energy: Energy, data: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The norms of the gradient of E at random points between data and base samples."""
        n = min(len(data), len(y))
        shape = (n, *[1] * (data.ndim - 1))
        share = torch.rand(shape, generator=rng, dtype=data.dtype, device=data.device)
        x = (share * data[:n] + (1 - share) * y[:n]).requires_grad_()
        e = self.relative(energy)(x)
        with torch.autocast(x.device.type, enabled=False):
            (slope,) = torch.autograd.grad(e.sum(), x, create_graph=True)
        norms: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
        return norms

    def _teach_base(
        self, energy: Energy, data: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the base."""
        own = self.settings
        z = self.base.latents(len(data) * own.noise_factor, rng)
        with learning(self.base, rng):
            y = self.base.decode(z)
        if own.relative:
            at_base = bounds.generator_gradient(self.relative(energy), y)
            with torch.no_grad():
                at_data = self.relative(energy)(data)
        else:  # E changes with the base, at the data as well
            below = -math.inf if own.floor is None else own.floor
            with torch.no_grad():
                u = energy(data)
            at_data = (u + self.base.log_density(data)).clamp(min=below)
            at_base = bounds.generator_gradient(energy, y) + self.base.log_density(y)
            at_base = at_base.clamp(min=below)
        loss = bounds.base_loss(own.objective, at_base, own.reweight)
        if not own.relative:
            loss = loss - at_data.double().mean()
        return loss, self._log(at_data, at_base)

    @torch.no_grad()
    def _log(self, at_data: Tensor, at_base: Tensor) -> dict[str, Tensor]:
        """What both turns say of the model."""
        estimate = bounds.log_partition(at_base)
        size = effective_sample_size(-at_base.double())
        found = {
            "energy_gap": at_data.mean() - at_base.mean(),
            "energy_data": at_data.mean(),
            "energy_walkers": at_base.mean(),
            "log_partition_estimate": estimate,
            "ess": size / len(at_base),
        }
        if not self._learns_c:
            return found | {"kale": bounds.donsker_varadhan(at_data, at_base)}
        c = self.log_partition.detach().clone()
        return found | {"kale": bounds.kale(at_data, at_base, c), "log_partition": c}

    def sample(
        self,
        energy: Energy,
        data: Float[Tensor, "M *event"],
        state: Turn,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
    ) -> Walkers:
        r"""Draws n walkers: base samples whose latent variables were moved under the model.

        Arguments:
            energy: The network of the settings, which has learnt.
            data: The training data, shape (M, \*event).
            state: The state, which is not used.
            n: How many walkers.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of the settings.
            from_noise: All of them do: latent noise.
        """
        looks = [steps or self.settings.sample_steps]
        return cat(*(next(self.trajectory(energy, size, looks, rng)) for size, _ in parts(n)))

    def trajectory(
        self, energy: Energy, n: int, looks: Sequence[int], rng: torch.Generator
    ) -> Iterator[Walkers]:
        r"""Draws n walkers and yields them, decoded, after each of so many steps.

        Steps are made when their walkers are asked for, so that a chain can be left early.

        Arguments:
            energy: The network of the settings, which has learnt.
            n: How many walkers.
            looks: The numbers of steps, increasing; 0 is what the base alone draws.
            rng: The source of the noise.
        """
        own = self.settings
        base, relative = frozen(self.base), self.relative(_frozen(energy))
        z = base.latents(n, rng)  # as the base alone draws them, to be compared
        u = latent_energy(base, relative, own.kernel, own.inverse_temperature, rng)
        for walkers in moved(own.kernel, own.decay, u, z, looks, rng):
            yield latent_walkers(base, relative, walkers)

    def population(self, energy: Energy, state: Turn) -> None:
        """Returns None: these walkers carry no weights."""

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update, mean over a cycle, rounded up.

        Each step of the base has as many as it has samples, one of the energy as many as it has
        data where the gradient is penalised.
        """
        own = self.settings
        of_energy = batch if own.gradient_penalty else 0
        of_base = batch * own.noise_factor
        if own.learns != "both":
            return of_base if own.learns == "base" else of_energy
        return -(-(own.energy_steps * of_energy + of_base) // (own.energy_steps + 1))


def _frozen(energy: Energy) -> Energy:
    """The energy as it is used when nothing learns, where it is a network."""
    return frozen(energy) if isinstance(energy, nn.Module) else energy


def _squashed(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """The loss with another gradient: g becomes 2 g / (1 + g²), entry by entry."""
    gradients = torch.autograd.grad(loss, parameters)
    pairs = zip(parameters, gradients, strict=True)
    terms = [((p - p.detach()) * (2 * g / (1 + g.square()))).sum() for p, g in pairs]
    return loss.detach() + torch.stack(terms).sum()


@contextmanager
def _without_gradient(network: nn.Module) -> Iterator[None]:
    """Keeps the parameters of a network from getting a gradient within the block."""
    learnt = [p for p in network.parameters() if p.requires_grad]
    try:
        for parameter in learnt:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)
