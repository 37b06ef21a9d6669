"""Whether an autoencoder that is taught uses its latent variables.

A direction whose code has no variance carries nothing: every row has the prior there. Where none is
left the autoencoder has collapsed; it proposes one picture, and its codes say nothing of a row.

Not guaranteed: that a latent variable in use means anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from .verdict import Finding

__all__ = ["latent_use"]


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
