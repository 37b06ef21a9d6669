"""The progress line of a run; imported before PyTorch, so it imports little."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings.settings import Settings
    from .execute import Progress

__all__ = ["brief", "shown"]

SECONDS = 10
"""Between two lines where there is no terminal."""


def shown(
    updates: Iterator[Progress], settings: Settings, title: str, quiet: bool
) -> Iterator[Progress]:
    """Passes updates on and shows them: as a bar on a terminal, else as a line now and then.

    Arguments:
        updates: The updates of a run, as they are made.
        settings: The settings of the run.
        title: What to call it.
        quiet: Whether to show nothing.
    """
    if quiet:
        yield from updates
        return
    if not sys.stderr.isatty():
        spoke = time.monotonic()
        for done in updates:
            due = time.monotonic() - spoke > SECONDS or done.update == settings.updates
            if done.row and due:
                spoke = time.monotonic()
                line = f"{title} {done.update}/{settings.updates}  {brief(done.row)}"
                print(line, file=sys.stderr, flush=True)
            yield done
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description} {task.completed}/{task.total}"),
        BarColumn(20),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[numbers]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=settings.updates, numbers="")
        for done in updates:
            bar.update(task, completed=done.update)
            if done.row:
                bar.update(task, numbers=brief(done.row))
            yield done


def brief(row: dict[str, float]) -> str:
    """The numbers that matter: gap d, gradient v, travel, codes in use, weights, likelihoods.

    Arguments:
        row: A row of the log.

    Example:
        >>> brief({"energy_gap": 0.5, "gradient_mean": 7.0, "acceptance": 1.0, "ess": 0.83})
        'd +0.5  v 7  ess 83%'
        >>> brief({"nll": 12.34, "nll_validation": 12.9})
        'nll 12.34  validation nll 12.9'
    """
    formats = {"energy_gap": "d {:+.3g}", "gradient_mean": "v {:.3g}", "nll": "nll {:.4g}"}
    parts = [text.format(row[name]) for name, text in formats.items() if name in row]
    if "kale" in row:
        parts.append(f"kale {row['kale']:.3g}")
    if "log_partition" in row:
        parts.append(f"c off {row['log_partition'] - row['log_partition_estimate']:+.2g}")
    if "travel" in row:
        way = f"/{row['distance']:.3g}" if "distance" in row else ""
        parts.append(f"travel {row['travel']:.3g}{way}")
    if row.get("acceptance", 1) < 1:
        parts.append(f"accepted {row['acceptance']:.0%}")
    if "active" in row:
        parts.append(f"active {row['active']:.0f}")
    if "ess" in row:
        parts.append(f"ess {row['ess']:.0%}")
    if "witness_cross_entropy" in row:
        half_width = row["witness_cross_entropy_half_width"]
        known = math.isfinite(half_width)
        value = f"{row['witness_cross_entropy']:.4g} ± {half_width:.2g}" if known else "refused"
        parts.append(f"witness {value}")
    elif "cross_entropy" in row:
        parts.append(f"cross-entropy {row['cross_entropy']:.4g}")
    if "nll_validation" in row:
        parts.append(f"validation nll {row['nll_validation']:.4g}")
    return "  ".join(parts)
