"""How like held-out data the samples of a run are, by every number that the field trusts.

Beside each number stands what as many rows of training data have: nothing that a model could have
learnt is better than that. Distances and precision do not see whether rare modes have their mass;
the shares of the classes do, so they stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..data import Dataset
from ..metrics.frechet import frechet_distance
from ..metrics.mean_discrepancy import kernel_distance, mean_discrepancy
from ..metrics.neighbours import manifold_overlap, memorisation
from ..metrics.similarity import DistanceKernel, GaussianKernel, Similarity
from ..metrics.two_sample import two_sample_test
from ..metrics.wasserstein import exact_wasserstein, sliced_wasserstein
from .features import Features
from .measure import Measure, Part, refused
from .samples import Drawn

__all__ = ["Sides", "quality", "sides"]

MOST = 10_000
"""Rows of either side, at most; those of the reference are spread over all that there are."""

FEW = 2000
"""Rows of either side where the cost grows with the number of entries of a row as well."""

FEWER = 1000
"""Rows that are looked up among all the rows of training data."""

FEWEST = 500
"""Rows of either side where the cost grows with the cube of their number."""

RESAMPLES = 30


@dataclass(frozen=True, eq=False)
class Sides:
    """Samples, what they should be like, and as many rows of training data; all on the CPU.

    Attributes:
        samples: Samples of equal weight, shape (N, D).
        reference: Held-out rows, shape (M, D).
        training: Rows of training data, shape (N, D) or all that there are.
        all_training: All the rows of training data, shape (T, D).
        features: The features of the samples, shape (N, F).
        reference_features: Those of the reference, shape (M, F).
        training_features: Those of the training rows, shape (N, F).
        by: What the features are.
        against: The reference in words.
    """

    samples: Tensor
    reference: Tensor
    training: Tensor
    all_training: Tensor
    features: Tensor
    reference_features: Tensor
    training_features: Tensor
    by: Features
    against: str


def quality(dataset: Dataset, drawn: Drawn, features: Features, rng: torch.Generator) -> Part:
    """Returns what samples are like beside held-out data, with training data to compare.

    Arguments:
        dataset: The data.
        drawn: The samples.
        features: By what they are compared.
        rng: The source of subsets, projections and resamples.
    """
    found: list[Measure] = []
    if drawn.wrong:
        found.append(Measure("not finite", 1 - len(drawn.x) / drawn.asked, protocol=drawn.wrong))
    if len(drawn.x) < 2:
        return Part([*found, refused("samples", "fewer than 2 are finite")], {})
    if bool((drawn.x == drawn.x[:1]).all()):
        return Part([*found, refused("samples", "all are the same: the model has collapsed")], {})
    both = sides(dataset, drawn, features, rng)
    for name, make in MEASURES.items():
        try:
            found += make(both, rng)
        except ValueError as error:  # such as too few samples: what is missing is in its words
            found.append(refused(name, str(error)))
    return Part(found, {"protocol": f"{drawn.protocol}, against {both.against}"})


def sides(dataset: Dataset, drawn: Drawn, features: Features, rng: torch.Generator) -> Sides:
    """Returns the rows that are compared, with their features.

    Arguments:
        dataset: The data.
        drawn: The samples.
        features: The map to features.
        rng: The source of the choice.
    """
    device = dataset.train.device
    x = drawn.rows(MOST, rng).to(device)
    reference, against = dataset.held_out()
    order = torch.randperm(len(dataset.train), generator=rng, device=rng.device)
    training = dataset.dequantised(dataset.train[order[: len(x)].to(device)], rng)
    return Sides(
        samples=x.flatten(1).cpu(),
        reference=reference.flatten(1).cpu(),
        training=training.flatten(1).cpu(),
        all_training=dataset.train.flatten(1).cpu(),
        features=features.of(x).cpu(),
        reference_features=features.of(reference).cpu(),
        training_features=features.of(training).cpu(),
        by=features,
        against=against,
    )


def _frechet(both: Sides, rng: torch.Generator) -> list[Measure]:
    x, y = both.features, both.reference_features
    value = frechet_distance(x, y)
    resamples = (
        x[torch.randint(len(x), (len(x),), generator=rng, device=rng.device).cpu()]
        for _ in range(RESAMPLES)
    )
    values = torch.tensor([frechet_distance(rows, y) for rows in resamples])
    # Each resample has the bias of a resample; their spread is what is wanted of them.
    half = 1.96 * float(values.std())
    floor = frechet_distance(both.training_features, y)
    return [
        Measure(
            both.by.name, value, value - half, value + half, "", "lower", floor, both.by.protocol
        )
    ]


def _kernel_distance(both: Sides, rng: torch.Generator) -> list[Measure]:
    y = both.reference_features
    size = min(1000, len(both.features), len(both.training_features), len(y))
    ours, floor = (
        kernel_distance(part, y, rng, 50, size) for part in (both.features, both.training_features)
    )
    half = 1.96 * ours.standard_error
    name = "KID" if both.by.name == "FID" else "kernel distance"
    protocol = f"50 subsets of {size:,}, cubic kernel of the same features, unbiased"
    ends = (ours.value - half, ours.value + half)
    return [Measure(name, ours.value, *ends, "", "lower", floor.value, protocol)]


def _overlap(both: Sides, rng: torch.Generator) -> list[Measure]:
    ours, floor = (
        manifold_overlap(part, both.reference_features)
        for part in (both.features, both.training_features)
    )
    protocol = "5 nearest neighbours, the same features"
    return [
        Measure(name, value, better="higher", floor=best, protocol=protocol)
        for name, value, best in zip(ours._fields, ours, floor, strict=True)
    ]


def _two_sample_test(both: Sides, rng: torch.Generator) -> list[Measure]:
    ours, floor = (
        two_sample_test(part, both.reference_features)
        for part in (both.features, both.training_features)
    )
    protocol = f"right on {ours.rows:,} rows of both kinds, p = {ours.p_value:.2g}; 0.5 cannot tell"
    return [Measure("C2ST accuracy", *ours[:3], "", "lower", floor.accuracy, protocol)]


def _mean_discrepancy(both: Sides, rng: torch.Generator) -> list[Measure]:
    found = []
    y = both.reference[:FEW]
    kernels: dict[str, Similarity] = {
        "MMD, Gaussian": GaussianKernel(),
        "energy distance": DistanceKernel(),
    }
    for name, kernel in kernels.items():
        ours, floor = (
            mean_discrepancy(part[:FEW], y, kernel) for part in (both.samples, both.training)
        )
        protocol = f"squared, unbiased, at most {FEW:,} rows a side, model units"
        found.append(Measure(name, ours, better="lower", floor=floor, protocol=protocol))
    return found


def _wasserstein(both: Sides, rng: torch.Generator) -> list[Measure]:
    y = both.reference
    ours, floor = (sliced_wasserstein(part, y, rng) for part in (both.samples, both.training))
    n = min(FEWEST, len(both.samples), len(both.training), len(y))
    whole, whole_floor = (
        exact_wasserstein(part[:n], y[:n]) for part in (both.samples, both.training)
    )
    return [
        Measure(
            "sliced Wasserstein", ours, better="lower", floor=floor, protocol="W2, model units"
        ),
        Measure(
            "Wasserstein",
            whole,
            better="lower",
            floor=whole_floor,
            protocol=f"W2 of {n} rows, model units",
        ),
    ]


def _memorisation(both: Sides, rng: torch.Generator) -> list[Measure]:
    x, y = both.samples[:FEWER], both.reference[:FEWER]
    found = memorisation(x, both.all_training, y, rng)
    protocol = (
        "distance to the nearest training row over that of held-out rows; below 1 is closer; "
        f"{found.copies:.1%} are copies"
    )
    return [Measure("memorisation", *found[:3], protocol=protocol)]


MEASURES = {
    "Fréchet distance": _frechet,
    "kernel distance": _kernel_distance,
    "precision, recall, density, coverage": _overlap,
    "C2ST accuracy": _two_sample_test,
    "MMD": _mean_discrepancy,
    "Wasserstein": _wasserstein,
    "memorisation": _memorisation,
}
"""What is measured, by the name under which it is refused; to add one, add a line."""
