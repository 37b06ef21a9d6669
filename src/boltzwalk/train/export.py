"""Samples as files: what a user takes away from a run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..methods.condition import Classes, Visible, condition_of
from ..rng import generator
from .checkpoint import write_atomically
from .model import draw, moves_latents, proposals
from .pictures import picture, picture_of_classes, side_by_side
from .run import Run

__all__ = ["write_samples"]


def write_samples(
    run: Run,
    path: Path,
    n: int,
    steps: int = 0,
    seed: int = 0,
    from_noise: bool = False,
    label: str | None = None,
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
        label: The class that a model of classes is asked for, its number or its name; None for as
            many of each. The .npz file then has their labels.

    Raises:
        ValueError: If the ending of the path is another, or a sample is not finite; if there is
            no such class, or the model only fills in pictures.
    """
    if path.suffix not in (".npz", ".csv", ".png"):
        raise ValueError(f"out must end in .npz, .csv or .png, got {path.name!r}")
    if path.suffix == ".csv" and len(run.dataset.event_shape) != 1:
        raise ValueError(f"a .csv file holds tables, got images for {path.name!r}; write .npz")
    condition = condition_of(run.method)
    labels = _labels(run, n, label)
    c = condition.asked(labels) if isinstance(condition, Classes) and labels is not None else None
    rng = generator(seed, "sample", 0, run.settings.device)
    walkers = draw(run, n, rng, steps, from_noise, c)
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
            arrays = {} if labels is None else {"label": labels.cpu().numpy()}
            arrays |= {"x": _array(walkers.x), "original": original}
            content = _npz(**arrays, energy=_array(walkers.energy))
        write_atomically(path, content)
        said.append(f"samples  {path}")
    # A name of its own: a.png may be the user's.
    image = path if path.suffix == ".png" else path.with_name(f"{path.stem}_picture.png")

    def shown(x: Tensor) -> bytes:
        if labels is not None:
            return picture_of_classes(x, labels, run.dataset)
        return picture(x[: 100 if len(run.dataset.event_shape) == 3 else 1000], run.dataset)

    png, what = shown(walkers.x), ""
    proposed = proposals(run, n, generator(seed, "sample", 0, run.settings.device), c)
    if proposed is not None:
        png = side_by_side(shown(proposed), png)
        what = " (left: what the network proposes, right: the same revised)"
        if moves_latents(run):
            what = " (left: the base, right: the model, from the same latent noise)"
    write_atomically(image, png)
    return [*said, f"picture  {image}{what}"]


def _labels(run: Run, n: int, label: str | None) -> Tensor | None:
    """The classes that n samples are asked for; None where the model has none."""
    condition, data = condition_of(run.method), run.dataset
    if isinstance(condition, Visible):
        raise ValueError(
            "samples must be of a model of whole pictures, got one that fills in what is hidden of "
            "them; write boltzwalk complete RUN"
        )
    if not isinstance(condition, Classes):
        if label is not None:
            raise ValueError(
                f"a class can be asked for where it was given in training, got class {label!r} for "
                "a model of p(x); train it with condition=Classes"
            )
        return None
    if label is None:
        return condition.evenly(data.labelled(), n)
    classes = data.labelled().labels.unique()
    known = {str(i): i for i in classes.tolist()}
    known |= {name: i for i, name in enumerate(data.class_names) if str(i) in known}
    if label not in known:
        raise ValueError(f"class must be one of {', '.join(known)}, got {label!r}")
    return torch.full((n,), known[label], device=classes.device)


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
