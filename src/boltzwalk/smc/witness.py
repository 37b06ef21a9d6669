r"""The witness: weighted walkers that track log Z while an energy learns, without affecting it.

Walkers that start as exact samples of the initial energy and follow its updates
(:mod:`boltzwalk.smc.reweighting`) track :math:`\log Z`, and with it the likelihood of held-out
rows, for any training method,

.. math:: -\log p_\theta(x) = U_\theta(x) / T + \log Z_\theta .

They do not influence the parameters, so their mean weight is an unbiased estimate of Z at every
update. They form independent replicates, whose spread gives the interval.

Not guaranteed: a small interval. If the energy changes faster than the walkers follow, their
weights degenerate; more walkers, more steps, or a smaller learning rate help.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.exact import exact_samples
from ..energy import Energy
from ..kernels import Kernel, require_weighable
from ..walkers import Walkers, cat, effective_sample_size, log_mean_weight, walkers_at
from .intervals import combine_replicates
from .resampling import ResamplingScheme, require_ess_threshold, resample_below
from .reweighting import move_and_reweight

__all__ = ["Witness"]

CHUNK = 1024
"""The number of walkers evaluated at once at the start."""


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
        chunks = x.split(CHUNK)
        return cat(*(walkers_at(energy, c, x.new_full((len(c),), log_z)) for c in chunks))

    def step(
        self, kernel: Kernel, energy: Energy, walkers: Walkers, rng: torch.Generator
    ) -> tuple[Walkers, dict[str, Tensor]]:
        """Follows an update of the energy; returns the walkers and the metrics of log Z.

        Arguments:
            kernel: The kernel.
            energy: The energy after the update.
            walkers: The walkers, evaluated under the energy before the update.
            rng: The random generator.

        Raises:
            FloatingPointError: If no walker of a replicate has a finite weight.
        """
        walkers = move_and_reweight(kernel, energy, walkers, self.steps, rng).walkers
        blocks = walkers.log_w.reshape(self.replicates, -1)
        interval = combine_replicates(log_mean_weight(blocks))
        info = {
            "witness_log_z": torch.as_tensor(interval.estimate),
            "witness_half_width": torch.as_tensor(interval.half_width),
            "witness_ess": effective_sample_size(blocks).min() / blocks.shape[1],
        }
        walkers, _ = resample_below(walkers, self.threshold, rng, self.resampling, self.replicates)
        return walkers, info
