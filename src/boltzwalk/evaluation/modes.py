r"""Which classes a model has, and with what mass: what distances between samples do not see.

The mass of every class of labelled data in a model: exact, or by weighted walkers.
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
    total_variation,
    wilson_interval,
)
from ..model import Model
from ..rng import generator
from .features import Features
from .measure import Measure, Part
from .samples import Drawn

__all__ = ["class_shares", "has_classes", "mode_masses", "modes", "target_shares"]


def modes(model: Model, drawn: Drawn, features: Features) -> Part:
    """Returns the mass of every class in a model, with its interval, beside that in the data.

    Of a mixture it is exact. Of images it is the share of the samples that a classifier takes for
    the class, of rows of a labelled table the share to whose mean they are nearest; both weighted
    where walkers carry weights. Without labels there is nothing. Where images were asked for a
    class, the share of those that are of it comes first.

    Arguments:
        model: The model.
        drawn: Its samples.
        features: What knows the classes of images.
    """
    dataset, target = model.data, target_shares(model.data)
    if not target or len(drawn.x) == 0:
        return Part([], {})
    p = None
    if features.classes is not None:
        p = features.classes(drawn.x.to(dataset.train.device)).double()
    exact = mode_masses(model)
    if exact is not None:
        share = torch.tensor([exact[name] for name in target]).double()
        low = high = share
        how = "exact"
    else:
        labels, how = _labels(dataset, drawn.x, p)
        if labels is None:
            return Part([], {})
        share, low, high = proportions(labels, len(target), drawn.log_w)
        how = f"{how}, {drawn.protocol}"
    wanted = torch.tensor(list(target.values())).double()
    off = round(total_variation(share, wanted), 6)
    covered = modes_covered(share, wanted)
    found = [
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
    asked = _as_asked(dataset, drawn, features, p)
    return Part([*asked, *found, *_clarity(drawn, features, p)], {"classes": table})


def _as_asked(
    dataset: Dataset, drawn: Drawn, features: Features, p: Tensor | None
) -> list[Measure]:
    """Whether samples are of the class that they were asked for."""
    if drawn.labels is None or p is None or features.classes is None:
        return []
    assert dataset.train_labels is not None
    names = dataset.train_labels.unique().cpu()  # in the order of the classifier
    right = (names[p.argmax(1)] == drawn.labels).double().mean()
    ends = wilson_interval(right, len(p))
    rows = [dataset.validation, dataset.test]
    labels = [dataset.validation_labels, dataset.test_labels]
    known = torch.cat([part.cpu() for part in labels if part is not None])
    theirs = names[features.classes(torch.cat(rows)).argmax(1)]
    floor = float((theirs == known).double().mean()) if len(known) == len(theirs) else math.nan
    how = f"samples that a classifier takes for the class asked for; of held-out rows {floor:.3g}"
    protocol = f"{how}; {drawn.protocol}"
    value, low, high = (float(number) for number in (right, *ends))
    return [Measure("class as asked", value, low, high, better="higher", protocol=protocol)]


def _labels(dataset: Dataset, x: Tensor, p: Tensor | None) -> tuple[Tensor | None, str]:
    """The class of each row as a number from 0, in the order of the labels, and how it is told."""
    if p is not None:
        return p.argmax(1), "as a classifier takes them"
    if dataset.train_labels is None or len(dataset.event_shape) != 1:
        return None, ""
    label = dataset.train_labels.unique(return_inverse=True)[1]
    centres = [dataset.train[label == c].mean(0) for c in range(int(label.max()) + 1)]
    nearest = torch.cdist(x.to(dataset.train.device), torch.stack(centres)).argmin(1)
    return nearest.cpu(), "by the nearest mean of a class"


def _clarity(drawn: Drawn, features: Features, p: Tensor | None) -> list[Measure]:
    """How clearly each sample is of one class, and how various they are together."""
    found, share = [], drawn.share
    if features.probabilities is not None:
        theirs = features.probabilities(drawn.x).double()
        found.append(_score("IS", theirs, share, features.protocol))
    if p is not None:
        weights = torch.full((len(p),), 1 / len(p)).double() if share is None else share
        entropy = float(weights @ torch.special.entr(p).sum(1))
        how = "of one sample, mean; 0 is clearly one class"
        found += [
            _score("class score", p, share, "the classifier of the data"),
            Measure("class entropy", entropy, unit="nats", better="lower", protocol=how),
        ]
    return found


def _score(name: str, p: Tensor, share: Tensor | None, whose: str) -> Measure:
    protocol = f"from 1 to {p.shape[1]:,}: clear and various; {whose}"
    return Measure(name, class_score(p, share).mean, better="higher", protocol=protocol)


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
    r"""Returns the mass of every class of the data in the model of a model, by its name.

    Of a mixture it is exact. Of images it is the share of the walkers that a classifier takes for
    the class, weighted where they carry weights. Where neither is possible, None.

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
    place = data.train_labels.unique(return_inverse=True)[1]
    found = _masses_by_class(mixture.means.detach(), mixture.masses, data.train, place)
    return dict(zip(target_shares(data), found.tolist(), strict=True))


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
