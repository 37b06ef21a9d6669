"""Samples as files: what a user takes away from a run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from torch import Tensor

from ..rng import generator
from .checkpoint import write_atomically
from .pictures import picture, side_by_side
from .run import Run, draw, proposals

__all__ = ["write_samples"]


def write_samples(
    run: Run, path: Path, n: int, steps: int = 0, seed: int = 0, from_noise: bool = False
) -> list[str]:
    """Draws samples, writes them and their picture, and returns what was written in words.

    Arguments:
        run: The run.
        path: A .npz file (x in the units of the model, original in those of the data, energy), a
            .csv file (original), or a .png file (the picture alone). Next to a.npz or a.csv the
            picture is a_picture.png.
        n: How many samples.
        steps: The number of kernel steps; 0 takes those of training.
        seed: The seed of the noise.
        from_noise: Whether the walkers start from noise even where some were kept.

    Raises:
        ValueError: If the ending of the path is another, or a sample is not finite.
    """
    if path.suffix not in (".npz", ".csv", ".png"):
        raise ValueError(f"out must end in .npz, .csv or .png, got {path.name!r}")
    if path.suffix == ".csv" and len(run.dataset.event_shape) != 1:
        raise ValueError(f"a .csv file holds tables, got images for {path.name!r}; write .npz")
    rng = generator(seed, "sample", 0, run.settings.device)
    walkers = draw(run, n, rng, steps, from_noise)
    finite = walkers.x.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        share = 1 - float(finite.float().mean())
        raise ValueError(f"samples must be finite, {share:.0%} are not; try fewer --steps")
    said = [f"{n} samples, {steps or run.settings.method.steps} steps each, seed {seed}"]
    if path.suffix != ".png":
        original = _array(run.dataset.to_original(walkers.x))
        if path.suffix == ".csv":
            content = _csv(original, run.dataset.columns)
        else:
            content = _npz(x=_array(walkers.x), original=original, energy=_array(walkers.energy))
        write_atomically(path, content)
        said.append(f"samples  {path}")
    # A name of its own: a.png may be the user's.
    image = path if path.suffix == ".png" else path.with_name(f"{path.stem}_picture.png")
    shown = 100 if len(run.dataset.event_shape) == 3 else 1000
    png, what = picture(walkers.x[:shown], run.dataset), ""
    proposed = proposals(run, n, generator(seed, "sample", 0, run.settings.device))
    if proposed is not None:
        png = side_by_side(picture(proposed[:shown], run.dataset), png)
        what = " (left: what the network proposes, right: the same revised)"
    write_atomically(image, png)
    return [*said, f"picture  {image}{what}"]


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _csv(rows: np.ndarray, columns: tuple[str, ...]) -> bytes:
    buffer = io.StringIO()
    if columns:
        csv.writer(buffer, lineterminator="\n").writerow(columns)
    np.savetxt(buffer, rows, "%.9g", ",")  # nine digits tell any two float32 apart
    return buffer.getvalue().encode()
