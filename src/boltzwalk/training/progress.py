"""The progress line of a run; imported before PyTorch, so it imports little."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings.settings import Settings
    from .execute import Progress

__all__ = ["brief", "duration", "shown"]

SECONDS = 10
"""Between two lines where there is no terminal."""

MEASURED_S = 2.0
"""How long updates are measured before their cost is estimated."""

LONG_S = 30.0
"""The time left from which the estimate is worth a line."""

MEANINGS = {
    "energy_gap": "d: mean energy of data minus that of samples, near 0 where they agree",
    "gradient_mean": "v: mean size of the gradient of the energy along the chains",
    "travel": "travel: how far the drift moves a chain, / the distance from its start to the data",
}
"""The numbers of the progress line, explained once."""


def shown(
    updates: Iterator[Progress], settings: Settings, title: str, quiet: bool
) -> Iterator[Progress]:
    """Passes updates on and shows them: as a bar on a terminal, else as a line now and then.

    The time that is left is measured on the updates themselves and told once, early.

    Arguments:
        updates: The updates of a run, as they are made.
        settings: The settings of the run.
        title: What to call it.
        quiet: Whether to show nothing.
    """
    if quiet:
        yield from updates
        return
    pace = _Pace(settings.updates)
    if not sys.stderr.isatty():
        spoke = time.monotonic()
        for done in updates:
            for line in pace.notes(done):
                _say(line)
            due = time.monotonic() - spoke > SECONDS or done.update == settings.updates
            if done.row and due:
                spoke = time.monotonic()
                _say(
                    f"{title} {done.update}/{settings.updates}  {brief(done.row)}{pace.left(done)}"
                )
            yield done
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description} {task.completed}/{task.total}", markup=False),
        BarColumn(20),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[numbers]}", markup=False),
    )
    with Progress(*columns, console=Console(file=_Terminal())) as bar:  # type: ignore[arg-type]
        task = bar.add_task(title, total=settings.updates, numbers="")
        for done in updates:
            for line in pace.notes(done):
                bar.console.print(line, markup=False, highlight=False)
            bar.update(task, completed=done.update)
            if done.row:
                bar.update(task, numbers=brief(done.row))
            yield done


class _Terminal:
    """The stream of errors; writing to a terminal that is gone must not end the run."""

    def __init__(self) -> None:
        self.stream = sys.stderr  # as it is now: rich puts its own in its place
        self.encoding = sys.stderr.encoding

    def write(self, text: str) -> int:
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


class _Pace:
    """The rate of updates, without the first one, which also builds its parts."""

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.first: tuple[int, float] | None = None
        self.is_told = self.is_explained = False

    def notes(self, done: Progress) -> Iterator[str]:
        """The lines to print after an update: the estimate and the meanings, each once."""
        seconds = self._seconds(done.update)
        if not self.is_told and seconds > MEASURED_S:
            self.is_told = True
            left = self._seconds_left(done.update, seconds)
            if left > LONG_S:
                yield (
                    f"about {duration(left)} on this machine for {self.updates - done.update:,} "
                    f"updates, measured on {done.update - self._begin():,}"
                )
        if not self.is_explained and done.row:
            self.is_explained = True
            yield from (text for name, text in MEANINGS.items() if name in done.row)

    def left(self, done: Progress) -> str:
        """The rate and the time that is left, as the end of a line."""
        seconds = self._seconds(done.update)
        if seconds <= 0:
            return ""
        rate = (done.update - self._begin()) / seconds
        left = duration(self._seconds_left(done.update, seconds))
        end = f", {left} left" if done.update < self.updates else ""
        return f"  {rate:.3g} updates/s{end}"

    def _begin(self) -> int:
        return 0 if self.first is None else self.first[0]

    def _seconds(self, update: int) -> float:
        """The seconds since the first update was done; 0 then."""
        if self.first is None:
            self.first = (update, time.monotonic())
            return 0.0
        return time.monotonic() - self.first[1]

    def _seconds_left(self, update: int, seconds: float) -> float:
        return seconds / max(1, update - self._begin()) * (self.updates - update)


def duration(seconds: float) -> str:
    """Returns a time in words, with two digits.

    Arguments:
        seconds: The time.

    Example:
        >>> duration(40), duration(720), duration(12000)
        ('40 seconds', '12 minutes', '3.3 hours')
    """
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.2g} hours"


def _say(line: str) -> None:
    """Prints a line for people; a terminal that is gone must not end the run."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


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
