r"""Rules on evidence: acceptance, scale and energies of walkers, samples against the data.

The energy gap and the gradient norm of a log are compared with their window, which a broken run has
blown up as well. These rules compare with the data instead: with their scale, with the energies of
rows that were not trained on, and with samples (:mod:`boltzwalk.training.evidence`). A log without
these numbers passes them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .window import Row

__all__ = [
    "WRONG_DISTANCE",
    "explosion",
    "few_distinct_rows",
    "frozen",
    "latest",
    "overfitting",
    "point_collapse",
    "wrong_samples",
]

RECENT = 5
"""Rows of the log whose median is the present value."""

LOOK_BACK = 200
"""Rows in which the newest evidence is looked for."""

FAR = 10.0
"""Distance of walkers or samples from the mean of the data, over that of the data."""

SHARP = 300.0
"""Energy gap over the temperature, in nats, where walkers sample at a temperature of 0.5 or more:
2 and less in healthy runs in the plane and on small tables, 10 on 8x8 digits."""

WARM = 0.5
"""Temperature from which energies over it are those of a density."""

SAME = 1e15
"""Distance of walkers over that of the data of a batch whose rows are all the same."""

FROZEN = 0.05
"""Share of accepted proposals."""

POINT = 0.01
"""Variance of samples over that of the data, of samples that are one point."""

DISTINCT = 0.02
"""Share of training rows that are distinct, of data that are copies."""

WRONG_DISTANCE = 0.16
"""Root of the energy coefficient of samples and data: 0.13 and less in healthy runs."""

WRONG_SCALE = (0.72, 1.27)
"""Scale of samples over that of the data: 0.88 to 1.19 in healthy runs."""

FEW_DECIDE = 0.1
"""Relative standard error of the scale from which a few rows decide it: 0.05 for normal rows."""

OVERFITTED = 0.6
"""Probability, by the lower end of its interval, that a validation row has a higher energy than a
training row; 0.5 where nothing tells them apart."""


def latest(rows: Sequence[Row], name: str) -> float:
    """Returns the newest value of a name that a log has; nan without one.

    Arguments:
        rows: The rows of the log.
        name: The name.
    """
    recent = rows[-LOOK_BACK:]
    return next((row[name] for row in reversed(recent) if name in row), math.nan)


def _present(rows: Sequence[Row], name: str) -> float:
    """The median of a name in the last rows; nan without one."""
    values = sorted(row[name] for row in rows[-RECENT:] if name in row)
    return values[len(values) // 2] if values else math.nan


def _granted(rows: Sequence[Row]) -> float:
    """Twice the relative error of the scale of samples, where a few rows far away decide it."""
    error = latest(rows, "sample_scale_error")
    return 2 * error if error > FEW_DECIDE else 0.0


def explosion(rows: Sequence[Row]) -> str:
    """Returns how far walkers or energies are from the scale of the data; "" where they are near.

    Arguments:
        rows: The rows of the log.
    """
    walkers = _present(rows, "walker_scale")
    first = rows[0].get("walker_scale", math.nan) if rows else math.nan
    if FAR < walkers < SAME and not walkers < 2 * first:
        return (
            f"walkers are {walkers:.3g} times as far from the mean of the data as the data "
            f"(limit {FAR:g})"
        )
    samples = latest(rows, "sample_scale")
    if samples * (1 - _granted(rows)) > FAR:
        return (
            f"samples are {samples:.3g} times as far from the mean of the data as the data "
            f"(limit {FAR:g})"
        )
    temperature = _present(rows, "temperature")
    gap = abs(_present(rows, "energy_gap")) / temperature if temperature >= WARM else math.nan
    if gap > SHARP:
        accepted = _present(rows, "acceptance")
        moving = f", and {accepted:.1%} of the proposals are accepted" if accepted < FROZEN else ""
        return (
            f"energies of data and walkers differ by {gap:.3g} times the temperature (limit "
            f"{SHARP:g}){moving}"
        )
    return ""


def frozen(rows: Sequence[Row]) -> str:
    """Returns the share of accepted proposals where walkers hardly move; "" where they move.

    Arguments:
        rows: The rows of the log.
    """
    accepted = _present(rows, "acceptance")
    if not accepted < FROZEN:
        return ""
    return (
        f"{accepted:.1%} of the proposals are accepted (limit {FROZEN:.0%}): walkers hardly move, "
        "and the energy learns from walkers that are not its samples"
    )


def point_collapse(rows: Sequence[Row]) -> str:
    """Returns the variety of samples where they are one point; "" where they differ.

    Where a few rows far away make nearly all of the variance of the data, the distance decides.

    Arguments:
        rows: The rows of the log.
    """
    variety = latest(rows, "sample_variety")
    decided_by_few = _granted(rows) > 0 and not latest(rows, "sample_distance") > WRONG_DISTANCE
    if not variety < POINT or decided_by_few:
        return ""
    return f"the variance of samples is {variety:.2g} of that of the data (limit {POINT:g})"


def few_distinct_rows(rows: Sequence[Row]) -> str:
    """Returns the share of distinct rows where nearly all are copies; "" where they are not.

    Arguments:
        rows: The rows of the log.
    """
    if _present(rows, "walker_scale") > SAME and math.isnan(latest(rows, "sample_distance")):
        return "all rows of a batch are the same: one point has no density"
    share = latest(rows, "data_distinct")
    if not share <= DISTINCT:
        return ""
    return (
        f"{share:.1%} of the training rows are distinct (limit {DISTINCT:.0%}): a few points have "
        "no density"
    )


def wrong_samples(rows: Sequence[Row]) -> str:
    """Returns how far samples are from the data; "" where they are near, or none were drawn.

    Where a few rows far away decide the scale of data or samples, twice its error is granted.

    Arguments:
        rows: The rows of the log.
    """
    distance, scale = latest(rows, "sample_distance"), latest(rows, "sample_scale")
    finite, floor = latest(rows, "samples_finite"), latest(rows, "sample_floor")
    if finite < 1:
        return f"{1 - finite:.0%} of the samples are not finite"
    granted = _granted(rows)
    low, high = WRONG_SCALE[0] * (1 - granted), WRONG_SCALE[1] * (1 + granted)
    if distance > WRONG_DISTANCE:
        return (
            f"the distance of samples to the data is {distance:.2g} (limit {WRONG_DISTANCE:g}; "
            f"two halves of the data have {floor:.2g})"
        )
    if not low <= scale <= high and not math.isnan(scale):
        return f"samples have {scale:.3g} times the scale of the data (limits {low:g} and {high:g})"
    return ""


def overfitting(rows: Sequence[Row]) -> str:
    r"""Returns how training rows differ from validation rows in energy; "" where they do not.

    Where the likelihood itself is learnt, validation rows must not be less likely than under a
    Gaussian of the training rows: low energies of training rows are no fault then.

    The rank of n rows that do not differ has the standard error :math:`1 / \sqrt{12 n}`, which is
    granted twice.

    Arguments:
        rows: The rows of the log.
    """
    if rows and ("nll" in rows[-1] or "nll_validation" in rows[-1]):
        gain = latest(rows, "likelihood_gain")
        half_width = latest(rows, "likelihood_gain_half_width")
        if not gain + half_width < 0:
            return ""
        return (
            f"validation rows are {-gain:.3g} ± {half_width:.2g} nats less likely than under a "
            "Gaussian of the training rows"
        )
    rank, n = latest(rows, "validation_rank"), latest(rows, "validation_rows")
    if not rank - 2 / math.sqrt(12 * max(n, 1)) > OVERFITTED:
        return ""
    excess = latest(rows, "energy_excess")
    return (
        f"validation rows have energies above those of training rows, by {excess:.3g} on average, "
        f"in {rank:.0%} of the pairs of one of each (limit {OVERFITTED:.0%} by its interval)"
    )
