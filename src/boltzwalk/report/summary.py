"""The numbers that close a run: what its samples are like, what it cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import Dataset, Toy
from ..metrics.classifier import fit_classifier, judge_classes
from ..metrics.quadrature import log_z_in_the_plane
from ..rng import generator
from ..train.folder import read_rows
from ..train.run import Run, draw

__all__ = ["Number", "summarise", "unseen"]

SAMPLES = 500

GRIDS_AGREE = 0.01
"""Nats by which log Z of two grids may differ."""


class Number(NamedTuple):
    """A number with its name and what it means."""

    name: str
    text: str
    meaning: str


def summarise(run: Run, folder: Path) -> list[Number]:
    """Returns the numbers that close a finished run.

    Arguments:
        run: The run as it was saved last.
        folder: Its folder, for the log and the cost.
    """
    rows, costs = read_rows(folder / "log.jsonl"), read_rows(folder / "cost.jsonl")
    n = SAMPLES if run.state is None else min(SAMPLES, len(run.state))
    rng = generator(run.settings.seed, "summary", 0, run.settings.device)
    x = draw(run, n, rng).x
    held_out, split = unseen(run.dataset)
    numbers = []
    if not bool(x.isfinite().all()):
        share = 1 - float(x.isfinite().flatten(1).all(1).float().mean())
        numbers.append(Number("samples", "not finite", f"{share:.0%} of {n}: the model is broken"))
    elif _has_classes(run.dataset):
        numbers += _classes(run, x)
    if run.dataset.event_shape == (2,) and run.settings.method.kernel.temperature > 0:
        numbers.append(_likelihood(run, held_out, split))
    with torch.no_grad():
        seen, drawn = run.model(held_out[:n]).mean(), run.model(x).mean()
    text = f"{seen:.3g} / {drawn:.3g}"
    numbers.append(Number("energy", text, f"mean of {split} data / of samples"))
    if rows:
        numbers += _chain(rows[-1])
    if costs:
        cost = costs[-1]
        text = f"{cost['seconds']:.0f} s, {cost['peak_memory_mb']:.0f} MB"
        numbers.append(Number("cost", text, f"{cost['gradients']:,} gradient evaluations"))
    return numbers


def unseen(dataset: Dataset) -> tuple[Tensor, str]:
    """Returns rows that were not trained on, and their split; training rows if there are none."""
    for rows, name in ((dataset.test, "test"), (dataset.validation, "validation")):
        if len(rows):
            return rows, name
    return dataset.train, "training"


def _chain(row: dict[str, float]) -> list[Number]:
    """What the last row of the log says of the chains."""
    numbers = []
    if "travel" in row:
        way = f" of {row['distance']:.3g}" if "distance" in row else ""
        goal = ", of the way from its start to the data" if way else ""
        meaning = f"drift of a chain in training{goal}"
        numbers.append(Number("travel", f"{row['travel']:.3g}{way}", meaning))
    meaning = "at which the kernel samples exp(-U / temperature)"
    return [*numbers, Number("temperature", f"{row['temperature']:.3g}", meaning)]


@torch.no_grad()
def _likelihood(run: Run, rows: Tensor, split: str) -> Number:
    """The likelihood of rows in the plane, where log Z is a sum over a grid."""
    data, temperature = run.dataset, run.settings.method.kernel.temperature
    name = f"{split} nll"
    log_z, finer = (
        log_z_in_the_plane(run.model, data.train, temperature, points) for points in (400, 475)
    )
    if not abs(log_z - finer) < GRIDS_AGREE:
        why = (
            f"log Z of two grids differs by {abs(log_z - finer):.2g}: too sharp at this temperature"
        )
        return Number(name, "unknown", why)
    nats = run.model(rows).cpu().double() / temperature + finer + data.log_volume
    error = 1.96 * float(nats.std()) / math.sqrt(len(nats))
    truth = ""
    if isinstance(run.settings.data, Toy):
        exact = -run.settings.data.density().log_density(rows.cpu().double()).mean()
        truth = f"; the true density has {float(exact):.3f}"
    text = f"{float(nats.mean()):.3f} ± {error:.3f} nats"
    return Number(name, text, f"a row, in the units of the data, by quadrature{truth}")


def _has_classes(dataset: Dataset) -> bool:
    held_out = len(dataset.validation) + len(dataset.test)
    return dataset.train_labels is not None and len(dataset.event_shape) == 3 and held_out > 1


def _classes(run: Run, x: Tensor) -> list[Number]:
    """What a small classifier fitted on the same data says of the samples."""
    classifier = fit_classifier(run.dataset)
    judged = judge_classes(classifier, x, run.dataset)
    names = run.dataset.class_names
    shares = " ".join(f"{names[label]}:{share:.0%}" for label, share in judged.shares.items())
    return [
        Number(
            "class entropy",
            f"{judged.entropy:.2f} nats",
            f"of one sample, mean of {len(x)}; 0 is clearly one class, "
            f"{math.log(len(judged.shares)):.1f} is none "
            f"(classifier: {judged.accuracy:.1%} right on held-out data)",
        ),
        Number(
            "class coverage", f"{judged.coverage:.0%}", f"of the classes are drawn evenly; {shares}"
        ),
        Number(
            "classifier-FID",
            f"{judged.frechet:.1f}",
            f"against held-out data; training data themselves have {judged.frechet_floor:.1f}",
        ),
    ]
