r"""Whether a run holds, by rules on what it logged.

With the mean gradient size v along chains of K steps :math:`\varepsilon`, drift alone carries a
walker by the travel :math:`K \varepsilon v`. Walkers that start from noise have a known way to go,
the distance of noise and data, and learning that holds steepens the energy until the travel is
about as long, whatever K is. So the scale of a run is known:

=============  ==================================================================================
nan            A value is not finite.
exploded       The travel is more than 3 times the distance and the path of the noise, which walkers
               at rest answer by drift. Where walkers do not start from noise: v is 100 times its
               median in the window, and the travel 100 times the first displacement of a walker;
               or v is 100 times its first value, and walkers are out of the range of the data.
stalled        The travel is less than 0.6 of the distance, grows no more, and the energy gap d is
               positive at less than 5 % of updates: walkers do not arrive.
collapsed      Walkers arrive, but d is as one-sided, has grown by 1.6 since the middle of the run,
               and was never as large: nothing bounds the energy of the data from below.
oscillating    d tends to change its side at every update, with swings that grow twofold; or it
               nearly always does, with swings of 5 % of the energy that drift takes from a
               walker that starts from noise, :math:`K \varepsilon v^2`.
healthy        None of these.
=============  ==================================================================================

A network starts from nearly no energy, so d and v grow by orders of magnitude at first, with d
negative: no rule takes that for an explosion or a collapse, nor a single update for the present.
The cost does not grow with the run, so that a verdict every so many updates can stop it early.

Not guaranteed: that a healthy run has good samples, or a density. An explosion is found late where
walkers are kept in a box and do not start from noise, a collapse not where no travel is logged.

| Learning non-convergent non-persistent short-run MCMC (Nijkamp et al., 2019)
| https://arxiv.org/abs/1904.09770
| On the anatomy of MCMC-based maximum likelihood learning of energy-based models
| (Nijkamp, Hill, Han, Zhu, Wu, 2020), https://arxiv.org/abs/1903.12370
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..training.folder import Trace
from .oscillation import ONE_SIDED, WINDOW
from .window import PRESENT, Row, Seen, look, median, series

__all__ = ["Finding", "Verdict", "anatomy", "verdict"]

Label = Literal["healthy", "nan", "exploded", "collapsed", "stalled", "oscillating"]

TOO_FAR = 3.0
"""Travel over distance and noise path of an exploded run: 8x8 digits that held had 0.65 to 1.03,
those that broke went through 3 within 10 to 60 updates, on to 1e3 and more."""

TOO_SHORT = 0.6
"""Travel over distance of a stalled run: 0.46 to 0.50 where a Lipschitz bound of 1 capped 8x8
digits. Runs that held had 0.65 and more, or a gap of both signs: in the plane, with data on all
sides of the noise, 0.29."""

EXPLOSION = 100.0
"""Growth of v: 46 in a start on MNIST that held; its travel was 13 times what noise does."""

OUTSIDE = 0.9
"""Share of coordinates out of the range of the data: 0.3 at most in runs that held, or 1.0."""

COLLAPSE = 1.6
"""Growth of the gap over the second half of a run: 1.9 where each update adds the same, as it did
for chains from a single point until they broke. With spectral normalisation it has come to 1.65,
but not beyond what the gap had been before."""

ARRIVED = 0.5
"""Gap over the energy that drift takes from a walker, below which walkers come near the data: 15 to
2 in the start of a run on MNIST, 0.1 at its end, 0.5 to 0.06 in a collapse."""

STILL_GROWING = 1.02
"""Growth of the travel from one quarter of the window to the next: 0.98 to 1.01 in stalled runs."""

SWINGS_GROW = 2.0
"""Growth of the root mean square of d from the first to the second half of the window."""

CYCLE = -0.7
"""Autocorrelation at lag 1 of a cycle of two updates, which is half of the variance or more: -0.76
to -0.95 with SGD at rates that swing, -0.43 and more with Adam at 100 times the usual rate."""

SWINGS = 0.05
"""Root mean square of d over the energy that drift takes from a walker: 0.01 to 0.03 in runs that
held, 0.07 to 0.17 in such cycles, where v changed by up to a third in one update."""

LEAST = 100
"""Updates in the window without which only explosions are seen."""

LONG = 500
"""Updates without which no collapse is seen: starts were over after 130 to 800."""

CURES = {
    "nan": "Go on from an earlier checkpoint with half the learning rate",
    "exploded": "Halve the learning rate, double method.steps, or raise method.data_noise",
    "collapsed": "Raise method.data_noise: constant parts of data without noise have no density",
    "stalled": "Raise method.steps or the learning rate, or take off spectral normalisation",
    "oscillating": "Lower the learning rate",
}


class Verdict(NamedTuple):
    """What has become of a run.

    Attributes:
        label: Its name in the table of this module.
        reason: What was seen, the limit, and what to change.
        update: The update it was seen at, the last one, or the first one that is not finite.
    """

    label: Label
    reason: str
    update: int


class Finding(NamedTuple):
    """A number with its name and what it means."""

    name: str
    text: str
    meaning: str


def verdict(rows: Sequence[Row], trace: Trace, failure: str = "", window: int = WINDOW) -> Verdict:
    """Returns what has become of a run, or of its beginning.

    Arguments:
        rows: The rows of log.jsonl. Of their keys only those that are there are looked at.
        trace: The energy gap and the gradient size of every update, each of shape (T,); without
            values those of the rows are taken.
        failure: The message that a run broke off with, if it did.
        window: The most updates looked at, of a short run its last half.

    Raises:
        ValueError: If window < 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> trace = Trace(rng.normal(0, 0.01, 500), rng.normal(0.15, 0.002, 500))
        >>> rows = [{"update": 500, "travel": 7.5, "gradient_mean": 0.15, "distance": 8.2}]
        >>> verdict(rows, trace).label
        'healthy'
        >>> verdict(rows, trace._replace(gradient_mean=trace.gradient_mean * 10)).reason
        'travel 74.7 is 9.11 times the distance 8.2 (limit 3), d ... Halve the learning rate, ...'
    """
    seen = look(rows, trace, window)
    rules: dict[Label, str] = {"exploded": _exploded(seen)}
    broken = _not_finite(rows, trace, window)
    if failure or broken:
        what, update = broken or (failure.rstrip("."), seen.update)
        before = f"; before that, {rules['exploded']}" if rules["exploded"] else ""
        return Verdict("nan", f"{what}{before}. {CURES['nan']}.", update)
    if seen.long_enough(LEAST):
        rules["stalled"] = _stalled(seen)
        rules["collapsed"] = _collapsed(seen)
        rules["oscillating"] = _oscillating(seen)
    for label, reason in rules.items():
        if reason:
            return Verdict(label, f"{reason}. {CURES[label]}.", seen.update)
    return Verdict("healthy", f"{_described(seen)}.", seen.update)


def anatomy(rows: Sequence[Row], trace: Trace, window: int = WINDOW) -> list[Finding]:
    """Returns the numbers of a run that say why it holds or does not, for people to read.

    Arguments:
        rows: The rows of log.jsonl.
        trace: The energy gap and the gradient size of every update, each of shape (T,); without
            values those of the rows are taken.
        window: The most updates looked at, of a short run its last half.

    Raises:
        ValueError: If window < 1.

    Example:
        >>> trace = Trace(np.resize([0.1, -0.1], 200), np.full(200, 2.0))
        >>> for finding in anatomy([{"update": 200, "temperature": 1.0}], trace)[:2]:
        ...     print(finding.name, "=", finding.text)
        energy gap = 0 ± 0.1
        gradient size = 2
    """
    seen = look(rows, trace, window)
    d, swing = seen.gap, seen.swing
    if not len(d):
        return []
    over = f"of the last {swing.updates} values"
    sides = f"{over}; negative ones steepen the energy, positive ones flatten it"
    turns = (
        f"autocorrelation of the gap {swing.acf1:.2f} ± {swing.error:.2f} at lag 1, partial "
        f"{swing.pacf[2]:.2f} at lag 2; strong below -0.1, usual where chains do not converge"
    )
    follows = "correlation; negative where a negative gap steepens the energy at once"
    found = [
        ("energy gap", f"{d.mean():.3g} ± {_rms(d):.3g}", f"mean ± root mean square {over}"),
        ("gradient size", f"{median(seen.gradient):.3g}", f"along the chains, median {over}"),
        ("positive gaps", f"{(d > 0).mean():.0%}", sides),
        ("oscillation", swing.kind, turns),
        ("gap and next change of gradient", f"{swing.follows:.2f}", follows),
    ]
    if not math.isnan(seen.drift):
        way, goal = f"{seen.drift * seen.now:.3g}", ""
        if not math.isnan(seen.distance):
            way += f" of {seen.distance:.3g}"
            goal = f", of that from noise to data; {TOO_SHORT:g} to 1 of it is usual"
        found.append(("travel", way, f"the way that drift carries a walker{goal}"))
    if "temperature" in seen.last:
        found.append(_temperature(seen.last["temperature"]))
    return [Finding(*parts) for parts in found]


def _temperature(value: float) -> Finding:
    meaning = "long chains sample exp(-U / temperature)"
    if value == 0:
        meaning = "no noise: walkers go down the energy and sample no density"
    elif not 0.5 <= value <= 2:
        meaning += ", which is not exp(-U)"
    return Finding("temperature", f"{value:.3g}", meaning)


def _not_finite(rows: Sequence[Row], trace: Trace, window: int) -> tuple[str, int] | None:
    """What is not finite, and since when; a series that was never logged is all NaN."""
    columns, last, every = series(rows, trace)
    for name, values in zip(("energy gap", "gradient size"), columns, strict=True):
        bad = ~np.isfinite(values[-window:])
        if bad.any() and not np.isnan(values[-window:]).all():
            update = last - every * (len(bad) - 1 - int(bad.argmax()))
            return f"the {name} is not finite at update {update}", update
    names = ("loss", "energy_gap", "energy_data", "energy_walkers", "parameter_norm")
    for row in rows[-window:]:
        for name in names:
            if not math.isfinite(row.get(name, 0.0)):
                return f"{name} is {row[name]} at update {row['update']}", int(row["update"])
    return None


def _exploded(seen: Seen) -> str:
    gap = f"d {median(seen.gap[-max(5, PRESENT // seen.every) :]):.3g}"
    now, travel, distance = seen.now, seen.drift * seen.now, seen.distance
    if not math.isnan(distance):
        way = distance + seen.noise
        times = f"{travel / way:.3g} times the distance {distance:.3g}"
        rest = f" and the path {seen.noise:.3g} of its noise" if seen.noise else ""
        too_far = travel > TOO_FAR * way
        return f"travel {travel:.3g} is {times}{rest} (limit {TOO_FAR:g}), {gap}" if too_far else ""
    usual = median(seen.gradient)
    if not math.isnan(seen.drift) and "displacement" in seen.first:
        usual = max(usual, seen.first["displacement"] / seen.drift)
    if seen.long_enough(LEAST) and now > EXPLOSION * usual:
        return (
            f"gradient size {now:.3g} is {now / usual:.3g} times the usual {usual:.3g} "
            f"(limit {EXPLOSION:g}), {gap}"
        )
    share = seen.last.get("out_of_range", math.nan)
    if share > OUTSIDE and now > EXPLOSION * seen.initial:
        return (
            f"{share:.0%} of the coordinates of walkers are out of the range of the data (limit "
            f"{OUTSIDE:.0%}), and gradient size {now:.3g} is {now / seen.initial:.3g} times the "
            f"first (limit {EXPLOSION:g}), {gap}"
        )
    return ""


def _stalled(seen: Seen) -> str:
    quarters = np.array_split(seen.gradient, 4)
    before, travel = (seen.drift * median(quarter) for quarter in quarters[2:])
    short = travel < TOO_SHORT * seen.distance
    if not (short and travel < STILL_GROWING * before and seen.swing.positive < ONE_SIDED):
        return ""
    share = f"{travel / seen.distance:.2f} of the distance {seen.distance:.3g}"
    return (
        f"travel {travel:.3g} is {share} (limit {TOO_SHORT:g}), {before:.3g} before, and d "
        f"{seen.gap.mean():.3g}, positive at {seen.swing.positive:.0%} of updates"
    )


def _collapsed(seen: Seen) -> str:
    middle, later, now = seen.gaps
    if not (seen.long_enough(LONG // 2) and seen.swing.positive < ONE_SIDED):
        return ""
    travel = seen.drift * seen.slopes
    arrived = seen.gaps < ARRIVED * travel * seen.slopes
    if not math.isnan(seen.distance):
        arrived = travel >= TOO_SHORT * seen.distance
    if not (arrived.all() and middle < later < now and now > COLLAPSE * max(middle, seen.before)):
        return ""
    return (
        f"d {-now:.3g}, positive at {seen.swing.positive:.0%} of updates, is {now / middle:.3g} "
        f"times that of the middle of the run (limit {COLLAPSE:g}), though walkers arrive"
    )


def _oscillating(seen: Seen) -> str:
    swing, size = seen.swing, _rms(seen.gap)
    if swing.kind != "strong" or seen.every > 1:
        return ""
    what = f"d changes its side (autocorrelation {swing.acf1:.2f} at lag 1)"
    before, now = (_rms(half) for half in np.array_split(seen.gap, 2))
    if now > SWINGS_GROW * before:
        return f"{what} with swings of {now:.3g} after {before:.3g} (limit {SWINGS_GROW:g} times)"
    taken = seen.drift * median(seen.gradient) ** 2
    if swing.acf1 < CYCLE and size > SWINGS * taken and not math.isnan(seen.distance):
        return (
            f"{what} with swings of {size:.3g}, {size / taken:.0%} of the energy {taken:.3g} that "
            f"drift takes from a walker (limit {SWINGS:.0%})"
        )
    return ""


def _described(seen: Seen) -> str:
    """What a healthy run looks like, in a sentence."""
    if not len(seen.gap):
        known = "nll" in seen.last  # log Z is known, and no walkers are drawn
        return "the likelihood itself is learnt" if known else "nothing was logged yet"
    swing = {"none": "no oscillation, d stays on one side", "weak": "weak oscillation"}.get(
        seen.swing.kind, "strong oscillation, usual for learning that does not converge"
    )
    travel, share = seen.drift * seen.now, seen.drift * seen.now / seen.distance
    way = "" if math.isnan(travel) else f"travel {travel:.3g}; "
    if not math.isnan(share):
        way = f"travel {travel:.3g}, {share:.2f} of the distance {seen.distance:.3g}; "
    return (
        f"d {seen.gap.mean():.3g} ± {_rms(seen.gap):.3g}, positive {(seen.gap > 0).mean():.0%}; "
        f"{way}{swing} (autocorrelation {seen.swing.acf1:.2f} at lag 1)"
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
