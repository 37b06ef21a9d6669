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
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = [
    "Energy",
    "ExactEnergy",
    "attached_energy_and_grad",
    "check_energy",
    "energy_and_grad",
    "require_event_shape",
    "require_rowwise_energy",
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
        x = x.detach().requires_grad_()
        u = energy(x)
        if u.shape != x.shape[:1]:
            raise ValueError(
                f"energy(x) must have shape (N,) = {tuple(x.shape[:1])}, got {tuple(u.shape)} "
                f"for x of shape {tuple(x.shape)}; end the network with .squeeze(-1) or .sum(-1)"
            )
        # Backward products have the dtypes of the forward pass; autocast would convert them again.
        with torch.autocast(x.device.type, enabled=False):
            (grad,) = torch.autograd.grad(u.sum(), x, retain_graph=keep_graph)
    return u, grad


def require_rowwise_energy(energy: Energy) -> None:
    """Raises unless every walker's energy depends on that walker alone.

    Raises:
        ValueError: For batch normalisation, which couples the walkers of a batch, so that U(x) is
            not a function of x; and for dropout, which makes U(x) random, so that neither an
            acceptance nor a weight can be computed.

    Example:
        >>> require_rowwise_energy(nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1)))
    """
    if not isinstance(energy, nn.Module):
        return
    problems = []
    for name, layer in energy.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            problems.append(
                f"an energy must be a function of one x, got the layer {name!r} of type {kind}, "
                "which mixes the walkers of a batch; use nn.GroupNorm(1, channels) or no norm"
            )
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            problems.append(
                f"an energy must be deterministic, got the layer {name!r} of type {kind} with "
                f"p={layer.p}; remove it, and regularise with data noise or weight decay"
            )
    if problems:
        raise ValueError("; ".join(problems))


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


def check_energy(energy: nn.Module, x: Float[Tensor, "N *event"]) -> None:
    """Raises where a module cannot be trained as an energy, with every problem.

    Arguments:
        energy: The module; it is put in evaluation mode, in which energies learn.
        x: A few rows of the data.

    Raises:
        ValueError: For no parameters, parameters of several devices or types, batch normalisation,
            dropout, or a result of another shape, not finite, random, or that depends on the other
            rows of the batch.

    Example:
        >>> check_energy(nn.Linear(2, 1), torch.ones(4, 2))
        Traceback (most recent call last):
        ...
        ValueError: Linear is no energy: its result must have shape (N,) = (4,), got (4, 1); ...
    """
    problems = list(_parameter_problems(energy))
    try:
        require_rowwise_energy(energy)
    except ValueError as error:
        problems.append(str(error))
    kinds = {(p.device, p.dtype) for p in energy.parameters()}
    if len(kinds) == 1 and next(iter(kinds))[0].type != "meta":
        device, dtype = next(iter(kinds))
        problems += _result_problems(energy.eval(), x.to(device, dtype))
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


def _result_problems(energy: nn.Module, x: Tensor) -> list[str]:
    """The problems of the energies of a few rows."""
    try:
        with torch.no_grad():
            u, again, alone = energy(x), energy(x), energy(x[:1])
    except RuntimeError as error:
        shape = ", ".join(["N", *map(str, x.shape[1:])])
        return [f"it must take rows of shape ({shape}), got the error {str(error).splitlines()[0]}"]
    if not torch.is_tensor(u) or u.shape != x.shape[:1]:
        got = tuple(u.shape) if torch.is_tensor(u) else type(u).__name__
        return [
            f"its result must have shape (N,) = ({len(x)},), got {got}; end it with .squeeze(-1) "
            "or .sum(-1)"
        ]
    if not bool(u.isfinite().all()):
        return ["its energies of training rows must be finite, got nan or infinity"]
    if not torch.equal(u, again):
        return ["it must be deterministic, got two results for the same rows; remove its noise"]
    rounding = 1e-3 if x.device.type == "cpu" else 1e-2  # TF32 depends on the size of a batch
    if not torch.allclose(u[:1], alone, rtol=rounding, atol=1e-4):
        return [
            "the energy of a row must not depend on the other rows, got "
            f"{float(u[0]):.6g} among others and {float(alone[0]):.6g} alone; use GroupNorm "
            "instead of norms over the batch"
        ]
    return []
