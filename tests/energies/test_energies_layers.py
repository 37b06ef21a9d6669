"""Our layers are PyTorch's: the oracle is `torch.nn`, to the second derivative."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from boltzwalk.energy import energy_and_grad
from boltzwalk.networks import Convolutional, published
from boltzwalk.networks.layers import LARGE, FastConv2d, FastFlatten, FastLinear

CHANNELS_LAST = torch.channels_last


class Recorder(TorchDispatchMode):
    """Records the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def assert_same(ours, theirs, x, **tolerance):
    """Values, first derivatives, and those of the input gradient, agree."""
    theirs.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours, theirs):
        y = layer(x)
        leaves = [x, *layer.parameters()]
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(first[0].pow(3).sum(), leaves)
        found.append([y, *first, *second])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [(2048, 64, 64), (2000, 96, 48), (2053, 64, 64), (100, 64, 64), (300, 2, 5), (300, 1, 5)],
)
def test_dense_is_linear(rows, inputs, outputs, dtype, rng):
    x = torch.randn(rows, inputs, generator=rng, dtype=dtype).requires_grad_()
    ours, theirs = (kind(inputs, outputs).to(dtype) for kind in (FastLinear, nn.Linear))
    scale = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    with torch.no_grad():
        ours.weight /= 10  # third powers follow
    assert_same(ours, theirs, x, rtol=scale, atol=30 * scale)


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "dtype", "convolved"),
    [
        (2048, 64, 64, torch.float32, True),
        (2047, 64, 64, torch.float32, False),  # too little work
        (2053, 64, 64, torch.float32, False),  # a prime number of rows
        (2048, 64, 64, torch.float64, False),
        (1 << 18, 64, 1, torch.float32, False),  # a head
        (1 << 18, 1, 64, torch.float32, False),
    ],
)
def test_large_dense_layers_are_convolutions(rows, inputs, outputs, dtype, convolved):
    layer, x = FastLinear(inputs, outputs).to(dtype), torch.ones(rows, inputs, dtype=dtype)
    assert LARGE == 2048 * 64 * 64
    with Recorder() as recorder, torch.no_grad():
        layer(x)
    assert ("convolution" in recorder.names) == convolved


def test_dense_in_bfloat16(rng):
    layer = FastLinear(64, 64).float()
    x = torch.randn(2048, 64, generator=rng, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16), Recorder() as recorder:
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert "convolution" not in recorder.names


@pytest.mark.parametrize(("channels", "stride"), [(1, 2), (3, 2), (4, 2), (1, 3), (1, 4)])
def test_the_input_gradient_of_few_channels(channels, stride, rng):
    """Every kernel, padding and remainder, on images that are not square."""
    for kernel, remainder in itertools.product(range(1, 7), range(5)):
        for padding in range(kernel):
            height = max(1, kernel - 2 * padding) + remainder
            ours = FastConv2d(channels, 5, kernel, stride, padding)
            assert ours.joint_subpixels
            theirs = nn.Conv2d(channels, 5, kernel, stride, padding)
            x = torch.randn(2, channels, height, height + 2, generator=rng)
            for layout in (torch.contiguous_format, CHANNELS_LAST):
                assert_same(ours, theirs, x.to(memory_format=layout).requires_grad_())


@pytest.mark.parametrize("shape", [(3, 4, 3, 1, 1), (1, 4, 3, 1, 1), (5, 4, 3, 2, 1)])
def test_other_convolutions_are_left_alone(shape, rng):
    ours = FastConv2d(*shape)
    assert not ours.joint_subpixels
    x = torch.randn(2, shape[0], 8, 8, generator=rng).requires_grad_()
    assert_same(ours, nn.Conv2d(*shape), x)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_forward_derivatives(rng):
    layer = FastConv2d(1, 4, 5, 2, 4)
    x, v = torch.randn(2, 3, 1, 9, 9, generator=rng)

    def gradient(x):
        return torch.func.grad(lambda x: layer(x).pow(3).sum())(x)

    _, forward = torch.func.jvp(gradient, (x,), (v,))
    h = 1e-5
    torch.testing.assert_close(forward, (gradient(x + h * v) - gradient(x - h * v)) / (2 * h))


def test_the_gradient_of_the_parameters_is_not_computed_for_that_of_the_input(rng):
    """A function of its own is asked for all its gradients where one of them is wanted."""
    layer = FastConv2d(1, 4, 5, 2, 4)
    x = torch.randn(2, 1, 9, 9, generator=rng).requires_grad_()
    y = layer(x).sum()
    with Recorder() as recorder:
        torch.autograd.grad(y, x)
    assert "convolution_backward" not in recorder.names
    assert recorder.names.count("convolution") == 1


def test_learning_after_a_chain_under_one_autocast(rng):
    """Autocast keeps converted weights; those of the chain must not cut the loss off."""
    torch.set_default_dtype(torch.float32)
    network = published.jarzynski_mnist_network(4).build((1, 28, 28))
    x = torch.randn(4, 1, 28, 28, generator=rng)
    gradients = []
    for chain in (False, True):
        with torch.autocast("cpu", torch.bfloat16):
            if chain:
                energy_and_grad(network, x)
            loss = network(x).sum()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_gradients_in_bfloat16_are_float32_and_close(rng):
    torch.set_default_dtype(torch.float32)
    ours, theirs = FastConv2d(1, 16, 5, 2, 4), nn.Conv2d(1, 16, 5, 2, 4)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(8, 1, 28, 28, generator=rng).requires_grad_()
    (exact,) = torch.autograd.grad(theirs(x).square().sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(x)
    (grad,) = torch.autograd.grad(y.float().square().sum(), x)
    assert y.dtype == torch.bfloat16
    assert grad.dtype == torch.float32
    assert 0 < (grad - exact).norm() / exact.norm() < 0.01


def test_flatten_keeps_the_order_and_the_layout(rng):
    x = torch.randn(3, 4, 5, 6, generator=rng).contiguous(memory_format=CHANNELS_LAST)
    leaf = x.clone().requires_grad_()
    inner = 2 * leaf
    rows = FastFlatten()(inner)
    assert torch.equal(rows, 2 * x.flatten(1))
    weight = torch.randn(rows.shape, generator=rng)
    (grad,) = torch.autograd.grad((weight * rows).sum(), inner)
    assert torch.equal(grad, weight.view(x.shape))
    seen = []
    inner = 2 * leaf
    rows = FastFlatten()(inner)
    inner.register_hook(lambda grad: seen.append(grad.stride()))
    torch.autograd.grad((weight * rows).sum(), leaf)
    assert seen == [x.stride()]


def test_convolutional_networks_are_made_of_them():
    trunk = Convolutional(4, hidden=(8,)).build((3, 32, 32)).trunk
    kinds = [type(layer) for layer in trunk if not isinstance(layer, nn.LeakyReLU)]
    assert kinds == [FastConv2d] * 4 + [FastFlatten, FastLinear]
