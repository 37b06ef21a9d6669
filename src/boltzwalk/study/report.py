"""The report of a study: one page that needs no network, and its tables as CSV files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from ..report.figures import Curve, curves, heat_map
from ..report.page import Cell, Figure, Section, Table, Verdict, render
from ..train.checkpoint import write_atomically
from .answers import Answer
from .claims import four_claims
from .effects import stability
from .folder import open_study
from .manage import count, summary
from .markdown import as_markdown
from .outcome import Outcome, members, outcomes
from .recommend import frontier, recommended
from .sheets import Sheet, answers_of, as_csv, lifetimes, number, sheets
from .spec import Axis, Block, Study, to_yaml

__all__ = ["write_study_report"]

TONES = {"holds": "good", "does not hold": "bad", "undecided": ""}

LEVELS = 8
"""Levels of an axis with a survival curve each, at most."""


ANATOMY = (
    "Means over seeds, the best point first. K v is how far drift carries walkers, d the energy "
    "gap in the second half of a run: below 0 it makes the energy steeper, above flatter, so that "
    "it swings in runs that hold; on one side all the time it stalls or collapses. d leads v where "
    "the gradient grows after d < 0 (negative). Neighbours: the distance of samples to training "
    "data over that of unseen data, below 1 for copies. The class entropy is ln C where C classes "
    "have equal shares."
)


def write_study_report(folder: Path, out: Path | None = None) -> list[Path]:
    """Writes the page and the tables of a study, and returns their paths.

    Arguments:
        folder: The folder of the study.
        out: The page, .html or .md; None for `report.html` in the folder. The tables lie beside it.

    Raises:
        FileNotFoundError: If the folder holds no study.
        ValueError: If no trial is over, or the page is to be something else.
    """
    if out is not None and out.suffix not in (".html", ".md"):
        raise ValueError(f"a report is written to a .html or .md file, got {out.name!r}")
    study = open_study(folder)
    found = outcomes(study, folder)
    if not found:
        raise ValueError(f"no trial of {folder} is over yet; `boltzwalk study {folder}` goes on")
    path = out or folder / "report.html"
    tables = sheets(study, found)
    written = [path]
    for name, sheet in tables.items():
        written.append(path.with_name(f"{name}.csv"))
        write_atomically(written[-1], as_csv(sheet))
    title, subtitle = folder.resolve().name, _subtitle(study, found, folder)
    if path.suffix == ".md":
        write_atomically(path, as_markdown(title, subtitle, study, found, tables).encode())
        return written
    page = render(
        title,
        subtitle,
        [
            Verdict(f"claim {a.name}: {a.claim}", a.label, a.reason, TONES[a.label])
            for a in four_claims(study, found)
        ],
        _sections(study, found, tables),
    )
    write_atomically(path, page.encode())
    return written


def _subtitle(study: Study, found: Sequence[Outcome], folder: Path) -> str:
    total = count(study, folder)
    ended = summary([outcome.result for outcome in found])
    return f"{len(found)} of {total} trials of {study.recipe} are over: {ended}"


def _sections(study: Study, found: Sequence[Outcome], tables: Mapping[str, Sheet]) -> list[Section]:
    blocks = [block for block in study.blocks if members(found, block.name)]
    return [
        _claims(study, found),
        _recommendation(study, found, tables["recommended"]),
        Section(
            "Stability maps",
            "Share of trials that survive, and below it their median quality (a failure counts as "
            "the worst).",
            figures=[figure for block in blocks for figure in _figures(found, block)],
        ),
        _effects(tables, blocks, study),
        _importance(tables),
        _survival(study, found),
        _front(study, found),
        _plain("Failures", tables["failures"], "Every trial that failed, none averaged away."),
        _plain("How trials learnt", tables["anatomy"], ANATOMY),
        *_same(tables["same"]),
        _cost(study, found),
    ]


def _claims(study: Study, found: Sequence[Outcome]) -> Section:
    groups = answers_of(study, found)
    made = [_answer_table(title, answers) for title, answers in groups.items()]
    return Section("Claims", "At the 5 % level, or by the pass rule of a paper.", tables=made)


def _answer_table(title: str, answers: Sequence[Answer]) -> Table:
    rows = [
        [Cell(a.name), Cell(a.claim), Cell(a.label, "value"), Cell(a.reason, "quiet")]
        for a in answers
    ]
    return Table(rows, ("", "claim", "answer", "numbers"), title)


def _recommendation(study: Study, found: Sequence[Outcome], sheet: Sheet) -> Section:
    best = recommended(study, found)
    if not best:
        text = "No point has survived with all of its seeds yet."
        return Section("Recommended settings", text)
    blocks = [
        {
            "title": f"{one.gradients:,} energy gradients: quality {number(one.quality)}",
            "text": one.command(study),
            "open": True,
        }
        for one in best
    ]
    text = (
        "The best median quality within each budget, of points that no seed has failed; with the "
        "range over seeds. The best of many is lucky: expect a little less."
    )
    rows = [[Cell(cell) for cell in row[:3]] for row in sheet.rows]
    return Section(sheet.title, text, tables=[Table(rows, sheet.head[:3])], blocks=blocks)


def _figures(found: Sequence[Outcome], block: Block) -> list[Figure]:
    """A map for each pair of axes of a block."""
    if block.sampler == "one":
        return []
    inside = members(found, block.name)
    axes = [axis for axis in block.axes if axis.levels]
    return [Figure(_map(block, a, b, inside)) for a, b in combinations(axes, 2)]


def _map(block: Block, a: Axis, b: Axis, inside: Sequence[Outcome]) -> str:
    cells = {}
    for effect in stability(inside, (a.name, b.name)):
        share = effect.survived / effect.trials
        text = f"{effect.survived}/{effect.trials}\n{number(effect.quality)}"
        cells[effect.level[0], effect.level[1]] = (share, text)
    columns, rows = ([level.name for level in axis.levels] for axis in (a, b))
    title = f"{block.name}: {a.name.split('.')[-1]} and {b.name.split('.')[-1]}"
    return heat_map(title, columns, rows, cells, "", (a.name, b.name))


def _effects(tables: Mapping[str, Sheet], blocks: Sequence[Block], study: Study) -> Section:
    sheet = tables["effects"]
    made = [
        Table(
            [[Cell(cell) for cell in row[1:]] for row in sheet.rows if row[0] == block.name],
            sheet.head[1:],
            f"Block {block.name}",
        )
        for block in blocks
    ]
    text = (
        "Median quality over all other settings of a block, the range is that of the medians of "
        f"{len(study.seeds)} seeds. A dash is where most trials failed."
    )
    return Section("Main effects", text, tables=made)


def _importance(tables: Mapping[str, Sheet]) -> Section:
    made = []
    for name in ("importance", "interactions"):
        sheet = tables[name]
        if sheet.rows:
            rows = [[Cell(cell) for cell in row] for row in sheet.rows]
            made.append(Table(rows, sheet.head, sheet.title))
    text = "" if made else "No grid is complete, and there are too few trials for a forest."
    return Section("Which axis matters", text, tables=made)


def _survival(study: Study, found: Sequence[Outcome]) -> Section:
    figures = []
    for axis, by_level in lifetimes(study, found).items():
        lines = []
        for colour, (level, curve) in enumerate(list(by_level.items())[:LEVELS]):
            times, share, low, high = (
                _steps(v) for v in (curve.times, curve.share, curve.low, curve.high)
            )
            x = [*times[1:], times[-1]]
            lines.append(Curve(level, x, share, low, high, colour=colour))
        note = "alive, against energy gradients"
        figures.append(Figure(curves(f"survival by {axis}", lines, note)))
    text = (
        "Kaplan and Meier's estimate with its 95 % interval: trials that were not stopped by a "
        "verdict are censored at their budget."
    )
    if not figures:
        text = "No trial was stopped by a verdict."
    return Section("Survival", text, figures=figures)


def _steps(values: np.ndarray) -> list[float]:
    """Every value twice, for a curve with steps."""
    return [float(value) for value in values for _ in (0, 1)]


def _front(study: Study, found: Sequence[Outcome]) -> Section:
    best = frontier(study, found)
    every = [
        (rung.gradients, rung.quality)
        for outcome in found
        if not outcome.failed
        for rung in outcome.result.rungs
        if math.isfinite(rung.quality)
    ]
    if not best:
        return Section("Frontier", "No point has survived with all of its seeds yet.")
    x, low, high = ([getattr(b, key) for b in best] for key in ("gradients", "low", "high"))
    lines = [Curve("best point, range over seeds", x, [b.quality for b in best], low, high)]
    drawn = curves(
        "frontier of quality against energy gradients",
        lines,
        f"energy gradients; of {len(every)} looks at trials that survived",
        logarithmic="xy",
    )
    return Section("Frontier", figures=[Figure(drawn)])


def _plain(title: str, sheet: Sheet, text: str = "") -> Section:
    rows = [[Cell(cell) for cell in row] for row in sheet.rows]
    if not rows:
        return Section(title, "None.")
    return Section(title, text, tables=[Table(rows, sheet.head)])


def _same(sheet: Sheet) -> list[Section]:
    """Shown only where there are some."""
    text = "Used, but without an effect in these trials, such as a bound that is never met."
    return [_plain(sheet.title, sheet, text)] if sheet.rows else []


def _cost(study: Study, found: Sequence[Outcome]) -> Section:
    seconds = sum(outcome.result.seconds for outcome in found)
    beside = sum(outcome.result.beside for outcome in found)
    rows = [
        [Cell("training"), Cell(f"{seconds:,.0f} s", "value"), Cell("of one core", "quiet")],
        [
            Cell("beside training"),
            Cell(f"{beside / max(seconds, 1e-9):.1%}", "value"),
            Cell("quality, verdicts, measures", "quiet"),
        ],
        [
            Cell("energy gradients"),
            Cell(f"{sum(o.result.gradients for o in found):,}", "value"),
            Cell("", "quiet"),
        ],
    ]
    blocks = [{"title": "The study", "text": to_yaml(study), "open": False}]
    return Section("Cost and settings", tables=[Table(rows)], blocks=blocks)
