"""The published networks have the layers of their tables, counted by hand."""

import math

import pytest
import torch
from torch import nn

from boltzwalk.bases import published
from boltzwalk.networks.residual import ResidualGenerator
from boltzwalk.settings.tree import from_tree, to_tree


def conv(inputs, outputs, kernel):
    """Weights and biases of a convolution, transposed or not."""
    return inputs * outputs * kernel**2 + outputs


def dense(inputs, outputs):
    return inputs * outputs + outputs


def norm(channels):
    """Scale and shift."""
    return 2 * channels


D = 100

# teaching_cifar: 409,856 + 512, 524,416 + 256, 131,136 + 128, 36,928, 1,731.
TEACHING_CIFAR_DECODER = (
    (conv(D, 256, 4) + norm(256))
    + (conv(256, 128, 4) + norm(128))
    + (conv(128, 64, 4) + norm(64))
    + conv(64, 64, 3)
    + conv(64, 3, 3)
)
# 1,792, 131,200, 524,544, 2,097,664, and twice 819,300: 8192 features are 512 x 4 x 4.
TEACHING_CIFAR_ENCODER = (
    conv(3, 64, 3)
    + conv(64, 128, 4)
    + conv(128, 256, 4)
    + conv(256, 512, 4)
    + 2 * dense(512 * 4 * 4, D)
)
# 409,856 + 512, 295,040 + 256, 73,792 + 128, 577.
TEACHING_MNIST_DECODER = (
    (conv(D, 256, 4) + norm(256))
    + (conv(256, 128, 3) + norm(128))
    + (conv(128, 64, 3) + norm(64))
    + conv(64, 1, 3)
)
# 1,088, 65,600, 65,600, and twice 313,700: 3136 features are 64 x 7 x 7.
TEACHING_MNIST_ENCODER = conv(1, 64, 4) + 2 * conv(64, 64, 4) + 2 * dense(64 * 7 * 7, D)
# 819,712 + 1,024, 2,097,408 + 512, 524,416 + 256, 2,049.
COOPERATIVE_MNIST = (
    (conv(D, 512, 4) + norm(512))
    + (conv(512, 256, 4) + norm(256))
    + (conv(256, 128, 4) + norm(128))
    + conv(128, 1, 4)
)
# 409,856 + 512, 819,328 + 256, 204,864 + 128, 4,803.
COOPERATIVE_CIFAR = (
    (conv(D, 256, 4) + norm(256))
    + (conv(256, 128, 5) + norm(128))
    + (conv(128, 64, 5) + norm(64))
    + conv(64, 3, 5)
)
# 819,712 + 1,024, 3,277,056 + 512, 819,328 + 256, 204,864 + 128, 4,803.
COOPERATIVE_SCENES = (
    (conv(D, 512, 4) + norm(512))
    + (conv(512, 256, 5) + norm(256))
    + (conv(256, 128, 5) + norm(128))
    + (conv(128, 64, 5) + norm(64))
    + conv(64, 3, 5)
)
DIGITS_DECODER = dense(16, 128) + dense(128, 128) + 2 * norm(128) + dense(128, 64)
DIGITS_ENCODER = dense(64, 128) + dense(128, 128) + 2 * dense(128, 16)
SMALL_DECODER = (dense(32, 64 * 7 * 7) + norm(64)) + (conv(64, 32, 4) + norm(32)) + conv(32, 1, 4)
SMALL_ENCODER = conv(1, 32, 4) + conv(32, 64, 4) + conv(64, 64, 3) + 2 * dense(64 * 4 * 4, 32)

VAES = {
    "teaching_cifar_vae": ((3, 32, 32), TEACHING_CIFAR_ENCODER, TEACHING_CIFAR_DECODER),
    "teaching_mnist_vae": ((1, 28, 28), TEACHING_MNIST_ENCODER, TEACHING_MNIST_DECODER),
    "digits_vae": ((1, 8, 8), DIGITS_ENCODER, DIGITS_DECODER),
    "mnist_small_vae": ((1, 28, 28), SMALL_ENCODER, SMALL_DECODER),
}
GENERATORS = {
    "cooperative_mnist_generator": ((1, 28, 28), COOPERATIVE_MNIST),
    "cooperative_cifar_generator": ((3, 32, 32), COOPERATIVE_CIFAR),
    "cooperative_scenes_generator": ((3, 64, 64), COOPERATIVE_SCENES),
}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def networks(name):
    settings = getattr(published, name)()
    if name in VAES:
        shape = VAES[name][0]
        return [settings.encoder.build(shape, settings.latent)], [
            settings.decoder.build(shape, settings.latent)
        ]
    return [], [settings.network.build(GENERATORS[name][0], settings.latent)]


@pytest.mark.parametrize("name", [*VAES, *GENERATORS])
def test_parameter_counts(name):
    encoders, decoders = networks(name)
    expected = VAES[name][1:] if name in VAES else GENERATORS[name][1:]
    assert tuple(count(network) for network in [*encoders, *decoders]) == expected


@pytest.mark.parametrize("name", [*VAES, *GENERATORS])
def test_the_counts_are_those_that_are_documented(name):
    documented = " ".join(getattr(published, name).__doc__.split())
    for expected in VAES[name][1:] if name in VAES else GENERATORS[name][1:]:
        assert f"{expected:,}" in documented


def test_the_counts_of_the_paper():
    """1.10 and 4.39 million, derived from the authors' code by other hands."""
    assert round(TEACHING_CIFAR_DECODER / 1e6, 2) == 1.10
    assert round(TEACHING_CIFAR_ENCODER / 1e6, 2) == 4.39


@pytest.mark.parametrize("name", [*VAES, *GENERATORS])
def test_shapes(name, rng):
    shape = VAES[name][0] if name in VAES else GENERATORS[name][0]
    encoders, (decoder,) = networks(name)
    x = decoder.decode(decoder.latents(2, rng))
    assert x.shape == (2, *shape)
    assert x.abs().max() <= 1  # tanh
    for encoder in encoders:
        for code in encoder(x):
            assert code.shape == (2, encoder.latent)


def test_table_is_unbounded(rng):
    vae = published.table_vae().build((5,), 0)
    assert vae.latent == 8
    x = vae.decode(1e3 * vae.latents(50, rng))
    assert x.shape == (50, 5)
    assert x.abs().max() > 1


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("teaching_cifar_vae", [4, 8, 16, 32, 32]),
        ("teaching_mnist_vae", [4, 7, 14, 28]),
        ("cooperative_mnist_generator", [4, 7, 14, 28]),
        ("cooperative_cifar_generator", [4, 8, 16, 32]),
        ("cooperative_scenes_generator", [4, 8, 16, 32, 64]),
        ("mnist_small_vae", [14, 28]),
    ],
)
def test_the_sides_of_the_tables(name, sides, rng):
    (decoder,) = networks(name)[1]
    seen = []
    for layer in decoder.trunk:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, y: seen.append(y.shape[-1]))
    decoder.decode(decoder.latents(1, rng))
    assert seen == sides


def test_normalisation_and_activations_as_published():
    (cifar,) = networks("teaching_cifar_vae")[1]
    kinds = [type(layer).__name__ for layer in cifar.trunk]
    block = ["ConvTranspose2d", "BatchNorm2d", "LeakyReLU"]
    last = ["ConvTranspose2d", "LeakyReLU", "ConvTranspose2d", "Tanh"]
    assert kinds == ["Unflatten", *block, *block, *block, *last]
    (mnist,) = networks("teaching_mnist_vae")[1]
    block = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert [type(layer).__name__ for layer in mnist.trunk] == [
        *["Unflatten", *block, *block, *block, "ConvTranspose2d", "Tanh"]
    ]
    slopes = {
        "teaching_cifar_vae": 0.2,
        "cooperative_mnist_generator": 0.2,
        "cooperative_scenes_generator": 0.2,
    }
    for name, slope in {**slopes, "cooperative_cifar_generator": 0.01}.items():
        (decoder,) = networks(name)[1]
        leaks = [layer for layer in decoder.trunk if isinstance(layer, nn.LeakyReLU)]
        assert leaks
        assert {layer.negative_slope for layer in leaks} == {slope}
    dropouts = [m.p for m in networks("teaching_mnist_vae")[0][0].modules() if hasattr(m, "p")]
    assert dropouts == [0.2] * 3


@pytest.mark.parametrize(
    "name", ["teaching_cifar_vae", "teaching_mnist_vae", "cooperative_mnist_generator"]
)
def test_weights_start_as_published(name):
    """N(0, 0.005^2) in convolutions; in dense layers variance 2 / (fan_in + fan_out)."""
    encoders, decoders = networks(name)
    for network in [*encoders, *decoders]:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                unit = 0.005 / math.sqrt(2 * layer.weight.numel())
                assert abs(layer.weight.std().item() - 0.005) < 5 * unit
                assert layer.bias.abs().max() == 0
            elif isinstance(layer, nn.Linear):
                expected = math.sqrt(2 / sum(layer.weight.shape))
                assert layer.weight.std().item() == pytest.approx(expected, rel=0.01)
                assert layer.bias.abs().max() == 0


@pytest.mark.parametrize("name", published.__all__)
def test_settings_survive_a_file(name):
    settings = getattr(published, name)()
    assert from_tree(type(settings), to_tree(settings)) == settings


@pytest.mark.slow
def test_the_published_generators_of_generalized_models():
    """3.6 million parameters beside 5.9 of the energy, with the layers of the published code."""
    convnet = published.spectral_gan_generator().build((3, 32, 32), 0)
    counted = 100 * 8192 + 8192 + 2 * 512
    for inputs, outputs in ((512, 256), (256, 128), (128, 64)):
        counted += inputs * outputs * 16 + outputs + 2 * outputs
    counted += 64 * 3 * 9 + 3
    assert sum(p.numel() for p in convnet.parameters()) == counted == 3_584_003
    kinds = [type(layer).__name__ for layer in convnet.trunk]
    up = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert kinds == ["FastLinear", "Unflatten", *up[1:], *(3 * up), "ConvTranspose2d", "Tanh"]
    residual = published.spectral_gan_residual_generator().build((3, 32, 32), 0)
    block = 2 * (128 * 128 * 9 + 128) + 2 * 2 * 128
    counted = 100 * 2048 + 2048 + 3 * block + 2 * 128 + 128 * 3 * 9 + 3
    assert sum(p.numel() for p in residual.parameters()) == counted == 1_097_603
    z = residual.latents(2, torch.Generator().manual_seed(0))
    assert residual(z).shape == convnet(z).shape == (2, 3, 32, 32)


def test_a_residual_block_is_its_formula(rng):
    skip = ResidualGenerator(4, doublings=1).build((3, 8, 8), latent=2).trunk[2]
    x = torch.randn(3, 4, 5, 5, generator=rng)
    norm, _, _, first, second_norm, _, second = skip.inner

    def enlarged(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    h = first(enlarged(norm(x).relu()))
    torch.testing.assert_close(skip(x), enlarged(x) + second(second_norm(h).relu()))
    with pytest.raises(ValueError, match="makes images of 32 x 32, got events of shape"):
        ResidualGenerator().build((3, 28, 28), latent=2)
