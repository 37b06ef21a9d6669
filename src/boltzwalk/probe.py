r"""Probes of an energy: its result, its layers, and changes of U that are no rounding.

An energy must be a function of one row. Noise, statistics of a batch and layers that learn from
evaluations change :math:`U(x)` between two evaluations by a share of its spread over the rows;
rounding changes it by a few units in the last place of its size.

Not guaranteed: that a change too small to matter is noticed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = [
    "LOW_PRECISION",
    "PROBE_ROWS",
    "buffers_of",
    "checked_energies",
    "largest_change",
    "layer_problems",
    "no_gradient_reason",
]

PROBE_ROWS = 16
"""The number of rows at which an energy is probed."""

# Differences of U that are no rounding, as shares of its spread over the rows: noise and batch
# statistics change it by a tenth or more, matrix products of another batch size by a millionth;
# in TF32 and bfloat16, with 10 and 8 bits, by up to a hundredth. Below the second number, in nats,
# a change decides nothing.
FULL_PRECISION, LOW_PRECISION = (1e-3, 1e-4), (5e-2, 1e-2)


def no_gradient_reason(x: Tensor) -> str:
    """Returns the reason why an energy at x has no gradient.

    Arguments:
        x: The positions.
    """
    if torch.is_inference_mode_enabled():
        return (
            "walkers move by the gradient of the energy, got torch.inference_mode(), which "
            "forbids gradients; write torch.no_grad() instead"
        )
    if not x.is_floating_point():
        return f"x must have floating-point numbers, got {x.dtype}; write x.float()"
    return (
        "energy(x) must depend on x by differentiable operations, got a constant or a result cut "
        "off by detach, no_grad or numpy; compute it with torch alone, or give the energy a method "
        "energy_and_grad(x); write 0 * x.flatten(1).sum(1) for a flat energy"
    )


def checked_energies(energy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""Returns the energies of x, shape (N,).

    Arguments:
        energy: The energy :math:`U`.
        x: The positions, shape (N, \*event).

    Raises:
        ValueError: If they have another shape, or x another type than the energy.
    """
    try:
        u = energy(x)
    except RuntimeError as error:
        reason = str(error)
        if "dtype" not in reason and "scalar type" not in reason:
            raise
        kinds = {p.dtype for p in energy.parameters()} if isinstance(energy, nn.Module) else set()
        raise ValueError(
            f"x and the parameters of the energy must have one type, got x of {x.dtype}"
            + (f" and parameters of {', '.join(sorted(map(str, kinds)))}" if kinds else "")
            + f" ({reason.splitlines()[0]}); convert one of them, as by x.float()"
        ) from error
    if not torch.is_tensor(u) or u.shape != x.shape[:1]:
        got = tuple(u.shape) if torch.is_tensor(u) else type(u).__name__
        raise ValueError(
            f"energy(x) must have shape (N,) = {tuple(x.shape[:1])}, got {got}; "
            f"end the network with .squeeze(-1) or .sum(-1); x has shape {tuple(x.shape)}"
        )
    return u


def layer_problems(energy: Callable[[Tensor], Tensor]) -> list[str]:
    """Returns the problems of layers that couple rows or are random.

    Arguments:
        energy: The energy; one that is no module has none.
    """
    problems = []
    for name, layer in energy.named_modules() if isinstance(energy, nn.Module) else ():
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
    return problems


def buffers_of(energy: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Returns the buffers of a module, by name.

    Arguments:
        energy: The energy; one that is no module has none.
    """
    return dict(energy.named_buffers()) if isinstance(energy, nn.Module) else {}


def largest_change(
    u: Tensor, other: Tensor, tolerance: tuple[float, float] | None = None
) -> tuple[int, float]:
    """Returns the row whose energy changes most, and by how much; 0 for rounding alone.

    Arguments:
        u: Energies of rows, shape (N,).
        other: Energies of the same rows, shape (N,).
        tolerance: The share of the spread and the nats that are rounding; by the device and the
            arithmetic by default.
    """
    u, other, kind = u.double(), other.double(), u.dtype
    both = u.isfinite() & other.isfinite()
    change = torch.where(both, (u - other).abs(), 0.0)
    same = both | (u == other) | (u.isnan() & other.isnan())
    change = torch.where(same, change, torch.inf)
    low = torch.is_autocast_enabled(u.device.type) or u.device.type != "cpu" or kind.itemsize < 4
    share, floor = tolerance or (LOW_PRECISION if low else FULL_PRECISION)
    known = u[both]
    size = float(known.abs().max()) if len(known) else 0.0
    spread = float(known.std(correction=0)) if len(known) else 0.0
    rounding = max(share * spread, floor) + 64 * torch.finfo(kind).eps * size
    row = int(change.argmax())
    return row, float(change[row]) if float(change[row]) > rounding else 0.0
