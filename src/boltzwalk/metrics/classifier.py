"""Small classifiers of labelled images, whose features and classes judge samples.

For digits, MNIST and Fashion-MNIST a classifier is shipped, which `boltzwalk classifier NAME` made
from the training images of the default split. So numbers of different runs, also of runs that know
only some of the classes, are of the same features. Of other labelled images one is fitted anew, in
seconds, from the training split and a fixed seed.

Every classifier says how accurate it is on the validation and test images of the data that it was
fitted on. What is *not* guaranteed: MNIST with a `split_seed` or share of its own has validation
images that the shipped classifier was fitted on; its test images are always new to it.
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
from .frechet import frechet_distance

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
"""Where the classifiers of this library lie, as NAME.safetensors."""

STANDARD = {"digits": Digits, "mnist": Mnist, "fashion_mnist": FashionMnist}

TEXT = ("classes", "accuracy", "low", "high", "event", "network", "names", "digest", "gain")
"""What a file says of its classifier beside the weights."""

AT_ONCE = 2000


@dataclass(frozen=True, eq=False)
class Classifier:
    r"""A fitted classifier, :math:`p(c \mid x) \propto \exp h_c(f(\mathrm{clamp}(g x)))`.

    Attributes:
        body: The features :math:`f`: maps images, shape (N, *event), to shape (N, D).
        head: The logarithms of class odds :math:`h`: maps features to shape (N, C).
        classes: The label of each class, as the data have it.
        accuracy: The share of held-out images that it classifies rightly.
        low: The least value of an image.
        high: The largest value of an image.
        event: The shape of one image.
        network: Which layers the body has, "small" or "pooled".
        names: What the classes are called; empty where they have no names.
        digest: The `data_digest` of what it was fitted on.
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
        """Returns features, shape (N, D), of images that are first brought into range."""
        parts = ((part * self.gain).clamp(self.low, self.high) for part in x.split(AT_ONCE))
        return torch.cat([self.body(part) for part in parts])

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Returns class probabilities, shape (N, C)."""
        return torch.softmax(self.head(self.features(x)), 1)


class ClassReport(NamedTuple):
    """What a classifier says of samples."""

    entropy: float  # mean entropy of the class of a sample, in nats: 0 if each is clearly one
    coverage: float  # exp(entropy of the mean class probabilities) / classes: 1 if all are there
    shares: dict[int, float]  # of the samples, by label
    frechet: float  # classifier-FID against held-out data; nan of too few samples
    frechet_floor: float  # the same of training data, as many as there are samples
    accuracy: float  # of the classifier, on held-out data


def classifier_for(dataset: Dataset) -> Classifier:
    r"""Returns the classifier that judges samples of this data, on its device.

    For images of a `standard` set it is the shipped one. Where only some classes were chosen, its
    probabilities are those given that the image is of one of them,

    .. math:: p(c | x, C) = p(c | x) / \sum_{c' \in C} p(c' | x) ,

    and its accuracy is taken anew, on the test images of these classes; of all classes it is that
    of the file. For other data the classifier is that of `fit_classifier`.

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
    found = load_classifier(file)
    chosen = labels.unique().tolist()
    if found.event != dataset.event_shape or not set(chosen) <= set(found.classes):
        return fit_classifier(dataset)
    device = dataset.train.device
    # Black is 0 in original units: -shift / scale in model units, and -1 to the classifier.
    gain = float(dataset.scale / dataset.shift)
    found = replace(found, body=found.body.to(device), head=found.head.to(device), gain=gain)
    if len(chosen) == len(found.classes):
        return found
    found = _restricted(found, chosen)
    if dataset.test_labels is None or len(dataset.test) == 0:
        return found
    return replace(found, accuracy=_accuracy(found, dataset.test, dataset.test_labels))


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
    """Returns a classifier of a standard set, made as the shipped one was.

    It takes seconds for digits and some minutes for the other sets.

    Arguments:
        name: The set, "digits", "mnist" or "fashion_mnist".

    Raises:
        ValueError: If there is no such set.
        FileNotFoundError: If its images are not there and cannot be downloaded.
    """
    if name not in STANDARD:
        raise ValueError(f"there are classifiers of {', '.join(STANDARD)}, got {name!r}")
    dataset = STANDARD[name]().load()
    return fit_classifier(dataset) if name == "digits" else _fit(dataset, "pooled", 0, 4000, 4e-3)


def save_classifier(classifier: Classifier, path: str | Path) -> None:
    """Writes a classifier to one safetensors file, which cannot hold code.

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
    text = {name: json.dumps(getattr(classifier, name)) for name in TEXT}
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
    if set(text) != set(TEXT) or "head.weight" not in tensors:
        raise ValueError(f"{path} must be a file of save_classifier, got one of another kind")
    read = {name: json.loads(value) for name, value in text.items()}
    for name in ("classes", "event", "names"):
        read[name] = tuple(read[name])
    with torch.device("meta"):  # nothing is drawn
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
    features, reference = classifier.features(x), classifier.features(_held_out(dataset)[0])
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


def _distance(features: Tensor, reference: Tensor, share: Tensor) -> float:
    """The Fréchet distance; nan where too few images, in effect, leave a covariance singular."""
    in_effect = float(share.double().sum() ** 2 / share.double().square().sum())
    if min(in_effect, len(reference)) < features.shape[1] + 1 - 1e-9:
        return math.nan
    return frechet_distance(features, reference, share)


def _fit(dataset: Dataset, network: str, seed: int, updates: int, rate: float) -> Classifier:
    """Fits a classifier by Adam, with noise of 0.05 on the images and a rate that falls to 0."""
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
    found = Classifier(
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
    return replace(found, accuracy=_accuracy(found, *_held_out(dataset)))


def _held_out(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Validation and test together: neither is used to fit the classifier."""
    assert dataset.validation_labels is not None
    assert dataset.test_labels is not None
    labels = torch.cat([dataset.validation_labels, dataset.test_labels])
    return torch.cat([dataset.validation, dataset.test]), labels


def _accuracy(classifier: Classifier, x: Tensor, labels: Tensor) -> float:
    """The share of images that are classified rightly; nan of none."""
    classes = torch.tensor(classifier.classes, device=labels.device)
    guess = classes[classifier.probabilities(x).argmax(1)]
    return float((guess == labels).float().mean())


def _restricted(classifier: Classifier, chosen: Sequence[int]) -> Classifier:
    """The classifier given that an image is of one of these classes: the odds of the others go."""
    rows = [classifier.classes.index(label) for label in chosen]
    old = classifier.head
    head = nn.Linear(old.in_features, len(rows), device="meta")
    head.load_state_dict({k: v[rows] for k, v in old.state_dict().items()}, assign=True)
    names = tuple(classifier.names[row] for row in rows) if classifier.names else ()
    return replace(classifier, head=head, classes=tuple(chosen), names=names)


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
        for wide in (16, 32):
            stages += [nn.Conv2d(channels, wide, 3, 2, 1), nn.ReLU()]
            height, width, channels = math.ceil(height / 2), math.ceil(width / 2), wide
    else:
        for wide in (16, 32, 64):
            stages += [nn.Conv2d(channels, wide, 3, 1, 1), nn.BatchNorm2d(wide)]
            stages += [nn.ReLU(), nn.MaxPool2d(2)]
            height, width, channels = height // 2, width // 2, wide
    size = channels * height * width
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(size, 64), nn.ReLU())


def _width(body: nn.Module, x: Tensor) -> int:
    with torch.no_grad():
        return int(body(x[:1]).shape[1])
