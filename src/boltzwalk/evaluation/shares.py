"""The mass of every class of labelled data in a model: exact, or by weighted walkers."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data import Dataset
from ..energies.learnt_mixture import LearntMixture
from ..metrics.classifier import Classifier, judge_classes
from ..rng import generator
from ..train.model import available, draw, weighted_walkers
from ..train.run import Run

__all__ = ["class_shares", "has_classes", "mode_masses", "target_shares"]

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


def class_shares(run: Run, classifier: Classifier | None) -> dict[str, float] | None:
    r"""Returns the mass of every class of the data in the model of a run, by its name.

    Of a mixture it is exact. Of images it is the share of the walkers that a classifier takes for
    the class, weighted where they carry weights. Where neither is possible, None.

    Arguments:
        run: The run.
        classifier: A classifier fitted on the same data, if there is one.
    """
    masses = mode_masses(run)
    if masses is not None or classifier is None:
        return masses
    walkers = weighted_walkers(run)
    if walkers is None:
        rng = generator(run.settings.seed, "shares", 0, run.settings.device)
        walkers = draw(run, available(run, SAMPLES), rng)
    if not bool(walkers.x.isfinite().all()):
        return None
    shares = judge_classes(classifier, walkers.x, run.dataset, walkers.log_w).shares
    return {run.dataset.class_names[label]: share for label, share in shares.items()}


def mode_masses(run: Run) -> dict[str, float] | None:
    """Returns the exact masses of a mixture that learnt labelled rows; None for other models.

    Every mode counts for the class whose mean is nearest. At a temperature other than 1 the masses
    are those of another density, and not known.

    Arguments:
        run: The run.
    """
    data, model = run.dataset, run.model
    if not isinstance(model, LearntMixture) or run.settings.method.kernel.temperature != 1:
        return None
    if data.train_labels is None:
        return None
    place = data.train_labels.unique(return_inverse=True)[1]
    found = _masses_by_class(model.means.detach(), model.masses, data.train, place)
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
