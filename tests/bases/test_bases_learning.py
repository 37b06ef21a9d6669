"""Rows are independent of one another but within a network's own step of learning."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from boltzwalk.bases import Generator, Vae, published, vae_loss
from boltzwalk.networks import (
    ConvolutionalGenerator,
    DenseEncoder,
    DenseGenerator,
    TransposedConvolution,
    batch_statistics,
)
from boltzwalk.networks.batch_norm import Dropout, calibrate_batch_norm

LAYERS = (TransposedConvolution(4, 4, 1, 0), TransposedConvolution(4))
NETWORKS = {
    "dense": (DenseGenerator((8, 8)), (1, 4, 4)),
    "convolutional": (ConvolutionalGenerator(None, LAYERS), (1, 16, 16)),
    "from a dense layer": (ConvolutionalGenerator((4, 4, 4), LAYERS[1:]), (1, 16, 16)),
}
each = pytest.mark.parametrize(("network", "shape"), NETWORKS.values(), ids=NETWORKS)


def statistics(network):
    return {name: b.clone() for name, b in network.named_buffers() if "running" in name}


@each
def test_a_row_that_is_decoded_does_not_depend_on_the_others(network, shape, rng):
    decoder = Generator(network, 3).build(shape, 0)
    z, other = decoder.latents(6, rng), decoder.latents(6, rng)
    before, x = statistics(decoder), decoder.decode(z)
    changed = decoder.decode(torch.cat([z[:1], 10 * other[1:]]))
    torch.testing.assert_close(changed[0], x[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(decoder.decode(z[:1])[0], x[0], rtol=1e-12, atol=1e-12)
    assert (changed[1:] - x[1:]).abs().max() > 1e-3
    for name, buffer in statistics(decoder).items():
        assert torch.equal(buffer, before[name])  # drawing moves nothing
    with batch_statistics(decoder, rng):  # the test can tell the difference
        x = decoder.decode(z)
        changed = decoder.decode(torch.cat([z[:1], 10 * other[1:]]))
    assert (changed[0] - x[0]).abs().max() > 1e-6


@each
def test_no_call_of_train_couples_the_rows(network, shape):
    """An outer module that is set to training takes its networks along, and must not."""
    decoder = Generator(network, 3).build(shape, 0)
    vae = Vae(DenseEncoder((8,), dropout=0.5), network, 3).build(shape, 0)
    outer = nn.ModuleList([decoder, vae, vae.encoder, vae.decoder]).train()
    assert outer.training
    assert not any(m.training for child in outer for m in child.modules())


@each
def test_learning_moves_the_running_statistics_and_restores_the_mode(network, shape, rng):
    decoder = Generator(network, 3).build(shape, 0)
    before = statistics(decoder)
    assert before
    with batch_statistics(decoder, rng):
        decoder.decode(5 + decoder.latents(32, rng))
    assert not any(m.training for m in decoder.modules())
    after = statistics(decoder)
    assert all(not torch.equal(after[name], before[name]) for name in before)


def test_the_running_statistics_are_those_of_the_batch_by_a_tenth(rng):
    decoder = Generator(DenseGenerator((8,)), 3).build((2,), 0)
    first, norm = decoder.trunk[0], decoder.trunk[1]
    mean, var, z = norm.running_mean.clone(), norm.running_var.clone(), decoder.latents(16, rng)
    with batch_statistics(decoder, rng):
        decoder.decode(z)
    h = first(z)
    torch.testing.assert_close(norm.running_mean, 0.9 * mean + 0.1 * h.mean(0))
    torch.testing.assert_close(norm.running_var, 0.9 * var + 0.1 * h.var(0))


def test_an_error_within_learning_restores_the_mode(rng):
    vae = Vae(DenseEncoder((8,), dropout=0.5), DenseGenerator((8,)), 3).build((2,), 0)
    with pytest.raises(ValueError), batch_statistics(vae, rng):
        vae.decode(torch.zeros(4, 99))
    assert not any(m.training for m in vae.modules())
    assert all(m.rng is None for m in vae.modules() if isinstance(m, Dropout))


def test_learning_leaves_layers_that_learn_already_as_they_are(rng):
    layers = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2).eval())
    with batch_statistics(layers, rng):
        assert [layer.training for layer in layers] == [True, True]
    assert [layer.training for layer in layers] == [True, False]


def test_dropout_is_on_only_while_it_learns(rng):
    encoder = published.teaching_mnist_vae(4).encoder.build((1, 28, 28), 4)
    x = torch.randn(3, 1, 28, 28, generator=rng)
    mean = encoder(x)[0]
    assert torch.equal(encoder(x)[0], mean)
    with batch_statistics(encoder, rng):
        assert not torch.equal(encoder(x)[0], mean)
    assert torch.equal(encoder(x)[0], mean)


def test_dropout_keeps_the_mean_and_takes_its_numbers_from_the_generator(rng):
    layer, x, n = Dropout(0.2), torch.full((20_000,), 3.0), 20_000
    state = torch.get_rng_state()
    with batch_statistics(layer, torch.Generator().manual_seed(1)):
        first = layer(x)
        with batch_statistics(layer, rng):
            layer(x)
        second = layer(x)  # the outer generator, again
    with batch_statistics(layer, torch.Generator().manual_seed(1)):
        assert torch.equal(layer(x), first)
        assert torch.equal(layer(x), second)
    assert torch.equal(torch.get_rng_state(), state)
    dropped = (first == 0).double()
    assert abs(dropped.mean().item() - 0.2) < 5 * (0.2 * 0.8 / n) ** 0.5
    torch.testing.assert_close(first[first != 0].unique(), torch.tensor([3.0 / 0.8]))


def test_no_number_of_a_learning_step_is_global(rng):
    """Neither dropout nor reparametrisation: a resumed run draws what it would have drawn."""
    settings = Vae(DenseEncoder((8,), dropout=0.5), DenseGenerator((8,)), 3)
    x, state, losses = torch.randn(16, 2, generator=rng), torch.get_rng_state(), []
    for _ in range(2):
        vae, own = settings.build((2,), 0), torch.Generator().manual_seed(7)
        with batch_statistics(vae, own):
            losses.append(vae_loss(vae, x, 1.0, own)[0])
    assert torch.equal(*losses)
    assert torch.equal(torch.get_rng_state(), state)


@each
def test_a_new_network_draws_what_it_would_draw_by_batch_statistics(network, shape, rng):
    """Its running statistics are its own. With those of PyTorch, 0 and 1, all events are alike."""
    settings = Generator(network, 3)
    decoder = settings.build(shape, 0)
    z = decoder.latents(4000, rng)
    x = decoder.decode(z).detach()
    with batch_statistics(decoder, rng):
        y = decoder.decode(z).detach()
    assert x.std(0).mean() == pytest.approx(y.std(0).mean().item(), rel=0.2)
    for layer in decoder.modules():
        if isinstance(layer, _BatchNorm):
            assert layer.momentum == 0.1


def test_without_settling_events_would_be_alike(rng):
    decoder = ConvolutionalGenerator(None, LAYERS, initial=0.005).build((1, 16, 16), 3)
    z = decoder.latents(100, rng)
    before = decoder.decode(z).std(0).mean()
    calibrate_batch_norm(decoder, z, rng)
    assert decoder.decode(z).std(0).mean() > 1000 * before
