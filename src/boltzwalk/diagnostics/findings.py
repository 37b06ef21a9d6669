r"""Whether the learnt log-partition of a generalized model can be believed, by what was logged.

Two things say so: the difference of c from the estimate :math:`\hat A` of a batch, and the share of
the base samples that count, the effective sample size of :math:`e^{-E}` over their number. On data
that the base did not cover, a published c ended 5.6 nats too low, and a likelihood computed from it
would have been better than the truth by as much.

Whether an autoencoder that is taught uses its latent variables.

A direction whose code has no variance carries nothing: every row has the prior there. Where none is
left the autoencoder has collapsed; it proposes one picture, and its codes say nothing of a row.

Not guaranteed: that a latent variable in use means anything.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from statistics import median

from .verdict import Finding

__all__ = ["latent_use", "partition_finding"]


ROWS = 50
"""Rows of the log whose medians are taken."""

OFF = 0.5
"""Nats between c and the estimate from which c is not believed."""

FEW = 0.01
"""The share of base samples in effect below which neither is."""


def partition_finding(rows: Sequence[Mapping[str, float]]) -> list[Finding]:
    """Returns what the log says of c, with a warning where there is cause; none without a c.

    Arguments:
        rows: The rows of log.jsonl.

    Example:
        >>> row = {"log_partition": -7.5, "log_partition_estimate": -1.8, "ess": 0.002, "kale": 9.0}
        >>> partition_finding([row])[0].text
        'c -7.5, off -5.7'
    """
    seen = [row for row in rows if "log_partition" in row][-ROWS:]
    if not seen:
        return []
    off = statistics.median(row["log_partition"] - row["log_partition_estimate"] for row in seen)
    share = statistics.median(row["ess"] for row in seen)
    kale = statistics.median(row["kale"] for row in seen)
    meaning = f"KALE {kale:.3g} nats; {share:.0%} of the base samples count"
    if share < FEW:
        meaning = (
            f"not to be believed: {share:.1%} of the base samples count (limit {FEW:.0%}), base "
            "and data lie too far apart; raise method.gradient_penalty or lower learning_rate"
        )
    elif not abs(off) < OFF:
        meaning = (
            f"not to be believed: c is off the estimate of a batch by more than {OFF:g}; raise "
            "method.log_partition_rate or method.noise_factor"
        )
    text = f"c {seen[-1]['log_partition']:.3g}, off {off:+.2g}"
    return [Finding("log-partition", text, meaning)]


def latent_use(rows: Sequence[Mapping[str, float]]) -> list[Finding]:
    """Returns how many latent variables are in use, as a finding; none where none are logged.

    Arguments:
        rows: The rows of log.jsonl, of which the last quarter is looked at: at first no variable is
            in use.

    Example:
        >>> latent_use([{"update": 10, "active": 0.0}] * 8)[0].text
        'none in use: collapsed'
        >>> latent_use([{"update": 10}])
        []
    """
    last = [row["active"] for row in rows[-max(1, len(rows) // 4) :] if "active" in row]
    if not last:
        return []
    active, name = median(last), "latent variables"
    if active == 0:
        cure = "every code is the prior, whatever the row. Lower method.gamma"
        return [Finding(name, "none in use: collapsed", cure)]
    return [Finding(name, f"{active:.0f} in use", "median over the last quarter; 0 is a collapse")]
