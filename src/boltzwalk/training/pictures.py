"""Pictures of samples, and samples as files.

Images are shown as a grid, points in the plane as a scatter, a table as a pair plot.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data import Dataset
from ..data.readable import formula_note, quoted_formula, readable_rows
from ..durable import write_atomically
from ..model import Model
from ..rng import generator
from .pair_plot import pair_plot

__all__ = [
    "image_grid",
    "image_png",
    "picture",
    "picture_of_classes",
    "side_by_side",
    "write_samples",
]


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
    """Returns a PNG of samples; points in the plane and columns are drawn over held-out data.

    Arguments:
        x: The samples, shape (N, *event), in the units of the model.
        dataset: The data that they should be like.
    """
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return image_png(x, dataset)
    held_out, name = dataset.held_out()
    values, reference = (
        dataset.to_original(rows).flatten(1).detach().double().cpu().numpy()
        for rows in (x, held_out)
    )
    if values.shape[1] == 2 and not dataset.columns:
        return _scatter(values, reference, name)
    return pair_plot(values, reference, dataset.columns, name)


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


def _scatter(x: np.ndarray, reference: np.ndarray, label: str) -> bytes:
    """Points in the plane over those of the data."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(reference[:2000, 0], reference[:2000, 1], s=4, c="0.75", label=label)
    axes.scatter(x[:, 0], x[:, 1], s=4, c="tab:red", label="samples")
    axes.set_aspect("equal")
    axes.legend(loc="upper right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def write_samples(
    model: Model,
    path: Path,
    n: int,
    steps: int = 0,
    seed: int = 0,
    from_noise: bool = False,
    label: str | None = None,
    quote_formulas: bool = False,
) -> list[str]:
    """Draws samples, writes them and their picture, and returns lines that say so.

    Arguments:
        model: The model.
        path: A .npz file (x in the units of the model, original in those of the data, energy), a
            .csv file (original), or a .png file (the picture alone). Next to a.npz or a.csv the
            picture is a_picture.png.
        n: The number of samples.
        steps: The number of kernel steps; 0 takes those of training.
        seed: The seed of the noise.
        from_noise: Whether the walkers start from noise even where some were stored.
        label: The class that a model of classes is asked for, its number or its name; None for as
            many of each. The .npz file then has their labels.
        quote_formulas: Whether names of columns that are formulas get an apostrophe in a .csv file.

    Raises:
        ValueError: If the ending of the path is another, or a sample is not finite; if there is
            no such class, or the model only completes images.
    """
    data, condition = model.data, model.method.condition
    if path.suffix not in (".npz", ".csv", ".png"):
        raise ValueError(f"out must end in .npz, .csv or .png, got {path.name!r}")
    if path.suffix == ".csv" and len(data.event_shape) != 1:
        raise ValueError(f"a .csv file holds tables, got images for {path.name!r}; write .npz")
    labels = condition.labels(data, n, label)
    c = condition.of_labels(labels)
    walkers = model.draw(n, generator(seed, "sample", 0, model.device), steps, from_noise, c)
    _require_finite(walkers.x)
    lines = [f"{n} samples, {steps or model.method.steps} steps each, seed {seed}"]
    if path.suffix != ".png":
        if path.suffix == ".csv":
            content = _csv(readable_rows(data, walkers.x), data.columns, quote_formulas)
        else:
            original = data.to_original(walkers.x).detach().cpu().numpy()
            arrays = {} if labels is None else {"label": labels.cpu().numpy()}
            arrays |= {"x": _array(walkers.x), "energy": _array(walkers.energy)}
            content = _npz(**arrays, original=original)
        write_atomically(path, content)
        notes = formula_note(data.columns, quote_formulas) if path.suffix == ".csv" else []
        lines += [f"samples  {path}", *(f"note     {line}" for line in notes)]
    # A name that differs from the path: a.png may be the user's.
    image = path if path.suffix == ".png" else path.with_name(f"{path.stem}_picture.png")

    def shown(x: Tensor) -> bytes:
        if labels is not None:
            return picture_of_classes(x, labels, data)
        return picture(x[: 100 if len(data.event_shape) == 3 else 1000], data)

    png, note = shown(walkers.x), ""
    proposed = model.propose(n, generator(seed, "sample", 0, model.device), c)
    if proposed is not None:
        png = side_by_side(shown(proposed), png)
        note = " (left: proposals of the base, right: the same refined)"
        if model.method.latent:
            note = " (left: the base, right: the model, from the same latent noise)"
    write_atomically(image, png)
    return [*lines, f"picture  {image}{note}"]


def _require_finite(x: Tensor) -> None:
    finite = x.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        share = 1 - float(finite.float().mean())
        raise ValueError(f"samples must be finite, {share:.0%} are not; try fewer --steps")


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _csv(rows: np.ndarray, columns: Sequence[str], quote_formulas: bool) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if columns:
        writer.writerow(map(quoted_formula, columns) if quote_formulas else columns)
    writer.writerows(rows.tolist())  # each with the shortest digits that tell it apart
    return buffer.getvalue().encode()
