r"""Quality of completions, where the truth is known.

.. math:: \text{masked error} = \frac{1}{H} \sum_{j \text{ hidden}} (x_j - x^*_j)^2 ,
    \qquad \text{PSNR} = 10 \log_{10} \frac{R^2}{\mathrm{MSE}} ,

.. math:: \text{SSIM} = \text{mean} \;
    \frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
         {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}

over Gaussian windows, with :math:`c_1 = (0.01 R)^2`, :math:`c_2 = (0.03 R)^2` and the range
:math:`R` of a pixel. All are in model units and of one row; PSNR and SSIM are of full images, whose
visible pixels are exact.

Not guaranteed: that the completion with the smallest error is the most likely one. The mean of all
possible completions has the smallest error, and may resemble none of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..model import Model
from .conditional import free_part
from .inputs import Inputs
from .variants import Completed, encoder_completion

__all__ = ["CompletionScores", "diversity", "judge", "masked_error", "psnr", "ssim"]

WINDOW, DEVIATION = 11, 1.5
"""The window of SSIM in pixels, and the deviation of its Gaussian."""


class CompletionScores(NamedTuple):
    """The scores of one kind of completion, one for each row, shape (N,).

    Attributes:
        name: The kind.
        error: The masked error; nan for a row without hidden entries.
        psnr: In decibels; None for a table.
        ssim: At most 1; None for a table.
    """

    name: str
    error: Float[Tensor, " N"]
    psnr: Float[Tensor, " N"] | None
    ssim: Float[Tensor, " N"] | None


def judge(model: Model, inputs: Inputs, completed: Completed) -> list[CompletionScores]:
    """Returns the scores of completions, of mean filling, and of the VAE of the model.

    "a completion" is the mean of the scores over the completions of a row; "mean of n" are the
    scores of their mean; "best of n" those of the completion with the smallest error, a choice that
    needs the truth. "a proposal" is the output of networks that receive the observed pixels, before
    any walker moves.

    Arguments:
        model: The model.
        inputs: The rows, of which the truth is known.
        completed: Their completions.

    Raises:
        ValueError: If the truth is not known.
    """
    if inputs.truth is None:
        raise ValueError("the truth must be known to judge completions; give --truth FILE")
    n = completed.x.shape[1]
    each = [_judged(model, inputs, completed.x[:, i], "") for i in range(n)]
    rows = [_over(each, "a completion", None)]
    if n > 1:
        rows.append(_judged(model, inputs, completed.x.mean(1), f"mean of {n}"))
        best = torch.stack([one.error for one in each]).nan_to_num(0.0).argmin(0)
        rows.append(_over(each, f"best of {n}", best))
    rows.append(_judged(model, inputs, inputs.x, "training mean"))
    if completed.proposed is not None:
        each = [_judged(model, inputs, completed.proposed[:, i], "") for i in range(n)]
        rows.append(_over(each, "a proposal", None))
        if n > 1:
            rows.append(
                _judged(model, inputs, completed.proposed.mean(1), f"mean of {n} proposals")
            )
    encoded = encoder_completion(model, inputs)
    if encoded is not None:
        rows.append(_judged(model, inputs, encoded, "the VAE in one shot"))
    return rows


def masked_error(
    x: Float[Tensor, "N *event"],
    truth: Float[Tensor, "N *event"],
    hidden: Bool[Tensor, "N *event"],
    scale: Tensor | None = None,
) -> Float[Tensor, " N"]:
    r"""Returns the mean squared error of hidden entries, shape (N,).

    .. math:: \frac1H |h - h^*|^2

    Arguments:
        x: Completions in model units, shape (N, \*event).
        truth: The full rows.
        hidden: The hidden entries, in the units of the data.
        scale: The map to these units, as of a data set; a matrix mixes entries.

    Example:
        >>> x, truth = torch.tensor([[1.0, 9.0]]), torch.zeros(1, 2)
        >>> masked_error(x, truth, torch.tensor([[True, False]]))
        tensor([1.])
    """
    difference = free_part(x, hidden, scale).coordinates(x - truth)
    return difference.square().sum(1) / hidden.flatten(1).sum(1)


def diversity(
    x: Float[Tensor, "N n *event"], hidden: Bool[Tensor, "N *event"], scale: Tensor | None = None
) -> Float[Tensor, " N"]:
    r"""Returns the diversity of the completions of a row: half of the mean square between two.

    .. math:: \frac{1}{2 H} \, \text{mean over pairs} \; |h - h'|^2 ,

    which is their variance, mean over the hidden entries. For completions that are draws from the
    conditional of the data, the error of one is on average twice this number.

    Arguments:
        x: Completions in model units, shape (N, n, \*event), n at least 2.
        hidden: The hidden entries in the units of the data, shape (N, \*event).
        scale: The map to these units.

    Raises:
        ValueError: If there is one completion only.

    Example:
        >>> diversity(torch.tensor([[[0.0, 1.0], [2.0, 1.0]]]), torch.tensor([[True, False]]))
        tensor([2.])
    """
    n = x.shape[1]
    if n < 2:
        raise ValueError(f"diversity needs two completions or more, got {n}; write --n 4")
    mean = x.mean(1)
    parts = [masked_error(x[:, i], mean, hidden, scale) for i in range(n)]
    return torch.stack(parts).sum(0) / (n - 1)


def psnr(
    x: Float[Tensor, "N *event"], truth: Float[Tensor, "N *event"], span: float
) -> Float[Tensor, " N"]:
    r"""Returns the peak signal-to-noise ratio of each image in decibels, shape (N,).

    .. math:: 10 \log_{10} (R^2 / \mathrm{MSE})

    Arguments:
        x: Images, shape (N, \*event).
        truth: The true images.
        span: The range :math:`R` of a pixel.

    Example:
        >>> psnr(torch.full((1, 1, 2, 2), 0.1), torch.zeros(1, 1, 2, 2), span=1.0)
        tensor([20.])
    """
    return 10 * torch.log10(span**2 / (x - truth).flatten(1).square().mean(1))


def ssim(
    x: Float[Tensor, "N C height width"], truth: Float[Tensor, "N C height width"], span: float
) -> Float[Tensor, " N"]:
    """Returns the structural similarity of each image, shape (N,), 1 for equal images.

    There is a window around every pixel, 11 pixels wide with a Gaussian of deviation 1.5; beyond
    its edges an image is reflected. For images of fewer than 11 pixels a side both shrink by the
    same factor, to the largest odd width within the image: such a number cannot be compared with
    that of larger images.

    Arguments:
        x: Images, shape (N, channels, height, width).
        truth: The true images.
        span: The range of a pixel.

    References:
        | Image quality assessment: from error visibility to structural similarity
        | (Wang, Bovik, Sheikh and Simoncelli, 2004)

    Example:
        >>> x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> ssim(x, x, span=1.0)
        tensor([1., 1.])
    """
    side = min(x.shape[-2:])
    width = min(WINDOW, (side - 1) // 2 * 2 + 1)
    offsets = torch.arange(width, dtype=x.dtype, device=x.device) - (width - 1) / 2
    line = torch.exp(-((offsets / (DEVIATION * width / WINDOW)) ** 2) / 2)
    line = line / line.sum()
    channels = x.shape[1]
    window = (line[:, None] * line).expand(channels, 1, width, width)

    edge = [width // 2] * 4

    def blurred(z: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(z, edge, mode="reflect"), window, groups=channels)

    a, b = blurred(x), blurred(truth)
    spread = blurred(x * x) + blurred(truth * truth) - a * a - b * b
    common = blurred(x * truth) - a * b
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    similar = (2 * a * b + c1) * (2 * common + c2) / ((a * a + b * b + c1) * (spread + c2))
    return similar.flatten(1).mean(1)


def _judged(model: Model, inputs: Inputs, x: Tensor, name: str) -> CompletionScores:
    """The numbers of one completion of each row."""
    assert inputs.truth is not None
    data = model.data
    error = masked_error(x, inputs.truth, inputs.hidden, data.scale)
    if x.ndim != 4:
        return CompletionScores(name, error, None, None)
    low, high = -1.0 if data.low is None else data.low, 1.0 if data.high is None else data.high
    span = high - low
    return CompletionScores(name, error, psnr(x, inputs.truth, span), ssim(x, inputs.truth, span))


def _over(each: list[CompletionScores], name: str, chosen: Tensor | None) -> CompletionScores:
    """The numbers of several completions: their mean, or those of the chosen one of each row."""

    def over(columns: list[Tensor | None]) -> Tensor | None:
        known = [column for column in columns if column is not None]
        if not known:
            return None
        values = torch.stack(known)
        return values.mean(0) if chosen is None else values.gather(0, chosen[None])[0]

    error = over([one.error for one in each])
    assert error is not None
    return CompletionScores(
        name, error, over([one.psnr for one in each]), over([one.ssim for one in each])
    )


def standard_error(values: Tensor) -> float:
    """Returns the standard error of a mean; nan for one value.

    Arguments:
        values: The values, shape (N,).

    Example:
        >>> round(standard_error(torch.tensor([1.0, 3.0])), 3)
        1.0
    """
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
