r"""Coordinates in which a density is close to a standard normal one.

A smooth bijection :math:`x = T(z)` turns an energy :math:`U` of x into one of z,

.. math:: V(z) = U(T(z)) - \log |\det J_T(z)| , \qquad \int e^{-V(z)} dz = \int e^{-U(x)} dx ,

so that log Z is the same for both. If T was fitted to samples, they are close to
:math:`\mathcal N(0, I)` in z: a reference whose log Z is known, and a scale for the steps of a
kernel.

The bijection fitted here is affine, :math:`T(z) = m + L z`, with the mean m of the samples and the
Cholesky factor L of their covariance S, shrunk towards its diagonal,

.. math:: \Sigma = (1 - a) S + a \operatorname{diag} S , \qquad a = \frac{d}{d + n} ,

or with the standard deviations alone where there are fewer than 5 samples per dimension.

Not guaranteed: that the fitted Gaussian covers the density. It covers only regions with samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..energy import Energy, energy_and_grad

__all__ = ["AffineMap", "Bijection", "PulledBackEnergy", "fit_affine"]

# In more dimensions a factor of d² numbers costs more than the energy.
LARGEST_FACTOR = 512
# A coordinate within CONSTANT units in the last place of its largest value counts as constant, and
# gets the share NARROWEST of the typical width. One whose deviation is below DIGITS of them has too
# few digits for a density.
CONSTANT, DIGITS, NARROWEST = 2, 8, 1e-2


@runtime_checkable
class Bijection(Protocol):
    r"""A bijection :math:`x = T(z)` of z, shape (N, d), to x, shape (N, \*event)."""

    def to_x(self, z: Tensor, /) -> tuple[Tensor, Tensor]:
        r"""Returns :math:`T(z)`, shape (N, \*event), and :math:`\log |\det J_T(z)|`, (N,)."""

    def to_z(self, x: Tensor, /) -> Tensor:
        r"""Returns :math:`T^{-1}(x)`, shape (N, d)."""

    def pull_back(self, energy: Energy, z: Tensor, /) -> tuple[Tensor, Tensor]:
        r"""Returns :math:`V(z)`, shape (N,), and :math:`\nabla V(z)`, shape (N, d)."""


@dataclass(frozen=True, eq=False)
class AffineMap:
    r"""The affine bijection :math:`T(z) = m + L z`.

    Attributes:
        location: m, with the shape of an event.
        factor: L, lower triangular with a positive diagonal, shape (d, d); or the diagonal of a
            diagonal matrix, shape (d,).

    Example:
        >>> doubling = AffineMap(torch.ones(2), torch.full((2,), 2.0))
        >>> doubling.to_x(torch.ones(1, 2))
        (tensor([[3., 3.]]), tensor([1.3863]))
    """

    location: Float[Tensor, "*event"]
    factor: Float[Tensor, "d d"] | Float[Tensor, " d"]

    def to_x(
        self, z: Float[Tensor, "N d"]
    ) -> tuple[Float[Tensor, "N *event"], Float[Tensor, " N"]]:
        r"""Returns :math:`m + L z`, shape (N, \*event), and :math:`\log \det L`, shape (N,)."""
        scaled = z * self.factor if self.factor.ndim == 1 else z @ self.factor.t()
        x = scaled.reshape(-1, *self.location.shape) + self.location
        return x, self._log_det.expand(len(z))

    def to_z(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, "N d"]:
        r"""Returns :math:`L^{-1} (x - m)`, shape (N, d)."""
        centred = (x - self.location).flatten(1)
        if self.factor.ndim == 1:
            return centred / self.factor
        z: Tensor = torch.linalg.solve_triangular(self.factor, centred.t(), upper=False)
        return z.t()

    def pull_back(
        self, energy: Energy, z: Float[Tensor, "N d"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N d"]]:
        r"""Returns :math:`U(m + Lz) - \log \det L` and :math:`L^\top \nabla U(m + L z)`."""
        x, log_det = self.to_x(z)
        u, grad = energy_and_grad(energy, x)
        grad = grad.flatten(1)
        return u - log_det, grad * self.factor if self.factor.ndim == 1 else grad @ self.factor

    @property
    def _log_det(self) -> Float[Tensor, ""]:
        diagonal = self.factor if self.factor.ndim == 1 else self.factor.diagonal()
        return diagonal.log().sum()


@dataclass(frozen=True, eq=False)
class PulledBackEnergy:
    r"""The energy :math:`V(z) = U(T(z)) - \log |\det J_T(z)|`.

    Attributes:
        energy: The energy :math:`U`.
        bijection: The bijection :math:`T`.

    Example:
        >>> from boltzwalk.energies.analytic import Gaussian
        >>> wide = Gaussian(dim=1, scale=3.0)
        >>> PulledBackEnergy(wide, AffineMap(torch.zeros(1), torch.tensor([3.0])))(torch.ones(1, 1))
        tensor([-0.5986])
    """

    energy: Energy
    bijection: Bijection

    def __call__(self, z: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`V(z)`, shape (N,)."""
        x, log_det = self.bijection.to_x(z)
        return self.energy(x) - log_det

    def energy_and_grad(
        self, z: Float[Tensor, "N d"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N d"]]:
        r"""Returns :math:`V(z)`, shape (N,), and :math:`\nabla V(z)`, shape (N, d)."""
        return self.bijection.pull_back(self.energy, z)


def fit_affine(like: Float[Tensor, "N *event"]) -> AffineMap:
    r"""Fits a Gaussian to samples: :math:`\mathcal N(0, I)` in z has their mean and covariance.

    A coordinate that is constant over the samples gets a hundredth of the typical standard
    deviation.

    Arguments:
        like: The samples, shape (N, \*event), two or more.

    Raises:
        ValueError: If there are fewer than two, one is not finite, all are the same point, or a
            coordinate has too few digits.

    References:
        | A well-conditioned estimator for large-dimensional covariance matrices (Ledoit and Wolf,
          2004), for why a covariance is shrunk

    Example:
        >>> fit_affine(torch.tensor([[-3.0, 1.0], [3.0, 1.0], [3.0, 1.0], [-3.0, 1.0]])).location
        tensor([0., 1.])
    """
    if like.ndim < 2:
        raise ValueError(
            f"samples must have shape (N, *event), got {tuple(like.shape)}; write like[:, None] "
            "for N numbers"
        )
    rows = like.detach().flatten(1).double()
    n, d = rows.shape
    if n < 2 or d < 1 or not bool(rows.isfinite().all()):
        raise ValueError(
            "a Gaussian is fitted to two or more finite samples of shape (N, *event), got a "
            f"tensor of shape {tuple(like.shape)} with {int((~rows.isfinite()).sum())} entries "
            "that are not finite; write like=data[:2000]"
        )
    deviation = rows.std(0)
    typical = float(deviation.square().mean().sqrt())
    if typical == 0:
        raise ValueError(
            f"samples must differ, got {n} copies of one point; write reference=Gaussian(dim, "
            "loc, scale) to say how wide the density is"
        )
    varies = _varying(rows, deviation, torch.finfo(like.dtype).eps)
    deviation = torch.where(varies, deviation, NARROWEST * typical)
    location = rows.mean(0).reshape(like.shape[1:]).to(like)
    if d == 1 or d > LARGEST_FACTOR or n < 5 * d:
        return AffineMap(location, deviation.to(like))
    # In units of the deviations, so that coordinates of any scales have the same digits.
    standard = torch.where(varies, (rows - rows.mean(0)) / deviation, 0.0)
    correlation = standard.t() @ standard / (n - 1) * (n / (n + d))
    correlation.diagonal().fill_(1.0)
    factor = deviation[:, None] * torch.linalg.cholesky(correlation)
    return AffineMap(location, factor.to(like))


def _varying(
    rows: Float[Tensor, "N d"], deviation: Float[Tensor, " d"], eps: float
) -> Bool[Tensor, " d"]:
    """Returns which coordinates vary by more than the rounding of their type, or raises."""
    unit = eps * rows.abs().amax(0)
    varies = rows.amax(0) - rows.amin(0) > CONSTANT * unit
    coarse = varies & (deviation < DIGITS * unit)
    if bool(coarse.any()):
        entry = int(coarse.nonzero()[0])
        raise ValueError(
            f"samples must have digits to tell them apart, got entry {entry} with a standard "
            f"deviation of {float(deviation[entry]):.3g} at values near "
            f"{float(rows[:, entry].mean()):.6g}, where numbers are {float(unit[entry]):.2g} apart;"
            " subtract a constant, or use float64"
        )
    return varies
