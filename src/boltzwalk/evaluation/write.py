"""An evaluation as lines to read and as a file to compute with."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from ..train.checkpoint import write_atomically
from .likelihood import Likelihood

__all__ = ["lines", "write_evaluation"]


def lines(found: Likelihood) -> list[str]:
    """Returns what a user reads: numbers with their intervals and protocol, or the reason why not.

    Arguments:
        found: The likelihood of a run.
    """
    log_z = found.log_z
    name = f"{found.split} -log p"
    if log_z.refusal:
        return [f"{name:<20} refused               {log_z.refusal}"]
    what = f"a row, in the units of the data; mean of {found.rows:,} rows, 95 % interval"
    shown = [(name, f"{found.nll:.3f} ± {found.half_width:.3f} nats", what)]
    if len(log_z.replicates) == 0:
        protocol = "exact: the energy knows it"
    else:
        protocol = f"{len(log_z.replicates)} replicates, {log_z.stages} stages, "
        protocol += f"{log_z.evaluations:,} evaluations"
        if log_z.reverse is not None:
            protocol += f"; back: {log_z.reverse.estimate:.3f} ± {log_z.reverse.half_width:.3f}"
    if found.dequantised:
        what = f"{found.dimensions} dimensions, dequantised uniformly"
        shown.append(
            ("bits per dimension", f"{found.bits:.3f} ± {found.bits_half_width:.3f}", what)
        )
    at = "" if found.temperature == 1 else f" of exp(-U / {found.temperature:g})"
    shown.append((f"log Z{at}", str(log_z), protocol))
    return [f"{name:<20} {text:<21} {meaning}" for name, text, meaning in shown]


def write_evaluation(found: Likelihood, path: Path, protocol: dict[str, int]) -> None:
    """Writes all numbers of an evaluation to a JSON file; those that are refused are null.

    Arguments:
        found: The likelihood of a run.
        path: The file.
        protocol: What was evaluated and how: the update, the seed, the effort.
    """
    bits = found.bits if found.dequantised else None
    tree = {**dataclasses.asdict(found), "bits_per_dimension": bits, "protocol": protocol}
    write_atomically(path, (json.dumps(_finite(tree), indent=1) + "\n").encode())


def _finite(value: Any) -> Any:  # noqa: ANN401
    """The same with null for what is not finite, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
