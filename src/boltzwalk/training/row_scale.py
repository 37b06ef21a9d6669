r"""The scale of the training rows, and batches that are not on it.

A batch cannot be learnt from where a value is not finite, a row is far from all training rows, its
rows are one point or are all nearer to the mean than training rows are, its mean is elsewhere, or
it equals the batches before it.

Not guaranteed: that a batch on the scale of the data is one of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Batches", "RowScale", "row_scale"]

ROWS = 4096
"""Rows from which the scale of the data is measured."""

FAR = 3.0
"""Distance of a row of a batch from the mean of the data, over the largest of a training row."""

NEAR = 0.3
"""Median distance of the rows of a batch from the mean, over the first percentile of rows."""

FLAT = 1e-3
"""Width of a batch over the median distance of rows below which its rows are one point."""

SHIFT = 8.0
"""Standard errors of the mean of a batch, where rows far away are drawn in."""

SAME = 5
"""Batches in a row that equal each other."""

DISTINCT = 0.5
"""Share of distinct training rows from which equal batches are no chance."""

FEWEST = 8
"""Rows of a batch below which its spread says nothing."""


class RowScale(NamedTuple):
    """Scale of the training rows by the distances from their mean.

    Attributes:
        mean: The mean row, flat.
        low: The first percentile of the distances.
        largest: The largest distance.
        middle: The median distance.
        high: The 99th percentile of the distances.
        centre: The mean of the rows, those beyond the 99th percentile drawn in to it, flat.
        spread: The root mean square distance of these from their mean.
        distinct: The share of distinct rows.
    """

    mean: Tensor
    low: float
    largest: float
    middle: float
    high: float
    centre: Tensor
    spread: float
    distinct: float


@torch.no_grad()
def row_scale(rows: Tensor) -> RowScale:
    r"""Returns the scale of training rows.

    Arguments:
        rows: The rows, shape (N, \*event).

    Example:
        >>> row_scale(torch.tensor([[-1.0], [1.0]])).largest
        1.0
    """
    flat = rows.flatten(1)
    mean = flat.mean(0)
    radii = torch.cat([(part - mean).norm(dim=1) for part in flat.split(ROWS)]).double()
    ordered, some = radii.sort().values, flat[:: -(-len(flat) // ROWS)]
    low, high = (float(ordered[int(share * (len(radii) - 1))]) for share in (0.01, 0.99))
    near = _drawn_in(some, mean, high)
    return RowScale(
        mean=mean,
        low=low,
        largest=float(radii.max()),
        middle=float(radii.median()),
        high=high,
        centre=near.mean(0),
        spread=float((near - near.mean(0)).square().sum(1).mean().sqrt()),
        distinct=len(some.unique(dim=0)) / len(some),
    )


def _drawn_in(flat: Tensor, mean: Tensor, radius: float) -> Tensor:
    """Rows, those farther from the mean than a radius moved to it, so that few decide no mean."""
    offset = flat - mean
    share: Tensor = (radius / offset.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp(max=1)
    return mean + offset * share


@dataclass
class Batches:
    """The rule on batches, which remembers the last one.

    Attributes:
        scale: The scale of the training rows.
        rows: The number of training rows; where a batch has all of them, batches may be equal.
        equal: How many batches in a row were equal.
        last: The last batch.
    """

    scale: RowScale
    rows: int = 0
    equal: int = 0
    last: Tensor | None = None

    def problem(self, x: Tensor) -> str:
        r"""Returns why a batch cannot be learnt from; "" where it can.

        Arguments:
            x: The rows of the batch, shape (B, \*event).
        """
        if not bool(x.isfinite().all()):
            return "it has values that are not finite"
        flat, scale = x.flatten(1), self.scale
        radii = (flat - scale.mean).norm(dim=1)
        middle, far = float(radii.median()), float(radii.max())
        if far > FAR * scale.largest:
            return (
                f"a row is {far:.3g} from the mean of the data, training rows at most "
                f"{scale.largest:.3g} (limit {FAR:g} times)"
            )
        if len(x) < FEWEST:
            return ""
        if middle < NEAR * scale.low:
            return (
                f"its rows are {middle:.3g} from the mean of the data, 99 % of the training rows "
                f"more than {scale.low:.3g} (limit {NEAR:g} times)"
            )
        return self._width_problem(flat) or self._shift(flat) or self._repetition(x)

    def _width_problem(self, flat: Tensor) -> str:
        """Whether all rows of a batch are one point, where those of the data are not."""
        spread, usual = float((flat - flat[:1]).norm(dim=1).max()), self.scale.middle
        if self.scale.distinct < DISTINCT or spread > FLAT * usual:
            return ""
        return f"its rows are one point, {spread:.2g} wide where the data are {usual:.3g}"

    def _shift(self, flat: Tensor) -> str:
        """Whether the mean of a batch is too far from that of the data for rows of the data."""
        scale = self.scale
        shift = float((_drawn_in(flat, scale.mean, scale.high).mean(0) - scale.centre).norm())
        usual = scale.spread / math.sqrt(len(flat))
        if shift <= SHIFT * usual:
            return ""
        return (
            f"its mean is {shift:.3g} from that of the data, {shift / usual:.3g} standard errors "
            f"(limit {SHIFT:g})"
        )

    def _repetition(self, x: Tensor) -> str:
        """Whether a batch is the same as several before it."""
        last, self.last = self.last, x
        if self.scale.distinct < DISTINCT or len(x) >= self.rows > 0:
            return ""
        same = last is not None and last.shape == x.shape and torch.equal(last, x)
        self.equal = self.equal + 1 if same else 0
        return f"it equals the {SAME} before it" if self.equal >= SAME else ""
