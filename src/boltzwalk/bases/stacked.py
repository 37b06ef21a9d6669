r"""An energy on top of a stack of densities, for tables of any size.

.. math:: U(x) = E(x) - \log b(x) , \qquad b(x) = \sum_j w_j\, p_j(x) , \qquad
    Z = \mathbb E_b\, e^{-E} .

The experts :math:`p_j` are Gaussian mixtures of several sizes and Gaussian kernels of several
widths, of the columns as they are and of columns that were made almost normal
(:mod:`.marginals`). `initialise` fits them without gradients. Their weights are those under which
rows that an expert was not fitted to are likeliest: *stacking*, by cross-validation within the
training rows, where these are few, or by a fifth of them. EM solves this convex problem. The
stack is hardly ever worse than its best expert, and often better.

The network E starts at 0 and learns by maximum likelihood, with Z from fresh samples of b:

.. math:: \mathcal L = \overline{E(x)} + \log \frac1M \sum_m e^{-E(y_m)} + \lambda
    \Big(1 + \frac{1000}{N}\Big)\, \overline{|\nabla E|^2} , \qquad y_m \sim b ,

where the penalty is taken at random points between rows and samples, and is larger for fewer rows
N. The input of the network is bounded, so that E is, Z exists, and the tails are those of b.

Not guaranteed: that repeated rows do not win. If equal rows lie in different folds, narrow kernels
gain weight; spread values over their cells first (``data.dequantise=true``). Z is estimated, with
an interval; where the effective sample size is below 100 there is none.

References:
    | Linearly combining density estimators via stacking (Smyth and Wolpert, 1999)
    | Generalized energy based models (Arbel, Zhou and Gretton, 2021)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energies.network_energy import NetworkEnergy
from ..energy import require_event_shape
from ..networks.dense import Multilayer
from ..walkers import effective_sample_size
from .marginals import fit_marginals, from_normal, to_normal
from .mixtures import (
    Mixture,
    fit_mixture,
    mixture_exponents,
    mixture_samples,
    shrunk_covariance,
)

__all__ = ["LearntStack", "StackedEnergy"]

FOLDS, FEW_ROWS = 5, 1000
"""The folds of cross-validation, and the rows from which one fold is enough."""

ROWS_PER_COMPONENT = 8
"""The rows that a component of a mixture needs, on average."""

SMALLEST = 1e-3
"""The weight below which an expert is left out; a single Gaussian always stays."""

POOL, MIN_EFFECTIVE = 20_000, 100
"""The samples of b that estimate Z, and the effective sample size without which they do not."""

FEW = 1000
"""The rows of a table whose penalty is doubled."""

FARTHEST = 5.0
"""The bound on the input of the network, in standard deviations."""

METROPOLIS_STEPS = 30
"""The proposals from b in the sampling of a row."""

CHUNK = 2048
"""The rows whose kernels are computed at once."""


class Expert(NamedTuple):
    """An expert of the stack.

    Attributes:
        normal: Whether its columns were made almost normal.
        components: The components of a mixture; 0 for kernels.
        bandwidth: The width of the kernels, in units of the covariance of all rows.
    """

    normal: bool
    components: int
    bandwidth: float = 0.0


class Kernels(NamedTuple):
    """Gaussian kernels of several widths at the same centres.

    Attributes:
        centres: The centres, whitened, shape (N, D).
        log_weights: The logarithms of the weights of the widths, shape (H,).
        bandwidths: The widths, shape (H,).
    """

    centres: Float[Tensor, "N D"]
    log_weights: Float[Tensor, " H"]
    bandwidths: Float[Tensor, " H"]


class LearntStack(nn.Module):
    r"""An energy on top of a stack of densities. Before `initialise` the stack is N(0, I).

    Arguments:
        experts: The experts.
        dimensions: The number of columns D.
        network: The energy E, of bounded rows.
        gradient_penalty: The weight :math:`\lambda` of the penalty.
        noise_factor: The samples of b in an update over the rows of data.

    Example:
        >>> rows = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> energy = StackedEnergy().build((2,), 0)
        >>> energy.initialise(rows, torch.Generator().manual_seed(0))
        >>> grid = torch.cartesian_prod(torch.linspace(-6, 6, 121), torch.linspace(-6, 6, 121))
        >>> round(float((-energy(grid)).exp().sum() * 0.1**2), 3)  # the integral of the density
        1.0
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        dimensions: int,
        network: nn.Module,
        gradient_penalty: float = 0.1,
        noise_factor: int = 4,
    ) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.event_shape = (dimensions,)
        self.network = network
        self.gradient_penalty, self.noise_factor = gradient_penalty, noise_factor
        self._pool: Tensor | None = None
        empty = torch.zeros(0)
        self.register_buffer("rows", torch.zeros(()))
        self.register_buffer("marginals", torch.zeros(4, dimensions))
        self.register_buffer("centre", torch.zeros(dimensions))
        self.register_buffer("whiten", torch.eye(dimensions))
        one, none = self.whiten[None], self.whiten[None][:0]
        self._set_mixture("plain", Mixture(empty.new_zeros(1), self.centre[None], one))
        self._set_mixture("normal", Mixture(empty, self.centre[None][:0], none))
        self._set_kernels(Kernels(self.centre[None][:0], empty, empty))
        self.eval()

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x) = E(x) - \log b(x)`, shape (N,)."""
        require_event_shape(x, self.event_shape)
        return self.relative_energy(x) - self.log_density(x)

    def log_density(self, x: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`\log b(x)` of the stack, shape (N,), in nats."""
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat([self._stack(part) for part in x.split(CHUNK)])

    def relative_energy(self, x: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`E(x)`, shape (N,)."""
        e: Tensor = self.network(self._bounded(x))
        return e

    def log_partition(self) -> Float[Tensor, ""]:
        r"""Returns the estimate of :math:`\log Z` from a pool of samples, with its graph.

        The pool is drawn once and takes no part in training.
        """
        if self._pool is None or self._pool.device != self.centre.device:
            rng = torch.Generator().manual_seed(0)
            self._pool = self._bounded(self.stack_samples(POOL, rng))
        log_w: Tensor = -self.network(self._pool).double()
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
            self.log_partition()
            effective = float(effective_sample_size(-self.network(self._pool).double()))
        if effective < MIN_EFFECTIVE:
            return math.nan
        return 1.96 * math.sqrt(max(1 / effective - 1 / POOL, 0.0))

    def likelihood_loss(
        self, x: Float[Tensor, "N D"], rng: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        r"""Returns the loss of one update, shape (), and metrics to log.

        Arguments:
            x: A batch of training rows, shape (N, D).
            rng: Determines the samples of b and the points of the penalty.
        """
        with torch.no_grad():
            y = self._bounded(self.stack_samples(len(x) * self.noise_factor, rng))
            x = self._bounded(x)
        e = self.network(torch.cat([x, y]))
        at_data, at_stack = e[: len(x)], e[len(x) :]
        log_mean = torch.logsumexp(-at_stack, 0) - math.log(len(y))
        share = torch.rand((len(x), 1), generator=rng, device=rng.device).to(x)
        points = (share * x + (1 - share) * y[: len(x)]).requires_grad_()
        (slope,) = torch.autograd.grad(self.network(points).sum(), points, create_graph=True)
        squares = slope.square().sum(1).mean()
        gain = -at_data.mean() - log_mean
        loss = self.gradient_penalty * (1 + FEW / self.rows.clamp_min(1)) * squares - gain
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
        x = self.stack_samples(n, rng)
        e = self.relative_energy(x)
        for _ in range(METROPOLIS_STEPS if bool((e != e[:1]).any()) else 0):
            y = self.stack_samples(n, rng)
            proposed = self.relative_energy(y)
            u = torch.rand(n, generator=rng, device=rng.device).to(e)
            accepted = u.log() < e - proposed
            x, e = torch.where(accepted[:, None], y, x), torch.where(accepted, proposed, e)
        return x

    @torch.no_grad()
    def stack_samples(self, n: int, rng: torch.Generator) -> Float[Tensor, "n D"]:
        """Returns n exact samples of b, shape (n, D)."""
        plain, normal, kernels = self._mixture("plain"), self._mixture("normal"), self._kernels()
        parts = (plain.log_shares, normal.log_shares, kernels.log_weights)
        edges = torch.cat(parts).double().exp().cumsum(0)
        u = torch.rand(n, generator=rng, device=rng.device, dtype=torch.float64).to(edges.device)
        number = torch.searchsorted(edges / edges[-1], u).clamp(max=len(edges) - 1)
        x, first = self.centre.new_zeros(n, *self.event_shape), 0
        samplers = (self._plain_samples, self._normal_samples, self._kernel_samples)
        for part, sampler in zip(parts, samplers, strict=True):
            inside = (number >= first) & (number < first + len(part))
            if bool(inside.any()):
                x[inside] = sampler(number[inside] - first, rng)
            first += len(part)
        return x

    @torch.no_grad()
    def initialise(
        self,
        train: Float[Tensor, "N D"],
        rng: torch.Generator,
    ) -> None:
        """Fits the experts and their weights, in place.

        Arguments:
            train: The training rows, shape (N, D).
            rng: Determines the folds and the starts of EM.
        """
        x, seed = train.double(), rng.initial_seed()
        experts = [e for e in self.experts if e.components <= max(1, len(x) / ROWS_PER_COMPONENT)]
        order = torch.randperm(len(x), generator=rng, device=rng.device).to(x.device)
        folds = order.tensor_split(min(FOLDS, len(x)))
        log_p = []
        for fold in folds if len(x) < FEW_ROWS else folds[:1]:
            inside = torch.ones(len(x), dtype=torch.bool, device=x.device)
            inside[fold] = False
            fits = _Fits(x[inside], seed)
            log_p.append(torch.stack([fits.log_density(e, x[fold]) for e in experts], 1))
        weights = _stacked_weights(torch.cat(log_p))
        plainest = experts.index(Expert(normal=False, components=1))
        weights[plainest] = weights[plainest].clamp_min(SMALLEST)
        weights = torch.where(weights >= SMALLEST, weights, 0)
        self._keep(_Fits(x, seed), experts, weights / weights.sum())
        self.rows, self._pool = self.rows.new_tensor(float(len(x))), None

    def _keep(self, fits: _Fits, experts: list[Expert], weights: Tensor) -> None:
        """Sets the buffers to the experts that have a weight."""
        like = self.centre
        self.marginals = fits.marginals.to(like)
        self.centre, self.whiten = fits.centre.to(like), fits.whiten.to(like)
        log_weights, parts = weights.log(), {True: [], False: []}
        kernels = []
        for expert, log_weight in zip(experts, log_weights, strict=True):
            if not bool(log_weight.isfinite()):
                continue
            if expert.components:
                mixture = fits.mixture(expert)
                log_shares = mixture.log_shares - torch.logsumexp(mixture.log_shares, 0)
                weighted = mixture._replace(log_shares=log_shares + log_weight)
                parts[expert.normal].append(weighted)
            else:
                kernels.append((float(log_weight), expert.bandwidth))
        for normal, name in ((True, "normal"), (False, "plain")):
            if parts[normal]:
                joined = (
                    torch.cat(tensors).to(like) for tensors in zip(*parts[normal], strict=True)
                )
                self._set_mixture(name, Mixture(*joined))
            else:
                self._set_mixture(name, Mixture(*(t[:0] for t in self._mixture(name))))
        log_width, widths = zip(*kernels, strict=True) if kernels else ((), ())
        centres = fits.white.to(like) if kernels else like.new_zeros(0, len(like))
        self._set_kernels(Kernels(centres, like.new_tensor(log_width), like.new_tensor(widths)))

    def _stack(self, x: Tensor) -> Tensor:
        """The log-density of the stack."""
        plain, normal, kernels = self._mixture("plain"), self._mixture("normal"), self._kernels()
        total = torch.logsumexp(mixture_exponents(x, plain), 1)
        if not len(normal.means) and not len(kernels.centres):
            return total
        z, log_volume = to_normal(x, self.marginals)
        terms = [mixture_exponents(z, normal)] if len(normal.means) else []
        if len(kernels.centres):
            white = (z - self.centre) @ self.whiten.T
            log_p = _kernel_log_densities(white, kernels.centres, kernels.bandwidths)
            terms.append(log_p + kernels.log_weights + self._log_whiten())
        return torch.logaddexp(total, torch.logsumexp(torch.cat(terms, 1), 1) + log_volume)

    def _bounded(self, x: Tensor) -> Tensor:
        """The input of the network: whitened normal columns, bounded."""
        z, _ = to_normal(x, self.marginals)
        return FARTHEST * torch.tanh((z - self.centre) @ self.whiten.T / FARTHEST)

    def _log_whiten(self) -> Tensor:
        return self.whiten.diagonal().log().sum()

    def _plain_samples(self, component: Tensor, rng: torch.Generator) -> Tensor:
        return mixture_samples(self._mixture("plain"), component, rng)

    def _normal_samples(self, component: Tensor, rng: torch.Generator) -> Tensor:
        z = mixture_samples(self._mixture("normal"), component, rng)
        return from_normal(z, self.marginals)

    def _kernel_samples(self, width: Tensor, rng: torch.Generator) -> Tensor:
        kernels = self._kernels()
        size = (len(width),)
        row = torch.randint(len(kernels.centres), size, generator=rng, device=rng.device)
        centres = kernels.centres[row.to(width.device)]
        noise = torch.randn(centres.shape, generator=rng, device=rng.device).to(centres)
        return self._unwhitened(centres + kernels.bandwidths[width][:, None] * noise)

    def _unwhitened(self, white: Tensor) -> Tensor:
        solved = torch.linalg.solve_triangular(self.whiten, white.T, upper=False).T
        return from_normal(solved + self.centre, self.marginals)

    def _set_mixture(self, name: str, mixture: Mixture) -> None:
        for field_name, tensor in mixture._asdict().items():
            self.register_buffer(f"{name}_{field_name}", tensor.clone())

    def _mixture(self, name: str) -> Mixture:
        return Mixture(*(getattr(self, f"{name}_{field_name}") for field_name in Mixture._fields))

    def _set_kernels(self, kernels: Kernels) -> None:
        for field_name, tensor in kernels._asdict().items():
            self.register_buffer(f"kernel_{field_name}", tensor.clone())

    def _kernels(self) -> Kernels:
        return Kernels(*(getattr(self, f"kernel_{field_name}") for field_name in Kernels._fields))

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        *arguments: Any,  # noqa: ANN401
    ) -> None:
        """Gives the buffers, whose sizes depend on the rows, those of a checkpoint."""
        for name, buffer in list(self.named_buffers(recurse=False)):
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape[1:] == buffer.shape[1:]:
                self.register_buffer(name, buffer.new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *arguments)  # type: ignore[no-untyped-call]


class _Fits:
    """Experts that are fitted to rows when they are asked for."""

    def __init__(self, x: Tensor, seed: int) -> None:
        self.x, self.seed = x, seed
        self.marginals = fit_marginals(x)
        self.z, _ = to_normal(x, self.marginals)
        self.centre = self.z.mean(0)
        factor = torch.linalg.cholesky(shrunk_covariance(self.z))
        eye = torch.eye(len(factor), dtype=x.dtype, device=x.device)
        self.whiten = torch.linalg.solve_triangular(factor, eye, upper=False)
        self.white = (self.z - self.centre) @ self.whiten.T
        self.mixtures: dict[Expert, Mixture] = {}

    def mixture(self, expert: Expert) -> Mixture:
        """The mixture of an expert."""
        if expert not in self.mixtures:
            rows = self.z if expert.normal else self.x
            self.mixtures[expert] = fit_mixture(rows, expert.components, self.seed)
        return self.mixtures[expert]

    def log_density(self, expert: Expert, x: Tensor) -> Tensor:
        """The log-density of rows under an expert."""
        z, log_volume = to_normal(x, self.marginals) if expert.normal else (x, 0.0)
        if expert.components:
            return torch.logsumexp(mixture_exponents(z, self.mixture(expert)), 1) + log_volume
        white, width = (z - self.centre) @ self.whiten.T, x.new_tensor([expert.bandwidth])
        log_p = _kernel_log_densities(white, self.white, width)[:, 0]
        return log_p + log_volume + self.whiten.diagonal().log().sum()


def _kernel_log_densities(x: Tensor, centres: Tensor, bandwidths: Tensor) -> Tensor:
    """The log-density of rows under kernels of each width, shape (N, H)."""
    squares = x.square().sum(1)[:, None] - 2 * x @ centres.T + centres.square().sum(1)
    squares = squares.clamp_min(0)
    sums = [torch.logsumexp(-squares / (2 * width**2), 1) for width in bandwidths]
    constants = x.shape[1] * (bandwidths.log() + math.log(2 * math.pi) / 2) + math.log(len(centres))
    return torch.stack(sums, 1) - constants


def _stacked_weights(log_p: Tensor, iterations: int = 300) -> Tensor:
    """The weights of experts, shape (J,), under which rows are likeliest, by EM."""
    rows, experts = log_p.shape
    weights = log_p.new_full((experts,), 1 / experts)
    for _ in range(iterations):
        share = torch.softmax(log_p + weights.log(), 1).sum(0)
        weights = (share + SMALLEST) / (rows + SMALLEST * experts)
    return weights


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
        >>> round(float(energy(torch.zeros(1, 11))) - 11 / 2 * math.log(2 * math.pi), 4)
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
        return LearntStack(experts, event_shape[0], network, penalty, noise)
