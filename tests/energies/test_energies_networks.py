"""Networks: the published parameter counts, and what every energy must keep."""

from inspect import unwrap  # past the checks of types, which only tests have

import pytest
import torch
from torch import nn

from boltzwalk.energy import energy_and_grad, require_event_shape, require_rowwise_energy
from boltzwalk.networks import Convolutional, Multilayer, NonLocal, Residual, published
from boltzwalk.networks.layers import activation_layer, initialise
from boltzwalk.networks.network import Network

# Counted by hand or by the authors' code, see the reference notes; and from the layer tables.
PUBLISHED = [
    (published.short_run_network(), (3, 32, 32), 2_763_393),
    (published.anatomy_network(), (3, 32, 32), 693_569),
    (published.anatomy_toy_network(), (2,), 10_593),
    (published.teaching_cifar_network(), (3, 32, 32), 1_710_465),
    (published.teaching_mnist_network(), (1, 28, 28), 1_625_188),
    (published.cooperative_mnist_network(), (1, 28, 28), 1_066_532),
    (published.cooperative_cifar_network(), (3, 32, 32), 2_012_388),
    (published.cooperative_scenes_network(), (3, 64, 64), 6_927_588),
    (published.jarzynski_mnist_network(), (1, 28, 28), 76_993),
    (published.spectral_gan_network(), (3, 32, 32), 5_860_865),
    (NonLocal(), (1, 32, 32), 627_953),
    (Residual(), (3, 32, 32), 1_053_825),
    (Multilayer(), (2,), 2 * 128 + 128 + 128 * 128 + 128 + 129),
    (Multilayer((256, 256, 256), "leaky_relu"), (1, 8, 8), 148_481),
]

# Small ones of every kind and option, for events that are not those of the papers too.
SMALL = {
    "multilayer": (Multilayer((8, 8)), (3,)),
    "multilayer of images": (Multilayer((8, 8)), (2, 3, 4)),
    "residual multilayer": (Multilayer((3, 3, 8, 8), residual=True), (3,)),
    "linear": (Multilayer(()), (3,)),
    "short run": (published.short_run_network(4), (3, 16, 16)),
    "short run of digits": (published.short_run_network(4), (1, 8, 8)),
    "anatomy": (published.anatomy_network(4), (2, 9, 12)),
    "teaching": (published.teaching_cifar_network(4), (3, 16, 16)),
    "hundred outputs": (published.teaching_mnist_network(4), (1, 28, 28)),
    "cooperative mnist": (published.cooperative_mnist_network(2), (1, 28, 28)),
    "cooperative cifar": (published.cooperative_cifar_network(2), (3, 32, 32)),
    "cooperative scenes": (published.cooperative_scenes_network(2), (3, 16, 16)),
    "dense layers": (published.jarzynski_mnist_network(4), (1, 28, 28)),
    "normalised": (published.spectral_gan_network(2), (3, 16, 16)),
    "non-local": (NonLocal(4, 8), (1, 17, 12)),
    "residual": (Residual(4), (3, 12, 9)),
}
each = pytest.mark.parametrize(("settings", "event_shape"), SMALL.values(), ids=SMALL)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(("settings", "event_shape", "parameters"), PUBLISHED, ids=str)
def test_parameter_counts(settings, event_shape, parameters):
    assert count(settings.build(event_shape)) == parameters


def test_short_run_as_published():
    """Width 128 is the largest of the paper; the layers are those of its code."""
    network = published.short_run_network(8).build((3, 32, 32))
    convolutions = [layer for layer in network.trunk if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [8, 16, 32, 64]
    assert [layer.kernel_size for layer in convolutions] == [(3, 3), (4, 4), (4, 4), (4, 4)]
    assert [layer.stride for layer in convolutions] == [(1, 1), (2, 2), (2, 2), (2, 2)]
    assert network.head.in_features == 64 * 4 * 4
    slopes = [layer.negative_slope for layer in network.trunk if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.2] * 4
    assert published.anatomy_network().leak == published.anatomy_toy_network().leak == 0.05
    assert published.cooperative_cifar_network().leak == 0.01


def test_the_head_is_the_valid_convolution_of_the_papers(rng):
    """A convolution over all that remains is the linear layer of the flattened image."""
    network = published.short_run_network(4).build((3, 32, 32))
    last = nn.Conv2d(32, 1, 4)
    with torch.no_grad():
        last.weight.copy_(network.head.weight.view(1, 32, 4, 4))
        last.bias.copy_(network.head.bias)
    x = torch.randn(5, 3, 32, 32, generator=rng)
    expected = last(network.trunk[:-1](x)).squeeze()
    torch.testing.assert_close(network(x), expected)


@each
def test_energy_is_a_number_for_each_walker(settings, event_shape, rng):
    network = settings.build(event_shape)
    require_rowwise_energy(network)
    for n in (0, 1, 3):
        x = torch.randn(n, *event_shape, generator=rng)
        u, grad = energy_and_grad(network, x)
        assert u.shape == (n,)
        assert grad.shape == x.shape
    assert grad.abs().sum() > 0


@each
def test_walkers_are_independent(settings, event_shape, rng):
    network = settings.build(event_shape)
    x = torch.randn(6, *event_shape, generator=rng)
    u = network(x)
    assert u.std() > 0
    order = torch.randperm(6, generator=rng)
    torch.testing.assert_close(network(x[order]), u[order], rtol=1e-6, atol=1e-9)
    split = torch.cat([network(x[:1]), network(x[1:])])
    torch.testing.assert_close(split, u, rtol=1e-6, atol=1e-9)
    changed = torch.cat([x[:3], 10 * x[3:]])
    torch.testing.assert_close(network(changed)[:3], u[:3], rtol=1e-6, atol=1e-9)


@each
def test_energy_is_pure(settings, event_shape, rng):
    """The same at every call, in whatever mode: nothing iterates while walkers move."""
    network = settings.build(event_shape)
    x = torch.randn(3, *event_shape, generator=rng)
    u, state = network(x), {name: t.clone() for name, t in network.state_dict().items()}
    network.train()
    assert not any(module.training for module in network.modules())
    torch.testing.assert_close(network(x), u, rtol=0, atol=0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name])


@each
def test_every_parameter_learns(settings, event_shape, rng):
    """Two passes, since a non-local block that starts at zero passes nothing on in the first."""
    network = settings.build(event_shape)
    x = torch.randn(8, *event_shape, generator=rng)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A constant added to every match leaves the softmax as it is.
    assert all(name.endswith("key.bias") for name in dead)


@each
def test_bfloat16_arithmetic_gives_float32_energies(settings, event_shape, rng):
    torch.set_default_dtype(torch.float32)
    network = settings.build(event_shape)
    x = torch.randn(4, *event_shape, generator=rng)
    exact = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        u, grad = energy_and_grad(network, x)
        direct = network(x)
    assert u.dtype == direct.dtype == grad.dtype == torch.float32
    torch.testing.assert_close(u, exact, rtol=0.05, atol=0.05 * exact.abs().max().item())
    low = torch.float32 if settings == Multilayer(()) else torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert network.trunk(x).dtype == low  # or else nothing was tested


@each
def test_double_precision_is_left_alone_by_autocast(settings, event_shape, rng):
    network = settings.build(event_shape)
    x = torch.randn(4, *event_shape, generator=rng)
    with torch.autocast("cpu", torch.bfloat16):
        u = network(x)
    assert u.dtype == torch.float64
    torch.testing.assert_close(u, network(x))


@each
def test_other_shapes_are_refused(settings, event_shape):
    network = settings.build(event_shape)
    wrong = (*event_shape, 2)
    with pytest.raises(ValueError) as error:
        network(torch.zeros(5, *wrong))
    assert str((5, *wrong)) in str(error.value)
    assert "(" + ", ".join(["N", *map(str, event_shape)]) + ")" in str(error.value)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3, 4)])
def test_a_single_walker_is_told_to_add_its_axis(shape):
    with pytest.raises(ValueError, match=r"takes x of shape \(N, 3\).*x.unsqueeze\(0\)"):
        require_event_shape(torch.zeros(shape), (3,))


@each
def test_saving_and_loading(settings, event_shape, rng):
    network, other = settings.build(event_shape), settings.build(event_shape)
    x = torch.randn(3, *event_shape, generator=rng)
    assert not torch.equal(network(x), other(x))
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(x), other(x))


def test_convolutions_run_channels_last(rng):
    layers = ((1, 4, 2, 1), (2, 4, 2, 1), (4, 3, 2, 1))
    network = Convolutional(width=4, layers=layers, activation="silu").build((1, 28, 28))
    layouts = []
    for layer in network.trunk:
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _layer, _inputs, y: layouts.append(
                    y.is_contiguous(memory_format=torch.channels_last)
                )
            )
    network(torch.randn(2, 1, 28, 28, generator=rng))
    assert layouts == [True] * 3
    assert not Multilayer().build((1, 28, 28)).channels_last


def test_the_outputs_are_summed(rng):
    network = published.teaching_mnist_network(2).build((1, 28, 28))
    x = torch.randn(3, 1, 28, 28, generator=rng)
    assert network.head(network.trunk(x)).shape == (3, 100)
    torch.testing.assert_close(network(x), network.head(network.trunk(x)).sum(1))


def test_residual_layers_add_their_input(rng):
    network = Multilayer((3, 5, 5), residual=True).build((3,))
    x = torch.randn(4, 3, generator=rng)
    (first, second, third), silu = network.trunk, nn.functional.silu
    a = x + silu(first.inner[0](x))
    b = silu(second[0](a))
    c = b + silu(third.inner[0](b))
    torch.testing.assert_close(network(x), network.head(c)[:, 0])


def test_the_non_local_block_is_the_formula(rng):
    attention = NonLocal(4, 8).build((1, 8, 8)).trunk[3].inner
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 4, 6, 6, generator=rng)
    pool = nn.functional.max_pool2d
    query, key, value = attention.query(x), pool(attention.key(x), 2), pool(attention.value(x), 2)
    match = torch.einsum("nchw,nckl->nhwkl", query, key).exp()
    match = match / match.sum((3, 4), keepdim=True)
    y = torch.einsum("nhwkl,nckl->nchw", match, value)
    torch.testing.assert_close(attention(x), attention.out(y))


def test_the_non_local_block_starts_as_the_identity(rng):
    block = NonLocal(4, 8).build((1, 8, 8)).trunk[3]
    x = torch.randn(2, 4, 4, 4, generator=rng)
    assert torch.equal(block(x), x)


def test_residual_blocks_halve_and_see_pixels_before_any_activation(rng):
    network = Residual(4, (True, False), normalise=False).build((3, 8, 8))
    first, second = network.trunk[0], network.trunk[1]
    x = torch.randn(2, 3, 8, 8, generator=rng)
    relu, pool = torch.relu, nn.functional.avg_pool2d
    a = pool(first.inner[2](relu(first.inner[0](x))), 2) + pool(first.shortcut[1](x), 2)
    b = a + second.inner[3](relu(second.inner[1](relu(a))))
    expected = network.head(relu(b).mean((2, 3)))[:, 0]
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("activation", ["elu", "gelu", "relu", "silu", "softplus", "tanh"])
def test_activations(activation):
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(
        activation_layer(activation, 0.2)(x), getattr(nn.functional, activation)(x)
    )
    kinds = {type(layer) for layer in NonLocal(4, 8, activation).build((1, 8, 8)).trunk}
    assert type(activation_layer(activation, 0.2)) in kinds
    assert nn.LeakyReLU not in kinds


def test_the_leak_is_the_slope():
    layer = activation_layer("leaky_relu", 0.3)
    assert layer(torch.tensor([-2.0, 2.0])).tolist() == [-0.6, 2.0]


def test_initial_weights():
    network = Convolutional(16, initial=0.005).build((3, 32, 32))
    for layer in [*network.trunk, network.head]:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.005, rel=0.15)
            assert not layer.bias.any()
    xavier = nn.Linear(300, 500)
    initialise(xavier, "xavier")
    bound = (6 / 800) ** 0.5
    assert 0.99 * bound < xavier.weight.abs().max() <= bound
    assert not xavier.bias.any()


def test_initial_weights_by_default_are_those_of_torch():
    torch.manual_seed(3)
    ours = Multilayer((5,)).build((2,))
    torch.manual_seed(3)
    theirs = nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 1))
    assert torch.equal(ours.trunk[0][0].weight, theirs[0].weight)
    assert torch.equal(ours.head.bias, theirs[1].bias)


@pytest.mark.parametrize("side", range(1, 12))
def test_the_smallest_image_is_where_the_message_says(side):
    settings = Convolutional(1)
    if side >= 8:
        assert settings.build((1, side, 40))(torch.zeros(2, 1, side, 40)).shape == (2,)
    else:
        with pytest.raises(ValueError, match=rf"at least 8, got events of shape \(1, {side}, 40\)"):
            settings.build((1, side, 40))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Multilayer((8, 0)).build((2,)), r"widths must be at least 1 each, got \(8, 0\)"),
        (lambda: Convolutional().build((2,)), r"\(channels, height, width\).*got .*\(2,\)"),
        (lambda: Convolutional().build((28, 28)), "Multilayer"),
        (lambda: NonLocal().build((1, 7, 9)), "at least 8"),
        (lambda: NonLocal().build((9, 9)), "at least 8"),
        (lambda: NonLocal(3).build((1, 8, 8)), "even width"),
        (lambda: Residual().build((3, 3, 8)), "at least 4"),
        (lambda: Residual().build((64,)), "Multilayer"),
        (lambda: Multilayer().build(()), r"at least one axis.*write \(1,\)"),
        (lambda: unwrap(activation_layer)("swish", 0.2), "one of .*'silu'.*, got 'swish'"),
        (lambda: unwrap(initialise)(nn.Linear(1, 1), "kaiming"), "'xavier'.*got 'kaiming'"),
        (lambda: Convolutional(initial=-1.0).build((1, 8, 8)), "positive standard deviation"),
    ],
)
def test_impossible_networks_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_a_network_of_ones_own(rng):
    network = Network((2, 3), nn.Flatten(), nn.Linear(6, 4))
    x = torch.randn(5, 2, 3, generator=rng)
    torch.testing.assert_close(network(x), network.head(x.flatten(1)).sum(1))
