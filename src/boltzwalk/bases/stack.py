r"""A stack of densities, fitted without gradients: a base with a density.

.. math:: b(x) = \sum_j w_j\, p_j(x)

The experts :math:`p_j` are Gaussian mixtures of several sizes and Gaussian kernels of several
widths, of the columns as they are and of columns that were made almost normal
(:mod:`.marginals`). Their weights are those under which rows that an expert was not fitted to are
likeliest: *stacking*, by cross-validation, or, where rows are many, by a fifth of them. EM solves
this convex problem. The stack is hardly ever worse than its best expert, and often better.

Equal rows are in one fold, so that copies gain no weight for narrow kernels. Not guaranteed: the
same of rows that are nearly equal, such as rounded values; spread them over their cells
(``data.dequantise=true``).

References:
    | Linearly combining density estimators via stacking (Smyth and Wolpert, 1999)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .conditioning import ConditionalGaussians
from .marginals import from_normal, to_normal, to_normal_entries
from .mixtures import Mixture, mixture_exponents, mixture_samples
from .stack_fit import Expert, Fits, cross_validated_weights, kernel_log_densities

__all__ = ["Stack"]

ROWS_PER_COMPONENT = 8
"""The rows that a component of a mixture needs, on average."""

CHUNK = 2048
"""The rows whose kernels are computed at once."""


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


class Stack(nn.Module):
    r"""A stack of densities. Before `fit` it is N(0, I).

    Arguments:
        experts: The experts.
        dimensions: The number of columns D.

    Example:
        >>> rows = torch.randn(200, 1, generator=torch.Generator().manual_seed(0)).exp()
        >>> experts = [Expert(normal=False, components=1), Expert(normal=True, components=2)]
        >>> stack = Stack(experts, 1)
        >>> stack.fit(rows, torch.Generator().manual_seed(0))
        >>> grid = torch.linspace(-20, 60, 40_001)[:, None]
        >>> round(float(stack.log_density(grid).exp().sum() * 0.002), 3)  # its integral
        1.0
    """

    rows: Tensor
    marginals: Tensor
    centre: Tensor
    whiten: Tensor

    def __init__(self, experts: Sequence[Expert], dimensions: int) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.dimensions = dimensions
        empty = torch.zeros(0)
        self.register_buffer("rows", torch.zeros(()))
        self.register_buffer("marginals", torch.zeros(4, dimensions))
        self.register_buffer("centre", torch.zeros(dimensions))
        self.register_buffer("whiten", torch.eye(dimensions))
        one, none = self.whiten[None], self.whiten[None][:0]
        self._set_mixture("plain", Mixture(empty.new_zeros(1), self.centre[None], one))
        self._set_mixture("normal", Mixture(empty, self.centre[None][:0], none))
        self._set_kernels(Kernels(self.centre[None][:0], empty, empty))

    def log_density(self, x: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`\log b(x)` of the stack, shape (N,), in nats."""
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat([self._log_density(part) for part in x.split(CHUNK)])

    def whitened(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Returns rows of almost normal columns, uncorrelated, shape (N, D)."""
        z, _ = to_normal(x, self.marginals)
        return (z - self.centre) @ self.whiten.T

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n D"]:
        """Returns n exact samples of b, shape (n, D)."""
        plain, normal, kernels = self._mixture("plain"), self._mixture("normal"), self._kernels()
        parts = (plain.log_shares, normal.log_shares, kernels.log_weights)
        edges = torch.cat(parts).double().exp().cumsum(0)
        u = torch.rand(n, generator=rng, device=rng.device, dtype=torch.float64).to(edges.device)
        number = torch.searchsorted(edges / edges[-1], u).clamp(max=len(edges) - 1)
        x, first = self.centre.new_zeros(n, self.dimensions), 0
        samplers = (self._plain_samples, self._normal_samples, self._kernel_samples)
        for part, sampler in zip(parts, samplers, strict=True):
            inside = (number >= first) & (number < first + len(part))
            if bool(inside.any()):
                x[inside] = sampler(number[inside] - first, rng)
            first += len(part)
        return x

    @torch.no_grad()
    def completions(
        self, x: Float[Tensor, "N D"], visible: Bool[Tensor, " D"], rng: torch.Generator
    ) -> Callable[[], Tensor]:
        """Returns a function that draws rows of the stack with given visible entries.

        Arguments:
            x: The rows, shape (N, D).
            visible: The visible entries, the same in all rows, shape (D,).
            rng: The source of noise.
        """
        plain, normal, kernels = self._mixture("plain"), self._mixture("normal"), self._kernels()
        covariance = _covariances(self.whiten[None])
        z, slopes = to_normal_entries(x, self.marginals)
        parts = [(plain.means, _covariances(plain.whiten), plain.log_shares, False)]
        if len(normal.means):
            parts.append((normal.means, _covariances(normal.whiten), normal.log_shares, True))
        log_n = math.log(max(1, len(kernels.centres)))
        for log_weight, width in zip(kernels.log_weights, kernels.bandwidths, strict=True):
            white = torch.linalg.solve_triangular(self.whiten, kernels.centres.T, upper=False).T
            shares = (log_weight - log_n).expand(len(white))
            parts.append((white + self.centre, width**2 * covariance, shares, True))
        given = [ConditionalGaussians(*part[:3], visible) for part in parts]
        log_volume = slopes[:, visible].sum(1, keepdim=True)
        log_weights = [
            g.log_weights((z if is_normal else x)[:, visible]) + (log_volume if is_normal else 0)
            for g, (*_, is_normal) in zip(given, parts, strict=True)
        ]
        weights = torch.softmax(torch.cat(log_weights, 1), 1)
        ends = torch.tensor([0, *(w.shape[1] for w in log_weights)]).cumsum(0)

        def propose() -> Tensor:
            number = torch.multinomial(weights.cpu(), 1, generator=rng)[:, 0].to(x.device)
            y = x.clone()
            for i, g in enumerate(given):
                inside = (number >= ends[i]) & (number < ends[i + 1])
                if not bool(inside.any()):
                    continue
                is_normal = parts[i][3]
                row = (z if is_normal else x)[inside].clone()
                row[:, ~visible] = g.sample(row[:, visible], number[inside] - ends[i], rng)
                back = from_normal(row, self.marginals) if is_normal else row
                y[inside] = torch.where(visible, x[inside], back)
            return y

        return propose

    @torch.no_grad()
    def fit(
        self,
        train: Float[Tensor, "N D"],
        rng: torch.Generator,
    ) -> None:
        """Fits the experts and their weights, in place.

        Arguments:
            train: The training rows, shape (N, D).
            rng: Determines the folds and the starts of EM.
        """
        x, most = train.double(), max(1, len(train) / ROWS_PER_COMPONENT)
        experts = [expert for expert in self.experts if expert.components <= most]
        weights = cross_validated_weights(x, experts, rng)
        self._keep(Fits(x, rng.initial_seed()), experts, weights)
        self.rows = self.rows.new_tensor(float(len(x)))

    def _keep(self, fits: Fits, experts: list[Expert], weights: Tensor) -> None:
        """Sets the buffers to the experts that have a weight."""
        like = self.centre
        self.marginals = fits.marginals.to(like)
        self.centre, self.whiten = fits.centre.to(like), fits.whiten.to(like)
        log_weights = weights.log()
        parts: dict[bool, list[Mixture]] = {True: [], False: []}
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

    def _log_density(self, x: Tensor) -> Tensor:
        """The log-density of the stack."""
        plain, normal, kernels = self._mixture("plain"), self._mixture("normal"), self._kernels()
        total = torch.logsumexp(mixture_exponents(x, plain), 1)
        if not len(normal.means) and not len(kernels.centres):
            return total
        z, log_volume = to_normal(x, self.marginals)
        terms = [mixture_exponents(z, normal)] if len(normal.means) else []
        if len(kernels.centres):
            white = (z - self.centre) @ self.whiten.T
            log_p = kernel_log_densities(white, kernels.centres, kernels.bandwidths)
            terms.append(log_p + kernels.log_weights + self._log_whiten())
        return torch.logaddexp(total, torch.logsumexp(torch.cat(terms, 1), 1) + log_volume)

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
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _covariances(whiten: Tensor) -> Tensor:
    """The covariances whose inverse Cholesky factors are given."""
    eye = torch.eye(whiten.shape[-1], dtype=whiten.dtype, device=whiten.device)
    factor: Tensor = torch.linalg.solve_triangular(whiten, eye.expand_as(whiten), upper=False)
    return factor @ factor.transpose(1, 2)
