"""What a run is as a model: it draws samples, moves walkers, may have a density."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import torch
from torch import Tensor, nn

from ..energies.conditional import given
from ..kernels import run as run_chain
from ..methods.condition import Unconditional, condition_of
from ..methods.generalized import Generalized
from ..methods.proposal_training import parts
from ..walkers import Walkers
from .run import Run

__all__ = [
    "available",
    "density_temperature",
    "draw",
    "known_log_z",
    "move",
    "moves_latents",
    "own_energy",
    "proposals",
    "refuse_conditions",
    "weighted_walkers",
]


def draw(
    run: Run,
    n: int,
    rng: torch.Generator,
    steps: int = 0,
    from_noise: bool = False,
    c: Tensor | None = None,
) -> Walkers:
    """Draws samples the way the run was trained: from the same start, by the same kernel.

    Arguments:
        run: The run.
        n: How many.
        rng: The source of the noise.
        steps: The number of kernel steps; 0 takes those of training.
        from_noise: Whether to leave the walkers that were kept alone and start from noise.
        c: One condition for each sample; None draws them in the proportions of the training data,
            where something is given.

    Raises:
        ValueError: If there are fewer walkers in the store.
    """
    own = () if c is None else (c,)
    rows = condition_of(run.method).rows(run.dataset)
    with run.arithmetic():
        found: Walkers = run.method.sample(
            run.model, rows, run.state, n, rng, steps, from_noise, *own
        )
    return found


@torch.no_grad()
def proposals(run: Run, n: int, rng: torch.Generator, c: Tensor | None = None) -> Tensor | None:
    """Draws what a network proposes before any walker moves; None where none does.

    With a generator in the same state the first thousand are those that `draw` revises.

    Arguments:
        run: The run.
        n: How many.
        rng: The source of the latent noise.
        c: One condition for each, as `draw` takes them.
    """
    base = getattr(run.method, "base", None)
    if base is None:
        return None
    condition: Any = condition_of(run.method)
    c = condition.drawn(condition.rows(run.dataset), n, rng) if c is None else c
    with run.arithmetic():
        each = ((given(base, part), size) for size, part in parts(n, c))
        return torch.cat([own.decode(own.latents(size, rng)) for own, size in each]).float()


def available(run: Run, n: int) -> int:
    """Returns n, or the number of walkers that the run keeps where it can draw no more than these.

    Arguments:
        run: The run.
        n: How many samples are wanted.
    """
    return min(n, len(run.state)) if isinstance(run.state, Sized) else n


def weighted_walkers(run: Run) -> Walkers | None:
    """Returns all the weighted walkers of a run, for its model; None where they have no weights."""
    with run.arithmetic():
        found: Walkers | None = run.method.population(run.model, run.state)
    return found


def move(run: Run, walkers: Walkers, steps: int, rng: torch.Generator) -> Walkers:
    """Moves walkers on by the kernel and in the arithmetic that the run was trained with.

    Arguments:
        run: The run.
        walkers: Where they start, evaluated by its model.
        steps: The number of kernel steps.
        rng: The source of the noise.

    Raises:
        ValueError: If the walkers of the run are latent variables, which events do not tell.
    """
    if moves_latents(run):
        raise ValueError(
            "walkers of a generalized model are latent variables of its base, and events do not "
            "tell them; draw samples with more steps instead"
        )
    kernel = run.settings.method.kernel
    with run.arithmetic():
        return run_chain(kernel, run.model, walkers, steps, rng, diagnose=False)[0]


def moves_latents(run: Run) -> bool:
    """Returns whether the walkers of a run are latent variables of its base.

    Arguments:
        run: The run.
    """
    return isinstance(run.settings.method, Generalized)


def density_temperature(run: Run) -> float:
    r"""Returns the temperature T of the density of a run, :math:`e^{-U / T} / Z`; 0 of none.

    That of the kernel by which walkers learnt it. A generalized model learns without walkers, at
    1, whatever kernel draws its samples.

    Arguments:
        run: The run.
    """
    return 1.0 if moves_latents(run) else float(run.settings.method.kernel.temperature)


def own_energy(run: Run) -> nn.Module:
    r"""Returns the energy of the model itself, whose density is :math:`e^{-U / T} / Z`.

    That is the energy that draws samples, but where a method learns it relative to a base.

    Arguments:
        run: The run.

    Raises:
        ValueError: If the model has no density, since its base has none.
    """
    shift = getattr(run.method, "own_energy", None)
    found: nn.Module = run.model if shift is None else shift(run.model)
    return found


def known_log_z(run: Run) -> float | None:
    r"""Returns :math:`\log Z` of the model itself where it is known exactly; None where it is not.

    Arguments:
        run: The run.
    """
    known, method = getattr(run.model, "log_z", None), run.settings.method
    if isinstance(method, Generalized) and (method.relative or method.floor is not None):
        return None  # that of exp(-E), which is not the model
    return None if known is None else float(known)


def refuse_conditions(run: Run, what: str) -> None:
    """Raises where the energy of a run is given something.

    Arguments:
        run: The run.
        what: What needs an energy of x alone, for the message.

    Raises:
        ValueError: If it is.
    """
    condition = condition_of(run.method)
    if not isinstance(condition, Unconditional):
        raise ValueError(
            f"{what} must have a model of p(x), got one that is given {type(condition).__name__}: "
            "its energies hold for one condition each, and differ between them by an unknown "
            "constant; train it with condition=Unconditional"
        )
