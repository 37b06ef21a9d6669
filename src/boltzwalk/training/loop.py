"""The training loop, top to bottom: one for all methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..checkpoint import flatten
from ..data.rows import Batch
from ..energy import require_rowwise_energy
from ..method import Method
from ..networks.spectral import power_iteration
from ..rng import generator
from ..walkers import Walkers

__all__ = ["BATCH", "REFUSED", "Update", "Watch", "train_loop"]

State = TypeVar("State")

Watch: TypeAlias = Callable[
    [nn.Module, Walkers, torch.Generator], tuple[Walkers, dict[str, Tensor]]
]
"""Moves the witness after an update of the energy, and returns its metrics."""


BATCH = "The batch itself is not finite"
"""How the message about a batch begins, which blames no setting."""

REFUSED = "No batch can be learnt from"
"""How the message about batches that are all refused begins."""

REDRAWS = 3
"""Batches that are drawn in the place of one that cannot be learnt from."""

HUGE = 1e15
"""A loss whose gradient overflows by its size alone."""


class Update(NamedTuple, Generic[State]):
    """The result of one update."""

    update: int  # how many have been done
    state: State
    info: dict[str, Tensor]  # scalars to log
    witness: Walkers | None = None


def train_loop(
    energy: nn.Module,
    method: Method[State],
    batch: Callable[[torch.Generator], Batch],
    optimizer: torch.optim.Optimizer,
    *,
    state: State,
    updates: int,
    first: int = 0,
    seed: int = 0,
    factor: Callable[[int, int], float] = lambda update, updates: 1.0,
    clip: float = 0.0,
    average: AveragedModel | None = None,
    bfloat16: bool = False,
    watch: Watch | None = None,
    witness: Walkers | None = None,
    columns: Sequence[str] = (),
    batch_problem: Callable[[Tensor], str] | None = None,
) -> Iterator[Update[State]]:
    """Trains the energy in place, one update each time the next item is asked for.

    Arguments:
        energy: The energy that learns.
        method: How it learns.
        batch: Draws a batch of data from a generator.
        optimizer: The optimizer of the parameters.
        state: The state of the method before the first update.
        updates: The number of updates of the run.
        first: How many of them have been done.
        seed: The numbers of update t depend on the seed and t only, so a run can go on anywhere.
        factor: The factor on the learning rate at (update, updates).
        clip: The largest norm of the gradient of all parameters; 0 leaves it.
        average: A running average of the energy, updated in place.
        bfloat16: Whether the networks' matrix products are done in bfloat16.
        watch: Moves the witness after every update, under the average where there is one.
        witness: The walkers that watch, before the first update.
        columns: The names of the columns, for the message about a batch that is not finite.
        batch_problem: Tells why a batch cannot be learnt from, "" where it can; another one is
            drawn in its place then, and `batches_refused` counts them.

    Raises:
        ValueError: If the method returns anything but a loss, a state and numbers to log, or the
            energy of a row is random or depends on the other rows.
        FloatingPointError: If the loss or its gradient is not finite, when the parameters are still
            those before that update; or if weighted walkers have no weight left.

    Example:
        >>> from boltzwalk.kernels import ULA
        >>> from boltzwalk.methods.contrastive import Contrastive
        >>> energy = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))
        >>> method = Contrastive(kernel=ULA(step_size=0.1), steps=5)
        >>> draw = lambda rng: Batch(torch.randn(16, 2, generator=rng))
        >>> optimizer = torch.optim.Adam(energy.parameters())
        >>> for done in train_loop(energy, method, draw, optimizer, state=None, updates=3):
        ...     print(done.update, done.info["energy_gap"].shape)
        1 torch.Size([])
        2 torch.Size([])
        3 torch.Size([])
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    device = parameters[0].device
    energy.eval()  # layers with a state of their own must not move while walkers do
    for update in range(first, updates):
        # 1. Data, walkers, loss.
        data, refused = _usable_batch(batch, batch_problem, seed, update, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            _probe(energy, method, data, update == first, seed)
            result = method.step(energy, data, state, generator(seed, "method", update, device))
        loss, state, info = _checked_result(method, result)

        # 2. Gradient.
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradient_norm = nn.utils.clip_grad_norm_(parameters, clip or math.inf)
        _require_finite(update, data.x, loss.detach(), gradient_norm, info, columns)

        # 3. Update.
        change = _optimizer_step(optimizer, parameters, factor(update, updates))
        info = {"loss": loss.detach(), **info, "gradient_norm": gradient_norm, **change, **refused}
        power_iteration(energy)
        if average is not None:
            average.update_parameters(energy)

        # 4. Witness.
        if watch is not None and witness is not None:
            model = energy if average is None else average.module
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                witness, metrics = watch(model, witness, generator(seed, "witness", update, device))
            info |= metrics
        yield Update(update + 1, state, info, witness)


def _usable_batch(
    batch: Callable[[torch.Generator], Batch],
    problem: Callable[[Tensor], str] | None,
    seed: int,
    update: int,
    device: torch.device,
) -> tuple[Batch, dict[str, Tensor]]:
    """The batch of an update, another one where it cannot be learnt from, and how many could not.

    Raises:
        FloatingPointError: If none of several can.
    """
    data = batch(generator(seed, "data", update, device))
    reason = first = "" if problem is None else problem(data.x)
    for number in range(1, REDRAWS + 1):
        if not reason or problem is None:
            refused = {"batches_refused": torch.as_tensor(float(number - 1))} if first else {}
            return data, refused
        data = batch(generator(seed, f"data again {number}", update, device))
        reason = problem(data.x)
    if not reason:
        return data, {"batches_refused": torch.as_tensor(float(REDRAWS))}
    raise FloatingPointError(
        f"update {update + 1}: {REFUSED}: {reason}; {REDRAWS} others drawn in its place were no "
        "better. The model is not the cause: look at the data, or at the code that draws batches"
    )


def _probe(energy: nn.Module, method: object, data: Batch, first: bool, seed: int) -> None:
    """Raises unless the energy of a row depends on that row, and its condition, alone."""
    condition = getattr(method, "condition", None)
    if first:
        rng = generator(seed, "probe", 0, data.x.device)
        c = None if condition is None else condition.of(data, rng)
        require_rowwise_energy(energy, data.x, c)


def _checked_result(method: Method[Any], result: object) -> tuple[Tensor, Any, dict[str, Tensor]]:
    """The result of a step, if it is a loss with a gradient, a state and numbers to log."""
    name = type(getattr(method, "method", method)).__name__
    if not isinstance(result, tuple) or len(result) != 3 or not isinstance(result[2], Mapping):
        got = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(
            f"{name}.step must return (loss, state, info) with a dictionary info, got {got}"
        )
    loss, state, info = result
    flatten(state, "state")  # a checkpoint must be able to hold it
    if not torch.is_tensor(loss) or loss.ndim:
        got = f"shape {tuple(loss.shape)}" if torch.is_tensor(loss) else type(loss).__name__
        raise ValueError(
            f"{name}.step must return a loss that is one number, a tensor of shape (), got {got}; "
            "write .mean() for the loss of each row"
        )
    if not loss.requires_grad:
        raise ValueError(
            f"{name}.step must return a loss that depends on the parameters of the energy, got one "
            "without a gradient; compute it from energy(x), without no_grad or detach"
        )
    return loss, state, dict(info)


def _optimizer_step(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], factor: float
) -> dict[str, Tensor]:
    """Makes a step and returns the norms of the parameters and of their change, and the rate."""
    _set_rates(optimizer, factor)
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer.step()
    change = [p.detach() - old for p, old in zip(parameters, before, strict=True)]
    return {
        "parameter_norm": nn.utils.get_total_norm([p.detach() for p in parameters]),
        "update_norm": nn.utils.get_total_norm(change),
        "learning_rate": torch.as_tensor(optimizer.param_groups[0]["lr"]),
    }


def _set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets the rates to those before the schedule, which the groups remember, times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_rate", group["lr"]) * factor


def _not_finite(x: Tensor, columns: Sequence[str]) -> str:
    """The first value of a batch that is not finite, by row and column; "" where all are finite."""
    flat = x.detach().flatten(1)
    bad = (~flat.isfinite()).nonzero()
    if not len(bad):
        return ""
    row, column = bad[0].tolist()
    entry = f"column {columns[column]!r}" if column < len(columns) else f"entry {column}"
    return (
        f"{BATCH}: {entry} of its row {row} is {float(flat[row, column])}, "
        f"and {len(bad[:, 0].unique())} of its {len(x)} rows are not finite. The model is not the "
        "cause: look at the data, or at the code that draws batches"
    )


def _require_finite(
    update: int,
    x: Tensor,
    loss: Tensor,
    gradient_norm: Tensor,
    info: dict[str, Tensor],
    columns: Sequence[str],
) -> None:
    """Raises FloatingPointError with the cause where loss or gradient are not finite."""
    # Not finite where walkers start without a finite gradient, from which none can move.
    start = torch.as_tensor(info.get("gradient_first", 0.0), device=loss.device)
    if not bool((loss + gradient_norm + start).isfinite()):
        cause = _not_finite(x, columns) or _cause(update, loss, gradient_norm, info)
        numbers = f"loss {float(loss):.4g}, norm of its gradient {float(gradient_norm):.4g}"
        raise FloatingPointError(f"update {update + 1}: {numbers}. {cause}")


def _cause(update: int, loss: Tensor, gradient_norm: Tensor, info: dict[str, Tensor]) -> str:
    """The likely cause of a loss or gradient that is not finite, where the batch is."""
    is_start = math.isfinite(float(loss)) or (
        update == 0 and math.isfinite(float(info.get("energy_data", torch.nan)))
    )  # kernels without an acceptance step move such walkers to nan
    if is_start and not math.isfinite(float(info.get("gradient_first", 0.0))):
        return (
            "Where the walkers start, the gradient of the energy is not finite though the energy "
            "is, so that they could not move: write an energy with a finite gradient wherever it "
            "is finite, such as (x.square().sum(1) + 1e-12).sqrt() for a norm"
        )
    mean = info.get("gradient_mean", torch.nan)  # all that some methods know
    first, last = (float(info.get(f"gradient_{at}", mean)) for at in ("first", "last"))
    if math.isfinite(float(loss)) and abs(float(loss)) > HUGE:
        return "The energies have grown beyond all bounds: the learning rate is too large"
    if math.isfinite(float(loss)):
        return "The energy has a point where its parameter gradient is not finite"
    if not math.isfinite(float(info.get("energy_data", torch.nan))) or not math.isfinite(first):
        return (
            "The energy itself is not finite any more, at the data or where the walkers start: the "
            "learning rate is too large"
        )
    return (
        f"The walkers ran away along their chain: the gradient of the energy was {first:.3g} at "
        f"its first step, {last:.3g} at its last. The learning rate is too large for so few steps: "
        "halve it, double method.steps, or raise method.data_noise"
    )
