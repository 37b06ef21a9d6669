"""The loss, the bound and the collapse detector against closed forms of linear models."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from boltzwalk.bases import Vae, active_dimensions, default_gamma, published, vae_loss
from boltzwalk.data.cifar import Cifar10
from boltzwalk.data.digits import Digits
from boltzwalk.networks import DenseEncoder, DenseGenerator
from statistics_helpers import BOUND, assert_mean


def linear_vae(pixels, latent, rng):
    """Mean, log-variance and decoded events are affine, of known random weights."""
    settings = Vae(DenseEncoder(()), DenseGenerator((), output="none"), latent)
    vae = settings.build((pixels,), 0)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / 2)
    return vae


def weights(layer):
    return layer.weight.detach(), layer.bias.detach()


@pytest.mark.slow
def test_loss_of_a_linear_model_against_its_expectation(rng):
    """E|W (mu + e^s xi) + c - x|^2 = |W mu + c - x|^2 + sum_k e^(2 s_k) |W_k|^2."""
    vae, gamma = linear_vae(5, 3, rng), 0.7
    x = torch.randn(4, 5, generator=rng)
    (A, a), (B, b) = weights(vae.encoder.mean), weights(vae.encoder.log_variance)
    W, c = weights(vae.decoder.trunk[0])
    mean, variance = x @ A.T + a, (x @ B.T + b).exp()
    exact = (mean @ W.T + c - x).square().sum(1) + variance @ W.square().sum(0)
    posterior = Independent(Normal(mean, variance.sqrt()), 1)
    prior = Independent(Normal(torch.zeros(4, 3), torch.ones(4, 3)), 1)
    divergence = kl_divergence(posterior, prior)
    n = 2500
    with torch.no_grad():
        drawn = [vae_loss(vae, x, gamma, rng) for _ in range(n)]
    for loss, parts in drawn[:3]:
        torch.testing.assert_close(parts.kl, divergence.mean())
        torch.testing.assert_close(loss, parts.reconstruction + gamma * parts.kl)
    losses = torch.stack([loss for loss, _ in drawn])
    assert_mean(losses, (exact + gamma * divergence).mean().item(), "loss")


def test_each_row_has_noise_of_its_own(rng):
    """The variance of the mean over equal rows falls with their number."""
    vae, x = linear_vae(5, 3, rng), torch.ones(1, 5)
    spread = {}
    with torch.no_grad():
        for rows in (1, 16):
            losses = [vae_loss(vae, x.expand(rows, 5), 1.0, rng)[0] for _ in range(1000)]
            spread[rows] = torch.stack(losses).var().item()
    assert spread[1] / spread[16] == pytest.approx(16, rel=0.3)


def test_gradients_against_autograd_of_the_expectation(rng):
    """Of both networks, with gradients through the noise; none reaches x."""
    vae, gamma = linear_vae(3, 2, rng), 0.7
    x = torch.randn(40_000, 3, generator=rng).requires_grad_()
    loss, parts = vae_loss(vae, x, gamma, rng)
    assert not parts.reconstruction.requires_grad
    assert not parts.kl.requires_grad
    loss.backward()
    assert x.grad is None
    found = [parameter.grad.clone() for parameter in vae.parameters()]
    vae.zero_grad()
    mean, log_std = vae.encode(x.detach())
    W = vae.decoder.trunk[0].weight
    exact = (vae.decode(mean) - x.detach()).square().sum(1)
    exact = exact + (2 * log_std).exp() @ W.square().sum(0)
    prior = Normal(torch.zeros(2), torch.ones(2))
    divergence = kl_divergence(Normal(mean, log_std.exp()), prior).sum(1)
    (exact + gamma * divergence).mean().backward()
    for parameter, grad in zip(vae.parameters(), found, strict=True):
        assert (parameter.grad - grad).abs().max() < 0.02 * (1 + parameter.grad.abs().max())


def test_the_encoder_learns_from_the_reconstruction(rng):
    """One published port regresses on events that were not encoded, and its encoder dies."""
    vae = published.digits_vae(4).build((1, 8, 8), 0)
    loss, _ = vae_loss(vae, torch.randn(16, 1, 8, 8, generator=rng), 0.0, rng)
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in vae.encoder.parameters())


def test_gamma_is_twice_the_variance_of_a_pixel(rng):
    """-L / (2 sigma^2) is the bound up to its constant: exactly, in expectation over the noise."""
    vae, sigma = linear_vae(4, 2, rng), 0.8
    x = torch.randn(1, 4, generator=rng)
    n = 5000
    rows = x.expand(n, 4)
    with torch.no_grad():
        mean, log_std = vae.encode(rows)
        posterior, prior = Normal(mean, log_std.exp()), Normal(0.0, 1.0)
        z = mean + log_std.exp() * torch.randn(mean.shape, generator=rng)
        likelihood = Normal(vae.decode(z), sigma).log_prob(rows)
        bound = likelihood.sum(1) + (prior.log_prob(z) - posterior.log_prob(z)).sum(1)
        z = vae.reparametrise(mean, log_std, rng)
        errors = (vae.decode(z) - rows).square().sum(1)
        kl = vae_loss(vae, rows, 1.0, rng)[1].kl
    losses = errors + 2 * sigma**2 * kl
    constant = -4 / 2 * math.log(2 * math.pi * sigma**2)
    difference = bound - (constant - losses / (2 * sigma**2))
    assert_mean(difference, 0.0, "bound")


def test_active_dimensions_of_a_planted_case(rng):
    """Means of variance 1, 0.02, 0.005 and 0: two are above 0.01, whatever the offsets."""
    vae = linear_vae(4, 4, rng)
    x = torch.randn(5000, 4, generator=rng)
    x = (x - x.mean(0)) / x.std(0)
    with torch.no_grad():
        vae.encoder.mean.weight.copy_(torch.diag(torch.tensor([1.0, 0.02, 0.005, 0.0]).sqrt()))
        vae.encoder.mean.bias.copy_(torch.tensor([0.0, 5.0, -5.0, 9.0]))
    assert active_dimensions(vae, x) == 2
    assert active_dimensions(vae, x, threshold=0.0049) == 3
    assert active_dimensions(vae, x, threshold=0.5) == 1
    assert active_dimensions(vae, x, threshold=2.0) == 0
    order = x.sort(0).values  # parts that are encoded one by one are of different means
    assert active_dimensions(vae, order, threshold=0.0049) == 3


def learnt_digits(gamma, x):
    """A small autoencoder after 150 steps of Adam."""
    vae = Vae(DenseEncoder((32,)), DenseGenerator((32,)), 8).build((1, 8, 8), 0, x)
    adam, own = torch.optim.Adam(vae.parameters(), 5e-3), torch.Generator().manual_seed(1)
    for _ in range(150):
        batch = x[torch.randint(len(x), (100,), generator=own)]
        adam.zero_grad()
        vae_loss(vae, batch, gamma, own)[0].backward()
        adam.step()
    return vae


def test_the_default_weight_keeps_latent_directions_that_the_published_one_loses():
    """On the 8 x 8 digits, whose total variance is a fortieth of that of CIFAR-10."""
    dataset = Digits().load()
    x = dataset.train.double()
    gamma = default_gamma(x)
    assert gamma == pytest.approx(2 * 18.8 / 763.2, rel=0.05)
    active = {g: active_dimensions(learnt_digits(g, x), x) for g in (gamma, 20.0)}
    assert active[gamma] == 8
    assert active[20.0] == 0


def test_default_gamma_is_a_share_of_the_variance(rng):
    x = torch.randn(30, 2, 3, generator=rng)
    total = x.flatten(1).var(0).sum().item()
    assert default_gamma(x) == pytest.approx(2 * total / 763.2, rel=1e-12)
    assert default_gamma(5 + x) == pytest.approx(default_gamma(x), rel=1e-9)
    assert default_gamma(3 * x) == pytest.approx(9 * default_gamma(x), rel=1e-9)


def test_the_constant_of_cifar(real_data):
    """The variance of the training images of the lossless subset."""
    dataset = Cifar10(root=real_data, layout="lossless_subset", validation=0.0).load()
    assert len(dataset.train) == 4000
    assert default_gamma(dataset.train) == pytest.approx(2.0, rel=1e-4)


def test_reparametrised_rows_have_the_distribution_of_the_encoder(rng):
    vae, n = linear_vae(3, 2, rng), 20_000
    mean, log_std = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, -1.0]])
    z = vae.reparametrise(mean.expand(n, 2), log_std.expand(n, 2), rng)
    for k in range(2):
        assert_mean(z[:, k], mean[0, k].item(), f"mean {k}")
        variance = math.exp(2 * log_std[0, k])
        assert_mean((z[:, k] - mean[0, k]).square(), variance, f"variance {k}")
    correlation = ((z - mean) / log_std.exp()).prod(1)
    assert correlation.mean().abs() < BOUND * correlation.std() / n**0.5


def test_refusals(rng):
    vae, x = linear_vae(3, 2, rng), torch.zeros(4, 3)
    for gamma in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="gamma must be at least 0 and finite"):
            vae_loss(vae, x, gamma, rng)
    with pytest.raises(ValueError, match="two rows or more"):
        active_dimensions(vae, x[:1])
    with pytest.raises(ValueError, match="threshold=-1"):
        active_dimensions(vae, x, threshold=-1.0)
    for data in (x, x[:1], torch.full((3, 2), math.nan), torch.zeros(0, 2)):
        with pytest.raises(ValueError, match="finite rows or more that differ"):
            default_gamma(data)
