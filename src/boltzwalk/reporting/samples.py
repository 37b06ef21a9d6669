r"""The section of samples: images, points in the plane or columns, next to held-out data.

Of a table each column has a line. It is marked where the Kolmogorov-Smirnov distance of samples and
held-out rows exceeds

.. math:: 1.36 \sqrt{1/n + 1/m} ,

which independent rows of one distribution do in 5 % of cases, with n samples and m held-out rows.

| F. J. Massey, The Kolmogorov-Smirnov test for goodness of fit, JASA 46 (1951)
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data import Dataset
from ..model import Model
from ..rng import generator
from ..training.pair_plot import column_distances
from ..training.pictures import picture
from .figures import chain_pictures, neighbour_pictures
from .html import Cell, CellTable, Figure, Section, image

__all__ = ["column_table", "density_picture", "samples_section"]

SAMPLES = 1000
"""The samples of a table that are compared with held-out rows."""

PIXELS = 200
"""The points of a density along each axis."""

MARGIN = 0.15
"""The margin of a density on each side, in widths of the data."""

CRITICAL = 1.36
"""The factor of the 5 % limit of the Kolmogorov-Smirnov distance."""


def samples_section(model: Model, folder: Path) -> Section:
    """Returns samples and data, nearest neighbours, and chains along their steps.

    Arguments:
        model: The model.
        folder: Its folder, with the picture of samples that training made.
    """
    data = model.data
    if _is_table(data):
        rng = generator(model.settings.seed, "page", 0, model.device)
        x = model.draw(model.available(SAMPLES), rng).x
        caption = "samples over held-out rows"
        figures = [Figure(image(picture(x, data)), caption, wide=True, smooth=True)]
        return Section("Samples", figures=figures, tables=[column_table(x, data)])
    rows, split = data.test_rows()
    n = 100 if len(data.event_shape) == 3 else SAMPLES
    figures = [Figure(image((folder / "samples.png").read_bytes()), _caption(model))]
    if len(data.event_shape) == 3:
        figures.append(Figure(image(picture(rows[:n], data)), f"{split} data"))
    density = density_picture(model)
    if density is not None:
        figures.append(Figure(image(density), "density of the model, with held-out rows"))
    neighbours = neighbour_pictures(model)
    if neighbours is not None:
        caption = "samples, and below each the training image nearest to it"
        figures.append(Figure(image(neighbours), caption, wide=True))
    for from_data in (False, True):
        chains = chain_pictures(model, from_data)
        if chains is not None:
            png, caption = chains
            start = "held-out data" if from_data else "noise"
            figures.append(Figure(image(png), f"chains from {start}, {caption}", wide=True))
    return Section("Samples", figures=figures)


@torch.no_grad()
def density_picture(model: Model) -> bytes | None:
    """Returns a PNG of the density of a model of points in the plane; None for other models.

    Arguments:
        model: The model.
    """
    data = model.data
    if data.event_shape != (2,) or not model.method.condition.unconditional:
        return None
    try:
        energy = model.density_energy()
    except ValueError:  # the base has no density
        return None
    if not model.temperature > 0:
        return None
    rows = data.held_out()[0]
    low, high = rows.amin(0), rows.amax(0)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    axis = torch.linspace(0, 1, PIXELS, device=rows.device)
    points = low + (high - low) * torch.cartesian_prod(axis, axis)
    log_p = -torch.cat([energy(part) for part in points.split(10_000)]).cpu() / model.temperature
    density = (log_p - log_p.max()).exp().reshape(PIXELS, PIXELS).T  # rows are the second axis
    if not bool(density.isfinite().all()):
        return None
    ends = data.to_original(torch.stack([low, high])).cpu()
    return _density_png(density.numpy(), ends.numpy(), data.to_original(rows).cpu().numpy())


def _density_png(density: np.ndarray, ends: np.ndarray, rows: np.ndarray) -> bytes:
    """A density as shades of blue under points."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(6, 6), layout="constrained")
    axes = canvas.subplots()
    extent = (ends[0, 0], ends[1, 0], ends[0, 1], ends[1, 1])
    axes.imshow(density, origin="lower", extent=extent, cmap="Blues", aspect="auto")
    axes.scatter(rows[:SAMPLES, 0], rows[:SAMPLES, 1], s=3, c="tab:red", lw=0, alpha=0.6)
    axes.set_aspect("equal")
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _is_table(data: Dataset) -> bool:
    """Whether rows are columns of numbers, other than points in the plane without names."""
    return len(data.event_shape) == 1 and (bool(data.columns) or data.event_shape != (2,))


def _caption(model: Model) -> str:
    """The caption of the picture of samples."""
    if model.method.condition.completes:
        return "held-out images: observed pixels, completions, the images"
    return "samples, a line for each class" if model.method.condition.classes else "samples"


def column_table(x: Tensor, data: Dataset) -> CellTable:
    """Returns a line for each column: mean and spread of samples and of held-out rows.

    Arguments:
        x: The samples, in model units, shape (N, D).
        data: The data that they should be like.
    """
    held_out, name = data.held_out()
    samples, rows = (
        data.to_original(part).detach().double().cpu().numpy() for part in (x, held_out)
    )
    samples = samples[np.isfinite(samples).all(1)]
    if not len(samples):
        return CellTable([[Cell("no sample is finite", "value")]])
    limit = CRITICAL * math.sqrt(1 / len(samples) + 1 / len(rows))
    names = data.columns or tuple(f"column {i}" for i in range(rows.shape[1]))
    lines = [
        [
            Cell(column),
            Cell(_spread(y)),
            Cell(_spread(s)),
            Cell(f"{distance:.3f}{' differs' if distance > limit else ''}", "value"),
        ]
        for column, y, s, distance in zip(
            names, rows.T, samples.T, column_distances(samples, rows), strict=True
        )
    ]
    head = ["column", name, f"{len(samples):,} samples", f"KS distance (5 % limit {limit:.3f})"]
    return CellTable(lines, head, "Columns: mean ± standard deviation", kind="columns")


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.4g} ± {values.std():.3g}"
