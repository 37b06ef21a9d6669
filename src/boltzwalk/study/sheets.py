"""The tables of a study: one value for the page and for the CSV files."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from .answers import Answer
from .claims import four_claims
from .effects import Effect, interactions, main_effects, shares, stability
from .laws import checked_laws
from .outcome import Outcome, by_point, members
from .recommend import frontier, recommended
from .rules import published_rules
from .spec import Block, Study, axes_of
from .survival import Survival, survival

__all__ = ["Sheet", "answers_of", "as_csv", "lifetimes", "number", "sheets"]


class Sheet(NamedTuple):
    """A table: its title, the names of its columns, and its rows."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def answers_of(study: Study, found: Sequence[Outcome]) -> dict[str, list[Answer]]:
    """Returns the answers to all claims, by where they come from.

    Arguments:
        study: The study.
        found: The trials that are over.
    """
    return {
        "The claims of the thesis": four_claims(study, found),
        "Laws": checked_laws(found),
        "Published claims by their pass rules": published_rules(found),
    }


def sheets(study: Study, found: Sequence[Outcome]) -> dict[str, Sheet]:
    """Returns every table of a study, by the name of its file.

    Arguments:
        study: The study.
        found: The trials that are over.
    """
    return {
        "answers": _answers(study, found),
        "recommended": _recommended(study, found),
        "frontier": _frontier(study, found),
        "importance": _importance(study, found),
        "interactions": _interactions(study, found),
        "effects": _effects(study, found),
        "maps": _maps(study, found),
        "survival": _survival(study, found),
        "failures": _failures(found),
        "anatomy": _anatomy(found),
        "same": _same(found),
        "trials": _trials(study, found),
    }


def as_csv(sheet: Sheet) -> bytes:
    r"""Returns a table as the content of a CSV file.

    Arguments:
        sheet: The table.

    Example:
        >>> as_csv(Sheet("", ("a", "b"), [("1", "x, y")])).decode()
        'a,b\n1,"x, y"\n'
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(sheet.head)
    writer.writerows(sheet.rows)
    return buffer.getvalue().encode()


def number(value: float) -> str:
    """Returns a number in words; what failed or is unknown is a dash.

    Arguments:
        value: The number.
    """
    return f"{value:.4g}" if math.isfinite(value) else "-"


def lifetimes(study: Study, found: Sequence[Outcome]) -> dict[str, dict[str, Survival]]:
    """Returns the survival of the trials of each level, by axis; where a trial has failed.

    Arguments:
        study: The study.
        found: The trials that are over.
    """
    curves: dict[str, dict[str, Survival]] = {}
    for axis in axes_of(study).values():
        by_level = {
            level.name: [o for o in found if o.levels.get(axis.name) == level.name]
            for level in axis.levels
        }
        known = {name: survival(group) for name, group in by_level.items() if group}
        if len(known) > 1 and any(curve.failed for curve in known.values()):
            curves[axis.name] = known
    return curves


def _answers(study: Study, found: Sequence[Outcome]) -> Sheet:
    rows = [
        (answer.name, answer.claim, answer.label, answer.reason)
        for group in answers_of(study, found).values()
        for answer in group
    ]
    return Sheet("Claims", ("", "claim", "answer", "numbers"), rows)


def _recommended(study: Study, found: Sequence[Outcome]) -> Sheet:
    rows = [
        (
            f"{best.gradients:,}",
            number(best.quality),
            f"{number(best.low)} to {number(best.high)}",
            best.command(study),
        )
        for best in recommended(study, found)
    ]
    return Sheet("Recommended settings", ("energy gradients", "quality", "seeds", "command"), rows)


def _frontier(study: Study, found: Sequence[Outcome]) -> Sheet:
    rows = [
        (
            str(best.gradients),
            number(best.quality),
            number(best.low),
            number(best.high),
            str(best.updates),
            _settings(best.outcome),
        )
        for best in frontier(study, found)
    ]
    head = ("energy gradients", "quality", "best seed", "worst seed", "updates", "settings")
    return Sheet("Quality against energy gradients", head, rows)


def _importance(study: Study, found: Sequence[Outcome]) -> Sheet:
    rows = [
        (
            block.name,
            share.axis,
            _percent(share.main),
            _range(share.low, share.high),
            _percent(share.total),
            _range(share.total_low, share.total_high),
            share.method,
        )
        for block in _combined(study)
        for share in shares(members(found, block.name), block.axes)
    ]
    head = ("block", "axis", "alone", "seeds", "with interactions", "seeds", "method")
    return Sheet("Importance: shares of the variance of log quality", head, rows)


def _interactions(study: Study, found: Sequence[Outcome]) -> Sheet:
    rows = [
        (block.name, " x ".join(pair.axes), _percent(pair.share), _range(pair.low, pair.high))
        for block in _combined(study)
        for pair in interactions(members(found, block.name), block.axes)
    ]
    return Sheet("Two-way interactions", ("block", "axes", "share", "seeds"), rows)


def _effects(study: Study, found: Sequence[Outcome]) -> Sheet:
    rows = [
        (block.name, axis.name, *_effect(effect))
        for block in study.blocks
        for axis in block.axes
        for effect in main_effects(_own(study, found, block, axis.name), axis)
    ]
    head = ("block", "axis", "level", "survived", "quality", "range over seeds")
    return Sheet("Main effects", head, rows)


def _own(study: Study, found: Sequence[Outcome], block: Block, axis: str) -> list[Outcome]:
    """The trials of a block; of one that varies one axis at a time, those that vary this one."""
    inside = members(found, block.name)
    if block.sampler != "one":
        return inside
    others = [a.name for a in block.axes if a.name != axis]
    return [o for o in inside if all(o.levels[name] == "as it is" for name in others)]


def _maps(study: Study, found: Sequence[Outcome]) -> Sheet:
    rows = [
        (block.name, a.name, b.name, effect.level[0], *_effect(effect, 1))
        for block in _combined(study)
        for a, b in combinations(block.axes, 2)
        for effect in stability(members(found, block.name), (a.name, b.name))
    ]
    head = ("block", "axis", "axis", "level", "level", "survived", "quality", "range over seeds")
    return Sheet("Stability maps", head, rows)


def _survival(study: Study, found: Sequence[Outcome]) -> Sheet:
    rows = [
        (axis, level, f"{time:.0f}", number(share), number(low), number(high))
        for axis, curves in lifetimes(study, found).items()
        for level, curve in curves.items()
        for time, share, low, high in zip(
            curve.times, curve.share, curve.low, curve.high, strict=True
        )
    ]
    head = ("axis", "level", "energy gradients", "alive", "low", "high")
    return Sheet("Survival (Kaplan-Meier)", head, rows)


def _failures(found: Sequence[Outcome]) -> Sheet:
    rows = [
        (
            outcome.how,
            f"{outcome.result.update} of {outcome.result.updates}",
            str(outcome.seed),
            _settings(outcome),
            outcome.result.reason
            or f"quality {number(outcome.result.quality)} is beyond {outcome.limit:g}",
            outcome.trial.name,
        )
        for outcome in sorted(found, key=lambda o: (o.how, o.point, o.seed))
        if outcome.failed
    ]
    return Sheet(
        "What failed, and why", ("how", "update", "seed", "settings", "reason", "trial"), rows
    )


ANATOMY = {
    "travel": "K v",
    "gap_mean": "mean d",
    "gap_rms": "rms d",
    "gap_positive": "d > 0",
    "gap_acf1": "autocorrelation",
    "gap_follows": "d leads v",
    "neighbours": "neighbours",
    "class_entropy": "class entropy",
}
"""What tells how a trial learnt, by the name of its measure, and the name of its column."""


def _anatomy(found: Sequence[Outcome]) -> Sheet:
    """One row for each point, the best first: means over its seeds."""
    points = sorted(by_point(found).values(), key=lambda group: (_middle(group), group[0].point))
    columns = [name for name in ANATOMY if any(math.isfinite(o.measure(name)) for o in found)]
    rows = [
        (
            group[0].trial.block,
            _settings(group[0]),
            ", ".join(sorted({outcome.how for outcome in group})),
            number(_middle(group)),
            *(number(_mean([o.measure(name) for o in group])) for name in columns),
        )
        for group in points
    ]
    head = ("block", "settings", "ended", "quality", *(ANATOMY[name] for name in columns))
    return Sheet("How trials learnt", head, rows)


def _middle(group: Sequence[Outcome]) -> float:
    return statistics.median(outcome.quality for outcome in group)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan


def _same(found: Sequence[Outcome]) -> Sheet:
    """Trials with other settings that went the same way bit for bit."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in found:
        if outcome.result.same:
            groups.setdefault(outcome.result.same, []).append(outcome)
    rows = []
    for group in groups.values():
        for other in group[1:]:
            rows.append((group[0].trial.name, other.trial.name, _difference(group[0], other)))
    return Sheet(
        "Settings without an effect: trials that came out the same bit for bit",
        ("trial", "trial", "differ in"),
        rows,
    )


def _trials(study: Study, found: Sequence[Outcome]) -> Sheet:
    axes = list(axes_of(study))
    measures = sorted({name for o in found for name in o.result.measures})
    head = (
        "trial",
        "block",
        "seed",
        *axes,
        "how",
        "quality",
        "update",
        "updates",
        "energy gradients",
        "seconds",
        "seconds beside",
        *measures,
    )
    rows = [
        (
            o.trial.name,
            " ".join(dict(o.trial.points)),
            str(o.seed),
            *(o.levels.get(axis, "") for axis in axes),
            o.how,
            number(o.result.quality),
            str(o.result.update),
            str(o.result.updates),
            str(o.result.gradients),
            str(o.result.seconds),
            str(o.result.beside),
            *(number(o.measure(name)) for name in measures),
        )
        for o in sorted(found, key=lambda o: (o.trial.block, o.point, o.seed))
    ]
    return Sheet("All trials", head, rows)


def _combined(study: Study) -> list[Block]:
    """The blocks whose axes are combined with each other."""
    return [b for b in study.blocks if b.sampler != "one" and len(b.axes) > 1]


def _effect(effect: Effect, first: int = 0) -> tuple[str, str, str, str]:
    return (
        effect.level[first],
        f"{effect.survived} of {effect.trials}",
        number(effect.quality),
        f"{number(effect.low)} to {number(effect.high)}",
    )


def _settings(outcome: Outcome) -> str:
    levels = (f"{axis} {level}" for axis, level in outcome.trial.levels if level != "as it is")
    return ", ".join(levels) or "as it is"


def _difference(a: Outcome, b: Outcome) -> str:
    paths = [p for p in {**a.settings, **b.settings} if a.settings.get(p) != b.settings.get(p)]
    return ", ".join(f"{p}: {a.settings.get(p)}, {b.settings.get(p)}" for p in paths)


def _percent(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else ""


def _range(low: float, high: float) -> str:
    return f"{low:.0%} to {high:.0%}" if math.isfinite(low) else ""
