r"""Findings of a log: whether the log-partition c can be trusted, and latent variables in use.

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

import statistics
from collections.abc import Mapping, Sequence
from statistics import median

from .verdict import Finding

__all__ = ["latent_findings", "partition_findings"]


ROWS = 50
"""Rows of the log in a median."""

MAX_DIFFERENCE = 0.5
"""Nats between c and the estimate above which c is not trusted."""

MIN_SHARE = 0.01
"""The share of effective base samples below which neither c nor the estimate is trusted."""


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
    active, name = median(last), "latent variables"
    if active == 0:
        meaning = "every code is the prior, whatever the row. Lower method.gamma"
        return [Finding(name, "none in use: collapsed", meaning)]
    return [Finding(name, f"{active:.0f} in use", "median over the last quarter; 0 is a collapse")]
