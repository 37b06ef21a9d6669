"""Pictures of chains as they run, and of samples beside the training rows nearest to them."""

from __future__ import annotations

import io
from itertools import pairwise

import torch
from torch import Tensor

from ..data import Dataset
from ..methods.condition import Unconditional, Visible, condition_of
from ..metrics.neighbours import nearest
from ..rng import generator
from ..train.model import available, draw, move, moves_latents
from ..train.pictures import image_png
from ..train.run import Run
from ..walkers import evaluate

__all__ = ["film", "neighbours"]

CHAINS, PAIRS = 5, 16
SCATTERED = 500


def film(run: Run, from_data: bool) -> tuple[bytes, str] | None:
    """Returns a PNG of chains at more and more steps, and what it shows; None for other rows.

    None as well for a model that is given something, which has no energy of x alone.

    Images are one row a chain, points in the plane one panel a look.

    Arguments:
        run: The run.
        from_data: Whether they start from held-out data instead of noise. Of a generalized model
            there are those from latent noise only.
    """
    data, usual = run.dataset, run.settings.method.steps
    image, plane = len(data.event_shape) == 3, data.event_shape == (2,)
    given = not isinstance(condition_of(run.method), Unconditional)
    if given or not (image or plane):
        return None
    rng = generator(run.settings.seed, "film", int(from_data), data.train.device)
    n = CHAINS if image else SCATTERED
    rows = data.test if len(data.test) >= n else data.train
    x = rows[:n] if from_data else data.noise(n, rng)
    looks = sorted({0, 1, usual // 4, usual // 2, usual, 2 * usual, 5 * usual, 10 * usual})
    if moves_latents(run):
        if from_data:  # whose latent variables are not known
            return None
        frames = [walkers.x for walkers in run.method.trajectory(run.model, n, looks, rng)]
    else:
        chains, frames = evaluate(run.model, x), [x]
        for before, after in pairwise(looks):
            chains = move(run, chains, after - before, rng)
            frames.append(chains.x)
    said = f"after {', '.join(f'{look:,}' for look in looks)} steps, {usual} in training"
    frames = [frame.nan_to_num(0.0) for frame in frames]
    if image:
        return image_png(torch.stack(frames, 1).flatten(0, 1), data, len(looks)), said
    return _scatters(frames, looks, data), said


def neighbours(run: Run) -> bytes | None:
    """Returns a PNG of samples, each with the nearest training row below it; None for other rows.

    Arguments:
        run: The run.
    """
    data = run.dataset
    if len(data.event_shape) != 3 or isinstance(condition_of(run.method), Visible):
        return None
    rng = generator(run.settings.seed, "neighbours", 0, data.train.device)
    x = draw(run, available(run, PAIRS), rng).x
    x = x[x.flatten(1).isfinite().all(1)]
    if not len(x):
        return None
    index = nearest(x.flatten(1).cpu(), data.train.flatten(1).cpu())[1]
    beside = data.train[index.to(data.train.device)]
    return image_png(torch.cat([x, beside]), data, len(x))


def _scatters(frames: list[Tensor], looks: list[int], data: Dataset) -> bytes:
    """Points in the plane at each look, over the range of the data."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * len(frames), 2.2), layout="constrained")
    reference = data.to_original(data.train[:2000]).float().cpu().numpy()
    low, high = reference.min(0), reference.max(0)
    margin = 0.3 * (high - low)
    for axes, frame, look in zip(figure.subplots(1, len(frames)), frames, looks, strict=True):
        points = data.to_original(frame).float().cpu().numpy()
        axes.scatter(reference[:, 0], reference[:, 1], s=1, c="0.8")
        axes.scatter(points[:, 0], points[:, 1], s=1, c="tab:red")
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axes.set_title(f"{look:,}", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
