r"""The mixture of Gaussians: separate modes, of known masses.

.. math:: U(x) = -\log \sum_k w_k \sigma_k^{-d} \exp\Big(-\frac{|x - m_k|^2}{2\sigma_k^2}\Big) ,
    \qquad \log Z = \frac{d}{2} \log 2\pi .

With :math:`l_k` the logarithm of term k and :math:`p = \mathrm{softmax}(l)`, the gradient is
:math:`\sum_k p_k (x - m_k) / \sigma_k^2`. The :math:`l_k` come from one matrix product,

.. math:: l_k = x \cdot \frac{m_k}{\sigma_k^2} - \frac{|x|^2}{2\sigma_k^2}
    + \log \frac{w_k}{\sigma_k^d} - \frac{|m_k|^2}{2\sigma_k^2} ,

whose terms are of size :math:`|m_k|^2/\sigma_k^2` and cancel. That difference is taken in float64
and only then rounded, so that float32 walkers get energies as good as their positions. (MPS
devices have no float64.)
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...energy import require_event_shape

__all__ = ["GaussianMixture"]

# exp(-60) = 9e-27 is negligible against 1 in float64; smaller results are subnormal, 5x as slow.
NEGLIGIBLE = -60.0


@dataclass(frozen=True)
class GaussianMixture:
    r"""A mixture of isotropic Gaussians.

    Attributes:
        means: The centres :math:`m_k`, K tuples of d numbers.
        scale: The standard deviation :math:`\sigma_k`, one number or one for each mode.
        weights: The masses :math:`w_k`, positive; they are divided by their sum. Equal by default.

    Raises:
        ValueError: If there is no mode, the lengths do not agree, or a scale or a weight is not
            positive.

    Example:
        >>> target = GaussianMixture(means=((-2.0,), (3.0,)), scale=0.5, weights=(0.25, 0.75))
        >>> target.mean.tolist()
        [1.75]
    """

    means: tuple[tuple[float, ...], ...]
    scale: float | tuple[float, ...] = 1.0
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        lengths = sorted({len(mean) for mean in self.means})
        if len(lengths) != 1 or lengths[0] == 0:
            raise ValueError(
                "means must be one or more tuples of equal length, one for each mode, got lengths "
                f"{lengths}; write means=((-1.0, 0.0), (1.0, 0.0)) for two modes in the plane"
            )
        for name, values in (("scale", self._scales), ("weights", self._masses)):
            if len(values) != len(self.means) or min(values) <= 0:
                raise ValueError(
                    f"{name} must be positive, one for each of the {len(self.means)} modes, "
                    f"got {values}"
                )

    @classmethod
    def ring(
        cls, modes: int = 8, radius: float = 1.0, scale: float | tuple[float, ...] = 0.15
    ) -> GaussianMixture:
        r"""Modes of equal mass, equally spaced on a circle; the first is at (radius, 0).

        The defaults are the toy density of Nijkamp et al.

        Arguments:
            modes: The number of modes.
            radius: The radius of the circle.
            scale: The standard deviation :math:`\sigma_k`, one number or one for each mode.

        References:
            | On the Anatomy of MCMC-Based Maximum Likelihood Learning of Energy-Based Models
              (Nijkamp, Hill, Han, Zhu and Wu, 2020)
        """
        angles = [2 * math.pi * k / modes for k in range(modes)]
        return cls(tuple((radius * math.cos(a), radius * math.sin(a)) for a in angles), scale)

    @property
    def dim(self) -> int:
        """The dimension d."""
        return len(self.means[0])

    @property
    def _scales(self) -> tuple[float, ...]:
        return self.scale if isinstance(self.scale, tuple) else (self.scale,) * len(self.means)

    @property
    def _masses(self) -> tuple[float, ...]:
        return (1.0,) * len(self.means) if self.weights is None else self.weights

    def __call__(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        return -torch.logsumexp(self._log_terms(x), 0)

    def energy_and_grad(
        self, x: Float[Tensor, "N dim"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N dim"]]:
        r"""Returns :math:`U(x)`, shape (N,), and :math:`\nabla U(x)`, shape (N, dim)."""
        log_terms = self._log_terms(x)
        largest = log_terms.amax(0)
        terms = log_terms.sub_(largest).clamp_(min=NEGLIGIBLE).exp_()
        total = terms.sum(0)
        u = largest.add_(total.log()).neg_()
        pull = self._constants(x).pull
        with torch.autocast(x.device.type, enabled=False):
            force = (pull @ terms).div_(total).t()
        return u, x * force[:, -1:] - force[:, :-1]

    def _log_terms(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, "K N"]:
        """The log-terms, walkers last: sums over few modes are fastest along the first axis."""
        require_event_shape(x, (self.dim,))
        constants = self._constants(x)
        y = x.double()
        log_terms = torch.addmm(constants.offset, constants.slope, y.t())
        log_terms = torch.addr(log_terms, constants.curvature, y.square() @ constants.ones)
        return log_terms.to(x.dtype)

    def _constants(self, x: Float[Tensor, "N dim"]) -> _Constants:
        """The constants in the dtype and on the device of the walkers, made once."""
        key = (x.dtype, x.device)
        if key not in self._cache:
            with torch.inference_mode(False):
                self._cache[key] = _constants(*self._parts(), *key)
        return self._cache[key]

    @functools.cached_property
    def _cache(self) -> dict[tuple[torch.dtype, torch.device], _Constants]:
        return {}

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Returns n exact samples, shape (n, dim)."""
        means, scales, weights = (values.to(rng.device) for values in self._parts())
        u = torch.rand(n, generator=rng, device=rng.device, dtype=weights.dtype)
        mode = torch.searchsorted(weights.cumsum(0), u).clamp(max=len(weights) - 1)
        z = torch.randn(n, self.dim, generator=rng, device=rng.device)
        return means.to(z)[mode] + scales.to(z)[mode, None] * z

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The means (K, d), scales (K,) and normalised weights (K,) in float64 on the CPU."""
        means, scales, masses = (
            torch.tensor(values, dtype=torch.float64, device="cpu")
            for values in (self.means, self._scales, self._masses)
        )
        return means, scales, masses / masses.sum()

    @property
    def log_z(self) -> float:
        r""":math:`\log Z`, exact."""
        return self.dim / 2 * math.log(2 * math.pi)

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        r""":math:`\sum_k w_k m_k`, shape (dim,)."""
        means, _, weights = self._parts()
        return (weights @ means).to(torch.get_default_dtype())

    @property
    def variance(self) -> Float[Tensor, " dim"]:
        """The variance within the modes and between them, shape (dim,)."""
        means, scales, weights = self._parts()
        between = weights @ (means - weights @ means).square()
        return (weights @ scales.square() + between).to(torch.get_default_dtype())


@dataclass(frozen=True)
class _Constants:
    r"""Precomputed tensors for the hot path of a mixture.

    Attributes:
        slope: :math:`m_k / \sigma_k^2` in float64.
        curvature: :math:`-1 / 2\sigma_k^2` in float64.
        offset: The part of the log-terms that does not depend on x, in float64.
        ones: Sums squares over coordinates by a product: three times as fast as a short sum.
        pull: The slope above a row of :math:`1/\sigma_k^2`, in the dtype of the walkers.
    """

    slope: Float[Tensor, "K dim"]
    curvature: Float[Tensor, " K"]
    offset: Float[Tensor, "K 1"]
    ones: Float[Tensor, " dim"]
    pull: Float[Tensor, "dim+1 K"]


def _constants(
    means: Float[Tensor, "K dim"],
    scales: Float[Tensor, " K"],
    weights: Float[Tensor, " K"],
    dtype: torch.dtype,
    device: torch.device,
) -> _Constants:
    """Prepares the constants in float64."""
    precision = scales**-2
    slope = means * precision[:, None]
    dim = means.shape[1]
    offset = weights.log() - dim * scales.log() - (means * slope).sum(1) / 2
    return _Constants(
        slope=slope.to(device),
        curvature=(-precision / 2).to(device),
        offset=offset[:, None].to(device),
        ones=torch.ones(dim, dtype=torch.float64, device=device),
        pull=torch.cat([slope.t(), precision[None]]).to(device, dtype),
    )
