"""The numbers that close a run: what its samples are like, what it cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch

from ..data import Toy
from ..metrics.classifier import fit_classifier, judge_classes
from ..metrics.quadrature import log_z_in_the_plane
from ..rng import generator
from ..train.folder import read_rows
from ..train.run import Run, draw

__all__ = ["Number", "summarise"]

SAMPLES = 500


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
    numbers = []
    if run.dataset.train_labels is not None and len(run.dataset.event_shape) == 3:
        numbers += _classes(run, x)
    if run.dataset.event_shape == (2,) and run.settings.method.kernel.temperature > 0:
        numbers.append(_likelihood(run))
    with torch.no_grad():
        held_out, drawn = run.model(run.dataset.test[:n]).mean(), run.model(x).mean()
    last = rows[-1]
    numbers += [
        Number("energy", f"{held_out:.3g} / {drawn:.3g}", "mean of test data / of samples"),
        Number(
            "travel",
            f"{last.get('travel', last['displacement']):.3g} of {last['distance']:.3g}",
            "of a chain in training, of the way from its start to the data",
        ),
        Number(
            "temperature",
            f"{last['temperature']:.3g}",
            "at which the kernel samples exp(-U / temperature)",
        ),
    ]
    if costs:
        cost = costs[-1]
        text = f"{cost['seconds']:.0f} s, {cost['peak_memory_mb']:.0f} MB"
        numbers.append(Number("cost", text, f"{cost['gradients']:,} gradient evaluations"))
    return numbers


@torch.no_grad()
def _likelihood(run: Run) -> Number:
    """The held-out likelihood in the plane, where log Z is a sum over a grid."""
    data, temperature = run.dataset, run.settings.method.kernel.temperature
    log_z = log_z_in_the_plane(run.model, data.train, temperature)
    nats = run.model(data.test).double() / temperature + log_z
    error = 1.96 * float(nats.std()) / math.sqrt(len(nats))
    truth = ""
    if isinstance(run.settings.data, Toy):
        exact = -run.settings.data.density().log_density(data.test.double()).mean()
        truth = f"; the true density has {float(exact):.3f}"
    text = f"{float(nats.mean()):.3f} ± {error:.3f} nats"
    return Number("test nll", text, f"by quadrature{truth}")


def _classes(run: Run, x: torch.Tensor) -> list[Number]:
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
