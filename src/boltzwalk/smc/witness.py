r"""A witness: weighted walkers that follow an energy while it learns, and take no part in it.

Whatever trains the energy, walkers that start as exact samples of the first one and follow its
updates (:mod:`boltzwalk.smc.reweighting`) carry :math:`\log Z` along, and with it the likelihood of
held-out rows,

.. math:: -\log p_\theta(x) = U_\theta(x) / T + \log Z_\theta .

They do not steer the parameters, so their mean weight is an unbiased estimate of Z at every update.
They are kept in independent replicates, whose spread gives the interval.

Not guaranteed: a small interval. An energy that changes faster than the walkers follow wears out
their weights; more walkers, more steps, or a slower learning rate help.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.exact import exact_samples
from ..energy import Energy
from ..kernels import Kernel, refuse_weights
from ..walkers import Walkers, cat, effective_sample_size, evaluate, log_mean_weight
from .intervals import combine
from .resampling import Scheme, require_threshold, resample_below
from .reweighting import follow

__all__ = ["Witness"]

AT_ONCE = 1024
"""Walkers that are evaluated at once at the start."""


@dataclass(frozen=True)
class Witness:
    """Walkers that watch a training run.

    Arguments:
        walkers: The number of walkers, a multiple of the replicates; 0 for no witness.
        replicates: The number of independent replicates.
        steps: The number of steps of the method's own kernel after every update.
        threshold: The share of a replicate that its effective sample size must reach, in (0, 1];
            below it the replicate is resampled.
        resampling: The scheme of resampling.

    Raises:
        ValueError: If the walkers do not make replicates of equal size, or the threshold is
            outside (0, 1].

    Example:
        >>> from boltzwalk.energies.composed import GaussianReference
        >>> from boltzwalk.kernels import MALA
        >>> first = GaussianReference(lambda x: 0 * x.sum(1), scale=1.0)
        >>> rng = torch.Generator().manual_seed(0)
        >>> witness = Witness(walkers=800)
        >>> seen = witness.init(MALA(0.1), first, torch.zeros(1, 2), rng)
        >>> narrower = GaussianReference(lambda x: x.square().sum(1) / 8, scale=1.0)
        >>> seen, info = witness.step(MALA(0.1), narrower, seen, rng)
        >>> round(float(info["witness_log_z"]), 1)  # log(2π / 1.25) = 1.61
        1.6
    """

    walkers: int = 0
    replicates: int = 8
    steps: int = 1
    threshold: float = 0.5
    resampling: Scheme = "systematic"

    def __post_init__(self) -> None:
        require_threshold(self.threshold)
        if self.replicates < 2:
            raise ValueError(f"replicates must be >= 2, got {self.replicates}; 8 are usual")
        if self.steps < 0:
            raise ValueError(f"steps must be >= 0, got {self.steps}; 1 is usual")
        if self.walkers < 0 or self.walkers % self.replicates:
            raise ValueError(
                f"walkers must be a multiple of the {self.replicates} replicates, got "
                f"{self.walkers}; write walkers={128 * self.replicates}, or 0 for no witness"
            )

    def init(
        self,
        kernel: Kernel,
        energy: Energy,
        data: Float[Tensor, "M *event"],
        rng: torch.Generator,
    ) -> Walkers:
        r"""Returns exact samples of the energy before it learns, whose mean weight is Z.

        Arguments:
            kernel: How they will move; says the temperature.
            energy: The energy.
            data: Says the event shape, type and device, shape (M, \*event).
            rng: The source of the noise.

        Raises:
            ValueError: If log Z of the energy is not known, or the kernel has no weights.
        """
        refuse_weights(kernel)
        x, log_z = exact_samples(energy, self.walkers, data, rng, kernel.temperature)
        parts = x.split(AT_ONCE)
        return cat(*(evaluate(energy, part, x.new_full((len(part),), log_z)) for part in parts))

    def step(
        self, kernel: Kernel, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, dict[str, Tensor]]:
        """Follows an update of the energy; returns the walkers and what they say of log Z.

        Arguments:
            kernel: How they move.
            energy: The energy after the update.
            walkers: The walkers, evaluated under the energy before it.
            rng: The source of the noise.

        Raises:
            FloatingPointError: If no walker of a replicate has a finite weight any more.
        """
        walkers = follow(kernel, energy, walkers, self.steps, rng).walkers
        blocks = walkers.log_w.reshape(self.replicates, -1)
        interval = combine(log_mean_weight(blocks))
        info = {
            "witness_log_z": torch.as_tensor(interval.estimate),
            "witness_half_width": torch.as_tensor(interval.half_width),
            "witness_ess": effective_sample_size(blocks).min() / blocks.shape[1],
        }
        walkers, _ = resample_below(walkers, self.threshold, rng, self.resampling, self.replicates)
        return walkers, info
