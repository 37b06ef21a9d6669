"""Quality of samples against held-out data, by the measures of the literature.

The floor of each number is that of as many rows of training data: no model that learnt from them is
better. Distances and precision do not see the mass of rare modes; the shares of the classes do
(:mod:`.modes`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .. import metrics  # noqa: F401  # for the lines of MEASURES
from ..data import Dataset
from ..metrics.frechet import frechet_distance, unbiased_frechet_distance
from ..metrics.mean_discrepancy import kernel_distance, mean_discrepancy
from ..metrics.neighbours import manifold_overlap, memorisation
from ..metrics.similarity import DistanceKernel, GaussianKernel, Similarity
from ..metrics.two_sample import two_sample_test
from ..metrics.wasserstein import exact_wasserstein, sliced_wasserstein
from .features import Features
from .measure import EvaluationSection, Measure, unavailable
from .samples import SampleSet

__all__ = ["Comparison", "make_comparison", "measure_of", "quality"]

MAX_ROWS = 10_000
"""The largest number of samples, and of reference rows, which are spread over all held-out rows."""

KERNEL_ROWS = 2000
"""Rows of each kind where the cost grows with the number of entries of a row as well."""

NEIGHBOUR_ROWS = 1000
"""Rows whose neighbours are searched among all rows of training data."""

EXACT_ROWS = 500
"""Rows of each kind where the cost grows with the cube of their number."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Samples, reference rows and as many training rows, with their features; all on the CPU.

    Attributes:
        samples: Samples of equal weight, shape (N, D).
        reference: Held-out rows, shape (M, D).
        training: Training rows, shape (N, D), or all where there are fewer.
        all_training: All training rows, shape (T, D).
        features: The features of the samples, shape (N, F).
        reference_features: Those of the reference, shape (M, F).
        training_features: Those of the training rows, shape (N, F).
        feature_map: The map to features.
        reference_name: The reference as text.
        weights: The weights of `weighted_features`; None where all samples have the same weight.
        weighted_features: The features of samples with these weights, each sample once, shape
            (L, F).
    """

    samples: Tensor
    reference: Tensor
    training: Tensor
    all_training: Tensor
    features: Tensor
    reference_features: Tensor
    training_features: Tensor
    feature_map: Features
    reference_name: str
    weights: Tensor | None
    weighted_features: Tensor


Measurement: TypeAlias = Callable[[Comparison, torch.Generator], list[Measure]]
"""Measures samples; a ValueError is the reason for a refusal."""


def quality(
    dataset: Dataset, samples: SampleSet, features: Features, rng: torch.Generator
) -> EvaluationSection:
    """Returns the quality of samples by all measures, with the floor of training data.

    Arguments:
        dataset: The data.
        samples: The samples.
        features: The map to features.
        rng: The source of subsets, projections and resamples.
    """
    measures: list[Measure] = []
    x = samples.x
    if samples.not_finite:
        share = 1 - len(x) / samples.requested
        measures.append(Measure("not finite", share, protocol=samples.not_finite))
    if len(x) < 2:
        refusal = unavailable("samples", "fewer than 2 are finite")
        return EvaluationSection([*measures, refusal], {})
    if bool((x == x[:1]).all()):
        refusal = unavailable("samples", "all are the same: the model has collapsed")
        return EvaluationSection([*measures, refusal], {})
    comparison = make_comparison(dataset, samples, features, rng)
    for name, measure in MEASURES.items():
        try:
            measures += measure(comparison, rng)
        except ValueError as error:  # such as too few samples; its message says which
            measures.append(unavailable(name, str(error)))
    protocol = f"{samples.protocol}, against {comparison.reference_name}"
    return EvaluationSection(measures, {"protocol": protocol})


def make_comparison(
    dataset: Dataset, samples: SampleSet, features: Features, rng: torch.Generator
) -> Comparison:
    """Returns the rows that are compared, with their features.

    Arguments:
        dataset: The data.
        samples: The samples.
        features: The map to features.
        rng: The source of the choice.
    """
    device = dataset.train.device
    x = samples.rows(MAX_ROWS, rng).to(device)
    reference, reference_name = dataset.held_out()
    order = torch.randperm(len(dataset.train), generator=rng, device=rng.device)
    training = dataset.dequantised(dataset.train[order[: len(x)].to(device)], rng)
    sample_features = features.extract(x).cpu()
    weights, weighted_features = samples.weights, sample_features
    if weights is not None:
        weighted_features = features.extract(samples.x.to(device)).cpu()
    return Comparison(
        samples=x.flatten(1).cpu(),
        reference=reference.flatten(1).cpu(),
        training=training.flatten(1).cpu(),
        all_training=dataset.train.flatten(1).cpu(),
        features=sample_features,
        reference_features=features.extract(reference).cpu(),
        training_features=features.extract(training).cpu(),
        feature_map=features,
        reference_name=reference_name,
        weights=weights,
        weighted_features=weighted_features,
    )


def _frechet(comparison: Comparison, rng: torch.Generator) -> list[Measure]:
    x, y, features = comparison.features, comparison.reference_features, comparison.feature_map
    result = unbiased_frechet_distance(comparison.weighted_features, y, rng, comparison.weights)
    floor = unbiased_frechet_distance(comparison.training_features, y, rng).value
    protocol = f"unbiased, {features.protocol}"
    measures = [Measure(features.name, *result, "", "lower", floor, protocol)]
    if features.name == "FID":  # as in the literature, where the number of samples is a convention
        biased, floor = (frechet_distance(part, y) for part in (x, comparison.training_features))
        name = f"FID of {len(x):,} samples"
        protocol = f"biased, {len(y):,} reference rows"
        measures.append(Measure(name, biased, better="lower", floor=floor, protocol=protocol))
    return measures


def _kernel_distance(comparison: Comparison, rng: torch.Generator) -> list[Measure]:
    y = comparison.reference_features
    size = min(1000, len(comparison.features), len(comparison.training_features), len(y))
    result, floor = (
        kernel_distance(part, y, rng, 50, size)
        for part in (comparison.features, comparison.training_features)
    )
    half = 1.96 * result.standard_error
    name = "KID" if comparison.feature_map.name == "FID" else "kernel distance"
    protocol = f"50 subsets of {size:,}, cubic kernel of the same features, unbiased"
    ends = (result.value - half, result.value + half)
    return [Measure(name, result.value, *ends, "", "lower", floor.value, protocol)]


def _overlap(comparison: Comparison, rng: torch.Generator) -> list[Measure]:
    result, floor = (
        manifold_overlap(part, comparison.reference_features)
        for part in (comparison.features, comparison.training_features)
    )
    n, m = len(comparison.features), len(comparison.reference_features)
    protocol = f"5 nearest neighbours of {n:,} samples and {m:,} rows, the same features"
    return [
        Measure(name, value, better="higher", floor=best, protocol=protocol)
        for name, value, best in zip(result._fields, result, floor, strict=True)
    ]


def _two_sample_test(comparison: Comparison, rng: torch.Generator) -> list[Measure]:
    result, floor = (
        two_sample_test(part, comparison.reference_features)
        for part in (comparison.features, comparison.training_features)
    )
    protocol = (
        f"right on {result.rows:,} rows of both kinds, p = {result.p_value:.2g}; 0.5 cannot tell"
    )
    return [Measure("C2ST accuracy", *result[:3], "", "lower", floor.accuracy, protocol)]


def _mean_discrepancy(comparison: Comparison, rng: torch.Generator) -> list[Measure]:
    measures = []
    y = comparison.reference[:KERNEL_ROWS]
    kernels: dict[str, Similarity] = {
        "MMD, Gaussian": GaussianKernel(),
        "energy distance": DistanceKernel(),
    }
    for name, kernel in kernels.items():
        value, floor = (
            mean_discrepancy(part[:KERNEL_ROWS], y, kernel)
            for part in (comparison.samples, comparison.training)
        )
        protocol = f"squared, unbiased, at most {KERNEL_ROWS:,} rows a side, model units"
        measures.append(Measure(name, value, better="lower", floor=floor, protocol=protocol))
    return measures


def _wasserstein(comparison: Comparison, rng: torch.Generator) -> list[Measure]:
    y = comparison.reference
    value, floor = (
        sliced_wasserstein(part, y, rng) for part in (comparison.samples, comparison.training)
    )
    n = min(EXACT_ROWS, len(comparison.samples), len(comparison.training), len(y))
    exact_value, exact_floor = (
        exact_wasserstein(part[:n], y[:n]) for part in (comparison.samples, comparison.training)
    )
    return [
        Measure(
            "sliced Wasserstein",
            value,
            better="lower",
            floor=floor,
            protocol=f"W2 of {len(comparison.samples):,} and {len(y):,} rows, model units",
        ),
        Measure(
            "Wasserstein",
            exact_value,
            better="lower",
            floor=exact_floor,
            protocol=f"W2 of {n} rows, model units",
        ),
    ]


def _memorisation(comparison: Comparison, rng: torch.Generator) -> list[Measure]:
    x, y = comparison.samples[:NEIGHBOUR_ROWS], comparison.reference[:NEIGHBOUR_ROWS]
    result = memorisation(x, comparison.all_training, y, rng)
    protocol = (
        "distance to the nearest training row over that of held-out rows; below 1 is closer; "
        f"{result.copies:.1%} are copies"
    )
    return [Measure("memorisation", *result[:3], protocol=protocol)]


def measure_of(metric: Callable[[Tensor, Tensor], float]) -> Measurement:
    """Returns a measure by a metric of which lower is better; its name is that of the function.

    Arguments:
        metric: Maps samples, shape (N, D), and a reference, shape (M, D), to a number.

    Example:
        >>> from boltzwalk import metrics
        >>> measure = measure_of(metrics.wasserstein.exact_wasserstein)
    """

    def measure(comparison: Comparison, rng: torch.Generator) -> list[Measure]:
        y = comparison.reference
        value, floor = metric(comparison.samples, y), metric(comparison.training, y)
        name = metric.__name__.replace("_", " ")
        return [Measure(name, value, better="lower", floor=floor, protocol="model units")]

    return measure


MEASURES: dict[str, Measurement] = {
    "Fréchet distance": _frechet,
    "kernel distance": _kernel_distance,
    "precision, recall, density, coverage": _overlap,
    "C2ST accuracy": _two_sample_test,
    "MMD": _mean_discrepancy,
    "Wasserstein": _wasserstein,
    "memorisation": _memorisation,
}
"""The measures by the name under which they are refused; to add one, add a line."""
