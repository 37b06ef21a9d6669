r"""The likelihood of held-out rows under a trained model, with its interval, or a refusal.

.. math:: -\frac1M \sum_j \log p(x_j) = \frac1M \sum_j U(x_j) / T + \log Z ,

where T is the temperature at which the model was sampled in training. :math:`\log Z` comes from
annealing (:mod:`boltzwalk.smc.log_z`), there from a Gaussian and back from long chains that start
at the samples of the run; where an energy knows its log Z, from itself. The interval has the error
of log Z and that of the mean over the rows.

Not guaranteed: that the likelihood says anything of samples that are drawn in a few steps. A model
that was trained as a short-run sampler is no density, and is refused where this shows.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..energies.composed import Tempered
from ..energy import Energy
from ..kernels import HMC, adapt_step_size
from ..kernels import run as run_chain
from ..smc.intervals import unbounded_rays
from ..smc.log_z import Annealing, LogZ, estimate_log_z
from ..train.execute import unseen
from ..train.run import Run
from ..train.sampling import available, density_temperature, draw, own_energy
from ..walkers import evaluate
from .measure import Measure, Part, refused

__all__ = ["Effort", "Likelihood", "as_part", "likelihood"]

WARM_UP = 50
"""Steps that adapt the step size of the long chains."""

AT_ONCE = 4096
"""Rows whose energies are taken at once."""


@dataclass(frozen=True)
class Likelihood:
    """What a model thinks of rows that it has not seen.

    Attributes:
        split: The split that the rows are of.
        rows: How many they are.
        dimensions: The number of entries of a row.
        nll: The mean of -log p in nats, in the units of the data; nan where log Z is refused.
        half_width: Half of the width of its 95 % interval.
        log_z: log Z in model units, at the temperature.
        temperature: The temperature.
        dequantised: Whether the rows are images whose grey levels are spread over their cells;
            only then are bits per dimension those of the literature.
        log_volume: What whitening a table takes from the nats; 0 for everything else.
        inverse_temperature: The factor of the energy with which the samples of a generalized model
            are drawn; where it is not 1, they are not of this density.
    """

    split: str
    rows: int
    dimensions: int
    nll: float
    half_width: float
    log_z: LogZ
    temperature: float
    dequantised: bool
    log_volume: float = 0.0
    inverse_temperature: float = 1.0

    @property
    def bits(self) -> float:
        """Bits per dimension."""
        return self.nll / (self.dimensions * math.log(2))

    @property
    def bits_half_width(self) -> float:
        """Half of the width of their 95 % interval."""
        return self.half_width / (self.dimensions * math.log(2))


@dataclass(frozen=True)
class Effort:
    """How much is spent.

    Arguments:
        samples: The number of long chains. The reference is fitted to the ends of one half of
            them, and from those of the other half starts the way back.
        steps: Their number of steps, each of 10 leapfrog steps of HMC.
        annealing: The way there and back.
        seconds: The time that the long chains may take; where they would take longer, the
            likelihood is refused at once.
        report: Is told what is done and how long it may take.

    Raises:
        ValueError: If a number is too small.
    """

    samples: int = 1000
    steps: int = 1000
    annealing: Annealing = field(default_factory=Annealing)
    seconds: float = 900.0
    report: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.samples < 4 * self.annealing.replicates:
            raise ValueError(
                f"steps must be >= 1 and samples four for each of the {self.annealing.replicates} "
                f"replicates, got {self.steps} and {self.samples}; 1000 of each are usual"
            )


def likelihood(run: Run, rng: torch.Generator, effort: Effort | None = None) -> Likelihood:
    """Returns the likelihood of the held-out rows of a run.

    Arguments:
        run: The run.
        rng: The source of all noise.
        effort: How much is spent on log Z.
    """
    rows, split = unseen(run.dataset)
    if split == "training":  # which lie at the centres of their cells
        rows = run.dataset.dequantised(rows, rng)
    temperature = density_temperature(run)
    log_z = _log_z(run, temperature, rng, effort or Effort())
    nll, half_width = math.nan, math.nan
    if not log_z.refusal:
        nats = (
            _energies(own_energy(run), rows) / temperature + log_z.estimate + run.dataset.log_volume
        )
        nll = float(nats.mean())
        half_width = math.hypot(1.96 * float(nats.std()) / math.sqrt(len(nats)), log_z.half_width)
    return Likelihood(
        split=split,
        rows=len(rows),
        dimensions=rows[0].numel(),
        nll=nll,
        half_width=half_width,
        log_z=log_z,
        temperature=temperature,
        dequantised=rows.ndim == 4 and bool(torch.as_tensor(run.dataset.quantum).any()),
        log_volume=run.dataset.log_volume if rows.ndim == 2 else 0.0,
        inverse_temperature=getattr(run.settings.method, "inverse_temperature", 1.0),
    )


def as_part(found: Likelihood) -> Part:
    """Returns a likelihood as a part of an evaluation: numbers with their intervals, or why not.

    Arguments:
        found: The likelihood of a run.
    """
    log_z, details = found.log_z, dataclasses.asdict(found)
    name = f"{found.split} -log p"
    if log_z.refusal:
        return Part([refused(name, log_z.refusal)], details)
    rows = f"a row, in the units of the data; mean of {found.rows:,} rows"
    if found.inverse_temperature != 1:
        beta = found.inverse_temperature
        rows += f", under the model that was trained; samples are drawn with beta = {beta:g}"
    measures = [_interval(name, found.nll, found.half_width, "nats", rows)]
    if found.log_volume:
        whitened, what = (
            found.nll - found.log_volume,
            "the same rows, whitened as the model sees them",
        )
        measures.append(_interval(f"{name}, whitened", whitened, found.half_width, "nats", what))
    if found.dequantised:
        what = f"{found.dimensions} dimensions, dequantised uniformly"
        measures.append(
            _interval("bits per dimension", found.bits, found.bits_half_width, "", what)
        )
    how = "exact: the energy knows it"
    if len(log_z.replicates):
        how = f"{len(log_z.replicates)} replicates, {log_z.stages} stages, "
        how += f"{log_z.evaluations:,} evaluations"
        if log_z.reverse is not None:
            how += f"; back: {log_z.reverse.estimate:.3f} ± {log_z.reverse.half_width:.3f}"
    at = "" if found.temperature == 1 else f" of exp(-U / {found.temperature:g})"
    log_z_measure = _interval(f"log Z{at}", log_z.estimate, log_z.half_width, "", how)
    return Part([*measures, log_z_measure._replace(better="")], details)


def _interval(name: str, value: float, half: float, unit: str, protocol: str) -> Measure:
    return Measure(name, value, value - half, value + half, unit, "lower", protocol=protocol)


def _log_z(run: Run, temperature: float, rng: torch.Generator, effort: Effort) -> LogZ:
    """The log Z of exp(-U / T): exact where the energy knows it, else by annealing."""
    if len(unseen(run.dataset)[0]) < 2:
        return _refused("an interval needs 2 rows or more; leave more out of training")
    try:
        model = own_energy(run)
    except ValueError as error:
        return _refused(str(error))
    if not temperature > 0:
        return _refused("the run was trained by noiseless descent, which samples no density")
    exact = getattr(model, "log_z", None)
    if exact is not None and temperature == 1:
        return LogZ(float(exact), 0.0, "")
    n = available(run, effort.samples)
    if n < 4 * effort.annealing.replicates:
        return _refused(
            f"the run holds {n} walkers, and 4 are needed for each of the "
            f"{effort.annealing.replicates} replicates"
        )
    x = draw(run, n, rng).x
    if not bool(x.isfinite().all()):
        return _refused("samples of the run are not finite")
    energy: Energy = Tempered(model, temperature)
    unbounded = unbounded_rays(energy, x)
    if unbounded:
        return _refused(unbounded)
    x, seconds = _long_chains(energy, x, rng, effort)
    if seconds > effort.seconds:
        return _refused(
            f"the long chains alone would take about {seconds:,.0f} s, more than the "
            f"{effort.seconds:,.0f} s allowed; give it more, --log-z-seconds {2 * seconds:.0f}, or "
            "fewer --steps"
        )
    if not bool(x.isfinite().all()):
        return _refused("long chains from samples of the run left for infinity")
    # Different rows: a Gaussian that was fitted to the very samples of the way back would bias it.
    return estimate_log_z(energy, x[::2], rng, effort.annealing, samples=x[1::2])


def _long_chains(
    energy: Energy, x: Tensor, rng: torch.Generator, effort: Effort
) -> tuple[Tensor, float]:
    """Samples after many exact steps at an adapted step size, and the seconds that these need.

    Where that is more than is allowed, the steps are not made.
    """
    began = time.monotonic()
    spread = float(x.flatten(1).std(0).square().mean().sqrt())
    first = HMC(0.1 * max(spread, 1e-6) / x[0].numel() ** 0.25)
    kernel, walkers = adapt_step_size(first, energy, evaluate(energy, x), WARM_UP, rng)
    seconds = (time.monotonic() - began) * effort.steps / WARM_UP
    if seconds > effort.seconds:
        return walkers.x, seconds
    effort.report(f"long chains from the samples of the run: about {seconds:.0f} s")
    walkers, _ = run_chain(kernel, energy, walkers, effort.steps, rng, diagnose=False)
    effort.report("annealing there and back")
    return walkers.x, seconds


@torch.no_grad()
def _energies(model: nn.Module, rows: Tensor) -> Tensor:
    """The energies of the rows, in double precision on the CPU."""
    return torch.cat([model(part).cpu().double() for part in rows.split(AT_ONCE)])


def _refused(reason: str) -> LogZ:
    return LogZ(math.nan, math.nan, reason)
