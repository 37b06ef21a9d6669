r"""The density of an energy in the plane, normalised by quadrature.

.. math:: \log Z = \log \int e^{-U(x) / T} \, dx
    \approx \log \sum_i e^{-U(x_i) / T} + \log h^2

over a square grid of spacing h: exact to many digits for a smooth density that is zero at the edge
of the square. Not guaranteed: that there is no mass outside of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..energies.energy import Energy

__all__ = ["log_z_in_the_plane"]


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
    low, high = like.amin(0), like.amax(0)
    middle, half = (low + high) / 2, 1.5 * float((high - low).max())
    side = torch.linspace(-half, half, points, dtype=like.dtype, device=like.device)
    grid = torch.cartesian_prod(side, side) + middle
    u = torch.cat([energy(part).cpu() for part in grid.split(20_000)]).double() / temperature
    return float(torch.logsumexp(-u, 0)) + 2 * math.log(2 * half / (points - 1))
