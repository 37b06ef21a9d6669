r"""A network as an energy: trunk, linear head, sum.

.. math:: U(x) = \sum_j \big( W h(x) + b \big)_j

with features :math:`h` from a trunk of any architecture. Most networks have one output; the
cooperative networks of Xie et al. add up a hundred, which multiplies the learning rate of the head.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .event import require_event_shape

__all__ = ["Network", "Skip"]


class Network(nn.Module):
    r"""Maps events of one shape to energies.

    Images run through convolutions in the channels-last layout, with which the short-run network
    is 1.2 times as fast on one processor core. The head and the sum run in the precision of the
    parameters even under `torch.autocast`: what counts is differences of energies, and bfloat16
    has three digits.

    A network has no training mode: :math:`U` must be the same function at every call, so spectral
    normalisation iterates only in :func:`~boltzwalk.energies.spectral.power_iteration`.

    Arguments:
        event_shape: The shape of one event.
        trunk: Maps (N, \*event) to features (N, F).
        head: The last layer, from F features to the outputs that are summed.
    """

    def __init__(self, event_shape: tuple[int, ...], trunk: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.trunk = trunk
        self.head = head
        self.channels_last = any(isinstance(layer, nn.Conv2d) for layer in trunk.modules())
        if self.channels_last:
            nn.utils.convert_conv2d_weight_memory_format(self.trunk, torch.channels_last)
        self.eval()

    def forward(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(x)`, shape (N,)."""
        require_event_shape(x, self.event_shape)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        features = self.trunk(x)
        with torch.autocast(x.device.type, enabled=False):
            if features.dtype in (torch.bfloat16, torch.float16):
                features = features.float()
            outputs: Tensor = self.head(features)
            return outputs.sum(1)

    def train(self, mode: bool = True) -> Network:
        """Stays in evaluation mode whatever ``mode`` says."""
        return super().train(False)


class Skip(nn.Module):
    r"""Returns :math:`s(x) + f(x)`: a residual block.

    Arguments:
        inner: The map :math:`f`.
        shortcut: The map :math:`s`; the identity by default.

    Example:
        >>> Skip(nn.Flatten(0))(torch.ones(2)).tolist()
        [2.0, 2.0]
    """

    def __init__(self, inner: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """Returns the sum of both maps."""
        y: Tensor = self.shortcut(x) + self.inner(x)
        return y
