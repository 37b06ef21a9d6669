r"""PyTorch's layers, with the same parameters and results, faster where chains spend their time.

Measured on one core (x86, AVX-512, PyTorch 2.13), forward and input gradient together unless said
otherwise:

* a dense layer in float32 as a convolution with a kernel of one pixel: 1.4 to 2.2 times as fast,
  because PyTorch's convolutions and its matrix products come from different libraries;
* a dense layer of few inputs with its weights in the other order in memory: 2 times, and the
  gradient of its parameters 4 times;
* the input gradient alone of a strided convolution of few channels as a convolution of stride one:
  2 to 4 times;
* the gradient of an activation before the flattening, in the layout of the activation: 10 to 30
  times.

For whole steps that is 1.6 to 1.8 (multilayer networks, float32, thousands of walkers), 1.2 to 1.3
(small networks for 28 x 28), and 1.02 to 1.2 (large ones for 32 x 32).

Elsewhere (small batches, other devices and types) the layers are PyTorch's. They inherit from them,
so that initialisation, spectral normalisation and saved files need not tell them apart.

The activations that a network may be built with.

How the weights of a network start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Activation",
    "Convolution",
    "Dense",
    "Flatten",
    "Initial",
    "activation_layer",
    "initialise",
]


LARGE = 1 << 23
"""Multiplications from which a dense layer is a convolution; below, the set-up costs more."""

FEW_INPUTS = 8
"""Inputs up to which a dense layer is better off with its weights transposed in memory."""

FEW_PIXELS = 16
"""Channels times sub-pixels up to which they fill one vector, and are better off together."""


class Dense(nn.Linear):
    """Maps (N, inputs) to (N, outputs), linearly.

    Example:
        >>> layer, x = Dense(64, 64), torch.randn(2048, 64)
        >>> torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    """

    def forward(self, x: Float[Tensor, "N inputs"]) -> Float[Tensor, "N outputs"]:
        """Returns the map of every row."""
        weight = self.weight
        (outputs, inputs), rows = weight.shape, len(x)
        if x.device.type == "cpu" and x.dtype == torch.float32 and not _autocast():
            images = _images(rows) if rows * inputs * outputs >= LARGE else 0
            if images and min(inputs, outputs) >= 32:
                pixels = x.reshape(images, rows // images, 1, inputs).permute(0, 3, 1, 2)
                y = functional.conv2d(pixels, weight[:, :, None, None], self.bias)
                return y.permute(0, 2, 3, 1).reshape(rows, outputs)
            if 1 < inputs <= FEW_INPUTS:
                weight = weight.t().contiguous().t()
        return functional.linear(x, weight, self.bias)


def _autocast() -> bool:
    """Whether products are done in bfloat16 anyway."""
    return torch.is_autocast_enabled("cpu")


def _images(rows: int) -> int:
    """Into how many images of equal size the rows are cut; 0 where they cannot be.

    PyTorch takes its fast convolution for 16 images and more.
    """
    return next((images for images in range(16, 33) if rows % images == 0), 0)


class Convolution(nn.Conv2d):
    """A convolution with a square kernel.

    Arguments:
        inputs: The channels of the images.
        outputs: The channels of the result.
        kernel: The side of the kernel.
        stride: The stride.
        padding: The zeros on each side.

    Example:
        >>> layer, x = Convolution(1, 8, 5, stride=2, padding=4), torch.randn(3, 1, 28, 28)
        >>> layer(x).shape
        torch.Size([3, 8, 16, 16])
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding)
        self.together = stride > 1 and inputs * stride**2 <= FEW_PIXELS and padding < kernel

    def forward(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N C H W"]:
        """Returns the convolved images."""
        if not (self.together and x.requires_grad and x.device.type == "cpu"):
            return super().forward(x)
        y = super().forward(x.detach())  # which keeps the gradient of the parameters
        padding = int(self.padding[0])
        with_gradient: Tensor = _InputGradient.apply(y, x, self.weight, self.stride[0], padding)
        return with_gradient


class _InputGradient(torch.autograd.Function):
    r"""Gives the result y of a strided convolution of x its input gradient.

    In one dimension, with the stride s and the padding p, the pixel :math:`j = s i + a - p` gets

    .. math:: \sum_t W[s t + a] \, g[i - t] .

    For each sub-pixel a this is a convolution of stride one, of the reversed kernel. All of them,
    as channels, are one convolution, and are then woven together.
    """

    @staticmethod
    def forward(y: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def setup_context(
        ctx: Any,  # noqa: ANN401 (what PyTorch carries from here to there)
        inputs: tuple[Tensor, Tensor, Tensor, int, int],
        output: Tensor,
    ) -> None:
        _, x, weight, ctx.stride, ctx.padding = inputs
        ctx.height, ctx.width = x.shape[2:]
        ctx.dtype = x.dtype
        ctx.save_for_backward(weight)
        ctx.save_for_forward(weight)

    @staticmethod
    def jvp(
        ctx: Any,  # noqa: ANN401
        y: Tensor,
        x: Tensor,
        *rest: Tensor | None,
    ) -> Tensor:
        weight = ctx.saved_tensors[0].to(x.dtype)
        return y + functional.conv2d(x, weight, None, ctx.stride, ctx.padding).to(y.dtype)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        grad: Tensor,
    ) -> tuple[Tensor, Tensor, None, None, None]:
        stride, padding = ctx.stride, ctx.padding
        kernels, taps = _subpixel_kernels(ctx.saved_tensors[0].to(grad.dtype), stride)
        # Pixels that lie in the padding altogether are not computed.
        before, cut = taps - 1 - padding // stride, padding % stride
        below = -(-(padding + ctx.height) // stride) - grad.shape[2]
        right = -(-(padding + ctx.width) // stride) - grad.shape[3]
        if before == below == right:
            pixels = functional.conv2d(grad, kernels, padding=before)
        else:
            pixels = functional.conv2d(
                functional.pad(grad, (before, right, before, below)), kernels
            )
        image = _weave(pixels, stride)[:, :, cut : cut + ctx.height, cut : cut + ctx.width]
        return grad, image.to(ctx.dtype), None, None, None


def _subpixel_kernels(
    weight: Float[Tensor, "C c k k"], stride: int
) -> tuple[Float[Tensor, "subpixels C taps taps"], int]:
    """Returns the reversed kernels of all sub-pixels of all channels, and their side."""
    outputs, inputs, side, _ = weight.shape
    taps = -(-side // stride)
    weight = functional.pad(weight, (0, taps * stride - side) * 2)
    weight = weight.view(outputs, inputs, taps, stride, taps, stride).permute(1, 3, 5, 0, 2, 4)
    return weight.reshape(inputs * stride**2, outputs, taps, taps).flip(2, 3), taps


def _weave(pixels: Float[Tensor, "N subpixels h w"], stride: int) -> Float[Tensor, "N c H W"]:
    """Returns images of `stride` times the side, as `pixel_shuffle` does in thrice the time."""
    n, subpixels, h, w = pixels.shape
    channels = subpixels // stride**2
    fine = pixels.view(n, channels, stride, stride, h, w).permute(0, 1, 4, 2, 5, 3)
    return fine.reshape(n, channels, h * stride, w * stride)


class Flatten(nn.Module):
    """Flattens images, (N, C, H, W) to (N, C * H * W), in PyTorch's order whatever their layout.

    The gradient of the rows is channels first, and would meet an activation that is channels last.
    """

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """Returns the rows."""
        if x.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
            x.register_hook(_channels_last)
        return x.flatten(1)


def _channels_last(grad: Tensor) -> Tensor:
    """Returns the images in the channels-last layout."""
    return grad.contiguous(memory_format=torch.channels_last)


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
