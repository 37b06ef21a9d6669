"""One number of an evaluation: its interval, its floor, or the reason why there is none."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

__all__ = ["EvaluationSection", "Measure", "from_json", "to_json", "unavailable"]


class Measure(NamedTuple):
    """A number with its interval and protocol.

    Attributes:
        name: The name.
        value: The number; nan where there is none.
        low: The lower end of its 95 % interval; nan where there is none.
        high: The upper end.
        unit: The unit.
        better: The better direction; "" where there is none.
        floor: The same number of as many rows of training data.
        protocol: How many rows, against which reference.
        refusal: Why there is no number; "" where there is one.

    Example:
        >>> Measure("recall", 0.914, 0.902, 0.926, better="higher", floor=0.95).text
        '0.914 ± 0.012'
        >>> Measure("memorisation", 0.81, 0.7, 1.0).text
        '0.81 (0.70 to 1.00)'
        >>> unavailable("R-hat", "the chains are constant").text
        'refused'
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    better: Literal["lower", "higher", ""] = ""
    floor: float = math.nan
    protocol: str = ""
    refusal: str = ""

    @property
    def text(self) -> str:
        """The number as text, with as many digits as its interval allows."""
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
        """The floor and the protocol of the number; or the refusal."""
        if self.refusal:
            return self.refusal
        parts = [f"training data have {self.floor:.3g}"] if math.isfinite(self.floor) else []
        return "; ".join([*parts, self.protocol] if self.protocol else parts)

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


class EvaluationSection(NamedTuple):
    """The numbers of one section of an evaluation.

    Attributes:
        measures: The numbers.
        details: Numbers, lists and text for the figures of a report.
        label: The verdict; "" where the section has none.
        reason: The reason for the verdict.
    """

    measures: list[Measure]
    details: dict[str, Any]
    label: str = ""
    reason: str = ""


def unavailable(name: str, reason: str) -> Measure:
    """Returns a measure without a number, with the reason.

    Arguments:
        name: Its name.
        reason: Why there is no number.
    """
    return Measure(name, math.nan, refusal=reason)


def to_json(value: Any) -> Any:  # noqa: ANN401
    """Returns a value with null for numbers that are not finite, which JSON cannot hold.

    Arguments:
        value: Numbers, text, measures, lists and dictionaries.
    """
    if isinstance(value, Measure):
        return to_json(value._asdict())
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(tree: dict[str, Any]) -> EvaluationSection:
    """Returns a section as `to_json` wrote it, with nan where a measure has null.

    Arguments:
        tree: The content of the file.
    """

    def measure(fields: dict[str, Any]) -> Measure:
        known: dict[str, Any] = {k: math.nan if v is None else v for k, v in fields.items()}
        return Measure(**known)

    measures = [measure(fields) for fields in tree["measures"]]
    return EvaluationSection(measures, *(tree[k] for k in EvaluationSection._fields[1:]))
