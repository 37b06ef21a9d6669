"""Published claims on short-run learning, each with its set-up and the rule by which it passes.

The set-ups are those of 8x8 digits, 1,500 updates, where the distance from uniform noise to the
data is 8.2: K steps of size one with data noise 0.15 (K = 5), 0.10 (10), 0.05 (25) and 0.03 (50),
learning rate 1e-4, noise 0.01. "FD" is the quality, and L the limit of the study, 100 there.

R2  K v is within 10 % of its mean over K, and 0.7 to 1 of the distance.
R3  FD(5) > FD(10) > FD(25), and FD(50) within 20 % of FD(25).
R4  K = 5, rates 1e-4 and 1e-3: data noise 0.15 never fails, FD < 0.6 L; with 0.03 a third fails.
R5  K = 50: rates 1e-4 and 1e-3 are both stable, FD within 25 %.
R6  Without noise FD is within 10 % of that with it, at K = 5, 10 and 50.
R7  After 10 K steps FD is 1.8 times that after K; 2,000 steps from data go 5 times as far as those
    of a run with persistent walkers.
R8  With spectral norm K times step 5 leaves FD > L or stalls; 15 and more reach FD < 0.7 L and
    never diverge, while plain K = 5 fails in three of six.

References:
    | Learning non-convergent non-persistent short-run MCMC (Nijkamp et al., 2019), Table 2
    | https://arxiv.org/abs/1904.09770
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from boltzwalk.study.answers import Answer, answer
from boltzwalk.study.outcome import Outcome

from .claims import DIVERGED, has_noise, kernel_steps, rate

__all__ = ["published_rules"]

LADDER = {5: 0.15, 10: 0.1, 25: 0.05, 50: 0.03}
UPDATES = 1500

CLAIMS = {
    "R2": "steps times gradient size is constant in the steps: the way to the data",
    "R3": "quality improves with the steps, and saturates",
    "R4": "few steps need more data noise",
    "R5": "many steps tolerate ten times the learning rate",
    "R6": "noise is dispensable in short-run learning",
    "R7": "a short-run model is no density: longer chains are worse, and lose the data",
    "R8": "spectral norm stabilises, but caps how far walkers get",
}


def published_rules(outcomes: Sequence[Outcome]) -> list[Answer]:
    """Returns the answers to claims R2 to R8; undecided without the trials of their set-ups.

    Arguments:
        outcomes: The outcomes of a study.
    """
    short = [o for o in outcomes if _is_short_run(o)]
    ladder = {
        k: [o for o in _plain(short, k, noise) if rate(o) == 1e-4] for k, noise in LADDER.items()
    }
    return [
        _r2(ladder),
        _r3(ladder),
        _r4(short),
        _r5(short),
        _r6(short, ladder),
        _r7(outcomes, ladder),
        _r8(short),
    ]


def _is_short_run(o: Outcome) -> bool:
    """Whether a trial has the set-up that the rules share."""
    fixed: Mapping[str, object] = {
        "method.start.kind": "NoiseStart",
        "method.start.distribution": "uniform",
        "optimizer.kind": "Adam",
        "optimizer.beta1": 0.9,
        "method.energy_penalty": 0.0,
        "clip_gradient": 0.0,
        "schedule.anneal": 0.0,
        "average": 0.0,
        "updates": UPDATES,
    }
    return o.conclusive and all(o.settings.get(key) == value for key, value in fixed.items())


def _plain(short: Sequence[Outcome], steps: int, data_noise: float) -> list[Outcome]:
    """Trials of unit steps with noise, without spectral norm."""
    return [
        o
        for o in short
        if kernel_steps(o) == steps
        and o.settings["method.data_noise"] == data_noise
        and o.settings["method.kernel.step_size"] == 1
        and has_noise(o)
        and not o.settings["energy.spectral_norm"]
    ]


def _r2(ladder: Mapping[int, Sequence[Outcome]]) -> Answer:
    if not all(ladder.values()):
        return _missing("R2")
    travel = {k: _mean([o.measure("travel") for o in group]) for k, group in ladder.items()}
    distance = _mean([o.measure("distance") for group in ladder.values() for o in group])
    middle = _mean(list(travel.values()))
    reason = f"K v {_listed(travel)}; mean {middle:.3g}; distance {distance:.3g}"
    constant = all(abs(value / middle - 1) <= 0.1 for value in travel.values())
    reaches = all(0.7 <= value / distance <= 1 for value in travel.values())
    return answer("R2", CLAIMS["R2"], constant and reaches, reason)


def _r3(ladder: Mapping[int, Sequence[Outcome]]) -> Answer:
    if not all(ladder.values()):
        return _missing("R3")
    fd = {k: _mean([o.quality for o in group]) for k, group in ladder.items()}
    passes = fd[5] > fd[10] > fd[25] and abs(fd[50] / fd[25] - 1) <= 0.2
    return answer("R3", CLAIMS["R3"], passes, f"mean FD {_listed(fd)}")


def _r4(short: Sequence[Outcome]) -> Answer:
    much, little = (
        [o for o in _plain(short, 5, noise) if rate(o) in (1e-4, 1e-3)] for noise in (0.15, 0.03)
    )
    if min(len(much), len(little)) < 6:
        return _missing("R4")
    worst = max(o.quality for o in much)
    limit = much[0].limit
    bad = (sum(o.failed for o in much), sum(o.failed for o in little))
    reason = (
        f"data noise 0.15: {bad[0]}/{len(much)} fail, worst FD {worst:.3g}; 0.03: {bad[1]}/"
        f"{len(little)} fail ({', '.join(sorted(o.ending for o in little if o.failed)) or 'none'})"
    )
    passes = not bad[0] and worst < 0.6 * limit and bad[1] >= len(little) / 3
    return answer("R4", CLAIMS["R4"], passes, reason)


def _r5(short: Sequence[Outcome]) -> Answer:
    both = _plain(short, 50, 0.03)
    low, high = ([o for o in both if rate(o) == r] for r in (1e-4, 1e-3))
    if not low or not high:
        return _missing("R5")
    a, b = (_mean([o.quality for o in group]) for group in (low, high))
    bad = sum(o.failed for o in (*low, *high))
    reason = f"mean FD {a:.3g} at rate 1e-4, {b:.3g} at 1e-3; {bad}/{len(low) + len(high)} fail"
    return answer("R5", CLAIMS["R5"], not bad and abs(b / a - 1) <= 0.25, reason)


def _r6(short: Sequence[Outcome], ladder: Mapping[int, Sequence[Outcome]]) -> Answer:
    ratios = {}
    for k in (5, 10, 50):
        quiet = [
            o
            for o in short
            if kernel_steps(o) == k
            and o.settings["method.data_noise"] == LADDER[k]
            and o.settings["method.kernel.kind"] == "Descent"
            and rate(o) == 1e-4
            and not o.settings["energy.spectral_norm"]
        ]
        if not quiet or not ladder[k]:
            return _missing("R6")
        with_noise, without = (_mean([o.quality for o in g]) for g in (ladder[k], quiet))
        ratios[k] = without / with_noise
    reason = f"FD without noise over that with it, means over seeds: {_listed(ratios)}"
    return answer("R6", CLAIMS["R6"], all(abs(r - 1) <= 0.1 for r in ratios.values()), reason)


def _r7(outcomes: Sequence[Outcome], ladder: Mapping[int, Sequence[Outcome]]) -> Answer:
    persistent = [
        o.measure("displacement")
        for o in outcomes
        if o.settings.get("method.start.kind") == "ReplayStart"
        and math.isfinite(o.measure("displacement"))
    ]
    measured = {
        k: [o for o in group if math.isfinite(o.quality) and not math.isnan(o.measure("longer"))]
        for k, group in ladder.items()
    }
    if not all(measured.values()) or not persistent:
        return _missing("R7")
    worse = {k: _mean([o.measure("longer") / o.quality for o in g]) for k, g in measured.items()}
    far = {k: _mean([o.measure("displacement") for o in g]) for k, g in measured.items()}
    reason = (
        f"FD after 10 K steps over that after K: {_listed(worse)}; displacement {_listed(far)}, "
        f"with persistent walkers {_mean(persistent):.3g}"
    )
    passes = all(r >= 1.8 for r in worse.values()) and all(
        value >= 5 * _mean(persistent) for value in far.values()
    )
    return answer("R7", CLAIMS["R7"], passes, reason)


def _r8(short: Sequence[Outcome]) -> Answer:
    normed = [
        o
        for o in short
        if o.settings["energy.spectral_norm"] and o.settings["method.data_noise"] == 0.03
    ]
    near = [o for o in normed if _reach(o) <= 5]
    far = [o for o in normed if _reach(o) >= 15]
    plain = [o for o in _plain(short, 5, 0.03) if rate(o) in (1e-4, 1e-3)]
    if not near or not far or not plain:
        return _missing("R8")
    limit = far[0].limit
    capped = sum(o.failed and o.ending not in DIVERGED for o in near)
    worst = max(o.quality for o in far)
    diverged = sum(o.ending in DIVERGED for o in (*near, *far))
    bad = sum(o.failed for o in plain)
    reason = (
        f"reach 5: {capped}/{len(near)} stall or stay beyond FD {limit:g}; reach 15 and more: "
        f"worst FD {worst:.3g}; {diverged}/{len(normed)} diverge; without it {bad}/{len(plain)} "
        "fail at K = 5"
    )
    passes = capped == len(near) and worst < 0.7 * limit and not diverged and bad >= len(plain) / 2
    return answer("R8", CLAIMS["R8"], passes, reason)


def _reach(outcome: Outcome) -> float:
    """The distance that a unit gradient moves a walker."""
    return kernel_steps(outcome) * float(outcome.settings["method.kernel.step_size"])


def _missing(name: str) -> Answer:
    return answer(name, CLAIMS[name], None, "the trials of its set-up are not there")


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _listed(values: Mapping[int, float]) -> str:
    return ", ".join(f"{value:.3g} (K = {k})" for k, value in values.items())
