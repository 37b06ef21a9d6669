"""The report of a study: one page that needs no network, or its Markdown; tables as CSV files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checkpoint import write_atomically
from ..data.readable import formula_note
from ..reporting.figures import Curve, curves, heat_map
from ..reporting.html import Cell, CellTable, Figure, PageVerdict, Section, render
from .analysis import Analysis, LoadedAnalysis, run_analysis
from .answers import Answer, Sheet, format_number, to_csv
from .effects import cell_effects
from .outcome import Outcome, block_outcomes, read_outcomes
from .propose import damage_note
from .recommend import frontier, recommended_points
from .sheets import study_sheets, survival_by_axis
from .spec import Axis, Block, Study, study_to_yaml
from .storage import open_study, read_analysis_record
from .workers import count_labels, count_trials

__all__ = ["StudyReport", "write_study_report"]

TONES = {"holds": "good", "does not hold": "bad", "undecided": ""}

MAX_CURVES = 8
"""Levels of an axis with a survival curve each, at most."""

NO_POINT = "No point has survived with all of its seeds yet."

MARKDOWN_TABLES = ("importance", "interactions", "effects", "frontier", "failures", "dynamics")
"""The tables of the Markdown report after the recommended settings and the maps."""

DYNAMICS_TEXT = (
    "Means over seeds, the best point first. K v is the travel by drift, d the energy gap in the "
    "second half of a run: d < 0 makes the energy steeper, d > 0 flatter. It changes sign in "
    "stable runs; one sign throughout goes with a stalled or collapsed run. d leads v where the "
    "gradient norm grows after d < 0 (negative). Neighbours: the distance of samples to training "
    "data over that of held-out data, below 1 for copies. The class entropy is ln C where C "
    "classes have equal shares."
)


class StudyReport(NamedTuple):
    """A written report and its contents.

    Attributes:
        path: The page; the tables lie in its folder.
        study: The study.
        outcomes: Its outcomes.
        analysis: The conclusions of its own analysis, empty without one.
        note: Remarks on damaged results, and on an analysis that was not run or has changed; "" for
            none.
    """

    path: Path
    study: Study
    outcomes: Sequence[Outcome]
    analysis: Analysis
    note: str


def write_study_report(
    folder: Path,
    out: Path | None = None,
    loaded: LoadedAnalysis | None = None,
    quote_formulas: bool = False,
) -> StudyReport:
    """Writes the page and the tables of a study.

    Arguments:
        folder: The folder of the study.
        out: The page, .html or .md; None for `report.html` in the folder. The tables go to the
            folder of the page.
        loaded: The study's own analysis; None leaves it out.
        quote_formulas: Whether texts that are formulas get an apostrophe in the tables.

    Raises:
        FileNotFoundError: If the folder holds no study.
        ValueError: If no trial has ended, or the page has another suffix.
    """
    if out is not None and out.suffix not in (".html", ".md"):
        raise ValueError(f"a report is written to a .html or .md file, got {out.name!r}")
    study = open_study(folder)
    outcomes = read_outcomes(study, folder)
    if not outcomes:
        raise ValueError(
            f"no trial of {folder} has ended yet; run `boltzwalk study {shlex.quote(str(folder))}`"
        )
    analysis = run_analysis(loaded, study, outcomes) if loaded else Analysis()
    path, sheets = out or folder / "report.html", study_sheets(study, outcomes, analysis)
    cells = (cell for sheet in sheets.values() for row in (sheet.head, *sheet.rows) for cell in row)
    notes = [damage_note(study, folder), _analysis_note(folder, study, loaded)]
    note = " ".join(filter(None, [*notes, *formula_note(cells, quote_formulas)]))
    for name, sheet in sheets.items():
        write_atomically(path.with_name(f"{name}.csv"), to_csv(sheet, quote_formulas))
    total = count_trials(study, folder)
    endings = count_labels([outcome.result for outcome in outcomes])
    title = folder.resolve().name
    subtitle = f"{len(outcomes)} of {total} trials of {study.recipe} have ended: {endings}"
    if path.suffix == ".md":
        page = _markdown(title, subtitle, study, outcomes, analysis, sheets, note)
    else:
        summary = next(iter(analysis.answers.values()), ())
        verdicts = [
            PageVerdict(f"{a.name}: {a.claim}", a.label, a.reason, TONES[a.label]) for a in summary
        ]
        page = render(title, subtitle, verdicts, _sections(study, outcomes, analysis, sheets, note))
    write_atomically(path, page.encode())
    return StudyReport(path, study, outcomes, analysis, note)


def _analysis_note(folder: Path, study: Study, loaded: LoadedAnalysis | None) -> str:
    """A remark on an analysis that was not run, or has changed; "" for none."""
    record = read_analysis_record(folder)
    if loaded is None and (record or study.analysis):
        path = record.path if record else study.analysis
        digest = f" (sha256 {record.sha256[:12]})" if record else ""
        return (
            f"The analysis {path}{digest} was not run. To run it: boltzwalk study report {folder} "
            f"--analysis {path}"
        )
    if loaded and record and record.sha256 != loaded.record.sha256:
        return (
            f"The analysis has changed: sha256 {loaded.record.sha256[:12]}, noted with the study "
            f"was {record.sha256[:12]}"
        )
    return ""


def _sections(
    study: Study,
    outcomes: Sequence[Outcome],
    analysis: Analysis,
    sheets: Mapping[str, Sheet],
    note: str,
) -> list[Section]:
    blocks = [block for block in study.blocks if block_outcomes(outcomes, block.name)]
    answers = [_answer_table(title, group) for title, group in analysis.answers.items()]
    return [
        *([Section("Answers", note, tables=answers)] if answers or note else []),
        *analysis.sections,
        *(_table_section(sheet.title, sheet) for sheet in analysis.sheets.values()),
        _recommendation(study, outcomes, sheets["recommended"]),
        Section(
            "Stability maps",
            "Share of trials that survive, and below it their median quality (a failure counts as "
            "the worst).",
            figures=[figure for block in blocks for figure in _figures(outcomes, block)],
        ),
        _effects(sheets, blocks, study),
        _importance(sheets),
        _survival(study, outcomes),
        _frontier(study, outcomes),
        _table_section(
            "Failures", sheets["failures"], "Every failed trial; none is averaged away."
        ),
        _table_section("Training dynamics", sheets["dynamics"], DYNAMICS_TEXT),
        *_duplicates(sheets["duplicates"]),
        _cost(study, outcomes),
    ]


def _answer_table(title: str, answers: Sequence[Answer]) -> CellTable:
    rows = [
        [Cell(a.name), Cell(a.claim), Cell(a.label, "value"), Cell(a.reason, "quiet")]
        for a in answers
    ]
    return CellTable(rows, ("", "claim", "answer", "numbers"), title)


def _recommendation(study: Study, outcomes: Sequence[Outcome], sheet: Sheet) -> Section:
    best = recommended_points(study, outcomes)
    if not best:
        return Section("Recommended settings", NO_POINT)
    blocks = [
        {
            "title": f"{one.gradients:,} energy gradients: quality {format_number(one.quality)}",
            "text": one.command(study),
            "open": True,
        }
        for one in best
    ]
    text = (
        "The best median quality within each budget, of points without a failed seed, with the "
        "range over seeds. The best of many is partly luck: expect a slightly worse quality."
    )
    rows = [[Cell(cell) for cell in row[:3]] for row in sheet.rows]
    return Section(sheet.title, text, tables=[CellTable(rows, sheet.head[:3])], blocks=blocks)


def _figures(outcomes: Sequence[Outcome], block: Block) -> list[Figure]:
    """A map for each pair of axes of a block."""
    if block.sampler == "one":
        return []
    inside = block_outcomes(outcomes, block.name)
    axes = [axis for axis in block.axes if axis.levels]
    return [Figure(_map(block, a, b, inside)) for a, b in combinations(axes, 2)]


def _map(block: Block, a: Axis, b: Axis, inside: Sequence[Outcome]) -> str:
    cells = {}
    for effect in cell_effects(inside, (a.name, b.name)):
        share = effect.survived / effect.trials
        text = f"{effect.survived}/{effect.trials}\n{format_number(effect.quality)}"
        cells[effect.level[0], effect.level[1]] = (share, text)
    columns, rows = ([level.name for level in axis.levels] for axis in (a, b))
    title = f"{block.name}: {a.name.split('.')[-1]} and {b.name.split('.')[-1]}"
    return heat_map(title, columns, rows, cells, "", (a.name, b.name))


def _effects(sheets: Mapping[str, Sheet], blocks: Sequence[Block], study: Study) -> Section:
    sheet = sheets["effects"]
    tables = [
        CellTable(
            [[Cell(cell) for cell in row[1:]] for row in sheet.rows if row[0] == block.name],
            sheet.head[1:],
            f"Block {block.name}",
        )
        for block in blocks
    ]
    text = (
        "Median quality over all other settings of a block, with the range of the medians of "
        f"{len(study.seeds)} seeds. A dash stands where most trials failed."
    )
    return Section("Main effects", text, tables=tables)


def _importance(sheets: Mapping[str, Sheet]) -> Section:
    tables = []
    for name in ("importance", "interactions"):
        sheet = sheets[name]
        if sheet.rows:
            rows = [[Cell(cell) for cell in row] for row in sheet.rows]
            tables.append(CellTable(rows, sheet.head, sheet.title))
    text = "" if tables else "No grid is complete, and a random forest needs more trials."
    return Section("Which axis matters", text, tables=tables)


def _survival(study: Study, outcomes: Sequence[Outcome]) -> Section:
    figures = []
    for axis, by_level in survival_by_axis(study, outcomes).items():
        lines = []
        for colour, (level, curve) in enumerate(list(by_level.items())[:MAX_CURVES]):
            times, share, low, high = (
                _steps(v) for v in (curve.times, curve.share, curve.low, curve.high)
            )
            x = [*times[1:], times[-1]]
            lines.append(Curve(level, x, share, low, high, colour=colour))
        note = "share that survives, against energy gradients"
        figures.append(Figure(curves(f"survival by {axis}", lines, note)))
    text = (
        "Kaplan and Meier's estimate with its 95 % interval. Trials that were not stopped by a "
        "verdict are censored at their budget."
    )
    if not figures:
        text = "No trial was stopped by a verdict."
    return Section("Survival", text, figures=figures)


def _steps(values: np.ndarray) -> list[float]:
    """Every value twice, for a step curve."""
    return [float(value) for value in values for _ in (0, 1)]


def _frontier(study: Study, outcomes: Sequence[Outcome]) -> Section:
    best = frontier(study, outcomes)
    if not best:
        return Section("Frontier", NO_POINT)
    x, low, high = ([getattr(b, key) for b in best] for key in ("cost", "low", "high"))
    unit = "energy gradients" if best[0].gradients else "updates"
    lines = [Curve("best point, range over seeds", x, [b.quality for b in best], low, high)]
    figure = curves(f"frontier of quality against {unit}", lines, unit, logarithmic="xy")
    return Section("Frontier", figures=[Figure(figure)])


def _table_section(title: str, sheet: Sheet, text: str = "") -> Section:
    rows = [[Cell(cell) for cell in row] for row in sheet.rows]
    if not rows:
        return Section(title, "None.")
    return Section(title, text, tables=[CellTable(rows, sheet.head)])


def _duplicates(sheet: Sheet) -> list[Section]:
    """A section only where there are some."""
    text = "Used, but without an effect in these trials, such as a bound that is never met."
    return [_table_section(sheet.title, sheet, text)] if sheet.rows else []


def _cost(study: Study, outcomes: Sequence[Outcome]) -> Section:
    seconds = sum(outcome.result.seconds for outcome in outcomes)
    overhead = sum(outcome.result.overhead_seconds for outcome in outcomes)
    rows = [
        [Cell("training"), Cell(f"{seconds:,.0f} s", "value"), Cell("of one core", "quiet")],
        [
            Cell("overhead"),
            Cell(f"{overhead / max(seconds, 1e-9):.1%}", "value"),
            Cell("quality, verdicts, measures, files", "quiet"),
        ],
        [
            Cell("energy gradients"),
            Cell(f"{sum(o.result.gradients for o in outcomes):,}", "value"),
            Cell("", "quiet"),
        ],
    ]
    blocks = [{"title": "The study", "text": study_to_yaml(study), "open": False}]
    return Section("Cost and settings", tables=[CellTable(rows)], blocks=blocks)


def _markdown(
    title: str,
    subtitle: str,
    study: Study,
    outcomes: Sequence[Outcome],
    analysis: Analysis,
    sheets: Mapping[str, Sheet],
    note: str,
) -> str:
    """The report in Markdown, for a repository or a paper."""
    names = [name for name in ("answers", *analysis.sheets) if name in sheets]
    parts = [
        f"# {title}",
        subtitle + ".",
        *([note + "."] if note else []),
        *(_markdown_section(sheets[name]) for name in names),
        _markdown_commands(sheets["recommended"]),
        "## Stability maps\n\nSeeds that survive, and their median quality.",
        *(_markdown_map(block, a, b, outcomes) for block, a, b in _combined_pairs(study, outcomes)),
        *(_markdown_section(sheets[name]) for name in MARKDOWN_TABLES if sheets[name].rows),
        f"## The study\n\n```yaml\n{study_to_yaml(study).rstrip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Returns a table in Markdown.

    Example:
        >>> print(_markdown_table(("a", "b"), [("1", "x|y")]))
        | a | b |
        |---|---|
        | 1 | x\|y |
    """
    lines = [tuple(head), ("---",) * len(head), *rows]
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    text[1] = text[1].replace(" ", "")
    return "\n".join(text)


def _markdown_section(sheet: Sheet) -> str:
    return f"## {sheet.title}\n\n{_markdown_table(sheet.head, sheet.rows)}"


def _markdown_commands(sheet: Sheet) -> str:
    if not sheet.rows:
        return f"## {sheet.title}\n\n{NO_POINT}"
    parts = [_markdown_table(sheet.head[:3], [row[:3] for row in sheet.rows])]
    parts += [f"```\n{row[3]}\n```" for row in sheet.rows]
    return "\n\n".join([f"## {sheet.title}", *parts])


def _combined_pairs(study: Study, outcomes: Sequence[Outcome]) -> list[tuple[Block, Axis, Axis]]:
    """The pairs of axes with levels that a block combines."""
    return [
        (block, a, b)
        for block in study.blocks
        if block.sampler != "one" and block_outcomes(outcomes, block.name)
        for a, b in combinations([axis for axis in block.axes if axis.levels], 2)
    ]


def _markdown_map(block: Block, a: Axis, b: Axis, outcomes: Sequence[Outcome]) -> str:
    """One row for each level of the second axis, one column for each of the first."""
    cells = {
        effect.level: f"{effect.survived}/{effect.trials}: {format_number(effect.quality)}"
        for effect in cell_effects(block_outcomes(outcomes, block.name), (a.name, b.name))
    }
    head = (f"{b.name} \\ {a.name}", *(level.name for level in a.levels))
    rows = [
        (row.name, *(cells.get((column.name, row.name), "") for column in a.levels))
        for row in b.levels
    ]
    return f"### {block.name}: {a.name} and {b.name}\n\n{_markdown_table(head, rows)}"
