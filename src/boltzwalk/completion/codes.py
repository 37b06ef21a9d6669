r"""Codes of full rows: reconstruction, and interpolation between two rows.

=====================  =========================================  =================================
a model with           the code z of a row x                      decoded
=====================  =========================================  =================================
an encoder             :math:`\mu(x)`                             :math:`g(z)`
a generator            a draw from its posterior given x          :math:`g(z)`
chains from noise      the noise that ends at x, by descent       :math:`M_\theta(z)`: its chain
=====================  =========================================  =================================

Rows that a network decodes may then be refined under the energy. Two codes are joined by the arc

.. math:: z_t = \frac{\sin((1 - t) \omega)\, z_a + \sin(t \omega)\, z_b}{\sin \omega}

with the angle :math:`\omega` of the codes, which keeps the length that noise has.

A short chain from noise is a generator (`ShortRun`):

.. math:: x = M_\theta(z): \qquad x_0 = z , \quad
    x_{k+1} = x_k - \varepsilon \nabla U(x_k) + \sqrt{2 \varepsilon T} \, \xi_k

With the noise :math:`\xi` of every step held fixed this is a map of z with K layers that share
parameters. The code of an image is found by descent of

.. math:: L(z) = | x - M_\theta(z) |^2

along all steps. One step of the descent costs about three chains, and keeps all of it in memory.

Not guaranteed: that the middle of an arc is likely, nor that an image has a code; the descent finds
a minimum near its start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..base import has_encoder
from ..energy import Energy
from ..kernels import ULA, Descent, Kernel
from ..model import Model
from ..walkers import walkers_at
from .latent import infer_latents

__all__ = [
    "Codes",
    "ShortRun",
    "infer_noise",
    "interpolate",
    "make_codes",
    "reconstruct",
    "refine_rows",
]


LATENT_STEPS = 1000
"""Steps of the chain that infers a code of a generator."""


class Codes(NamedTuple):
    r"""The encoder and the decoder of a model.

    Attributes:
        name: The kind of code, for messages.
        network: Whether a network decodes them, so that its output may be refined.
        encode: The codes of rows, shape (N, d) or (N, \*event), given a source of noise.
        decode: The rows of codes, shape (N, \*event).
    """

    name: str
    network: bool
    encode: Callable[[Tensor, torch.Generator], Tensor]
    decode: Callable[[Tensor], Tensor]


def make_codes(model: Model, steps: int = 0, seed: int = 0) -> Codes:
    """Returns the encoder and the decoder of a model.

    Arguments:
        model: The model.
        steps: The length of chains from noise; 0 takes that of training.
        seed: The seed of their noise.

    Raises:
        ValueError: If the model has neither a base nor chains from noise.
    """
    method = model.method
    if method.from_noise and method.kernel is not None:
        chain = ShortRun(model.module, method.kernel, steps or method.steps, seed)
        noise = method.noise_start.noise

        def invert(x: Tensor, rng: torch.Generator) -> Tensor:
            return infer_noise(chain, x, noise(x, len(x), rng))[0]

        name = f"the noise of chains of {chain.steps} steps, by descent"
        return Codes(name, False, invert, lambda z: chain(z).detach())
    base = method.base
    if base is None or not method.condition.unconditional:
        got = "one with a condition" if base else "neither"
        raise ValueError(
            "rows must have codes: a model of p(x) with a generator, such as the recipe "
            f"vae_teaching_digits, or chains from noise, such as digits; this model has {got}. "
            "`boltzwalk complete` fills in rows with any model of p(x), `boltzwalk score` scores "
            "them"
        )
    if has_encoder(base):
        encodes: Any = base

        def encode(x: Tensor, rng: torch.Generator) -> Tensor:
            mean: Tensor = encodes.encode(x)[0]
            return mean

        return Codes("the encoder", True, torch.no_grad()(encode), torch.no_grad()(base.decode))

    def posterior(x: Tensor, rng: torch.Generator) -> Tensor:
        return infer_latents(base, x, None, method.decoder_std, LATENT_STEPS, rng)

    name = f"the posterior of the generator, by {LATENT_STEPS} steps"
    return Codes(name, True, posterior, torch.no_grad()(base.decode))


def reconstruct(codes: Codes, x: Float[Tensor, "N *event"], rng: torch.Generator) -> Tensor:
    r"""Encodes rows and decodes them, shape (N, \*event).

    Arguments:
        codes: The encoder and the decoder.
        x: Full rows in model units, shape (N, \*event).
        rng: The source of the noise.
    """
    return codes.decode(codes.encode(x, rng))


def interpolate(
    codes: Codes,
    a: Float[Tensor, "P *event"],
    b: Float[Tensor, "P *event"],
    n: int,
    rng: torch.Generator,
) -> Float[Tensor, "P n *event"]:
    r"""Returns n rows between each row and its partner, with both ends decoded.

    Arguments:
        codes: The encoder and the decoder.
        a: Ends in model units, shape (P, \*event).
        b: The other ends.
        n: The number of rows between a pair, with both ends, at least 2.
        rng: The source of the noise.

    Raises:
        ValueError: If there are fewer than two rows.
    """
    if n < 2:
        raise ValueError(f"an interpolation must have n >= 2 rows, got {n}; write n=8")
    begin, end = codes.encode(torch.cat([a, b]), rng).chunk(2)
    arcs = torch.stack([_arc(*ends, n) for ends in zip(begin, end, strict=True)])
    decoded = codes.decode(arcs.flatten(0, 1))
    return decoded.reshape(len(a), n, *decoded.shape[1:])


def refine_rows(
    model: Model, x: Float[Tensor, "N *event"], steps: int, rng: torch.Generator
) -> Tensor:
    r"""Returns rows moved by the kernel of a model under its energy, shape (N, \*event).

    Arguments:
        model: The model.
        x: The rows, shape (N, \*event).
        steps: The number of steps; 0 takes those of training.
        rng: The source of the noise.
    """
    return model.move(walkers_at(model.module, x), steps or model.method.steps, rng).x


def _arc(a: Tensor, b: Tensor, n: int) -> Tensor:
    """Codes from a to b on the arc, shape (n, ...); on the line where there is hardly an angle."""
    t = torch.linspace(0, 1, n, dtype=a.dtype, device=a.device).reshape(-1, *[1] * a.ndim)
    angle = functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).clamp(-1, 1).acos()
    if float(angle.sin()) < 1e-3:  # nearly the same direction, or the opposite
        return (1 - t) * a + t * b
    on_the_arc: Tensor = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return on_the_arc


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
        r"""Returns the ends of chains from z, with their graph if z needs a gradient.

        Arguments:
            z: The start, shape (N, \*event).
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

    Adam on all rows at once, which are independent; each row keeps its best code.

    Arguments:
        chain: The map :math:`M_\theta`.
        x: The rows, shape (N, \*event).
        start: The start of the descent, shape (N, \*event).
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
                "the chain must end at finite values to be inverted, and does not from the start "
                "of the descent; take fewer --steps"
            )
        better = loss.detach() < lowest
        best[better], lowest[better] = z.detach()[better], loss.detach()[better]
        if update < updates:
            (z.grad,) = torch.autograd.grad(loss.sum(), z)
            optimizer.step()
    return best, lowest
