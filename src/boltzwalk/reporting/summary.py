"""The summary of a finished run: its samples, its likelihood, its verdict, its cost."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..completion import complete_rows, held_out_examples, judge, make_inputs
from ..completion.judge import standard_error
from ..completion.variants import CompletionPlan, trained_mask
from ..data import Dataset
from ..diagnostics.findings import latent_findings, partition_findings
from ..diagnostics.verdict import Verdict
from ..durable import write_atomically
from ..evaluation.answer import final_verdict
from ..evaluation.modes import has_classes, mode_masses, target_shares
from ..metrics.classifier import classifier_for, judge_classes
from ..metrics.frechet import FrechetDistance
from ..metrics.quadrature import log_z_in_the_plane
from ..metrics.skewed_mean import skewed_mean
from ..model import Model
from ..rng import generator
from ..sealed import open_object, seal_object
from ..training.folder import read_rows
from ..training.guard_record import Action, actions, told
from ..walkers import effective_sample_size

__all__ = ["Number", "read_summary", "summarise"]

SAMPLES = 500
COMPLETED = 100

TOLERANCE = 1.0
"""Nats of half-width beyond which log Z of a witness is rejected."""

GRIDS_AGREE = 0.01
"""Nats by which log Z of two grids may differ."""


class Number(NamedTuple):
    """A number with its name and its meaning."""

    name: str
    text: str
    meaning: str


SUMMARY = "summary.json"
"""The file of a run folder that keeps the summary."""


def summarise(model: Model, folder: Path, training: Verdict | None = None) -> list[Number]:
    """Returns the summary of a finished run, and keeps it in the folder.

    Arguments:
        model: The model.
        folder: Its folder, for the log and the cost.
        training: The verdict on the training; None takes it from log, samples and energy.

    A summary that cannot be written is a warning.
    """
    numbers = _summary(model, folder, training)
    content = {"run": model.digest, "numbers": [list(number) for number in numbers]}
    try:
        write_atomically(folder / SUMMARY, seal_object(json.dumps(content, indent=1)).encode())
    except OSError as error:  # the run is saved: no summary may cost it
        warnings.warn(f"no summary in {folder} ({error}); the run is saved", stacklevel=2)
    return numbers


def read_summary(folder: Path, digest: str) -> dict[str, str]:
    """Returns the numbers of a summary by name; none where the folder has no summary of the model.

    Arguments:
        folder: The run folder.
        digest: The digest of the model.
    """
    try:
        content = open_object((folder / SUMMARY).read_bytes())
        if content["run"] != digest:
            return {}
        return {str(name): str(text) for name, text, _ in content["numbers"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _summary(model: Model, folder: Path, training: Verdict | None) -> list[Number]:
    """The numbers of a finished run."""
    rows, costs = read_rows(folder / "log.jsonl"), read_rows(folder / "cost.jsonl")
    n = model.available(SAMPLES)
    rng = generator(model.settings.seed, "summary", 0, model.settings.device)
    x = model.draw(n, rng).x
    rows_held_out, split = model.data.test_rows()
    numbers, condition = [], model.method.condition
    if not bool(x.isfinite().all()):
        share = 1 - float(x.isfinite().flatten(1).all(1).float().mean())
        numbers.append(Number("samples", "not finite", f"{share:.0%} of {n}: the model is broken"))
    elif condition.completes:
        numbers += _completions(model, rng)
    elif has_classes(model.data):
        numbers += _classes(model, x)
    if condition.unconditional:
        numbers += _energies(model, x, rows_held_out, split)
    if rows:
        result = training or final_verdict(model, folder)
        numbers.append(Number("training", result.label, result.reason))
        numbers += [
            Number(*finding) for finding in (*latent_findings(rows), *partition_findings(rows))
        ]
        numbers += _weights(rows[-1], _volume(model.data)) + _chain(rows[-1])
    numbers += _guard(actions(folder))
    if costs:
        cost = costs[-1]
        text = f"{cost['seconds']:.0f} s, {cost['peak_memory_mb']:.0f} MB"
        numbers.append(Number("cost", text, f"{cost['gradients']:,} gradient evaluations"))
    return numbers


def _guard(done: list[Action]) -> list[Number]:
    """The actions of the guard, if there were any."""
    if not done:
        return []
    back = [action for action in done if action.remedy]
    times = "1 time" if len(back) == 1 else f"{len(back)} times"
    text = f"went back {times}" if back else f"told {len(done)}"
    return [Number("guard", text, f"the last: {told(done[-1]).removeprefix('guard: ')}")]


def _energies(model: Model, x: Tensor, rows: Tensor, split: str) -> list[Number]:
    """Numbers of a density of x alone: masses, a likelihood where there is one, energies."""
    numbers = _masses(model)
    if model.data.event_shape == (2,) and model.temperature > 0:
        numbers.append(_likelihood(model, rows, split))
    with torch.no_grad():
        data, samples = model.module(rows[: len(x)]).mean(), model.module(x).mean()
    text = f"{data:.3g} / {samples:.3g}"
    note = ", relative to the base" if model.method.latent else ""
    return [*numbers, Number("energy", text, f"mean of {split} data / of samples{note}")]


def _completions(model: Model, rng: torch.Generator) -> list[Number]:
    """The errors of completions of held-out rows."""
    original, rows = held_out_examples(model.data, COMPLETED)
    mask = trained_mask(model, original)
    inputs = make_inputs(model.data, original, mask, None)
    completed = complete_rows(model, inputs, CompletionPlan(n=4), rng)
    return [
        Number(
            f"error, {one.name}",
            f"{float(one.error.mean()):.4f} ± {standard_error(one.error):.4f}",
            f"mean square of hidden entries, mask {mask}, {rows}",
        )
        for one in judge(model, inputs, completed)
    ]


def _volume(data: Dataset) -> float:
    """The nats by which the density of validation rows exceeds that in original units."""
    rows = data.validation if len(data.validation) else data.train
    return float(data.log_jacobian(rows).mean())


def _weights(row: dict[str, float], log_volume: float) -> list[Number]:
    """Numbers of weighted walkers: their effective sample size, and the likelihood by a witness."""
    numbers = []
    if "resamplings" in row:
        meaning = f"of the walkers of the last update; {row['resamplings']:.0f} resamplings in all"
        numbers.append(Number("effective sample size", f"{row['ess']:.0%}", meaning))
    if "witness_cross_entropy" in row:
        nats, half_width = (row[f"witness_cross_entropy{end}"] for end in ("", "_half_width"))
        text = f"{nats + log_volume:.3f} ± {half_width:.3f} nats"
        meaning = "a row, in the units of the data, 95 % interval, by the witness"
        if not row["witness_half_width"] <= TOLERANCE:
            text = "unknown"
            meaning = (
                "log Z of the replicates of the witness differs by more than a nat, or the weights "
                "of one collapsed; take more witness.walkers or witness.steps, or a smaller "
                "learning rate"
            )
        numbers.append(Number("validation nll", text, meaning))
    return numbers


def _chain(row: dict[str, float]) -> list[Number]:
    """Numbers of the chains in the last row of the log."""
    numbers = []
    if "travel" in row:
        total = f" of {row['distance']:.3g}" if "distance" in row else ""
        goal = ", and the distance from its start to the data" if total else ""
        meaning = f"drift of a chain in training{goal}"
        numbers.append(Number("travel", f"{row['travel']:.3g}{total}", meaning))
    if "temperature" not in row:
        return numbers
    meaning = "at which the kernel samples exp(-U / temperature)"
    return [*numbers, Number("temperature", f"{row['temperature']:.3g}", meaning)]


@torch.no_grad()
def _likelihood(model: Model, rows: Tensor, split: str) -> Number:
    """The likelihood of rows in the plane, where log Z is a sum over a grid."""
    data, temperature = model.data, model.temperature
    name = f"{split} nll"
    try:
        energy = model.density_energy()
    except ValueError as error:
        return Number(name, "unknown", str(error))
    log_z, finer = (
        log_z_in_the_plane(energy, data.train, temperature, points) for points in (400, 475)
    )
    if not abs(log_z - finer) < GRIDS_AGREE:
        off = abs(log_z - finer)
        reason = f"log Z of two grids differs by {off:.2g}: too sharp at this temperature"
        return Number(name, "unknown", reason)
    nats = energy(rows).cpu().double() / temperature + finer + data.log_jacobian(rows).cpu()
    half = skewed_mean(nats).half_width
    truth = ""
    if (log_density := getattr(model.settings.data, "true_log_density", None)) is not None:
        exact = -log_density(rows.cpu().double()).mean()
        truth = f"; the true density has {float(exact):.3f}"
    text = f"{float(nats.mean()):.3f} ± {half:.3f} nats"
    return Number(name, text, f"a row, in the units of the data, by quadrature{truth}")


def _masses(model: Model) -> list[Number]:
    """The exact masses of the modes of a mixture, and those of the data."""
    masses, target = mode_masses(model), target_shares(model.data)
    if masses is None:
        return []
    text, wanted = (" / ".join(f"{v:.4f}" for v in s.values()) for s in (masses, target))
    return [Number("mode masses", text, f"of {' / '.join(masses)}, exact; the data have {wanted}")]


def _classes(model: Model, x: Tensor) -> list[Number]:
    """Class numbers of samples, or of weighted walkers, by a classifier fitted on the data."""
    classifier, walkers = classifier_for(model.data), model.weighted_walkers()
    log_w = None
    if walkers is not None and bool(walkers.x.isfinite().all()):
        x, log_w = walkers.x, walkers.log_w
    judged = judge_classes(classifier, x, model.data, log_w)
    names = model.data.class_names
    shares = " ".join(f"{names[label]}:{share:.0%}" for label, share in judged.shares.items())
    numbers = []
    if log_w is not None:
        target = target_shares(model.data)
        wanted = " ".join(f"{name}:{share:.0%}" for name, share in target.items())
        pairs = zip(judged.shares.values(), target.values(), strict=True)
        off = sum(abs(share - wanted_share) for share, wanted_share in pairs) / 2
        ess = float(effective_sample_size(log_w))
        meaning = (
            f"in the wrong class: {len(x)} weighted walkers (effective: {ess:.0f}) have {shares}"
        )
        meaning += f", the data {wanted}"
        numbers.append(Number("class shares", f"{off:.1%}", meaning))
    return [
        *numbers,
        Number(
            "class entropy",
            f"{judged.entropy:.2f} nats",
            f"of one sample, mean of {len(x)}; 0 is clearly one class, "
            f"{math.log(len(judged.shares)):.1f} is none "
            f"(classifier: {judged.accuracy:.1%} right on held-out data)",
        ),
        Number(
            "class coverage", f"{judged.coverage:.0%}", f"of the classes are drawn evenly; {shares}"
        ),
        Number(
            "classifier-FID",
            _with_error(judged.frechet),
            "against held-out data, unbiased: 0 for samples of their distribution; training data "
            f"themselves have {_with_error(judged.frechet_floor)}",
        ),
    ]


def _with_error(distance: FrechetDistance) -> str:
    """A distance with the half of its interval; unknown of too few samples."""
    if math.isnan(distance.value):
        return "unknown"
    return f"{distance.value:.1f} ± {distance.high - distance.value:.1f}"
