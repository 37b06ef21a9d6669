"""Comparisons of trials that differ in one thing only, and how an answer is given.

Trials are *matched* where all their settings but one group agree, the seed as well: what differs
between them is then due to these settings. An answer is "holds" or "does not hold" where the
numbers say so at the 5 % level, or by the pass rule of a published claim, and "undecided"
otherwise, always with the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from .outcome import Outcome

__all__ = [
    "Answer",
    "Ratio",
    "failures",
    "fewer",
    "holds",
    "log_ratio",
    "matched",
    "seed_spread",
    "undecided",
]

LEVEL = 0.05

FOLLOWS = ("updates", "output.", "threads", "device")
"""Settings that follow from the others where the budget is the same, or say nothing."""

SAME = 1.1
"""Ratio of two budgets below which they are the same, but for the last update."""


class Answer(NamedTuple):
    """The answer to a claim.

    Attributes:
        name: A short name, such as "R2".
        claim: What is claimed.
        label: What the trials say.
        reason: The numbers behind it.
    """

    name: str
    claim: str
    label: Literal["holds", "does not hold", "undecided"]
    reason: str


class Ratio(NamedTuple):
    """A geometric mean of ratios, with its 95 % interval."""

    pairs: int
    mean: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The ratio in words."""
        within = f" ({self.low:.2f} to {self.high:.2f})" if self.pairs > 1 else ""
        return f"{self.mean:.2f}{within}, {self.pairs} pairs"


def undecided(name: str, claim: str, missing: str) -> Answer:
    """Returns the answer of a study that does not have the trials.

    Arguments:
        name: The name of the claim.
        claim: The claim.
        missing: What is missing.
    """
    return Answer(name, claim, "undecided", missing)


def holds(name: str, claim: str, verdict: bool | None, reason: str) -> Answer:
    """Returns an answer from a verdict, None for undecided.

    Arguments:
        name: The name of the claim.
        claim: The claim.
        verdict: Whether it holds.
        reason: The numbers.
    """
    if verdict is None:
        return Answer(name, claim, "undecided", reason)
    return Answer(name, claim, "holds" if verdict else "does not hold", reason)


def matched(
    found: Iterable[Outcome],
    differ: Sequence[str],
    value: Callable[[Outcome], Any],
) -> list[dict[Any, Outcome]]:
    """Returns groups of trials that agree in all settings but some, by what tells them apart.

    They have equal updates, or equal energy gradients.

    Arguments:
        found: The trials.
        differ: Beginnings of the dotted paths in which they may differ.
        value: What tells the trials of a group apart.
    """
    groups: dict[Any, list[Outcome]] = {}
    free = (*differ, *FOLLOWS)
    for outcome in found:
        if outcome.known:
            key = tuple((p, repr(v)) for p, v in outcome.settings.items() if not p.startswith(free))
            groups.setdefault(key, []).append(outcome)
    several = {}
    for group in groups.values():
        for part in (*_equal_updates(group), *_equal_gradients(group)):
            by_value = {value(outcome): outcome for outcome in part}
            if len(by_value) > 1:
                several[tuple(sorted(o.trial.name for o in part))] = by_value
    return list(several.values())


def _equal_updates(group: Sequence[Outcome]) -> list[list[Outcome]]:
    parts: dict[int, list[Outcome]] = {}
    for outcome in group:
        parts.setdefault(outcome.result.updates, []).append(outcome)
    return list(parts.values())


def _equal_gradients(group: Sequence[Outcome]) -> list[list[Outcome]]:
    """Trials whose budgets are within a few updates of each other."""
    parts: list[list[Outcome]] = []
    for outcome in sorted(group, key=lambda o: o.result.budget):
        if parts and outcome.result.budget < SAME * parts[-1][-1].result.budget:
            parts[-1].append(outcome)
        else:
            parts.append([outcome])
    return parts


def failures(found: Sequence[Outcome]) -> tuple[int, int]:
    """Returns how many of the known trials failed, and how many there are.

    Arguments:
        found: The trials.
    """
    known = [outcome for outcome in found if outcome.known]
    return sum(outcome.failed for outcome in known), len(known)


def fewer(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Returns the probability of so few failures in a beside b if both failed alike (Fisher).

    Arguments:
        a: Failures and trials of the one.
        b: Failures and trials of the other.

    Example:
        >>> round(fewer((0, 3), (3, 3)), 3)  # one of the 20 ways to choose 3 of 6
        0.05
    """
    if not a[1] or not b[1]:
        return 1.0
    table = [[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]]
    return float(stats.fisher_exact(table, alternative="less")[1])


def log_ratio(pairs: Sequence[tuple[float, float]]) -> Ratio | None:
    """Returns the mean ratio of the second to the first of each finite pair; None of none.

    Arguments:
        pairs: The pairs.

    Example:
        >>> log_ratio([(1.0, 2.0), (1.0, 0.5), (1.0, float("inf"))]).mean
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
    return Ratio(n, math.exp(mean), math.exp(mean - half), math.exp(min(mean + half, 700)))


def seed_spread(groups: Mapping[str, Sequence[Outcome]]) -> float:
    """Returns the standard deviation of the log quality between seeds, pooled over points.

    Arguments:
        groups: The trials of each point.
    """
    squares, degrees = 0.0, 0
    for group in groups.values():
        logs = [math.log(o.quality) for o in group if 0 < o.quality < math.inf]
        if len(logs) > 1:
            squares += float(np.var(logs)) * len(logs)
            degrees += len(logs) - 1
    return math.sqrt(squares / degrees) if degrees else math.nan
