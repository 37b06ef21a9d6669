"""Pictures of positions: a grid of images, a scatter of points, histograms of columns."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data import Dataset

__all__ = ["image_grid", "image_png", "picture", "picture_of_classes", "side_by_side"]

GAP = 16
"""Pixels between pictures side by side."""

EACH = 10
"""Images of a class in the picture of several, at most."""


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


def picture(x: Tensor, dataset: Dataset) -> bytes:
    """Returns a PNG of samples; points in the plane and columns are drawn over training data.

    Arguments:
        x: The samples, shape (N, *event), in the units of the model.
        dataset: The data that they should be like.
    """
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return image_png(x, dataset)
    values, reference = (
        dataset.to_original(rows).flatten(1).detach().float().cpu().numpy()
        for rows in (x, dataset.train)
    )
    return _plot(values, reference, dataset.columns)


def image_png(x: Tensor, dataset: Dataset, columns: int = 0) -> bytes:
    """Returns a PNG of images side by side, scaled up to about 640 pixels.

    Arguments:
        x: The images, shape (N, C, H, W), in the units of the model.
        dataset: The data, which have the range that is shown.
        columns: Images in a row; 0 makes the grid about square.
    """
    low = -1.0 if dataset.low is None else dataset.low
    grid = image_grid(x, columns, low, 1.0 if dataset.high is None else dataset.high)
    scale = max(1, 640 // grid.shape[1])
    image = Image.fromarray(grid.numpy().squeeze(-1) if x.shape[1] == 1 else grid.numpy())
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def picture_of_classes(x: Tensor, labels: Tensor, dataset: Dataset) -> bytes:
    """Returns a PNG of samples of several classes; images have one line for each.

    Arguments:
        x: The samples, shape (N, *event), in the units of the model.
        labels: The class that each was asked for, shape (N,).
        dataset: The data that they should be like.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        return picture(x, dataset)
    every = [x[labels == label] for label in labels.unique()]
    columns = min(EACH, *map(len, every)) if len(every) > 1 else 0
    return image_png(torch.cat([rows[: columns or EACH**2] for rows in every]), dataset, columns)


def side_by_side(*pngs: bytes) -> bytes:
    """Returns one PNG of several that are next to each other.

    Arguments:
        pngs: The pictures.
    """
    images = [Image.open(io.BytesIO(png)).convert("RGB") for png in pngs]
    wide, high = sum(i.width + GAP for i in images) - GAP, max(i.height for i in images)
    joined = Image.new("RGB", (wide, high), "white")
    left = 0
    for image in images:
        joined.paste(image, (left, 0))
        left += image.width + GAP
    buffer = io.BytesIO()
    joined.save(buffer, "PNG")
    return buffer.getvalue()


def _plot(x: np.ndarray, reference: np.ndarray, columns: tuple[str, ...]) -> bytes:
    """A scatter in two dimensions, else a histogram for each of the first twelve columns."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    if x.shape[1] == 2:
        axes = figure.subplots()
        axes.scatter(reference[:2000, 0], reference[:2000, 1], s=4, c="0.75", label="data")
        axes.scatter(x[:, 0], x[:, 1], s=4, c="tab:red", label="samples")
        if not columns:
            axes.set_aspect("equal")
        axes.legend(loc="upper right")
    else:
        for column, axes in enumerate(figure.subplots(4, 3).flat):
            if column >= x.shape[1]:
                axes.axis("off")
                continue
            edges = np.histogram_bin_edges(reference[:, column], 30)
            axes.hist(reference[:, column], edges, density=True, color="0.75")
            axes.hist(x[:, column], edges, density=True, histtype="step", color="tab:red")
            axes.set_title(columns[column] if columns else f"column {column}", fontsize=8)
            axes.tick_params(labelsize=6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
