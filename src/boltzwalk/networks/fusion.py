"""Fusion of a network for inference: the same function, evaluated faster.

Batch normalisation in evaluation mode is a scale and a shift, and is merged into the weights of the
layer before it; a spectrally normalised weight is computed once; images are channels-last from the
dense layer that makes them. No parameter requires a gradient.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

__all__ = ["fuse_for_inference"]

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def fuse_for_inference(network: Module) -> Module:
    """Returns a faster copy without trainable parameters, equal up to rounding.

    Arguments:
        network: A network in evaluation mode.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
        >>> fast, x = fuse_for_inference(network), torch.randn(5, 2)
        >>> len(fast), torch.allclose(fast(x), network(x), atol=1e-6)
        (1, True)
    """
    copied = copy.deepcopy(network)
    for layer in list(copied.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            _unparametrise(layer)
    for layer in list(copied.modules()):
        if isinstance(layer, nn.Sequential):
            _make_channels_last(layer)
            _fuse_batch_norm(layer)
    for layer in copied.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return copied.requires_grad_(False)


class _ChannelsLast(nn.Module):
    """Reshapes rows with features ordered (height, width, channels) to images."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = self.shape
        return x.reshape(len(x), height, width, channels).permute(0, 3, 1, 2)


def _make_channels_last(layers: nn.Sequential) -> None:
    """Reorders the features of a dense layer that makes images to channels-last, in place.

    A batch normalisation of the images is merged too, as one of the features.
    """
    if len(layers) < 2:
        return
    dense, images = layers[0], layers[1]
    if not (isinstance(dense, nn.Linear) and isinstance(images, nn.Unflatten)):
        return
    shape = tuple(images.unflattened_size)
    if len(shape) != 3:
        return
    channels, height, width = (int(side) for side in shape)
    order = torch.arange(channels * height * width).view(channels, height, width)
    order = order.permute(1, 2, 0).flatten()
    dense.weight.copy_(dense.weight[order])
    if dense.bias is not None:
        dense.bias.copy_(dense.bias[order])
    layers[1] = _ChannelsLast((channels, height, width))
    norm = layers[2] if len(layers) > 2 else None
    if not isinstance(norm, nn.BatchNorm2d):
        return
    flat = nn.BatchNorm1d(len(order), eps=norm.eps, affine=norm.affine).eval()
    for name, value in norm.state_dict().items():
        if value.ndim:  # all but the count of batches
            getattr(flat, name).data = value.repeat(height * width)
    layers[0] = fuse_linear_bn_eval(dense, flat)
    del layers[2]


def _unparametrise(layer: nn.Module) -> None:
    """Replaces a parametrised weight by its current value, in place.

    PyTorch's removal deletes the weight from the class, which the copy shares with the original.
    """
    weight = layer.weight.detach().clone()  # type: ignore[operator]
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer._modules["parametrizations"]
    layer.weight = nn.Parameter(weight)


def _fuse_batch_norm(layers: nn.Sequential) -> None:
    """Merges every batch normalisation into the layer before it, in place."""
    index = 1
    while index < len(layers):
        before, norm = layers[index - 1], layers[index]
        fused: nn.Module | None = None
        if isinstance(norm, nn.BatchNorm2d) and isinstance(before, nn.Conv2d | nn.ConvTranspose2d):
            transposed = isinstance(before, nn.ConvTranspose2d)
            fused = fuse_conv_bn_eval(before, norm, transpose=transposed)
        elif isinstance(norm, nn.BatchNorm1d) and isinstance(before, nn.Linear):
            fused = fuse_linear_bn_eval(before, norm)
        if fused is None:
            index += 1
        else:
            layers[index - 1] = fused
            del layers[index]
