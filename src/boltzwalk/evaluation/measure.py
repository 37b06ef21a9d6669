"""One number of an evaluation: with its interval, what perfect samples would have, or why not."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

__all__ = ["Measure", "Part", "from_json", "refused", "to_json"]


class Measure(NamedTuple):
    """A number, as exact as it is known, and how it came about.

    Example:
        >>> Measure("recall", 0.914, 0.902, 0.926, better="higher", floor=0.95).text
        '0.914 ± 0.012'
        >>> Measure("memorisation", 0.81, 0.7, 1.0).text
        '0.81 (0.70 to 1.00)'
        >>> refused("R-hat", "the chains are constant").text
        'refused'
    """

    name: str
    value: float
    low: float = math.nan  # of its 95 % interval; nan where there is none
    high: float = math.nan
    unit: str = ""
    better: Literal["lower", "higher", ""] = ""
    floor: float = math.nan  # the same of as many rows of training data
    protocol: str = ""  # of how many, against what
    refusal: str = ""  # why there is no number

    @property
    def text(self) -> str:
        """The number in words, with as many digits as its interval allows."""
        if self.refusal:
            return "refused"
        if not 0 < self.high - self.low < math.inf:  # exact, or unknown
            return f"{self.value:.4g}{self._unit}"
        down, up = self.value - self.low, self.high - self.value
        half = max(down, up)
        digits = max(0, 1 - math.floor(math.log10(half)))
        if abs(up - down) <= 0.1 * half:
            return f"{self.value:.{digits}f} ± {half:.{digits}f}{self._unit}"
        ends = f"{self.low:.{digits}f} to {self.high:.{digits}f}"
        return f"{self.value:.{digits}f} ({ends}){self._unit}"

    @property
    def meaning(self) -> str:
        """What the number is to be held against, and how it was computed; or the refusal."""
        if self.refusal:
            return self.refusal
        parts = [f"training data have {self.floor:.3g}"] if math.isfinite(self.floor) else []
        return "; ".join([*parts, self.protocol] if self.protocol else parts)

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


class Part(NamedTuple):
    """What one part of an evaluation found."""

    measures: list[Measure]
    details: dict[str, Any]  # what a report draws: numbers, lists and words
    label: str = ""  # the verdict, where the part comes to one
    reason: str = ""


def refused(name: str, reason: str) -> Measure:
    """Returns a measure that has no number, and why."""
    return Measure(name, math.nan, refusal=reason)


def to_json(value: Any) -> Any:  # noqa: ANN401
    """Returns the same with null for what is not finite, which JSON has no word for."""
    if isinstance(value, Measure):
        return to_json(value._asdict())
    if isinstance(value, dict):
        return {key: to_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(tree: dict[str, Any]) -> Part:
    """Returns a part as `to_json` wrote it, with nan where a measure has null."""

    def whole(one: dict[str, Any]) -> Measure:
        known: dict[str, Any] = {k: math.nan if v is None else v for k, v in one.items()}
        return Measure(**known)

    return Part([whole(one) for one in tree["measures"]], *(tree[k] for k in Part._fields[1:]))
