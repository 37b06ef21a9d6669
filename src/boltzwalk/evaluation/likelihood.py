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
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..model import Model
from ..smc.from_samples import Effort, refused_log_z
from ..smc.log_z import LogZ
from .measure import Measure, Part, refused

__all__ = ["Likelihood", "as_part", "likelihood"]

WARM_UP = 50
"""Steps that adapt the step size of the long chains."""

AT_ONCE = 4096
"""Rows whose energies are taken at once."""


@dataclass(frozen=True)
class Likelihood:
    """Held-out negative log-likelihood with its interval.

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


def likelihood(model: Model, rng: torch.Generator, effort: Effort | None = None) -> Likelihood:
    """Returns the likelihood of the held-out rows of a run.

    Arguments:
        model: The model.
        rng: The source of all noise.
        effort: How much is spent on log Z.
    """
    rows, split = model.data.test_rows()
    if split == "training":  # which lie at the centres of their cells
        rows = model.data.dequantised(rows, rng)
    temperature = model.temperature
    log_z = refused_log_z("an interval needs 2 rows or more; leave more out of training")
    if len(rows) > 1:
        log_z = model.estimate_log_z(rng, effort or Effort())
    nll, half_width = math.nan, math.nan
    if not log_z.refusal:
        nats = (
            _energies(model.density_energy(), rows) / temperature
            + log_z.estimate
            + model.data.log_volume
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
        dequantised=rows.ndim == 4 and bool(torch.as_tensor(model.data.quantum).any()),
        log_volume=model.data.log_volume if rows.ndim == 2 else 0.0,
        inverse_temperature=model.method.inverse_temperature,
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


@torch.no_grad()
def _energies(model: nn.Module, rows: Tensor) -> Tensor:
    """The energies of the rows, in double precision on the CPU."""
    return torch.cat([model(part).cpu().double() for part in rows.split(AT_ONCE)])
