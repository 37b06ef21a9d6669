r"""Six densities in the plane, with exact samples and exact, normalised log-densities.

The divergence of a model from the true density is a mean of differences of log-densities, without
any estimate of the truth. The pinwheel is made by a twist that preserves areas, so that its density
is known; that of the two moons is an integral along the arcs, by quadrature.

Not guaranteed: that a log-density is finite. It is infinite at the centre of the rings, and minus
infinite outside the checkerboard's cells and the ends of the damped sine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "Checkerboard",
    "ConcentricRings",
    "DampedSine",
    "EightGaussians",
    "Pinwheel",
    "TwoMoons",
]

LOG_2PI = math.log(2 * math.pi)


def _require_positive(name: str, value: float) -> None:
    """Raises ValueError where a length or a count is not a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and above 0, got {value}; write {name}=1")


def _normal(x: Tensor, sd: float) -> Tensor:
    """Returns the log-density of a centred normal."""
    return -(x / sd).square() / 2 - math.log(sd) - LOG_2PI / 2


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    """Returns points in the plane, shape (N, 2)."""
    return torch.stack([radius * angle.cos(), radius * angle.sin()], -1)


def _uniform(n: int, rng: torch.Generator) -> Tensor:
    """Draws uniformly from [0, 1), shape (n,)."""
    return torch.rand(n, generator=rng, device=rng.device)


def _gauss(n: int, rng: torch.Generator) -> Tensor:
    """Draws from the standard normal, in the default type as all samples, shape (n,)."""
    return torch.randn(n, generator=rng, device=rng.device)


def _pick(n: int, count: int, rng: torch.Generator) -> Tensor:
    """Draws n of count components with equal probability, shape (n,)."""
    return torch.randint(count, (n,), generator=rng, device=rng.device)


@dataclass(frozen=True)
class EightGaussians:
    """Eight equal round Gaussians, evenly spaced on a circle, the first on the positive x-axis.

    Arguments:
        radius: The radius of the circle.
        sd: The standard deviation of each Gaussian in each coordinate.

    References:
        | On the anatomy of MCMC-based maximum likelihood learning of energy-based models
        | (Nijkamp et al., AAAI 2020), arXiv:1903.12370: radius 1, sd 0.15

    Example:
        >>> EightGaussians().sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """

    radius: float = 1.0
    sd: float = 0.15

    def __post_init__(self) -> None:
        _require_positive("radius", self.radius)
        _require_positive("sd", self.sd)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
        """Draws n points, shape (n, 2)."""
        angle = _pick(n, 8, rng) * (math.pi / 4)
        noise = torch.stack([_gauss(n, rng), _gauss(n, rng)], -1)
        return _polar(torch.full_like(angle, self.radius), angle) + self.sd * noise

    def log_density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Returns the log-density at x, shape (n,)."""
        angle = torch.arange(8).to(x) * (math.pi / 4)
        centres = _polar(torch.full_like(angle, self.radius), angle)
        log_p = _normal(x.unsqueeze(1) - centres, self.sd).sum(-1)
        return torch.logsumexp(log_p, 1) - math.log(8)


@dataclass(frozen=True)
class ConcentricRings:
    r"""Equal rings around the origin: a uniform angle and a normal radius.

    A normal radius may be negative, which means the opposite side; so at distance :math:`r`

    .. math:: p(x) = \frac{1}{2 \pi r} \frac{1}{K} \sum_k \left[ \mathcal{N}(r \mid R_k, \sigma^2)
        + \mathcal{N}(-r \mid R_k, \sigma^2) \right] .

    Arguments:
        radii: The radii :math:`R_k`.
        sd: The standard deviation :math:`\sigma` of the radius.

    References:
        | On the anatomy of MCMC-based maximum likelihood learning of energy-based models
        | (Nijkamp et al., AAAI 2020), arXiv:1903.12370: radii 1 to 4, sd 0.15

    Example:
        >>> ConcentricRings().log_density(torch.tensor([[1.0, 0.0]]))
        tensor([-2.2460])
    """

    radii: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    sd: float = 0.15

    def __post_init__(self) -> None:
        if not self.radii:
            raise ValueError("radii must hold at least one radius, got (); write radii=(1, 2)")
        for radius in self.radii:
            _require_positive("radii", radius)
        _require_positive("sd", self.sd)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
        """Draws n points, shape (n, 2)."""
        radii = torch.tensor(self.radii, device=rng.device)
        radius = radii[_pick(n, len(radii), rng)] + self.sd * _gauss(n, rng)
        return _polar(radius, 2 * math.pi * _uniform(n, rng))

    def log_density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Returns the log-density at x, shape (n,); infinite at the origin."""
        r, radii = torch.hypot(x[:, :1], x[:, 1:]), torch.tensor(self.radii).to(x)
        log_p = torch.cat([_normal(r - radii, self.sd), _normal(r + radii, self.sd)], 1)
        log_radius = torch.logsumexp(log_p, 1) - math.log(len(self.radii))
        return log_radius - LOG_2PI - r.squeeze(1).log()


@dataclass(frozen=True)
class Pinwheel:
    r"""Gaussian arms along the radius, rotated by an angle that grows with the distance.

    The twist :math:`x \mapsto R(\tau |x|)\, x` rotates each circle around the origin and preserves
    areas: its Jacobian has determinant 1. So :math:`p(x) = q(R(-\tau |x|)\, x)` with the
    mixture :math:`q` of straight arms.

    Arguments:
        arms: The number of arms.
        radius: The distance from the origin of the middle of an arm.
        radial_sd: The standard deviation along an arm.
        tangential_sd: The standard deviation across an arm.
        twist: The angle :math:`\tau` in radians by which the arms rotate from distance 0 to 1.

    Example:
        >>> Pinwheel(arms=3).sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """

    arms: int = 5
    radius: float = 2.0
    radial_sd: float = 0.6
    tangential_sd: float = 0.15
    twist: float = 0.6

    def __post_init__(self) -> None:
        for name in ("arms", "radius", "radial_sd", "tangential_sd"):
            _require_positive(name, getattr(self, name))
        if not math.isfinite(self.twist):
            raise ValueError(f"twist must be a finite angle, got {self.twist}; write twist=0.6")

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
        """Draws n points, shape (n, 2)."""
        along = self.radius + self.radial_sd * _gauss(n, rng)
        across = self.tangential_sd * _gauss(n, rng)
        arm = torch.atan2(across, along) + _pick(n, self.arms, rng) * (2 * math.pi / self.arms)
        distance = torch.hypot(along, across)
        return _polar(distance, arm + self.twist * distance)

    def log_density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Returns the log-density at x, shape (n,)."""
        arms = torch.arange(self.arms).to(x) * (2 * math.pi / self.arms)
        distance: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        angle = arms + self.twist * distance
        along = x[:, :1] * angle.cos() + x[:, 1:] * angle.sin()
        across = x[:, 1:] * angle.cos() - x[:, :1] * angle.sin()
        log_p = _normal(along - self.radius, self.radial_sd) + _normal(across, self.tangential_sd)
        return torch.logsumexp(log_p, 1) - math.log(self.arms)


@dataclass(frozen=True)
class Checkerboard:
    """Uniform on every other cell of a square board around the origin; 0 elsewhere.

    Arguments:
        cells: The number of cells along a side.
        half_width: Half the side of the board.

    Example:
        >>> Checkerboard().log_density(torch.tensor([[-1.5, -1.5], [-0.5, -1.5]]))
        tensor([-2.0794,    -inf])
    """

    cells: int = 4
    half_width: float = 2.0

    def __post_init__(self) -> None:
        _require_positive("cells", self.cells)
        _require_positive("half_width", self.half_width)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
        """Draws n points, shape (n, 2)."""
        # Cell 2k in the order of rows, moved by one in every other row if rows have even length.
        cell = 2 * _pick(n, (self.cells**2 + 1) // 2, rng)
        row = cell // self.cells
        column = cell % self.cells + (row % 2 if self.cells % 2 == 0 else 0)
        corner = torch.stack([column, row], -1)
        u = torch.stack([_uniform(n, rng), _uniform(n, rng)], -1)
        return (corner + u) * (2 * self.half_width / self.cells) - self.half_width

    def log_density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Returns the log-density at x, shape (n,); minus infinite off the occupied cells."""
        side = 2 * self.half_width / self.cells
        cell = ((x + self.half_width) / side).floor()
        inside = ((cell >= 0) & (cell < self.cells)).all(-1) & (cell.sum(-1) % 2 == 0)
        level = -math.log((self.cells**2 + 1) // 2 * side**2)
        return torch.full_like(x[:, 0], -math.inf).masked_fill(inside, level)


@dataclass(frozen=True)
class TwoMoons:
    r"""Two half circles of radius 1 that reach into each other, with round Gaussian noise.

    With the points :math:`c_m(\theta)` of moon m, the integral in

    .. math:: p(x) = \frac{1}{2 \pi} \sum_m \int_0^\pi \mathcal{N}(x \mid c_m(\theta), \sigma^2 I)
        \, d\theta

    is taken by Gauss-Legendre quadrature on panels no longer than 2 sd; in float64 its relative
    error is below 1e-6 up to a distance of 10 from the origin.

    Arguments:
        sd: The standard deviation :math:`\sigma` of the noise in each coordinate.

    Example:
        >>> TwoMoons().sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """

    sd: float = 0.1

    def __post_init__(self) -> None:
        _require_positive("sd", self.sd)

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
        """Draws n points, shape (n, 2)."""
        upper = _polar(torch.ones(n, device=rng.device), math.pi * _uniform(n, rng))
        lower = upper.new_tensor([1.0, 0.5]) - upper
        noise = torch.stack([_gauss(n, rng), _gauss(n, rng)], -1)
        is_upper = _pick(n, 2, rng).bool().unsqueeze(1)
        return torch.where(is_upper, upper, lower) + self.sd * noise

    def log_density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Returns the log-density at x, shape (n,)."""
        angle, log_weight = (t.to(x) for t in self._nodes())
        upper = _polar(torch.ones_like(angle), angle)
        centres = torch.cat([upper, upper.new_tensor([1.0, 0.5]) - upper])
        log_weight = log_weight.repeat(2) - math.log(2 * math.pi)

        def one_chunk(x: Tensor) -> Tensor:
            log_p = _normal(x.unsqueeze(1) - centres, self.sd).sum(-1)
            return torch.logsumexp(log_p + log_weight, 1)

        return torch.cat([one_chunk(chunk) for chunk in x.split(4096)])

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Returns angles in (0, pi) and the logarithms of their weights, which add up to pi."""
        panels = math.ceil(math.pi / (2 * self.sd))
        nodes, weights = np.polynomial.legendre.leggauss(16)
        angle = (np.arange(panels)[:, None] + (nodes + 1) / 2) * (math.pi / panels)
        weight = np.tile(weights * (math.pi / panels / 2), panels)
        return torch.from_numpy(angle.ravel()), torch.from_numpy(weight).log()


@dataclass(frozen=True)
class DampedSine:
    r"""A thin curve in the plane with more mass at its ends.

    With :math:`s \in [-1, 1]` of density :math:`\frac{m}{2} + (1 - m) \frac{3}{2} s^2` the point is
    :math:`(L s,\; A e^{-d (s + 1)} \sin(\pi c (s + 1)) + \sigma z)`, z standard normal.

    Arguments:
        half_length: The half length :math:`L` of the curve along the x-axis.
        amplitude: The amplitude :math:`A` at the left end.
        damping: The damping :math:`d`; the amplitude falls by a factor exp(2 d).
        cycles: The number of cycles :math:`c`.
        middle: The share :math:`m` of the mass that is spread evenly; the rest is at the ends.
        noise: The standard deviation :math:`\sigma` of the second coordinate; 0 for a bare curve,
            which has samples and no density.

    References:
        | Generalized energy based models (Arbel, Zhou and Gretton, ICLR 2021), arXiv:2003.05033,
        | figure 1, whose curve is of this kind

    Example:
        >>> DampedSine().log_density(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
        tensor([-0.9189,    -inf])
    """

    half_length: float = 2.0
    amplitude: float = 1.5
    damping: float = 0.8
    cycles: float = 2.0
    middle: float = 0.2
    noise: float = 0.05

    def __post_init__(self) -> None:
        for name in ("half_length", "amplitude", "cycles"):
            _require_positive(name, getattr(self, name))
        for name, upper in (("damping", math.inf), ("middle", 1.0), ("noise", math.inf)):
            if not 0 <= getattr(self, name) <= upper or math.isinf(getattr(self, name)):
                raise ValueError(
                    f"{name} must be finite and between 0 and {upper}, got {getattr(self, name)}; "
                    f"write {name}={getattr(DampedSine, name)}"
                )

    def curve(self, s: Tensor) -> Tensor:
        """Returns the second coordinate of the bare curve at s from -1 to 1."""
        sine = (math.pi * self.cycles * (s + 1)).sin()
        return self.amplitude * (-self.damping * (s + 1)).exp() * sine

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
        """Draws n points, shape (n, 2)."""
        even = 2 * _uniform(n, rng) - 1
        # The cube root of an even variable has the density 3/2 s^2.
        ends = even.sign() * even.abs().pow(1 / 3)
        s = torch.where(_uniform(n, rng) < self.middle, even, ends)
        return torch.stack([self.half_length * s, self.curve(s) + self.noise * _gauss(n, rng)], -1)

    def log_density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Returns the log-density at x, shape (n,); minus infinite beyond the ends.

        Raises:
            ValueError: If there is no noise, and so no density in the plane.
        """
        if self.noise == 0:
            raise ValueError(
                "noise must be above 0 for a density, got 0: the points lie on a curve, which has "
                "no area; write noise=0.05"
            )
        s = x[:, 0] / self.half_length
        log_s = (self.middle / 2 + (1 - self.middle) * 1.5 * s.square()).log()
        log_p = log_s - math.log(self.half_length) + _normal(x[:, 1] - self.curve(s), self.noise)
        return log_p.masked_fill(s.abs() > 1, -math.inf)
