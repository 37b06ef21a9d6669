"""A small classifier of labelled images, whose features and classes judge samples.

It is fitted anew, in seconds, from the training split and a fixed seed, and says how accurate it is
on data that it has not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..data import Dataset
from ..rng import generator
from .frechet import frechet_distance

__all__ = ["ClassReport", "Classifier", "fit_classifier", "judge_classes"]


@dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted classifier.

    Attributes:
        body: Maps images, shape (N, *event), to features, shape (N, D).
        head: Maps features to the logarithms of class odds, shape (N, classes).
        classes: The label of each class, as the data have it.
        accuracy: The share of held-out images that it classifies rightly.
        low: The least value of an image.
        high: The largest value of an image.
    """

    body: nn.Module
    head: nn.Module
    classes: tuple[int, ...]
    accuracy: float
    low: float
    high: float

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Returns features, shape (N, D), of images that are first brought into range."""
        features: Tensor = self.body(x.clamp(self.low, self.high))
        return features

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Returns class probabilities, shape (N, classes)."""
        return torch.softmax(self.head(self.features(x)), 1)


class ClassReport(NamedTuple):
    """What a classifier says of samples."""

    entropy: float  # mean entropy of the class of a sample, in nats: 0 if each is clearly one
    coverage: float  # exp(entropy of the mean class probabilities) / classes: 1 if all are there
    shares: dict[int, float]  # of the samples, by label
    frechet: float  # classifier-FID against held-out data; nan of fewer than 2 samples in effect
    frechet_floor: float  # the same of training data, as many as there are samples
    accuracy: float  # of the classifier, on held-out data


def fit_classifier(dataset: Dataset, seed: int = 0, updates: int = 1500) -> Classifier:
    """Returns a classifier of the training split.

    Arguments:
        dataset: Labelled images.
        seed: The seed of its weights and batches.
        updates: The number of updates, with 128 images each.

    Raises:
        ValueError: If the data has no labels, or is no set of images.
    """
    labels = dataset.train_labels
    if labels is None or len(dataset.event_shape) != 3:
        raise ValueError(
            f"a classifier needs labelled images, got events of shape {dataset.event_shape} "
            f"{'without' if labels is None else 'with'} labels"
        )
    x, device = dataset.train, dataset.train.device
    classes, labels = torch.unique(labels, return_inverse=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _body(dataset.event_shape).to(device)
        head = nn.Linear(_width(body, x), len(classes)).to(device)
    parameters = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3, weight_decay=1e-5)
    rng = generator(seed, "classifier", 0, device)
    for update in range(updates):
        index = torch.randint(len(x), (128,), generator=rng, device=device)
        noise = 0.05 * torch.randn((128, *x.shape[1:]), generator=rng, device=device)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(head(body(x[index] + noise)), labels[index]).backward()
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - update / updates)
        optimizer.step()
    low, high = float(x.min()), float(x.max())
    named = tuple(classes.tolist())
    found = Classifier(body.eval(), head.eval(), named, math.nan, low, high)
    test_x, test_labels = _held_out(dataset)
    guess = classes[found.probabilities(test_x).argmax(1)]
    return replace(found, accuracy=float((guess == test_labels).float().mean()))


def judge_classes(
    classifier: Classifier, x: Tensor, dataset: Dataset, log_w: Tensor | None = None
) -> ClassReport:
    r"""Returns what a classifier says of samples, against held-out data.

    With weights every mean is one with :math:`\bar w = \mathrm{softmax}(\log w)`.

    Arguments:
        classifier: The classifier, fitted on the same data.
        x: The samples, shape (N, *event).
        dataset: The data.
        log_w: The log-weights of the samples, shape (N,); None for equal weights.
    """
    p = classifier.probabilities(x).double()
    share = torch.softmax(p.new_zeros(len(p)) if log_w is None else log_w.to(p), 0)
    reference = classifier.features(_held_out(dataset)[0])
    enough = float(share.square().sum()) < 1 / 2 + 1e-9
    shares = torch.bincount(p.argmax(1), share, minlength=p.shape[1])
    return ClassReport(
        entropy=float(share @ torch.special.entr(p).sum(1)),
        coverage=float(torch.special.entr(share @ p).sum().exp()) / p.shape[1],
        shares=dict(zip(classifier.classes, shares.tolist(), strict=True)),
        frechet=frechet_distance(classifier.features(x), reference, share) if enough else math.nan,
        frechet_floor=frechet_distance(classifier.features(dataset.train[: len(x)]), reference),
        accuracy=classifier.accuracy,
    )


def _held_out(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Validation and test together: neither is used to fit the classifier."""
    assert dataset.validation_labels is not None
    assert dataset.test_labels is not None
    labels = torch.cat([dataset.validation_labels, dataset.test_labels])
    return torch.cat([dataset.validation, dataset.test]), labels


def _body(event: tuple[int, ...]) -> nn.Module:
    """Dense layers for the smallest images, convolutions for the others."""
    channels, height, width = event
    if height * width <= 256:
        size = channels * height * width
        dense = [nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *dense)
    stages: list[nn.Module] = []
    for wide in (16, 32):
        stages += [nn.Conv2d(channels, wide, 3, 2, 1), nn.ReLU()]
        channels = wide
    size = channels * math.ceil(math.ceil(height / 2) / 2) * math.ceil(math.ceil(width / 2) / 2)
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(size, 64), nn.ReLU())


def _width(body: nn.Module, x: Tensor) -> int:
    with torch.no_grad():
        return int(body(x[:1]).shape[1])
