"""Small classifiers of labelled images, for features and classes of samples.

For digits, MNIST and Fashion-MNIST a classifier is shipped, made by `boltzwalk classifier NAME`
from the training images of the default split. So numbers of different runs, also of runs on some of
the classes, use the same features. For other labelled images one is fitted in seconds, from the
training split and a fixed seed.

Every classifier stores its accuracy on the validation and test images of its data. Not guaranteed:
that these are new to the shipped classifier. MNIST with another `split_seed` or share has
validation images that it was fitted on; test images are always new to it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..checkpoint import load_checkpoint, save_checkpoint
from ..data import Dataset, Digits, FashionMnist, Mnist
from ..rng import generator
from .frechet import FrechetDistance, unbiased_frechet_distance

__all__ = [
    "ClassReport",
    "Classifier",
    "classifier_for",
    "data_digest",
    "fit_classifier",
    "fit_standard",
    "judge_classes",
    "load_classifier",
    "save_classifier",
]

SHIPPED = Path(__file__).parent / "classifiers"
"""The folder of the shipped classifiers, NAME.safetensors."""

STANDARD = {"digits": Digits, "mnist": Mnist, "fashion_mnist": FashionMnist}

FIELDS = ("classes", "accuracy", "low", "high", "event", "network", "names", "digest", "gain")
"""The fields of a classifier in its file, besides the weights."""

CHUNK_ROWS = 2000


@dataclass(frozen=True, eq=False)
class Classifier:
    r"""A fitted classifier, :math:`p(c \mid x) \propto \exp h_c(f(\mathrm{clamp}(g x)))`.

    Attributes:
        body: The features :math:`f`: maps images, shape (N, *event), to shape (N, D).
        head: The logarithms of class odds :math:`h`: maps features to shape (N, C).
        classes: The label of each class, as the data have it.
        accuracy: The share of held-out images with the correct class.
        low: The least value of an image.
        high: The largest value of an image.
        event: The shape of one image.
        network: The layers of the body, "small" or "pooled".
        names: The names of the classes; empty if they have none.
        digest: The `data_digest` of the data that it was fitted on.
        gain: The factor :math:`g` from the model units of the images to those of the classifier.
    """

    body: nn.Module
    head: nn.Linear
    classes: tuple[int, ...]
    accuracy: float
    low: float
    high: float
    event: tuple[int, ...]
    network: str = "small"
    names: tuple[str, ...] = ()
    digest: str = ""
    gain: float = 1.0

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Returns the features of images clamped to their range, shape (N, D)."""
        parts = ((part * self.gain).clamp(self.low, self.high) for part in x.split(CHUNK_ROWS))
        return torch.cat([self.body(part) for part in parts])

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Returns class probabilities, shape (N, C)."""
        return torch.softmax(self.head(self.features(x)), 1)


class ClassReport(NamedTuple):
    """Classes of samples and their classifier-FID."""

    entropy: float  # mean entropy of the class of a sample, in nats: 0 if each is clearly one
    coverage: float  # exp(entropy of the mean class probabilities) / classes: 1 if all are there
    shares: dict[int, float]  # of the samples, by label
    frechet: FrechetDistance  # classifier-FID against held-out data; nan of too few samples
    frechet_floor: FrechetDistance  # the same of training data, as many as there are samples
    accuracy: float  # of the classifier, on held-out data


def classifier_for(dataset: Dataset) -> Classifier:
    r"""Returns the classifier that judges samples of this data, on its device.

    For images of a `standard` set it is the shipped one. With some of the classes, its
    probabilities are conditional on them,

    .. math:: p(c | x, C) = p(c | x) / \sum_{c' \in C} p(c' | x) ,

    and its accuracy is that on the test images of these classes; for all classes it is that of
    the file. For other data the classifier is that of `fit_classifier`.

    Arguments:
        dataset: Labelled images.

    Raises:
        ValueError: If the data has no labels, or is no set of images.

    Example:
        >>> from boltzwalk.data import Digits
        >>> classifier = classifier_for(Digits(classes=(2, 3)).load())
        >>> classifier.classes, classifier.accuracy > 0.98
        ((2, 3), True)
    """
    labels, file = dataset.train_labels, SHIPPED / f"{dataset.standard}.safetensors"
    if labels is None or not dataset.standard or not file.is_file():
        return fit_classifier(dataset)
    classifier = load_classifier(file)
    selected = labels.unique().tolist()
    if classifier.event != dataset.event_shape or not set(selected) <= set(classifier.classes):
        return fit_classifier(dataset)
    device = dataset.train.device
    # Black is 0 in original units: -shift / scale in model units, and -1 to the classifier.
    gain = float(dataset.scale / dataset.shift)
    classifier = replace(
        classifier, body=classifier.body.to(device), head=classifier.head.to(device), gain=gain
    )
    if len(selected) == len(classifier.classes):
        return classifier
    classifier = _restricted(classifier, selected)
    if dataset.test_labels is None or len(dataset.test) == 0:
        return classifier
    return replace(classifier, accuracy=_accuracy(classifier, dataset.test, dataset.test_labels))


def fit_classifier(dataset: Dataset, seed: int = 0, updates: int = 1500) -> Classifier:
    """Returns a classifier of the training split.

    Arguments:
        dataset: Labelled images.
        seed: The seed of its weights and batches.
        updates: The number of updates, with 128 images each.

    Raises:
        ValueError: If the data has no labels, or is no set of images.

    Example:
        >>> from boltzwalk.data import Digits
        >>> fit_classifier(Digits().load(), updates=300).accuracy > 0.9
        True
    """
    return _fit(dataset, "small", seed, updates, 1e-3)


def fit_standard(name: str) -> Classifier:
    """Fits a classifier of a standard set with the settings of the shipped one.

    It takes seconds for digits and some minutes for the other sets.

    Arguments:
        name: The set, "digits", "mnist" or "fashion_mnist".

    Raises:
        ValueError: If there is no such set.
        FileNotFoundError: If its images are missing and cannot be downloaded.
    """
    if name not in STANDARD:
        raise ValueError(f"there are classifiers of {', '.join(STANDARD)}, got {name!r}")
    dataset = STANDARD[name]().load()
    return fit_classifier(dataset) if name == "digits" else _fit(dataset, "pooled", 0, 4000, 4e-3)


def save_classifier(classifier: Classifier, path: str | Path) -> None:
    """Writes a classifier to one safetensors file.

    Arguments:
        classifier: The classifier.
        path: The file.

    Raises:
        FloatingPointError: If a weight is not finite.
        OSError: If the file cannot be written.
    """
    parts = {"body": classifier.body, "head": classifier.head}
    tensors = {
        f"{part}.{key}": value
        for part, module in parts.items()
        for key, value in module.state_dict().items()
    }
    text = {name: json.dumps(getattr(classifier, name)) for name in FIELDS}
    save_checkpoint(Path(path), tensors, text)


def load_classifier(path: str | Path) -> Classifier:
    """Returns the classifier in a file of `save_classifier`. No code in the file is executed.

    Arguments:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, or holds something else.
    """
    tensors, text = load_checkpoint(Path(path))
    if set(text) != set(FIELDS) or "head.weight" not in tensors:
        raise ValueError(f"{path} must be a file of save_classifier, got one of another kind")
    try:
        read = {name: json.loads(value) for name, value in text.items()}
        read |= {name: tuple(read[name]) for name in ("classes", "event", "names")}
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a whole file of save_classifier, got {error}") from error
    with torch.device("meta"):  # without initial weights
        body = _body(read["event"], read["network"])
        head = nn.Linear(tensors["head.weight"].shape[1], len(read["classes"]))
    for part, module in (("body", body), ("head", head)):
        state = {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(part)}
        try:
            module.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise ValueError(f"{path} must hold the weights that it names, got {error}") from error
    return Classifier(body.eval(), head.eval(), **read)


def data_digest(dataset: Dataset) -> str:
    """Returns the SHA-256 of the training rows and their labels, as 64 hexadecimal digits.

    Arguments:
        dataset: The data.

    Example:
        >>> data_digest(Dataset(torch.ones(2, 2), torch.ones(0, 2), torch.ones(0, 2)))[:8]
        'f6bb1294'
    """
    digest = hashlib.sha256()
    for values in (dataset.train, dataset.train_labels):
        if values is not None:
            digest.update(values.cpu().numpy().tobytes())
    return digest.hexdigest()


def judge_classes(
    classifier: Classifier, x: Tensor, dataset: Dataset, log_w: Tensor | None = None
) -> ClassReport:
    r"""Returns the classes and the classifier-FID of samples, against held-out data.

    With weights every mean is one with :math:`\bar w = \mathrm{softmax}(\log w)`.

    Arguments:
        classifier: The classifier, fitted on the same data.
        x: The samples, shape (N, *event).
        dataset: The data.
        log_w: The log-weights of the samples, shape (N,); None for equal weights.
    """
    p = classifier.probabilities(x).double()
    share = torch.softmax(p.new_zeros(len(p)) if log_w is None else log_w.to(p), 0)
    features, reference = classifier.features(x), classifier.features(dataset.held_out()[0])
    training = classifier.features(dataset.train[: len(x)])
    shares = torch.bincount(p.argmax(1), share, minlength=p.shape[1])
    return ClassReport(
        entropy=float(share @ torch.special.entr(p).sum(1)),
        coverage=float(torch.special.entr(share @ p).sum().exp()) / p.shape[1],
        shares=dict(zip(classifier.classes, shares.tolist(), strict=True)),
        frechet=_distance(features, reference, share),
        frechet_floor=_distance(training, reference, training.new_full((len(training),), 1.0)),
        accuracy=classifier.accuracy,
    )


def _distance(features: Tensor, reference: Tensor, share: Tensor) -> FrechetDistance:
    """The unbiased Fréchet distance; nan if there are too few effective images for it."""
    rng = torch.Generator().manual_seed(0)
    try:
        return unbiased_frechet_distance(features, reference, rng, share)
    except ValueError:
        return FrechetDistance(math.nan, math.nan, math.nan)


def _fit(dataset: Dataset, network: str, seed: int, updates: int, rate: float) -> Classifier:
    """Fits a classifier by Adam, with noise of 0.05 on the images and a rate that decays to 0."""
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
        body = _body(dataset.event_shape, network).to(device)
        head = nn.Linear(_width(body, x), len(classes)).to(device)
    parameters = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, rate, weight_decay=1e-5)
    rng = generator(seed, "classifier", 0, device)
    for update in range(updates):
        index = torch.randint(len(x), (128,), generator=rng, device=device)
        noise = 0.05 * torch.randn((128, *x.shape[1:]), generator=rng, device=device)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(head(body(x[index] + noise)), labels[index]).backward()
        optimizer.param_groups[0]["lr"] = rate * (1 - update / updates)
        optimizer.step()
    low, high = float(x.min()), float(x.max())
    known = int(classes.max()) < len(dataset.class_names)
    classifier = Classifier(
        body.eval(),
        head.eval(),
        tuple(classes.tolist()),
        math.nan,
        low,
        high,
        dataset.event_shape,
        network,
        tuple(dataset.class_names[label] for label in classes) if known else (),
        data_digest(dataset),
    )
    return replace(classifier, accuracy=_accuracy(classifier, *_held_out(dataset)))


def _held_out(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Validation and test images together, neither used to fit the classifier."""
    assert dataset.validation_labels is not None
    assert dataset.test_labels is not None
    labels = torch.cat([dataset.validation_labels, dataset.test_labels])
    return torch.cat([dataset.validation, dataset.test]), labels


def _accuracy(classifier: Classifier, x: Tensor, labels: Tensor) -> float:
    """The share of images with the correct class; nan for no images."""
    classes = torch.tensor(classifier.classes, device=labels.device)
    guess = classes[classifier.probabilities(x).argmax(1)]
    return float((guess == labels).float().mean())


def _restricted(classifier: Classifier, selected: Sequence[int]) -> Classifier:
    """The classifier conditional on some classes, without the odds of the others."""
    rows = [classifier.classes.index(label) for label in selected]
    old = classifier.head
    head = nn.Linear(old.in_features, len(rows), device="meta")
    head.load_state_dict({k: v[rows] for k, v in old.state_dict().items()}, assign=True)
    names = tuple(classifier.names[row] for row in rows) if classifier.names else ()
    return replace(classifier, head=head, classes=tuple(selected), names=names)


def _body(event: Sequence[int], network: str) -> nn.Module:
    """Layers from an image to its features.

    "small" has dense layers for the smallest images, strided convolutions for the others; "pooled"
    has three convolutions, each with a normalisation before it and a maximum after it.
    """
    channels, height, width = event
    if network == "small" and height * width <= 256:
        size = channels * height * width
        dense = [nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *dense)
    stages: list[nn.Module] = []
    if network == "small":
        for filters in (16, 32):
            stages += [nn.Conv2d(channels, filters, 3, 2, 1), nn.ReLU()]
            height, width, channels = math.ceil(height / 2), math.ceil(width / 2), filters
    else:
        for filters in (16, 32, 64):
            stages += [nn.Conv2d(channels, filters, 3, 1, 1), nn.BatchNorm2d(filters)]
            stages += [nn.ReLU(), nn.MaxPool2d(2)]
            height, width, channels = height // 2, width // 2, filters
    size = channels * height * width
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(size, 64), nn.ReLU())


def _width(body: nn.Module, x: Tensor) -> int:
    with torch.no_grad():
        return int(body(x[:1]).shape[1])
