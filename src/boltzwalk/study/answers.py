"""Answers to claims, and comparisons of trials that differ in one thing only.

Trials are *matched* where all their settings but one group agree, including the seed, so that this
group alone explains their difference. An answer is "holds" or "does not hold" where the numbers
decide at the 5 % level, or by the pass rule of a published claim, and "undecided" otherwise, always
with the numbers.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from ..data.readable import quoted_formula
from .outcome import Outcome

__all__ = [
    "LEVEL",
    "Answer",
    "MeanRatio",
    "Sheet",
    "answer",
    "count_failures",
    "fisher_p",
    "format_number",
    "matched_groups",
    "mean_ratio",
    "seed_spread",
    "to_csv",
]

LEVEL = 0.05
"""The level of significance."""

DERIVED = ("updates", "output.", "threads", "device", "guard")
"""Settings that follow from the others at equal budgets, or do not change the training."""

BUDGET_TOLERANCE = 1.1
"""The ratio of two budgets below which they count as equal, apart from the last update."""


class Answer(NamedTuple):
    """An answer to a claim.

    Attributes:
        name: A short name, such as "R2".
        claim: The claim.
        label: The answer.
        reason: The numbers behind it.
    """

    name: str
    claim: str
    label: Literal["holds", "does not hold", "undecided"]
    reason: str


class Sheet(NamedTuple):
    """A table: its title, the names of its columns, and its rows."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class MeanRatio(NamedTuple):
    """A geometric mean of ratios, with its 95 % interval."""

    pairs: int
    mean: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The ratio as text."""
        interval = f" ({self.low:.2f} to {self.high:.2f})" if self.pairs > 1 else ""
        return f"{self.mean:.2f}{interval}, {self.pairs} pairs"


def answer(name: str, claim: str, holds: bool | None, reason: str) -> Answer:
    """Returns the answer to a claim.

    Arguments:
        name: The name of the claim.
        claim: The claim.
        holds: Whether it holds; None for undecided.
        reason: The numbers, or the missing trials.
    """
    label = {True: "holds", False: "does not hold", None: "undecided"}[holds]
    return Answer(name, claim, label, reason)  # type: ignore[arg-type]  # one of these three


def matched_groups(
    outcomes: Iterable[Outcome],
    differ: Sequence[str],
    value: Callable[[Outcome], Any],
) -> list[dict[Any, Outcome]]:
    """Groups outcomes that agree in all settings but some, and in updates or energy gradients.

    Arguments:
        outcomes: The outcomes.
        differ: Prefixes of the dotted paths in which they may differ.
        value: The key of an outcome in its group.
    """
    groups: dict[Any, list[Outcome]] = {}
    free = (*differ, *DERIVED)
    for outcome in outcomes:
        if outcome.conclusive:
            key = tuple((p, repr(v)) for p, v in outcome.settings.items() if not p.startswith(free))
            groups.setdefault(key, []).append(outcome)
    matched = {}
    for group in groups.values():
        for part in (*_equal_updates(group), *_equal_gradients(group)):
            by_value = {value(outcome): outcome for outcome in part}
            if len(by_value) > 1:
                matched[tuple(sorted(o.trial.name for o in part))] = by_value
    return list(matched.values())


def _equal_updates(group: Sequence[Outcome]) -> list[list[Outcome]]:
    parts: dict[int, list[Outcome]] = {}
    for outcome in group:
        parts.setdefault(outcome.result.updates, []).append(outcome)
    return list(parts.values())


def _equal_gradients(group: Sequence[Outcome]) -> list[list[Outcome]]:
    """Outcomes whose budgets are within a few updates of each other."""
    parts: list[list[Outcome]] = []
    for outcome in sorted(group, key=lambda o: o.result.budget):
        if parts and outcome.result.budget < BUDGET_TOLERANCE * parts[-1][-1].result.budget:
            parts[-1].append(outcome)
        else:
            parts.append([outcome])
    return parts


def count_failures(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Returns the number of failures and of conclusive outcomes.

    Arguments:
        outcomes: The outcomes.
    """
    conclusive = [outcome for outcome in outcomes if outcome.conclusive]
    return sum(outcome.failed for outcome in conclusive), len(conclusive)


def fisher_p(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Returns the one-sided p-value of Fisher's exact test that a has fewer failures than b.

    Arguments:
        a: Failures and trials of one group.
        b: Failures and trials of the other.

    Example:
        >>> round(fisher_p((0, 3), (3, 3)), 3)  # one of the 20 ways to choose 3 of 6
        0.05
    """
    if not a[1] or not b[1]:
        return 1.0
    table = [[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]]
    return float(stats.fisher_exact(table, alternative="less")[1])


def mean_ratio(pairs: Sequence[tuple[float, float]]) -> MeanRatio | None:
    """Returns the geometric mean of second over first of the finite pairs; None if none is finite.

    Arguments:
        pairs: Positive numbers.

    Example:
        >>> mean_ratio([(1.0, 2.0), (1.0, 0.5), (1.0, float("inf"))]).mean
        1.0
    """
    logs = [math.log(b / a) for a, b in pairs if 0 < a < math.inf and 0 < b < math.inf]
    if not logs:
        return None
    mean, n = float(np.mean(logs)), len(logs)
    half = math.inf
    if n > 1:
        error = float(np.std(logs, ddof=1)) / math.sqrt(n)
        half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
    return MeanRatio(n, math.exp(mean), math.exp(mean - half), math.exp(min(mean + half, 700)))


def seed_spread(groups: Mapping[str, Sequence[Outcome]]) -> float:
    """Returns the standard deviation of the log quality between seeds, pooled over points.

    Arguments:
        groups: The outcomes of each point.
    """
    squares, degrees = 0.0, 0
    for group in groups.values():
        logs = [math.log(o.quality) for o in group if 0 < o.quality < math.inf]
        if len(logs) > 1:
            squares += float(np.var(logs)) * len(logs)
            degrees += len(logs) - 1
    return math.sqrt(squares / degrees) if degrees else math.nan


def format_number(value: float) -> str:
    """Returns a number as text; a dash where it is not finite."""
    return f"{value:.4g}" if math.isfinite(value) else "-"


def to_csv(sheet: Sheet, quote_formulas: bool = False) -> bytes:
    r"""Returns a table as the content of a CSV file.

    Arguments:
        sheet: The table.
        quote_formulas: Whether texts that are formulas get an apostrophe.

    Example:
        >>> to_csv(Sheet("", ("a", "b"), [("1", "x, y")])).decode()
        'a,b\n1,"x, y"\n'
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    rows = [sheet.head, *sheet.rows]
    writer.writerows([map(quoted_formula, row) for row in rows] if quote_formulas else rows)
    return buffer.getvalue().encode()
