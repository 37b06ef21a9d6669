"""The one place where batch statistics and dropout are on: a network's own step of learning.

Batch normalisation by the statistics of a batch makes one row depend on the others. Chains that are
drawn, decoded or moved through such a layer would be coupled, and none would have the distribution
it is said to have. The networks of this room therefore stay in evaluation mode, where running
statistics normalise and nothing is dropped, except within :func:`learning`.

The published codes of cooperative learning do otherwise: theirs normalise by the batch at all
times, also when they sample, and the encoder for MNIST drops a fifth of its features even at test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Dropout", "learning", "settle"]


class Dropout(nn.Module):
    r"""Sets features to zero at random and scales the others by :math:`1 / (1 - p)`.

    It does so within :func:`learning` only, with the numbers of the generator given there.

    Arguments:
        p: The probability with which a feature is dropped, in [0, 1).

    Raises:
        ValueError: If p is no such probability.

    Example:
        >>> layer, x = Dropout(0.5), torch.ones(1000)
        >>> with learning(layer, torch.Generator().manual_seed(0)):
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
        """Returns the features that are left, of the same shape."""
        if self.rng is None or self.p == 0:
            return x
        uniform = torch.rand(x.shape, generator=self.rng, dtype=x.dtype, device=x.device)
        return x * (uniform >= self.p) / (1 - self.p)


@contextmanager
def learning(network: nn.Module, rng: torch.Generator) -> Iterator[None]:
    """Switches batch statistics and dropout on within the block, for one forward pass.

    Every pass in the block moves the running statistics, by a tenth of the way. On leaving, also by
    an error, every layer is as it was.

    Arguments:
        network: The network that learns, or several in one module.
        rng: The generator of what is dropped, on the device of the network.

    Example:
        >>> layer = nn.BatchNorm1d(1).eval()
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> with learning(layer, torch.Generator()):
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
def settle(network: nn.Module, inputs: Float[Tensor, "N ..."], rng: torch.Generator) -> None:
    """Sets the running statistics to those of one batch, in place.

    Otherwise a network of small weights that has not learnt yet gives one and the same event for
    all inputs: its running variances are 1, and the true ones a thousandth of that.

    Arguments:
        network: The network.
        inputs: The batch, two rows or more.
        rng: The generator of what is dropped.

    Example:
        >>> layer = nn.BatchNorm1d(1)
        >>> settle(layer, torch.tensor([[0.0], [2.0]]), torch.Generator())
        >>> layer.running_mean.item(), layer.running_var.item()
        (1.0, 2.0)
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    before = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # an average over all batches, of which there is one
        with learning(network, rng):
            network(inputs)
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
