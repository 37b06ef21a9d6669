"""A network, a method, a kernel and data of a user, for Python and for the command line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import boltzwalk as bw


class MyNet(nn.Module):
    """An energy: rows x, shape (N, 2), to U(x), shape (N,)."""

    def __init__(self, width: int = 64, confinement: float = 8.0) -> None:
        super().__init__()
        self.confinement = confinement
        self.layers = nn.Sequential(
            nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(-1) + x.square().sum(-1) / (2 * self.confinement)


@dataclass(frozen=True)
class ScoreMatching:
    """Denoising score matching (Vincent, 2011): no walker moves in training.

    At x + sigma n the gradient of the energy should be n / sigma. Samples come from the kernel.
    """

    sigma: float = 0.3
    kernel: bw.kernels.TrainingKernel = bw.kernels.MALA(step_size=0.05)  # noqa: RUF009
    steps: int = 200

    def step(
        self, energy: nn.Module, data: bw.methods.Batch, state: None, rng: torch.Generator
    ) -> tuple[Tensor, None, dict[str, Tensor]]:
        noise = torch.randn(data.x.shape, generator=rng)
        x = (data.x + self.sigma * noise).requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        loss = (self.sigma * gradient - noise).square().flatten(1).sum(1).mean()
        return loss, None, {"score_error": loss.detach()}


@dataclass(frozen=True)
class RandomWalk:
    """Random-walk Metropolis: a kernel that needs no gradient."""

    scale: float = 0.3
    temperature: float = 1.0

    gradients = 1  # walkers_at computes the gradient of the new position as well
    drift = float("nan")
    invariant = True
    weighable = True

    def step(self, energy, walkers, rng):  # noqa: ANN001, ANN201
        from boltzwalk.kernel import accept
        from boltzwalk.walkers import walkers_at

        noise = torch.randn(walkers.x.shape, generator=rng)
        proposal = walkers_at(energy, walkers.x + self.scale * noise, walkers.log_w)
        log_ratio = (walkers.energy - proposal.energy) / self.temperature
        return accept(walkers, proposal, log_ratio, rng)


def two_bananas(n: int = 2000, bend: float = 0.5, seed: int = 0) -> np.ndarray:
    """Rows in memory, shape (n, 2): a data source is any function that returns them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    side = rng.choice([-1.0, 1.0], size=n)
    return np.stack([x, side * (1.5 - bend * x**2 / 2) + 0.2 * rng.normal(size=n)], 1)
