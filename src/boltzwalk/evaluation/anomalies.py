r"""How well a model tells rows that are not of its kind: by their energy, and by its gradient.

With one model and rows of one shape, :math:`\log p(x) = -U(x) / T - \log Z` ranks rows as the
energy does, so the likelihood has the same curve and is not printed twice. Images of another size
are scaled to that of the model, and held-out images are taken to that size and back, so that the
blur is the same on both sides.

Not guaranteed: that an anomaly has a high energy. A model gives low energies to whatever is simple
(a single colour), which is why such images are among those that are tried.

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
from .measure import Measure, Part, refused
from .samples import Drawn

__all__ = ["KNOWN", "anomalies", "judging_energy", "scores", "stamp"]

KNOWN = {"digits": Digits, "mnist": Mnist, "fashion_mnist": FashionMnist, "cifar10": Cifar10}
"""Data sets that can be named."""

ROWS = 10_000
AT_ONCE = 1000
SHOWN = 1000
"""Energies of each kind of rows that a report gets for its histogram."""


def anomalies(model: Model, drawn: Drawn, sets: Sequence[str], rng: torch.Generator) -> Part:
    """Returns how well energy and gradient tell other rows from held-out ones.

    Noise that is uniform over the range of the data is always tried, and for images a single grey.

    Arguments:
        model: The model.
        drawn: Its samples, for the histogram of energies.
        sets: Names of data sets, files or folders.
        rng: The source of the noise.

    Raises:
        ValueError: If a set is unknown, or has other rows.
        FileNotFoundError: If there is no such file.
    """
    data = model.data
    rows, _ = data.held_out(ROWS)
    inside = scores(model, rows)
    found: list[Measure] = []
    energies = {
        "training data": scores(model, data.dequantised(data.train[:SHOWN], rng))[0],
        "held-out data": inside[0],
        "samples": scores(model, drawn.rows(SHOWN, rng).to(rows))[0],
    }
    for name, (ours, theirs) in _outside(data, rows, sets, rng).items():
        mine = inside if ours is rows else scores(model, ours)
        other = scores(model, theirs)
        energies[name] = other[0]
        for by, x, y in zip(("energy", "gradient"), mine, other, strict=True):
            found += _told(name, by, x, y)
    shown = {name: values[:SHOWN].tolist() for name, values in energies.items()}
    return Part(found, {"energies": shown})


def stamp(name: str) -> str:
    """Returns what tells whether a set of anomalies has changed: "" for one that can be named.

    Arguments:
        name: The name of a data set, a file or a folder.
    """
    path = Path(name)
    if name in KNOWN or not path.exists():
        return ""
    files = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    known = [(str(part), part.stat().st_size, part.stat().st_mtime_ns) for part in files]
    return hashlib.sha256(repr(known).encode()).hexdigest()


def scores(model: Model, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the energy of each row and the norm of its gradient, on the CPU.

    Arguments:
        model: The model.
        rows: Rows in model units, shape (N, *event).
    """
    energies, norms, energy = [], [], judging_energy(model)
    for part in rows.split(AT_ONCE):
        u, gradient = energy_and_grad(energy, part)
        energies.append(u.cpu().double())
        norms.append(gradient.flatten(1).norm(dim=1).cpu().double())
    return torch.cat(energies), torch.cat(norms)


def judging_energy(model: Model) -> nn.Module:
    """Returns the energy that rows are judged by: that of the model itself where it has one.

    A model relative to a base without a density has none, and its relative energy judges.

    Arguments:
        model: The model.
    """
    try:
        return model.density_energy()
    except ValueError:
        return model.module


def _told(name: str, by: str, inside: Tensor, outside: Tensor) -> list[Measure]:
    """AUROC with its interval and FPR95 of one score."""
    title = f"AUROC {name}, {by}"
    if not bool(inside.isfinite().all() and outside.isfinite().all()):
        return [refused(title, "energies or gradients are not finite")]
    area = auroc(inside, outside)
    rate = false_positive_rate(inside, outside)
    protocol = f"{len(outside):,} against {len(inside):,} held-out rows; FPR95 {rate:.3f}"
    return [Measure(title, *area, better="higher", protocol=protocol)]


def _outside(
    data: Dataset, rows: Tensor, sets: Sequence[str], rng: torch.Generator
) -> dict[str, tuple[Tensor, Tensor]]:
    """Held-out rows and others that had the same treatment, by the name of the others."""
    image = len(data.event_shape) == 3
    noise = data.noise(len(rows), rng)
    found = {"noise": (rows, noise)}
    if image:
        found["single grey"] = (rows, noise[:, :1, :1, :1].expand_as(rows).contiguous())
    for name in sets:
        if name in KNOWN and image:
            found[name] = _known(data, rows, name, rng)
        else:
            path = Path(name)
            if image and not path.exists():
                raise ValueError(
                    f"anomalies must be of {', '.join(KNOWN)}, or of a file or folder of images, "
                    f"got {name!r}, where nothing is"
                )
            label = name if path.name in found else path.name
            found[label] = (rows, load_external_rows(path, data, rng)[:ROWS])
    return found


def _known(data: Dataset, rows: Tensor, name: str, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Held-out images and those of another set, taken through the same sizes and channels."""
    other = KNOWN[name]().load()
    theirs = other.held_out(ROWS)[0]
    channels, size, _ = other.event_shape
    event = data.event_shape
    assert len(event) == 3
    outside = resize_round_trip(model_to_grey(theirs, other), size, channels, event)
    inside = resize_round_trip(model_to_grey(rows, data), size, channels, event)
    pair = (data.dequantised(grey_to_model(images, data), rng) for images in (inside, outside))
    return (next(pair), next(pair))
