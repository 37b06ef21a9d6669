"""A run and its samples, judged part by part; what was judged before is read, not computed again.

A part knows nothing of the method that trained the run: samples come from the method's own sampler,
energies from its model, and weights from it where its walkers carry any.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..diagnostics.findings import latent_findings, partition_findings
from ..diagnostics.verdict import training_findings, verdict
from ..model import Model
from ..rng import generator
from ..smc.from_samples import Effort
from ..training.folder import FAILURE, read_rows, read_trace
from .anomalies import anomalies, stamp
from .cache import recall, remembered
from .features import Features, distance_to, features_for
from .goodness import goodness
from .likelihood import as_part, likelihood
from .long_run import LongRun, run_long
from .measure import Measure, Part, refused
from .modes import modes
from .partition import as_part as as_partition_part
from .partition import partition
from .quality import quality
from .samples import Drawn, draw_many, finite_part

__all__ = ["PARTS", "Plan", "evaluate", "evaluated", "refusal"]

VERSION = 1
"""Raised where the same key would give other numbers than before."""

PARTS = (
    "training",
    "quality",
    "base",
    "modes",
    "goodness",
    "anomalies",
    "long_run",
    "partition",
    "likelihood",
)
"""All parts, in the order in which they are computed: what takes long comes last."""

IN_THE_PLANE = 2000
"""Long chains in the plane, at least."""


@dataclass(frozen=True)
class Plan:
    """What is evaluated, and with how much effort.

    Arguments:
        samples: The number of samples.
        parts: The parts.
        inception: The standard weights of the Inception network, where the user has them.
        outside: Data sets and files that anomalies are taken from.
        long_run: How far chains run on.
        effort: How much is spent on log Z.
        seed: The seed of all noise.
        report: Is told what is done.

    Raises:
        ValueError: If a part is unknown, or there are too few samples.
    """

    samples: int = 10_000
    parts: tuple[str, ...] = PARTS
    inception: Path | None = None
    outside: tuple[str, ...] = ()
    long_run: LongRun = field(default_factory=LongRun)
    effort: Effort = field(default_factory=Effort)
    seed: int = 0
    report: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise ValueError(f"parts must be some of {', '.join(PARTS)}, got {unknown or 'none'}")
        if self.samples < 2:
            raise ValueError(f"samples must be 2 or more, got {self.samples}; 10000 are usual")


def evaluate(model: Model, folder: Path, plan: Plan) -> Iterator[tuple[str, Part]]:
    """Judges a model, one part each time the next item is asked for.

    Arguments:
        model: The model.
        folder: Its folder, where `evaluation/` keeps what was found.
        plan: What is evaluated.

    Raises:
        ValueError: If the data of anomalies, or the weights of a network, do not fit.
        FileNotFoundError: If one of them is not there.
        OSError: If the folder cannot be written.
    """
    key = {"run": model.digest, "version": VERSION, "seed": plan.seed}
    for name, (settings, make) in _parts(model, folder, plan).items():
        reason = refusal(model, name)
        if name in plan.parts and reason:
            yield name, Part([refused(name.replace("_", " "), reason)], {})
        elif name in plan.parts:
            plan.report(name.replace("_", " "))
            path = folder / "evaluation" / f"{name}.json"
            yield name, remembered(path, {**key, **settings}, make)


def refusal(model: Model, part: str) -> str:
    """Returns why a part of an evaluation says nothing of a run that is given something, else "".

    Arguments:
        model: The model.
        part: The name of the part.
    """
    return model.method.condition.refusal(part)


def evaluated(model: Model, folder: Path) -> dict[str, Part]:
    """Returns the parts of an evaluation of this very model that are there; computes nothing.

    Arguments:
        model: The model.
        folder: Its folder.
    """
    key = {"run": model.digest, "version": VERSION}
    found = {name: recall(folder / "evaluation" / f"{name}.json", key) for name in PARTS}
    return {name: part for name, part in found.items() if part is not None}


def _parts(
    model: Model, folder: Path, plan: Plan
) -> dict[str, tuple[dict[str, Any], Callable[[], Part]]]:
    """Every part in order: the settings that it depends on, and what computes it."""
    place, device = folder / "evaluation", model.data.train.device

    def rng(purpose: str) -> torch.Generator:
        return generator(plan.seed, purpose, 0, device)

    @functools.cache
    def features() -> Features:
        plan.report("features by which samples are judged")
        return features_for(model.data, plan.inception)

    @functools.cache
    def drawn() -> Drawn:
        plan.report(f"{plan.samples:,} samples")
        return draw_many(model, plan.samples, rng("evaluate"))

    judged = {"samples": plan.samples, "inception": str(plan.inception or "")}
    return {
        "training": ({"failure": _failure(folder)}, lambda: _training(folder)),
        "quality": (judged, lambda: quality(model.data, drawn(), features(), rng("quality"))),
        "base": (judged, lambda: _base(model, plan.samples, features, rng("evaluate"))),
        "modes": (judged, lambda: modes(model, drawn(), features())),
        "goodness": ({"samples": plan.samples}, lambda: goodness(model, drawn(), rng("goodness"))),
        "anomalies": (
            {"samples": plan.samples, "outside": [[name, stamp(name)] for name in plan.outside]},
            lambda: anomalies(model, drawn(), plan.outside, rng("anomalies")),
        ),
        "long_run": (
            {name: getattr(plan.long_run, name) for name in ("seconds", "steps", "chains")},
            # Chains are too few for the 2048 features of the Inception network.
            lambda: _long_run(
                model, features_for(model.data) if plan.inception else features(), place, plan
            ),
        ),
        "partition": ({}, lambda: as_partition_part(partition(model, rng("partition")))),
        "likelihood": (
            {"effort": repr(replace(plan.effort, report=print))},
            lambda: as_part(likelihood(model, rng("likelihood"), plan.effort)),
        ),
    }


def _base(model: Model, n: int, features: Callable[[], Features], rng: torch.Generator) -> Part:
    """What the network that proposes is worth by itself; nothing where none does."""
    x = model.propose(n, rng)
    if x is None:
        return Part([], {})
    drawn = finite_part(x, None, f"{n:,} proposals, not revised")
    found = quality(model.data, drawn, features(), rng)
    named = [measure._replace(name=f"{measure.name}, proposals") for measure in found.measures]
    return found._replace(measures=named)


def _failure(folder: Path) -> str:
    """Why the run broke off; "" if it did not."""
    path = folder / FAILURE
    return path.read_text() if path.is_file() else ""


def _training(folder: Path) -> Part:
    """What the log of a run says of its training."""
    rows, trace = read_rows(folder / "log.jsonl"), read_trace(folder)
    found_by = (*training_findings(rows, trace), *latent_findings(rows), *partition_findings(rows))
    findings = [list(finding) for finding in found_by]
    found = verdict(rows, trace, _failure(folder))
    return Part([], {"findings": findings, "update": found.update}, found.label, found.reason)


def _long_run(model: Model, features: Features, place: Path, plan: Plan) -> Part:
    """What becomes of long chains, with the label of the model."""
    reference, _ = model.data.held_out()
    name, distance = distance_to(reference, features)
    effort = plan.long_run
    if model.data.event_shape == (2,):  # where chains are cheap, and cells need many of them
        effort = replace(effort, chains=max(effort.chains, IN_THE_PLANE))
    try:
        found = run_long(model, distance, place / "long_run.safetensors", effort, plan.seed)
    except ValueError as error:  # such as too few held-out rows for a distance
        nothing: dict[str, Any] = {"rows": [], "distance": name, "base": math.nan}
        return Part([refused("long chains", str(error))], nothing)
    last = found["rows"][-2:]
    measures = [
        Measure(
            f"long chains from {row['start']}",
            row["distance"],
            better="lower",
            protocol=f"{name} after {row['steps']:,} steps; drawn as in training "
            f"{found['base']:.3g}; {row['out_of_range']:.0%} of the entries out of range",
        )
        for row in last
    ]
    mixing = "of the energies of chains from data and from noise, between the last two looks"
    measures.append(Measure("R-hat", found["r_hat"], better="lower", protocol=mixing))
    measures.append(Measure("ESS", found["ess"], better="higher", protocol=mixing))
    details = {"rows": found["rows"], "distance": name, "base": found["base"]}
    return Part(measures, details, found["label"], found["reason"])
