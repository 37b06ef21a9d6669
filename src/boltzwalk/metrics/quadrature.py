r"""Densities of energies in the plane, normalised by quadrature.

.. math:: \log Z = \log \int e^{-U(x) / T} \, dx
    \approx \log \sum_i e^{-U(x_i) / T} + \log h^2

over a square grid of spacing h: exact to many digits for a smooth density that is zero at the edge
of the square. Not guaranteed: that there is no mass outside of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..energy import Energy

__all__ = ["Divergences", "divergences_in_the_plane", "log_z_in_the_plane"]


class Divergences(NamedTuple):
    """Divergences of a density from the true density."""

    kl: float  # KL(q || p) from the true density q to the density p, in nats
    total_variation: float  # from 0 to 1


@torch.no_grad()
def log_z_in_the_plane(
    energy: Energy, like: Tensor, temperature: float = 1.0, points: int = 400
) -> float:
    """Returns log Z of exp(-U / T) over a square three times as wide as the data.

    Arguments:
        energy: The energy of points in the plane.
        like: Data, shape (N, 2), which say where the square lies.
        temperature: The temperature T.
        points: The points of the grid along each side.

    Example:
        >>> energy = lambda x: x.square().sum(-1) / 2
        >>> x = torch.tensor([[-3.0, -3.0], [3.0, 3.0]])
        >>> round(log_z_in_the_plane(energy, x), 4), round(math.log(2 * math.pi), 4)
        (1.8379, 1.8379)
    """
    u, cell = _on_a_grid(energy, like, points)
    return float(torch.logsumexp(-u / temperature, 0)) + math.log(cell)


@torch.no_grad()
def divergences_in_the_plane(
    energy: Energy,
    log_density: Callable[[Tensor], Tensor],
    like: Tensor,
    temperature: float = 1.0,
    points: int = 400,
) -> Divergences:
    r"""Returns the divergences of exp(-U / T) / Z from a known density q.

    .. math:: \mathrm{KL}(q \,\|\, p) = \int q \log \frac qp , \qquad
        \mathrm{TV} = \frac12 \int |q - p| ,

    both normalised over the same grid.

    Arguments:
        energy: The energy U of points in the plane.
        log_density: The logarithm of q at points, shape (N, 2), whatever its normalisation.
        like: Data, shape (N, 2), which say where the square lies.
        temperature: The temperature T.
        points: The points of the grid along each side.

    Example:
        >>> energy = lambda x: (x - 1).square().sum(-1) / 2
        >>> log_density = lambda x: -x.square().sum(-1) / 2
        >>> x = torch.tensor([[-4.0, -4.0], [4.0, 4.0]])
        >>> round(divergences_in_the_plane(energy, log_density, x).kl, 4)  # half of 1 + 1
        1.0
    """
    u, _ = _on_a_grid(energy, like, points)
    minus_log_q, _ = _on_a_grid(lambda x: -log_density(x.double()), like, points)
    log_p, log_q = (torch.log_softmax(-v, 0) for v in (u / temperature, minus_log_q))
    q = log_q.exp()
    kl = torch.where(q > 0, q * (log_q - log_p), 0.0).sum()
    return Divergences(float(kl), float((q - log_p.exp()).abs().sum()) / 2)


def _on_a_grid(energy: Energy, like: Tensor, points: int) -> tuple[Tensor, float]:
    """The energies of the points of a square grid, and the area of a cell."""
    low, high = like.amin(0), like.amax(0)
    centre, half = (low + high) / 2, 1.5 * float((high - low).max())
    side = torch.linspace(-half, half, points, dtype=like.dtype, device=like.device)
    grid = torch.cartesian_prod(side, side) + centre
    u = torch.cat([energy(part).cpu() for part in grid.split(20_000)]).double()
    return u, (2 * half / (points - 1)) ** 2
