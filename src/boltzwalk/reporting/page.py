"""The report of one run: one file that needs no network, readable on a phone, light or dark."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import write_atomically
from ..diagnostics.oscillation import oscillation
from ..diagnostics.verdict import FAILED, Verdict, model_verdict
from ..evaluation.answer import uses_of
from ..evaluation.evaluate import SECTIONS, known_sections
from ..evaluation.long_run import SHORT_RUN
from ..evaluation.masses import AGREE, DENSITY_WRONG
from ..evaluation.measure import EvaluationSection, Measure
from ..model import Model
from ..settings.settings import to_yaml
from ..training.folder import read_rows, read_trace
from .figures import Curve, bars, curves, histograms
from .html import Cell, CellTable, Figure, PageVerdict, Section, measure_rows, render
from .samples import samples_section
from .summary import Number

__all__ = ["training_figures", "write_report"]

TITLES = {
    "quality": "Samples and held-out data",
    "base": "Proposals of the base, before any walker moves",
    "modes": "Classes and modes",
    "goodness": "Samples and data under the density of the model",
    "masses": "Masses of modes in samples and density",
    "anomalies": "Anomalies",
    "long_run": "Long chains",
    "partition": "Log-partition",
    "likelihood": "Likelihood",
    "training": "Training",
}
SYMBOLS = (
    "d, the energy gap: mean energy of data minus that of walkers, near 0 when they agree. v: mean "
    "norm of the gradient along chains. travel: steps × step size × v, the length of the path of a "
    "walker by drift alone."
)
"""The symbols of the curves."""

GOOD = ("healthy", "convergent", AGREE)
BAD = (*FAILED, "frozen", "stalled", "overfitted", "samples wrong", DENSITY_WRONG, SHORT_RUN)


def write_report(
    model: Model,
    folder: Path,
    numbers: Sequence[Number] = (),
    training: Verdict | None = None,
    out: Path | None = None,
) -> Path:
    """Writes the report of a run and returns its path; cached sections are read, none computed.

    It begins with what the model may be used for.

    Arguments:
        model: The model.
        folder: Its folder.
        numbers: The summary of the run, shown where there is no evaluation.
        training: The verdict on the training; None takes it from the log.
        out: The .html file; None for `report.html` in the folder.
    """
    known = known_sections(model, folder)
    training = training or model_verdict(model, folder)
    labels: dict[str, tuple[str, str]] = {"training": (training.label, training.reason)}
    labels |= {name: (section.label, section.reason) for name, section in known.items()}
    verdicts = [
        PageVerdict(TITLES[name].lower(), label, reason, _tone(label))
        for name, (label, reason) in labels.items()
        if label
    ]
    refusal = model.method.condition.refusal
    missing = [name for name in SECTIONS if name not in known and not refusal(name)]
    path = out or folder / "report.html"
    page = render(
        folder.resolve().name,
        f"{model.update:,} updates of {model.settings.updates:,}; {model.data.source}",
        verdicts,
        answer=uses_of(model, folder, training, known, Path(folder.resolve().name)).text,
        sections=[
            samples_section(model, folder),
            *_evaluation(known, missing, folder, numbers),
            _training(folder, known.get("training")),
            _cost(model, folder),
        ],
    )
    write_atomically(path, page.encode())
    return path


def training_figures(folders: Sequence[Path]) -> list[Figure]:
    """Returns the curves of the logs of runs, one panel a number, one colour a run.

    Arguments:
        folders: The run folders.
    """
    logs = {folder.resolve().name: read_rows(folder / "log.jsonl") for folder in folders}
    alone = len(logs) == 1
    figures = []
    for key, title, note in CURVES:
        lines = []
        for colour, (name, rows) in enumerate(logs.items()):
            updates, y = _column(rows, "update"), _column(rows, key)
            low, high = (), ()
            if key == "witness_cross_entropy":
                half = _column(rows, f"{key}_half_width")
                low, high = y - half, y + half
            lines.append(Curve("" if alone else name, updates, y, low, high, colour=colour))
            if key in DASHED:
                dashed = _column(rows, DASHED[key])
                lines.append(Curve("", updates, dashed, dashed=True, colour=colour))
        if any(np.isfinite(line.y).any() for line in lines):
            figures.append(Figure(curves(title, lines, note, zero=key == "energy_gap")))
    return figures


CURVES = (
    ("energy_gap", "energy gap d", "mean energy of data minus that of walkers; swings about 0"),
    ("gradient_mean", "gradient size v", "along the chain; explodes before a run does"),
    ("travel", "travel", "steps x step size x v; dashed: the distance from noise to the data"),
    ("out_of_range", "out of range", "share of coordinates beyond the data"),
    ("ess", "effective sample size", "share of the walkers; falls as weights get uneven"),
    (
        "witness_cross_entropy",
        "-log p of validation rows",
        "nats, model units, by the witness; dashed: by the training walkers",
    ),
)
"""The curves of a log: the key, the title, the note."""

DASHED = {"travel": "distance", "witness_cross_entropy": "cross_entropy_validation"}
"""The keys of the dashed curves in the same panels."""


def _tone(label: str) -> str:
    return "good" if label in GOOD else "bad" if label in BAD else ""


def _evaluation(
    known: Mapping[str, EvaluationSection],
    missing: Sequence[str],
    folder: Path,
    numbers: Sequence[Number],
) -> list[Section]:
    """The evaluated sections, and the command for the others."""
    sections = []
    if numbers and "quality" not in known:
        rows = [[Cell(n.name), Cell(n.text, "value"), Cell(n.meaning, "quiet")] for n in numbers]
        sections.append(Section("Numbers", tables=[CellTable(rows)]))
    for name in TITLES:
        if name in ("partition", "training"):
            continue
        if name in known and (known[name].measures or known[name].details):
            sections.append(_section(name, known[name]))
    if missing:
        option = "" if len(missing) == len(SECTIONS) else f" --sections {','.join(missing)}"
        text = f"Not evaluated: {', '.join(name.replace('_', ' ') for name in missing)}. "
        name = shlex.quote(folder.resolve().name)
        text += f"Where the folder lies: boltzwalk evaluate {name}{option}"
        sections.append(Section("More", text))
    return sections


def _section(name: str, section: EvaluationSection) -> Section:
    """One section of an evaluation, with its figures."""
    details, figures = section.details, []
    tables = [CellTable(measure_rows(section.measures))] if section.measures else []
    if name == "modes" and "classes" in details:
        rows = [
            [
                Cell(label),
                Cell(Measure("", row["share"], row["low"], row["high"]).text, "value"),
                Cell(f"the data have {row['data']:.4g}", "quiet"),
            ]
            for label, row in details["classes"].items()
        ]
        tables.append(CellTable(rows, title="Mass of each class"))
    if name == "anomalies":
        figures.append(Figure(histograms("energy", details["energies"], "U, of rows of each kind")))
    if name == "long_run":
        figures += _long_run_figures(details)
    return Section(TITLES[name], details.get("protocol", ""), figures, tables)


def _long_run_figures(details: Mapping[str, Any]) -> list[Figure]:
    """Distance, energy, gradient and range against the number of steps."""
    rows = details["rows"]
    figures = []
    for key, title in (
        ("distance", details["distance"]),
        ("energy", "energy"),
        ("gradient", "gradient norm"),
        ("out_of_range", "share out of range"),
    ):
        lines = []
        for start in ("data", "noise"):
            chain = [row for row in rows if row["start"] == start]
            y = [math.nan if row[key] is None else row[key] for row in chain]
            lines.append(Curve(f"from {start}", [row["steps"] for row in chain], y))
        if key == "distance" and rows:
            ends = [rows[0]["steps"], rows[-1]["steps"]]
            lines.append(Curve("as in training", ends, [details["base"]] * 2, dashed=True))
        figures.append(Figure(curves(title, lines, "steps", logarithmic="x")))
    return figures


def _training(folder: Path, section: EvaluationSection | None) -> Section:
    """The curves of the log, the oscillation of the energy gap, and the findings."""
    figures, trace = training_figures([folder]), read_trace(folder)
    if len(trace.energy_gap) > 4:
        swing = oscillation(trace)
        for title, values in (("autocorrelation of d", swing.acf), ("partial", swing.pacf)):
            heights = {lag: float(v) for lag, v in enumerate(values) if lag}
            figures.append(Figure(bars(title, heights, "lag in updates", 2 * swing.error)))
        lags = len(swing.cross) // 2
        heights = {
            lag: float(v) for lag, v in zip(range(-lags, lags + 1), swing.cross, strict=True)
        }
        figures.append(
            Figure(bars("cross-correlation of d and v", heights, "lag", 2 * swing.error))
        )
    findings = section.details.get("findings", []) if section is not None else []
    rows = [
        [Cell(name), Cell(text, "value"), Cell(reason, "quiet")] for name, text, reason in findings
    ]
    tables = [CellTable(rows)] if rows else []
    return Section("Training", SYMBOLS if figures else "", figures, tables)


def _cost(model: Model, folder: Path) -> Section:
    """The cost of the run, its settings and its environment."""
    costs = read_rows(folder / "cost.jsonl")
    rows = []
    if costs:
        last = costs[-1]
        rows = [
            [Cell("time"), Cell(f"{last['seconds']:,.0f} s", "value"), Cell("", "quiet")],
            [Cell("gradient evaluations"), Cell(f"{last['gradients']:,}", "value"), Cell("")],
            [Cell("peak memory"), Cell(f"{last['peak_memory_mb']:,.0f} MB", "value"), Cell("")],
        ]
    environment = folder / "environment.yaml"
    blocks = [{"title": "Settings", "text": to_yaml(model.settings), "open": False}]
    if environment.is_file():
        blocks.append({"title": "Versions", "text": environment.read_text(), "open": False})
    return Section("Cost and settings", tables=[CellTable(rows)] if rows else [], blocks=blocks)


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    return np.array([row.get(key, math.nan) for row in rows], dtype=float)
