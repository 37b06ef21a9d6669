r"""The likelihood of held-out rows under a model, with its interval, or a refusal.

.. math:: -\frac1M \sum_j \log p(x_j) = \frac1M \sum_j U(x_j) / T + \log Z ,

where T is the temperature at which the model was sampled in training. :math:`\log Z` comes from
annealing (:mod:`boltzwalk.smc.log_z`), forward from a Gaussian and back from long chains that start
at samples of the model; an energy that knows its log Z gives it. The interval has the error
of log Z and that of the mean over the rows.

Not guaranteed: that the likelihood says anything of samples that are drawn in a few steps. A model
that was trained as a short-run sampler is no density, and is refused where this shows.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ..data import Dataset
from ..data.repeats import mark_copies, row_groups
from ..metrics.skewed_mean import skewed_mean
from ..model import Model
from ..smc.from_samples import Effort, refused_log_z
from ..smc.log_z import LogZ
from .measure import EvaluationSection, Measure, unavailable

__all__ = ["Likelihood", "copied_rows", "held_out_likelihood", "likelihood_section"]

CHUNK = 4096
"""Rows whose energies are computed at once."""


@dataclass(frozen=True)
class Likelihood:
    """Held-out negative log-likelihood with its interval.

    Attributes:
        split: The split of the rows.
        rows: Their number.
        dimensions: The number of entries of a row.
        nll: The mean of -log p in nats, in the units of the data; nan where log Z is refused.
        half_width: Half of the width of its 95 % interval.
        log_z: log Z in model units, at the temperature.
        temperature: The temperature.
        dequantised: Whether the rows are images whose grey levels are spread over their cells;
            only then are bits per dimension those of the literature.
        log_volume: The nats that whitening a table takes; 0 for other data.
        copies: How many of the rows equal a training row.
        new_nll: The mean of -log p of the others, in the units of the data; nan without copies.
        new_half_width: Half of the width of its 95 % interval.
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
    copies: int = 0
    new_nll: float = math.nan
    new_half_width: float = math.nan

    @property
    def bits(self) -> float:
        """Bits per dimension."""
        return self.nll / (self.dimensions * math.log(2))

    @property
    def bits_half_width(self) -> float:
        """Half of the width of their 95 % interval."""
        return self.half_width / (self.dimensions * math.log(2))


def held_out_likelihood(
    model: Model, rng: torch.Generator, effort: Effort | None = None
) -> Likelihood:
    """Returns the likelihood of the test rows.

    Validation rows, else training rows, take their place where there are none.

    Arguments:
        model: The model.
        rng: The source of all noise.
        effort: The work that log Z may take.
    """
    rows, split = model.data.test_rows()
    if split == "training":  # which lie at the centres of their cells
        rows = model.data.dequantised(rows, rng)
    temperature = model.temperature
    log_z = refused_log_z("an interval needs 2 rows or more; leave more out of training")
    if len(rows) > 1:
        log_z = model.estimate_log_z(rng, effort or Effort())
    nll, half_width, new = math.nan, math.nan, (math.nan, math.nan)
    copies = copied_rows(model.data, split)
    if not log_z.refusal:
        nats = (
            _energies(model.density_energy(), rows) / temperature
            + log_z.estimate
            + model.data.log_jacobian(rows).cpu()
        )
        nll, half_width = _mean(nats, log_z)
        if copies.any() and int((~copies).sum()) > 1:
            new = _mean(nats[~copies.cpu()], log_z)
    return Likelihood(
        split=split,
        rows=len(rows),
        dimensions=rows[0].numel(),
        nll=nll,
        half_width=half_width,
        log_z=log_z,
        temperature=temperature,
        dequantised=rows.ndim == 4 and bool(torch.as_tensor(model.data.quantum).any()),
        log_volume=float(model.data.log_jacobian(rows).mean()) if rows.ndim == 2 else 0.0,
        inverse_temperature=model.method.inverse_temperature,
        copies=int(copies.sum()),
        new_nll=new[0],
        new_half_width=new[1],
    )


def copied_rows(data: Dataset, split: str) -> Bool[Tensor, " N"]:
    """Returns which rows of a split equal a training row, shape (N,).

    Arguments:
        data: The data.
        split: "test", "validation" or "training", of which none is a copy.
    """
    if split == "training":
        return torch.zeros(len(data.train), dtype=torch.bool)
    rows, known = getattr(data, split), getattr(data, f"{split}_copies")
    if known is not None:
        return torch.as_tensor(known).cpu()
    if rows.ndim != 2 or torch.as_tensor(data.quantum).any():
        return torch.zeros(len(rows), dtype=torch.bool)  # noise sets copies apart
    groups = row_groups(torch.cat([data.train, rows]).cpu())
    numbers = torch.arange(len(groups))
    train, held_out = numbers[: len(data.train)], numbers[len(data.train) :]
    return mark_copies(groups, train, held_out, held_out[:0])[0]


def _mean(nats: Tensor, log_z: LogZ) -> tuple[float, float]:
    """The mean of -log p, and half of the width of its interval, with that of log Z."""
    mean, error = skewed_mean(nats)
    return mean, math.hypot(error, log_z.half_width)


def likelihood_section(likelihood: Likelihood) -> EvaluationSection:
    """Returns a likelihood as a section of an evaluation: numbers with intervals, or a refusal.

    Arguments:
        likelihood: The likelihood.
    """
    log_z, details = likelihood.log_z, dataclasses.asdict(likelihood)
    name = f"{likelihood.split} -log p"
    if log_z.refusal:
        return EvaluationSection([unavailable(name, log_z.refusal)], details)
    nll, half = likelihood.nll, likelihood.half_width
    protocol = f"a row, in the units of the data; mean of {likelihood.rows:,} rows"
    if likelihood.inverse_temperature != 1:
        beta = likelihood.inverse_temperature
        protocol += f", under the model that was trained; samples are drawn with beta = {beta:g}"
    measures = [_interval(name, nll, half, "nats", protocol)]
    if likelihood.copies:
        new = f"{likelihood.rows - likelihood.copies:,} rows that equal no training row"
        if math.isnan(likelihood.new_nll):
            measures.append(unavailable(f"{name}, new rows", f"there are {new}"))
        else:
            nats, width = likelihood.new_nll, likelihood.new_half_width
            protocol = f"mean of {new}; a model that remembers rows is good at the others"
            measures.append(_interval(f"{name}, new rows", nats, width, "nats", protocol))
    if likelihood.log_volume:
        protocol = "the same rows, whitened as in training"
        whitened = nll - likelihood.log_volume
        measures.append(_interval(f"{name}, whitened", whitened, half, "nats", protocol))
    if likelihood.dequantised:
        protocol = f"{likelihood.dimensions} dimensions, dequantised uniformly"
        bits, bits_half = likelihood.bits, likelihood.bits_half_width
        measures.append(_interval("bits per dimension", bits, bits_half, "", protocol))
    how = "exact: the energy knows it"
    if log_z.half_width > 0:
        how = "from the weights of samples that take no part in training"
    if len(log_z.replicates):
        how = f"{len(log_z.replicates)} replicates, {log_z.stages} stages, "
        how += f"{log_z.evaluations:,} evaluations"
        if log_z.reverse is not None:
            how += f"; back: {log_z.reverse.estimate:.3f} ± {log_z.reverse.half_width:.3f}"
    t = likelihood.temperature
    at = "" if t == 1 else f" of exp(-U / {t:g})"
    log_z_measure = _interval(f"log Z{at}", log_z.estimate, log_z.half_width, "", how)
    return EvaluationSection([*measures, log_z_measure._replace(better="")], details)


def _interval(name: str, value: float, half: float, unit: str, protocol: str) -> Measure:
    return Measure(name, value, value - half, value + half, unit, "lower", protocol=protocol)


@torch.no_grad()
def _energies(energy: nn.Module, rows: Tensor) -> Tensor:
    """The energies of the rows, in double precision on the CPU."""
    return torch.cat([energy(chunk).cpu().double() for chunk in rows.split(CHUNK)])
