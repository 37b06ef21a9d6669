r"""The witness: weighted walkers that track log Z while an energy learns, without affecting it.

Walkers that start as exact samples of the initial energy and follow its updates
(:mod:`boltzwalk.smc.reweighting`) track :math:`\log Z`, and with it the likelihood of held-out
rows, for any training method,

.. math:: -\log p_\theta(x) = U_\theta(x) / T + \log Z_\theta .

They do not influence the parameters, so their mean weight is an unbiased estimate of Z at every
update. They form independent replicates, whose spread gives the interval.

The estimate is refused, as that of an evaluation is, where its half-width exceeds a nat, and from
the update on at which the effective sample size of a replicate fell below a twentieth of its
walkers: a few walkers then carry all the weight, all replicates are too low alike, and their spread
does not show it. The log has nan in its place.

Not guaranteed: a small interval. If the energy changes faster than the walkers follow, their
weights degenerate; more walkers, more steps, or a smaller learning rate help.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.exact import exact_samples
from ..energy import Energy
from ..kernels import Kernel, require_weighable
from ..walkers import Walkers, cat, effective_sample_size, log_mean_weight, walkers_at
from .intervals import LEAST_SHARE, student_t_interval
from .resampling import ResamplingScheme, require_ess_threshold, resample_below
from .reweighting import move_and_reweight

__all__ = ["Witness"]

CHUNK = 1024
"""The number of walkers evaluated at once at the start."""

TOLERANCE = 1.0
"""The half-width in nats above which log Z is refused."""


@dataclass(frozen=True)
class Witness:
    """Settings of the walkers that track log Z during training.

    Arguments:
        walkers: The number of walkers, a multiple of the replicates; 0 for no witness.
        replicates: The number of independent replicates.
        steps: The number of steps of the method's kernel after every update.
        threshold: The share of a replicate below which its effective sample size triggers
            resampling, in (0, 1].
        resampling: The resampling scheme.

    Raises:
        ValueError: If the walkers do not make replicates of equal size, or the threshold is
            outside (0, 1].

    Example:
        >>> from boltzwalk.energies.composed import GaussianReference
        >>> from boltzwalk.kernels import MALA
        >>> first = GaussianReference(lambda x: 0 * x.sum(1), scale=1.0)
        >>> rng = torch.Generator().manual_seed(0)
        >>> witness = Witness(walkers=800)
        >>> walkers = witness.init(MALA(0.1), first, torch.zeros(1, 2), rng)
        >>> narrower = GaussianReference(lambda x: x.square().sum(1) / 8, scale=1.0)
        >>> walkers, info = witness.step(MALA(0.1), narrower, walkers, rng)
        >>> round(float(info["witness_log_z"]), 1)  # log(2π / 1.25) = 1.61
        1.6
    """

    walkers: int = 0
    replicates: int = 8
    steps: int = 1
    threshold: float = 0.5
    resampling: ResamplingScheme = "systematic"

    def __post_init__(self) -> None:
        require_ess_threshold(self.threshold)
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
        r"""Returns exact samples of the initial energy, with Z as their mean weight.

        The last entry of their memory is the smallest effective sample size of their replicate so
        far, as a share.

        Arguments:
            kernel: The kernel of the run; only its temperature is used.
            energy: The initial energy.
            data: Rows with the event shape, dtype and device of the walkers, shape (M, \*event).
            rng: The random generator.

        Raises:
            ValueError: If log Z of the energy is not known, or the kernel has no weights.
        """
        require_weighable(kernel)
        x, log_z = exact_samples(energy, self.walkers, data, rng, kernel.temperature)
        share = torch.ones(len(x), dtype=torch.float64, device=x.device)
        # In float32 thousands of increments would lose the digits that small steps add.
        log_w = torch.full_like(share, log_z)
        parts = zip(x.split(CHUNK), log_w.split(CHUNK), share.split(CHUNK), strict=True)
        return cat(*(walkers_at(energy, c, w, (s,)) for c, w, s in parts))

    def step(
        self, kernel: Kernel, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, dict[str, Tensor]]:
        """Follows an update of the energy; returns the walkers and the metrics of log Z.

        Where log Z is refused, it and its half-width are nan.

        Arguments:
            kernel: The kernel.
            energy: The energy after the update.
            walkers: The walkers, evaluated under the energy before the update.
            rng: The random generator.

        Raises:
            FloatingPointError: If no walker of a replicate has a finite weight.
        """
        *memory, lowest = walkers.memory
        walkers = dataclasses.replace(walkers, memory=tuple(memory))
        walkers = move_and_reweight(kernel, energy, walkers, self.steps, rng).walkers
        blocks = walkers.log_w.reshape(self.replicates, -1)
        share = effective_sample_size(blocks) / blocks.shape[1]
        lowest = torch.minimum(lowest.reshape(blocks.shape), share[:, None])
        estimate, half_width = student_t_interval(log_mean_weight(blocks))
        if not half_width <= TOLERANCE or not float(lowest.min()) >= LEAST_SHARE:
            estimate = half_width = math.nan
        info = {
            "witness_log_z": torch.as_tensor(estimate, dtype=torch.float64),
            "witness_half_width": torch.as_tensor(half_width, dtype=torch.float64),
            "witness_ess": share.min(),
        }
        walkers = dataclasses.replace(walkers, memory=(*walkers.memory, lowest.flatten()))
        walkers, _ = resample_below(walkers, self.threshold, rng, self.resampling, self.replicates)
        return walkers, info
