"""Checks of all inputs of an evaluation, and the time that it will take, before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ..method import can_sample
from ..model import Model
from ..rng import generator
from .anomalies import NAMED_SETS, check_sets
from .evaluate import EvaluationPlan, known_sections

__all__ = ["check_files", "check_inputs", "expected_time"]

TIMED = 64
"""Samples whose time is measured."""


def check_files(inception: Path | None, outside: Sequence[str]) -> None:
    """Raises where a file of an evaluation does not exist; reads no data.

    Arguments:
        inception: The weights of the Inception network; None without.
        outside: Names of data sets, files or folders that anomalies are taken from.

    Raises:
        FileNotFoundError: With all that do not exist.
    """
    missing = [name for name in outside if name not in NAMED_SETS and not Path(name).exists()]
    problems = [
        f"anomalies must be of {', '.join(NAMED_SETS)}, or of a file or folder of rows, got "
        f"{name!r}, which does not exist"
        for name in missing
    ]
    if inception is not None and not inception.is_file():
        problems.append(f"the Inception weights must be a file, got {inception}, which is none")
    if problems:
        raise FileNotFoundError("; ".join(problems))


def check_inputs(model: Model, plan: EvaluationPlan) -> None:
    """Raises where an evaluation would fail on one of its inputs.

    Arguments:
        model: The model.
        plan: The sections, and the effort for each.

    Raises:
        ValueError: If the rows of a set have another shape, or the weights cannot be read.
        FileNotFoundError: If a file does not exist.
    """
    check_files(plan.inception, plan.outside)
    if "anomalies" in plan.sections and not model.method.condition.refusal("anomalies"):
        check_sets(model.data, plan.outside)
    if plan.inception is not None and len(model.data.event_shape) == 3:
        from ..metrics.inception import load_inception

        load_inception(plan.inception)


def expected_time(model: Model, folder: Path, plan: EvaluationPlan) -> str:
    """Returns how long the evaluation will take: measured for samples, the limits for the rest.

    Arguments:
        model: The model.
        folder: Its folder, whose sections are known already.
        plan: The sections, and the effort for each.
    """
    known = known_sections(model, folder)
    sections = [name for name in plan.sections if name not in known]
    sections = [name for name in sections if not model.method.condition.refusal(name)]
    parts = []
    if {"quality", "modes", "goodness", "masses", "anomalies"} & set(sections):
        n = model.available(plan.samples)
        if can_sample(model.method) and n >= TIMED:
            model.draw(1, generator(plan.seed, "time", 0, model.device))  # the first is slower
            began = time.monotonic()
            model.draw(TIMED, generator(plan.seed, "time", 1, model.device))
            seconds = (time.monotonic() - began) * n / TIMED
            parts.append(f"{plan.samples:,} samples at most {_rounded(seconds)}")
    if "long_run" in sections:
        parts.append(f"long chains up to {_rounded(plan.long_run.seconds)} (--seconds)")
    if "likelihood" in sections and model.known_log_z() is None:
        parts.append(f"log Z up to {_rounded(plan.effort.seconds)} (--log-z-seconds)")
    if not sections:
        return "every section is known"
    listed = "; ".join(parts)
    return f"{len(sections)} sections; {listed}" if parts else f"{len(sections)} sections"


def _rounded(seconds: float) -> str:
    """Seconds to one or two digits, or minutes."""
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{max(1, round(seconds))} s"
