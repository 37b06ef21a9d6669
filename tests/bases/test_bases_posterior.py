"""The posterior of the latent variables against torch.distributions, and its walkers."""

import pytest
import torch
from torch.distributions import Normal

from boltzwalk.bases import Generator, posterior_energy, published
from boltzwalk.energy import energy_and_grad
from boltzwalk.kernels import MALA
from boltzwalk.networks import DenseGenerator
from boltzwalk.walkers import walkers_at
from statistics_helpers import assert_mean


@pytest.mark.parametrize("sigma", [0.3, 1.7])
def test_gradient_and_differences_are_those_of_the_joint_density(sigma, rng):
    decoder = published.digits_vae(4).generator().build((1, 8, 8), 0)
    x, z = torch.randn(6, 1, 8, 8, generator=rng), decoder.latents(6, rng)

    def log_density(z):
        prior = Normal(torch.zeros(()), torch.ones(())).log_prob(z).sum(1)
        return prior + Normal(decoder.decode(z), sigma).log_prob(x).flatten(1).sum(1)

    energy = posterior_energy(decoder.decode, x, sigma)
    u, grad = energy_and_grad(energy, z)
    z = z.requires_grad_()
    log_p = log_density(z)
    (expected,) = torch.autograd.grad(log_p.sum(), z)
    torch.testing.assert_close(grad, -expected)
    offset = u + log_p.detach()
    torch.testing.assert_close(offset, offset[:1].expand(6))
    assert all(parameter.grad is None for parameter in decoder.parameters())


def test_walkers_reach_the_posterior_of_a_linear_generator(rng):
    """x = w z + c + s e, one x for each walker: N(w (x - c) / (w^2 + s^2), s^2 / (w^2 + s^2))."""
    decoder = Generator(DenseGenerator((), output="none"), 1).build((1,), 0)
    n, w, c, sigma = 4000, 1.5, 0.5, 0.8
    with torch.no_grad():
        decoder.trunk[0].weight.fill_(w)
        decoder.trunk[0].bias.fill_(c)
    x = torch.tensor([[-2.0], [1.0]]).repeat(n // 2, 1)
    energy = posterior_energy(decoder.decode, x, sigma)
    walkers, kernel = walkers_at(energy, decoder.latents(n, rng)), MALA(step_size=0.15)
    for _ in range(60):
        walkers, _ = kernel.step(energy, walkers, rng)
    total = w**2 + sigma**2
    for i in range(2):
        z = walkers.x[i::2, 0]
        mean = w * (x[i, 0].item() - c) / total
        assert_mean(z, mean, f"mean given x = {x[i, 0]}")
        assert_mean((z - mean).square(), sigma**2 / total, f"variance given x = {x[i, 0]}")


def test_no_gradient_reaches_the_events(rng):
    decoder = Generator(DenseGenerator((8,)), 2).build((3,), 0)
    x = torch.randn(4, 3, generator=rng).requires_grad_()
    z = decoder.latents(4, rng).requires_grad_()
    posterior_energy(decoder.decode, x, 0.5)(z).sum().backward()
    assert x.grad is None
    assert z.grad.abs().sum() > 0


def test_refusals(rng):
    decoder = Generator(DenseGenerator((8,)), 2).build((3,), 0)
    x = torch.zeros(4, 3)
    for sigma in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="sigma must be positive"):
            posterior_energy(decoder.decode, x, sigma)
    energy = posterior_energy(decoder.decode, x, 0.3)
    for rows in (1, 5):  # one row would broadcast
        with pytest.raises(ValueError, match=rf"got {rows} rows decoded to \({rows}, 3\)"):
            energy(torch.zeros(rows, 2))
