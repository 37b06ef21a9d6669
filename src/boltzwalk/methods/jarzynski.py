r"""Maximum likelihood with weighted walkers: Jarzynski-corrected training.

Persistent walkers lag behind an energy that learns. Here each carries the weight that makes up for
it (:mod:`boltzwalk.smc.reweighting`), so that at every update, with
:math:`\bar w = \mathrm{softmax}(\log w)`,

.. math:: \nabla_\theta \mathcal L = \mathbb E_q[\nabla_\theta U_\theta]
        - \sum_i \bar w_i \nabla_\theta U_\theta(x_i) , \qquad
    \log Z_\theta = \log Z_{\theta_0} + \log \frac1N \sum_i w_i .

One update, with n of N walkers: they follow the energy from where it was when they were picked
last; the loss takes them with their weights; where their effective sample size is too small all N
are resampled. With n = N and one ULA step this is Algorithm 1 of Carbone et al., and costs one
forward pass, one input gradient and one parameter gradient a walker. With n < N an idle walker
costs nothing: what it misses telescopes to one difference of energies, paid when it is picked
again, and an update costs n (K + 1) evaluations.

Not guaranteed:

* an unbiased log Z. These walkers also steer the parameters, which biases the log Z they carry by
  about :math:`-\sum_k \eta_k \operatorname{tr} \mathrm{Cov}(\partial_\theta U) / N`. An independent
  witness (:mod:`boltzwalk.smc.witness`) has no such bias;
* even weights. Exact weights of ULA never get more even than
  :func:`~boltzwalk.smc.reweighting.noise_floor` says; a threshold above that resamples at every
  few updates and loses modes, of which the method warns.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..data.rows import Batch
from ..energies.exact import exact_samples
from ..energy import Energy
from ..extension import KERNEL
from ..kernels import HMC, MALA, ULA, require_weighable, run_chain
from ..kernels.chain import out_of_range, relative_scale, walker_distance
from ..method import require_fields
from ..smc.resampling import ResamplingScheme, ancestors, require_ess_threshold, resample
from ..smc.reweighting import (
    ReweightedWalkers,
    move_and_reweight,
    move_and_reweight_attached,
    reweight,
    weight_noise_floor,
)
from ..walkers import Walkers, cat, effective_sample_size, log_mean_weight, put, walkers_at
from .starts import NoiseStart

__all__ = ["ExactStart", "Jarzynski", "RelaxedStart", "Weighted"]

AT_ONCE = 1024
"""Walkers that are evaluated at once where all N are: at the start and before a resampling."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """The state of the method.

    Attributes:
        walkers: All N walkers. Each is evaluated, and weighted, under the energy that it last saw.
        resamplings: How often they were resampled, shape ().
    """

    walkers: Walkers
    resamplings: Int[Tensor, ""]

    def __len__(self) -> int:
        return len(self.walkers)


@dataclass(frozen=True)
class ExactStart:
    """Walkers start as exact samples of the first energy, whose log Z is known.

    The likelihood is then absolute. An energy with a Gaussian reference that starts at zero has
    such a start (`energy.reference_scale=1.0 energy.zero_start=true`).

    Arguments:
        size: The number N of walkers.
    """

    size: int = 1000

    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_size(self.size)

    def walkers(
        self,
        kernel: ULA | MALA | HMC,
        energy: Energy,
        data: Float[Tensor, "M *event"],
        rng: torch.Generator,
    ) -> Walkers:
        """Returns walkers whose mean weight is Z."""
        x, log_z = exact_samples(energy, self.size, data, rng, kernel.temperature)
        parts = (
            walkers_at(energy, part, x.new_full((len(part),), log_z)) for part in x.split(AT_ONCE)
        )
        return cat(*parts)


@dataclass(frozen=True)
class RelaxedStart:
    """Walkers start from noise and make unweighted steps under the first energy.

    Its log Z is not known, so that the log Z of later energies is relative to it; and if the steps
    are too few, the weights are those of walkers that stood for something else.

    Arguments:
        size: The number N of walkers.
        noise: The distribution of the noise.
        steps: The number of unweighted steps.
    """

    size: int = 1000
    noise: NoiseStart = field(default_factory=NoiseStart)
    steps: int = 1000

    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _require_size(self.size)
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; write steps=1000")

    def walkers(
        self,
        kernel: ULA | MALA | HMC,
        energy: Energy,
        data: Float[Tensor, "M *event"],
        rng: torch.Generator,
    ) -> Walkers:
        """Returns walkers of mean weight 1."""
        parts = (
            walkers_at(energy, x) for x in self.noise.noise(data, self.size, rng).split(AT_ONCE)
        )
        return cat(*(run_chain(kernel, energy, part, self.steps, rng, False)[0] for part in parts))


@dataclass(frozen=True)
class Jarzynski:
    r"""Learns from the difference between data and weighted walkers.

    .. math:: \mathcal L = d + \alpha \Big(\overline{U(x^+)^2} + \sum_i \bar w_i U(x_i)^2\Big) ,
        \qquad d = \overline{U(x^+)} - \sum_i \bar w_i U(x_i) , \quad x^+ = x + \sigma \xi

    Arguments:
        start: Where the walkers start, and how many there are.
        kernel: How they move; ULA without clip and box.
        steps: The number of kernel steps K of one update.
        walkers: The number n of walkers of one update; 0 takes all.
        threshold: The share of its walkers that the effective sample size must reach, in (0, 1];
            below it they are resampled.
        resampling: The scheme of resampling.
        data_noise: The standard deviation :math:`\sigma` of the noise added to the data.
        energy_penalty: The weight :math:`\alpha` of the squared energies.
        chunk: The number of walkers that are differentiated at once, for less memory and two
            forward passes more; 0 takes all of the update.

    Raises:
        ValueError: If the kernel has no weights, the threshold is outside (0, 1], there is no step,
            or there are fewer walkers than one update takes.

    References:
        | Efficient training of energy-based models using Jarzynski equality (Carbone, Hua, Coste
        | and Vanden-Eijnden, 2023), https://arxiv.org/abs/2305.19414

    Example:
        >>> from boltzwalk.energies import NetworkEnergy
        >>> from boltzwalk.networks import Multilayer
        >>> settings = NetworkEnergy(Multilayer((8,)), reference_scale=1.0, zero_start=True)
        >>> energy, rng = settings.build((2,), 0), torch.Generator().manual_seed(0)
        >>> method, data = Jarzynski(ExactStart(100), ULA(0.1)), Batch(torch.ones(8, 2))
        >>> state = method.init(energy, data, rng)
        >>> loss, state, info = method.step(energy, data, state, rng)
        >>> loss.backward()
        >>> round(float(info["log_z"]), 1)  # log 2π and the error of 100 walkers
        1.8
    """

    start: ExactStart | RelaxedStart = field(default_factory=ExactStart)
    kernel: Annotated[ULA | MALA | HMC, KERNEL] = field(default_factory=lambda: ULA(step_size=0.01))
    steps: int = 1
    walkers: int = 0
    threshold: float = 0.5
    resampling: ResamplingScheme = "systematic"
    data_noise: float = 0.0
    energy_penalty: float = 0.0
    chunk: int = 0

    def __post_init__(self) -> None:
        require_weighable(self.kernel)
        require_ess_threshold(self.threshold)
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}; Algorithm 1 has steps=1")
        require_fields(self, {"walkers": 0, "data_noise": 0, "energy_penalty": 0, "chunk": 0})
        if self.walkers > self.start.size:
            raise ValueError(
                f"start.size must be at least the {self.walkers} walkers of one update, got "
                f"{self.start.size}; write start.size={self.walkers} or more, or walkers=0 for all"
            )

    def init(self, energy: Energy, data: Batch, rng: torch.Generator) -> Weighted:
        """Returns the first state from all training rows.

        Raises:
            ValueError: If the start is to be exact and log Z of the energy is not known.
        """
        walkers = self.start.walkers(self.kernel, energy, data.x, rng)
        return Weighted(walkers, torch.zeros((), dtype=torch.int64, device=data.x.device))

    def step(
        self,
        energy: Energy,
        data: Batch,
        state: Weighted,
        rng: torch.Generator,
    ) -> tuple[Float[Tensor, ""], Weighted, dict[str, Tensor]]:
        r"""Returns the loss, whose gradient is the update, the next state and metrics to log.

        Arguments:
            energy: The energy that learns.
            data: A batch of rows.
            state: The walkers as the last step left them.
            rng: The source of the noise.

        Raises:
            FloatingPointError: If no walker has a finite weight any more.
        """
        rows = data.x
        noise = torch.randn(rows.shape, generator=rng, dtype=rows.dtype, device=rows.device)
        positive = rows + self.data_noise * noise
        n = self.walkers or len(state)
        index = torch.randperm(len(state), generator=rng, device=rows.device)[:n]
        picked = state.walkers if n == len(state) else state.walkers[index]
        (moved, acceptance), u_walkers = self._follow(energy, picked, n < len(state), rng)

        share = torch.softmax(moved.log_w, 0)
        u_data = energy(positive)
        # Sums, not products of matrices: those autocast would round.
        gap = u_data.mean() - (share * u_walkers).sum()
        penalty = u_data.square().mean() + (share * u_walkers.square()).sum()
        loss = gap + self.energy_penalty * penalty if self.energy_penalty else gap

        log_z, ess = log_mean_weight(moved.log_w), effective_sample_size(moved.log_w) / n
        walkers = moved if n == len(state) else put(state.walkers, index, moved)
        state = replace(state, walkers=walkers)
        if not bool(ess >= self.threshold):
            state = self._resampled(energy, state, rng)
        mean = u_data.detach().mean()
        info = {
            "energy_gap": gap.detach(),
            "energy_data": mean,
            "energy_walkers": (share * moved.energy).sum(),
            "ess": ess,
            "resamplings": state.resamplings,
            "gradient_mean": moved.grad.flatten(1).norm(dim=1).mean(),
            "acceptance": acceptance,
            "temperature": torch.as_tensor(self.kernel.temperature),
            "out_of_range": out_of_range(rows, moved.x),
            "walker_scale": relative_scale(rows, moved.x),
            "walker_distance": walker_distance(rows, moved.x, moved.log_w),
        }
        if self.start.exact:
            info["log_z"] = log_z
            info["cross_entropy"] = log_z + mean / self.kernel.temperature
        else:
            info["log_z_change"] = log_z
        return loss, state, info

    def weighted_walkers(self, energy: Energy, state: Weighted) -> Walkers:
        """Returns all walkers where they are, weighted for an energy: all that the run knows.

        Arguments:
            energy: The energy, such as the running average of the one that learnt.
            state: The walkers as the last step left them.
        """
        parts = (state.walkers[i : i + AT_ONCE] for i in range(0, len(state), AT_ONCE))
        return cat(*(reweight(energy, part, self.kernel.temperature) for part in parts))

    def sample(
        self,
        energy: Energy,
        data: Batch,
        state: Weighted,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
    ) -> Walkers:
        r"""Draws n walkers of equal weight: by their weights, then moved on.

        Arguments:
            energy: The energy that has learnt.
            data: The training rows.
            state: The stored walkers.
            n: How many walkers, at most N.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of training.
            from_noise: Not possible here: a chain from noise has no weights.

        Raises:
            ValueError: If chains are to start from noise, or there are fewer than n walkers.
        """
        if from_noise:
            raise ValueError(
                "weighted walkers stand for the model, chains from noise do not; draw samples "
                "without --noise"
            )
        if n > len(state):
            raise ValueError(
                f"the run holds {len(state)} walkers, asked for {n} samples; ask for at most "
                f"{len(state)}"
            )
        walkers = self.weighted_walkers(energy, state)
        # Ancestors are in ascending order; shuffled, any n of them are a draw as well.
        chosen = ancestors(walkers.log_w, rng, self.resampling)
        chosen = chosen[torch.randperm(len(chosen), generator=rng, device=data.x.device)[:n]]
        walkers = replace(walkers[chosen], log_w=torch.zeros_like(walkers.log_w[:n]))
        steps = steps or self.steps
        return run_chain(self.kernel, energy, walkers, steps, rng, False, False)[0]

    @property
    def weighted(self) -> bool:
        """Whether walkers carry log-weights: they do."""
        return True

    def max_samples(self, state: Weighted) -> int:
        """Returns the number of stored walkers."""
        return len(state)

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of one update: n K for ULA with n = N, else n (K + 1)."""
        n = self.walkers or self.start.size
        first = 0 if n == self.start.size and not self.kernel.invariant else 1
        return n * (first + self.steps * self.kernel.gradients)

    def _follow(
        self, energy: Energy, walkers: Walkers, idle: bool, rng: torch.Generator
    ) -> tuple[ReweightedWalkers, Tensor]:
        """The walkers at the energy of now, and their energies with a graph.

        Walkers that were idle are reweighted before they move: the drift that they remember may be
        one of long ago.
        """
        if not self.chunk:
            return move_and_reweight_attached(self.kernel, energy, walkers, self.steps, rng, idle)
        parts = [walkers[i : i + self.chunk] for i in range(0, len(walkers), self.chunk)]
        done = [
            move_and_reweight(self.kernel, energy, part, self.steps, rng, idle) for part in parts
        ]
        u = [
            checkpoint(energy, part.walkers.x, use_reentrant=False, preserve_rng_state=False)
            for part in done
        ]
        acceptance = torch.stack([part.acceptance for part in done]).mean()
        return ReweightedWalkers(cat(*(part.walkers for part in done)), acceptance), torch.cat(u)

    def _resampled(self, energy: Energy, state: Weighted, rng: torch.Generator) -> Weighted:
        """The state with all walkers resampled; those that were idle are reweighted before."""
        idle = 0 < self.walkers < len(state)
        walkers = self.weighted_walkers(energy, state) if idle else state.walkers
        walkers = resample(walkers, rng, self.resampling)
        count = state.resamplings + 1
        often = math.log10(int(count))
        if often >= 1 and often.is_integer():  # at 10, 100, 1000, ...
            ceiling = float(torch.exp(-weight_noise_floor(self.kernel, energy, walkers, rng)))
            if self.threshold >= ceiling:
                warnings.warn(
                    f"the walkers were resampled {int(count)} times: weights of this ULA step are "
                    f"never more even than an effective sample size of {ceiling:.3g} N, below the "
                    f"threshold of {self.threshold:.3g}, and every resampling loses some of a mode;"
                    f" write method.threshold={max(ceiling**2, 0.01):.2g}, a smaller "
                    "kernel.step_size, or kernel=MALA",
                    stacklevel=2,
                )
        return Weighted(walkers, count)


def _require_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"size must be >= 1 walker, got {size}; 1000 is usual")
