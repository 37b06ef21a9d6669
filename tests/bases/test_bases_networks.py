"""Decoders and encoders: shapes, seeds, and refusals that name what does not fit."""

import pytest
import torch
from torch import nn

from boltzwalk.bases import Generator, Vae
from boltzwalk.networks import (
    Convolution,
    ConvolutionalEncoder,
    ConvolutionalGenerator,
    Decoder,
    DenseEncoder,
    DenseGenerator,
    TransposedConvolution,
)
from boltzwalk.networks.dense import is_bounded

UP = TransposedConvolution(4)
FROM_LATENT = TransposedConvolution(4, 4, 1, 0, activation="tanh")

DECODERS = {
    "dense image": (DenseGenerator((8, 8)), (1, 4, 4)),
    "dense table": (DenseGenerator((8,), norm=False), (5,)),
    "linear": (DenseGenerator((), norm=True), (5,)),
    "dense matrix": (DenseGenerator((8,)), (2, 3)),
    "from one pixel": (ConvolutionalGenerator(None, (FROM_LATENT, UP)), (3, 16, 16)),
    "from a dense layer": (ConvolutionalGenerator((4, 2, 3), (UP,)), (2, 8, 12)),
}
ENCODERS = {
    "dense image": (DenseEncoder((8, 8)), (1, 4, 4)),
    "dense table": (DenseEncoder((8,), dropout=0.5), (5,)),
    "linear": (DenseEncoder(()), (5,)),
    "convolutions": (ConvolutionalEncoder((Convolution(4), Convolution(8, 3, 2))), (2, 8, 12)),
    "more at the end": (ConvolutionalEncoder((Convolution(4, 4, 1, 1, 1),)), (1, 7, 7)),
}
decoders = pytest.mark.parametrize(("settings", "shape"), DECODERS.values(), ids=DECODERS)
encoders = pytest.mark.parametrize(("settings", "shape"), ENCODERS.values(), ids=ENCODERS)


@decoders
def test_decoders(settings, shape, rng):
    decoder = Generator(settings, latent=3).build(shape, 0)
    for n in (0, 1, 4):
        x = decoder.decode(decoder.latents(n, rng))
        assert x.shape == (n, *shape)
    assert x.std() > 0
    assert decoder.bounded == (len(shape) == 3)
    z = decoder.latents(4, rng)
    assert torch.equal(decoder(z), decoder.decode(z))


@encoders
def test_encoders(settings, shape, rng):
    encoder = settings.build(shape, 3)
    for n in (0, 1, 4):
        for code in encoder(torch.randn(n, *shape, generator=rng)):
            assert code.shape == (n, 3)


@encoders
def test_the_log_deviation_is_half_of_the_dense_layer(settings, shape, rng):
    """As in the published code: the layer itself gives the logarithm of the variance."""
    encoder = settings.build(shape, 3)
    x = torch.randn(4, *shape, generator=rng)
    features = encoder.trunk(x)
    mean, log_std = encoder(x)
    torch.testing.assert_close(mean, encoder.mean(features))
    torch.testing.assert_close((2 * log_std).exp(), encoder.log_variance(features).exp())


def test_padding_at_the_end_is_that_of_tensorflow(rng):
    """Of an odd total of zeros, the one more is at the end, on both axes."""
    encoder = ConvolutionalEncoder((Convolution(1, 4, 1, 1, 1),)).build((1, 7, 7), 2)
    layer = next(m for m in encoder.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(2, 1, 7, 7, generator=rng)
    padded = torch.zeros(2, 1, 10, 10)
    padded[:, :, 1:8, 1:8] = x
    expected = nn.functional.conv2d(padded, layer.weight, layer.bias)
    torch.testing.assert_close(encoder.trunk[:2](x), expected)


def test_output():
    assert is_bounded("tanh", (2,))
    assert not is_bounded("none", (1, 8, 8))
    linear = DenseGenerator((), output="none").build((1, 2, 2), 3)
    assert linear.decode(1e3 * torch.ones(1, 3)).abs().max() > 1
    image, same = (DenseGenerator((), output=o).build((1, 2, 2), 3) for o in ("auto", "none"))
    same.load_state_dict(image.state_dict())
    z = torch.ones(1, 3)
    torch.testing.assert_close(image.decode(z), same.decode(z).tanh())


@pytest.mark.parametrize("settings", [Generator(latent=3), Vae(latent=3)], ids=["generator", "vae"])
def test_a_seed_gives_the_same_parameters_and_touches_no_global_generator(settings):
    before = torch.get_rng_state()
    first, again, other = (settings.build((5,), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    pairs = zip(first.parameters(), other.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_latent_rows_are_standard_normal(rng):
    decoder = Generator(latent=4).build((2,), 0)
    z = decoder.latents(20_000, rng)
    assert z.dtype == torch.float64
    assert z.mean().abs() < 5 / 80_000**0.5
    assert (z.square().mean() - 1).abs() < 5 * (2 / 80_000) ** 0.5
    single = decoder.float().latents(2, torch.Generator().manual_seed(0))
    assert single.dtype == torch.float32


def test_the_decoder_of_a_vae_alone():
    vae = Vae(decoder=DenseGenerator((7,)), latent=5)
    assert vae.generator() == Generator(DenseGenerator((7,)), 5)


def test_data_beyond_the_range_of_tanh_are_refused(rng):
    x = torch.randn(50, 1, 2, 2, generator=rng)
    settings = Generator(DenseGenerator((4,)), 2)
    with pytest.raises(ValueError, match=r"events in \[-1, 1\].*output='none'"):
        settings.build((1, 2, 2), 0, 3 * x)
    with pytest.raises(ValueError, match="output='none'"):
        Vae(decoder=DenseGenerator((4,)), latent=2).build((1, 2, 2), 0, 3 * x)
    assert Generator(DenseGenerator((4,), output="none"), 2).build((1, 2, 2), 0, 3 * x)
    noisy = x.sign() + 0.1 * torch.randn(x.shape, generator=rng)
    assert settings.build((1, 2, 2), 0, noisy)


def refused(message):
    return pytest.raises(ValueError, match=message)


def test_no_latent_variable():
    for settings in (Generator, Vae):
        with refused("latent must be at least 1, got 0"):
            settings(latent=0)
    for network in (DenseGenerator(), ConvolutionalGenerator()):
        with refused("latent must be at least 1, got -1"):
            network.build((1, 28, 28), -1)
    for network in (DenseEncoder(), ConvolutionalEncoder()):
        with refused("latent must be at least 1, got 0"):
            network.build((1, 28, 28), 0)


def test_images_that_a_table_does_not_make_name_the_sizes():
    with refused(r"7 x 7 -> 14 x 14 -> 28 x 28, got events of shape \(1, 32, 32\)"):
        ConvolutionalGenerator().build((1, 32, 32), 4)
    with refused(r"1 x 1 -> 4 x 4 -> 8 x 8 -> 16 x 16, got events of shape \(16,\)"):
        ConvolutionalGenerator(None, (FROM_LATENT, UP)).build((16,), 4)
    cut = TransposedConvolution(4, 2, 1, padding=2)  # 3 -> 0 -> 5
    with refused(r"3 x 3 -> 0 x 0 -> 5 x 5"):
        ConvolutionalGenerator((1, 3, 3), (cut,), (6, 1, 0, 0)).build((1, 5, 5), 4)


def test_images_too_small_for_an_encoder():
    with refused(r"3 layers.*got events of shape \(1, 1, 9\), of which they leave \(0, 1\)"):
        ConvolutionalEncoder((Convolution(2), Convolution(2), Convolution(2))).build((1, 1, 9), 4)
    with refused(r"events of shape \(64,\)"):
        ConvolutionalEncoder().build((64,), 4)


def test_settings_that_make_no_sense():
    with refused("widths must be at least 1 each, got"):
        DenseGenerator((8, 0))
    with refused("widths"):
        DenseEncoder((0,))
    with refused("start must be at least 1 each"):
        ConvolutionalGenerator((8, 0, 4))
    with refused("one transposed convolution or more"):
        ConvolutionalGenerator(layers=())
    with refused("stride=2"):
        TransposedConvolution(4, output_padding=2)
    with refused("padding=-1"):
        ConvolutionalGenerator(last=(4, 2, -1, 0))
    with refused("channels, kernel and stride"):
        TransposedConvolution(0)
    with refused("channels, kernel and stride"):
        Convolution(4, stride=0)
    with refused("end_padding=-1"):
        Convolution(4, end_padding=-1)
    for settings in (DenseEncoder, ConvolutionalEncoder):
        for share in (1.0, -0.1):
            with refused(r"dropout must be in \[0, 1\)"):
                settings(dropout=share)
    for network in (DenseGenerator(), DenseEncoder()):
        with refused(r"at least one axis.*got the shape \(\)"):
            network.build((), 4)
    with refused("initial must be"):
        DenseGenerator(initial=-0.5).build((2,), 4)


def test_rows_of_another_shape():
    vae = Vae(latent=3).build((1, 8, 8), 0)
    with refused(r"this decoder takes z of shape \(N, 3\), got \(5, 4\)"):
        vae.decode(torch.zeros(5, 4))
    with refused(r"this encoder takes x of shape \(N, 1, 8, 8\), got \(5, 64\)"):
        vae.encode(torch.zeros(5, 64))
    decoder = Decoder((2,), 3, nn.Linear(3, 2), bounded=False)
    with refused(r"got \(3, 1\)"):
        decoder(torch.zeros(3, 1))


@pytest.mark.parametrize("initial", [0.03, "xavier"])
def test_transposed_convolutions_start_as_told(initial):
    start = (4, 8, 8)
    decoder = ConvolutionalGenerator(start, (TransposedConvolution(64),), initial=initial)
    built = Generator(decoder, 8).build((64, 32, 32), 0)
    last = [m for m in built.modules() if isinstance(m, nn.ConvTranspose2d)][-1]
    expected = initial if initial != "xavier" else (2 / (64 * 16 + 64 * 16)) ** 0.5
    assert last.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert last.bias.abs().max() == 0
