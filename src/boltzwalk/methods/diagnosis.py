"""What walkers say about themselves at an update, for all methods."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..kernels import ChainInfo, Kernel

__all__ = ["of_the_chain", "out_of_range"]


def of_the_chain(
    kernel: Kernel,
    steps: int,
    data: Float[Tensor, "B *event"],
    x: Float[Tensor, "N *event"],
    chain: ChainInfo,
) -> dict[str, Tensor]:
    r"""Returns what a chain says about itself, from values that are there already.

    The travel :math:`K \varepsilon v`, with the mean gradient size :math:`v`, is how far the
    drift alone carries a walker; where the steps of a kernel do not grow with the gradient,
    there is none. The noise path :math:`K \sqrt{2 \varepsilon T D}`, in D dimensions, is that of
    the noise alone, step by step: at rest under it, walkers drift as far or less where
    :math:`\varepsilon` times the stiffness is below 1.

    Arguments:
        kernel: How the walkers moved.
        steps: The number of steps K.
        data: A batch of data, shape (B, \*event).
        x: Where the walkers are, shape (N, \*event).
        chain: What was measured on the way.
    """
    found = {
        "gradient_first": chain.gradient_first,
        "gradient_mean": chain.gradient_mean,
        "gradient_last": chain.gradient_last,
        "displacement": chain.displacement,
        "acceptance": chain.acceptance,
        "temperature": torch.as_tensor(kernel.temperature),
    }
    if not math.isnan(kernel.drift):
        found["travel"] = steps * kernel.drift * chain.gradient_mean
        width = math.sqrt(2 * kernel.drift * kernel.temperature * x[0].numel())
        found["noise_path"] = torch.as_tensor(steps * width)
    return found | {"out_of_range": out_of_range(data, x)}


def out_of_range(
    data: Float[Tensor, "B *event"], x: Float[Tensor, "N *event"]
) -> Float[Tensor, ""]:
    r"""Returns the share of coordinates a twentieth of the range of the data beyond them.

    The range is that of each column of a table, and of all the pixels of images.

    Arguments:
        data: A batch of data, shape (B, \*event).
        x: Walkers, shape (N, \*event).

    Example:
        >>> import torch
        >>> out_of_range(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [1.04], [9.0], [-1.0]]))
        tensor(0.5000)
    """
    columns, walkers = (data, x) if data.ndim == 2 else (data.reshape(-1, 1), x.reshape(-1, 1))
    low, high = columns.amin(0), columns.amax(0)
    margin = (high - low) / 20
    outside = (walkers < low - margin) | (walkers > high + margin)
    return outside.to(data.dtype).mean()
