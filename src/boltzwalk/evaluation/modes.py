"""The mass of every class of labelled data in a model: exact, or from samples and their weights.

Distances between samples do not see the mass of rare modes; these numbers do.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data import Dataset
from ..energies.learnt_mixture import LearntMixture
from ..metrics.classifier import Classifier, judge_classes
from ..metrics.proportions import (
    class_score,
    modes_covered,
    proportions,
    share_interval,
    total_variation,
)
from ..model import Model
from ..rng import generator
from .features import Features
from .measure import EvaluationSection, Measure
from .samples import SampleSet

__all__ = ["class_shares", "has_classes", "mode_masses", "modes", "target_shares"]


def modes(model: Model, samples: SampleSet, features: Features) -> EvaluationSection:
    """Returns the mass of every class in a model and in the data, with intervals.

    The masses of a mixture are exact. Of images they are the shares that a classifier assigns, of
    rows of a labelled table the shares by the nearest class mean; both weighted where walkers carry
    weights. Without labels the section is empty. Where samples of a class were asked for, the share
    of right ones comes first.

    Arguments:
        model: The model.
        samples: Its samples.
        features: The map to class probabilities of images.
    """
    dataset, target = model.data, target_shares(model.data)
    if not target or len(samples.x) == 0:
        return EvaluationSection([], {})
    p = None
    if features.classes is not None:
        p = features.classes(samples.x.to(dataset.train.device)).double()
    exact = mode_masses(model)
    if exact is not None:
        share = torch.tensor([exact[name] for name in target]).double()
        low = high = share
        how = "exact"
    else:
        labels, how = _labels(dataset, samples.x, p)
        if labels is None:
            return EvaluationSection([], {})
        share, low, high = proportions(labels, len(target), samples.log_w)
        how = f"{how}, {samples.protocol}"
    wanted = torch.tensor(list(target.values())).double()
    off = round(total_variation(share, wanted), 6)
    covered = modes_covered(share, wanted)
    measures = [
        Measure("classes off", off, better="lower", protocol=f"mass in the wrong class; {how}"),
        Measure(
            "mode coverage",
            covered / len(target),
            better="higher",
            protocol=f"{covered} of {len(target)} classes have a tenth of their mass or more",
        ),
    ]
    table = {
        name: {"share": s, "low": a, "high": b, "data": w}
        for (name, w), s, a, b in zip(
            target.items(), share.tolist(), low.tolist(), high.tolist(), strict=True
        )
    }
    requested = _requested_classes(dataset, samples, features, p)
    clarity = _clarity(samples, features, p)
    return EvaluationSection([*requested, *measures, *clarity], {"classes": table})


def _requested_classes(
    dataset: Dataset, samples: SampleSet, features: Features, p: Tensor | None
) -> list[Measure]:
    """The share of samples that are of the class that they were asked for."""
    if samples.labels is None or p is None or features.classes is None:
        return []
    assert dataset.train_labels is not None
    names = dataset.train_labels.unique().cpu()  # in the order of the classifier
    right = (names[p.argmax(1)] == samples.labels).double().mean()
    ends = share_interval(right, len(p))
    rows = [dataset.validation, dataset.test]
    labels = [dataset.validation_labels, dataset.test_labels]
    known = torch.cat([part.cpu() for part in labels if part is not None])
    predicted = names[features.classes(torch.cat(rows)).argmax(1)]
    floor = math.nan
    if len(known) == len(predicted):
        floor = float((predicted == known).double().mean())
    how = f"samples that a classifier takes for the class asked for; of held-out rows {floor:.3g}"
    protocol = f"{how}; {samples.protocol}"
    value, low, high = (float(number) for number in (right, *ends))
    return [Measure("class as asked", value, low, high, better="higher", protocol=protocol)]


def _labels(dataset: Dataset, x: Tensor, p: Tensor | None) -> tuple[Tensor | None, str]:
    """The class of each row as an index into the sorted labels, and how it was determined."""
    if p is not None:
        return p.argmax(1), "as a classifier takes them"
    if dataset.train_labels is None or len(dataset.event_shape) != 1:
        return None, ""
    label = dataset.train_labels.unique(return_inverse=True)[1]
    centres = [dataset.train[label == c].mean(0) for c in range(int(label.max()) + 1)]
    nearest = torch.cdist(x.to(dataset.train.device), torch.stack(centres)).argmin(1)
    return nearest.cpu(), "by the nearest mean of a class"


def _clarity(samples: SampleSet, features: Features, p: Tensor | None) -> list[Measure]:
    """Class scores: each sample is of one class, and all together are diverse."""
    measures, weights = [], samples.weights
    if features.probabilities is not None:
        inception = features.probabilities(samples.x).double()
        measures.append(_score("IS", inception, weights, features.protocol))
    if p is not None:
        w = torch.full((len(p),), 1 / len(p)).double() if weights is None else weights
        entropy = float(w @ torch.special.entr(p).sum(1))
        how = "of one sample, mean; 0 is clearly one class"
        measures += [
            _score("class score", p, weights, "the classifier of the data"),
            Measure("class entropy", entropy, unit="nats", better="lower", protocol=how),
        ]
    return measures


def _score(name: str, p: Tensor, weights: Tensor | None, origin: str) -> Measure:
    protocol = f"from 1 to {p.shape[1]:,}: clear and various; {origin}"
    return Measure(name, class_score(p, weights).mean, better="higher", protocol=protocol)


SAMPLES = 1000
"""Samples whose classes are counted where walkers carry no weights."""


def has_classes(dataset: Dataset) -> bool:
    """Returns whether a classifier can be fitted: labelled images, some of them held out."""
    held_out = len(dataset.validation) + len(dataset.test)
    return dataset.train_labels is not None and len(dataset.event_shape) == 3 and held_out > 1


def target_shares(dataset: Dataset) -> dict[str, float]:
    """Returns the share of the training rows of every class, by its name; empty without labels."""
    if dataset.train_labels is None:
        return {}
    classes, counts = dataset.train_labels.unique(return_counts=True)
    shares = (counts / counts.sum()).tolist()
    names = (dataset.class_names[label] for label in classes.tolist())
    return dict(zip(names, shares, strict=True))


def class_shares(model: Model, classifier: Classifier | None) -> dict[str, float] | None:
    r"""Returns the mass of every class of the data in a model, by its name.

    The masses of a mixture are exact. Of images they are the shares of walkers that a classifier
    assigns, weighted where they carry weights. None where neither is possible.

    Arguments:
        model: The model.
        classifier: A classifier fitted on the same data, if there is one.
    """
    masses = mode_masses(model)
    if masses is not None or classifier is None:
        return masses
    walkers = model.weighted_walkers()
    if walkers is None:
        rng = generator(model.settings.seed, "shares", 0, model.settings.device)
        walkers = model.draw(model.available(SAMPLES), rng)
    if not bool(walkers.x.isfinite().all()):
        return None
    shares = judge_classes(classifier, walkers.x, model.data, walkers.log_w).shares
    return {model.data.class_names[label]: share for label, share in shares.items()}


def mode_masses(model: Model) -> dict[str, float] | None:
    """Returns the exact masses of a mixture that learnt labelled rows; None for other models.

    Every mode counts for the class whose mean is nearest. At a temperature other than 1 the masses
    are those of another density, and not known.

    Arguments:
        model: The model.
    """
    data, mixture = model.data, model.module
    if not isinstance(mixture, LearntMixture) or model.temperature != 1:
        return None
    if data.train_labels is None:
        return None
    index = data.train_labels.unique(return_inverse=True)[1]
    masses = _masses_by_class(mixture.means.detach(), mixture.masses, data.train, index)
    return dict(zip(target_shares(data), masses.tolist(), strict=True))


def _masses_by_class(
    means: Float[Tensor, "M d"],
    masses: Float[Tensor, " M"],
    rows: Float[Tensor, "N d"],
    labels: Int[Tensor, " N"],
) -> Float[Tensor, " C"]:
    """The mass of the modes whose mean is nearest to that of each of the classes 0 to C - 1."""
    centres = torch.stack([rows[labels == c].mean(0) for c in range(int(labels.max()) + 1)])
    nearest = torch.cdist(means, centres).argmin(1)
    return torch.bincount(nearest, masses, minlength=len(centres))
