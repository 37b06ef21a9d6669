"""The evaluation of a model, section by section; cached sections are read, not computed again.

A section knows nothing of the method that trained the model: samples come from the sampler of the
method, energies from the model, and weights from weighted walkers where there are any.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..diagnostics.findings import latent_findings, partition_findings, training_findings
from ..diagnostics.verdict import model_verdict
from ..model import Model
from ..rng import generator
from ..smc.from_samples import Effort
from ..training.folder import FAILURE, read_rows, read_trace
from .anomalies import anomalies, file_stamp
from .cache import load_or_compute, read_section
from .features import Features, distance_to, features_for
from .goodness import goodness
from .likelihood import held_out_likelihood, likelihood_section
from .long_run import LongRun, run_long
from .masses import masses
from .measure import EvaluationSection, Measure, unavailable
from .modes import modes
from .partition import model_partition, partition_section
from .quality import quality
from .samples import SampleSet, draw_samples, keep_finite

__all__ = ["NOTHING", "SECTIONS", "EvaluationPlan", "evaluate_sections", "known_sections"]

VERSION = 1
"""Raised where the same key would give other numbers than before."""

REVISIONS = {"training": 2, "long_run": 2}
"""Raised where one section would give other numbers or another label than before."""

SECTIONS = (
    "training",
    "quality",
    "base",
    "modes",
    "goodness",
    "masses",
    "anomalies",
    "long_run",
    "partition",
    "likelihood",
)
"""All sections in the order in which they are computed: the slowest come last."""

NOTHING = {
    "base": "the method has no base",
    "modes": "the data have no classes",
    "masses": "the data are images, or one mode in three columns or more",
    "partition": "the method learns no log-partition",
    "goodness": "the model has no density",
}
"""Why a section may be empty."""

PLANE_CHAINS = 2000
"""The least number of long chains in the plane."""


@dataclass(frozen=True)
class EvaluationPlan:
    """The sections of an evaluation, and the effort for each.

    Arguments:
        samples: The number of samples.
        sections: The sections.
        inception: A file with the standard weights of the Inception network; None without.
        outside: Data sets and files that anomalies are taken from.
        long_run: The length of long chains.
        effort: The work that log Z may take.
        seed: The seed of all noise.
        report: A function that receives each step as text.

    Raises:
        ValueError: If a section is unknown, or there are too few samples.
    """

    samples: int = 10_000
    sections: tuple[str, ...] = SECTIONS
    inception: Path | None = None
    outside: tuple[str, ...] = ()
    long_run: LongRun = field(default_factory=LongRun)
    effort: Effort = field(default_factory=Effort)
    seed: int = 0
    report: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        unknown = [name for name in self.sections if name not in SECTIONS]
        if unknown or not self.sections:
            raise ValueError(
                f"sections must be some of {', '.join(SECTIONS)}, got {unknown or 'none'}"
            )
        if self.samples < 2:
            raise ValueError(f"samples must be 2 or more, got {self.samples}; 10000 are usual")


def evaluate_sections(
    model: Model, folder: Path, plan: EvaluationPlan
) -> Iterator[tuple[str, EvaluationSection]]:
    """Evaluates a model, one section for each item that is asked for.

    Arguments:
        model: The model.
        folder: Its folder, whose `evaluation/` caches the sections.
        plan: The sections, and the effort for each.

    Raises:
        ValueError: If the data of anomalies, or the weights of a network, do not fit.
        FileNotFoundError: If one of them does not exist.
        OSError: If the folder cannot be written.
    """
    key = {"run": model.digest, "version": VERSION, "seed": plan.seed}
    for name, (settings, make) in _sections(model, folder, plan).items():
        reason = model.method.condition.refusal(name)
        if name in plan.sections and reason:
            yield name, EvaluationSection([unavailable(name.replace("_", " "), reason)], {})
        elif name in plan.sections:
            plan.report(name.replace("_", " "))
            path = folder / "evaluation" / f"{name}.json"
            yield name, load_or_compute(path, {**key, **_revision(name), **settings}, make)


def known_sections(model: Model, folder: Path) -> dict[str, EvaluationSection]:
    """Returns the cached sections of a model by name; computes nothing.

    Arguments:
        model: The model.
        folder: Its folder.
    """
    key = {"run": model.digest, "version": VERSION}
    cached = {
        name: read_section(folder / "evaluation" / f"{name}.json", key | _revision(name))
        for name in SECTIONS
    }
    return {name: section for name, section in cached.items() if section is not None}


def _revision(name: str) -> dict[str, int]:
    return {"revision": REVISIONS[name]} if name in REVISIONS else {}


class _Section(NamedTuple):
    """The settings that a section depends on, and the function that computes it."""

    settings: dict[str, Any]
    make: Callable[[], EvaluationSection]


def _sections(model: Model, folder: Path, plan: EvaluationPlan) -> dict[str, _Section]:
    """All sections in order; to add one, add a line here and its name to `SECTIONS`."""

    def rng(purpose: str) -> torch.Generator:
        return generator(plan.seed, purpose, 0, model.data.train.device)

    @functools.cache
    def features() -> Features:
        plan.report("features by which samples are judged")
        return features_for(model.data, plan.inception)

    @functools.cache
    def samples() -> SampleSet:
        plan.report(f"{plan.samples:,} samples")
        return draw_samples(model, plan.samples, rng("evaluate"))

    def make_quality() -> EvaluationSection:
        return quality(model.data, samples(), features(), rng("quality"))

    def make_base() -> EvaluationSection:
        return _proposal_quality(model, plan.samples, features, rng("evaluate"))

    def make_anomalies() -> EvaluationSection:
        return anomalies(model, samples(), plan.outside, rng("anomalies"))

    def make_long_run() -> EvaluationSection:
        # Chains are too few for the 2048 features of the Inception network.
        chain_features = features_for(model.data) if plan.inception else features()
        return _long_run(model, chain_features, folder / "evaluation", plan)

    def make_masses() -> EvaluationSection:
        return masses(model, samples().rows(plan.samples, rng("rows")), rng("masses"))

    def make_likelihood() -> EvaluationSection:
        return likelihood_section(held_out_likelihood(model, rng("likelihood"), plan.effort))

    n: dict[str, Any] = {"samples": plan.samples}
    compared = n | {"inception": str(plan.inception or "")}
    effort = {"effort": repr(replace(plan.effort, report=print))}
    return {
        "training": _Section({"failure": _failure(folder)}, lambda: _training(model, folder)),
        "quality": _Section(compared, make_quality),
        "base": _Section(compared, make_base),
        "modes": _Section(compared, lambda: modes(model, samples(), features())),
        "goodness": _Section(n, lambda: goodness(model, samples(), rng("goodness"))),
        "masses": _Section(n, make_masses),
        "anomalies": _Section(n | _outside_key(plan), make_anomalies),
        "long_run": _Section(_length_key(plan), make_long_run),
        "partition": _Section({}, lambda: _partition(model, rng("partition"))),
        "likelihood": _Section(effort, make_likelihood),
    }


def _length_key(plan: EvaluationPlan) -> dict[str, Any]:
    """The length of long chains."""
    return {name: getattr(plan.long_run, name) for name in ("seconds", "steps", "chains")}


def _partition(model: Model, rng: torch.Generator) -> EvaluationSection:
    """The log-partition of a model that learns one."""
    return partition_section(model_partition(model, rng))


def _outside_key(plan: EvaluationPlan) -> dict[str, Any]:
    """The sources of anomalies, with stamps of their files."""
    return {"outside": [[name, file_stamp(name)] for name in plan.outside]}


def _proposal_quality(
    model: Model, n: int, features: Callable[[], Features], rng: torch.Generator
) -> EvaluationSection:
    """The quality of the proposals of the base alone; empty without a base."""
    x = model.propose(n, rng)
    if x is None:
        return EvaluationSection([], {})
    proposals = keep_finite(x, None, f"{n:,} proposals, not revised")
    section = quality(model.data, proposals, features(), rng)
    renamed = [m._replace(name=f"{m.name}, proposals") for m in section.measures]
    return section._replace(measures=renamed)


def _failure(folder: Path) -> str:
    """Why the run broke off; "" if it did not."""
    path = folder / FAILURE
    return path.read_text(errors="replace") if path.is_file() else ""


def _training(model: Model, folder: Path) -> EvaluationSection:
    """The verdict on the training log, with its findings."""
    rows, trace = read_rows(folder / "log.jsonl"), read_trace(folder)
    findings = [*training_findings(rows, trace), *latent_findings(rows), *partition_findings(rows)]
    result = model_verdict(model, folder)
    details = {"findings": [list(finding) for finding in findings], "update": result.update}
    return EvaluationSection([], details, result.label, result.reason)


def _long_run(
    model: Model, features: Features, cache: Path, plan: EvaluationPlan
) -> EvaluationSection:
    """The distance of long chains, with the label of the model."""
    reference, _ = model.data.held_out()
    effort = plan.long_run
    if model.data.event_shape == (2,):  # where chains are cheap, and cells need many of them
        effort = replace(effort, chains=max(effort.chains, PLANE_CHAINS))
    name, distance = distance_to(reference, features, effort.chains)
    try:
        result = run_long(model, distance, cache / "long_run.safetensors", effort, plan.seed)
    except ValueError as error:  # such as too few held-out rows for a distance
        nothing: dict[str, Any] = {"rows": [], "distance": name, "base": math.nan}
        return EvaluationSection([unavailable("long chains", str(error))], nothing)
    measures = [
        Measure(
            f"long chains from {row['start']}",
            row["distance"],
            better="lower",
            protocol=f"{name} after {row['steps']:,} steps; drawn as in training "
            f"{result['base']:.3g}; {row['out_of_range']:.0%} of the entries out of range",
        )
        for row in result["rows"][-2:]
    ]
    mixing = "of the energies of chains from data and from noise, between the last two checkpoints"
    measures.append(Measure("R-hat", result["r_hat"], better="lower", protocol=mixing))
    measures.append(Measure("ESS", result["ess"], better="higher", protocol=mixing))
    details = {"rows": result["rows"], "distance": name, "base": result["base"]}
    return EvaluationSection(measures, details, result["label"], result["reason"])
