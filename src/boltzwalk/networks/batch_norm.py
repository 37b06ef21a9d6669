"""Batch statistics and dropout, active only in a training step of the network itself.

Batch normalisation by the statistics of a batch makes each row depend on the others. Chains that
are decoded or moved by such a layer would be coupled, and would not have their stated distribution.
Generators and encoders therefore stay in evaluation mode, where running statistics normalise and
nothing is dropped, except within :func:`batch_statistics`.

The published codes of cooperative learning differ: they normalise by the batch at all times, also
when they sample, and the encoder for MNIST drops a fifth of its features even at test time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Dropout", "batch_statistics", "calibrate_batch_norm"]


class Dropout(nn.Module):
    r"""Sets features to zero at random and scales the others by :math:`1 / (1 - p)`.

    Active only within :func:`batch_statistics`, with the random generator given there.

    Arguments:
        p: The probability of dropping a feature, in [0, 1).

    Raises:
        ValueError: If p is outside [0, 1).

    Example:
        >>> layer, x = Dropout(0.5), torch.ones(1000)
        >>> with batch_statistics(layer, torch.Generator().manual_seed(0)):
        ...     sorted(set(layer(x).tolist()))
        [0.0, 2.0]
        >>> bool((layer(x) == x).all())
        True
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(
                f"dropout must be in [0, 1), got {p}; write the probability with which a feature "
                "is dropped, 0 for none"
            )
        self.p = p
        self.rng: torch.Generator | None = None
        self.eval()

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns the features after dropout, of the same shape."""
        if self.rng is None or self.p == 0:
            return x
        uniform = torch.rand(x.shape, generator=self.rng, dtype=x.dtype, device=x.device)
        return x * (uniform >= self.p) / (1 - self.p)


@contextmanager
def batch_statistics(network: nn.Module, rng: torch.Generator) -> Iterator[None]:
    """Enables batch statistics and dropout within a ``with`` block, for one forward pass.

    Every pass in the block updates the running statistics with weight 0.1. On exit, also by an
    error, the mode of every layer is restored.

    Arguments:
        network: The network that is trained, or several in one module.
        rng: The random generator of dropout, on the device of the network.

    Example:
        >>> layer = nn.BatchNorm1d(1).eval()
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> with batch_statistics(layer, torch.Generator()):
        ...     inside = layer(x).mean().item()
        >>> round(inside, 4), layer.training, round(layer.running_mean.item(), 4)
        (0.0, False, 0.1)
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm | Dropout)]
    before = [(layer.training, getattr(layer, "rng", None)) for layer in layers]
    try:
        for layer in layers:
            layer.training = True
            if isinstance(layer, Dropout):
                layer.rng = rng
        yield
    finally:
        for layer, (mode, previous) in zip(layers, before, strict=True):
            layer.training = mode
            if isinstance(layer, Dropout):
                layer.rng = previous


@torch.no_grad()
def calibrate_batch_norm(
    network: nn.Module, inputs: Float[Tensor, "N ..."], rng: torch.Generator
) -> None:
    """Sets the running statistics of batch normalisation to those of one batch, in place.

    Otherwise an untrained network with small weights maps all inputs to nearly the same event: its
    running variances are 1, and the true ones a thousandth of that.

    Arguments:
        network: The network.
        inputs: The batch, two rows or more.
        rng: The random generator of dropout.

    Example:
        >>> layer = nn.BatchNorm1d(1)
        >>> calibrate_batch_norm(layer, torch.tensor([[0.0], [2.0]]), torch.Generator())
        >>> layer.running_mean.item(), layer.running_var.item()
        (1.0, 2.0)
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    before = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the average over all batches: here one
        with batch_statistics(network, rng):
            network(inputs)
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
