r"""An energy on top of a stack of densities, for tables of any size.

.. math:: U(x) = E(x) - \log b(x) , \qquad b(x) = \sum_j w_j\, p_j(x) , \qquad
    Z = \mathbb E_b\, e^{-E} .

`initialise` fits the stack b (:mod:`.stack`) to the training rows, without gradients.

The network E starts at 0 and learns by maximum likelihood, with Z from fresh samples of b:

.. math:: \mathcal L = \overline{E(x)} + \log \frac1M \sum_m e^{-E(y_m)} + \lambda
    \Big(1 + \frac{1000}{N}\Big)\, \overline{|\nabla E|^2} , \qquad y_m \sim b ,

where the penalty is taken at random points between rows and samples, and is larger for fewer rows
N. The input of the network is bounded, so that E is, Z exists, and the tails are those of b.

Not guaranteed: that Z is exact. It is estimated from samples that take no part in training, with
an interval; where their effective sample size is below 100 there is none.

References:
    | Generalized energy based models (Arbel, Zhou and Gretton, 2021)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..energies.network_energy import NetworkEnergy
from ..energy import require_event_shape
from ..networks.dense import Multilayer
from ..walkers import effective_sample_size
from .stack import Stack
from .stack_fit import Expert

__all__ = ["LearntStack", "StackedEnergy"]

POOL, MIN_EFFECTIVE = 20_000, 100
"""The samples of b that estimate Z, and the effective sample size without which they do not."""

LEARNT_FROM = 50_000
"""The samples of b that the network learns from, others than those of `POOL`."""

FEW = 1000
"""The rows of a table whose penalty is doubled."""

FARTHEST = 5.0
"""The bound on the input of the network, in standard deviations."""

METROPOLIS_STEPS = 30
"""The proposals from b in the sampling of a row."""


class LearntStack(nn.Module):
    r"""An energy on top of a stack of densities.

    Arguments:
        stack: The stack b.
        network: The energy E, of bounded rows.
        gradient_penalty: The weight :math:`\lambda` of the penalty.
        noise_factor: The samples of b in an update over the rows of data.

    Example:
        >>> rows = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> energy = StackedEnergy().build((2,), 0)
        >>> energy.initialise(rows, torch.Generator().manual_seed(0))
        >>> grid = torch.cartesian_prod(torch.linspace(-6, 6, 121), torch.linspace(-6, 6, 121))
        >>> round((-energy(grid)).exp().sum().item() * 0.1**2, 3)  # the integral of the density
        1.0
    """

    log_z_refusal: ClassVar[str] = (
        f"fewer than {MIN_EFFECTIVE} of {POOL:,} samples of the stack have weight under the energy "
        "on top of it; take fewer updates, or a larger energy.gradient_penalty"
    )

    def __init__(
        self,
        stack: Stack,
        network: nn.Module,
        gradient_penalty: float = 0.1,
        noise_factor: int = 4,
    ) -> None:
        super().__init__()
        self.stack, self.network = stack, network
        self.event_shape = (stack.dimensions,)
        self.gradient_penalty, self.noise_factor = gradient_penalty, noise_factor
        self._pools: dict[int, Tensor] = {}
        self.eval()

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x) = E(x) - \log b(x)`, shape (N,)."""
        require_event_shape(x, self.event_shape)
        return self.relative_energy(x) - self.stack.log_density(x)

    def relative_energy(self, x: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`E(x)`, shape (N,)."""
        e: Tensor = self.network(self._bounded(x))
        return e

    @torch.no_grad()
    def initialise(self, train: Float[Tensor, "N D"], rng: torch.Generator) -> None:
        """Fits the stack, in place.

        Arguments:
            train: The training rows, shape (N, D).
            rng: Determines the folds and the starts of EM.
        """
        self.stack.fit(train, rng)
        self._pools = {}

    def log_partition(self) -> Float[Tensor, ""]:
        r"""Returns the estimate of :math:`\log Z` from a pool of samples, with its graph.

        The pool is drawn once and takes no part in training.
        """
        log_w: Tensor = -self.network(self._samples(0, POOL)).double()
        return torch.logsumexp(log_w, 0) - math.log(POOL)

    @property
    def log_z(self) -> float:
        r"""The estimate of :math:`\log Z` from a pool of samples."""
        with torch.no_grad():
            return float(self.log_partition())

    @property
    def log_z_half_width(self) -> float:
        r"""Half of the 95 % interval of :math:`\log Z`; nan where too few samples have weight."""
        with torch.no_grad():
            log_w = -self.network(self._samples(0, POOL)).double()
        effective = float(effective_sample_size(log_w))
        if effective < MIN_EFFECTIVE:
            return math.nan
        return 1.96 * math.sqrt(max(1 / effective - 1 / POOL, 0.0))

    def likelihood_loss(
        self, x: Float[Tensor, "N D"], rng: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        r"""Returns the loss of one update, shape (), and metrics to log.

        Arguments:
            x: A batch of training rows, shape (N, D).
            rng: Determines which samples of b are taken, and the points of the penalty.
        """
        pool = self._samples(1, LEARNT_FROM)
        size = (len(x) * self.noise_factor,)
        y = pool[torch.randint(len(pool), size, generator=rng, device=rng.device).to(pool.device)]
        with torch.no_grad():
            x = self._bounded(x)
        e = self.network(torch.cat([x, y]))
        at_data, at_stack = e[: len(x)], e[len(x) :]
        log_mean = torch.logsumexp(-at_stack, 0) - math.log(len(y))
        share = torch.rand((len(x), 1), generator=rng, device=rng.device).to(x)
        points = (share * x + (1 - share) * y[: len(x)]).requires_grad_()
        (slope,) = torch.autograd.grad(self.network(points).sum(), points, create_graph=True)
        squares = slope.square().sum(1).mean()
        gain = -at_data.mean() - log_mean
        loss = self.gradient_penalty * (1 + FEW / self.stack.rows.clamp_min(1)) * squares - gain
        info = {
            "gain_over_stack": gain.detach(),
            "log_partition_estimate": log_mean.detach(),
            "gradient_penalty": squares.detach(),
            "ess": effective_sample_size(-at_stack.detach().double()) / len(y),
            "temperature": torch.ones(()),
        }
        return loss, info

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n D"]:
        r"""Returns n samples by Metropolis steps with proposals from b, shape (n, D).

        Where E = 0 they are exact; a small effective sample size needs more steps.
        """
        return self._metropolis(lambda: self.stack.sample(n, rng), rng)

    @torch.no_grad()
    def complete(
        self, x: Float[Tensor, "N D"], hidden: Bool[Tensor, "N D"], rng: torch.Generator
    ) -> Float[Tensor, "N D"]:
        """Returns rows whose hidden entries are samples given the others, shape (N, D).

        Samples of the stack are exact; Metropolis steps with such proposals account for E.

        Arguments:
            x: The rows, shape (N, D); hidden entries are ignored.
            hidden: The hidden entries, shape (N, D).
            rng: The source of noise.
        """
        completed = x.clone()
        patterns, group = torch.unique(hidden, dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = group == number
            if bool(pattern.any()):
                completed[rows] = self._metropolis(
                    self.stack.completions(x[rows], ~pattern, rng), rng
                )
        return completed

    def _metropolis(self, propose: Callable[[], Tensor], rng: torch.Generator) -> Tensor:
        """Rows after steps whose proposals are samples of the stack."""
        x = propose()
        e = self.relative_energy(x)
        for _ in range(METROPOLIS_STEPS if bool((e != e[:1]).any()) else 0):
            y = propose()
            proposed = self.relative_energy(y)
            u = torch.rand(len(e), generator=rng, device=rng.device).to(e)
            accepted = u.log() < e - proposed
            x, e = torch.where(accepted[:, None], y, x), torch.where(accepted, proposed, e)
        return x

    def _samples(self, number: int, n: int) -> Tensor:
        """Samples of b as inputs of the network, drawn once; those of another number are others."""
        centre = self.stack.centre
        pool = self._pools.get(number)
        if pool is None or pool.device != centre.device or pool.dtype != centre.dtype:
            rng = torch.Generator().manual_seed(number)
            self._pools[number] = pool = self._bounded(self.stack.sample(n, rng))
        return pool

    def _load_from_state_dict(self, *arguments: Any) -> None:  # noqa: ANN401
        """Forgets the samples of the stack before."""
        self._pools = {}
        super()._load_from_state_dict(*arguments)

    def _bounded(self, x: Tensor) -> Tensor:
        """The input of the network: whitened normal columns, bounded."""
        return FARTHEST * torch.tanh(self.stack.whitened(x) / FARTHEST)


@dataclass(frozen=True)
class StackedEnergy:
    r"""Settings of a stack of densities.

    Attributes:
        normal_mixtures: The sizes of Gaussian mixtures of columns that were made almost normal.
        plain_mixtures: The sizes of Gaussian mixtures of the columns as they are; 1 is always
            among them.
        bandwidths: The widths of Gaussian kernels at the training rows, in units of the covariance
            of all rows.
        network: The network E on top of the stack.
        gradient_penalty: The weight :math:`\lambda` of the penalty on its slope.
        noise_factor: The samples of the stack in an update over the rows of data.

    Raises:
        ValueError: If a size or a width is not positive.

    Example:
        >>> energy = StackedEnergy().build((11,), rng_seed=0)
        >>> round(energy(torch.zeros(1, 11)).item() - 11 / 2 * math.log(2 * math.pi), 4)
        0.0
    """

    normal_mixtures: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    plain_mixtures: tuple[int, ...] = (1, 3, 10, 30)
    bandwidths: tuple[float, ...] = (0.25, 0.4, 0.6)
    network: Multilayer = field(default_factory=lambda: Multilayer((128, 128)))
    gradient_penalty: float = 0.1
    noise_factor: int = 4

    any_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("normal_mixtures", "plain_mixtures", "bandwidths"):
            values = getattr(self, name)
            if not all(value > 0 and math.isfinite(value) for value in values):
                raise ValueError(
                    f"{name} must be positive numbers, got {values}; write energy.{name}=[1]"
                )

    def build(
        self, event_shape: tuple[int, ...], rng_seed: int, data: Tensor | None = None
    ) -> LearntStack:
        """Returns the energy before `initialise`, on the CPU, in the default dtype.

        Arguments:
            event_shape: The shape of one event, (D,).
            rng_seed: The seed of the initial parameters of the network.
            data: Not used.

        Raises:
            ValueError: If the events are not vectors.
        """
        if len(event_shape) != 1:
            raise ValueError(
                f"a stack of densities takes vectors, got events of shape {event_shape}; write "
                "energy=NetworkEnergy for images"
            )
        plain = sorted({1, *self.plain_mixtures})
        experts = [Expert(normal=True, components=k) for k in self.normal_mixtures]
        experts += [Expert(normal=False, components=k) for k in plain]
        experts += [Expert(normal=True, components=0, bandwidth=h) for h in self.bandwidths]
        network = NetworkEnergy(self.network, zero_start=True).build(event_shape, rng_seed)
        penalty, noise = self.gradient_penalty, self.noise_factor
        return LearntStack(Stack(experts, event_shape[0]), network, penalty, noise)
