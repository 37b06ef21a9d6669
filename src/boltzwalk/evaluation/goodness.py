r"""Whether samples, and data, could be draws from the density that the energy defines.

The kernel Stein discrepancy needs the score :math:`-\nabla U / T` alone, no log Z. It does not see
the masses of modes that lie apart, so mode coverage is printed beside it. In the plane, where the
true density of the data is known, the divergence from it is an integral over a grid.
"""

from __future__ import annotations

import math

import torch

from ..energies.composed import Tempered
from ..metrics.quadrature import divergences_in_the_plane
from ..metrics.stein import stein_discrepancy
from ..model import Model
from .measure import Measure, Part, refused
from .samples import Drawn

__all__ = ["goodness"]

ROWS = 1000
"""Rows of a Stein discrepancy, whose cost grows with their square."""


def goodness(model: Model, drawn: Drawn, rng: torch.Generator) -> Part:
    """Returns how well samples and held-out data fit the density of the model itself.

    Arguments:
        model: The model.
        drawn: Its samples.
        rng: The source of the bootstrap.
    """
    temperature = model.temperature
    try:
        energy = model.density_energy()
    except ValueError as error:
        return Part([refused("Stein discrepancy", str(error))], {})
    if not temperature > 0:
        reason = "the run was trained by noiseless descent, which samples no density"
        return Part([refused("Stein discrepancy", reason)], {})
    rows, _ = model.data.held_out(ROWS)
    x = drawn.rows(ROWS, rng)
    if drawn.log_w is not None:  # copies are no independent samples: they are moved apart
        x = model.draw(model.available(ROWS), rng).x
    found = []
    for name, values in (("samples", x), ("data", rows)):
        title = f"Stein discrepancy, {name}"
        try:
            stein = stein_discrepancy(Tempered(energy, temperature), values.to(rows), rng)
        except ValueError as error:
            found.append(refused(title, str(error)))
            continue
        protocol = (
            f"squared, {len(values):,} {name} under the model, p = {stein.p_value:.2g}; "
            "blind to the mass of modes: see mode coverage"
        )
        found.append(Measure(title, stein.squared, better="lower", protocol=protocol))
    return Part([*found, *_in_the_plane(model, temperature)], {})


def _in_the_plane(model: Model, temperature: float) -> list[Measure]:
    """The divergence of the model from the true density, where that is known."""
    log_density = getattr(model.settings.data, "true_log_density", None)
    if log_density is None or model.data.event_shape != (2,):
        return []
    far = divergences_in_the_plane(
        model.density_energy(), log_density, model.data.train, temperature
    )
    if not math.isfinite(far.kl + far.total_variation):
        return [refused("KL(data, model)", "the density has a singularity on the grid")]
    protocol = "of the densities, by quadrature over the plane"
    return [
        Measure("KL(data, model)", far.kl, unit="nats", better="lower", protocol=protocol),
        Measure("total variation", far.total_variation, better="lower", protocol=protocol),
    ]
