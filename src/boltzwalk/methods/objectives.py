r"""Objectives of an energy relative to a base that can be drawn from.

For data P, a base B and an energy E relative to it,

.. math:: A = \log \mathbb E_B\, e^{-E} , \qquad
    L(E) = -\mathbb E_P E - A , \qquad
    F(E, c) = -\mathbb E_P E - c - \mathbb E_B\, e^{-E - c} + 1 .

L is the generalized log-likelihood: the gain of :math:`e^{-E - A} B` over B in nats, defined even
where neither has a density. F is below it by the gap

.. math:: L - F = e^{A - c} - 1 - (A - c) \ge 0 ,

which is 0 at :math:`c = A` and not symmetric: c too small by 5.6 costs 264, too large 4.6. So one
number c that learns slowly stands for A, which a batch sees with noise only.

Not guaranteed: that c is A. A likelihood computed from c alone is wrong by their difference.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..energy import Energy, energy_and_grad
from ..walkers import effective_sample_size

__all__ = [
    "Objective",
    "base_loss",
    "donsker_varadhan",
    "energy_loss",
    "gap_metrics",
    "generator_gradient",
    "kale",
    "log_partition",
    "log_partition_loss",
    "squared_slopes",
    "squashed_gradient",
]

Objective: TypeAlias = Literal["kale", "donsker_varadhan", "logistic", "hinge"]
"""What is optimised: F, L with the A of the batch, or, with E as critic, one of two GANs."""


def log_partition(energy: Float[Tensor, " M"]) -> Float[Tensor, ""]:
    r"""Returns :math:`\hat A = \log \frac1M \sum_m e^{-E(y_m)}` in float64.

    Arguments:
        energy: The energies of base samples, shape (M,).

    Example:
        >>> log_partition(torch.tensor([0.0, 1000.0])).item()
        -0.6931471805599453
    """
    return torch.logsumexp(-energy.double(), 0) - math.log(len(energy))


def kale(
    data: Float[Tensor, " N"], base: Float[Tensor, " M"], c: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    r"""Returns :math:`F = -\overline{E(x)} - c - \overline{e^{-E(y) - c}} + 1`, in float64.

    Arguments:
        data: The energies of data, shape (N,).
        base: The energies of base samples, shape (M,).
        c: What stands for the log-partition.

    References:
        | Generalized energy based models (Arbel, Zhou and Gretton, 2021)
    """
    c = c.double()
    return 1 - data.double().mean() - c - torch.exp(log_partition(base) - c)


def donsker_varadhan(data: Float[Tensor, " N"], base: Float[Tensor, " M"]) -> Float[Tensor, ""]:
    r"""Returns :math:`L = -\overline{E(x)} - \hat A`, in float64.

    Arguments:
        data: The energies of data, shape (N,).
        base: The energies of base samples, shape (M,).
    """
    return -data.double().mean() - log_partition(base)


def energy_loss(
    objective: Objective,
    data: Float[Tensor, " N"],
    base: Float[Tensor, " M"],
    c: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Returns the loss of the energy; c gets no gradient from it.

    Arguments:
        objective: Which.
        data: The energies of data, shape (N,).
        base: The energies of base samples, shape (M,).
        c: What stands for the log-partition in the first objective.
    """
    if objective == "kale":
        return -kale(data, base, c.detach())
    if objective == "donsker_varadhan":
        return -donsker_varadhan(data, base)
    if objective == "logistic":
        return (functional.softplus(data).mean() + functional.softplus(-base).mean()).double()
    return (functional.relu(1 + data).mean() + functional.relu(1 - base).mean()).double()


def base_loss(
    objective: Objective, base: Float[Tensor, " M"], reweight: bool = True
) -> Float[Tensor, ""]:
    r"""Returns the loss of the base: :math:`-\hat A`, or that of the generator of a GAN.

    Its gradient is :math:`\sum_m w_m \nabla E(y_m)` with :math:`w = \mathrm{softmax}(-E)`: that of
    a GAN, weighted towards samples of low energy. The learnt c is not used.

    Arguments:
        objective: Which.
        base: The energies of base samples, shape (M,), with their graph.
        reweight: Whether to weigh; otherwise all samples count the same.
    """
    if objective == "logistic":
        return functional.softplus(base).mean().double()
    if objective == "hinge" or not reweight:
        return base.double().mean()
    return -log_partition(base)


def log_partition_loss(c: Float[Tensor, ""], estimate: Float[Tensor, ""]) -> Float[Tensor, ""]:
    r"""Returns 0, with the gradient :math:`e^{c - \hat A} - 1` for c.

    That of F is :math:`g = 1 - e^{\hat A - c}`, which explodes where c is too small; this one,
    :math:`g / (1 - g)`, has the same sign and is never below -1.

    Arguments:
        c: What stands for the log-partition.
        estimate: The log-partition of a batch.

    Example:
        >>> c = torch.tensor(-50.0, requires_grad=True)
        >>> log_partition_loss(c, torch.tensor(0.0)).backward()
        >>> c.grad
        tensor(-1.)
    """
    slope = torch.expm1(c.detach() - estimate.detach())
    return (c - c.detach()) * slope


def generator_gradient(energy: Energy, y: Float[Tensor, "M *event"]) -> Float[Tensor, " M"]:
    """Returns E(y) with a graph to y alone: parameters of the energy get no gradient.

    Arguments:
        energy: The energy.
        y: What a base made, with its graph, shape (M, *event).

    Example:
        >>> y = torch.tensor([[3.0]], requires_grad=True)
        >>> generator_gradient(lambda x: x.square().sum(1), y).sum().backward()
        >>> y.grad
        tensor([[6.]])
    """
    e, slope = energy_and_grad(energy, y)
    return e + (slope * (y - y.detach())).flatten(1).sum(1)


def squashed_gradient(loss: Float[Tensor, ""], parameters: list[nn.Parameter]) -> Float[Tensor, ""]:
    r"""Returns the loss with another gradient: :math:`g` becomes :math:`2 g / (1 + g^2)`.

    Arguments:
        loss: The loss, shape ().
        parameters: The parameters, each entry of whose gradient is mapped.

    Example:
        >>> p = nn.Parameter(torch.tensor(3.0))
        >>> squashed_gradient(p.square() / 2, [p]).backward()
        >>> round(p.grad.item(), 6)
        0.6
    """
    gradients = torch.autograd.grad(loss, parameters)
    pairs = zip(parameters, gradients, strict=True)
    terms = [((p - p.detach()) * (2 * g / (1 + g.square()))).sum() for p, g in pairs]
    return loss.detach() + torch.stack(terms).sum()


def squared_slopes(
    energy: Energy,
    x: Float[Tensor, "N *event"],
    y: Float[Tensor, "M *event"],
    rng: torch.Generator,
) -> Float[Tensor, ""]:
    r"""Returns :math:`\overline{|\nabla E|^2}` at random points between x and y, with its graph.

    Arguments:
        energy: The energy E.
        x: Rows of data, shape (N, \*event).
        y: Base samples, shape (M, \*event).
        rng: The source of the points.
    """
    n = min(len(x), len(y))
    share = torch.rand((n, *[1] * (x.ndim - 1)), generator=rng, dtype=x.dtype, device=x.device)
    points = (share * x[:n] + (1 - share) * y[:n]).requires_grad_()
    e = energy(points)
    with torch.autocast(x.device.type, enabled=False):
        (slope,) = torch.autograd.grad(e.sum(), points, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
    return norms.square().mean()


@torch.no_grad()
def gap_metrics(
    data: Float[Tensor, " N"], base: Float[Tensor, " M"], c: Float[Tensor, ""] | None
) -> dict[str, Tensor]:
    """Returns the numbers to log of an update: energies, weights, objective.

    Arguments:
        data: The relative energies of data, shape (N,).
        base: The relative energies of base samples, shape (M,).
        c: The log-partition; None where the objective has none.
    """
    metrics = {
        "energy_gap": data.mean() - base.mean(),
        "energy_data": data.mean(),
        "energy_walkers": base.mean(),
        "log_partition_estimate": log_partition(base),
        "ess": effective_sample_size(-base.double()) / len(base),
    }
    if c is None:
        return metrics | {"kale": donsker_varadhan(data, base)}
    c = c.detach().clone()
    return metrics | {"kale": kale(data, base, c), "log_partition": c}
