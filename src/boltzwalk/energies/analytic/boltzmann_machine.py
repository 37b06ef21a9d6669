r"""The restricted Boltzmann machine with Gaussian visible and binary hidden units.

.. math:: U(x) = \tfrac12 |x - b|^2 - \sum_{j=1}^H \log \big( 1 + e^{c_j + W_j \cdot x} \big) .

Summed over the hidden states it is a mixture of :math:`2^H` Gaussians of variance one, one for
each hidden state :math:`h \in \{0, 1\}^H`,

.. math:: e^{-U(x)} = \sum_h e^{c \cdot h} \, e^{- |x - b|^2 / 2 + h \cdot W x} , \qquad
    \log Z = \frac d2 \log 2\pi + \log \sum_h
        e^{\, c \cdot h + b \cdot W^\top h + |W^\top h|^2 / 2} ,

with the means :math:`b + W^\top h`. Up to :math:`H = 20` the sum over all hidden states is
feasible, so this is an energy with the form of a network, many modes at unplanned positions, and a
known :math:`\log Z`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...energy import require_event_shape

__all__ = ["BoltzmannMachine"]

MAX_HIDDEN = 20
CHUNK = 2**16
"""The number of hidden states held in memory at once."""


@dataclass(frozen=True)
class BoltzmannMachine:
    r"""A restricted Boltzmann machine whose log Z is summed over all hidden states.

    Attributes:
        weights: The rows :math:`W_j`, H tuples of d numbers, H from 1 to 20.
        visible: The visible bias :math:`b`, one number or one for each coordinate.
        hidden: The hidden bias :math:`c`, one number or one for each hidden unit.

    Raises:
        ValueError: If there is no row or more than 20, or the lengths do not agree.

    References:
        | Information processing in dynamical systems: foundations of harmony theory (Smolensky,
          1986)
        | On the quantitative analysis of deep belief networks (Salakhutdinov and Murray, 2008),
          for log Z of such machines by annealed importance sampling

    Example:
        >>> machine = BoltzmannMachine(weights=((3.0, 4.0),))
        >>> round(machine.log_z, 4), machine.mean.tolist()  # log 2π + log(1 + exp(25 / 2))
        (14.3379, [2.999..., 3.999...])
    """

    weights: tuple[tuple[float, ...], ...]
    visible: float | tuple[float, ...] = 0.0
    hidden: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        lengths = sorted({len(row) for row in self.weights})
        if len(lengths) != 1 or lengths[0] == 0 or len(self.weights) > MAX_HIDDEN:
            raise ValueError(
                f"weights must be 1 to {MAX_HIDDEN} rows of equal length, one for each hidden "
                f"unit, got {len(self.weights)} rows of lengths {lengths}"
            )
        for name, n in (("visible", self.dim), ("hidden", len(self.weights))):
            bias = getattr(self, name)
            if isinstance(bias, tuple) and len(bias) != n:
                raise ValueError(f"{name} must be one number or {n} numbers, got {len(bias)}")

    @classmethod
    def spins(
        cls, dim: int, units: int, strength: float, tilt: float = 0.3, seed: int = 0
    ) -> BoltzmannMachine:
        r"""Random weights, and biases with which no hidden state is preferred by far.

        With :math:`s = h - \frac12` the masses are those of an Ising model,
        :math:`\propto e^{s^\top W W^\top s / 2 + t \cdot s}`: opposite states weigh the same but
        for the tilt.

        Arguments:
            dim: The dimension d.
            units: The number of hidden units H.
            strength: The typical length of a row :math:`W_j`, which is how far apart the modes
                are, in standard deviations.
            tilt: The standard deviation of the tilt t.
            seed: The seed of the parameters.
        """
        rng = torch.Generator().manual_seed(seed)
        normal = functools.partial(torch.randn, generator=rng, dtype=torch.float64)
        w = strength / math.sqrt(dim) * normal(units, dim)
        visible, t = normal(dim), tilt * normal(units)
        hidden = t - w @ visible - (w @ w.t()).sum(1) / 2
        rows = tuple(tuple(row) for row in w.tolist())
        return cls(rows, tuple(visible.tolist()), tuple(hidden.tolist()))

    @property
    def dim(self) -> int:
        """The number of visible units d."""
        return len(self.weights[0])

    def __call__(self, x: Float[Tensor, "N dim"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, (self.dim,))
        w, b, c = self._parameters(x.dtype, x.device)
        log_sums = torch.nn.functional.softplus(torch.addmm(c, x, w.t()))
        return (x - b).square().sum(1) / 2 - log_sums.sum(1)

    def energy_and_grad(
        self, x: Float[Tensor, "N dim"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N dim"]]:
        r"""Returns :math:`U(x)`, shape (N,), and :math:`\nabla U(x)`, shape (N, dim)."""
        require_event_shape(x, (self.dim,))
        w, b, c = self._parameters(x.dtype, x.device)
        inputs, offset = torch.addmm(c, x, w.t()), x - b
        u = offset.square().sum(1) / 2 - torch.nn.functional.softplus(inputs).sum(1)
        return u, torch.addmm(offset, inputs.sigmoid(), w, alpha=-1)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n dim"]:
        """Returns n exact samples, shape (n, dim)."""
        cumulative = self._log_masses.softmax(0).cumsum(0).to(rng.device)
        u = torch.rand(n, generator=rng, device=rng.device, dtype=cumulative.dtype) * cumulative[-1]
        state = torch.searchsorted(cumulative, u).clamp(max=len(cumulative) - 1)
        z = torch.randn(n, self.dim, generator=rng, device=rng.device)
        w, b, _ = self._parameters(z.dtype, z.device)
        return z + b + self._bits(state).to(z) @ w

    @property
    def log_z(self) -> float:
        r""":math:`\log Z`, exact."""
        return self.dim / 2 * math.log(2 * math.pi) + float(self._log_masses.logsumexp(0))

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        r""":math:`b + W^\top \mathbb E[h]`, shape (dim,)."""
        return self._moments[0].to(torch.get_default_dtype())

    @property
    def variance(self) -> Float[Tensor, " dim"]:
        r""":math:`1 + \operatorname{Var}[W^\top h]`, shape (dim,)."""
        return self._moments[1].to(torch.get_default_dtype())

    @functools.cached_property
    def _log_masses(self) -> Float[Tensor, " states"]:
        """The logarithm of the contribution of each hidden state to Z; float64 on the CPU."""
        w, b, c = self._parameters(torch.float64, torch.device("cpu"))
        with torch.inference_mode(False):
            parts = []
            for states in torch.arange(2 ** len(self.weights), device="cpu").split(CHUNK):
                h = self._bits(states)
                shift = h @ w
                parts.append(h @ c + shift @ b + shift.square().sum(1) / 2)
            return torch.cat(parts)

    @functools.cached_property
    def _moments(self) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
        """Mean and variance in float64, from the covariance of the hidden units."""
        w, b, _ = self._parameters(torch.float64, torch.device("cpu"))
        with torch.inference_mode(False):
            masses = self._log_masses.softmax(0)
            first, second = b.new_zeros(len(w)), b.new_zeros(len(w), len(w))
            states = torch.arange(len(masses), device="cpu").split(CHUNK)
            for index, mass in zip(states, masses.split(CHUNK), strict=True):
                h = self._bits(index)
                first += mass @ h
                second += h.t() @ (mass[:, None] * h)
            covariance = second - first[:, None] * first
            return b + first @ w, 1 + ((covariance @ w) * w).sum(0)

    def _bits(self, states: Tensor) -> Float[Tensor, "N H"]:
        """Hidden states from their numbers: unit j is bit j."""
        bits = torch.arange(len(self.weights), device=states.device)
        return (states[:, None] >> bits & 1).double()

    def _parameters(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """W, b and c in the dtype and on the device of the walkers, made once."""
        key = (dtype, device)
        if key not in self._cache:
            with torch.inference_mode(False):
                w = torch.tensor(self.weights, dtype=dtype, device=device)
                b = torch.tensor(self.visible, dtype=dtype, device=device).expand(self.dim)
                c = torch.tensor(self.hidden, dtype=dtype, device=device).expand(len(w))
            self._cache[key] = (w, b, c)
        return self._cache[key]

    @functools.cached_property
    def _cache(self) -> dict[tuple[torch.dtype, torch.device], tuple[Tensor, ...]]:
        return {}
