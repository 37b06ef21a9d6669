r"""Laws of short-run learning, checked on the trials of any study.

*travel*: learning steepens the energy until drift covers the way from noise to the data, so
:math:`K \varepsilon v` is about constant in K and about equal to that distance (Nijkamp et al.,
2019, Table 2). *data noise*: the smallest noise on the data that is stable grows as K falls.
*noise*: the noise of the chains changes the quality by no more than the seed does: it holds where
the interval of the mean change lies within the spread between seeds, and does not where that of
one K lies beyond. *data noise* needs a test of failures at the fewest and the most steps as well.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from scipy import stats

from boltzwalk.study.answers import (
    LEVEL,
    Answer,
    answer,
    count_failures,
    fisher_p,
    mean_ratio,
    seed_spread,
)
from boltzwalk.study.outcome import Outcome, by_point

from .claims import has_noise, kernel_steps, noise_pairs, rate

__all__ = ["checked_laws", "smallest_stable_noise"]

WITHIN, LOW, HIGH = 0.1, 0.7, 1.0


def checked_laws(outcomes: Sequence[Outcome]) -> list[Answer]:
    """Returns the three laws with their numbers.

    Arguments:
        outcomes: The outcomes of a study.
    """
    return [_travel(outcomes), _data_noise(outcomes), _noise(outcomes)]


def smallest_stable_noise(outcomes: Sequence[Outcome]) -> dict[tuple[float, int], float]:
    """Returns the data noise from which on no seed fails, by learning rate and steps; inf of none.

    Arguments:
        outcomes: The outcomes of a study.
    """
    cells: dict[tuple[float, int], dict[float, list[Outcome]]] = {}
    for outcome in outcomes:
        if _is_plain(outcome):
            levels = cells.setdefault((rate(outcome), kernel_steps(outcome)), {})
            noise = float(outcome.settings["method.data_noise"])
            levels.setdefault(noise, []).append(outcome)
    smallest = {}
    for key, levels in cells.items():
        if len(levels) < 2:
            continue
        stable = math.inf
        for noise in sorted(levels, reverse=True):
            if any(outcome.failed for outcome in levels[noise]):
                break
            stable = noise
        smallest[key] = stable
    return smallest


def _is_plain(outcome: Outcome) -> bool:
    """Whether a trial has unit steps with noise from a noise start, without spectral norm."""
    settings = outcome.settings
    return (
        outcome.conclusive
        and settings.get("method.start.kind") == "NoiseStart"
        and not settings.get("energy.spectral_norm")
        and has_noise(outcome)
        and "optimizer.learning_rate" in settings
    )


def _travel(outcomes: Sequence[Outcome]) -> Answer:
    """The travel of the best point of each number of steps."""
    name, claim = "travel", "steps x gradient size is constant in K, the distance to the data"
    points = by_point(o for o in outcomes if _is_plain(o) and not math.isnan(o.measure("travel")))
    best: dict[int, tuple[float, float, float]] = {}
    for group in points.values():
        quality = statistics.median(outcome.quality for outcome in group)
        travel, distance = (
            statistics.fmean(o.measure(key) for o in group) for key in ("travel", "distance")
        )
        k = kernel_steps(group[0])
        if math.isfinite(quality) and quality < best.get(k, (math.inf,))[0]:
            best[k] = (quality, travel, distance)
    if len(best) < 2:
        return answer(
            name, claim, None, "needs surviving trials with two numbers of steps from noise"
        )
    middle = statistics.fmean(travel for _, travel, _ in best.values())
    distance = statistics.fmean(distance for *_, distance in best.values())
    listed = ", ".join(f"{best[k][1]:.3g} (K = {k})" for k in sorted(best))
    reason = f"of the best setting of each K: {listed}; mean {middle:.3g}, distance {distance:.3g}"
    constant = all(abs(travel / middle - 1) <= WITHIN for _, travel, _ in best.values())
    reaches = all(LOW <= travel / distance <= HIGH for _, travel, _ in best.values())
    return answer(name, claim, constant and reaches, reason)


def _data_noise(outcomes: Sequence[Outcome]) -> Answer:
    name, claim = "data noise", "the smallest stable data noise grows as K falls"
    smallest = smallest_stable_noise(outcomes)
    rates = sorted({r for r, _ in smallest})
    lines, grows, shrinks = [], 0, 0
    for r in rates:
        by_steps = {k: noise for (at, k), noise in sorted(smallest.items()) if at == r}
        if len(by_steps) < 2:
            continue
        listed = ", ".join(
            f"{'none' if noise == math.inf else f'{noise:g}'} (K = {k})"
            for k, noise in by_steps.items()
        )
        lines.append(f"rate {r:g}: {listed}")
        values = list(by_steps.values())
        grows += values[0] > values[-1]
        shrinks += any(a < b for a, b in pairwise(values))
    if not lines:
        return answer(name, claim, None, "needs trials with several data noises and steps")
    more, fewer = _few_steps_fail_more(outcomes)
    reason = "; ".join(lines) + f"; the fewest steps fail more with p = {more:.2g}"
    verdict = None
    if grows and not shrinks and more < LEVEL / 2:
        verdict = True
    elif shrinks and not grows and fewer < LEVEL / 2:
        verdict = False
    return answer(name, claim, verdict, reason)


def _few_steps_fail_more(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """One-sided p-values that the fewest steps fail more, and less, than the most steps.

    Of trials with a rate and a data noise that both have.
    """
    cells: dict[int, dict[tuple[float, float], list[Outcome]]] = {}
    for o in outcomes:
        if _is_plain(o):
            key = rate(o), float(o.settings["method.data_noise"])
            cells.setdefault(kernel_steps(o), {}).setdefault(key, []).append(o)
    few, many = cells[min(cells)], cells[max(cells)]
    a, b = (
        count_failures([o for key in few.keys() & many.keys() for o in side[key]])
        for side in (few, many)
    )
    return fisher_p(b, a), fisher_p(a, b)


def _noise(outcomes: Sequence[Outcome]) -> Answer:
    name, claim = "noise", "noise on or off differs within the spread between seeds"
    by_steps: dict[int, list[float]] = {}
    pairs = noise_pairs(outcomes)
    for a, b in pairs:
        if math.isfinite(a.quality) and math.isfinite(b.quality):
            by_steps.setdefault(kernel_steps(a), []).append(math.log(b.quality / a.quality))
    spread = seed_spread(by_point([outcome for pair in pairs for outcome in pair]))
    every = mean_ratio([(a.quality, b.quality) for a, b in pairs])
    if not by_steps or every is None or math.isnan(spread):
        return answer(name, claim, None, "needs surviving pairs with and without noise, two seeds")
    means = {k: statistics.fmean(values) for k, values in sorted(by_steps.items())}
    listed = ", ".join(f"{math.exp(mean):.2f} (K = {k})" for k, mean in means.items())
    reason = f"quality off / on: {listed}; a seed changes it by a factor of {math.exp(spread):.2f}"
    reason += f"; all together {every.text}"
    limited = every.low > 0 and every.high < math.inf
    if limited and max(-math.log(every.low), math.log(every.high)) <= spread:
        return answer(name, claim, True, reason)
    beyond = any(_is_beyond(values, spread, len(by_steps)) for values in by_steps.values())
    return answer(name, claim, False if beyond else None, reason)


def _is_beyond(logs: Sequence[float], spread: float, tests: int) -> bool:
    """Whether the interval of a mean is beyond the spread, at the level for all tests together."""
    if len(logs) < 2:
        return False
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    half = float(stats.t.ppf(1 - LEVEL / 2 / tests, len(logs) - 1)) * error
    return abs(statistics.fmean(logs)) - half > spread
