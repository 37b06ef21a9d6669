r"""What a run says of rows that it does not learn from, while it learns.

With :math:`\log Z` from weighted walkers, the mean of :math:`U(x) / T + \log Z` over held-out rows
is the cross-entropy in nats, in model units; what original units add is
:attr:`~boltzwalk.data.Dataset.log_volume`. Of an energy that knows its :math:`\log Z` it is exact,
and says which update to keep.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..data import Dataset
from ..methods.condition import Unconditional, condition_of
from .folder import NLL
from .model import density_temperature, known_log_z
from .run import Run

__all__ = ["held_out", "unseen"]

ROWS = 1000
"""The rows whose energies are taken at every row of the log, at most."""


def unseen(dataset: Dataset) -> tuple[Tensor, str]:
    """Returns rows that were not trained on, and their split; training rows if there are none."""
    for rows, name in ((dataset.test, "test"), (dataset.validation, "validation")):
        if len(rows):
            return rows, name
    return dataset.train, "training"


@torch.no_grad()
def held_out(run: Run, row: dict[str, float]) -> dict[str, float]:
    """Returns what the log gets beside the numbers of an update.

    The mean energy of validation rows; where the energy knows its log Z, this and the exact mean of
    -log p; where walkers carry log Z, the cross-entropy with it; and where a witness does, the same
    with the half-width of its 95 % interval, which has both the error of log Z and that of the mean
    over the rows.

    Arguments:
        run: The run after an update.
        row: The numbers of the update.
    """
    rows = run.dataset.validation
    rows = rows[:: -(-len(rows) // ROWS) or 1]  # spread over all of them, which may be sorted
    temperature = density_temperature(run)
    given = not isinstance(condition_of(run.method), Unconditional)
    if len(rows) < 2 or not temperature > 0 or given:  # energies given different c say nothing
        return {}
    u = run.energy(rows).cpu().double() / temperature
    found = {"energy_validation": float(u.mean()) * temperature}
    if "log_z" in row:
        found["cross_entropy_validation"] = float(u.mean()) + row["log_z"]
    log_z = known_log_z(run)
    if run.average is not None and (log_z is not None or "witness_log_z" in row):
        u = run.model(rows).cpu().double() / temperature
    if log_z is not None and temperature == 1:
        found[NLL] = float(u.mean()) + log_z
        found["log_z_exact"] = log_z
    if "witness_log_z" in row:
        error = 1.96 * float(u.std()) / math.sqrt(len(u))
        found["witness_cross_entropy"] = float(u.mean()) + row["witness_log_z"]
        found["witness_cross_entropy_half_width"] = math.hypot(error, row["witness_half_width"])
    return found
