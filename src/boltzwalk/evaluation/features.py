"""Features by which samples are compared with data.

Labelled images have the features of a small classifier; with the standard weights of the Inception
network they have its features, and the distance is the FID of the literature. Rows of a table and
points are compared as they are, other images by their first principal components.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import Dataset
from ..metrics.classifier import Classifier, classifier_for
from ..metrics.frechet import frechet_distance
from ..metrics.inception import load_inception

__all__ = ["Features", "distance_to", "features_for"]

COMPONENTS = 64
"""Principal components of images without labels; rows with no more entries are left as they are."""

CELLS = 30
CHUNK = 500


class Features(NamedTuple):
    """A map to features.

    Attributes:
        name: The name of the Fréchet distance between such features.
        protocol: The origin of the features.
        extract: Maps events in model units, shape (N, *event), to features, shape (N, D).
        probabilities: Inception class probabilities, shape (N, 1008); None without weights.
        classes: Class probabilities of labelled images, shape (N, C), in the order of the labels;
            None for other data.
    """

    name: str
    protocol: str
    extract: Callable[[Tensor], Tensor]
    probabilities: Callable[[Tensor], Tensor] | None = None
    classes: Callable[[Tensor], Tensor] | None = None


def features_for(dataset: Dataset, inception: Path | None = None) -> Features:
    """Returns the features for samples of a data set.

    Arguments:
        dataset: The data.
        inception: A file with the standard weights of the Inception network; None without.

    Raises:
        ValueError: If the weights are other ones, or the data are no images.
        FileNotFoundError: If there is no such file.
    """
    labelled = dataset.train_labels is not None and len(dataset.event_shape) == 3
    held_out = len(dataset.validation) + len(dataset.test)
    classifier = classifier_for(dataset) if labelled and held_out > 1 else None
    if inception is not None:
        return _inception(dataset, inception, classifier)
    if classifier is not None:
        return Features(
            "classifier-FID",
            f"features of a classifier that is right on {classifier.accuracy:.1%} of held-out data",
            _in_chunks(classifier.features),
            classes=_in_chunks(classifier.probabilities),
        )
    rows = dataset.train.flatten(1)
    if rows.shape[1] <= COMPONENTS:
        return Features("Fréchet distance", "entries in model units", lambda x: x.flatten(1).cpu())
    mean = rows.mean(0)
    axes = torch.linalg.svd((rows[:5000] - mean).cpu().double(), full_matrices=False).Vh
    axes = axes[:COMPONENTS].T.to(rows)
    protocol = f"the first {axes.shape[1]} principal components of the training data"
    return Features(
        "Fréchet distance", protocol, lambda x: ((x.flatten(1).to(mean) - mean) @ axes).cpu()
    )


def distance_to(
    reference: Tensor, features: Features, n: int
) -> tuple[str, Callable[[Tensor], float]]:
    """Returns the name of a distance of n samples to a reference, and the distance.

    In the plane it is the total variation between histograms of 30x30 cells, which resolves modes;
    elsewhere the Fréchet distance of features. Both are cheap, never negative, and larger for fewer
    samples, so the name has their number: without it a Fréchet distance is the unbiased one.

    Arguments:
        reference: Held-out rows, shape (M, *event).
        features: The features of the data.
        n: The number of samples.
    """
    if reference.shape[1:] == (2,):
        name, distance = "total variation of histograms", _histogram_distance(reference.cpu())
        return f"{name} of {n:,} samples", distance
    target = features.extract(reference)
    name = f"{features.name} of {n:,} samples"
    return name, lambda x: frechet_distance(features.extract(x), target)


def _histogram_distance(reference: Tensor) -> Callable[[Tensor], float]:
    """The total variation to a reference in the plane; one border of cells takes the outside."""
    low, high = reference.amin(0), reference.amax(0)

    def shares(x: Tensor) -> Tensor:
        column = ((x - low) / (high - low) * CELLS).floor()
        column = column.where(x != high, CELLS - 1).clamp(-1, CELLS) + 1  # the edge lies inside
        cells = column[:, 0] * (CELLS + 2) + column[:, 1]
        return torch.bincount(cells.long(), minlength=(CELLS + 2) ** 2).double() / len(x)

    target = shares(reference)
    return lambda x: float((shares(x.cpu()) - target).abs().sum()) / 2


def _inception(dataset: Dataset, weights: Path, classifier: Classifier | None) -> Features:
    """The features of the Inception network, for images scaled to [0, 1]."""
    if len(dataset.event_shape) != 3:
        raise ValueError(f"--inception needs images, got events of shape {dataset.event_shape}")
    network = load_inception(weights)
    low = float(dataset.train.min()) if dataset.low is None else dataset.low
    high = float(dataset.train.max()) if dataset.high is None else dataset.high

    def unit(x: Tensor) -> Tensor:
        return ((x - low) / (high - low)).clamp(0, 1)

    return Features(
        "FID",
        f"2048 features of the Inception network, weights {weights.name}",
        _in_chunks(lambda x: network.features(unit(x))),
        _in_chunks(lambda x: network.probabilities(unit(x))),
        _in_chunks(classifier.probabilities) if classifier is not None else None,
    )


def _in_chunks(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Applies a function to chunks of rows."""
    return lambda x: torch.cat([function(chunk).cpu() for chunk in x.split(CHUNK)])
