r"""Verdict on a training run, by rules on its log.

With the mean gradient norm v along chains of K steps :math:`\varepsilon`, drift alone carries a
walker by the travel :math:`K \varepsilon v`. For walkers that start from noise the distance from
noise to data is known, and stable learning steepens the energy until the travel is about as long,
whatever K is. So the scale of a run is known:

=============  ==================================================================================
nan            A value is not finite.
exploded       The travel is more than 3 times the distance plus the path of the noise, which drift
               balances at equilibrium. If walkers do not start from noise: v is 100 times its
               median in the window, and the travel 100 times the first displacement of a walker;
               or v is 100 times its first value, and walkers are out of the range of the data. Or
               walkers or samples are 10 times as far from the mean of the data as the data; or
               energies of data and walkers differ by 300 temperatures, where walkers sample at
               a temperature of 0.5 or more.
frozen         Less than 5 % of the proposals are accepted.
stalled        The travel is less than 0.6 of the distance and no longer grows, and the energy gap d
               is positive at less than 5 % of updates: walkers do not reach the data.
collapsed      Walkers reach the data, but d is as one-sided, has grown by 1.6 since the middle of
               the run, and was never as large: nothing bounds the energy of the data from below.
               Or samples are one point, or nearly all training rows are copies.
oscillating    d tends to change its sign at every update, with an amplitude that doubles; or it
               nearly always does, with an amplitude of 5 % of the energy that drift takes from a
               walker that starts from noise, :math:`K \varepsilon v^2`.
overfitted     Validation rows have higher energies than training rows in over 60 % of pairs, by the
               lower end of the interval.
samples wrong  Samples at the end of the run do not have the place, scale or shape of the data.
samples good,  Samples and energy disagree on the masses of modes, or in the plane on the density;
density wrong  :mod:`boltzwalk.evaluation.masses` finds it, not this module.
too short to   The window has fewer than 100 updates, or samples are wrong while walkers still come
say            nearer to the data.
healthy        None of these.
unknown        No energy gap is logged, and no likelihood: nothing tells whether training works.
=============  ==================================================================================

The energy of a new network is nearly constant, so d and v grow by orders of magnitude at first,
with d negative. The rules do not report that as an explosion or a collapse, nor do they rely on a
single update. The cost of a verdict does not grow with the run, so that it can be used for early
stopping.

Not guaranteed: that a healthy run has a density, or the masses of its modes: `evaluate` tells. A
log without the numbers of :mod:`boltzwalk.training.evidence`, as version 0.1.0 wrote it, is judged
by gap, gradient and travel alone: its samples may be bad.

| Learning non-convergent non-persistent short-run MCMC (Nijkamp et al., 2019)
| https://arxiv.org/abs/1904.09770
| On the anatomy of MCMC-based maximum likelihood learning of energy-based models
| (Nijkamp, Hill, Han, Zhu, Wu, 2020), https://arxiv.org/abs/1903.12370
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from ..model import Model
from ..training.evidence import with_evidence
from ..training.folder import FAILURE, Trace, read_rows, read_trace
from . import evidence
from .oscillation import ONE_SIDED, WINDOW
from .window import PRESENT, LogWindow, Row, median, summarise_window, trace_or_log

__all__ = ["FAILED", "TOO_SHORT", "Label", "Verdict", "model_verdict", "verdict"]

TOO_SHORT: Final = "too short to say"

Label = Literal[
    "healthy",
    "nan",
    "exploded",
    "frozen",
    "collapsed",
    "stalled",
    "oscillating",
    "overfitted",
    "samples wrong",
    "samples good, density wrong",
    "too short to say",
    "unknown",
]

FAILED = ("nan", "exploded", "collapsed")
"""Labels of a run that gave no model."""

EXPLODED_TRAVEL = 3.0
"""Travel over distance and noise path of an exploded run: healthy runs on 8x8 digits have 0.65 to
1.03, exploding ones pass 3 within 10 to 60 updates, on to 1e3 and more."""

STALLED_TRAVEL = 0.6
"""Travel over distance of a stalled run: 0.46 to 0.50 for 8x8 digits with a Lipschitz bound of 1.
Healthy runs have 0.65 and more, or a gap of both signs: in the plane, with data on all sides of the
noise, 0.29."""

EXPLOSION = 100.0
"""Growth of v: 46 at the start of a healthy run on MNIST, with a travel of 13 noise paths."""

OUTSIDE = 0.9
"""Share of coordinates out of the range of the data: at most 0.3 in healthy runs, else 1.0."""

COLLAPSE = 1.6
"""Growth of the gap over the second half of a run: 1.9 where each update adds the same amount, as
for chains from a single point until they explode. With spectral normalisation it can be 1.65, but
the gap then stays below its earlier maximum."""

ARRIVED = 0.5
"""Gap over the energy that drift takes from a walker, below which walkers reach the data: 15 to 2
at the start of a run on MNIST, 0.1 at its end, 0.5 to 0.06 in a collapse."""

STILL_GROWING = 1.02
"""Growth of the travel from one quarter of the window to the next: 0.98 to 1.01 in stalled runs."""

SWINGS_GROW = 2.0
"""Growth of the root mean square of d from the first to the second half of the window."""

CYCLE = -0.7
"""Autocorrelation at lag 1 of a cycle of two updates with half of the variance or more: -0.76 to
-0.95 with SGD at rates that oscillate, -0.43 and more with Adam at 100 times the usual rate."""

SWINGS = 0.05
"""Root mean square of d over the energy that drift takes from a walker: 0.01 to 0.03 in healthy
runs, 0.07 to 0.17 in cycles, where v changes by up to a third in one update."""

MIN_UPDATES = 100
"""Updates in the window below which a run is too short to say, unless it is nan or exploded."""

MIN_COLLAPSE_UPDATES = 500
"""Updates below which no collapse is reported: the initial growth ends after 130 to 800."""

CURES = {
    "nan": "Go on from an earlier checkpoint with half the learning rate",
    "exploded": "Halve the learning rate, double method.steps, or raise method.data_noise",
    "frozen": "Lower kernel.step_size or the learning rate",
    "collapsed": "Raise method.data_noise: constant parts of data without noise have no density",
    "stalled": "Raise method.steps or the learning rate, or take off spectral normalisation",
    "oscillating": "Lower the learning rate",
    "overfitted": "Take fewer updates, raise method.data_noise, or give it more rows",
    "samples wrong": "Take more updates, raise method.steps, or change kernel.step_size",
    "too short to say": "Take more updates",
}


class Verdict(NamedTuple):
    """The state of a run.

    Attributes:
        label: Its name in the table of this module.
        reason: The observation, the limit, and the setting to change.
        update: The last update, or the first one that is not finite.
    """

    label: Label
    reason: str
    update: int


def verdict(
    rows: Sequence[Row],
    trace: Trace,
    failure: str = "",
    window: int = WINDOW,
    least: int = MIN_UPDATES,
) -> Verdict:
    """Returns the verdict on a run, or on the part of it that is logged.

    Arguments:
        rows: The rows of log.jsonl; keys may be missing.
        trace: The energy gap and the gradient norm of every update, each of shape (T,); if empty
            the values of the rows are used.
        failure: The error message of a run that failed, "" for others.
        window: The maximum number of updates; of a short run the last half is used.
        least: The updates below which the run is too short to say.

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
    log = summarise_window(rows, trace, window)
    exploded = _exploded(log) or evidence.explosion(rows)
    broken = _first_not_finite(rows, trace, window)
    if failure or broken:
        reason, update = broken or (failure.rstrip("."), log.update)
        before = f"; before that, {exploded}" if exploded else ""
        return Verdict("nan", f"{reason}{before}. {CURES['nan']}.", update)
    for label, reason in _broken_rules(rows, log, exploded, least):
        if reason:
            return Verdict(label, f"{reason}. {CURES[label]}.", log.update)
    judged = not math.isnan(evidence.latest(rows, "sample_distance"))
    if not len(log.gap) and "nll" not in log.last and not judged:
        reason = "no energy gap is logged; let the method log energy_gap, and judge the samples"
        return Verdict("unknown", f"{reason}.", log.update)
    return Verdict("healthy", f"{_healthy_summary(log)}.", log.update)


def model_verdict(model: Model, folder: Path) -> Verdict:
    """Returns the verdict on the run of a model, up to the update that is kept.

    Arguments:
        model: The model.
        folder: Its folder, for the log.
    """
    path = folder / FAILURE
    failure = path.read_text(errors="replace") if path.is_file() else ""
    logged, trace = read_rows(folder / "log.jsonl"), read_trace(folder)
    rows = with_evidence(model, logged)
    least = MIN_UPDATES if not logged or model.update == logged[-1]["update"] else 0
    until = Trace(*(values[: model.update] for values in trace))
    result = verdict(rows, until, failure, least=least)
    if least or result.label == "nan":
        return result
    which = f"update {model.update} of {logged[-1]['update']} is kept"
    return result._replace(reason=f"{which}; {result.reason}")


def _broken_rules(
    rows: Sequence[Row], log: LogWindow, exploded: str, least: int
) -> Iterator[tuple[Label, str]]:
    """Every label that a run can have instead of healthy, with the reason for it, "" for none."""
    yield "exploded", exploded
    yield "frozen", evidence.frozen(rows)
    yield "collapsed", evidence.point_collapse(rows) or evidence.few_distinct_rows(rows)
    yield TOO_SHORT, _too_short(rows, log, least)
    if log.long_enough(MIN_UPDATES):
        yield "stalled", _stalled(log)
        yield "collapsed", _collapsed(log)
        yield "oscillating", _oscillating(log)
    yield "overfitted", evidence.overfitting(rows)
    wrong = evidence.wrong_samples(rows)
    if wrong:
        yield (TOO_SHORT if _still_growing(log) else "samples wrong"), wrong


def _first_not_finite(rows: Sequence[Row], trace: Trace, window: int) -> tuple[str, int] | None:
    """The first value that is not finite, and its update; a series without a log is all NaN."""
    columns, last, every = trace_or_log(rows, trace)
    for name, values in zip(("energy gap", "gradient norm"), columns, strict=True):
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


def _exploded(log: LogWindow) -> str:
    gap = f"d {median(log.gap[-max(5, PRESENT // log.every) :]):.3g}"
    now, travel, distance = log.now, log.drift * log.now, log.distance
    if not math.isnan(distance):
        expected = distance + log.noise
        times = f"{travel / expected:.3g} times the distance {distance:.3g}"
        rest = f" and the path {log.noise:.3g} of its noise" if log.noise else ""
        too_far = travel > EXPLODED_TRAVEL * expected
        if not too_far:
            return ""
        return f"travel {travel:.3g} is {times}{rest} (limit {EXPLODED_TRAVEL:g}), {gap}"
    usual = median(log.gradient)
    if not math.isnan(log.drift) and "displacement" in log.first:
        usual = max(usual, log.first["displacement"] / log.drift)
    if log.long_enough(MIN_UPDATES) and now > EXPLOSION * usual:
        return (
            f"gradient norm {now:.3g} is {now / usual:.3g} times the usual {usual:.3g} "
            f"(limit {EXPLOSION:g}), {gap}"
        )
    share = log.last.get("out_of_range", math.nan)
    if share > OUTSIDE and now > EXPLOSION * log.initial:
        return (
            f"{share:.0%} of the coordinates of walkers are out of the range of the data (limit "
            f"{OUTSIDE:.0%}), and gradient norm {now:.3g} is {now / log.initial:.3g} times the "
            f"first (limit {EXPLOSION:g}), {gap}"
        )
    return ""


def _too_short(rows: Sequence[Row], log: LogWindow, least: int) -> str:
    """Why the run is too short for a verdict; "" where it is not."""
    judged = not math.isnan(evidence.latest(rows, "sample_distance"))
    if not log.update:
        return ""
    if log.update < least:
        return f"{log.update} updates are fewer than the {least} that a verdict needs"
    if judged or not len(log.gap) or log.long_enough(MIN_UPDATES):
        return ""
    return (
        f"the last half of {log.update} updates has fewer than the {MIN_UPDATES} that a verdict "
        "needs where no samples are judged"
    )


def _still_growing(log: LogWindow) -> bool:
    """Whether walkers from noise travel farther in the last quarter of the window than before."""
    before, now = (log.drift * median(part) for part in np.array_split(log.gradient, 4)[2:])
    return now > STILL_GROWING * before and now < log.distance


def _stalled(log: LogWindow) -> str:
    quarters = np.array_split(log.gradient, 4)
    before, travel = (log.drift * median(quarter) for quarter in quarters[2:])
    short = travel < STALLED_TRAVEL * log.distance
    if not (short and travel < STILL_GROWING * before and log.swing.positive < ONE_SIDED):
        return ""
    share = f"{travel / log.distance:.2f} of the distance {log.distance:.3g}"
    return (
        f"travel {travel:.3g} is {share} (limit {STALLED_TRAVEL:g}), {before:.3g} before, and d "
        f"{log.gap.mean():.3g}, positive at {log.swing.positive:.0%} of updates"
    )


def _collapsed(log: LogWindow) -> str:
    middle, later, now = log.gaps
    if not (log.long_enough(MIN_COLLAPSE_UPDATES // 2) and log.swing.positive < ONE_SIDED):
        return ""
    travel = log.drift * log.slopes
    arrived = log.gaps < ARRIVED * travel * log.slopes
    if not math.isnan(log.distance):
        arrived = travel >= STALLED_TRAVEL * log.distance
    if not (arrived.all() and middle < later < now and now > COLLAPSE * max(middle, log.before)):
        return ""
    return (
        f"d {-now:.3g}, positive at {log.swing.positive:.0%} of updates, is {now / middle:.3g} "
        f"times that of the middle of the run (limit {COLLAPSE:g}), though walkers arrive"
    )


def _oscillating(log: LogWindow) -> str:
    swing, size = log.swing, _rms(log.gap)
    if swing.kind != "strong" or log.every > 1:
        return ""
    observed = f"d changes its sign (autocorrelation {swing.acf1:.2f} at lag 1)"
    before, now = (_rms(half) for half in np.array_split(log.gap, 2))
    if now > SWINGS_GROW * before:
        return (
            f"{observed} with swings of {now:.3g} after {before:.3g} (limit {SWINGS_GROW:g} times)"
        )
    taken = log.drift * median(log.gradient) ** 2
    if swing.acf1 < CYCLE and size > SWINGS * taken and not math.isnan(log.distance):
        return (
            f"{observed} with swings of {size:.3g}, {size / taken:.0%} of the energy {taken:.3g} "
            f"that drift takes from a walker (limit {SWINGS:.0%})"
        )
    return ""


def _healthy_summary(log: LogWindow) -> str:
    """The numbers of a healthy run, in a sentence."""
    if not len(log.gap):
        return "the likelihood itself is learnt"  # log Z is known, and there are no walkers
    swing = {"none": "no oscillation, d keeps one sign", "weak": "weak oscillation"}.get(
        log.swing.kind, "strong oscillation, usual for learning that does not converge"
    )
    travel, share = log.drift * log.now, log.drift * log.now / log.distance
    motion = "" if math.isnan(travel) else f"travel {travel:.3g}; "
    if not math.isnan(share):
        motion = f"travel {travel:.3g}, {share:.2f} of the distance {log.distance:.3g}; "
    return (
        f"d {log.gap.mean():.3g} ± {_rms(log.gap):.3g}, positive {(log.gap > 0).mean():.0%}; "
        f"{motion}{swing} (autocorrelation {log.swing.acf1:.2f} at lag 1)"
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
