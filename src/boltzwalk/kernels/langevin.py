r"""Overdamped Langevin kernels.

Both take the Euler step of the diffusion :math:`dx = -\nabla U\,dt + \sqrt{2 T}\,dB` as proposal,

.. math:: q(y \mid x) = \mathcal{N}(y \mid x - \varepsilon \nabla U(x),\, 2 \varepsilon T I) .

:class:`MALA` accepts or rejects it and leaves :math:`\exp(-U / T)` invariant. :class:`ULA` always
accepts it. :func:`langevin_log_ratio` serves both: it is the Metropolis-Hastings ratio of MALA when
one energy evaluated both ends, and the Jarzynski increment of ULA when the energy was updated in
between.

Not guaranteed: ULA samples its target only up to a bias of order :math:`\varepsilon` (variance
:math:`1 / (1 - \varepsilon / 2)` on a standard normal), and diverges where :math:`\varepsilon` is
too large for the curvature; its walkers then become infinite or nan, which the log shows.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy
from ..kernel import StepInfo, accept, event_sum, require_positive, unadjusted_info
from ..walkers import Walkers, walkers_at

__all__ = ["MALA", "ULA", "langevin_log_ratio", "langevin_proposal", "noise_temperature"]


@dataclass(frozen=True)
class ULA:
    r"""Unadjusted Langevin algorithm.

    Published training scripts add a gradient clip or a box. With either of them the walkers have no
    known target and no weights; MALA needs neither.

    Arguments:
        step_size: The step :math:`\varepsilon`; the noise has variance :math:`2 \varepsilon T`.
        temperature: The temperature :math:`T`.
        gradient_clip: Every component of :math:`\nabla U` is clamped to :math:`\pm c` before it is
            multiplied by :math:`\varepsilon`. The cached gradient stays unclipped.
        box: The interval (low, high) to which every component of x is clamped after the move.

    Raises:
        ValueError: If the step, the temperature or the clip is not positive, or the box is empty.

    References:
        | Exponential convergence of Langevin distributions (Roberts and Tweedie, 1996)

    Example:
        >>> from boltzwalk.walkers import walkers_at
        >>> energy = lambda x: x.square().sum(-1) / 2
        >>> walkers = walkers_at(energy, torch.zeros(4, 2))
        >>> walkers, info = ULA(0.1).step(energy, walkers, torch.Generator().manual_seed(0))
        >>> walkers.x.shape, info.accepted
        (torch.Size([4, 2]), tensor([True, True, True, True]))
    """

    step_size: float
    temperature: float = 1.0
    gradient_clip: float | None = None
    box: tuple[float, float] | None = None

    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check("ULA", self.step_size, self.temperature)
        if self.gradient_clip is not None:
            instead = "gradient_clip=None for the exact gradient"
            require_positive("ULA", "gradient_clip", self.gradient_clip, instead)
        if self.box is not None and not self.box[0] < self.box[1]:
            raise ValueError(
                f"ULA needs a box (low, high) with low < high, got {self.box}; write "
                "box=(-1.0, 1.0), or box=None for no box"
            )

    @property
    def weighable(self) -> bool:
        """Whether the density of the move is known: true without clip and box."""
        return self.gradient_clip is None and self.box is None

    @property
    def drift(self) -> float:
        """The distance that a unit gradient moves a walker in a step."""
        return self.step_size

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Moves every walker to its proposal."""
        start = walkers
        if self.gradient_clip is not None:
            clipped = walkers.grad.clamp(-self.gradient_clip, self.gradient_clip)
            start = dataclasses.replace(walkers, grad=clipped)
        y = langevin_proposal(start, self.step_size, self.temperature, rng)
        if self.box is not None:
            y = y.clamp_(*self.box)
        return walkers_at(energy, y, walkers.log_w), unadjusted_info(walkers)


@dataclass(frozen=True)
class MALA:
    r"""Metropolis-adjusted Langevin algorithm. Leaves :math:`\exp(-U / T)` invariant.

    Arguments:
        step_size: The step :math:`\varepsilon`; the noise has variance :math:`2 \varepsilon T`.
        temperature: The temperature :math:`T`.

    Raises:
        ValueError: If the step or the temperature is not positive.

    References:
        | Exponential convergence of Langevin distributions (Roberts and Tweedie, 1996)
        | Optimal scaling of discrete approximations to Langevin diffusions (Roberts and
          Rosenthal, 1998), for the acceptance of 0.574

    Example:
        >>> MALA(0.1, temperature=0.5)
        MALA(step_size=0.1, temperature=0.5)
    """

    step_size: float
    temperature: float = 1.0

    gradients: ClassVar[int] = 1
    invariant: ClassVar[bool] = True
    weighable: ClassVar[bool] = True
    target_acceptance: ClassVar[float] = 0.574

    def __post_init__(self) -> None:
        _check("MALA", self.step_size, self.temperature)

    @property
    def drift(self) -> float:
        """The distance that a unit gradient moves a walker in a step."""
        return self.step_size

    def step(
        self, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, StepInfo]:
        """Draws a proposal for every walker, then accepts or rejects it."""
        y = langevin_proposal(walkers, self.step_size, self.temperature, rng)
        proposal = walkers_at(energy, y, walkers.log_w)
        log_ratio = langevin_log_ratio(walkers, proposal, self.step_size, self.temperature)
        return accept(walkers, proposal, log_ratio, rng)


def langevin_proposal(
    walkers: Walkers, step_size: float, temperature: float, rng: torch.Generator
) -> Float[Tensor, "N *event"]:
    r"""Draws :math:`y \sim q(\cdot \mid x)` from the cached gradient, shape (N, \*event)."""
    x = walkers.x
    noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    y = torch.add(x, walkers.grad, alpha=-step_size)
    return y.add_(noise, alpha=math.sqrt(2 * step_size * temperature))


def langevin_log_ratio(
    old: Walkers, new: Walkers, step_size: float, temperature: float = 1.0
) -> Float[Tensor, " N"]:
    r"""Returns the log-ratio of the reversed move to the move, for each walker, shape (N,).

    .. math:: \frac{U(x) - U'(y)}{T} + \log q'(x \mid y) - \log q(y \mid x) ,

    where :math:`U` evaluated `old` at x and :math:`U'` evaluated `new` at y. With one energy this
    is the Metropolis-Hastings ratio, with two the Jarzynski increment of the log-weight. The
    squares of the two Gaussians cancel, and the remainder loses no digits at small steps,

    .. math:: \frac1T \Big[ U(x) - U'(y)
        + \tfrac12 (\nabla U + \nabla U') \cdot
          \big( y - x + \tfrac\varepsilon2 (\nabla U - \nabla U') \big) \Big] .

    Arguments:
        old: The walkers before the move.
        new: The walkers after the move.
        step_size: The step :math:`\varepsilon` of the move.
        temperature: The temperature :math:`T` of the move.

    Example:
        >>> from boltzwalk.walkers import walkers_at
        >>> flat = lambda x: 0 * x.sum(-1)
        >>> old, new = walkers_at(flat, torch.zeros(2, 3)), walkers_at(flat, torch.ones(2, 3))
        >>> langevin_log_ratio(old, new, 0.1)
        tensor([0., 0.])
    """
    path = (new.x - old.x).add_(old.grad - new.grad, alpha=step_size / 2)
    work = event_sum(path.mul_(old.grad + new.grad))
    return (old.energy - new.energy).add_(work, alpha=0.5) / temperature


def noise_temperature(step_size: float, noise: float) -> float:
    r"""Returns the temperature of a Langevin step with a separate noise scale.

    Published scripts write :math:`x - \varepsilon \nabla U(x) + \sigma \xi` with a separate
    :math:`\sigma`: a Langevin step at :math:`T = \sigma^2 / 2 \varepsilon`.

    Arguments:
        step_size: The factor :math:`\varepsilon` of the gradient.
        noise: The standard deviation :math:`\sigma` of the noise.

    Raises:
        ValueError: If the step or the noise is not positive.

    Example:
        >>> ULA(1.0, temperature=noise_temperature(step_size=1.0, noise=0.01))
        ULA(step_size=1.0, temperature=5e-05, gradient_clip=None, box=None)
    """
    require_positive("noise_temperature", "step_size", step_size, "step_size=1.0")
    require_positive("noise_temperature", "noise", noise, "Descent(step_size) for no noise")
    return noise**2 / (2 * step_size)


def _check(kernel: str, step_size: float, temperature: float) -> None:
    """Raises unless both hyper-parameters of a Langevin kernel are positive."""
    require_positive(kernel, "step_size", step_size, f"{kernel}(step_size=0.01)")
    require_positive(
        kernel, "temperature", temperature, "temperature=1.0, or Descent(step_size) for no noise"
    )
