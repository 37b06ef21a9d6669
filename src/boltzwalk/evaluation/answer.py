"""The use of a model in plain words: samples, scores, density, completion, and the next command.

A use is "yes" or "no" where a number says so, and "unknown" where none was computed: after training
alone nothing is known of the density.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ..diagnostics.evidence import WRONG_DISTANCE, latest
from ..diagnostics.verdict import FAILED, TOO_SHORT, Verdict, model_verdict
from ..model import Model
from ..training.evidence import with_evidence
from ..training.folder import read_rows
from .long_run import CONVERGENT, SHORT_RUN
from .masses import DENSITY_WRONG, model_masses
from .measure import EvaluationSection

__all__ = ["Use", "Uses", "failure_line", "final_verdict", "uses_of"]

SEPARATED = 0.8
"""The lower end of the AUROC of noise and held-out rows, from which energies may be scores."""

USUAL_RATE = 1e-3
"""The learning rate to try after a run that failed, or a tenth of its rate."""

NOT_EVALUATED = "not evaluated"
"""The reason of a use of which no number was computed."""

LONGEST = 90
"""The letters of a reason in the sentence."""

Knowledge = Literal["yes", "no", "unknown"]


class Use(NamedTuple):
    """A use of a model.

    Attributes:
        name: "samples", "scores", "density" or "completion".
        answer: Whether the model may be used for it.
        reason: The number that says so, or the one that is missing.
    """

    name: str
    answer: Knowledge
    reason: str


class Uses(NamedTuple):
    """The uses of a model, and the one thing to do next.

    Attributes:
        uses: The uses.
        command: The next command, which works when copied.
    """

    uses: tuple[Use, ...]
    command: str

    @property
    def text(self) -> str:
        """All of it in plain words; a section of the evaluation has a reason in full."""
        parts = []
        starts = {"yes": "Use this model for", "no": "Do not use it for", "unknown": "Unknown:"}
        for value, start in starts.items():
            grouped: dict[str, list[str]] = {}
            for use in self.uses:
                if use.answer == value:
                    grouped.setdefault(use.reason, []).append(use.name)
            names = grouped.pop(NOT_EVALUATED, [])
            listed = "; ".join(f"{_joined(n)} ({_brief(reason)})" for reason, n in grouped.items())
            parts += [f"{start} {listed}."] if listed else []
            parts += [f"Not evaluated: {_joined(names)}."] if names else []
        return f"{' '.join(parts)} Next: {self.command}"


def _joined(names: Sequence[str]) -> str:
    """Names as a person lists them."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _brief(reason: str) -> str:
    """A reason that fits the sentence: its first clauses."""
    if len(reason) <= LONGEST:
        return reason
    ends = [reason.rfind(mark, 20, LONGEST) for mark in ("; ", ": ", ", ", " (")]
    end = max(ends) if max(ends) > 0 else reason.rfind(" ", 0, LONGEST)
    return f"{reason[: end if end > 0 else LONGEST]} ..."


def final_verdict(model: Model, folder: Path) -> Verdict:
    """Returns the verdict on a run by its log, its samples, and its energy where that is cheap.

    Of a healthy run in the plane, or of one column, the density is compared with the samples.

    Arguments:
        model: The model.
        folder: Its folder.
    """
    training = model_verdict(model, folder)
    if training.label != "healthy":
        return training
    return _with_density(training, model_masses(model))


def _with_density(training: Verdict, masses: EvaluationSection | None) -> Verdict:
    """The verdict, or that on the density where a healthy run has a wrong one."""
    if training.label != "healthy" or masses is None or masses.label != DENSITY_WRONG:
        return training
    return Verdict(DENSITY_WRONG, f"{masses.reason}.", training.update)


def failure_line(result: Verdict) -> str:
    """Returns the first line about a run that gave no model; "" for any other.

    Arguments:
        result: The verdict on its training.

    Example:
        >>> failure_line(Verdict("exploded", "travel 70 is 9 times the distance.", 400))
        'FAILED: training exploded at update 400: travel 70 is 9 times the distance.'
        >>> failure_line(Verdict("healthy", "d 0.1.", 400))
        ''
    """
    if result.label not in FAILED:
        return ""
    happened = "gave values that are not finite" if result.label == "nan" else result.label
    return f"FAILED: training {happened} at update {result.update}: {result.reason}"


def uses_of(
    model: Model,
    folder: Path,
    training: Verdict,
    sections: Mapping[str, EvaluationSection],
    written: Path | None = None,
) -> Uses:
    """Returns the uses of a model by its verdict and its evaluation, and the next command.

    Arguments:
        model: The model.
        folder: Its folder.
        training: The verdict on its training.
        sections: The sections of its evaluation that are known.
        written: The folder as the command names it; None for `folder`.
    """
    training = _with_density(training, sections.get("masses"))
    if training.label in (*FAILED, "frozen"):
        uses = [Use("anything", "no", _state(training))]
        return Uses(tuple(uses), _next_command(model, written or folder, training, sections))
    uses = [
        _samples(model, folder, training),
        _scores(model, training, sections),
        _density(model, training, sections),
        _completion(model, training, sections),
    ]
    return Uses(tuple(uses), _next_command(model, written or folder, training, sections))


def _state(training: Verdict) -> str:
    """The verdict as a clause."""
    if training.label == "samples wrong":
        return "samples differ from the data"
    return f"training is {training.label}"


def _samples(model: Model, folder: Path, training: Verdict) -> Use:
    """Samples, by their distance to the data at the end of training."""
    if training.label in ("samples wrong", "stalled"):
        return Use("samples", "no", _state(training))
    if training.label in (TOO_SHORT, "overfitted", "unknown"):
        return Use("samples", "unknown", _state(training))
    rows = with_evidence(model, read_rows(folder / "log.jsonl"))
    distance = latest(rows, "sample_distance")
    if not distance >= 0:
        return Use("samples", "unknown", "none were compared with the data")
    return Use("samples", "yes", f"distance to the data {distance:.2f}, limit {WRONG_DISTANCE:g}")


def _scores(model: Model, training: Verdict, sections: Mapping[str, EvaluationSection]) -> Use:
    """Scores of rows, by the separation of noise from held-out rows."""
    if not model.method.condition.unconditional:
        return Use("scores", "no", "energies given different conditions cannot be compared")
    if training.label == "overfitted":
        return Use("scores", "no", f"{_state(training)}: new rows score as unusual")
    section = sections.get("anomalies")
    areas = [m for m in section.measures if m.name == "AUROC noise, energy"] if section else []
    if not areas or areas[0].refusal:
        return Use("scores", "unknown", NOT_EVALUATED if not areas else areas[0].refusal)
    area = areas[0]
    reason = f"AUROC of noise {area.text}"
    return Use("scores", "yes" if area.low > SEPARATED else "no", reason)


def _density(model: Model, training: Verdict, sections: Mapping[str, EvaluationSection]) -> Use:
    """The density, by long chains, by the masses of modes, and by the interval of log Z."""
    name = "density"
    if model.temperature == 0 or not model.method.condition.unconditional:
        return Use(name, "no", "walkers do not sample a density of rows")
    if training.label in ("overfitted", "samples wrong", "stalled"):
        return Use(name, "no", _state(training))
    if training.label == DENSITY_WRONG:
        return Use(name, "no", training.reason.rstrip("."))
    for section in ("masses", "long_run"):
        known = sections.get(section)
        if known is not None and known.label in (DENSITY_WRONG, SHORT_RUN):
            return Use(name, "no", known.reason.rstrip("."))
    likelihood = sections.get("likelihood")
    if likelihood is None or not likelihood.measures:
        return Use(name, "unknown", NOT_EVALUATED)
    first = likelihood.measures[0]
    if first.refusal:
        return Use(name, "no", f"no likelihood: {first.refusal}".rstrip("."))
    exact = model.known_log_z() is not None
    chains = sections.get("long_run")
    if not exact and (chains is None or chains.label != CONVERGENT):
        reason = "long chains not evaluated" if chains is None else f"long chains {chains.label}"
        return Use(name, "unknown", f"{first.name} {first.text}, but {reason}")
    return Use(name, "yes", f"{first.name} {first.text} a row")


def _completion(model: Model, training: Verdict, sections: Mapping[str, EvaluationSection]) -> Use:
    """Completion of rows, by long chains: they are how missing entries are drawn."""
    name = "completion"
    if training.label in ("samples wrong", "stalled", "overfitted"):
        return Use(name, "no", _state(training))
    chains = sections.get("long_run")
    if chains is None or chains.label not in (CONVERGENT, SHORT_RUN):
        return Use(name, "unknown", NOT_EVALUATED if chains is None else f"chains {chains.label}")
    if chains.label == SHORT_RUN:
        return Use(name, "no", "long chains leave the data")
    return Use(name, "yes", "long chains stay near the data, from data and from noise")


def _next_command(
    model: Model, folder: Path, training: Verdict, sections: Mapping[str, EvaluationSection]
) -> str:
    """The command that helps most; it works when copied."""
    settings, run = model.settings, shlex.quote(str(folder))
    python = hasattr(settings.data, "digest") or getattr(settings.energy, "from_python", False)
    change = _change(model, training)
    if change and python:
        return f"boltzwalk.train with {change}"
    if change.startswith("updates=") and training.label != "overfitted":
        return f"boltzwalk resume {run} {change}"
    if change:
        name = shlex.quote(_free_name(folder))
        runs = shlex.quote(str(folder.parent))
        again = shlex.quote(str(folder / "settings.yaml"))
        return f"boltzwalk train {again} {change} --runs {runs} --name {name}"
    if "likelihood" not in sections:
        return "boltzwalk.evaluate(model)" if python else f"boltzwalk evaluate {run}"
    if model.method.condition.completes:
        return f"boltzwalk complete {run}"
    return f"boltzwalk sample {run} -n 1000"


def _free_name(folder: Path) -> str:
    """A name for another run next to this one."""
    number = 2
    while folder.with_name(f"{folder.name}-{number}").exists():
        number += 1
    return f"{folder.name}-{number}"


def _change(model: Model, training: Verdict) -> str:
    """The setting to change after a verdict, "" for a healthy run."""
    settings, method, label = model.settings, model.settings.method, training.label
    rate = settings.optimizer.learning_rate
    noise, steps = getattr(method, "data_noise", None), getattr(method, "steps", 0)
    if label in ("nan", "exploded", "oscillating", "frozen"):
        return f"optimizer.learning_rate={min(rate / 10, USUAL_RATE):g}"
    if label == "collapsed":
        if noise is None:
            return f"optimizer.learning_rate={min(rate / 10, USUAL_RATE):g}"
        return f"method.data_noise={max(0.1, 2 * noise):g}"
    if label == "stalled" and steps:
        return f"method.steps={2 * steps}"
    if label == "overfitted":
        return f"updates={max(100, settings.updates // 4)}"
    if label in (TOO_SHORT, "samples wrong", "stalled"):
        return f"updates={max(1000, 4 * settings.updates)}"
    return ""
