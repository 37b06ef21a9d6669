r"""Detection of anomalies by the energy of a row, and by the norm of its gradient.

For one model and rows of one shape, :math:`\log p(x) = -U(x) / T - \log Z` ranks rows as the
energy does: the likelihood has the same curve and is not printed twice. Images of another size
are scaled to that of the model, and held-out images are taken to that size and back, so that the
blur is the same for both.

Not guaranteed: that an anomaly has a high energy. Models give low energies to simple images, such
as a single colour, so such images are always tried.

References:
    | DiffPath: out-of-distribution detection with a single unconditional diffusion model
    | (Heng, Thiery, Soh, 2024): unequal resizing alone tells two sets apart
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data import Cifar10, Dataset, Digits, FashionMnist, Mnist
from ..data.external import grey_to_model, load_external_rows, model_to_grey, resize_round_trip
from ..energy import energy_and_grad
from ..metrics.anomaly import auroc, false_positive_rate
from ..model import Model
from .measure import EvaluationSection, Measure, unavailable
from .samples import SampleSet

__all__ = [
    "NAMED_SETS",
    "anomalies",
    "check_sets",
    "energies_and_norms",
    "file_stamp",
    "scoring_energy",
]

NAMED_SETS = {"digits": Digits, "mnist": Mnist, "fashion_mnist": FashionMnist, "cifar10": Cifar10}
"""Data sets by name."""

ROWS = 10_000
CHUNK = 1000
HISTOGRAM_ROWS = 1000
"""Energies of each kind of rows for the histogram of a report."""


def anomalies(
    model: Model, samples: SampleSet, sets: Sequence[str], rng: torch.Generator
) -> EvaluationSection:
    """Returns how well energy and gradient separate other rows from held-out ones.

    Noise that is uniform over the range of the data is always tried, and for images a single grey.

    Arguments:
        model: The model.
        samples: Its samples, for the histogram of energies.
        sets: Names of data sets, files or folders.
        rng: The source of the noise.

    Raises:
        ValueError: If a set is unknown, or has other rows.
        FileNotFoundError: If there is no such file.
    """
    data = model.data
    rows, _ = model.reference_rows(most=ROWS)
    inside = energies_and_norms(model, rows)
    measures: list[Measure] = []
    energies = {
        "training data": energies_and_norms(
            model, data.dequantised(data.train[:HISTOGRAM_ROWS], rng)
        )[0],
        "held-out data": inside[0],
        "samples": energies_and_norms(model, samples.rows(HISTOGRAM_ROWS, rng).to(rows))[0],
    }
    for name, (usual, unusual) in _row_pairs(data, rows, sets, rng).items():
        usual_scores = inside if usual is rows else energies_and_norms(model, usual)
        scores = energies_and_norms(model, unusual)
        energies[name] = scores[0]
        for score, x, y in zip(("energy", "gradient"), usual_scores, scores, strict=True):
            measures.append(_separation(f"AUROC {name}, {score}", x, y))
    shown = {name: values[:HISTOGRAM_ROWS].tolist() for name, values in energies.items()}
    return EvaluationSection(measures, {"energies": shown})


def check_sets(data: Dataset, sets: Sequence[str]) -> None:
    """Raises where anomalies cannot be read, or have other rows than the data.

    Arguments:
        data: The data of the model.
        sets: Names of data sets, files or folders.

    Raises:
        ValueError: If a set is unknown, or has other rows.
        FileNotFoundError: If there is no such file.
    """
    rng = torch.Generator(data.train.device).manual_seed(0)
    for name in sets:
        if name in NAMED_SETS and len(data.event_shape) == 3:
            NAMED_SETS[name]().load()
        else:
            load_external_rows(Path(name), data, rng)


def file_stamp(name: str) -> str:
    """Returns a digest of the sizes and times of files, "" for a data set by name.

    Arguments:
        name: The name of a data set, a file or a folder.
    """
    path = Path(name)
    if name in NAMED_SETS or not path.exists():
        return ""
    files = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    stats = [(str(part), part.stat().st_size, part.stat().st_mtime_ns) for part in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def energies_and_norms(model: Model, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the energy of each row and the norm of its gradient, on the CPU.

    Arguments:
        model: The model.
        rows: Rows in model units, shape (N, *event).
    """
    energies, norms, energy = [], [], scoring_energy(model)
    for chunk in rows.split(CHUNK):
        u, gradient = energy_and_grad(energy, chunk)
        energies.append(u.cpu().double())
        norms.append(gradient.flatten(1).norm(dim=1).cpu().double())
    return torch.cat(energies), torch.cat(norms)


def scoring_energy(model: Model) -> nn.Module:
    """Returns the energy that scores rows: that of the density where the model has one.

    A model relative to a base without a density has none; its relative energy takes its place.

    Arguments:
        model: The model.
    """
    try:
        return model.density_energy()
    except ValueError:
        return model.module


def _separation(title: str, inside: Tensor, outside: Tensor) -> Measure:
    """AUROC with its interval, and FPR95, of one score."""
    if not bool(inside.isfinite().all() and outside.isfinite().all()):
        return unavailable(title, "energies or gradients are not finite")
    area = auroc(inside, outside)
    rate = false_positive_rate(inside, outside)
    protocol = f"{len(outside):,} against {len(inside):,} held-out rows; FPR95 {rate:.3f}"
    return Measure(title, *area, better="higher", protocol=protocol)


def _row_pairs(
    data: Dataset, rows: Tensor, sets: Sequence[str], rng: torch.Generator
) -> dict[str, tuple[Tensor, Tensor]]:
    """Held-out rows and others, processed in the same way, by the name of the others."""
    image = len(data.event_shape) == 3
    noise = data.noise(len(rows), rng)
    pairs = {"noise": (rows, noise)}
    if image:
        pairs["single grey"] = (rows, noise[:, :1, :1, :1].expand_as(rows).contiguous())
    for name in sets:
        if name in NAMED_SETS and image:
            pairs[name] = _named_set(data, rows, name, rng)
        else:
            path = Path(name)
            if image and not path.exists():
                raise ValueError(
                    f"anomalies must be of {', '.join(NAMED_SETS)}, or of a file or folder of "
                    f"images, got {name!r}, which does not exist"
                )
            label = name if path.name in pairs else path.name
            pairs[label] = (rows, load_external_rows(path, data, rng)[:ROWS])
    return pairs


def _named_set(
    data: Dataset, rows: Tensor, name: str, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Held-out images and those of another set, resized through the same sizes and channels."""
    other = NAMED_SETS[name]().load()
    images = other.held_out(ROWS)[0]
    channels, size, _ = other.event_shape
    event = data.event_shape
    assert len(event) == 3
    outside = resize_round_trip(model_to_grey(images, other), size, channels, event)
    inside = resize_round_trip(model_to_grey(rows, data), size, channels, event)
    pair = (data.dequantised(grey_to_model(grey, data), rng) for grey in (inside, outside))
    return (next(pair), next(pair))
