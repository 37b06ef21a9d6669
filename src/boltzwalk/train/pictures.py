"""Pictures of positions: a grid of images, a scatter of points, histograms of columns."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["image_grid", "picture"]


def image_grid(x: Tensor, columns: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Returns images side by side, one pixel apart, as (height, width, channels) bytes.

    Arguments:
        x: The images, shape (N, C, H, W), with one channel or three.
        columns: Images in a row; 0 makes the grid about square.
        low: The value shown black.
        high: The value shown white.

    Example:
        >>> image_grid(torch.zeros(10, 1, 8, 8)).shape
        torch.Size([26, 35, 1])
    """
    n, channels, height, width = x.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = torch.full((rows, columns, channels, height + 1, width + 1), 0.5)
    shown = ((x.detach().float().cpu() - low) / (high - low)).clamp(0, 1)
    grid.view(-1, *grid.shape[2:])[:n, :, :height, :width] = shown
    grid = grid.permute(0, 3, 1, 4, 2).reshape(rows * (height + 1), -1, channels)
    return (grid[:-1, :-1] * 255).round().byte()


def picture(x: Tensor, reference: Tensor, low: float | None, high: float | None) -> bytes:
    """Returns a PNG of samples; a table or points in the plane are drawn over the reference.

    Arguments:
        x: The samples, shape (N, *event).
        reference: Real data, of the same event shape.
        low: The least value of an image, shown black.
        high: The largest value of an image, shown white.
    """
    if x.ndim == 4 and x.shape[1] in (1, 3):
        grid = image_grid(x, low=-1.0 if low is None else low, high=1.0 if high is None else high)
        scale = max(1, 640 // grid.shape[1])
        image = Image.fromarray(grid.numpy().squeeze(-1) if x.shape[1] == 1 else grid.numpy())
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()
    return _plot(x.flatten(1).cpu().numpy(), reference.flatten(1).cpu().numpy())


def _plot(x: np.ndarray, reference: np.ndarray) -> bytes:
    """A scatter in two dimensions, else a histogram for each of the first twelve columns."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    if x.shape[1] == 2:
        axes = figure.subplots()
        axes.scatter(reference[:2000, 0], reference[:2000, 1], s=4, c="0.75", label="data")
        axes.scatter(x[:, 0], x[:, 1], s=4, c="tab:red", label="samples")
        axes.set_aspect("equal")
        axes.legend(loc="upper right")
    else:
        shown = min(x.shape[1], 12)
        for column, axes in enumerate(figure.subplots(4, 3).flat):
            if column >= shown:
                axes.axis("off")
                continue
            edges = np.histogram_bin_edges(reference[:, column], 30)
            for values, colour in ((reference, "0.75"), (x, "tab:red")):
                step = "stepfilled" if colour == "0.75" else "step"
                axes.hist(values[:, column], edges, density=True, histtype=step, color=colour)
            axes.set_title(f"column {column}", fontsize=8)
            axes.tick_params(labelsize=6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
