"""The tables of a study, for the page, the terminal and the CSV files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

from .analysis import Analysis
from .answers import Sheet, format_number
from .effects import (
    Effect,
    SurvivalCurve,
    cell_effects,
    main_effects,
    survival_curve,
)
from .importance import NoiseFreeShare, axis_shares, interactions
from .outcome import Outcome, block_outcomes, by_point
from .recommend import frontier, recommended_points
from .spec import BASELINE, Axis, Block, Study, all_axes

__all__ = ["effect_lines", "study_sheets", "survival_by_axis"]

DYNAMICS = {
    "travel": "K v",
    "gap_mean": "mean d",
    "gap_rms": "rms d",
    "gap_positive": "d > 0",
    "gap_acf1": "autocorrelation",
    "gap_follows": "d leads v",
    "neighbours": "neighbours",
    "class_entropy": "class entropy",
}
"""The column of each measure of the training dynamics."""


def study_sheets(study: Study, outcomes: Sequence[Outcome], analysis: Analysis) -> dict[str, Sheet]:
    """Returns every table of a study, by the name of its CSV file.

    Arguments:
        study: The study.
        outcomes: Its outcomes.
        analysis: The conclusions of its own analysis.

    Raises:
        ValueError: If the analysis gives a table the name of another, or no plain name.
    """
    made = {
        "recommended": _recommended(study, outcomes),
        "frontier": _frontier(study, outcomes),
        "importance": _importance(study, outcomes),
        "interactions": _interactions(study, outcomes),
        "effects": _effects(study, outcomes),
        "maps": _maps(study, outcomes),
        "survival": _survival(study, outcomes),
        "failures": _failures(outcomes),
        "dynamics": _dynamics(outcomes),
        "duplicates": _duplicates(outcomes),
        "trials": _trials(study, outcomes),
    }
    for name in analysis.sheets:
        if name in {*made, "answers"} or not name.isidentifier():
            raise ValueError(
                f"a table of an analysis must have a plain name other than answers, "
                f"{', '.join(made)}; got {name!r}"
            )
    answers = {"answers": _answers(analysis)} if analysis.answers else {}
    return {**answers, **made, **analysis.sheets}


def effect_lines(study: Study, outcomes: Sequence[Outcome]) -> list[str]:
    """Returns one line for each axis of each block: survivors and quality by level.

    Arguments:
        study: The study.
        outcomes: Its outcomes.
    """
    lines = []
    for block in study.blocks:
        for axis in block.axes:
            effects = main_effects(_varied(outcomes, block, axis), axis)
            cells = (
                f"{e.level[0]}: {format_number(e.quality)} ({e.survived}/{e.trials})"
                for e in effects
            )
            if effects:
                lines.append(f"{block.name}  {axis.name}   {'   '.join(cells)}")
    return lines


def survival_by_axis(
    study: Study, outcomes: Sequence[Outcome]
) -> dict[str, dict[str, SurvivalCurve]]:
    """Returns the survival of the trials of each level, by axis, of axes with a failure.

    Arguments:
        study: The study.
        outcomes: Its outcomes.
    """
    curves: dict[str, dict[str, SurvivalCurve]] = {}
    for axis in all_axes(study).values():
        by_level = {
            level.name: [o for o in outcomes if o.levels.get(axis.name) == level.name]
            for level in axis.levels
        }
        by_name = {name: survival_curve(group) for name, group in by_level.items() if group}
        if len(by_name) > 1 and any(curve.failed for curve in by_name.values()):
            curves[axis.name] = by_name
    return curves


def _answers(analysis: Analysis) -> Sheet:
    rows = [
        (answer.name, answer.claim, answer.label, answer.reason)
        for group in analysis.answers.values()
        for answer in group
    ]
    return Sheet("Answers", ("", "claim", "answer", "numbers"), rows)


def _recommended(study: Study, outcomes: Sequence[Outcome]) -> Sheet:
    rows = [
        (
            f"{best.gradients:,}",
            format_number(best.quality),
            f"{format_number(best.low)} to {format_number(best.high)}",
            best.command(study),
        )
        for best in recommended_points(study, outcomes)
    ]
    return Sheet("Recommended settings", ("energy gradients", "quality", "seeds", "command"), rows)


def _frontier(study: Study, outcomes: Sequence[Outcome]) -> Sheet:
    rows = [
        (
            str(best.gradients),
            format_number(best.quality),
            format_number(best.low),
            format_number(best.high),
            str(best.updates),
            _settings(best.outcome),
        )
        for best in frontier(study, outcomes)
    ]
    head = ("energy gradients", "quality", "best seed", "worst seed", "updates", "settings")
    return Sheet("Quality against energy gradients", head, rows)


def _importance(study: Study, outcomes: Sequence[Outcome]) -> Sheet:
    rows = [
        (
            block.name,
            share.axis,
            *_share_cells(share.main),
            *_share_cells(share.total),
            share.method,
        )
        for block in _combined(study)
        for share in axis_shares(block_outcomes(outcomes, block.name), block.axes)
    ]
    interval = ("95 % interval", "of noise")
    head = ("block", "axis", "alone", *interval, "with interactions", *interval, "method")
    return Sheet("Importance: shares of the variance of log quality, without noise", head, rows)


def _interactions(study: Study, outcomes: Sequence[Outcome]) -> Sheet:
    rows = [
        (block.name, " x ".join(pair.axes), *_share_cells(pair.part))
        for block in _combined(study)
        for pair in interactions(block_outcomes(outcomes, block.name), block.axes)
    ]
    head = ("block", "axes", "share", "95 % interval", "of noise")
    return Sheet("Two-way interactions, without noise", head, rows)


def _effects(study: Study, outcomes: Sequence[Outcome]) -> Sheet:
    rows = [
        (block.name, axis.name, *_effect(effect))
        for block in study.blocks
        for axis in block.axes
        for effect in main_effects(_varied(outcomes, block, axis), axis)
    ]
    head = ("block", "axis", "level", "survived", "quality", "range over seeds")
    return Sheet("Main effects", head, rows)


def _varied(outcomes: Sequence[Outcome], block: Block, axis: Axis) -> list[Outcome]:
    """The outcomes of a block; of a block of sampler one, those that vary this axis."""
    inside = block_outcomes(outcomes, block.name)
    if block.sampler != "one":
        return inside
    others = [a.name for a in block.axes if a.name != axis.name]
    return [o for o in inside if all(o.levels[name] == BASELINE.name for name in others)]


def _maps(study: Study, outcomes: Sequence[Outcome]) -> Sheet:
    rows = [
        (block.name, a.name, b.name, effect.level[0], *_effect(effect, 1))
        for block in _combined(study)
        for a, b in combinations(block.axes, 2)
        for effect in cell_effects(block_outcomes(outcomes, block.name), (a.name, b.name))
    ]
    head = ("block", "axis", "axis", "level", "level", "survived", "quality", "range over seeds")
    return Sheet("Stability maps", head, rows)


def _survival(study: Study, outcomes: Sequence[Outcome]) -> Sheet:
    rows = [
        (axis, level, f"{time:.0f}", format_number(share), format_number(low), format_number(high))
        for axis, curves in survival_by_axis(study, outcomes).items()
        for level, curve in curves.items()
        for time, share, low, high in zip(
            curve.times, curve.share, curve.low, curve.high, strict=True
        )
    ]
    head = ("axis", "level", "energy gradients", "alive", "low", "high")
    return Sheet("Survival (Kaplan-Meier)", head, rows)


def _failures(outcomes: Sequence[Outcome]) -> Sheet:
    rows = [
        (
            outcome.ending,
            f"{outcome.result.update} of {outcome.result.updates}",
            str(outcome.seed),
            _settings(outcome),
            outcome.result.reason
            or f"quality {format_number(outcome.result.quality)} is beyond {outcome.limit:g}",
            outcome.trial.name,
        )
        for outcome in sorted(outcomes, key=lambda o: (o.ending, o.point, o.seed))
        if outcome.failed
    ]
    return Sheet("Failures", ("ending", "update", "seed", "settings", "reason", "trial"), rows)


def _dynamics(outcomes: Sequence[Outcome]) -> Sheet:
    """One row for each point, the best first: means over its seeds."""
    points = sorted(by_point(outcomes).values(), key=lambda group: (_median(group), group[0].point))
    columns = [name for name in DYNAMICS if any(math.isfinite(o.measure(name)) for o in outcomes)]
    rows = [
        (
            group[0].trial.block,
            _settings(group[0]),
            ", ".join(sorted({outcome.ending for outcome in group})),
            format_number(_median(group)),
            *(format_number(_mean([o.measure(name) for o in group])) for name in columns),
        )
        for group in points
    ]
    head = ("block", "settings", "endings", "quality", *(DYNAMICS[name] for name in columns))
    return Sheet("Training dynamics", head, rows)


def _median(group: Sequence[Outcome]) -> float:
    return statistics.median(outcome.quality for outcome in group)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan


def _duplicates(outcomes: Sequence[Outcome]) -> Sheet:
    """Trials with different settings and the same training history, bit for bit."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.result.history_digest:
            groups.setdefault(outcome.result.history_digest, []).append(outcome)
    rows = []
    for group in groups.values():
        for other in group[1:]:
            rows.append((group[0].trial.name, other.trial.name, _difference(group[0], other)))
    return Sheet(
        "Settings without an effect: trials with equal training, bit for bit",
        ("trial", "trial", "differ in"),
        rows,
    )


def _trials(study: Study, outcomes: Sequence[Outcome]) -> Sheet:
    axes = list(all_axes(study))
    measures = sorted({name for o in outcomes for name in o.result.measures})
    head = (
        "trial",
        "block",
        "seed",
        *axes,
        "ending",
        "quality",
        "update",
        "updates",
        "energy gradients",
        "seconds",
        "overhead seconds",
        *measures,
    )
    rows = [
        (
            o.trial.name,
            " ".join(dict(o.trial.points)),
            str(o.seed),
            *(o.levels.get(axis, "") for axis in axes),
            o.ending,
            format_number(o.result.quality),
            str(o.result.update),
            str(o.result.updates),
            str(o.result.gradients),
            str(o.result.seconds),
            str(o.result.overhead_seconds),
            *(format_number(o.measure(name)) for name in measures),
        )
        for o in sorted(outcomes, key=lambda o: (o.trial.block, o.point, o.seed))
    ]
    return Sheet("All trials", head, rows)


def _combined(study: Study) -> list[Block]:
    """The blocks that combine their axes."""
    return [b for b in study.blocks if b.sampler != "one" and len(b.axes) > 1]


def _effect(effect: Effect, first: int = 0) -> tuple[str, str, str, str]:
    return (
        effect.level[first],
        f"{effect.survived} of {effect.trials}",
        format_number(effect.quality),
        f"{format_number(effect.low)} to {format_number(effect.high)}",
    )


def _settings(outcome: Outcome) -> str:
    levels = (f"{axis} {level}" for axis, level in outcome.trial.levels if level != BASELINE.name)
    return ", ".join(levels) or BASELINE.name


def _difference(a: Outcome, b: Outcome) -> str:
    paths = [p for p in {**a.settings, **b.settings} if a.settings.get(p) != b.settings.get(p)]
    return ", ".join(f"{p}: {a.settings.get(p)}, {b.settings.get(p)}" for p in paths)


def _share_cells(share: NoiseFreeShare) -> tuple[str, str, str]:
    """A share, its interval and the subtracted share of noise as text, within 0 and 100 %."""
    low, high, value = (min(max(v, 0.0), 1.0) for v in (share.low, share.high, share.share))
    if math.isnan(share.share):
        return "", "", ""
    ends = "" if math.isnan(share.low) else f"{low:.0%} to {high:.0%}"
    return _percent(value), ends, _percent(share.noise)


def _percent(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else ""
