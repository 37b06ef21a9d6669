"""How the weights of a network start."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import nn

__all__ = ["Initial", "initialise"]

Initial: TypeAlias = float | Literal["default", "xavier"]
"""A number is the standard deviation of normal weights; "xavier" is uniform with the variance
2 / (fan_in + fan_out); "default" leaves PyTorch's, uniform within 1 / sqrt(fan_in)."""


def initialise(module: nn.Module, initial: Initial) -> None:
    """Draws the weights of every linear and convolution layer anew, in place.

    Biases become zero, except under "default", which changes nothing.

    Arguments:
        module: The network, not yet spectrally normalised.
        initial: How to draw.

    Raises:
        ValueError: If ``initial`` is neither a positive number nor one of the names.

    Example:
        >>> layer = nn.Linear(300, 300)
        >>> initialise(layer, 0.005)
        >>> round(layer.weight.std().item(), 4), layer.bias.abs().max().item()
        (0.005, 0.0)
    """
    if initial == "default":
        return
    if initial != "xavier" and not (isinstance(initial, float) and initial > 0):
        raise ValueError(
            f"initial must be 'default', 'xavier' or a positive standard deviation, got {initial!r}"
        )
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            if isinstance(initial, float):
                nn.init.normal_(layer.weight, std=initial)
            else:
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
