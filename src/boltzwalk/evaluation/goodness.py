r"""Goodness of fit of samples and data to the density that the energy defines.

The kernel Stein discrepancy needs the score :math:`-\nabla U / T` alone, no log Z. It does not see
the masses of modes that lie apart; mode coverage does. In the plane, where the true density of the
data is known, the divergence from it is an integral over a grid.
"""

from __future__ import annotations

import math

import torch

from ..energies.composed import Tempered
from ..metrics.quadrature import divergences_in_the_plane
from ..metrics.stein import stein_discrepancy
from ..model import Model
from .measure import EvaluationSection, Measure, unavailable
from .samples import SampleSet

__all__ = ["goodness"]

ROWS = 1000
"""Rows of a Stein discrepancy, whose cost grows with their square."""


def goodness(model: Model, samples: SampleSet, rng: torch.Generator) -> EvaluationSection:
    """Returns how well samples and held-out data fit the density of the model.

    Arguments:
        model: The model.
        samples: Its samples.
        rng: The source of the bootstrap.
    """
    temperature = model.temperature
    try:
        energy = model.density_energy()
    except ValueError as error:
        return EvaluationSection([unavailable("Stein discrepancy", str(error))], {})
    if not temperature > 0:
        reason = "the run was trained by noiseless descent, which samples no density"
        return EvaluationSection([unavailable("Stein discrepancy", reason)], {})
    rows, _ = model.reference_rows(most=ROWS)
    x = samples.rows(ROWS, rng)
    if samples.log_w is not None:  # copies are not independent: they are moved apart
        x = model.draw(model.available(ROWS), rng).x
    measures = []
    for name, values in (("samples", x), ("data", rows)):
        title = f"Stein discrepancy, {name}"
        try:
            stein = stein_discrepancy(Tempered(energy, temperature), values.to(rows), rng)
        except ValueError as error:
            measures.append(unavailable(title, str(error)))
            continue
        protocol = (
            f"squared, {len(values):,} {name} under the model, p = {stein.p_value:.2g}; "
            "blind to the mass of modes: see mode coverage"
        )
        measures.append(Measure(title, stein.squared, better="lower", protocol=protocol))
    return EvaluationSection([*measures, *_in_the_plane(model, temperature)], {})


def _in_the_plane(model: Model, temperature: float) -> list[Measure]:
    """The divergence of the model from the true density, where that is known."""
    log_density = getattr(model.settings.data, "true_log_density", None)
    if log_density is None or model.data.event_shape != (2,):
        return []
    energy, x = model.density_energy(), model.data.train
    divergences = divergences_in_the_plane(energy, log_density, x, temperature)
    if not math.isfinite(divergences.kl + divergences.total_variation):
        return [unavailable("KL(data, model)", "the density has a singularity on the grid")]
    protocol = "of the densities, by quadrature over the plane"
    return [
        Measure("KL(data, model)", divergences.kl, unit="nats", better="lower", protocol=protocol),
        Measure("total variation", divergences.total_variation, better="lower", protocol=protocol),
    ]
