r"""Agreement of samples and energy on the masses of modes, and in the plane on the density itself.

Walkers that are kept from update to update remember the masses of the data, whether or not the
energy knows them: they rarely cross from one mode to another. So the samples may be good and the
density wrong. Modes are the clusters of the training rows, if they lie apart. The mass of mode k,
with the cell :math:`C_k` of points nearest to its centre, is

.. math:: Z_k = \int_{C_k} e^{-U(x) / T} \, dx , \qquad m_k = Z_k / \textstyle\sum_j Z_j ,

by quadrature for one or two columns, else by importance sampling from a multivariate t distribution
with the mean and covariance of the samples in the cell, refused where few of its draws count.

Not guaranteed: that there is no mode elsewhere, which neither samples nor data have.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..model import Model
from ..rng import generator
from ..training.evidence import energy_distance_coefficient
from .measure import EvaluationSection, Measure, unavailable

__all__ = ["AGREE", "DENSITY_WRONG", "masses", "model_masses"]

AGREE = "samples and density agree"
DENSITY_WRONG: Final = "samples good, density wrong"

SEPARATE = 0.6
"""Mean silhouette of clusters that lie apart; 0.35 to 0.5 where one Gaussian is cut in pieces."""

MAX_MODES = 8
MAX_DISTANCE = 0.17
"""Root of the energy coefficient of samples and exact draws of the density."""

MAX_OFF = 0.1
"""Mass in the wrong mode beyond two standard errors."""

ROWS, DRAWS, POINTS, MIN_ESS = 1000, 4000, 300, 100
DEGREES = 5
"""Degrees of freedom of the t distribution: its tails are heavier than those of a mode."""


class _Modes(NamedTuple):
    """The centres of modes, and the mass of each in the data and in the samples."""

    centres: Tensor
    data: Tensor
    samples: Tensor


def model_masses(model: Model) -> EvaluationSection:
    """Returns the section for samples that are drawn here, of a model with one or two columns.

    Arguments:
        model: The model.
    """
    if len(model.data.event_shape) != 1 or model.data.event_shape[0] > 2:
        return EvaluationSection([], {})
    rng = generator(model.settings.seed, "masses", 0, model.device)
    return masses(model, model.draw(model.available(ROWS), rng).x, rng)


@torch.no_grad()
def masses(model: Model, x: Tensor, rng: torch.Generator) -> EvaluationSection:
    """Returns the masses of the modes in data, samples and energy, and whether they agree.

    The section is empty for images, for rows of one mode in three columns or more, and for models
    without a density.

    Arguments:
        model: The model.
        x: Samples, shape (N, D), each of the same weight.
        rng: The source of the draws.
    """
    data, temperature = model.data, model.temperature
    defined = model.method.condition.unconditional and temperature > 0 and not model.method.latent
    if len(data.event_shape) != 1 or not defined or not bool(x.isfinite().all()):
        return EvaluationSection([], {})
    try:
        energy = model.density_energy()
    except ValueError:
        return EvaluationSection([], {})
    x, rows = x[:ROWS].to(data.train), data.train[:: -(-len(data.train) // ROWS)]
    if data.event_shape[0] <= 2:
        return _by_quadrature(energy, temperature, x, rows, rng)
    modes = _modes(rows, x)
    if modes is None:
        return EvaluationSection([], {})
    result = _by_importance(energy, temperature, modes, x, rng)
    if isinstance(result, str):
        return EvaluationSection([unavailable("masses of the energy", result)], {})
    return _compared(modes, *result, len(x), "importance sampling in each mode")


def _by_quadrature(
    energy: nn.Module, temperature: float, x: Tensor, rows: Tensor, rng: torch.Generator
) -> EvaluationSection:
    """The section of a line or a plane: exact draws of the density, and exact masses."""
    grid, width = _grid(rows)
    u = torch.cat([energy(part).cpu().double() for part in grid.split(20_000)]) / temperature
    share = torch.softmax(-u, 0)
    if not bool(share.isfinite().all()):
        return EvaluationSection([unavailable("density", "energies are not finite")], {})
    index = torch.multinomial(share, len(x), replacement=True, generator=rng)
    jitter = torch.rand(len(x), rows.shape[1], generator=rng) - 0.5
    exact = grid.cpu()[index].double() + width * jitter.double()
    distance = energy_distance_coefficient(x.cpu().double(), exact) ** 0.5
    measure = Measure(
        "samples and density",
        distance,
        better="lower",
        protocol=f"root of the energy coefficient of {len(x):,} samples and as many exact draws",
    )
    modes = _modes(rows, x)
    if modes is not None:
        cell = torch.cdist(grid, modes.centres).argmin(1).cpu()
        mass = torch.bincount(cell, share, minlength=len(modes.centres))
        section = _compared(modes, mass, torch.zeros_like(mass), len(x), "quadrature")
        section = section._replace(measures=[*section.measures, measure])
        if section.label == DENSITY_WRONG:
            return section
    else:
        section = EvaluationSection([measure], {}, AGREE, f"distance {distance:.2g}")
    if distance > MAX_DISTANCE:
        reason = (
            f"samples and exact draws of the density differ by {distance:.2g} (limit "
            f"{MAX_DISTANCE:g}): walkers are not samples of this energy"
        )
        return section._replace(label=DENSITY_WRONG, reason=reason)
    return section


def _compared(modes: _Modes, mass: Tensor, error: Tensor, n: int, how: str) -> EvaluationSection:
    """The section for the masses of the energy and their standard errors."""
    off = float((mass - modes.samples).abs().sum()) / 2
    sampling = (modes.samples * (1 - modes.samples) / n).sqrt()
    slack = float((error + sampling).sum())
    listed = [" / ".join(f"{v:.3f}" for v in m) for m in (mass, modes.samples, modes.data)]
    text = f"masses of {len(mass)} modes are {listed[0]} by the energy, {listed[1]} by its samples"
    reason = f"{text}, {listed[2]} in the data"
    protocol = f"by {how}: {listed[0]}; samples {listed[1]}; data {listed[2]}"
    measure = Measure("mass in the wrong mode", off, better="lower", protocol=protocol)
    label = DENSITY_WRONG if off > MAX_OFF + slack else AGREE
    return EvaluationSection([measure], {}, label, reason)


def _modes(rows: Tensor, x: Tensor) -> _Modes | None:
    """The modes of the rows; None where no clusters lie apart."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    points = rows.cpu().double().numpy()
    best, chosen = SEPARATE, None
    for k in range(2, min(MAX_MODES, len(points) // 10) + 1):
        fitted = KMeans(k, n_init=3, random_state=0).fit(points)
        labels = fitted.labels_
        if len(np.unique(labels)) < 2 or np.bincount(labels, minlength=k).min() < 5:
            continue
        score = silhouette_score(points, labels)
        if score > best:
            best, chosen = float(score), fitted.cluster_centers_
    if chosen is None:
        return None
    centres = torch.as_tensor(chosen).to(rows)
    data, samples = (
        torch.cdist(part, centres).argmin(1).cpu().bincount(minlength=len(centres)).double()
        for part in (rows, x)
    )
    return _Modes(centres, data / data.sum(), samples / samples.sum())


def _by_importance(
    energy: nn.Module, temperature: float, modes: _Modes, x: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor] | str:
    """The masses of the modes and their standard errors; the reason where they are not known."""
    logs, errors = [], []
    nearest, dimensions = torch.cdist(x, modes.centres).argmin(1), x.shape[1]
    for k in range(len(modes.centres)):
        part = x[nearest == k].cpu().double()
        if len(part) < 2 * dimensions:
            return f"mode {k + 1} has {len(part)} samples, fewer than twice the columns"
        covariance = torch.cov(part.T) + 1e-6 * torch.eye(dimensions).double()
        t = torch.distributions.MultivariateNormal(torch.zeros(dimensions).double(), covariance)
        normal = torch.randn(DRAWS, dimensions, generator=rng).double() @ t.scale_tril.T
        chi = torch.randn(DRAWS, DEGREES, generator=rng).double().square().sum(1) / DEGREES
        offset = normal / chi.sqrt()[:, None]
        y = (part.mean(0) + offset).to(x)
        u = energy(y).cpu().double() / temperature
        log_q = _log_t(offset, t.scale_tril)
        inside = torch.cdist(y, modes.centres).argmin(1).cpu() == k
        log_w = torch.where(inside, -u - log_q, -math.inf)
        w = torch.softmax(log_w, 0)
        ess = 1 / float(w.square().sum())
        if not ess >= MIN_ESS:
            return f"only {ess:.0f} of {DRAWS} draws count in mode {k + 1} (limit {MIN_ESS})"
        logs.append(torch.logsumexp(log_w, 0))
        errors.append(ess**-0.5)
    mass = torch.softmax(torch.stack(logs), 0)
    return mass, mass * (1 - mass) * torch.tensor(errors).double()


def _log_t(offset: Tensor, root: Tensor) -> Tensor:
    """The log-density of a multivariate t distribution, up to a constant of the dimension."""
    d = offset.shape[1]
    square = torch.linalg.solve_triangular(root, offset.T, upper=False).square().sum(0)
    return -root.diagonal().log().sum() - (DEGREES + d) / 2 * torch.log1p(square / DEGREES)


def _grid(rows: Tensor) -> tuple[Tensor, float]:
    """Points of a regular grid three times as wide as the rows, and the width of a cell."""
    low, high = rows.amin(0), rows.amax(0)
    half = 1.5 * float((high - low).max())
    points = POINTS if rows.shape[1] == 2 else POINTS**2
    side = torch.linspace(-half, half, points, dtype=rows.dtype, device=rows.device)
    grid = torch.cartesian_prod(*[side] * rows.shape[1]).reshape(-1, rows.shape[1])
    return grid + (low + high) / 2, 2 * half / (points - 1)
