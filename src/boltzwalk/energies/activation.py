"""The activations that a network may be built with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from torch import nn

__all__ = ["Activation", "activation_layer"]

Activation: TypeAlias = Literal["elu", "gelu", "leaky_relu", "relu", "silu", "softplus", "tanh"]
"""Smooth ones (elu to order one, gelu, silu, softplus, tanh) give forces without jumps; relu and
leaky_relu give piecewise constant forces in a multilayer network."""

_LAYERS: dict[Activation, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def activation_layer(activation: Activation, leak: float) -> nn.Module:
    """Returns a new activation layer.

    Arguments:
        activation: Which.
        leak: The slope of leaky_relu for negative inputs; the others ignore it.

    Raises:
        ValueError: If there is no such activation.

    Example:
        >>> activation_layer("leaky_relu", leak=0.2)
        LeakyReLU(negative_slope=0.2)
    """
    if activation == "leaky_relu":
        return nn.LeakyReLU(leak)
    if activation not in _LAYERS:
        raise ValueError(
            f"activation must be one of {sorted([*_LAYERS, 'leaky_relu'])}, got {activation!r}"
        )
    return _LAYERS[activation]()
