r"""Energies: the contract, and the function that evaluates an energy with its gradient.

An energy is any callable that maps positions :math:`x`, shape (N, \*event), to energies
:math:`U(x)`, shape (N,), and defines the density

.. math:: p(x) = \exp(-U(x)) / Z .

The first axis counts walkers. The others are one event: (dim,) for a vector, and
(channels, height, width) for an image.

A trainable energy is a `torch.nn.Module`, an analytic target a frozen dataclass; there is no base
class. An energy with a cheaper closed form for both results may offer a method
``energy_and_grad(x)``; all others are differentiated automatically.

Not guaranteed: that `Z` is finite. A network without a confining term usually defines a density
only near its walkers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .probe import (
    LOW_PRECISION,
    PROBE_ROWS,
    buffers_of,
    checked_energies,
    largest_change,
    layer_problems,
    no_gradient_reason,
)

__all__ = [
    "Energy",
    "ExactEnergy",
    "attached_energy_and_grad",
    "check_energy",
    "energy_and_grad",
    "require_event_shape",
    "require_rowwise_energy",
    "require_same_energy",
]


Energy: TypeAlias = Callable[[Tensor], Tensor]
"""Maps positions, shape (N, *event), to energies, shape (N,)."""


@runtime_checkable
class ExactEnergy(Protocol):
    r"""An energy with exact samples and a known log Z; a structural type, not a base class."""

    @property
    def log_z(self) -> float:
        r""":math:`\log Z`, exact."""

    def __call__(self, x: Tensor, /) -> Tensor:
        r"""Returns :math:`U(x)`, shape (N,), for x of shape (N, \*event)."""

    def sample(self, n: int, rng: torch.Generator, /) -> Tensor:
        r"""Draws n exact samples of :math:`\exp(-U) / Z`, shape (n, \*event)."""


def energy_and_grad(
    energy: Energy, x: Float[Tensor, "N *event"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
    r"""Returns :math:`U(x)`, shape (N,), and :math:`\nabla_x U(x)`, shape (N, \*event), detached.

    The hot path of the library: one forward pass, and one backward pass to the input. Parameters
    get no gradient, and no graph outlives the call.

    Arguments:
        energy: The energy :math:`U`.
        x: The positions, shape (N, \*event).

    Raises:
        ValueError: If the energy is not of shape (N,). A trailing (N, 1) would broadcast
            silently to (N, N) in every difference of energies.

    Example:
        >>> u, grad = energy_and_grad(lambda x: x.square().sum(-1) / 2, torch.tensor([[3.0, 4.0]]))
        >>> u, grad
        (tensor([12.5000]), tensor([[3., 4.]]))
    """
    closed_form = getattr(energy, "energy_and_grad", None)
    if closed_form is not None:
        u, grad = closed_form(x.detach())
        if u.shape != x.shape[:1] or grad.shape != x.shape:
            raise ValueError(
                f"energy_and_grad(x) must return shapes {tuple(x.shape[:1])} and {tuple(x.shape)}, "
                f"got {tuple(u.shape)} and {tuple(grad.shape)}; one energy and one gradient a row"
            )
        return u, grad
    u, grad = _differentiated(energy, x, keep_graph=False)
    return u.detach(), grad


def attached_energy_and_grad(
    energy: Energy, x: Float[Tensor, "N *event"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N *event"]]:
    r"""Returns :math:`U(x)` with the graph of its parameters, and :math:`\nabla_x U(x)` detached.

    One forward pass serves the move of the walkers and the gradient of the parameters.

    Arguments:
        energy: The energy :math:`U`.
        x: The positions, shape (N, \*event).

    Raises:
        ValueError: If the energy is not of shape (N,).

    Example:
        >>> energy = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        >>> u, grad = attached_energy_and_grad(energy, torch.ones(3, 2))
        >>> u.sum().backward()
        >>> energy[0].weight.grad, grad.requires_grad
        (tensor([[3., 3.]]), False)
    """
    return _differentiated(energy, x, keep_graph=True)


def _differentiated(energy: Energy, x: Tensor, keep_graph: bool) -> tuple[Tensor, Tensor]:
    """The energy and, by automatic differentiation, its gradient."""
    with torch.enable_grad():
        if torch.is_inference_mode_enabled() or not x.is_floating_point():
            raise ValueError(no_gradient_reason(x))
        x = x.detach().requires_grad_()
        u = checked_energies(energy, x)
        if not u.requires_grad:
            raise ValueError(no_gradient_reason(x))
        # Backward products have the dtypes of the forward pass; autocast would convert them again.
        with torch.autocast(x.device.type, enabled=False):
            (grad,) = torch.autograd.grad(u.sum(), x, retain_graph=keep_graph, allow_unused=True)
        if grad is None:
            raise ValueError(no_gradient_reason(x))
    return u, grad


def require_rowwise_energy(
    energy: Any,  # noqa: ANN401  # of x, or of x and a condition
    x: Float[Tensor, "N *event"] | None = None,
    c: Float[Tensor, "N ..."] | None = None,
) -> None:
    r"""Raises unless every walker's energy is a function of that walker alone.

    Without rows, the layers of a module are looked at. With rows, the energy is evaluated three
    times at 16 of them, with the modes that its layers have: at all of them twice, once with its
    gradient, and at each half alone. It must give the same energies, but for rounding, and leave
    its buffers as they were.

    Arguments:
        energy: The energy :math:`U`.
        x: A few rows, shape (N, \*event), that differ; None to look at the layers alone.
        c: Their conditions, for an energy with ``conditioned_on(c)``.

    Raises:
        ValueError: For batch normalisation, or anything else that couples the rows of a batch, so
            that U(x) is not a function of x; for dropout, or anything else that makes U(x) random,
            so that neither an acceptance nor a weight can be computed; for layers that learn from
            evaluations; and for energies of another shape.

    Example:
        >>> require_rowwise_energy(nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1)))
        >>> centred = lambda x: (x - x.mean(0)).square().sum(1)
        >>> require_rowwise_energy(centred, torch.arange(6.0).reshape(3, 2))
        Traceback (most recent call last):
        ...
        ValueError: the energy of a row must not depend on the other rows, got 8 among 3 rows ...
    """
    # The layers say which one it is; in evaluation mode they are functions of one row.
    active = x is None or (isinstance(energy, nn.Module) and energy.training)
    problems = layer_problems(energy) if active else []
    if x is not None and not problems:
        problems = _probe_problems(energy, x[:PROBE_ROWS], c)
    if problems:
        raise ValueError("; ".join(problems))


@torch.no_grad()
def require_same_energy(
    energy: Energy, x: Float[Tensor, "N *event"], u: Float[Tensor, " N"]
) -> None:
    r"""Raises unless an energy gives walkers apart from the others the energies that they have.

    The last 16 walkers or fewer, half of them at most, are evaluated once. An energy that is given
    one condition for each walker takes no fewer: it is evaluated at all of them.

    Arguments:
        energy: The energy :math:`U`.
        x: The positions, shape (N, \*event).
        u: The energies that the walkers have, shape (N,).

    Raises:
        ValueError: If they differ by more than rounding.

    Example:
        >>> x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
        >>> require_same_energy(lambda x: x.square().sum(1), x, x.square().sum(1))
    """
    part = slice(len(x) - min(PROBE_ROWS, max(1, len(x) // 2)), None)
    try:
        alone = checked_energies(energy, x[part])
    except (RuntimeError, ValueError, IndexError):
        part = slice(0, None)
        alone = checked_energies(energy, x)
    row, change = largest_change(u[part], alone, LOW_PRECISION)
    if change:
        raise ValueError(
            f"walkers must have the energies that energy(x) gives, got {float(u[part][row]):.6g} "
            f"and, evaluated with {len(alone) - 1} others, {float(alone[row]):.6g}: the energy is "
            "random (dropout), depends on the other rows (batch norm, a mean over the batch), or "
            "has changed since; put it in evaluation mode by .eval(), and write "
            "walkers_at(energy, x) before the chain"
        )


@torch.no_grad()
def _probe_problems(energy: Any, x: Tensor, c: Tensor | None = None) -> list[str]:  # noqa: ANN401
    """The ways in which the energies of rows depend on more than the row and its condition."""

    def of(rows: slice) -> Energy:
        """The energy of some of the rows."""
        return energy if c is None else energy.conditioned_on(c[: len(x)][rows])  # type: ignore[no-any-return]

    x, every = x.detach(), slice(None)
    buffers = buffers_of(energy)
    before = [buffer.clone() for buffer in buffers.values()]
    full = checked_energies(of(every), x)
    changed = [
        name
        for old, (name, new) in zip(before, buffers.items(), strict=True)
        if not torch.equal(old, new)
    ]
    again = energy_and_grad(of(every), x)[0]
    half = max(1, len(x) // 2)
    parts = [slice(first, first + half) for first in range(0, len(x), half)]
    halves = torch.cat([checked_energies(of(part), x[part]) for part in parts])
    problems = []
    row, change = largest_change(full, again)
    if change:
        problems.append(
            "it must be deterministic, got two results for the same row "
            f"{row}, {float(full[row]):.6g} and {float(again[row]):.6g}; remove its noise, such as "
            "dropout, or put it in evaluation mode by .eval()"
        )
    elif changed:
        problems.append(
            f"its evaluation must not change it, got a change of its buffer {changed[0]!r}; put it "
            "in evaluation mode by .eval()"
        )
    row, change = largest_change(full, halves)
    if change and not problems:
        problems.append(
            "the energy of a row must not depend on the other rows, got "
            f"{float(full[row]):.6g} among {len(x)} rows and {float(halves[row]):.6g} among "
            f"{half} for row {row}; use GroupNorm instead of norms over the batch, and no means "
            "over it"
        )
    return problems


def require_event_shape(x: Float[Tensor, "..."], event_shape: tuple[int, ...]) -> None:
    r"""Raises unless x has shape (N, \*event).

    Arguments:
        x: The positions.
        event_shape: The shape of one event.

    Raises:
        ValueError: If the shapes differ. Otherwise broadcasting would hide the mistake, or a
            linear layer would raise a less clear error.

    Example:
        >>> import torch
        >>> require_event_shape(torch.zeros(5, 2), (2,))
    """
    if x.ndim == 0 or x.shape[1:] != event_shape:
        expected = ", ".join(["N", *map(str, event_shape)])
        raise ValueError(
            f"this energy takes x of shape ({expected}), got {tuple(x.shape)}; the first axis "
            "counts walkers: write x.unsqueeze(0) for a single one, or build the energy for events "
            f"of shape {tuple(x.shape[1:])}"
        )


def check_energy(
    energy: nn.Module,
    x: Float[Tensor, "N *event"],
    c: Float[Tensor, "N ..."] | None = None,
) -> None:
    """Raises where a module cannot be trained as an energy, with every problem.

    Arguments:
        energy: The module; it is put in evaluation mode, in which energies learn.
        x: A few rows of the data.
        c: Their conditions, for a module with ``conditioned_on(c)``.

    Raises:
        ValueError: For no parameters, parameters of several devices or types, batch normalisation,
            dropout, or a result of another shape, not finite, random, or that depends on the other
            rows of the batch.

    Example:
        >>> check_energy(nn.Linear(2, 1), torch.ones(4, 2))
        Traceback (most recent call last):
        ...
        ValueError: Linear is no energy: energy(x) must have shape (N,) = (4,), got (4, 1); ...
    """
    problems = [*_parameter_problems(energy), *layer_problems(energy)]
    kinds = {(p.device, p.dtype) for p in energy.parameters()}
    if len(kinds) == 1 and next(iter(kinds))[0].type != "meta":
        device, dtype = next(iter(kinds))
        c = None if c is None else c.to(device, dtype)
        problems += _result_problems(energy.eval(), x[:PROBE_ROWS].to(device, dtype), c)
    if problems:
        raise ValueError(f"{type(energy).__name__} is no energy: {'; '.join(problems)}")


def _parameter_problems(energy: nn.Module) -> Iterator[str]:
    parameters = list(energy.parameters())
    if not any(p.requires_grad for p in parameters):
        yield "it must have parameters that learn, got none; an energy without them needs no run"
    devices = sorted({str(p.device) for p in parameters})
    kinds = sorted({str(p.dtype) for p in parameters} - {"torch.float32"})
    if len(devices) > 1 or "meta" in devices:
        yield (
            f"its parameters must be on one device that holds values, got {', '.join(devices)}; "
            "write .to('cpu') or build it there"
        )
    if kinds:
        yield f"its parameters must be float32, got {', '.join(kinds)}; write .float()"
    if not all(p.is_meta or bool(p.isfinite().all()) for p in parameters):
        yield "its parameters must be finite, got nan or infinity"


def _result_problems(energy: Any, x: Tensor, c: Tensor | None) -> list[str]:  # noqa: ANN401
    """The problems of the energies of a few rows."""
    try:
        with torch.no_grad():
            bound = energy if c is None else energy.conditioned_on(c[: len(x)])
            finite = bool(checked_energies(bound, x).isfinite().all())
        problems = _probe_problems(energy, x, c)
    except ValueError as error:
        return [str(error)]
    except RuntimeError as error:
        shape = ", ".join(["N", *map(str, x.shape[1:])])
        return [f"it must take rows of shape ({shape}), got the error {str(error).splitlines()[0]}"]
    if not finite:
        return ["its energies of training rows must be finite, got nan or infinity"]
    return problems
