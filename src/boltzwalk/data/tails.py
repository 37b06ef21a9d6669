r"""Heavy tails and outliers of a column: linear near its median, a logarithm far from it.

One value of 1e6 among values of N(0, 1) makes a standard deviation that squashes all others to a
point. Where the standard deviation of a column exceeds three times that of its quartiles,
:math:`s = (q_{75} - q_{25}) / 1.349`, values beyond :math:`k = 5 s` from the median c are mapped by

.. math:: v = c \pm \big(k + s \log(1 + (|y - c| - k) / s)\big) ,

which has slope 1 at the knee, so that a density stays continuous. Where more than half of the
values are equal, s is the median distance of the others from the median. Log-densities of the two
units differ by the logarithm of the slope, :math:`\log |dy / dv| = (|v - c| - k)_+ / s`.

Not guaranteed: a second cluster that far from the first is compressed like a tail.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .whitening import moments

__all__ = ["HeavyTails", "compress", "expand", "fit_tails", "log_slope", "tails_note"]

HeavyTails: TypeAlias = Literal["compress", "scale", "keep"]
"""Where a column needs it: the logarithm of values far from the median; centre and scale of the
quartiles alone; or nothing, mean and standard deviation."""

HEAVY = 3.0
"""The ratio of the two deviations beyond which a column has heavy tails."""

KNEE = 5.0
"""The distance from the median, in deviations of the quartiles, at which the logarithm begins."""

STEEPEST = 700.0
"""The largest exponent, below the overflow of float64."""


def fit_tails(train: Float[Tensor, "N D"]) -> Float[Tensor, "3 D"] | None:
    """Returns centre, knee and length of the columns with heavy tails; None where there are none.

    A column whose length is 0 is linear everywhere.

    Arguments:
        train: The training rows in original units, float64, shape (N, D).

    Example:
        >>> x = torch.arange(-50.0, 51.0).double()[:, None]
        >>> x[0] = -1e9
        >>> fit_tails(x).flatten().round(decimals=1).tolist()
        [0.0, 185.3, 37.1]
    """
    values = train.cpu().numpy()
    low, centre, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
    length = (high - low) / 1.349
    for column in np.flatnonzero(length == 0):
        distance = np.abs(values[:, column] - centre[column])
        others = distance[distance > 0]
        length[column] = np.median(others) if len(others) else 0.0
    sd = moments(train)[1].cpu().numpy()
    heavy = (length > 0) & (sd > HEAVY * length) & np.isfinite(KNEE * length)
    if not heavy.any():
        return None
    tails = np.stack([centre, KNEE * length, length])
    return torch.from_numpy(np.where(heavy, tails, 0.0)).to(train)


def compress(y: Float[Tensor, "N D"], tails: Float[Tensor, "3 D"]) -> Float[Tensor, "N D"]:
    """Returns rows in original units with their tails compressed, in float64, shape (N, D).

    Arguments:
        y: The rows, shape (N, D).
        tails: Centre, knee and length of each column.
    """
    y, centre, knee, length = _parts(y, tails)
    excess = ((y - centre).abs() - knee).clamp(min=0) / length
    far = centre + (y - centre).sign() * (knee + length * excess.log1p())
    return torch.where(excess > 0, far, y)


def expand(v: Float[Tensor, "N D"], tails: Float[Tensor, "3 D"]) -> Float[Tensor, "N D"]:
    """Returns rows in original units from rows with compressed tails: the inverse of `compress`.

    Arguments:
        v: The rows, shape (N, D).
        tails: Centre, knee and length of each column.
    """
    v, centre, knee, length = _parts(v, tails)
    excess = (((v - centre).abs() - knee).clamp(min=0) / length).clamp(max=STEEPEST)
    far = centre + (v - centre).sign() * (knee + length * excess.expm1())
    return torch.where(excess > 0, far, v)


def log_slope(v: Float[Tensor, "N D"], tails: Float[Tensor, "3 D"]) -> Float[Tensor, " N"]:
    r"""Returns :math:`\log |\partial y / \partial v|` of rows with compressed tails, shape (N,).

    Arguments:
        v: The rows, shape (N, D).
        tails: Centre, knee and length of each column.
    """
    v, centre, knee, length = _parts(v, tails)
    return (((v - centre).abs() - knee).clamp(min=0) / length).sum(1)


def tails_note(
    train: Float[Tensor, "N D"],
    tails: Float[Tensor, "3 D"],
    columns: tuple[str, ...],
    scaled: bool = False,
) -> str:
    """Returns a sentence that names the columns with heavy tails, and how many values they have.

    Arguments:
        train: The training rows in original units, shape (N, D).
        tails: Centre, knee and length of each column.
        columns: The names of the columns.
        scaled: Whether they have centre and scale of the quartiles alone.
    """
    y, centre, knee, _ = _parts(train, tails)
    beyond = ((y - centre).abs() > knee).sum(0).tolist()
    heavy = (tails[2] > 0).nonzero().flatten().tolist()
    texts = [f"{columns[j]} ({beyond[j]:,} of {len(y):,} training rows)" for j in heavy[:5]]
    more = f" and {len(heavy) - 5} more columns" if len(heavy) > 5 else ""
    treated = f"values beyond {KNEE:g} deviations of the quartiles from the median "
    treated += "enter by their logarithm"
    if scaled:
        treated = "their unit is the deviation of the quartiles, from the median"
    return (
        f"heavy tails or outliers in {', '.join(texts)}{more}: {treated}; data.tails=keep takes "
        "them as they are"
    )


def _parts(rows: Tensor, tails: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, centres, knees and lengths in float64 on the device of the rows."""
    rows = rows.double()
    centre, knee, length = tails.to(rows)
    linear = length == 0
    return rows, centre, knee.masked_fill(linear, torch.inf), length.masked_fill(linear, 1.0)
