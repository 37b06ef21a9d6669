r"""Maps of single columns to almost normal ones, by the sinh-arcsinh distribution.

.. math:: z = \sinh\Big(\delta\, \mathrm{asinh}\frac{x - m}{s} - \epsilon\Big) , \qquad
    \frac{dz}{dx} = \frac{\delta \cosh(\cdot)}{\sqrt{s^2 + (x - m)^2}} ,

with the location :math:`m`, the scale :math:`s`, the weight of the tails :math:`\delta` (heavy
below 1) and the skewness :math:`\epsilon` of each column, by maximum likelihood of a normal z. A
prior holds :math:`\log \delta` and :math:`\epsilon` near 0 where rows are few. The map is smooth,
and its inverse is known.

Not guaranteed: a normal column. Several modes and sharp bounds stay, for the model of z to meet.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["fit_marginals", "from_normal", "to_normal", "to_normal_entries"]

ROWS = 5000
"""The rows that the four numbers of each column are fitted to, at most."""

PRIOR_ROWS, PRIOR_VARIANCE = 10, 0.5
"""The weight of the prior in rows, and its variance."""

LARGEST = 40.0
"""The largest argument of a hyperbolic sine; further out is no row of any table."""


def fit_marginals(x: Float[Tensor, "N D"], iterations: int = 100) -> Float[Tensor, "4 D"]:
    r"""Returns :math:`m, \log s, \log \delta, \epsilon` of each column, float64, shape (4, D).

    Arguments:
        x: The rows, shape (N, D); every column varies.
        iterations: The steps of the optimiser.

    References:
        | Sinh-arcsinh distributions (Jones and Pewsey, 2009)

    Example:
        >>> x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0)).exp()
        >>> z, _ = to_normal(x, fit_marginals(x))
        >>> (x.median() < x.mean() - 0.5).item(), (z.median() - z.mean()).abs().item() < 0.1
        (True, True)
    """
    x = x[:: -(-len(x) // ROWS)].detach().double()
    deviation = x.std(0, correction=0)
    ends = torch.quantile(x, torch.tensor([0.16, 0.84], dtype=x.dtype, device=x.device), dim=0)
    spread = (ends[1] - ends[0]) / 2
    spread = torch.where(spread > 1e-3 * deviation, spread, deviation).clamp_min(1e-12)
    zero = torch.zeros_like(spread)
    first = torch.stack([x.median(0).values, spread.log(), zero, zero])
    change = torch.zeros_like(first, requires_grad=True)
    unit = torch.stack([spread, torch.ones_like(spread), zero + 1, zero + 1])
    optimizer = torch.optim.LBFGS([change], max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        marginals = first + unit * change
        z, slopes = to_normal_entries(x, marginals)
        prior = marginals[2:].square().sum() / (2 * PRIOR_VARIANCE) * PRIOR_ROWS
        value = ((z.square() / 2 - slopes).sum() + prior) / len(x)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    fitted = first + unit * change.detach()
    return torch.where(fitted.isfinite().all(0), fitted, first)


def to_normal(
    x: Float[Tensor, "N D"], marginals: Float[Tensor, "4 D"]
) -> tuple[Float[Tensor, "N D"], Float[Tensor, " N"]]:
    r"""Returns z, shape (N, D), and :math:`\log |\partial z / \partial x|`, shape (N,).

    Arguments:
        x: The rows, shape (N, D).
        marginals: The numbers of each column, shape (4, D).
    """
    z, slopes = to_normal_entries(x, marginals.to(x))
    return z, slopes.sum(1)


def from_normal(z: Float[Tensor, "N D"], marginals: Float[Tensor, "4 D"]) -> Float[Tensor, "N D"]:
    """Returns the rows x of rows z: the inverse of `to_normal`.

    Arguments:
        z: The rows, shape (N, D).
        marginals: The numbers of each column, shape (4, D).
    """
    location, log_scale, log_tails, skewness = marginals.to(z)
    inner = (torch.asinh(z) + skewness) * torch.exp(-log_tails)
    x: Tensor = location + log_scale.exp() * torch.sinh(inner.clamp(-LARGEST, LARGEST))
    return x


def to_normal_entries(
    x: Float[Tensor, "N D"], marginals: Float[Tensor, "4 D"]
) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N D"]]:
    """Returns z and the logarithm of the slope of each entry, each of shape (N, D).

    Arguments:
        x: The rows, shape (N, D).
        marginals: The numbers of each column, shape (4, D).
    """
    location, log_scale, log_tails, skewness = marginals
    y = (x - location) * torch.exp(-log_scale)
    inner = (log_tails.exp() * torch.asinh(y) - skewness).clamp(-LARGEST, LARGEST)
    slope = torch.log(torch.cosh(inner)) + log_tails - log_scale - torch.log1p(y.square()) / 2
    return torch.sinh(inner), slope
