r"""What a run believes of its log-partition, beside what fresh samples say, and the truth.

For a base B and an energy E relative to it, :math:`A = \log \mathbb E_B\, e^{-E}`. A generalized
run learns one number c for it. Fresh base samples give

.. math:: \hat A = \log \frac1M \sum_m e^{-E(y_m)} , \qquad
    \mathrm{ESS} = \frac{\big(\sum_m e^{-E(y_m)}\big)^2}{\sum_m e^{-2 E(y_m)}} ,

and an energy that knows its :math:`\log Z` the truth: with :math:`E = U + \log b` it is
:math:`A = \log Z`.

Not guaranteed: that :math:`\hat A` is right where the effective sample size is small. It is then
most likely too small, and its interval too narrow; c was learnt from smaller batches, and is no
better. So no likelihood is computed from either.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..methods.objectives import log_partition
from ..model import Model
from ..walkers import effective_sample_size
from .measure import Measure, Part

__all__ = ["Partition", "as_part", "partition"]

SAMPLES = 20_000
"""Fresh base samples."""

AT_ONCE = 4096

FEW = 100
"""The effective sample size below which the estimate has no interval."""


class Partition(NamedTuple):
    """The log-partition of a run by all that know of it; nan where nothing is known."""

    learnt: float  # c
    estimate: float  # Â
    half_width: float  # of its 95 % interval; nan where too few samples count
    effective: float  # the effective sample size
    samples: int
    exact: float


@torch.no_grad()
def partition(model: Model, rng: torch.Generator, samples: int = SAMPLES) -> Partition:
    """Returns the log-partition of a run.

    Arguments:
        model: The model.
        rng: The source of fresh base samples.
        samples: How many.
    """
    method = model.method
    known = model.known_log_z()
    exact = math.nan if known is None else known
    c = getattr(method, "log_partition", None)
    if c is None or method.base is None:
        return Partition(math.nan, math.nan, math.nan, math.nan, 0, exact)
    energy, parts = method.relative_energy(model.module), []
    for first in range(0, samples, AT_ONCE):
        z = method.base.latents(min(AT_ONCE, samples - first), rng)
        parts.append(energy(method.base.decode(z)).cpu().double())
    e = torch.cat(parts)
    effective = float(effective_sample_size(-e))
    # The relative variance of the mean weight, and with it that of its logarithm.
    half_width = 1.96 * math.sqrt(max(1 / effective - 1 / samples, 0))
    return Partition(
        learnt=float(c.detach()),
        estimate=float(log_partition(e)),
        half_width=half_width if effective >= FEW else math.nan,
        effective=effective,
        samples=samples,
        exact=exact,
    )


def as_part(found: Partition) -> Part:
    """Returns it as a part of an evaluation; nothing where nothing is known.

    Arguments:
        found: The log-partition of a run.
    """
    measures = []
    if not math.isnan(found.exact):
        measures.append(
            Measure("log-partition", found.exact, protocol="exact: the energy knows it")
        )
    if found.samples:
        off = found.learnt - (found.estimate if math.isnan(found.exact) else found.exact)
        beside = "fresh samples" if math.isnan(found.exact) else "the truth"
        how = f"c, learnt from batches; {off:+.3g} from {beside}"
        measures.append(Measure("log-partition, learnt", found.learnt, protocol=how))
        share = f"{found.samples:,} base samples, {found.effective:,.0f} in effect"
        if math.isnan(found.half_width):
            share += f": fewer than {FEW}, so that it is likely too small"
        low, high = found.estimate - found.half_width, found.estimate + found.half_width
        name = "log-partition, fresh samples"
        measures.append(Measure(name, found.estimate, low, high, protocol=share))
        ess = found.effective / found.samples
        of = "of the weights exp(-E) of base samples, as a share"
        measures.append(Measure("effective sample size", ess, better="higher", protocol=of))
    return Part(measures, found._asdict())
