r"""Weighted walkers along a path of energies, from one whose log Z is known to one where it is not.

At every stage of a path (:mod:`boltzwalk.smc.path`), :math:`0 = \beta_0 < \dots < \beta_T = 1`,
walkers are reweighted where they stand, and then moved by steps that leave
:math:`e^{-U_{\beta_t}}` invariant,

.. math:: \log w \leftarrow \log w + (\beta_t - \beta_{t-1}) \, (U_0(x) - U_1(x)) .

Along a schedule that was fixed beforehand, with exact samples of the reference at the start, the
mean weight is an unbiased estimate of :math:`Z_1 / Z_0`, however bad the moves are and whether or
not walkers are resampled on the way. Without resampling this is annealed importance sampling, with
it a sequential Monte Carlo sampler. Backwards along the same schedule, from samples of the target,
it is an unbiased estimate of :math:`Z_0 / Z_1`; the two err on opposite sides.

Not guaranteed: a small variance. Where the moves do not mix, few walkers carry all the weight, and
what none of them found does not show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..walkers import Walkers, effective_sample_size
from .path import Path, Stage
from .resampling import resample_below

__all__ = ["Annealed", "Schedule", "anneal"]


@dataclass(frozen=True, eq=False)
class Schedule:
    r"""A path that is fixed: what every stage does, from the start to the end.

    Walkers start as samples of the first stage, which is otherwise not visited.

    Attributes:
        stages: The stages.

    Raises:
        ValueError: If there are fewer than two.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if len(self.stages) < 2:
            raise ValueError(
                f"a schedule needs a start and an end, got {len(self.stages)} stages; write "
                "Schedule((Stage(0.0, (), scale), Stage(1.0, (0.5,), scale)))"
            )

    @property
    def betas(self) -> tuple[float, ...]:
        r"""The :math:`\beta_t`."""
        return tuple(stage.beta for stage in self.stages)

    def reversed(self) -> Schedule:
        """The same stages in the opposite order."""
        return Schedule(self.stages[::-1])


class Annealed(NamedTuple):
    r"""Walkers at the end of a schedule.

    Attributes:
        walkers: The walkers, evaluated under the last energy. The mean weight of a replicate
            estimates the ratio of the last Z to the first.
        share: The smallest effective sample size of a replicate on the way, as a share of it.
        acceptance: The mean acceptance of every step of every stage.
        evaluations: How often the energy of a walker was taken, with or without its gradient.
    """

    walkers: Walkers
    share: float
    acceptance: tuple[list[float], ...]
    evaluations: int


def anneal(
    path: Path,
    x: Float[Tensor, "N *event"],
    schedule: Schedule,
    rng: torch.Generator,
    replicates: int = 1,
    threshold: float | None = 0.5,
) -> Annealed:
    r"""Carries walkers along a fixed schedule and weighs them.

    Arguments:
        path: The energies.
        x: Samples of the first energy of the schedule, shape (N, \*event): consecutive replicates
            of equal size.
        schedule: What every stage does.
        rng: The source of the noise.
        replicates: The number of independent replicates.
        threshold: The share of a replicate that its effective sample size must reach or be
            resampled, in (0, 1]; None to never resample.

    Raises:
        FloatingPointError: If an energy is nan or minus infinity at a walker, or every walker of a
            replicate has an infinite energy.
        ValueError: If the walkers do not make replicates of equal size.

    References:
        | Annealed importance sampling (Neal, 2001)
        | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)

    Example:
        >>> from boltzwalk.energies.analytic import Gaussian
        >>> rng = torch.Generator().manual_seed(0)
        >>> wide, narrow = Gaussian(1), Gaussian(1, scale=0.5)
        >>> schedule = Schedule(tuple(Stage(b / 5, (1.0,), torch.ones(1)) for b in range(6)))
        >>> annealed = anneal(Path(wide, narrow), wide.sample(2000, rng), schedule, rng)
        >>> round(annealed.walkers.log_w.exp().mean().item(), 1)
        0.5
    """
    if len(x) == 0 or len(x) % replicates:
        raise ValueError(
            f"walkers must make {replicates} replicates of equal size, got {len(x)}; write "
            f"sample({128 * replicates}, rng)"
        )
    log_w, share, acceptance = x.new_zeros(len(x), dtype=torch.float64), 1.0, []
    for old, new in zip(schedule.stages, schedule.stages[1:], strict=False):
        ends = path.ends(x)
        log_w = log_w + (new.beta - old.beta) * ends.difference
        blocks = log_w.reshape(replicates, -1)
        least = float(effective_sample_size(blocks).min()) / blocks.shape[1]
        if math.isnan(least):
            raise FloatingPointError(
                f"every walker of a replicate has an infinite energy at beta = {new.beta:.3g}; "
                "start from a reference that lies where the energy is finite"
            )
        share = min(share, least)
        walkers = ends.mixed(x, log_w, new.beta)
        if threshold is not None:
            walkers, _ = resample_below(walkers, threshold, rng, replicates=replicates)
        walkers, accepted = path.move(walkers, new, rng)
        x, log_w = walkers.x, walkers.log_w
        acceptance.append(accepted)
    evaluations = len(x) * sum(1 + stage.gradients for stage in schedule.stages[1:])
    return Annealed(walkers, share, tuple(a.tolist() for a in acceptance), evaluations)
