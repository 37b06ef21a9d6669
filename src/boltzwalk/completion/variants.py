r"""Ways to complete rows: one samples the conditional of the energy, three were published.

================  =================================================================================
``conditional``   K steps of the run's kernel on :math:`U(h \mid v)`: visible entries never move.
                  Works with any energy.
``encode``        published, first: masked row -> encoder -> decoder -> K steps on all entries.
``kernel``        published, second: K steps on all entries, from the masked row. Works with any
                  energy.
``latent``        published, third: a chain of latent variables under the likelihood of the visible
                  entries -> decoder -> K steps on all entries. Of a generalized model, whose
                  walkers are latent variables, the chain has its energy as well, and is all.
================  =================================================================================

The published variants let visible entries move with the others and put them back at the end; the
hidden entries of a masked row, ``free.fixed``, are 0 in model units. Their energy never learns
which entries are given: ``conditional`` from the same start is what the model's equations say.

A run that learnt with ``condition=Visible`` has a conditional energy of its own, and networks that
propose given the visible entries: K steps from their proposals complete the masks that it was
trained for.

Not guaranteed: that short chains reach the conditional. They complete as well as the run samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..bases import ConditionalBase, GivenBase
from ..energies.conditional import given
from ..methods.condition import Classes, Visible, condition_of
from ..methods.contrastive import Contrastive
from ..methods.proposal_training import Teaching
from ..train.run import Run
from ..train.sampling import move, moves_latents
from ..walkers import evaluate
from .conditional import Conditional, Free, free_part
from .inputs import Inputs
from .latent import (
    Encodes,
    Generates,
    encoder_of,
    generator_of,
    infer_latents,
    one_shot,
    pixel_deviation,
)

__all__ = [
    "Completed",
    "Plan",
    "Start",
    "Variant",
    "complete",
    "own_completion",
    "steps_of",
    "usual_mask",
]

Variant: TypeAlias = Literal["conditional", "encode", "kernel", "latent"]
"""A way to complete, see :mod:`.variants`."""

Start: TypeAlias = Literal["auto", "noise", "mean", "base"]
"""Where conditional chains start: noise, the training mean, what the run's generator makes of the
visible entries; "auto" takes the last where there is one, else noise."""

AT_ONCE = 1000
"""Rows that are completed at once."""

LONG = 1000
"""Steps of chains that start from noise where those of training do not."""


@dataclass(frozen=True)
class Plan:
    """How to complete.

    Arguments:
        variant: The way.
        n: Completions of each row.
        steps: The steps K of the kernel; 0 takes those of training, or 1000 where the chains of
            training go on from where they were and have fewer.
        start: Where hidden entries start in the conditional variant.
        latent_steps: The steps of a chain of latent variables, after its warm-up.

    Raises:
        ValueError: If there is no such variant or start, or a number is too small.

    Example:
        >>> Plan(variant="latent").n
        4
    """

    variant: Variant = "conditional"
    n: int = 4
    steps: int = 0
    start: Start = "auto"
    latent_steps: int = 300

    def __post_init__(self) -> None:
        if self.variant not in WAYS:
            raise ValueError(
                f"variant must be one of {', '.join(WAYS)}, got {self.variant!r}; write "
                "--variant conditional"
            )
        if self.start not in ("auto", "noise", "mean", "base"):
            raise ValueError(
                f"start must be auto, noise, mean or base, got {self.start!r}; write --start noise"
            )
        for name, least in {"n": 1, "steps": 0, "latent_steps": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")


class Completed(NamedTuple):
    r"""Completions.

    Attributes:
        x: In model units, shape (N, n, \*event).
        original: In the units of the data, float64; visible values are those that were given.
        energy: The energies, shape (N, n).
        proposed: Where the chains started, whole rows in model units, of a run whose networks
            propose given the visible entries; None for other runs.
    """

    x: Float[Tensor, "N n *event"]
    original: Float[Tensor, "N n *event"]
    energy: Float[Tensor, "N n"]
    proposed: Float[Tensor, "N n *event"] | None = None


def complete(run: Run, inputs: Inputs, plan: Plan, rng: torch.Generator) -> Completed:
    r"""Returns completions of rows.

    .. math:: h \sim p(h \mid v) \propto e^{-U(h, v)}

    Arguments:
        run: The run.
        inputs: The rows, with what is hidden.
        plan: How to complete.
        rng: The source of all noise.

    Raises:
        ValueError: If the run has no network that the variant needs, was trained for other masks,
            or a completion is not finite.
    """
    _refuse_misfit(run, inputs, plan)
    if moves_latents(run) and plan.variant != "latent":
        raise ValueError(
            "the walkers of a generalized model are latent variables of its base, got the variant "
            f"{plan.variant}, which moves entries; write --variant latent"
        )
    rows = torch.arange(len(inputs.x), device=inputs.x.device).repeat_interleave(plan.n)
    way = WAYS[plan.variant]
    found, begun, energies = [], [], []
    for part in rows.split(AT_ONCE):
        x, hidden = inputs.x[part], inputs.hidden[part]
        free, told = free_part(x, hidden, run.dataset.scale), _told(run, x, hidden)
        if told is run:
            moved = way(run, x, free, plan, rng)
        else:
            begun.append(_started(told, x, free, plan, rng))
            moved = _moved(told, begun[-1], free, plan, rng)
        found.append(free.event(free.coordinates(moved)))
        energies.append(evaluate(told.model, found[-1]).energy)
    x, energy = torch.cat(found), torch.cat(energies)
    finite = x.flatten(1).isfinite().all(1)
    if not bool(finite.all()):
        share = 1 - float(finite.float().mean())
        raise ValueError(f"completions must be finite, {share:.0%} are not; try fewer --steps")
    original = run.dataset.to_original(x).cpu().double()
    given = inputs.original.repeat_interleave(plan.n, 0)
    original = torch.where(inputs.hidden.cpu().repeat_interleave(plan.n, 0), original, given)
    each = (len(inputs.x), plan.n)
    x, original, energy = (whole.unflatten(0, each) for whole in (x, original, energy))
    return Completed(x, original, energy, torch.cat(begun).unflatten(0, each) if begun else None)


def usual_mask(run: Run, original: Tensor) -> str | None:
    r"""Returns the mask that a run was trained to fill in; None for rows with holes.

    Arguments:
        run: The run.
        original: Rows in the units of the data, nan where missing, shape (N, \*event).
    """
    condition = condition_of(run.method)
    if not isinstance(condition, Visible) or bool(original.isnan().any()):
        return None
    return "center" if condition.mask == "boxes" else condition.mask


def own_completion(run: Run, inputs: Inputs) -> Tensor | None:
    r"""Returns what the VAE of a run makes of masked rows in one shot; None where it has none.

    .. math:: g(\mu(\text{masked row}))

    Arguments:
        run: The run.
        inputs: The rows, with what is hidden.
    """
    base = getattr(run.method, "base", None)
    if not isinstance(base, Encodes):
        return None
    found = []
    for x, hidden in zip(inputs.x.split(AT_ONCE), inputs.hidden.split(AT_ONCE), strict=True):
        free = free_part(x, hidden, run.dataset.scale)
        found.append(one_shot(base, free.fixed, free))
    return torch.cat(found)


def steps_of(run: Run, plan: Plan) -> int:
    """Returns the steps of the kernel.

    Arguments:
        run: The run.
        plan: How to complete.
    """
    method = run.settings.method
    if moves_latents(run):
        return plan.latent_steps
    fresh = isinstance(method, Contrastive) and method.start.from_noise
    own: int = method.steps if fresh or _generates(run) else max(method.steps, LONG)
    return plan.steps or own


def _conditional(run: Run, x: Tensor, free: Free, plan: Plan, rng: torch.Generator) -> Tensor:
    """K steps on the energy of hidden entries; the visible ones are constants in it."""
    box = getattr(run.settings.method.kernel, "box", None)
    if box is not None and run.dataset.scale.ndim == 2:
        raise ValueError(
            f"a kernel with a box must move entries, got box={box} and whitened columns, whose "
            "hidden values are mixtures of entries; write --variant kernel"
        )
    return _moved(run, _started(run, x, free, plan, rng), free, plan, rng)


def _moved(run: Run, begun: Tensor, free: Free, plan: Plan, rng: torch.Generator) -> Tensor:
    """Rows after K steps on their hidden entries."""
    energy = Conditional(run.model, free)
    walkers = evaluate(energy, free.coordinates(begun))
    # The run's own kernel and arithmetic, on another energy.
    moved = move(replace(run, energy=energy, average=None), walkers, steps_of(run, plan), rng)
    return free.event(moved.x)


def _encode(run: Run, x: Tensor, free: Free, plan: Plan, rng: torch.Generator) -> Tensor:
    """The first published variant; codes are drawn, so that completions differ."""
    base = encoder_of(run, "the variant encode")
    with torch.no_grad():
        decoded = base.decode(base.reparametrise(*base.encode(free.fixed), rng))
    return move(run, evaluate(run.model, decoded), steps_of(run, plan), rng).x


def _kernel(run: Run, x: Tensor, free: Free, plan: Plan, rng: torch.Generator) -> Tensor:
    """The second published variant; without noise in the kernel all completions are the same."""
    return move(run, evaluate(run.model, free.fixed), steps_of(run, plan), rng).x


def _latent(run: Run, x: Tensor, free: Free, plan: Plan, rng: torch.Generator) -> Tensor:
    """The third published variant."""
    made = _generated(run, x, free, plan, rng)
    if moves_latents(run):
        return made
    return move(run, evaluate(run.model, made), steps_of(run, plan), rng).x


def _started(run: Run, x: Tensor, free: Free, plan: Plan, rng: torch.Generator) -> Tensor:
    """Where conditional chains start, whole rows of which hidden entries count."""
    if plan.start == "mean":
        return x
    if plan.start == "base" or (plan.start == "auto" and _generates(run)):
        return _generated(run, x, free, plan, rng)
    method = run.settings.method
    if isinstance(method, Contrastive):
        return method.start.noise_start.noise(x, len(x), rng)
    return run.dataset.noise(len(x), rng)


def _generated(run: Run, x: Tensor, free: Free, plan: Plan, rng: torch.Generator) -> Tensor:
    """What the generator makes of latent variables given the visible entries."""
    what = "the variant latent" if plan.variant == "latent" else "the start base"
    base = generator_of(run, what)
    sigma = pixel_deviation(run)
    with torch.no_grad():
        if isinstance(base, GivenBase):  # which knows the visible entries
            return base.decode(base.latents(len(x), rng))
        energy, factor = None, 1.0
        if moves_latents(run):
            energy = run.method.relative(run.model)
            factor = run.method.settings.inverse_temperature
        steps = plan.latent_steps
        return base.decode(infer_latents(base, x, free, sigma, steps, rng, energy, factor))


def _generates(run: Run) -> bool:
    """Whether a run has a generator, from which its chains start."""
    return isinstance(getattr(run.method, "base", None), Generates | ConditionalBase)


def _told(run: Run, x: Tensor, hidden: Tensor) -> Run:
    """The run whose energy and networks are given the visible entries, where they ask for them."""
    condition = condition_of(run.method)
    if not isinstance(condition, Visible):
        return run
    c = condition.masked(x, hidden)
    method = Teaching(run.method.settings, run.method.base.given(c))
    return replace(run, energy=given(run.model, c), average=None, method=method)


def _refuse_misfit(run: Run, inputs: Inputs, plan: Plan) -> None:
    """Raises where a model that is given something cannot complete such rows."""
    condition = condition_of(run.method)
    if isinstance(condition, Classes):
        raise ValueError(
            "completion must have a model of p(x), or of what is hidden, got one that is given the "
            "class; train it with condition=Visible or condition=Unconditional"
        )
    if not isinstance(condition, Visible):
        return
    if plan.variant != "conditional":
        raise ValueError(
            f"a run that is given the visible part completes by itself, got --variant "
            f"{plan.variant}; leave it out"
        )
    if not condition.fits(inputs.hidden):
        what = "one box a picture, of a quarter to a half of its sides"
        what = what if condition.mask == "boxes" else f"the mask {condition.mask}"
        raise ValueError(
            f"this run was trained to fill in {what}, got rows that hide something else; write "
            f"--mask {usual_mask(run, inputs.x)}, or complete them by a run with "
            "condition=Unconditional"
        )


WAYS: dict[str, Callable[[Run, Tensor, Free, Plan, torch.Generator], Tensor]] = {
    "conditional": _conditional,
    "encode": _encode,
    "kernel": _kernel,
    "latent": _latent,
}
"""The variants by name; to add one, add a line."""
