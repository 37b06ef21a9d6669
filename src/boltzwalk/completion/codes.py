r"""Codes of whole rows, what they are decoded to, and the way from one to another.

=====================  =========================================  =================================
a run with             the code z of a row x                      decoded
=====================  =========================================  =================================
an encoder             :math:`\mu(x)`                             :math:`g(z)`
a generator            a draw from its posterior given x          :math:`g(z)`
chains from noise      the noise that ends at x, by descent       :math:`M_\theta(z)`: its chain
=====================  =========================================  =================================

What a network decodes may then be revised under the energy. Between two codes the way is the arc

.. math:: z_t = \frac{\sin((1 - t) \omega)\, z_a + \sin(t \omega)\, z_b}{\sin \omega}

with the angle :math:`\omega` of the codes, which keeps the length that noise has.

Not guaranteed: that the middle of the way is likely.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..methods.contrastive import Contrastive
from ..methods.starts import NoiseStart
from ..train.model import move
from ..train.run import Run
from ..walkers import evaluate
from .latent import Encodes, Generates, infer_latents, pixel_deviation
from .short_run import ShortRun, infer_noise

__all__ = ["Codes", "codes_of", "interpolate", "reconstruct", "revised"]

LATENT_STEPS = 1000
"""Steps of the chain that finds a code of a generator."""


class Codes(NamedTuple):
    r"""How a run encodes and decodes.

    Attributes:
        name: How codes are found.
        network: Whether a network decodes them, so that its output may be revised.
        encode: The codes of rows, shape (N, d) or (N, \*event), given a source of noise.
        decode: The rows of codes, shape (N, \*event).
    """

    name: str
    network: bool
    encode: Callable[[Tensor, torch.Generator], Tensor]
    decode: Callable[[Tensor], Tensor]


def codes_of(run: Run, steps: int = 0, seed: int = 0) -> Codes:
    """Returns the codes of a run.

    Arguments:
        run: The run.
        steps: The length of chains from noise; 0 takes that of training.
        seed: The seed of their noise.

    Raises:
        ValueError: If the run has neither a network that decodes nor chains from noise.
    """
    settings = run.settings.method
    if isinstance(settings, Contrastive) and isinstance(settings.start, NoiseStart):
        chain = ShortRun(run.model, settings.kernel, steps or settings.steps, seed)
        noise = settings.start.noise

        def invert(x: Tensor, rng: torch.Generator) -> Tensor:
            return infer_noise(chain, x, noise(x, len(x), rng))[0]

        name = f"the noise of chains of {chain.steps} steps, by descent"
        return Codes(name, False, invert, lambda z: chain(z).detach())
    base: Any = getattr(run.method, "base", None)
    if not isinstance(base, Generates):
        got = "one that is told of each row what it is given" if base else "neither"
        raise ValueError(
            "codes must have a run with a generator that is given nothing, such as "
            f"vae_teaching_digits, or with chains from noise, such as digits, got {got}"
        )
    if isinstance(base, Encodes):
        encodes = base

        def encode(x: Tensor, rng: torch.Generator) -> Tensor:
            return encodes.encode(x)[0]

        return Codes("the encoder", True, torch.no_grad()(encode), torch.no_grad()(base.decode))

    def posterior(x: Tensor, rng: torch.Generator) -> Tensor:
        return infer_latents(base, x, None, pixel_deviation(run), LATENT_STEPS, rng)

    name = f"the posterior of the generator, by {LATENT_STEPS} steps"
    return Codes(name, True, posterior, torch.no_grad()(base.decode))


def reconstruct(codes: Codes, x: Float[Tensor, "N *event"], rng: torch.Generator) -> Tensor:
    r"""Returns what the codes of rows are decoded to, shape (N, \*event).

    Arguments:
        codes: How they are found.
        x: Whole rows in model units, shape (N, \*event).
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
    r"""Returns n rows on the way from each row to its partner, both ends decoded as well.

    Arguments:
        codes: How codes are found.
        a: Ends in model units, shape (P, \*event).
        b: The other ends.
        n: The number of rows on each way, with both ends, at least 2.
        rng: The source of the noise.

    Raises:
        ValueError: If there are fewer than two rows.
    """
    if n < 2:
        raise ValueError(f"an interpolation must have n >= 2 rows, got {n}; write n=8")
    begin, end = codes.encode(torch.cat([a, b]), rng).chunk(2)
    way = torch.stack([_arc(*ends, n) for ends in zip(begin, end, strict=True)])
    decoded = codes.decode(way.flatten(0, 1))
    return decoded.reshape(len(a), n, *decoded.shape[1:])


def revised(run: Run, x: Float[Tensor, "N *event"], steps: int, rng: torch.Generator) -> Tensor:
    r"""Returns rows moved on by a run's own kernel under its energy, shape (N, \*event).

    Arguments:
        run: The run.
        x: The rows, shape (N, \*event).
        steps: The number of steps; 0 takes those of training.
        rng: The source of the noise.
    """
    return move(run, evaluate(run.model, x), steps or run.settings.method.steps, rng).x


def _arc(a: Tensor, b: Tensor, n: int) -> Tensor:
    """Codes from a to b on the arc, shape (n, ...); on the line where there is hardly an angle."""
    t = torch.linspace(0, 1, n, dtype=a.dtype, device=a.device).reshape(-1, *[1] * a.ndim)
    angle = functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).clamp(-1, 1).acos()
    if float(angle.sin()) < 1e-3:  # nearly the same direction, or the opposite
        return (1 - t) * a + t * b
    on_the_arc: Tensor = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return on_the_arc
