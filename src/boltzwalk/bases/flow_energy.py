r"""A normalising flow as an energy with a known log Z, to judge methods that estimate it.

.. math:: U_\psi(x) = -\log p_\psi(x) - a(\psi) , \qquad
    a(\psi) = -\sum_t \overline{|\psi_t|} , \qquad
    \log Z = a(\psi) ,

with the density :math:`p_\psi` of a flow and, for each of its tensors :math:`\psi_t`, the mean of
its absolute entries. Methods learn it as if :math:`\log Z` were unknown. The likelihood is then
judged exactly, as :math:`-\log p_\psi(x) = U_\psi(x) + a(\psi)`, and the method's estimate of
:math:`\log Z` is compared with the true one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..energy import require_event_shape
from .flow import Flow, NormalizingFlow

__all__ = ["FlowEnergy", "LearntFlow"]


class LearntFlow(nn.Module):
    r"""The energy :math:`-\log p(x) - a` of a flow.

    Arguments:
        flow: The flow.

    Example:
        >>> energy = FlowEnergy(Flow(transforms=2, widths=(8,))).build((3,), rng_seed=0)
        >>> x = torch.zeros(5, 3)
        >>> bool(torch.allclose(energy(x) + energy.log_z, -energy.flow.log_density(x)))
        True
    """

    def __init__(self, flow: NormalizingFlow) -> None:
        super().__init__()
        self.flow = flow
        self.event_shape = flow.event_shape
        self.eval()

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, self.event_shape)
        return -self.flow.log_density(x) - self.log_partition()

    def log_partition(self) -> Float[Tensor, ""]:
        r"""Returns :math:`\log Z = a(\psi)`, shape (), with the graph of the parameters."""
        return -torch.stack([tensor.abs().mean() for tensor in self.flow.parameters()]).sum()

    @property
    def log_z(self) -> float:
        r"""The current :math:`\log Z`, exact."""
        return float(self.log_partition().detach())

    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *event"]:
        r"""Returns n exact samples of the current density, shape (n, \*event)."""
        return self.flow.sample(n, rng)


@dataclass(frozen=True)
class FlowEnergy:
    r"""Settings of a trainable energy that is a flow, with a known nonzero log Z.

    Attributes:
        flow: The flow.

    References:
        | Generalized energy based models (Arbel, Zhou, Gretton, 2021)
        | https://arxiv.org/abs/2003.05033

    Example:
        >>> energy = FlowEnergy().build((11,), rng_seed=0)
        >>> round(energy.log_z, 1)
        -3.2
    """

    flow: Flow = field(default_factory=Flow)

    exact_likelihood: ClassVar[bool] = True

    def build(
        self, event_shape: tuple[int, ...], rng_seed: int, data: Tensor | None = None
    ) -> LearntFlow:
        """Returns the energy, on the CPU, in the default dtype.

        The same seed gives the same parameters; no global generator changes.

        Arguments:
            event_shape: The shape of one event.
            rng_seed: The seed of the initial parameters.
            data: Not used.

        Raises:
            ValueError: If the events have no entries, or too many.
        """
        return LearntFlow(self.flow.build(event_shape, rng_seed, data))
