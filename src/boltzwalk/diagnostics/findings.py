r"""Findings of a log: gap, gradient and travel, the log-partition c, and latent variables in use.

A learnt log-partition c of a generalized model is trusted by two numbers: its difference from the
estimate :math:`\hat A` of a batch, and the share of effective base samples, the effective sample
size of :math:`e^{-E}` over their number. If the base does not cover the data, c can end 5.6 nats
too low, and a likelihood computed from it looks better than that of the true density by as much.

A latent variable whose code has no variance is not in use: its posterior is the prior for every
row. If none is in use the autoencoder has collapsed: it proposes one image, and codes do not depend
on the row.

Not guaranteed: that a latent variable in use has a meaning.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..training.folder import Trace
from .oscillation import WINDOW
from .window import Row, median, summarise_window

__all__ = ["Finding", "latent_findings", "partition_findings", "training_findings"]


ROWS = 50
"""Rows of the log in a median."""

MAX_DIFFERENCE = 0.5
"""Nats between c and the estimate above which c is not trusted."""

MIN_SHARE = 0.01
"""The share of effective base samples below which neither c nor the estimate is trusted."""


class Finding(NamedTuple):
    """A number with its name and its meaning."""

    name: str
    text: str
    meaning: str


def training_findings(rows: Sequence[Row], trace: Trace, window: int = WINDOW) -> list[Finding]:
    """Returns the numbers that explain a verdict, for people to read.

    Arguments:
        rows: The rows of log.jsonl.
        trace: The energy gap and the gradient norm of every update, each of shape (T,); if empty
            the values of the rows are used.
        window: The maximum number of updates; of a short run the last half is used.

    Raises:
        ValueError: If window < 1.

    Example:
        >>> trace = Trace(np.resize([0.1, -0.1], 200), np.full(200, 2.0))
        >>> for finding in training_findings([{"update": 200, "temperature": 1.0}], trace)[:2]:
        ...     print(finding.name, "=", finding.text)
        energy gap = 0 ± 0.1
        gradient norm = 2
    """
    log = summarise_window(rows, trace, window)
    d, swing = log.gap, log.swing
    if not len(d):
        return []
    over = f"of the last {swing.updates} values"
    signs = f"{over}; negative ones steepen the energy, positive ones flatten it"
    correlations = (
        f"autocorrelation of the gap {swing.acf1:.2f} ± {swing.error:.2f} at lag 1, partial "
        f"{swing.pacf[2]:.2f} at lag 2; strong below -0.1, usual where chains do not converge"
    )
    follows = "correlation; negative where a negative gap steepens the energy at once"
    findings = [
        ("energy gap", f"{d.mean():.3g} ± {_rms(d):.3g}", f"mean ± root mean square {over}"),
        ("gradient norm", f"{median(log.gradient):.3g}", f"along the chains, median {over}"),
        ("positive gaps", f"{(d > 0).mean():.0%}", signs),
        ("oscillation", swing.kind, correlations),
        ("gap and next change of gradient", f"{swing.follows:.2f}", follows),
    ]
    if not math.isnan(log.drift):
        travel, goal = f"{log.drift * log.now:.3g}", ""
        if not math.isnan(log.distance):
            travel += f" of {log.distance:.3g}"
            goal = ", of the distance from noise to data; 0.6 to 1 of it is usual"
        findings.append(("travel", travel, f"the path of a walker by drift alone{goal}"))
    if "temperature" in log.last:
        findings.append(_temperature(log.last["temperature"]))
    return [Finding(*parts) for parts in findings]


def _temperature(value: float) -> Finding:
    meaning = "long chains sample exp(-U / temperature)"
    if value == 0:
        meaning = "no noise: walkers descend the energy and sample no density"
    elif not 0.5 <= value <= 2:
        meaning += ", which is not exp(-U)"
    return Finding("temperature", f"{value:.3g}", meaning)


def partition_findings(rows: Sequence[Mapping[str, float]]) -> list[Finding]:
    """Returns the log-partition c of the log, with a warning if it cannot be trusted.

    Arguments:
        rows: The rows of log.jsonl; without c there is no finding.

    Example:
        >>> row = {"log_partition": -7.5, "log_partition_estimate": -1.8, "ess": 0.002, "kale": 9.0}
        >>> partition_findings([row])[0].text
        'c -7.5, off -5.7'
    """
    recent = [row for row in rows if "log_partition" in row][-ROWS:]
    if not recent:
        return []
    difference = statistics.median(
        row["log_partition"] - row["log_partition_estimate"] for row in recent
    )
    share = statistics.median(row["ess"] for row in recent)
    kale = statistics.median(row["kale"] for row in recent)
    meaning = f"KALE {kale:.3g} nats; {share:.0%} of the base samples are effective"
    if share < MIN_SHARE:
        meaning = (
            f"not to be trusted: {share:.1%} of the base samples are effective (limit "
            f"{MIN_SHARE:.0%}), base and data lie too far apart; raise method.gradient_penalty or "
            "lower learning_rate"
        )
    elif not abs(difference) < MAX_DIFFERENCE:
        meaning = (
            f"not to be trusted: c is off the estimate of a batch by more than {MAX_DIFFERENCE:g}; "
            "raise method.log_partition_rate or method.noise_factor"
        )
    text = f"c {recent[-1]['log_partition']:.3g}, off {difference:+.2g}"
    return [Finding("log-partition", text, meaning)]


def latent_findings(rows: Sequence[Mapping[str, float]]) -> list[Finding]:
    """Returns the number of latent variables in use; none if the log has none.

    Arguments:
        rows: The rows of log.jsonl; the last quarter is used, since at first no variable is in
            use.

    Example:
        >>> latent_findings([{"update": 10, "active": 0.0}] * 8)[0].text
        'none in use: collapsed'
        >>> latent_findings([{"update": 10}])
        []
    """
    last = [row["active"] for row in rows[-max(1, len(rows) // 4) :] if "active" in row]
    if not last:
        return []
    active, name = statistics.median(last), "latent variables"
    if active == 0:
        meaning = "every code is the prior, whatever the row. Lower method.gamma"
        return [Finding(name, "none in use: collapsed", meaning)]
    return [Finding(name, f"{active:.0f} in use", "median over the last quarter; 0 is a collapse")]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
