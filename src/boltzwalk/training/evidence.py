r"""Evidence on a training run, for its log: energies of rows, and samples against data.

With energies :math:`U_i` of training rows and :math:`V_j` of other rows, the rank of the others is
the probability :math:`P(V > U) + P(V = U) / 2`: 0.5 where nothing tells the two apart, 1 where all
others lie higher. With rows y and samples x of the same size, the energy coefficient is

.. math:: H = \frac{2 E|x - y| - E|x - x'| - E|y - y'|}{2 E|x - y|} \in [0, 1] ,

0 for equal distributions, 1 for distributions far apart; its root, the distance, grows in
proportion to a small shift. All of them are free of units.

Where log Z is known the ranks say nothing: a density may be high at each training row and still be
the likeliest for new rows. There validation rows are compared under the model and under a Gaussian
of the training rows with the shrunk covariance of Ledoit and Wolf.

Not guaranteed: that a small distance means good samples. It sees scale, place and large modes, not
masses of rare modes or fine structure.

With :math:`\log Z` from weighted walkers, the mean of :math:`U(x) / T + \log Z` over held-out rows
is the cross-entropy in nats, in model units; original units add
:meth:`~boltzwalk.data.Dataset.log_jacobian`. For an energy that knows its :math:`\log Z` it is
exact, and decides which update is kept.

References:
    | Energy statistics (Szekely and Rizzo, 2013), https://doi.org/10.1016/j.jspi.2013.03.018
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..data import Dataset
from ..method import can_sample
from ..model import Model
from ..rng import generator
from .folder import NLL
from .run import Run

__all__ = [
    "energy_distance_coefficient",
    "log_evidence",
    "rank_above",
    "validation_metrics",
    "with_evidence",
]

ROWS_OF_LOG = 10
"""Rows of the log from one row with evidence to the next."""

MOST_COLUMNS = 500
"""The entries of a row up to which a Gaussian is fitted."""

LOGGED_ROWS = 1000
"""The rows whose energies are taken at every row of the log, at most."""

CHUNK = 4096
"""Rows whose energies are computed at once."""

ROWS = 256
"""Rows of each kind: a mean over them has an error of 6 % of the spread."""

SAMPLE_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors of a draw, also in the code of a user, that must not cost a run."""


def with_evidence(model: Model, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the rows of a log up to the update of a model, the last one with evidence on it.

    A log of version 0.1.0 has none, and that of a run whose best update is kept has none on that.

    Arguments:
        model: The model.
        rows: The rows of the log.
    """
    until = [row for row in rows if row["update"] <= model.update]
    last = until[-1] if until else {}
    if rows and not (last.get("update") == model.update and "samples_finite" in last):
        until.append({**last, "update": model.update, **log_evidence(model, last=True)})
    return until


def log_evidence(model: Model, last: bool) -> dict[str, float]:
    """Returns the evidence for a row of the log.

    Every tenth row, and the last one, has the energies of rows; the last one has samples as well.
    So the cost of an update stays below 1 % of its chains.

    Arguments:
        model: The model of a run, with all of its rows.
        last: Whether this is the last row of the run.
    """
    if not last and model.update % (ROWS_OF_LOG * model.settings.output.log_every):
        return {}
    evidence = _energy_evidence(model)
    if last:
        evidence |= _sample_evidence(model) | _likelihood_evidence(model)
    return evidence


@torch.no_grad()
def _energy_evidence(model: Model) -> dict[str, float]:
    """The energies of training and validation rows, and the spread of the training rows."""
    data = model.data
    rng = generator(model.settings.seed, "evidence", model.update, model.device)
    rows = data.dequantised(_spread_over(data.train), rng)
    centred = (rows - rows.mean(0)).flatten(1).double()
    evidence = {
        "data_spread": float(centred.square().sum(1).mean().sqrt()),
        "data_distinct": len(_spread_over(data.train).flatten(1).unique(dim=0)) / len(rows),
    }
    if not model.method.condition.unconditional:
        return evidence
    with model.arithmetic():
        u = model.module(rows).cpu().double()
        evidence |= {"energy_train": float(u.mean()), "energy_spread": float(u.std(correction=0))}
        others = _spread_over(data.validation)
        if len(others) > 1:
            v = model.module(others).cpu().double()
            evidence |= {
                "energy_excess": float(v.mean() - u.mean()),
                "validation_rank": rank_above(v, u),
                "validation_rows": float(len(others)),
            }
    return evidence


@torch.no_grad()
def _likelihood_evidence(model: Model) -> dict[str, float]:
    """The gain in likelihood of validation rows over a Gaussian, in nats a row, with its interval.

    Empty where log Z is not known, or rows are too few, or have no covariance.
    """
    data, log_z = model.data, model.known_log_z()
    few = len(data.validation) < 2 or len(data.train) < 3
    if log_z is None or few or data.train[0].numel() > MOST_COLUMNS:
        return {}
    from sklearn.covariance import LedoitWolf

    rows, others = data.train.flatten(1).cpu().double(), data.validation.flatten(1).cpu().double()
    fit = LedoitWolf().fit(rows.numpy())
    mean, covariance = torch.from_numpy(fit.location_), torch.from_numpy(fit.covariance_)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        return {}
    gaussian = torch.distributions.MultivariateNormal(mean, scale_tril=factor)
    with model.arithmetic():
        energies = torch.cat([model.module(part) for part in data.validation.split(CHUNK)])
    gain = -energies.cpu().double() - log_z - gaussian.log_prob(others)
    half_width = 1.96 * float(gain.std()) / math.sqrt(len(gain))
    return {"likelihood_gain": float(gain.mean()), "likelihood_gain_half_width": half_width}


@torch.no_grad()
def _sample_evidence(model: Model) -> dict[str, float]:
    """The distance of samples to the data, their scale and variety, and their energies.

    Scale is the root mean square distance from the mean of the data over that of the data, with its
    relative standard error; variety is the variance of samples over that of the data. Empty where
    the method draws no samples, or completes rows.
    """
    data, condition = model.data, model.method.condition
    if condition.completes or not can_sample(model.method):
        return {}
    rng = generator(model.settings.seed, "evidence samples", model.update, model.device)
    try:
        x = model.draw(model.available(ROWS), rng).x.detach()
    except SAMPLE_ERRORS:
        return {}
    finite = x.isfinite().flatten(1).all(1)
    evidence = {"samples_finite": float(finite.double().mean())}
    if not bool(finite.all()):
        return evidence
    rows = _reference_rows(data, rng)
    flat, reference = x.flatten(1).cpu().double(), rows.flatten(1).cpu().double()
    centre = reference.mean(0)
    squares, radii = ((part - centre).square().sum(1) for part in (reference, flat))
    spread = squares.mean()
    variety = (flat - flat.mean(0)).square().sum(1).mean()
    relative = [part.var() / (len(part) * part.mean().square()) for part in (squares, radii)]
    half = len(reference) // 2
    evidence |= {
        "sample_distance": energy_distance_coefficient(flat, reference) ** 0.5,
        "sample_floor": energy_distance_coefficient(reference[:half], reference[half:]) ** 0.5,
        "sample_scale": float((radii.mean() / spread).sqrt()),
        "sample_scale_error": float(sum(relative, radii.new_zeros(())).sqrt()) / 2,
        "sample_variety": float(variety / spread),
    }
    if condition.unconditional:
        with model.arithmetic():
            u, v = (model.module(part).cpu().double() for part in (rows, x))
        evidence |= {"sample_rank": rank_above(v, u), "energy_samples": float(v.mean())}
    return {name: value for name, value in evidence.items() if not math.isnan(value)}


def rank_above(others: Tensor, rows: Tensor) -> float:
    """Returns the probability that a value of others lies above one of rows, ties half.

    Arguments:
        others: Values, shape (M,).
        rows: Values, shape (N,).

    Example:
        >>> rank_above(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
        0.625
    """
    if not bool(others.isfinite().all() and rows.isfinite().all()):
        return math.nan
    ordered = rows.sort().values
    below, up_to = (torch.searchsorted(ordered, others, right=side) for side in (False, True))
    return float((below + up_to).double().mean()) / (2 * len(rows))


def energy_distance_coefficient(x: Tensor, y: Tensor) -> float:
    r"""Returns the energy coefficient H of two samples, without pairs of a row with itself.

    Negative estimates, which chance gives equal distributions, become 0.

    Arguments:
        x: Samples, shape (N, D).
        y: Samples, shape (M, D).

    Example:
        >>> x = torch.tensor([[0.0], [0.0]])
        >>> energy_distance_coefficient(x, x + 1), energy_distance_coefficient(x, x)
        (1.0, 0.0)
    """
    if len(x) < 2 or len(y) < 2:
        return math.nan
    between = float(torch.cdist(x, y).mean())
    within = sum(float(torch.cdist(z, z).sum()) / (len(z) * (len(z) - 1)) for z in (x, y))
    if not math.isfinite(between + within):
        return 1.0
    return max(0.0, 1 - within / (2 * between)) if between > 0 else 0.0


def _spread_over(rows: Tensor) -> Tensor:
    """At most `ROWS` rows, spread over all of them, which may be sorted."""
    n = min(ROWS, len(rows))
    return rows[torch.arange(n, device=rows.device) * len(rows) // max(n, 1)]


def _reference_rows(data: Dataset, rng: torch.Generator) -> Tensor:
    """Validation rows for samples to be compared with; training rows where they are too few."""
    if len(data.validation) >= ROWS // 2:
        return _spread_over(data.validation)
    return data.dequantised(_spread_over(data.train), rng)


@torch.no_grad()
def validation_metrics(run: Run, row: dict[str, float]) -> dict[str, float]:
    """Returns the metrics of validation rows to log beside the numbers of an update.

    The mean energy; where the energy knows its log Z, this and the exact mean of -log p; where
    walkers carry log Z, the cross-entropy with it; and where a witness does, the same with the
    half-width of its 95 % interval, which has both the error of log Z and that of the mean over the
    rows.

    Arguments:
        run: The run after an update.
        row: The numbers of the update.
    """
    rows = run.dataset.validation
    rows = rows[
        :: -(-len(rows) // LOGGED_ROWS) or 1
    ]  # spread over all of them, which may be sorted
    model = run.judged_on(run.dataset)
    temperature, unconditional = model.temperature, model.method.condition.unconditional
    if len(rows) < 2 or not temperature > 0 or not unconditional:
        return {}
    u = run.energy(rows).cpu().double() / temperature
    metrics = {"energy_validation": float(u.mean()) * temperature}
    if "log_z" in row:
        metrics["cross_entropy_validation"] = float(u.mean()) + row["log_z"]
    log_z = model.known_log_z()
    if run.average is not None and (log_z is not None or "witness_log_z" in row):
        u = model.module(rows).cpu().double() / temperature
    if log_z is not None and temperature == 1:
        metrics[NLL] = float(u.mean()) + log_z
        metrics["log_z_exact"] = log_z
    if "witness_log_z" in row:
        error = 1.96 * float(u.std()) / math.sqrt(len(u))
        metrics["witness_cross_entropy"] = float(u.mean()) + row["witness_log_z"]
        metrics["witness_cross_entropy_half_width"] = math.hypot(error, row["witness_half_width"])
    return metrics
