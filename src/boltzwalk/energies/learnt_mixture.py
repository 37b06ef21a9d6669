r"""A trainable mixture of Gaussians: the smallest model with known log Z and mode masses.

.. math:: U(x) = -\log \sum_{m=1}^{M} \exp\Big(-\frac{|x - a_m|^2}{2} - z_m\Big) , \quad z_1 = 0 ,
    \qquad \log Z = \frac d2 \log 2\pi + \log \sum_m e^{-z_m} .

Mode m is a Gaussian of unit covariance around :math:`a_m`, of mass
:math:`e^{-z_m} / \sum_k e^{-z_k}`. The level :math:`z_m` is the energy at the bottom of its well,
up to the contribution of the other modes. It does not affect the forces near a mode, so a method
that learns it must estimate the mass of every mode, which walkers that never cross between modes
cannot.

The exponents share :math:`|x|^2`, so one matrix product gives all of them,

.. math:: U(x) = \frac{|x|^2}{2} - \log \sum_m e^{l_m} , \qquad
    l_m = x \cdot a_m - \frac{|a_m|^2}{2} - z_m , \qquad
    \nabla U(x) = x - \sum_m \mathrm{softmax}(l)_m\, a_m .

Not guaranteed: more accuracy than that of the sum. In float32 the error of the energy is about
:math:`10^{-7} (|x|^2 + |a|^2)`, the same as that from rounding the positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energy import require_event_shape

__all__ = ["LearntMixture", "MixtureEnergy"]


class LearntMixture(nn.Module):
    r"""A mixture of Gaussians of unit covariance with trainable means and levels.

    The trainable parameter of the levels is :math:`\zeta`, with :math:`z = \sqrt r\, \zeta`: a
    gradient step on :math:`\zeta` is one on :math:`z` at r times the learning rate.

    Arguments:
        means: The initial centres :math:`a_m`, shape (M, d).
        log_mass_rate: The factor :math:`r` on the learning rate of the levels, positive.

    Attributes:
        means: The centres :math:`a_m`, shape (M, d); trainable.
        zeta: The levels :math:`z_2, \dots, z_M` divided by :math:`\sqrt r`, shape (M-1,);
            trainable, zero at first.

    Raises:
        ValueError: If the means have another shape, or the factor is not positive.

    Example:
        >>> energy = LearntMixture(torch.tensor([[-3.0], [5.0]]))
        >>> round(energy.log_z, 4), energy.masses
        (1.6121, tensor([0.5000, 0.5000]))
    """

    def __init__(self, means: Float[Tensor, "..."], log_mass_rate: float = 1.0) -> None:
        super().__init__()
        if means.ndim != 2 or 0 in means.shape:
            raise ValueError(
                f"means must have shape (M, d), one row a mode, got {tuple(means.shape)}; write "
                "torch.zeros(2, 50) for two modes in 50 dimensions"
            )
        if not (math.isfinite(log_mass_rate) and log_mass_rate > 0):
            raise ValueError(
                f"log_mass_rate must be finite and positive, got {log_mass_rate}; write "
                "log_mass_rate=1 for the learning rate of the means"
            )
        self.log_mass_rate = log_mass_rate
        self.means = nn.Parameter(means.detach().clone())
        self.zeta = nn.Parameter(means.new_zeros(len(means) - 1))

    @property
    def levels(self) -> Float[Tensor, " M"]:
        """The levels :math:`z_m`, shape (M,), with the graph of their parameter; the first is 0."""
        return nn.functional.pad(math.sqrt(self.log_mass_rate) * self.zeta, (1, 0))

    @property
    def masses(self) -> Float[Tensor, " M"]:
        """The current masses of the modes, shape (M,); their sum is 1."""
        return torch.softmax(-self.levels.detach(), 0)

    @property
    def log_z(self) -> float:
        r"""The current :math:`\log Z`, exact."""
        modes = torch.logsumexp(-self.levels.detach().double(), 0)
        return self.means.shape[1] / 2 * math.log(2 * math.pi) + float(modes)

    def log_partition(self) -> Float[Tensor, ""]:
        r"""Returns :math:`\log Z`, shape (), with the graph of the levels."""
        volume = self.means.shape[1] / 2 * math.log(2 * math.pi)
        return torch.logsumexp(-self.levels, 0) + volume

    def forward(self, x: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        with torch.autocast(x.device.type, enabled=False):
            return x.square().sum(1) / 2 - torch.logsumexp(self._exponents(x), 0)

    @torch.no_grad()
    def energy_and_grad(
        self, x: Float[Tensor, "N d"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N d"]]:
        r"""Returns :math:`U(x)`, shape (N,), and :math:`\nabla U(x)`, shape (N, d), detached."""
        with torch.autocast(x.device.type, enabled=False):
            exponents = self._exponents(x)
            u = x.square().sum(1) / 2 - torch.logsumexp(exponents, 0)
            return u, torch.addmm(x, torch.softmax(exponents, 0).t(), self.means, alpha=-1)

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Returns n exact samples of the current mixture, shape (n, d)."""
        means, masses = self.means.to(rng.device), self.masses.to(rng.device).double()
        u = torch.rand(n, generator=rng, device=rng.device, dtype=torch.float64)
        mode = torch.searchsorted(masses.cumsum(0), u).clamp(max=len(masses) - 1)
        shape = (n, means.shape[1])
        z = torch.randn(shape, generator=rng, device=rng.device, dtype=means.dtype)
        return z + means[mode]

    def extra_repr(self) -> str:
        """The sizes and the learning-rate factor, for `repr`."""
        modes, dim = self.means.shape
        return f"modes={modes}, dim={dim}, log_mass_rate={self.log_mass_rate}"

    def _exponents(self, x: Float[Tensor, "N d"]) -> Float[Tensor, "M N"]:
        """The exponents :math:`l_m`, walkers last, which makes the sum over modes fast."""
        require_event_shape(x, (self.means.shape[1],))
        offset = self.means.square().sum(1) / 2 + self.levels
        return torch.addmm(-offset.unsqueeze(1), self.means, x.t())


@dataclass(frozen=True)
class MixtureEnergy:
    r"""Settings of a trainable mixture that starts as almost one Gaussian at the origin.

    The initial means are evenly spaced from -offset to +offset on the first axis, plus noise; the
    initial levels are zero, so that all modes have the same mass.

    Attributes:
        modes: The number of modes M.
        offset: The initial distance of the outermost means from the origin.
        noise: The standard deviation of the noise of the initial means.
        log_mass_rate: The factor :math:`r` on the learning rate of the levels :math:`z_m`, exact
            for plain gradient descent. As published: 0.0125 for these, 0.0025 for the means.

    Raises:
        ValueError: If there is no mode, or a number is out of range.

    References:
        | Efficient training of energy-based models using Jarzynski equality (Carbone, Hua, Coste
        | and Vanden-Eijnden, 2023), https://arxiv.org/abs/2305.19414

    Example:
        >>> energy = MixtureEnergy(noise=0.0).build((50,), rng_seed=0)
        >>> energy, energy.means[:, 0].detach()
        (LearntMixture(modes=2, dim=50, log_mass_rate=5.0), tensor([-0.1000,  0.1000]))
    """

    modes: int = 2
    offset: float = 0.1
    noise: float = 0.01
    log_mass_rate: float = 5.0

    def __post_init__(self) -> None:
        if self.modes < 1:
            raise ValueError(f"modes must be >= 1, got {self.modes}; write energy.modes=2")
        for name in ("offset", "noise"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"{name} must be finite and >= 0, got {value}; write energy.{name}=0.1"
                )
        if not (math.isfinite(self.log_mass_rate) and self.log_mass_rate > 0):
            raise ValueError(
                f"log_mass_rate must be finite and > 0, got {self.log_mass_rate}; write "
                "energy.log_mass_rate=1 for the learning rate of the means"
            )

    def build(
        self, event_shape: tuple[int, ...], rng_seed: int, data: Tensor | None = None
    ) -> LearntMixture:
        """Returns the energy, on the CPU and in the default dtype.

        Arguments:
            event_shape: The shape of one event, (d,).
            rng_seed: The seed of the noise of the initial means.
            data: Not used.

        Raises:
            ValueError: If the events are not vectors.
        """
        if len(event_shape) != 1:
            raise ValueError(
                f"a mixture of Gaussians takes vectors, got events of shape {event_shape}; write "
                "energy=NetworkEnergy for images"
            )
        rng = torch.Generator("cpu").manual_seed(rng_seed)
        means = self.noise * torch.randn(self.modes, *event_shape, generator=rng, device="cpu")
        if self.modes > 1:
            means[:, 0] += torch.linspace(-self.offset, self.offset, self.modes, device="cpu")
        return LearntMixture(means, self.log_mass_rate)
