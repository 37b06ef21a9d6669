"""Comparison of runs on one page: one table of numbers, one panel for each curve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint import write_atomically
from ..evaluation.evaluate import known_sections
from ..evaluation.measure import EvaluationSection, Measure
from ..settings.tree import Tree, to_tree
from ..training.folder import folder_of, read_rows, read_settings
from ..training.run import open_model
from .figures import Curve, curves
from .html import Cell, CellTable, Figure, Section, image, render
from .page import training_figures
from .summary import read_summary

__all__ = ["differing_settings", "write_comparison"]

MOST, LONGEST = 20, 30
"""The most settings that are listed on a terminal, and the letters of a value there."""


def write_comparison(folders: Sequence[Path], out: Path) -> Path:
    """Writes a page that compares runs, and returns its path.

    Arguments:
        folders: The run folders, two or more.
        out: The .html file.

    Raises:
        FileNotFoundError: If a folder holds no run.
        ValueError: If two have the same name.
    """
    names = _names(folders)
    models = {name: open_model(folder) for name, folder in zip(names, folders, strict=True)}
    sections_by_run = {
        name: known_sections(model, folder)
        for (name, model), folder in zip(models.items(), folders, strict=True)
    }
    pictures = [
        Figure(image((folder / "samples.png").read_bytes()), name)
        for name, folder in zip(names, folders, strict=True)
        if (folder / "samples.png").is_file()
    ]
    missing = [name for name, known in sections_by_run.items() if not known]
    text = (
        "With 95 % intervals where they are known. The best number of a row is marked where its "
        "interval lies apart from all others."
    )
    if missing:
        text += f" Not evaluated: {', '.join(missing)}."
    summaries = {
        name: {} if sections_by_run[name] else read_summary(folder, models[name].digest)
        for name, folder in zip(names, folders, strict=True)
    }
    rows = [
        _verdicts(sections_by_run),
        *_measures(sections_by_run),
        *_summaries(summaries),
        *_costs(names, folders),
    ]
    table = CellTable([row for row in rows if row], ["", *names], kind="side-by-side")
    sections = [
        _differences({name: to_tree(model.settings) for name, model in models.items()}),
        Section("Samples", figures=pictures),
        Section("Numbers", text, tables=[table]),
        Section("Training", figures=training_figures(folders)),
        *_long_run(sections_by_run),
    ]
    write_atomically(out, render(" · ".join(names), "", [], sections).encode())
    return out


def differing_settings(folders: Sequence[Path]) -> list[str]:
    """Returns the settings in which runs differ as lines, one a setting.

    Arguments:
        folders: The run folders.

    Raises:
        FileNotFoundError: If a folder holds no run.
        ValueError: If two have the same name.
    """
    names = _names(folders)
    trees = [to_tree(read_settings(folder_of(path))) for path in folders]
    rows = [[key, *map(_short, texts)] for key, texts in _different(trees)]
    if not rows:
        return ["the runs have the same settings"]
    more = [f"and {len(rows) - MOST} more, on the page"] if len(rows) > MOST else []
    table = [["settings that differ", *map(_short, names)], *rows[:MOST]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return [*lines, *more]


def _names(folders: Sequence[Path]) -> list[str]:
    """The names of the runs, which differ."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"runs must have different names, got {', '.join(names)}")
    return names


def _short(text: str) -> str:
    """A text that fits a column of a terminal; the end of a path tells more than its beginning."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= LONGEST else f"...{plain[3 - LONGEST :]}"


def _differences(trees: Mapping[str, Tree]) -> Section:
    """The settings in which the runs differ."""
    rows = [[Cell(key), *map(Cell, texts)] for key, texts in _different(list(trees.values()))]
    if not rows:
        return Section("Settings", "The runs have the same settings.")
    table = CellTable(rows, ["", *trees], kind="side-by-side")
    return Section("Settings that differ", tables=[table])


def _different(trees: Sequence[Tree]) -> list[tuple[str, list[str]]]:
    """The key of each setting in which trees differ, and its text in each; "" where it has none."""
    leaves = [dict(_leaves(tree)) for tree in trees]
    keys = dict.fromkeys(key for leaf in leaves for key in leaf)
    texts = {key: [leaf.get(key, "") for leaf in leaves] for key in keys}
    return [(key, values) for key, values in texts.items() if len(set(values)) > 1]


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """The dotted key and the text of each leaf of a tree."""
    if not isinstance(tree, dict):
        yield path, str(tree)
        return
    for key, value in tree.items():
        yield from _leaves(value, f"{path}.{key}" if path else key)


def _summaries(runs: Mapping[str, Mapping[str, str]]) -> list[list[Cell]]:
    """The numbers that training printed, of runs that were not evaluated."""
    names = dict.fromkeys(name for numbers in runs.values() for name in numbers)
    return [
        [
            Cell(f"{name}, at the end of training"),
            *(Cell(numbers.get(name, "")) for numbers in runs.values()),
        ]
        for name in names
        if name not in ("cost", "temperature")
    ]


def _verdicts(runs: dict[str, dict[str, EvaluationSection]]) -> list[Cell]:
    """The labels of each run."""
    labels = [
        ", ".join(section.label for section in known.values() if section.label)
        for known in runs.values()
    ]
    return [Cell("verdict"), *map(Cell, labels)] if any(labels) else []


def _measures(runs: dict[str, dict[str, EvaluationSection]]) -> list[list[Cell]]:
    """One row for each number that two runs or more have."""
    measures: dict[str, dict[str, Measure]] = {}
    for run, known in runs.items():
        for section in known.values():
            for measure in section.measures:
                measures.setdefault(measure.name, {})[run] = measure
    rows = []
    for name, by_run in measures.items():
        if len(by_run) < 2:
            continue
        best = _best(by_run)
        cells = (
            Cell(by_run[run].text, "value best" if run == best else "value")
            if run in by_run
            else Cell("")
            for run in runs
        )
        rows.append([Cell(name), *cells])
    return rows


def _best(by_run: dict[str, Measure]) -> str:
    """The run with the best number, if its interval lies apart from those of all others."""
    known = {run: m for run, m in by_run.items() if math.isfinite(m.value)}
    better = next((m.better for m in known.values()), "")
    if len(known) < 2 or not better:
        return ""
    sign = 1 if better == "higher" else -1
    # The worse and the better end of each, the larger the better.
    ends = {run: sorted(sign * end for end in _interval(m)) for run, m in known.items()}
    best = max(ends, key=lambda run: ends[run][0])
    apart = all(ends[best][0] > end for run, (_, end) in ends.items() if run != best)
    return best if apart else ""


def _interval(measure: Measure) -> tuple[float, float]:
    """The ends of an interval; both the number itself where there is none."""
    low, value, high = measure.low, measure.value, measure.high
    return (low, high) if math.isfinite(high - low) else (value, value)


def _long_run(runs: dict[str, dict[str, EvaluationSection]]) -> list[Section]:
    """The distance of long chains from data, one colour for each run."""
    lines, name = [], ""
    for run, known in runs.items():
        if "long_run" in known:
            name = known["long_run"].details["distance"]
            rows = [r for r in known["long_run"].details["rows"] if r["start"] == "data"]
            distances = [math.nan if r["distance"] is None else r["distance"] for r in rows]
            lines.append(Curve(run, [r["steps"] for r in rows], distances))
    if len(lines) < 2:
        return []
    figure = Figure(curves(name, lines, "steps from data", logarithmic="x"))
    return [Section("Long chains", figures=[figure])]


def _costs(names: Sequence[str], folders: Sequence[Path]) -> list[list[Cell]]:
    """The cost of each run."""
    last = {
        name: (read_rows(folder / "cost.jsonl") or [{}])[-1]
        for name, folder in zip(names, folders, strict=True)
    }
    return [
        [Cell(title), *(Cell(f"{last[name].get(key, math.nan):,.0f} {unit}") for name in names)]
        for key, title, unit in (
            ("seconds", "training time", "s"),
            ("gradients", "gradient evaluations", ""),
            ("peak_memory_mb", "peak memory", "MB"),
        )
    ]
