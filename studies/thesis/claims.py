"""The four claims of the thesis, answered from the trials of any study with their settings.

1. The number of steps matters most.
2. Few steps need a small learning rate, and spectral norm stabilises further.
3. More steps are more stable, and slower.
4. Proper noise is not needed.

References:
    | Energy models (chperkins/Energy_Models on GitHub), whose claims come without tables
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from boltzwalk.study.answers import (
    LEVEL,
    Answer,
    answer,
    count_failures,
    fisher_p,
    matched_groups,
    mean_ratio,
    seed_spread,
)
from boltzwalk.study.importance import Share, axis_shares, compare_totals
from boltzwalk.study.outcome import Outcome, block_outcomes, by_point
from boltzwalk.study.spec import Block, Study

__all__ = ["four_claims", "has_noise", "kernel_steps", "noise_pairs", "rate"]

STEPS, RATE, NORM = "method.steps", "optimizer.learning_rate", "energy.spectral_norm"

NOISELESS_KERNELS = ("Descent", "AdamDescent")

DIVERGED = ("nan", "exploded", "collapsed")


def four_claims(study: Study, outcomes: Sequence[Outcome]) -> list[Answer]:
    """Returns the answers to the four claims.

    Arguments:
        study: The study.
        outcomes: Its outcomes.
    """
    return [
        _steps(study, outcomes),
        _rate(outcomes),
        _norm(outcomes),
        _stable(outcomes),
        _noise(outcomes),
    ]


def kernel_steps(outcome: Outcome) -> int:
    """Returns the number of steps K of a trial.

    Arguments:
        outcome: The outcome.
    """
    return int(outcome.settings[STEPS])


def rate(outcome: Outcome) -> float:
    """Returns the learning rate of a trial.

    Arguments:
        outcome: The outcome.
    """
    return float(outcome.settings[RATE])


def has_noise(outcome: Outcome) -> bool:
    """Returns whether the chains of a trial have noise.

    Arguments:
        outcome: The outcome.
    """
    return outcome.settings["method.kernel.kind"] not in NOISELESS_KERNELS


def _steps(study: Study, outcomes: Sequence[Outcome]) -> Answer:
    """Claim 1, by the total shares of the largest complete grid with an axis of steps.

    It holds where the share of the steps is larger than every other one, by one-sided tests at half
    of the level, and does not hold where another one is larger, at the other half divided by the
    number of other axes. Where the largest shares are equal, either answer is given with a chance
    of the level at most.
    """
    name, claim = "1", "the number of steps matters most"
    block, inside = None, list[Outcome]()
    for candidate in study.blocks:
        if _axis_of_steps(candidate) and len(candidate.axes) > 1:
            members = block_outcomes(outcomes, candidate.name)
            if len(members) > len(inside):
                inside, block = members, candidate
    shares = axis_shares(inside, block.axes) if block else []
    if not block or not shares:
        return answer(name, claim, None, "no grid of steps and other settings is complete yet")
    steps = _axis_of_steps(block)
    larger = compare_totals(inside, block.axes, steps)
    kind = "shares with interactions" if larger else "shares"
    listed = ", ".join(_share_text(share, bool(larger)) for share in shares)
    reason = f"{kind} of the variance of log quality, without noise: {listed}; {shares[0].method}"
    if not larger:
        return answer(name, claim, None, f"{reason}; a test needs a complete grid of two seeds")
    reason += "; larger than " + ", ".join(f"{axis} with p = {p:.2g}" for axis, p in larger.items())
    if all(p < LEVEL / 2 for p in larger.values()):
        return answer(name, claim, True, reason)
    beaten = any(1 - p < LEVEL / 2 / len(larger) for p in larger.values())
    return answer(name, claim, False if beaten else None, reason)


def _axis_of_steps(block: Block) -> str:
    """The name of the axis of steps of a block; "" without one."""
    names = (axis.name for axis in block.axes)
    return next((name for name in names if name == STEPS or STEPS.endswith(f".{name}")), "")


def _share_text(share: Share, with_interactions: bool) -> str:
    part = share.total if with_interactions else share.main
    value, low, high = (min(max(v, 0.0), 1.0) for v in (part.share, part.low, part.high))
    interval = f" ({low:.0%} to {high:.0%})" if math.isfinite(part.low) else ""
    return f"{share.axis} {value:.0%}{interval}"


def _rate(outcomes: Sequence[Outcome]) -> Answer:
    """Claim 2, first half: the failures that a larger rate adds, at few and at many steps."""
    name, claim = "2a", "few steps need a small learning rate"
    plain = [
        o for o in outcomes if not o.settings.get(NORM) and has_noise(o) and RATE in o.settings
    ]
    groups = matched_groups(plain, [RATE], rate)
    counts: dict[int, dict[str, list[Outcome]]] = {}
    for group in groups:
        low, high = min(group), max(group)
        if high < 3 * low:
            continue
        at = counts.setdefault(kernel_steps(group[low]), {"small": [], "large": []})
        at["small"].append(group[low])
        at["large"].append(group[high])
    if len(counts) < 2:
        return answer(name, claim, None, "needs trials that differ in the rate alone, at two steps")
    few, many = min(counts), max(counts)
    (fs, ns), (fl, nl) = (count_failures(counts[few][size]) for size in ("small", "large"))
    (ms, mn), (ml, mm) = (count_failures(counts[many][size]) for size in ("small", "large"))
    helps = fisher_p((fs, ns), (fl, nl))
    hurts = fisher_p((fl, nl), (fs, ns))
    apart = fisher_p((ml, mm), (fl, nl))
    reason = (
        f"failures with the smallest and the largest rate: {fs}/{ns} and {fl}/{nl} at K = {few} "
        f"(p = {helps:.2g}), {ms}/{mn} and {ml}/{mm} at K = {many}; the large rate fails less at "
        f"K = {many} with p = {apart:.2g}"
    )
    if helps < LEVEL and apart < LEVEL:
        return answer(name, claim, True, reason)
    return answer(name, claim, False if hurts < LEVEL else None, reason)


def _norm(outcomes: Sequence[Outcome]) -> Answer:
    """Claim 2, second half: trials that diverge with and without it, and those that stall."""
    name, claim = "2b", "spectral norm stabilises further"
    on, off = _with_norm(outcomes)
    if not on or not off:
        return answer(
            name, claim, None, "needs trials with few steps, with and without spectral norm"
        )
    diverged = [(sum(o.ending in DIVERGED for o in group), len(group)) for group in (on, off)]
    stalled = sum(o.ending in ("stalled", "poor") for o in on)
    p, reverse = fisher_p(diverged[0], diverged[1]), fisher_p(diverged[1], diverged[0])
    reason = (
        f"diverged {diverged[0][0]}/{diverged[0][1]} with it and {diverged[1][0]}/"
        f"{diverged[1][1]} without (p = {p:.2g}); with it {stalled}/{len(on)} stalled or stayed "
        "poor"
    )
    if p < LEVEL:
        return answer(name, claim, True, reason)
    return answer(name, claim, False if reverse < LEVEL else None, reason)


def _with_norm(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Trials with spectral norm at the fewest steps, and others that differ in nothing but size."""
    normed = [o for o in outcomes if o.settings.get(NORM) and o.conclusive]
    if not normed:
        return [], []
    few = min(kernel_steps(o) for o in normed)
    normed = [o for o in normed if kernel_steps(o) == few]
    keys = {(rate(o), o.settings.get("method.data_noise")) for o in normed}
    plain = [
        o
        for o in outcomes
        if o.conclusive
        and not o.settings.get(NORM)
        and has_noise(o)
        and kernel_steps(o) == few
        and (rate(o), o.settings.get("method.data_noise")) in keys
    ]
    return normed, plain


def _stable(outcomes: Sequence[Outcome]) -> Answer:
    """Claim 3: failures and the time of an update at the fewest and the most steps."""
    name, claim = "3", "more steps are more stable, and slower"
    groups = [g for g in matched_groups(outcomes, [STEPS], kernel_steps) if max(g) >= 2 * min(g)]
    if not groups:
        return answer(name, claim, None, "needs trials that differ in the number of steps alone")
    lowest, highest = min(min(g) for g in groups), max(max(g) for g in groups)
    pairs = [(g[lowest], g[highest]) for g in groups if lowest in g and highest in g]
    few, many = ([pair[i] for pair in pairs] for i in (0, 1))
    a, b = count_failures(few), count_failures(many)
    p, reverse = fisher_p(b, a), fisher_p(a, b)
    pace = mean_ratio([(_pace(x), _pace(y)) for x, y in pairs])
    slow = "" if pace is None else f"; an update takes {pace.text.split(',')[0]} times as long"
    reason = (
        f"failed {a[0]}/{a[1]} at K = {lowest} and {b[0]}/{b[1]} at K = {highest}, all else equal "
        f"(p = {p:.2g}){slow}"
    )
    if p < LEVEL and pace is not None and pace.low > 1:
        return answer(name, claim, True, reason)
    refuted = reverse < LEVEL or (pace is not None and pace.high < 1)
    return answer(name, claim, False if refuted else None, reason)


def _pace(outcome: Outcome) -> float:
    """The seconds of an update; nan of a trial that was stopped, most of which is its start."""
    finished = outcome.result.label == "finished"
    return outcome.result.seconds / max(1, outcome.result.update) if finished else math.nan


def _noise(outcomes: Sequence[Outcome]) -> Answer:
    """Claim 4: the quality with and without noise, against the spread between seeds."""
    name, claim = "4", "proper noise is not needed"
    pairs = noise_pairs(outcomes)
    if not pairs:
        return answer(
            name, claim, None, "needs trials that differ in the noise of the chains alone"
        )
    with_noise, without = (
        count_failures([a for a, _ in pairs]),
        count_failures([b for _, b in pairs]),
    )
    ratio = mean_ratio([(a.quality, b.quality) for a, b in pairs])
    if ratio is None:
        return answer(name, claim, None, "no pair of trials with and without noise has survived")
    spread = seed_spread(by_point([o for pair in pairs for o in pair]))
    reason = (
        f"quality without noise over that with it {ratio.text}; between seeds it spreads by a "
        f"factor of {math.exp(spread) if math.isfinite(spread) else math.nan:.2f}; failed "
        f"{without[0]}/{without[1]} without and {with_noise[0]}/{with_noise[1]} with it"
    )
    if fisher_p(with_noise, without) < LEVEL or (ratio.low > 1 and math.log(ratio.mean) > spread):
        return answer(name, claim, False, reason)
    # Of one pair the interval is unlimited.
    limited = ratio.low > 0 and ratio.high < math.inf
    within = limited and max(abs(math.log(ratio.low)), abs(math.log(ratio.high))) <= spread
    return answer(name, claim, True if within else None, reason)


def noise_pairs(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Returns pairs of trials, with and without noise, that agree in all else.

    Of several with noise, the one at the lowest temperature.

    Arguments:
        outcomes: The outcomes.
    """
    pairs = []
    for group in matched_groups(outcomes, ["method.kernel"], _noise_of):
        for (step, temperature), quiet in group.items():
            loud = [(t, o) for (s, t), o in group.items() if s == step and t > 0]
            if temperature == 0 and loud:
                pairs.append((min(loud, key=lambda pair: pair[0])[1], quiet))
    return pairs


def _noise_of(outcome: Outcome) -> tuple[float, float]:
    """Step size and temperature of the chains."""
    step = float(outcome.settings.get("method.kernel.step_size", math.nan))
    temperature = float(outcome.settings.get("method.kernel.temperature", 1.0))
    return step, temperature if has_noise(outcome) else 0.0
