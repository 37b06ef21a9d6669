r"""Spectral normalisation: layers whose matrices have operator norm one.

.. math:: W \leftarrow W / \sigma(W) , \qquad \sigma(W) = u^\top W v ,

with the leading singular vectors u, v tracked by one power iteration in each update. It bounds the
slope of the energy, :math:`|\nabla U| \le 1` for a multilayer network with activations of slope at
most one, and with it the distance that a chain of K steps can travel.

A convolution's matrix here is its kernel, reshaped to (out, in * height * width), as is usual. The
operator norm of the convolution itself may be larger, so no such bound holds for it.

Sampling must be pure: an energy that iterates when it is evaluated would differ between the two
ends of one step. The iteration therefore runs only when :func:`power_iteration` is called.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

__all__ = ["add_spectral_norm", "power_iteration"]


def add_spectral_norm(module: nn.Module) -> None:
    """Normalises the weights of every linear and convolution layer, in place.

    Layers that are normalised already are left alone. The vectors start with 15 iterations, from
    numbers of the global generator.

    Arguments:
        module: The network.

    Raises:
        ValueError: If the weights of a layer are all zero.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1))
        >>> add_spectral_norm(network)
        >>> power_iteration(network)
        >>> round(torch.linalg.matrix_norm(network[2].weight, ord=2).item(), 3)
        1.0
    """
    for name, layer in list(module.named_modules()):
        if not isinstance(layer, nn.Linear | nn.Conv2d) or parametrize.is_parametrized(layer):
            continue
        if not layer.weight.any():
            raise ValueError(
                "spectral normalisation divides by the norm of the weights, which must not be "
                f"zero, got all zeros in the layer {name!r}; leave out spectral_norm or the start "
                "at zero"
            )
        parametrizations.spectral_norm(layer)
        layer.get_submodule("parametrizations").eval()


@torch.no_grad()
def power_iteration(energy: nn.Module) -> None:
    """Runs one power iteration in every spectrally normalised layer, in place.

    Call it once after each update of the parameters. Other layers do not change.

    Arguments:
        energy: The energy.
    """
    for layer in energy.modules():
        if parametrize.is_parametrized(layer, "weight"):
            weight = layer.get_submodule("parametrizations.weight")
            modes = [(part, part.training) for part in weight.modules()]
            weight.train()()
            for part, training in modes:
                part.training = training
