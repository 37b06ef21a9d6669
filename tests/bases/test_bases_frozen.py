"""Frozen copies are the same functions, and leave what they are copies of alone."""

import pytest
import torch

from boltzwalk.bases import Generator, published
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energy import energy_and_grad
from boltzwalk.networks import DenseGenerator, Multilayer, Residual, batch_statistics
from boltzwalk.networks.fusion import fuse_for_inference
from boltzwalk.networks.published import spectral_gan_network as critic
from boltzwalk.networks.residual import ResidualGenerator

GENERATORS = {
    "dense": (Generator(DenseGenerator((8, 8)), 3), (1, 4, 4)),
    "transposed": (published.mnist_small_vae(8).generator(), (1, 28, 28)),
    "convnet": (published.spectral_gan_generator(8), (3, 32, 32)),
    "residual": (Generator(ResidualGenerator(8), 4), (3, 32, 32)),
}
ENERGIES = {
    "dense": (NetworkEnergy(Multilayer((8,)), spectral_norm=True), (1, 4, 4)),
    "convolutional": (NetworkEnergy(critic(width=4)), (3, 16, 16)),
    "residual": (NetworkEnergy(Residual(8)), (3, 16, 16)),
    "reference": (NetworkEnergy(Multilayer((8,)), reference_scale=2.0), (3,)),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_makes_the_same(name, rng):
    settings, shape = GENERATORS[name]
    decoder = settings.build(shape, 0)
    with batch_statistics(decoder, rng):  # statistics other than those of a start
        decoder(2 + decoder.latents(64, rng))
    fast, z = fuse_for_inference(decoder), decoder.latents(5, rng).requires_grad_()
    before, found = decoder(z), fast(z)
    torch.testing.assert_close(found, before)
    if name in ("transposed", "convnet"):
        assert found.is_contiguous(memory_format=torch.channels_last)
    weights = torch.randn(before.shape, generator=rng)
    slopes = [torch.autograd.grad((x * weights).sum(), z)[0] for x in (before, found)]
    torch.testing.assert_close(*slopes)
    assert not any(p.requires_grad for p in fast.parameters())
    assert all(p.requires_grad for p in decoder.parameters())
    norms = [
        sum("BatchNorm" in type(m).__name__ for m in part.modules()) for part in (decoder, fast)
    ]
    assert norms[1] < norms[0]


@pytest.mark.parametrize("name", ENERGIES)
def test_an_energy_is_the_same(name, rng):
    settings, shape = ENERGIES[name]
    energy = settings.build(shape, 0)
    fast, x = fuse_for_inference(energy), torch.randn(5, *shape, generator=rng)
    for a, b in zip(energy_and_grad(energy, x), energy_and_grad(fast, x), strict=True):
        torch.testing.assert_close(a, b)
    assert not any(p.requires_grad for p in fast.parameters())
    with torch.no_grad():  # a copy of its own
        for parameter in fast.parameters():
            parameter.zero_()
    assert torch.equal(energy(x), energy(x))
    assert energy(x).abs().max() > 0
