r"""The log-partition of a generalized model: learnt, estimated from fresh samples, exact.

For a base B and an energy E relative to it, :math:`A = \log \mathbb E_B\, e^{-E}`. A generalized
model learns one number c for it. Fresh base samples give

.. math:: \hat A = \log \frac1M \sum_m e^{-E(y_m)} , \qquad
    \mathrm{ESS} = \frac{\big(\sum_m e^{-E(y_m)}\big)^2}{\sum_m e^{-2 E(y_m)}} ,

and an energy that knows its :math:`\log Z` the truth: with :math:`E = U + \log b` it is
:math:`A = \log Z`.

Not guaranteed: that :math:`\hat A` is right where the effective sample size is small. It is then
most likely too small, and its interval too narrow; c was learnt from smaller batches, and is no
better. No likelihood is computed from either.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..methods.objectives import log_partition
from ..model import Model
from ..walkers import effective_sample_size
from .measure import EvaluationSection, Measure

__all__ = ["Partition", "model_partition", "partition_section"]

SAMPLES = 20_000
"""Fresh base samples."""

CHUNK = 4096

MIN_EFFECTIVE = 100
"""The effective sample size below which the estimate has no interval."""


class Partition(NamedTuple):
    """The log-partition from three sources; nan where one does not know it.

    Attributes:
        learnt: The number c that the method learnt.
        estimate: The estimate from fresh base samples.
        half_width: Half of its 95 % interval; nan where the effective sample size is too small.
        effective: The effective sample size.
        samples: The number of samples.
        exact: The exact value.
    """

    learnt: float
    estimate: float
    half_width: float
    effective: float
    samples: int
    exact: float


@torch.no_grad()
def model_partition(model: Model, rng: torch.Generator, samples: int = SAMPLES) -> Partition:
    """Returns the log-partition of a model.

    Arguments:
        model: The model.
        rng: The source of fresh base samples.
        samples: Their number.
    """
    method = model.method
    known = model.known_log_z()
    if hasattr(model.module, "log_z_half_width"):
        known = None  # an estimate, which stands with the likelihood
    exact = math.nan if known is None else known
    c = getattr(method, "log_partition", None)
    if c is None or method.base is None:
        return Partition(math.nan, math.nan, math.nan, math.nan, 0, exact)
    energy, chunks = method.relative_energy(model.module), []
    for first in range(0, samples, CHUNK):
        z = method.base.latents(min(CHUNK, samples - first), rng)
        chunks.append(energy(method.base.decode(z)).cpu().double())
    e = torch.cat(chunks)
    effective = float(effective_sample_size(-e))
    # The relative variance of the mean weight, and with it that of its logarithm.
    half_width = 1.96 * math.sqrt(max(1 / effective - 1 / samples, 0))
    return Partition(
        learnt=float(c.detach()),
        estimate=float(log_partition(e)),
        half_width=half_width if effective >= MIN_EFFECTIVE else math.nan,
        effective=effective,
        samples=samples,
        exact=exact,
    )


def partition_section(partition: Partition) -> EvaluationSection:
    """Returns a log-partition as a section of an evaluation; empty where nothing is known.

    Arguments:
        partition: The log-partition.
    """
    measures = []
    exact, estimate, half = partition.exact, partition.estimate, partition.half_width
    if not math.isnan(exact):
        measures.append(Measure("log-partition", exact, protocol="exact: the energy knows it"))
    if partition.samples:
        target, name = (estimate, "fresh samples") if math.isnan(exact) else (exact, "the truth")
        protocol = f"c, learnt from batches; {partition.learnt - target:+.3g} from {name}"
        measures.append(Measure("log-partition, learnt", partition.learnt, protocol=protocol))
        protocol = f"{partition.samples:,} base samples, {partition.effective:,.0f} in effect"
        if math.isnan(half):
            protocol += f": fewer than {MIN_EFFECTIVE}, so that it is likely too small"
        ends = (estimate - half, estimate + half)
        name = "log-partition, fresh samples"
        measures.append(Measure(name, estimate, *ends, protocol=protocol))
        ess = partition.effective / partition.samples
        protocol = "of the weights exp(-E) of base samples, as a share"
        name = "effective sample size"
        measures.append(Measure(name, ess, better="higher", protocol=protocol))
    return EvaluationSection(measures, partition._asdict())
