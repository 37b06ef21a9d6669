r"""Compositions of energies: a temperature, a product of densities, a Gaussian reference.

Each is a module that registers the networks among its parts; parts may be plain callables as well.
Gradients come from the parts by :func:`~boltzwalk.energy.energy_and_grad`, so a part with a closed
form keeps it.

A fitted Gaussian reference is

.. math:: U(x) = f(x) + \tfrac12 \big| L^{-1} (x - m) \big|^2 , \qquad
    L L^\top = \mathrm{Cov}[x] + \sigma^2 I , \qquad
    \log Z_{f = 0} = \tfrac d2 \log 2 \pi + \log \det L ,

with the mean m and the covariance of the data, blurred by noise of deviation :math:`\sigma`. The
network then learns the difference from a Gaussian, and walkers start as samples of the Gaussian,
nearer to the data than any isotropic start: by tens of nats on small images.
"""

from __future__ import annotations

import functools
import math
import operator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energy import Energy, energy_and_grad

__all__ = ["FittedReference", "GaussianReference", "Product", "Tempered"]


class Tempered(nn.Module):
    r"""The energy :math:`U(x) / T`: flatter than :math:`U` for a temperature T > 1.

    Arguments:
        energy: The energy :math:`U`.
        temperature: The temperature :math:`T`, positive.

    Raises:
        ValueError: If the temperature is not positive.

    Example:
        >>> Tempered(lambda x: x.square().sum(1), temperature=2.0)(torch.tensor([[2.0]])).item()
        2.0
    """

    def __init__(self, energy: Energy, temperature: float) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(
                f"temperature must be positive, got {temperature}; for T -> 0 use a kernel "
                "of noiseless descent"
            )
        self.energy = energy
        self.temperature = temperature

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x) / T`, shape (N,)."""
        return self.energy(x) / self.temperature

    def energy_and_grad(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
        r"""Returns :math:`U/T`, shape (N,), and :math:`\nabla U / T`, shape (N, \*event)."""
        u, grad = energy_and_grad(self.energy, x)
        return u / self.temperature, grad / self.temperature

    def extra_repr(self) -> str:
        """The hyper-parameter, for `repr`."""
        return f"temperature={self.temperature}"


class Product(nn.Module):
    r"""The energy :math:`\sum_k U_k(x)` of a product of densities.

    Arguments:
        energies: The energies :math:`U_k`, one or more.

    Raises:
        ValueError: If there is none.

    Example:
        >>> half = lambda x: x.square().sum(1) / 2
        >>> Product(half, half)(torch.tensor([[3.0]])).item()
        9.0
    """

    def __init__(self, *energies: Energy) -> None:
        super().__init__()
        if not energies:
            raise ValueError("a product must have one or more energies, got none")
        self.energies = energies
        self.networks = nn.ModuleList(e for e in energies if isinstance(e, nn.Module))

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        """Returns the sum of the energies, shape (N,)."""
        return functools.reduce(operator.add, (energy(x) for energy in self.energies))

    def energy_and_grad(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
        r"""Returns the sums of the energies, shape (N,), and of the gradients, (N, \*event)."""
        pairs = [energy_and_grad(energy, x) for energy in self.energies]
        us, grads = zip(*pairs, strict=True)
        return functools.reduce(operator.add, us), functools.reduce(operator.add, grads)


class GaussianReference(nn.Module):
    r"""The energy :math:`U(x) + |x|^2 / 2s^2`: a density relative to an isotropic Gaussian.

    The reference confines the walkers. If U starts at zero, :math:`\log Z` is known:
    :math:`\frac{d}{2} \log 2 \pi s^2`.

    Arguments:
        energy: The energy :math:`U`.
        scale: The standard deviation :math:`s` of the reference, positive.

    Raises:
        ValueError: If the scale is not positive.

    Example:
        >>> GaussianReference(lambda x: x.sum(1), scale=0.5)(torch.tensor([[2.0]])).item()
        10.0
    """

    def __init__(self, energy: Energy, scale: float) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(
                f"scale must be positive, got {scale}; for no reference use the energy alone"
            )
        self.energy = energy
        self.scale = scale

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x) + |x|^2 / 2s^2`, shape (N,)."""
        return self.energy(x) + (x / self.scale).square().flatten(1).sum(1) / 2

    def energy_and_grad(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
        r"""Returns the energies, shape (N,), and the gradients, shape (N, \*event)."""
        u, grad = energy_and_grad(self.energy, x)
        z = x / self.scale
        return u + z.square().flatten(1).sum(1) / 2, grad + z / self.scale

    def sample_reference(
        self, n: int, rng: torch.Generator, temperature: float, like: Tensor
    ) -> tuple[Float[Tensor, "n *event"], float]:
        r"""Returns n samples of the reference at a temperature, and its log Z."""
        shape, width = (n, *like.shape[1:]), self.scale * math.sqrt(temperature)
        x = torch.randn(shape, generator=rng, dtype=like.dtype, device=like.device)
        log_z = math.prod(like.shape[1:]) / 2 * math.log(2 * math.pi * width**2)
        return width * x, log_z

    def extra_repr(self) -> str:
        """The hyper-parameter, for `repr`."""
        return f"scale={self.scale}"


class FittedReference(nn.Module):
    r"""The energy :math:`U(x) + |L^{-1}(x - m)|^2 / 2`: a density relative to a fitted Gaussian.

    Arguments:
        energy: The energy :math:`U`.
        data: The rows to fit, shape (M, \*event).
        blur: The deviation :math:`\sigma` of the noise added to them, positive. It bounds
            the curvature of the reference by :math:`1 / \sigma^2`.

    Raises:
        ValueError: If the blur is not positive, or there are fewer than two rows.

    Example:
        >>> data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> energy = FittedReference(lambda x: 0 * x.sum(1), data, blur=0.5)
        >>> energy(torch.tensor([[0.0, 1.0]])).item()
        2.0
    """

    mean: Tensor
    factor: Tensor
    precision: Tensor

    def __init__(self, energy: Energy, data: Float[Tensor, "M *event"], blur: float) -> None:
        super().__init__()
        if not blur > 0 or len(data) < 2:
            raise ValueError(
                "a fitted reference needs blur > 0 and two rows of data or more, got "
                f"blur={blur} and {len(data)} rows; write a blur of the size of the data's noise"
            )
        self.energy = energy
        rows = data.detach().flatten(1).double()
        mean = rows.mean(0)
        covariance = (rows - mean).t() @ (rows - mean) / len(rows)
        covariance += blur**2 * torch.eye(len(mean), dtype=rows.dtype, device=rows.device)
        factor = torch.linalg.cholesky(covariance)
        self.register_buffer("mean", mean.reshape(data.shape[1:]).to(data.dtype))
        self.register_buffer("factor", factor.to(data.dtype))
        self.register_buffer("precision", torch.cholesky_inverse(factor).to(data.dtype))

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x) + |L^{-1}(x - m)|^2 / 2`, shape (N,)."""
        return self.energy(x) + self._reference(x)[0]

    def energy_and_grad(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
        r"""Returns the energies, shape (N,), and the gradients, shape (N, \*event)."""
        u, grad = energy_and_grad(self.energy, x)
        reference, force = self._reference(x)
        return u + reference, grad + force

    def sample_reference(
        self, n: int, rng: torch.Generator, temperature: float, like: Tensor
    ) -> tuple[Float[Tensor, "n *event"], float]:
        r"""Returns n samples of the reference at a temperature, and its log Z."""
        d = len(self.factor)
        z = torch.randn(n, d, generator=rng, dtype=self.factor.dtype, device=self.factor.device)
        x = self.mean + math.sqrt(temperature) * (z @ self.factor.t()).reshape(n, *self.mean.shape)
        log_det = float(self.factor.diagonal().double().log().sum())
        return x, d / 2 * math.log(2 * math.pi * temperature) + log_det

    def _reference(
        self, x: Float[Tensor, "N *event"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
        """Returns the energy of the reference and its gradient, by one matrix product."""
        with torch.autocast(x.device.type, enabled=False):
            offset = (x - self.mean).flatten(1)
            force = offset @ self.precision
            return (offset * force).sum(1) / 2, force.reshape(x.shape)
