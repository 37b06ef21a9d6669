"""The picture of a completed table: what was filled in, beside the truth and the training mean."""

from __future__ import annotations

import io

import torch

from ..data import Dataset
from .inputs import Inputs
from .variants import Completed

__all__ = ["table_png"]

ROWS = 40
"""Rows of a column in the picture, at most."""

COLUMNS = 12
"""Columns in the picture, at most: those with hidden values, in their order."""


def table_png(dataset: Dataset, inputs: Inputs, found: Completed) -> bytes:
    """Returns a PNG with one panel for each column that has hidden values, in original units.

    Arguments:
        dataset: The data of the model, a table.
        inputs: The rows that were completed.
        found: Their completions.
    """
    from matplotlib.figure import Figure

    hidden = inputs.hidden.cpu()
    names = dataset.columns or tuple(f"column{i}" for i in range(hidden.shape[1]))
    shown = hidden.any(0).nonzero().flatten().tolist()[:COLUMNS]
    mean = dataset.to_original(dataset.train.mean(0, keepdim=True))[0].cpu()
    truth = None if inputs.truth is None else dataset.to_original(inputs.truth).cpu()
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(4 * across, 2.4 * down + 0.4), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[len(shown) :]:
        axes.axis("off")
    for column, axes in zip(shown, panels, strict=False):
        rows = hidden[:, column].nonzero().flatten()[:ROWS]
        filled = found.original[rows, :, column]
        at = torch.arange(len(rows))
        axes.axhline(float(mean[column]), color="0.8", zorder=0, label="training mean")
        wide = at[:, None].expand_as(filled).flatten()
        axes.scatter(wide, filled.flatten(), s=9, c="tab:red", alpha=0.6, label="completed")
        if truth is not None:
            axes.scatter(at, truth[rows, column], s=60, c="black", marker="_", label="truth")
        axes.set_title(names[column], fontsize=9)
        axes.set_xticks(at.tolist()[:: max(1, len(rows) // 8)])
        axes.set_xticklabels([str(int(row)) for row in rows[:: max(1, len(rows) // 8)]])
        axes.tick_params(labelsize=7)
        axes.set_xlabel("row", fontsize=7)
    figure.axes[0].legend(fontsize=6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
