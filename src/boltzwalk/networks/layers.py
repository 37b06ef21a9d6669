r"""Layers, activations and weight initialisation.

The layers :class:`FastLinear`, :class:`FastConv2d` and :class:`FastFlatten` have the parameters and
results of PyTorch's, and are faster where chains spend their time. Measured on one core (x86,
AVX-512, PyTorch 2.13), forward and input gradient together unless stated otherwise:

* a dense layer in float32 as a convolution with a kernel of one pixel: 1.4 to 2.2 times as fast,
  because PyTorch's convolutions and its matrix products come from different libraries;
* a dense layer of few inputs with its weights transposed in memory: 2 times, and the gradient of
  its parameters 4 times;
* the input gradient alone of a strided convolution of few channels as a convolution of stride one:
  2 to 4 times;
* the gradient of an activation before the flattening, in the layout of the activation: 10 to 30
  times.

Whole steps are 1.6 to 1.8 times as fast for multilayer networks (float32, thousands of walkers),
1.2 to 1.3 times for small networks for 28 x 28, and 1.02 to 1.2 times for large ones for 32 x 32.

Elsewhere (small batches, other devices and dtypes) they call PyTorch's. They are subclasses of
PyTorch's layers, so initialisation, spectral normalisation and saved files treat them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Activation",
    "FastConv2d",
    "FastFlatten",
    "FastLinear",
    "WeightInit",
    "activation_layer",
    "initialise",
    "seeded_weights",
]


LARGE = 1 << 23
"""Multiplications from which a dense layer runs as a convolution; below, the set-up dominates."""

FEW_INPUTS = 8
"""Inputs up to which a dense layer is faster with its weights transposed in memory."""

FEW_PIXELS = 16
"""Channels times sub-pixels up to which one convolution of all sub-pixels is faster."""


class FastLinear(nn.Linear):
    """A dense layer, (N, inputs) to (N, outputs).

    Example:
        >>> layer, x = FastLinear(64, 64), torch.randn(2048, 64)
        >>> torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    """

    def forward(self, x: Float[Tensor, "N inputs"]) -> Float[Tensor, "N outputs"]:
        """Returns the outputs of every row."""
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
    """Whether autocast computes products in bfloat16."""
    return torch.is_autocast_enabled("cpu")


def _images(rows: int) -> int:
    """The number of equal images into which the rows are cut; 0 where they cannot be.

    PyTorch uses its fast convolution for 16 images or more.
    """
    return next((images for images in range(16, 33) if rows % images == 0), 0)


class FastConv2d(nn.Conv2d):
    """A convolution with a square kernel.

    Arguments:
        inputs: The channels of the images.
        outputs: The channels of the result.
        kernel: The side of the kernel.
        stride: The stride.
        padding: The zeros on each side.

    Example:
        >>> layer, x = FastConv2d(1, 8, 5, stride=2, padding=4), torch.randn(3, 1, 28, 28)
        >>> layer(x).shape
        torch.Size([3, 8, 16, 16])
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding)
        self.joint_subpixels = stride > 1 and inputs * stride**2 <= FEW_PIXELS and padding < kernel

    def forward(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N C H W"]:
        """Returns the convolved images."""
        if not (self.joint_subpixels and x.requires_grad and x.device.type == "cpu"):
            return super().forward(x)
        y = super().forward(x.detach())  # keeps the gradient of the parameters
        padding = int(self.padding[0])
        with_gradient: Tensor = _InputGradient.apply(y, x, self.weight, self.stride[0], padding)
        return with_gradient


class _InputGradient(torch.autograd.Function):
    r"""Attaches the input gradient to the result y of a strided convolution of x.

    In one dimension, with the stride s and the padding p, the pixel :math:`j = s i + a - p` gets

    .. math:: \sum_t W[s t + a] \, g[i - t] .

    For each sub-pixel a this is a convolution of stride one with the reversed kernel. One
    convolution computes all of them as channels, which are then interleaved.
    """

    @staticmethod
    def forward(y: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def setup_context(
        ctx: Any,  # noqa: ANN401 (the context object of PyTorch)
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
        # Pixels entirely in the padding are not computed.
        before, cut = taps - 1 - padding // stride, padding % stride
        below = -(-(padding + ctx.height) // stride) - grad.shape[2]
        right = -(-(padding + ctx.width) // stride) - grad.shape[3]
        if before == below == right:
            pixels = functional.conv2d(grad, kernels, padding=before)
        else:
            pixels = functional.conv2d(
                functional.pad(grad, (before, right, before, below)), kernels
            )
        image = _interleave(pixels, stride)[:, :, cut : cut + ctx.height, cut : cut + ctx.width]
        return grad, image.to(ctx.dtype), None, None, None


def _subpixel_kernels(
    weight: Float[Tensor, "C c k k"], stride: int
) -> tuple[Float[Tensor, "subpixels C taps taps"], int]:
    """Returns the reversed kernels of all sub-pixels of all channels, and their side length."""
    outputs, inputs, side, _ = weight.shape
    taps = -(-side // stride)
    weight = functional.pad(weight, (0, taps * stride - side) * 2)
    weight = weight.view(outputs, inputs, taps, stride, taps, stride).permute(1, 3, 5, 0, 2, 4)
    return weight.reshape(inputs * stride**2, outputs, taps, taps).flip(2, 3), taps


def _interleave(pixels: Float[Tensor, "N subpixels h w"], stride: int) -> Float[Tensor, "N c H W"]:
    """Returns images of `stride` times the side; `pixel_shuffle` takes three times as long."""
    n, subpixels, h, w = pixels.shape
    channels = subpixels // stride**2
    fine = pixels.view(n, channels, stride, stride, h, w).permute(0, 1, 4, 2, 5, 3)
    return fine.reshape(n, channels, h * stride, w * stride)


class FastFlatten(nn.Module):
    """Flattens images, (N, C, H, W) to (N, C * H * W), in PyTorch's order for any memory layout.

    The gradient of channels-last images is made channels-last again, which the activation before
    the flattening needs to be fast.
    """

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """Returns the flattened images."""
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
        activation: The name of the activation.
        leak: The slope of leaky_relu for negative inputs; the others ignore it.

    Raises:
        ValueError: If the name is unknown.

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


WeightInit: TypeAlias = float | Literal["default", "xavier"]
"""A number is the standard deviation of normal weights; "xavier" is uniform with the variance
2 / (fan_in + fan_out); "default" leaves PyTorch's, uniform within 1 / sqrt(fan_in)."""


def initialise(module: nn.Module, initial: WeightInit) -> None:
    """Initialises the weights of all linear, convolution and transposed layers, in place.

    Biases become zero, except under "default", which changes nothing. The numbers come from
    PyTorch's global generator, see :func:`seeded_weights`.

    Arguments:
        module: The network, not yet spectrally normalised.
        initial: The initialisation.

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
    layers = list(module.modules())
    # Transposed layers come last, so that the random numbers of the others do not depend on them.
    others = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]
    transposed = [layer for layer in layers if isinstance(layer, nn.ConvTranspose2d)]
    for layer in (*others, *transposed):
        if isinstance(initial, float):
            nn.init.normal_(layer.weight, std=initial)
        else:
            nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@contextmanager
def seeded_weights(rng_seed: int) -> Iterator[None]:
    """Builds layers on the CPU from a seed within a ``with`` block; no global generator changes.

    Arguments:
        rng_seed: The seed of the initial parameters.

    Example:
        >>> with seeded_weights(0):
        ...     a = nn.Linear(2, 2)
        >>> with seeded_weights(0):
        ...     b = nn.Linear(2, 2)
        >>> torch.equal(a.weight, b.weight)
        True
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(rng_seed)
        yield
