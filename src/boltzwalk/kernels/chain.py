r"""Chains of K steps of one kernel, :math:`x_0, x_1, \dots, x_K`, and their diagnostics.

All methods move their walkers with :func:`run_chain`, and log :func:`chain_metrics`. The loop keeps
neither a graph nor past positions, so memory does not grow with K, and but for the check at its
start it reads nothing back from the device.

Not guaranteed: convergence. The diagnostics describe the chain, they do not prove that it
converged.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..energy import Energy, require_same_energy
from ..kernel import Kernel
from ..walkers import Walkers

__all__ = [
    "ChainInfo",
    "chain_metrics",
    "out_of_range",
    "relative_scale",
    "require_movable",
    "run_chain",
    "walker_distance",
]


class ChainInfo(NamedTuple):
    r"""Diagnostics of a chain, each of shape (); nan where not requested.

    Attributes:
        acceptance: The acceptance probability, mean over walkers and steps.
        gradient_first: The gradient norm :math:`\|\nabla U(x_0)\|`, mean over walkers.
        gradient_mean: The same at the start of every step, mean over :math:`x_0, \dots, x_{K-1}`.
        gradient_last: The same at the end of the chain, :math:`x_K`.
        displacement: The distance :math:`\|x_K - x_0\|`, mean over walkers.
    """

    acceptance: Float[Tensor, ""]
    gradient_first: Float[Tensor, ""]
    gradient_mean: Float[Tensor, ""]
    gradient_last: Float[Tensor, ""]
    displacement: Float[Tensor, ""]


def run_chain(
    kernel: Kernel,
    energy: Energy,
    walkers: Walkers,
    steps: int,
    rng: torch.Generator,
    diagnose: bool = True,
    check: bool = True,
) -> tuple[Walkers, ChainInfo]:
    """Moves the walkers by K steps of the kernel.

    Arguments:
        kernel: The kernel.
        energy: The energy, which must be the one that evaluated the walkers.
        walkers: The walkers at the start.
        steps: The number of steps K.
        rng: The random generator.
        diagnose: Whether to measure gradients and displacement. The cost is negligible for a
            network, and about 3 % of the time for a formula in two dimensions.
        check: Whether to check that every walker can move, and that the energy is the one that
            evaluated them, at the cost of evaluating up to 16 of them once more. Methods leave
            it out inside of an update, where the training loop checks both without waiting for the
            device.

    Raises:
        ValueError: If ``steps`` is below 1, or the energy is random, depends on the other walkers,
            or is not the one that evaluated them.
        FloatingPointError: If a walker could not move from its start: see :func:`require_movable`.

    Example:
        >>> from boltzwalk.kernels import MALA
        >>> from boltzwalk.walkers import walkers_at
        >>> energy, rng = lambda x: x.square().sum(-1) / 2, torch.Generator().manual_seed(0)
        >>> walkers = walkers_at(energy, torch.ones(100, 2))
        >>> walkers, info = run_chain(MALA(0.1), energy, walkers, 20, rng)
        >>> info.gradient_first, bool(info.acceptance > 0.9)
        (tensor(1.4142), True)
    """
    if steps < 1:
        raise ValueError(f"a chain needs steps >= 1, got {steps}; write steps=1 for one step")
    if check:
        require_movable(walkers)
        require_same_energy(energy, walkers.x, walkers.energy)
    start = walkers
    acceptance = torch.zeros_like(walkers.energy)
    gradient_sum = torch.zeros_like(walkers.energy)
    for _ in range(steps):
        if diagnose:
            gradient_sum += _norm(walkers.grad)
        walkers, info = kernel.step(energy, walkers, rng)
        acceptance += info.acceptance
    mean_acceptance = acceptance.mean() / steps
    if not diagnose:
        nan = torch.full_like(mean_acceptance, math.nan)
        return walkers, ChainInfo(mean_acceptance, nan, nan, nan, nan)
    return walkers, ChainInfo(
        acceptance=mean_acceptance,
        gradient_first=_norm(start.grad).mean(),
        gradient_mean=gradient_sum.mean() / steps,
        gradient_last=_norm(walkers.grad).mean(),
        displacement=_norm(walkers.x - start.x).mean(),
    )


def require_movable(walkers: Walkers) -> None:
    """Raises unless every walker has a gradient to move by.

    A walker with a gradient that is nan or infinite proposes points that no kernel accepts, and one
    with the energy minus infinity or nan accepts none: they would stay where they are for ever.
    Where the energies of all walkers are nan it is the energy that is broken, which a training
    reports with its cause.

    Arguments:
        walkers: The walkers at the start of a chain.

    Raises:
        FloatingPointError: With the number of such walkers, and the first of them.
    """
    bad = (
        ~walkers.grad.flatten(1).isfinite().all(1)
        if walkers.grad.ndim > 1
        else (~walkers.grad.isfinite())
    )
    bad = bad | walkers.energy.isnan() | (walkers.energy == -math.inf)
    count = int(bad.sum())
    if not count or bool(walkers.energy.isnan().all()):
        return
    row = int(bad.nonzero()[0])
    wrong = int((~walkers.grad[row].isfinite()).sum())
    raise FloatingPointError(
        f"{count} of {len(walkers)} walkers cannot move, the first in row {row}: its energy is "
        f"{float(walkers.energy[row]):.6g} and {wrong} entries of its gradient are not finite; "
        "write an energy with a finite gradient wherever it is finite, such as "
        "(x.square().sum(1) + 1e-12).sqrt() for a norm, or start elsewhere"
    )


def _norm(field: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    """Returns the Euclidean norm over the event, shape (N,)."""
    event = tuple(range(1, field.ndim))
    return torch.linalg.vector_norm(field, dim=event) if event else field.abs()


def chain_metrics(
    kernel: Kernel,
    steps: int,
    data: Float[Tensor, "B *event"],
    x: Float[Tensor, "N *event"],
    chain: ChainInfo,
) -> dict[str, Tensor]:
    r"""Returns the logged metrics of a chain, without further evaluations of the energy.

    The travel :math:`K \varepsilon v`, with the mean gradient norm :math:`v`, is the distance that
    the drift alone moves a walker; it is omitted for kernels whose steps do not grow with the
    gradient. The noise path :math:`K \sqrt{2 \varepsilon T D}`, in D dimensions, is the length of
    the steps of the noise alone. In equilibrium the travel is at most the noise path where
    :math:`\varepsilon` times the stiffness is below 1.

    Arguments:
        kernel: The kernel that moved the walkers.
        steps: The number of steps K.
        data: A batch of data, shape (B, \*event).
        x: The positions of the walkers, shape (N, \*event).
        chain: The diagnostics of the chain.
    """
    metrics = {
        "gradient_first": chain.gradient_first,
        "gradient_mean": chain.gradient_mean,
        "gradient_last": chain.gradient_last,
        "displacement": chain.displacement,
        "acceptance": chain.acceptance,
        "temperature": torch.as_tensor(kernel.temperature),
    }
    if not math.isnan(kernel.drift):
        metrics["travel"] = steps * kernel.drift * chain.gradient_mean
        width = math.sqrt(2 * kernel.drift * kernel.temperature * x[0].numel())
        metrics["noise_path"] = torch.as_tensor(steps * width)
    return metrics | {
        "out_of_range": out_of_range(data, x),
        "walker_scale": relative_scale(data, x),
        "walker_distance": walker_distance(data, x),
    }


def out_of_range(
    data: Float[Tensor, "B *event"], x: Float[Tensor, "N *event"]
) -> Float[Tensor, ""]:
    r"""Returns the share of coordinates beyond the range of the data by over a twentieth of it.

    The range is that of each column of a table, or of all pixels of images together.

    Arguments:
        data: A batch of data, shape (B, \*event).
        x: Walkers, shape (N, \*event).

    Example:
        >>> import torch
        >>> out_of_range(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [1.04], [9.0], [-1.0]]))
        tensor(0.5000)
    """
    columns, walkers = (data, x) if data.ndim == 2 else (data.reshape(-1, 1), x.reshape(-1, 1))
    low, high = columns.aminmax(dim=0)
    margin = (high - low) / 20
    outside = (walkers < low - margin) | (walkers > high + margin)
    return outside.to(data.dtype).mean()


def relative_scale(
    data: Float[Tensor, "B *event"], x: Float[Tensor, "N *event"]
) -> Float[Tensor, ""]:
    r"""Returns the distance of walkers from the mean of the data, over that of the data.

    .. math:: \left( \overline{\|x - \bar y\|^2} / \overline{\|y - \bar y\|^2} \right)^{1/2}

    Arguments:
        data: A batch of data y, shape (B, \*event).
        x: Walkers, shape (N, \*event).

    Example:
        >>> relative_scale(torch.tensor([[-1.0], [1.0]]), torch.tensor([[3.0], [-3.0]]))
        tensor(3.)
    """
    variance, mean = torch.var_mean(data, 0, correction=0)
    squares = (x - mean).square().mean()
    return (squares / variance.mean().clamp_min(torch.finfo(data.dtype).tiny)).sqrt()


PAIRED = (128, 512)
"""Rows and walkers of which a distance is computed; weighted walkers are worth fewer."""


@torch.no_grad()
def walker_distance(
    data: Float[Tensor, "B *event"],
    x: Float[Tensor, "N *event"],
    log_w: Float[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    r"""Returns the root of the energy coefficient of a batch y and walkers x; 0 where they agree.

    .. math:: H = \frac{2 E|x - y| - E|x - x'| - E|y - y'|}{2 E|x - y|} \in [0, 1]

    Arguments:
        data: A batch of data y, shape (B, \*event).
        x: Walkers, shape (N, \*event).
        log_w: Their log-weights, shape (N,); None for equal ones.

    References:
        | Energy statistics (Szekely and Rizzo, 2013), https://doi.org/10.1016/j.jspi.2013.03.018

    Example:
        >>> walker_distance(torch.zeros(4, 1), torch.ones(4, 1))
        tensor(1.)
    """
    n = PAIRED[0] if log_w is None else PAIRED[1]
    y, x = data[: PAIRED[0]].flatten(1).float(), x[:n].flatten(1).float()
    log_w = x.new_zeros(len(x)) if log_w is None else log_w[:n].float()
    p, q = torch.softmax(log_w, 0), y.new_full((len(y),), 1 / len(y))
    # Sums, not products of matrices: those autocast would round. Without the pairs of a row with
    # itself, whose distance is 0.
    between = (p[:, None] * torch.cdist(x, y) * q).sum()
    within_x, within_y = (
        (w[:, None] * torch.cdist(z, z) * w).sum() / (1 - w.square().sum()).clamp_min(1e-6)
        for z, w in ((x, p), (y, q))
    )
    h = 1 - (within_x + within_y) / (2 * between).clamp_min(torch.finfo(between.dtype).tiny)
    return h.clamp(0, 1).sqrt()
