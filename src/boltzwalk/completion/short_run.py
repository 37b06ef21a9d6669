r"""A short chain as a generator: noise goes in, an image comes out.

.. math:: x = M_\theta(z): \qquad x_0 = z , \quad
    x_{k+1} = x_k - \varepsilon \nabla U(x_k) + \sqrt{2 \varepsilon T} \, \xi_k

With the noise :math:`\xi` of every step held fixed this is a map of z, and a deep one: K steps are
K layers that share their parameters. So z is the code of an image, found by descent of

.. math:: L(z) = | x - M_\theta(z) |^2

through all steps. There is no encoder, hence this is slow: one step of the descent costs about
three times the chain, and keeps all of it in memory.

Not guaranteed: that an image has a code; the descent finds a minimum near where it starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..energies.energy import Energy
from ..kernels import ULA, Descent, Kernel

__all__ = ["ShortRun", "infer_noise"]


@dataclass(frozen=True)
class ShortRun:
    r"""The map :math:`M_\theta`, differentiable in z.

    Arguments:
        energy: The energy :math:`U`, twice differentiable.
        kernel: The step: ULA, or Descent without momentum.
        steps: The number of steps K.
        seed: The seed of the noise of the steps, the same at every call.

    Raises:
        ValueError: If the kernel is another.

    References:
        | Learning non-convergent non-persistent short-run MCMC (Nijkamp et al., 2019)
        | https://arxiv.org/abs/1904.09770

    Example:
        >>> halve = ShortRun(lambda x: x.square().sum(-1) / 2, Descent(0.5), steps=2)
        >>> halve(torch.ones(1, 1))
        tensor([[0.2500]])
    """

    energy: Energy
    kernel: Kernel
    steps: int
    seed: int = 0

    def __post_init__(self) -> None:
        plain = isinstance(self.kernel, Descent) and self.kernel.momentum == 0
        if not plain and not isinstance(self.kernel, ULA):
            raise ValueError(
                "the kernel of a chain that is a generator must be ULA, or Descent without "
                f"momentum, which are smooth maps, got {self.kernel}; train with one of these"
            )

    def __call__(self, z: Float[Tensor, "N *event"]) -> Float[Tensor, "N *event"]:
        r"""Returns where the chains from z end, with its graph if z needs a gradient.

        Arguments:
            z: Where they start, shape (N, \*event).
        """
        kernel, graph = self.kernel, z.requires_grad
        assert isinstance(kernel, (ULA, Descent))
        rng = torch.Generator(z.device).manual_seed(self.seed)
        x = z
        for _ in range(self.steps):
            with torch.enable_grad():
                at = x if graph else x.detach().requires_grad_()
                (grad,) = torch.autograd.grad(self.energy(at).sum(), at, create_graph=graph)
            if isinstance(kernel, ULA) and kernel.gradient_clip is not None:
                grad = grad.clamp(-kernel.gradient_clip, kernel.gradient_clip)
            x = x - kernel.step_size * grad
            if isinstance(kernel, ULA):
                noise = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
                x = x + (2 * kernel.step_size * kernel.temperature) ** 0.5 * noise
                x = x if kernel.box is None else x.clamp(*kernel.box)
        return x


def infer_noise(
    chain: ShortRun,
    x: Float[Tensor, "N *event"],
    start: Float[Tensor, "N *event"],
    updates: int = 200,
    rate: float = 0.05,
) -> tuple[Float[Tensor, "N *event"], Float[Tensor, " N"]]:
    r"""Returns the codes of rows, shape (N, \*event), and their losses :math:`L(z)`, shape (N,).

    Adam on all rows at once, which do not see each other; each row keeps its best.

    Arguments:
        chain: The map :math:`M_\theta`.
        x: The rows, shape (N, \*event).
        start: Where the descent starts, shape (N, \*event).
        updates: The number of its steps.
        rate: Its rate.

    Raises:
        FloatingPointError: If the loss is not finite at the start.

    Example:
        >>> halve = ShortRun(lambda x: x.square().sum(-1) / 2, Descent(0.5), steps=2)
        >>> z, loss = infer_noise(halve, torch.ones(1, 1), torch.zeros(1, 1), rate=0.5)
        >>> z.round(decimals=1)
        tensor([[4.]])
    """
    z = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=rate)
    best, lowest = start.detach().clone(), torch.full((len(x),), torch.inf).to(x)
    for update in range(updates + 1):
        loss = (chain(z) - x).flatten(1).square().sum(1)
        if update == 0 and not bool(loss.isfinite().all()):
            raise FloatingPointError(
                "the chain must end at finite places to be inverted, and does not from where the "
                "descent starts; take fewer --steps"
            )
        better = loss.detach() < lowest
        best[better], lowest[better] = z.detach()[better], loss.detach()[better]
        if update < updates:
            (z.grad,) = torch.autograd.grad(loss.sum(), z)
            optimizer.step()
    return best, lowest
