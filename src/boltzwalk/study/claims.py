"""The four claims of the thesis, answered from the trials of any study that has their settings.

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

from .answers import (
    LEVEL,
    Answer,
    failures,
    fewer,
    holds,
    log_ratio,
    matched,
    seed_spread,
    undecided,
)
from .effects import shares
from .outcome import Outcome, by_point, members
from .spec import Study

__all__ = ["four_claims", "has_noise", "kernel_steps", "noise_pairs", "rate"]

STEPS, RATE, NORM = "method.steps", "optimizer.learning_rate", "energy.spectral_norm"

NOISELESS = ("Descent", "AdamDescent")

DIVERGED = ("nan", "exploded", "collapsed")


def four_claims(study: Study, found: Sequence[Outcome]) -> list[Answer]:
    """Returns the answers to the four claims.

    Arguments:
        study: The study.
        found: Its trials that are over.
    """
    return [_steps(study, found), _rate(found), _norm(found), _stable(found), _noise(found)]


def kernel_steps(outcome: Outcome) -> int:
    """Returns the number of steps K of a trial.

    Arguments:
        outcome: The trial.
    """
    return int(outcome.settings[STEPS])


def rate(outcome: Outcome) -> float:
    """Returns the learning rate of a trial.

    Arguments:
        outcome: The trial.
    """
    return float(outcome.settings[RATE])


def has_noise(outcome: Outcome) -> bool:
    """Returns whether the chains of a trial have noise.

    Arguments:
        outcome: The trial.
    """
    return outcome.settings["method.kernel.kind"] not in NOISELESS


def _steps(study: Study, found: Sequence[Outcome]) -> Answer:
    """Claim 1, by the total shares of the largest complete grid that has the steps."""
    name, claim = "1", "the number of steps matters most"
    best: list = []
    inside: list[Outcome] = []
    for block in study.blocks:
        names = [axis.name for axis in block.axes]
        if any(n == STEPS or STEPS.endswith(f".{n}") for n in names) and len(names) > 1:
            these = members(found, block.name)
            if len(these) > len(inside):
                inside, best = these, shares(these, block.axes)
    if not best:
        return undecided(name, claim, "no grid of steps and other settings is complete yet")
    ours = next(s for s in best if s.axis == STEPS or STEPS.endswith(f".{s.axis}"))
    others = [s for s in best if s is not ours]
    text = ", ".join(
        f"{s.axis} {s.total:.0%} ({s.total_low:.0%} to {s.total_high:.0%})"
        if math.isfinite(s.total)
        else f"{s.axis} {s.main:.0%}"
        for s in best
    )
    kind = "shares with interactions" if math.isfinite(ours.total) else "shares"
    reason = f"{kind} of the variance of log quality: {text}; {ours.method}"
    if not math.isfinite(ours.total):
        return holds(name, claim, None, reason)
    if all(ours.total_low > s.total_high for s in others):
        return holds(name, claim, True, reason)
    beaten = any(ours.total_high < s.total_low for s in others)
    return holds(name, claim, False if beaten else None, reason)


def _rate(found: Sequence[Outcome]) -> Answer:
    """Claim 2, first half: the failures that a larger rate adds, at few and at many steps."""
    name, claim = "2a", "few steps need a small learning rate"
    plain = [o for o in found if not o.settings.get(NORM) and has_noise(o) and RATE in o.settings]
    groups = matched(plain, [RATE], rate)
    counts: dict[int, dict[str, list[Outcome]]] = {}
    for group in groups:
        low, high = min(group), max(group)
        if high < 3 * low:
            continue
        at = counts.setdefault(kernel_steps(group[low]), {"small": [], "large": []})
        at["small"].append(group[low])
        at["large"].append(group[high])
    if len(counts) < 2:
        return undecided(name, claim, "needs trials that differ in the rate alone, at two steps")
    few, many = min(counts), max(counts)
    (fs, ns), (fl, nl) = (failures(counts[few][size]) for size in ("small", "large"))
    (ms, mn), (ml, mm) = (failures(counts[many][size]) for size in ("small", "large"))
    helps = fewer((fs, ns), (fl, nl))
    hurts = fewer((fl, nl), (fs, ns))
    apart = fewer((ml, mm), (fl, nl))
    reason = (
        f"failures with the smallest and the largest rate: {fs}/{ns} and {fl}/{nl} at K = {few} "
        f"(p = {helps:.2g}), {ms}/{mn} and {ml}/{mm} at K = {many}; the large rate fails less at "
        f"K = {many} with p = {apart:.2g}"
    )
    if helps < LEVEL and apart < LEVEL:
        return holds(name, claim, True, reason)
    return holds(name, claim, False if hurts < LEVEL else None, reason)


def _norm(found: Sequence[Outcome]) -> Answer:
    """Claim 2, second half: trials that diverge with and without it, and those that stall."""
    name, claim = "2b", "spectral norm stabilises further"
    on, off = _with_norm(found)
    if not on or not off:
        return undecided(name, claim, "needs trials with few steps, with and without spectral norm")
    diverged = [(sum(o.how in DIVERGED for o in group), len(group)) for group in (on, off)]
    stalled = sum(o.how in ("stalled", "poor") for o in on)
    p, reverse = fewer(diverged[0], diverged[1]), fewer(diverged[1], diverged[0])
    reason = (
        f"diverged {diverged[0][0]}/{diverged[0][1]} with it and {diverged[1][0]}/"
        f"{diverged[1][1]} without (p = {p:.2g}); with it {stalled}/{len(on)} stalled or stayed "
        "poor"
    )
    if p < LEVEL:
        return holds(name, claim, True, reason)
    return holds(name, claim, False if reverse < LEVEL else None, reason)


def _with_norm(found: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Trials with spectral norm at the fewest steps, and others that differ in nothing but size."""
    normed = [o for o in found if o.settings.get(NORM) and o.known]
    if not normed:
        return [], []
    few = min(kernel_steps(o) for o in normed)
    normed = [o for o in normed if kernel_steps(o) == few]
    keys = {(rate(o), o.settings.get("method.data_noise")) for o in normed}
    plain = [
        o
        for o in found
        if o.known
        and not o.settings.get(NORM)
        and has_noise(o)
        and kernel_steps(o) == few
        and (rate(o), o.settings.get("method.data_noise")) in keys
    ]
    return normed, plain


def _stable(found: Sequence[Outcome]) -> Answer:
    """Claim 3: failures and the time of an update at the fewest and the most steps."""
    name, claim = "3", "more steps are more stable, and slower"
    groups = [g for g in matched(found, [STEPS], kernel_steps) if max(g) >= 2 * min(g)]
    if not groups:
        return undecided(name, claim, "needs trials that differ in the number of steps alone")
    lowest, highest = min(min(g) for g in groups), max(max(g) for g in groups)
    pairs = [(g[lowest], g[highest]) for g in groups if lowest in g and highest in g]
    few, many = ([pair[i] for pair in pairs] for i in (0, 1))
    a, b = failures(few), failures(many)
    p, reverse = fewer(b, a), fewer(a, b)
    pace = log_ratio([(_pace(x), _pace(y)) for x, y in pairs])
    slow = "" if pace is None else f"; an update takes {pace.text.split(',')[0]} times as long"
    reason = (
        f"failed {a[0]}/{a[1]} at K = {lowest} and {b[0]}/{b[1]} at K = {highest}, all else equal "
        f"(p = {p:.2g}){slow}"
    )
    if p < LEVEL and pace is not None and pace.low > 1:
        return holds(name, claim, True, reason)
    refuted = reverse < LEVEL or (pace is not None and pace.high < 1)
    return holds(name, claim, False if refuted else None, reason)


def _pace(outcome: Outcome) -> float:
    """The seconds of an update; nan of a trial that broke off, most of which is its start."""
    whole = outcome.result.label == "finished"
    return outcome.result.seconds / max(1, outcome.result.update) if whole else math.nan


def _noise(found: Sequence[Outcome]) -> Answer:
    """Claim 4: the quality with and without noise, beside the spread between seeds."""
    name, claim = "4", "proper noise is not needed"
    pairs = noise_pairs(found)
    if not pairs:
        return undecided(name, claim, "needs trials that differ in the noise of the chains alone")
    with_noise, without = failures([a for a, _ in pairs]), failures([b for _, b in pairs])
    ratio = log_ratio([(a.quality, b.quality) for a, b in pairs])
    if ratio is None:
        return undecided(name, claim, "no pair of trials with and without noise has survived")
    spread = seed_spread(by_point([o for pair in pairs for o in pair]))
    reason = (
        f"quality without noise over that with it {ratio.text}; between seeds it spreads by a "
        f"factor of {math.exp(spread) if math.isfinite(spread) else math.nan:.2f}; failed "
        f"{without[0]}/{without[1]} without and {with_noise[0]}/{with_noise[1]} with it"
    )
    if fewer(with_noise, without) < LEVEL or (ratio.low > 1 and math.log(ratio.mean) > spread):
        return holds(name, claim, False, reason)
    within = max(abs(math.log(ratio.low)), abs(math.log(ratio.high))) <= spread
    return holds(name, claim, True if within else None, reason)


def noise_pairs(found: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Returns trials with and without noise that are equal otherwise.

    Of several with noise, the one at the lowest temperature.

    Arguments:
        found: The trials.
    """
    pairs = []
    for group in matched(found, ["method.kernel"], _noise_of):
        for (step, temperature), quiet in group.items():
            loud = [(t, o) for (s, t), o in group.items() if s == step and t > 0]
            if temperature == 0 and loud:
                pairs.append((min(loud, key=lambda pair: pair[0])[1], quiet))
    return pairs


def _noise_of(outcome: Outcome) -> tuple[float, float]:
    """Step size and temperature of the chains."""
    step = float(outcome.settings.get("method.kernel.step_size", math.nan))
    known = outcome.settings.get("method.kernel.temperature", 1.0)
    return step, float(known) if has_noise(outcome) else 0.0
