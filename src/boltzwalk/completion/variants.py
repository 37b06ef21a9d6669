r"""Completion of rows: the conditional of the energy, and three published variants.

================  =================================================================================
``conditional``   K steps of the kernel on :math:`U(h \mid v)`: visible entries never move. Works
                  with any energy.
``encode``        published, first: masked row -> encoder -> decoder -> K steps on all entries.
``kernel``        published, second: K steps on all entries, from the masked row. Works with any
                  energy.
``latent``        published, third: a chain of latent variables under the likelihood of the visible
                  entries -> decoder -> K steps on all entries. For a generalized model, whose
                  walkers are latent variables, the chain includes its energy, without the K steps.
================  =================================================================================

The published variants let visible entries move with the others and restore them at the end; the
hidden entries of a masked row, ``free.fixed``, are 0 in model units. Their energy does not depend
on the mask; ``conditional`` samples the conditional density of the model.

A model with ``condition=ObservedPixels`` has a conditional energy, and networks that propose from
the observed pixels: K steps from their proposals complete the masks of training.

Not guaranteed: that short chains reach the conditional. They complete as well as the model samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..base import has_encoder
from ..energies.conditional import conditioned_on
from ..method import with_defaults
from ..methods.proposal_training import CooperativeStep
from ..model import Model
from ..walkers import walkers_at
from .conditional import Conditional, Free, free_part
from .inputs import Inputs
from .latent import (
    encoder_of,
    generator_of,
    infer_latents,
    one_shot,
)

__all__ = [
    "Completed",
    "CompletionPlan",
    "Start",
    "Variant",
    "complete_rows",
    "encoder_completion",
    "steps_of",
    "trained_mask",
]

Variant: TypeAlias = Literal["conditional", "encode", "kernel", "latent"]
"""A variant, see :mod:`.variants`."""

Start: TypeAlias = Literal["auto", "noise", "mean", "base"]
"""The start of conditional chains: noise, the training mean, or proposals of the base from the
visible entries; "auto" takes the base where there is one, else noise."""

CHUNK = 1000
"""Rows that are completed at once."""

STEPS_FROM_NOISE = 1000
"""Steps of chains from noise where the chains of training start elsewhere."""


@dataclass(frozen=True)
class CompletionPlan:
    """The variant of a completion and its settings.

    Arguments:
        variant: The variant.
        n: The completions of each row.
        steps: The steps K of the kernel; 0 takes those of training, or 1000 where training
            continues stored chains by fewer.
        start: The start of hidden entries in the conditional variant.
        latent_steps: The steps of a chain of latent variables, after its warm-up.

    Raises:
        ValueError: If there is no such variant or start, or a number is too small.

    Example:
        >>> CompletionPlan(variant="latent").n
        4
    """

    variant: Variant = "conditional"
    n: int = 4
    steps: int = 0
    start: Start = "auto"
    latent_steps: int = 300

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(
                f"variant must be one of {', '.join(VARIANTS)}, got {self.variant!r}; write "
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
    r"""Completions of rows.

    Attributes:
        x: The completions in model units, shape (N, n, \*event).
        original: In the units of the data, float64; visible values are the given ones.
        energy: The energies, shape (N, n).
        proposed: The starts of the chains, full rows in model units, of a model whose networks
            receive the observed pixels; None for other models.
    """

    x: Float[Tensor, "N n *event"]
    original: Float[Tensor, "N n *event"]
    energy: Float[Tensor, "N n"]
    proposed: Float[Tensor, "N n *event"] | None = None


def complete_rows(
    model: Model, inputs: Inputs, plan: CompletionPlan, rng: torch.Generator
) -> Completed:
    r"""Returns completions of rows.

    .. math:: h \sim p(h \mid v) \propto e^{-U(h, v)}

    Arguments:
        model: The model.
        inputs: The rows, with their hidden entries.
        plan: The variant and its settings.
        rng: The source of all noise.

    Raises:
        ValueError: If the model has no network that the variant needs, was trained for other
            masks, or a completion is not finite.
    """
    _require_fit(model, inputs, plan)
    if model.method.latent and plan.variant != "latent":
        raise ValueError(
            "the walkers of a generalized model are latent variables of its base, got the variant "
            f"{plan.variant}, which moves entries; write --variant latent"
        )
    rows = torch.arange(len(inputs.x), device=inputs.x.device).repeat_interleave(plan.n)
    move = VARIANTS[plan.variant]
    completed, proposals, energies = [], [], []
    for part in rows.split(CHUNK):
        x, hidden = inputs.x[part], inputs.hidden[part]
        free = free_part(x, hidden, model.data.scale)
        conditioned = _conditioned(model, x, hidden)
        if conditioned is model:
            moved = move(model, x, free, plan, rng)
        else:
            proposals.append(_initial_rows(conditioned, x, free, plan, rng))
            moved = _move_hidden(conditioned, proposals[-1], free, plan, rng)
        completed.append(free.event(free.coordinates(moved)))
        energies.append(walkers_at(conditioned.module, completed[-1]).energy)
    x, energy = torch.cat(completed), torch.cat(energies)
    finite = x.flatten(1).isfinite().all(1)
    if not bool(finite.all()):
        share = 1 - float(finite.float().mean())
        raise ValueError(f"completions must be finite, {share:.0%} are not; try fewer --steps")
    original = model.data.to_original(x).cpu().double()
    observed = inputs.original.repeat_interleave(plan.n, 0)
    original = torch.where(inputs.hidden.cpu().repeat_interleave(plan.n, 0), original, observed)
    shape = (len(inputs.x), plan.n)
    x, original, energy = (rows.unflatten(0, shape) for rows in (x, original, energy))
    proposed = torch.cat(proposals).unflatten(0, shape) if proposals else None
    return Completed(x, original, energy, proposed)


def trained_mask(model: Model, original: Tensor) -> str | None:
    r"""Returns the mask of training; None for rows with missing entries, and without one.

    Arguments:
        model: The model.
        original: Rows in the units of the data, nan where missing, shape (N, \*event).
    """
    condition: Any = model.method.condition
    if not condition.completes or bool(original.isnan().any()):
        return None
    return str(condition.usual_mask)


def encoder_completion(model: Model, inputs: Inputs) -> Tensor | None:
    r"""Returns masked rows encoded and decoded by the VAE of a model; None without one.

    .. math:: g(\mu(\text{masked row}))

    Arguments:
        model: The model.
        inputs: The rows, with their hidden entries.
    """
    base = model.method.base
    if base is None or not has_encoder(base):
        return None
    chunks = []
    for x, hidden in zip(inputs.x.split(CHUNK), inputs.hidden.split(CHUNK), strict=True):
        free = free_part(x, hidden, model.data.scale)
        chunks.append(one_shot(base, free.fixed, free))
    return torch.cat(chunks)


def steps_of(model: Model, plan: CompletionPlan) -> int:
    """Returns the steps of the kernel.

    Arguments:
        model: The model.
        plan: The variant and its settings.
    """
    method = model.method
    if model.method.latent:
        return plan.latent_steps
    from_start = method.from_noise or method.base is not None
    return plan.steps or (method.steps if from_start else max(method.steps, STEPS_FROM_NOISE))


def _conditional(
    model: Model, x: Tensor, free: Free, plan: CompletionPlan, rng: torch.Generator
) -> Tensor:
    """K steps on the energy of hidden entries; the visible ones are constants in it."""
    box = getattr(model.method.kernel, "box", None)
    if box is not None and model.data.scale.ndim == 2:
        raise ValueError(
            f"a kernel with a box must move entries, got box={box} and whitened columns, whose "
            "hidden values are mixtures of entries; write --variant kernel"
        )
    return _move_hidden(model, _initial_rows(model, x, free, plan, rng), free, plan, rng)


def _move_hidden(
    model: Model, start: Tensor, free: Free, plan: CompletionPlan, rng: torch.Generator
) -> Tensor:
    """Rows after K steps on their hidden entries."""
    energy = Conditional(model.module, free)
    walkers = walkers_at(energy, free.coordinates(start))
    exact = _completes(model, free) and plan.start == "auto"
    steps = plan.steps or model.method.steps if exact else steps_of(model, plan)
    moved = model.move(walkers, steps, rng, energy)
    return free.event(moved.x)


def _encode(
    model: Model, x: Tensor, free: Free, plan: CompletionPlan, rng: torch.Generator
) -> Tensor:
    """The first published variant; codes are drawn, so that completions differ."""
    base = encoder_of(model, "the variant encode")
    with torch.no_grad():
        decoded = base.decode(base.reparametrise(*base.encode(free.fixed), rng))
    return model.move(walkers_at(model.module, decoded), steps_of(model, plan), rng).x


def _kernel(
    model: Model, x: Tensor, free: Free, plan: CompletionPlan, rng: torch.Generator
) -> Tensor:
    """The second published variant; without noise in the kernel all completions are the same."""
    return model.move(walkers_at(model.module, free.fixed), steps_of(model, plan), rng).x


def _latent(
    model: Model, x: Tensor, free: Free, plan: CompletionPlan, rng: torch.Generator
) -> Tensor:
    """The third published variant."""
    decoded = _decoded(model, x, free, plan, rng)
    if model.method.latent:
        return decoded
    return model.move(walkers_at(model.module, decoded), steps_of(model, plan), rng).x


def _initial_rows(
    model: Model, x: Tensor, free: Free, plan: CompletionPlan, rng: torch.Generator
) -> Tensor:
    """The start of conditional chains: full rows, of which only hidden entries matter."""
    if plan.start == "mean":
        return x
    if _completes(model, free) and plan.start == "auto":
        rows: Tensor = cast(Any, model.module).complete(x, free.hidden, rng)
        return rows
    if plan.start == "base" or (plan.start == "auto" and model.method.base is not None):
        return _decoded(model, x, free, plan, rng)
    method = model.method
    if method.noise_start is not None:
        noise: Tensor = method.noise_start.noise(x, len(x), rng)
        return noise
    return model.data.noise(len(x), rng)


def _completes(model: Model, free: Free) -> bool:
    """Whether the energy draws hidden entries given the others, without a chain."""
    return free.hidden is not None and callable(getattr(model.module, "complete", None))


def _decoded(
    model: Model, x: Tensor, free: Free, plan: CompletionPlan, rng: torch.Generator
) -> Tensor:
    """Rows that the base decodes from latent variables given the visible entries."""
    purpose = "the variant latent" if plan.variant == "latent" else "the start base"
    base = generator_of(model, purpose)
    sigma = model.method.decoder_std
    with torch.no_grad():
        if model.method.condition.completes:  # the base has the observed pixels
            return base.decode(base.latents(len(x), rng))
        energy, factor = None, 1.0
        if model.method.latent:
            energy = model.method.relative_energy(model.module)
            factor = model.method.inverse_temperature
        steps = plan.latent_steps
        return base.decode(infer_latents(base, x, free, sigma, steps, rng, energy, factor))


def _conditioned(model: Model, x: Tensor, hidden: Tensor) -> Model:
    """The model given the observed pixels of rows, where it takes them."""
    condition: Any = model.method.condition
    if not condition.completes:
        return model
    c = condition.masked(x, hidden)
    method: Any = model.method
    method = with_defaults(CooperativeStep(method.settings, method.base.conditioned_on(c)))
    return replace(model, module=conditioned_on(model.module, c), method=method)


def _require_fit(model: Model, inputs: Inputs, plan: CompletionPlan) -> None:
    """Raises where a model with a condition cannot complete the rows."""
    condition: Any = model.method.condition
    if condition.unconditional:
        return
    if not condition.completes:
        raise ValueError(
            "completion must have a model of p(x), or of hidden pixels, got one of "
            "p(x | class); train it with condition=ObservedPixels or condition=NoCondition"
        )
    if plan.variant != "conditional":
        raise ValueError(
            "a model of hidden pixels completes without a variant, got --variant "
            f"{plan.variant}; leave it out"
        )
    if not condition.fits(inputs.hidden):
        mask = "one box an image, of a quarter to a half of its sides"
        mask = mask if condition.mask == "boxes" else f"the mask {condition.mask}"
        raise ValueError(
            f"this model was trained to fill in {mask}, got rows that hide something else; write "
            f"--mask {trained_mask(model, inputs.x)}, or complete them by a model with "
            "condition=NoCondition"
        )


VARIANTS: dict[str, Callable[[Model, Tensor, Free, CompletionPlan, torch.Generator], Tensor]] = {
    "conditional": _conditional,
    "encode": _encode,
    "kernel": _kernel,
    "latent": _latent,
}
"""The variants by name; to add one, add a line."""
