r"""Pair plot of a table: samples over rows of data, column by column and pair by pair.

The diagonal has the histogram of each column; below it are scatters of each pair, above it the
correlation of each pair in the data and in the samples. Of a table with more columns than fit,
those are shown whose distribution the samples miss most, by the two-sample Kolmogorov-Smirnov
distance

.. math:: D = \sup_v | F_{\text{samples}}(v) - F_{\text{data}}(v) | .

An axis spans the central 95 % of the data and a margin of half of that, so that a few outliers do
not hide the rest; the numbers of samples and of rows beyond it are printed.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MOST_COLUMNS", "column_distances", "pair_plot", "worst_columns"]

MOST_COLUMNS = 5
"""The columns of a pair plot at most."""

DATA, SAMPLES = "0.6", "#c8452b"
"""The colours of the two kinds of rows."""

BINS = 30

MARGIN = 0.5
"""The margin of an axis on both sides, in widths of the central 95 % of the data: an axis of normal
rows ends at 3.9 deviations."""

LETTERS = 28
"""The most letters of the name of an axis."""

POINTS = 1000
"""The points of each kind in a scatter, at most."""


def column_distances(
    samples: Float[np.ndarray, "N D"], data: Float[np.ndarray, "M D"]
) -> Float[np.ndarray, " D"]:
    """Returns the Kolmogorov-Smirnov distance of each column, shape (D,), between 0 and 1.

    Arguments:
        samples: The samples, shape (N, D).
        data: The rows that they should be like, shape (M, D).

    Example:
        >>> column_distances(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]]))
        array([0.5])
    """
    distances = []
    for x, y in zip(np.sort(samples, 0).T, np.sort(data, 0).T, strict=True):
        values = np.concatenate([x, y])
        below = [np.searchsorted(part, values, side="right") / len(part) for part in (x, y)]
        distances.append(np.abs(below[0] - below[1]).max())
    return np.array(distances)


def worst_columns(
    samples: Float[np.ndarray, "N D"], data: Float[np.ndarray, "M D"], most: int = MOST_COLUMNS
) -> list[int]:
    """Returns the numbers of the columns that samples miss most, in the order of the table.

    Arguments:
        samples: The samples, shape (N, D).
        data: The rows that they should be like, shape (M, D).
        most: The largest number of columns.
    """
    distances = column_distances(samples, data)
    return sorted(np.argsort(-distances, kind="stable")[:most].tolist())


def pair_plot(
    samples: Float[np.ndarray, "N D"],
    data: Float[np.ndarray, "M D"],
    columns: Sequence[str] = (),
    label: str = "data",
) -> bytes:
    """Returns a PNG of samples over data.

    Arguments:
        samples: The samples in the units of the data, shape (N, D).
        data: The rows that they should be like, shape (M, D).
        columns: The names of the columns; empty for numbers.
        label: The name of the data in the legend.
    """
    import matplotlib as mpl

    # Names of columns are plain text; a letter that the font lacks is drawn as a box.
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        return _draw(samples, data, columns, label)


def _draw(samples: np.ndarray, data: np.ndarray, columns: Sequence[str], label: str) -> bytes:
    """The PNG of a pair plot."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    finite = samples[np.isfinite(samples).all(1)]
    shown = worst_columns(finite, data) if len(finite) else list(range(data.shape[1]))
    shown = shown[:MOST_COLUMNS]
    names = [_short(columns[i] if columns else f"column {i}") for i in shown]
    limits = [_limits(column) for column in data[:, shown].T]
    n = len(shown)
    figure = Figure(figsize=(2 * max(n, 2) + 0.4, 2 * max(n, 2) + 0.6), layout="constrained")
    grid: list[list[Axes]] = figure.subplots(n, n, squeeze=False).tolist()
    for row, column in np.ndindex(n, n):
        axes = grid[row][column]
        pair = [shown[column], shown[row]]
        if row == column:
            _marginal(axes, finite[:, shown[row]], data[:, shown[row]], limits[row])
        elif row > column:
            _scatter(axes, finite[:, pair], data[:, pair])
            axes.set_xlim(*limits[column])
            axes.set_ylim(*limits[row])
        else:
            _correlation(axes, finite[:, pair], data[:, pair])
        _label(axes, names, row, column)
    marks = [Line2D([], [], marker="o", ls="", color=colour) for colour in (DATA, SAMPLES)]
    figure.legend(
        marks, [label, "samples"], loc="outside upper left", ncols=2, frameon=False, fontsize=9
    )
    _note(figure, samples, finite, data, limits, shown)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _short(name: str) -> str:
    """A name of one line that fits its axis."""
    name = "".join(c if c.isprintable() else " " for c in name)
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..."


def _limits(values: np.ndarray) -> tuple[float, float]:
    """The ends of an axis: the central 95 % and a margin."""
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    margin = MARGIN * (high - low) or 0.5 * abs(high) or 0.5
    return low - margin, high + margin


def _marginal(axes: Axes, x: np.ndarray, y: np.ndarray, limits: tuple[float, float]) -> None:
    """Histograms of one column over the same bins."""
    edges = np.linspace(*limits, BINS + 1).tolist()
    axes.hist(y, edges, density=True, color=DATA, alpha=0.6)
    if ((x >= limits[0]) & (x <= limits[1])).any():
        axes.hist(x, edges, density=True, histtype="step", color=SAMPLES, lw=1.3)
    axes.set_xlim(*limits)


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Points of one pair of columns."""
    n = min(POINTS, len(x), len(y))  # as many of each: more would hide the others
    for points, colour in ((y, DATA), (x, SAMPLES)):
        axes.scatter(points[:n, 0], points[:n, 1], s=5, c=colour, alpha=0.6, lw=0)


def _correlation(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """The correlation of one pair of columns in the data and in the samples."""
    for height, rows, colour in ((0.6, y, "0.35"), (0.4, x, SAMPLES)):
        text = f"{_pearson(rows):+.2f}" if len(rows) > 1 else ""
        axes.text(0.5, height, text, ha="center", va="center", color=colour, fontsize=11)


def _pearson(rows: np.ndarray) -> float:
    """The correlation of two columns; nan where one is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(rows.T)[0, 1])


def _label(axes: Axes, names: Sequence[str], row: int, column: int) -> None:
    """The names at the left and at the bottom, as plain text, and no ticks inside."""
    axes.tick_params(labelsize=6)
    axes.locator_params(nbins=4)
    if column > row:
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_visible(False)
    if row < len(names) - 1:
        axes.set_xticklabels([])
    else:
        axes.set_xlabel(names[column], fontsize=8)
    if column > 0 or row == 0:
        axes.set_yticklabels([])
    if row == column:
        axes.set_yticks([])
    if column == 0:
        axes.set_ylabel(names[row], fontsize=8)


def _note(
    figure: Figure,
    samples: np.ndarray,
    finite: np.ndarray,
    data: np.ndarray,
    limits: Sequence[tuple[float, float]],
    shown: Sequence[int],
) -> None:
    """The line below: the choice of columns, rows beyond the axes, samples that are not finite."""
    parts = []
    if samples.shape[1] > len(shown):
        parts.append(f"{len(shown)} of {samples.shape[1]} columns: those where samples differ most")
    low, high = np.array(limits).T
    for name, rows in (("samples", finite), ("rows", data)):
        beyond = ((rows[:, shown] < low) | (rows[:, shown] > high)).any(1).sum()
        if beyond:
            parts.append(f"{beyond:,} of {len(rows):,} {name} lie beyond the axes")
    if len(finite) < len(samples):
        parts.append(f"{len(samples) - len(finite):,} samples are not finite")
    if len(shown) > 1:
        parts.append("numbers: correlation of the data, of the samples")
    if parts:
        figure.supxlabel("; ".join(parts), fontsize=7, x=0.01, ha="left")
