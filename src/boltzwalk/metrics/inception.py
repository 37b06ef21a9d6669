r"""Inception network of the FID and the Inception score of the literature.

The network of the TensorFlow graph of 2015-12-05, with parameters named as in the weights file that
is in common use, ``pt_inception-2015-12-05-6726825d.pth`` (also called
``weights-inception-2015-12-05-6726825d.pth``). The file is not part of this library; with
other weights, or another way to resize, a number is no FID.

An image with :math:`g \in \{0, \dots, 255\}` levels is resized to 299x299 as TensorFlow 1 does: row
:math:`i` of the result is read at :math:`s_i = \min(i H / 299, H - 1)`, without an offset of half a
pixel and without smoothing,

.. math:: r_i = \sum_j \max(0, 1 - |s_i - j|) \, g_j ,

columns likewise; the network gets :math:`(r - 128) / 128`. It differs from the later Inception of
torchvision: average pools leave the padding out of the mean, the last block (7c) takes a maximum
where 7b takes a mean, and there are 1008 outputs, of which 1000 are classes. The Inception score
takes them without their bias, as the original program does.

References:
    | Rethinking the Inception architecture for computer vision (Szegedy et al., 2015),
    | https://arxiv.org/abs/1512.00567
    | GANs trained by a two time-scale update rule converge to a local Nash equilibrium
    | (Heusel et al., 2017), https://arxiv.org/abs/1706.08500
    | Resizing and the differences from torchvision: the source of torch-fidelity (Obukhov et al.,
    | 2020), https://github.com/toshas/torch-fidelity
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

__all__ = ["Inception", "load_inception"]

SIZE = 299
FILE = "pt_inception-2015-12-05-6726825d.pth"

KernelSize = int | tuple[int, int]


class ConvolutionSpec(NamedTuple):
    """A convolution: its name, its filters, their size."""

    name: str
    filters: int
    kernel: KernelSize = 1
    stride: int = 1


Branch = tuple[tuple[ConvolutionSpec, ...], ...]
"""Convolutions in sequence; two in one step share their input and are concatenated."""

_STEM = (
    ConvolutionSpec("Conv2d_1a_3x3", 32, 3, 2),
    ConvolutionSpec("Conv2d_2a_3x3", 32, 3),
    ConvolutionSpec("Conv2d_2b_3x3", 64, 3),
    ConvolutionSpec("Conv2d_3b_1x1", 80),
    ConvolutionSpec("Conv2d_4a_3x3", 192, 3),
)


class Inception(nn.Module):
    r"""The Inception network of the FID, with random weights.

    Example:
        >>> network = Inception()
        >>> network.features(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 2048])
    """

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for step in _STEM:
            padded = step.name == "Conv2d_2b_3x3"
            self.add_module(step.name, _convolution(channels, step, padded))
            if step.name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                self.add_module(f"pool_{step.name}", nn.MaxPool2d(3, 2))
            channels = step.filters
        for name, branches, pool, after in _blocks():
            block = _Block(channels, branches, pool, after)
            self.add_module(f"Mixed_{name}", block)
            channels = block.width
        self.fc = nn.Linear(channels, 1008)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the pooled features, shape (N, 2048), of prepared images (N, 3, 299, 299)."""
        for name, layer in self.named_children():
            x = x if name == "fc" else layer(x)
        return x.mean((2, 3))

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Returns the features of images for the FID, shape (N, 2048).

        Values are rounded to the 256 grey levels of an image file. Model units in [-1, 1] become
        [0, 1] by (x + 1) / 2.

        Arguments:
            x: Images, grey or in colour, shape (N, 1, H, W) or (N, 3, H, W), in [0, 1].

        Raises:
            ValueError: If they have another shape, or leave [0, 1] by more than 1e-4.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3) or x.shape[0] == 0:
            raise ValueError(f"x must have shape (N, 1 or 3, H, W), got {tuple(x.shape)}")
        if not bool(((x >= -1e-4) & (x <= 1 + 1e-4)).all()):
            raise ValueError(
                f"x must be in [0, 1], got {float(x.min()):.3g} to {float(x.max()):.3g}; of images "
                "in [-1, 1] write ((x + 1) / 2).clamp(0, 1)"
            )
        weight = self.fc.weight
        parts = (part.to(weight.device, weight.dtype) for part in x.split(32))
        return torch.cat([self(_prepared(part)) for part in parts])

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        r"""Returns the class probabilities of the Inception score, shape (N, 1008).

        .. math:: \mathrm{softmax}(W f(x))

        Arguments:
            x: Images as for `features`.

        Raises:
            ValueError: If they have another shape, or leave [0, 1] by more than 1e-4.
        """
        return torch.softmax(self.features(x) @ self.fc.weight.T, 1)


def load_inception(path: str | Path) -> Inception:
    """Returns the network with the weights of a file. No code in the file is executed.

    Arguments:
        path: The weights, `pt_inception-2015-12-05-6726825d.pth` or the same as .safetensors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no file of weights, or the weights of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"the FID needs the weights of its Inception network, got no file {path}; fetch "
            f"{FILE} from the releases of pytorch-fid on GitHub (mseitzer/pytorch-fid)"
        )
    state = _read(path)
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced
        network = Inception()
    wanted = network.state_dict()
    # Batch counters are not used; older files lack them.
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    wrong = [k for k, v in state.items() if k in wanted and v.shape != wanted[k].shape]
    unknown = [k for k in state if k not in wanted]
    if missing or wrong or unknown:
        problems = (("missing", missing), ("of another shape", wrong), ("unknown", unknown))
        parts = (f"{len(k)} {problem} ({', '.join(k[:3])})" for problem, k in problems if k)
        raise ValueError(
            f"{path} must hold the tensors of {FILE}, got a file of another network: "
            f"{'; '.join(parts)}"
        )
    network.load_state_dict(state, strict=False)
    return network


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file by name."""
    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
            return tensors
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} must be a complete .pth or .safetensors file of weights, as {FILE} ({error})"
        ) from error
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise ValueError(f"{path} must map names to tensors, got a {type(state).__name__}")
    return state


def _prepared(x: Tensor) -> Tensor:
    """Images in [0, 1] as the input of the network, shape (N, 3, 299, 299)."""
    levels = (x * 255).round().clamp(0, 255)
    rows, columns = (_resizing(size).to(x) for size in x.shape[2:])
    return ((rows @ levels @ columns.T - 128) / 128).expand(-1, 3, -1, -1)


def _resizing(size: int) -> Tensor:
    """The matrix that resizes one side as TensorFlow 1 does, shape (299, size), float64."""
    position = (torch.arange(SIZE, dtype=torch.float64) * size / SIZE).clamp(max=size - 1)
    return (1 - (position[:, None] - torch.arange(size)).abs()).clamp(min=0)


class _Block(nn.Module):
    """Parallel branches, concatenated in the channels; the last one pools and may convolve."""

    def __init__(self, channels: int, branches: tuple[Branch, ...], pool: str, after: int) -> None:
        super().__init__()
        self.branches, self.pool = branches, pool
        last = ConvolutionSpec("branch_pool", after)
        self.branch_pool = _convolution(channels, last) if after else nn.Identity()
        self.width = after or channels
        for branch in branches:
            inner = channels
            for fork in branch:
                for step in fork:
                    self.add_module(step.name, _convolution(inner, step, step.stride == 1))
                inner = sum(step.filters for step in fork)
            self.width += inner

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch in self.branches:
            y = x
            for fork in branch:
                y = torch.cat([self.get_submodule(step.name)(y) for step in fork], 1)
            outputs.append(y)
        if self.pool == "mean":
            pooled = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        else:
            stride, padding = (1, 1) if self.pool == "max" else (2, 0)
            pooled = nn.functional.max_pool2d(x, 3, stride, padding)
        return torch.cat([*outputs, self.branch_pool(pooled)], 1)


def _convolution(channels: int, step: ConvolutionSpec, padded: bool = False) -> nn.Module:
    """Convolution, normalisation by running statistics, ReLU."""
    sides = (step.kernel, step.kernel) if isinstance(step.kernel, int) else step.kernel
    padding = (sides[0] // 2, sides[1] // 2) if padded else 0
    convolution = nn.Conv2d(channels, step.filters, sides, step.stride, padding, bias=False)
    norm = nn.BatchNorm2d(step.filters, eps=1e-3)
    return nn.Sequential(OrderedDict(conv=convolution, bn=norm, relu=nn.ReLU()))


def _blocks() -> Iterator[tuple[str, tuple[Branch, ...], str, int]]:
    """The eleven blocks: branches, pooling of the last one, and filters after it (0: none)."""
    row, column = (1, 7), (7, 1)
    for name, n in (("5b", 32), ("5c", 64), ("5d", 64)):
        five = _chain("branch5x5", (48, 64), (1, 5))
        double = _chain("branch3x3dbl", (64, 96, 96), (1, 3, 3))
        yield name, (_one(64), five, double), "mean", n
    double = _chain("branch3x3dbl", (64, 96, 96), (1, 3, 3), 2)
    yield "6a", (((ConvolutionSpec("branch3x3", 384, 3, 2),),), double), "halve", 0
    for name, n in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        seven = _chain("branch7x7", (n, n, 192), (1, row, column))
        twice = _chain("branch7x7dbl", (n, n, n, n, 192), (1, column, row, column, row))
        yield name, (_one(192), seven, twice), "mean", 192
    three = _chain("branch3x3", (192, 320), (1, 3), 2)
    seven = _chain("branch7x7x3", (192, 192, 192, 192), (1, row, column, 3), 2)
    yield "7a", (three, seven), "halve", 0
    for name, pool in (("7b", "mean"), ("7c", "max")):
        three = (*_chain("branch3x3", (384,), (1,)), _fork("branch3x3_2"))
        double = (*_chain("branch3x3dbl", (448, 384), (1, 3)), _fork("branch3x3dbl_3"))
        yield name, (_one(320), three, double), pool, 192


def _one(filters: int) -> Branch:
    return ((ConvolutionSpec("branch1x1", filters),),)


def _fork(name: str) -> tuple[ConvolutionSpec, ConvolutionSpec]:
    return ConvolutionSpec(f"{name}a", 384, (1, 3)), ConvolutionSpec(f"{name}b", 384, (3, 1))


def _chain(
    name: str, widths: Sequence[int], kernels: Sequence[KernelSize], stride: int = 1
) -> Branch:
    """Convolutions numbered from 1; the stride is that of the last one."""
    strides = [1] * (len(widths) - 1) + [stride]
    steps = enumerate(zip(widths, kernels, strides, strict=True))
    return tuple((ConvolutionSpec(f"{name}_{i + 1}", *step),) for i, step in steps)
