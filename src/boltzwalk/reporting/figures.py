"""Figures of a page: curves and histograms as SVG, and pictures of chains and neighbours as PNG.

Each panel is a separate SVG in the colours of the page, light or dark, so that a narrow screen can
stack them and letters keep the size of the text.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from itertools import pairwise

import torch
from torch import Tensor

from ..data import Dataset
from ..metrics.neighbours import nearest_neighbours
from ..model import Model
from ..rng import generator
from ..training.pictures import image_png
from ..walkers import walkers_at

__all__ = [
    "Curve",
    "bars",
    "chain_pictures",
    "curves",
    "heat_map",
    "histograms",
    "neighbour_pictures",
    "panel",
]


INK = "#010203"
"""The colour that becomes the text colour of the page."""

COLOURS = ("#3f7fd0", "#d1592b", "#2f9e63", "#9a62c8", "#b58900", "#c2477f", "#5b8a8a", "#7d7d7d")
"""Readable on white and on black."""

POINTS = 400
"""The largest number of points of a curve."""


class Curve(NamedTuple):
    """One line of a panel."""

    name: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike = ()
    high: ArrayLike = ()
    dashed: bool = False
    colour: int = -1  # an index into `COLOURS`; -1 takes the next one


def panel(title: str, draw: Callable[[Axes], None], height: float = 2.6) -> str:
    """Returns a figure of one panel as an `<svg>` element.

    Arguments:
        title: Its title, from which the identifiers in the SVG are made: a page is reproducible.
        draw: Draws into the axes.
        height: Its height in inches; the width is 4.6.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {  # its keys are matplotlib's
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "legend.frameon": False,
        "legend.fontsize": 8,
        **dict.fromkeys(
            (
                "text.color",
                "axes.edgecolor",
                "axes.labelcolor",
                "axes.titlecolor",
                "xtick.color",
                "ytick.color",
            ),
            INK,
        ),
    }
    buffer = io.StringIO()
    with mpl.rc_context(style):
        figure = Figure(figsize=(4.6, height), layout="constrained")
        axes = figure.subplots()
        axes.set_prop_cycle(color=COLOURS)
        draw(axes)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue())


def _plain(text: str) -> str:
    """A text of a user without formulas: matplotlib would read those between dollars."""
    return text.replace("$", r"\$")


def curves(
    title: str,
    lines: Sequence[Curve],
    note: str = "",
    zero: bool = False,
    logarithmic: str = "",
) -> str:
    """Returns a panel of curves.

    Arguments:
        title: The title.
        lines: The curves; those without a finite point are left out.
        note: A note below the axis.
        zero: Whether to draw the line at 0.
        logarithmic: "x", "y" or "xy" for logarithmic axes.
    """

    def draw(axes: Axes) -> None:
        for line in lines:
            x, y, low, high = (np.asarray(v, dtype=float) for v in line[1:5])
            some = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).astype(int))
            if not len(x) or not np.isfinite(y).any():
                continue
            kind = "--" if line.dashed else "-"
            mark = "o" if len(x) < 30 else ""
            (line2d,) = axes.plot(
                x[some], y[some], kind, marker=mark, ms=3, lw=1.1, label=_plain(line.name)
            )
            if line.colour >= 0:
                line2d.set_color(COLOURS[line.colour % len(COLOURS)])
            if len(low):
                axes.fill_between(
                    x[some], low[some], high[some], alpha=0.25, color=line2d.get_color(), lw=0
                )
        if zero:
            axes.axhline(0, color=INK, lw=0.6)
        _finish(axes, title, note, len([line for line in lines if line.name]) > 1, logarithmic)

    return panel(title, draw)


def histograms(title: str, values: Mapping[str, Sequence[float]], note: str = "") -> str:
    """Returns a panel of histograms over the same bins.

    The axis spans the 0.5 % to 99.5 % quantiles of each kind; the outermost bins count values
    beyond.

    Arguments:
        title: The title.
        values: The values of each kind.
        note: A note below the axis.
    """
    arrays = {name: np.asarray(v, dtype=float) for name, v in values.items()}
    arrays = {name: v[np.isfinite(v)] for name, v in arrays.items()}
    arrays = {name: v for name, v in arrays.items() if len(v)}

    def draw(axes: Axes) -> None:
        if arrays:
            ends = np.array([np.quantile(v, (0.005, 0.995)) for v in arrays.values()])
            low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
            edges = np.linspace(low, high if high > low else low + 1, 61).tolist()
            for name, v in arrays.items():
                inside = v.clip(edges[0], edges[-1])
                axes.hist(
                    inside,
                    edges,
                    weights=np.full(len(v), 1 / len(v)),
                    histtype="stepfilled",
                    alpha=0.35,
                    label=_plain(name),
                )
        axes.set_yticks([])
        _finish(axes, title, note, len(arrays) > 1, "")

    return panel(title, draw)


def bars(title: str, heights: Mapping[int, float], note: str = "", band: float = math.nan) -> str:
    """Returns a panel of thin bars, one a lag.

    Arguments:
        title: The title.
        heights: The height at each lag.
        note: A note below the axis.
        band: The half-width within which a height is noise.
    """

    def draw(axes: Axes) -> None:
        axes.bar(list(heights), list(heights.values()), width=0.5, color=COLOURS[0])
        axes.axhline(0, color=INK, lw=0.6)
        if math.isfinite(band):
            axes.axhspan(-band, band, color=INK, alpha=0.1, lw=0)
        _finish(axes, title, note, legend=False, logarithmic="")

    return panel(title, draw, 2.2)


def heat_map(
    title: str,
    columns: Sequence[str],
    rows: Sequence[str],
    cells: Mapping[tuple[str, str], tuple[float, str]],
    note: str = "",
    labels: tuple[str, str] = ("", ""),
) -> str:
    """Returns a panel of cells, each with a shade and a text.

    Arguments:
        title: The title.
        columns: The names of the columns.
        rows: The names of the rows, the lowest first.
        cells: The shade from 0 (bad) to 1 (good) and the text, by column and row.
        note: A note below the axis.
        labels: The labels of the columns and of the rows.
    """

    def draw(axes: Axes) -> None:
        for (column, row), (shade, text) in cells.items():
            x, y = columns.index(column), rows.index(row)
            colour = COLOURS[2] if shade >= 0.5 else COLOURS[1]
            strength = 0.1 + 0.7 * abs(2 * shade - 1)
            axes.fill_between(
                [x - 0.48, x + 0.48], y - 0.46, y + 0.46, color=colour, alpha=strength, lw=0
            )
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color=INK)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.tick_params(length=0)
        axes.set_ylabel(labels[1], fontsize=8)
        _finish(axes, title, f"{labels[0]}\n{note}".strip(), legend=False, logarithmic="")

    return panel(title, draw, 1.2 + 0.45 * max(2, len(rows)))


def _finish(axes: Axes, title: str, note: str, legend: bool, logarithmic: str) -> None:
    axes.set_title(_plain(title), loc="left")
    axes.set_xlabel(note, fontsize=8)
    if "x" in logarithmic:
        axes.set_xscale("log")
    if "y" in logarithmic:
        axes.set_yscale("log")
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend()


def _inline(svg: str) -> str:
    """The `<svg>` element alone: without header, metadata, name spaces, style and fixed size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace(INK, "currentColor")


CHAINS, PAIRS = 5, 16
SCATTERED = 500


def chain_pictures(model: Model, from_data: bool) -> tuple[bytes, str] | None:
    """Returns a PNG of chains at several numbers of steps, and its caption; None for other data.

    None as well for a model with a condition, which has no energy of x alone. Images have one row
    for each chain, points in the plane one panel for each number of steps.

    Arguments:
        model: The model.
        from_data: Whether they start from held-out data instead of noise. A generalized model has
            chains from latent noise only.
    """
    data, usual = model.data, model.method.steps
    image, plane = len(data.event_shape) == 3, data.event_shape == (2,)
    if not model.method.condition.unconditional or not (image or plane):
        return None
    rng = generator(model.settings.seed, "film", int(from_data), data.train.device)
    n = CHAINS if image else SCATTERED
    rows = data.test if len(data.test) >= n else data.train
    x = rows[:n] if from_data else data.noise(n, rng)
    checkpoints = sorted({0, 1, usual // 4, usual // 2, usual, 2 * usual, 5 * usual, 10 * usual})
    if model.method.latent:
        if from_data:  # data do not determine latent variables
            return None
        frames = [
            walkers.x for walkers in model.method.trajectory(model.module, n, checkpoints, rng)
        ]
    else:
        chains, frames = walkers_at(model.module, x), [x]
        for before, after in pairwise(checkpoints):
            chains = model.move(chains, after - before, rng)
            frames.append(chains.x)
    steps = ", ".join(f"{steps:,}" for steps in checkpoints)
    caption = f"after {steps} steps, {usual} in training"
    frames = [frame.nan_to_num(0.0) for frame in frames]
    if image:
        return image_png(torch.stack(frames, 1).flatten(0, 1), data, len(checkpoints)), caption
    return _scatters(frames, checkpoints, data), caption


def neighbour_pictures(model: Model) -> bytes | None:
    """Returns a PNG of samples, each with its nearest training image below; None for other data.

    Arguments:
        model: The model.
    """
    data = model.data
    if len(data.event_shape) != 3 or model.method.condition.completes:
        return None
    rng = generator(model.settings.seed, "neighbours", 0, data.train.device)
    x = model.draw(model.available(PAIRS), rng).x
    x = x[x.flatten(1).isfinite().all(1)]
    if not len(x):
        return None
    index = nearest_neighbours(x.flatten(1).cpu(), data.train.flatten(1).cpu())[1]
    neighbours = data.train[index.to(data.train.device)]
    return image_png(torch.cat([x, neighbours]), data, len(x))


def _scatters(frames: list[Tensor], checkpoints: list[int], data: Dataset) -> bytes:
    """Points in the plane at each number of steps, over the range of the data."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * len(frames), 2.2), layout="constrained")
    reference = data.to_original(data.train[:2000]).cpu().numpy()
    low, high = reference.min(0), reference.max(0)
    margin = 0.3 * (high - low)
    panels = figure.subplots(1, len(frames))
    for axes, frame, steps in zip(panels, frames, checkpoints, strict=True):
        points = data.to_original(frame).cpu().numpy()
        axes.scatter(reference[:, 0], reference[:, 1], s=1, c="0.8")
        axes.scatter(points[:, 0], points[:, 1], s=1, c="tab:red")
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axes.set_title(f"{steps:,}", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
