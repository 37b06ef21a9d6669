"""A linear autoencoder taught by an energy that stays recovers probabilistic PCA."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from boltzwalk.bases import Vae, active_dimensions, default_gamma, vae_loss
from boltzwalk.kernels import ULA
from boltzwalk.method import Batch
from boltzwalk.methods.variational import Variational
from boltzwalk.networks import DenseEncoder, DenseGenerator, batch_statistics
from statistics_helpers import assert_mean

SMALL = Vae(DenseEncoder((8,)), DenseGenerator((8,)), 2)


class Correlated:
    """N(m, C) as an energy, with its gradient in closed form."""

    def __init__(self, mean, covariance):
        self.mean, self.precision = mean, torch.linalg.inv(covariance)

    def __call__(self, x):
        return self.energy_and_grad(x)[0]

    def energy_and_grad(self, x):
        grad = (x - self.mean) @ self.precision
        return ((x - self.mean) * grad).sum(1) / 2, grad


class Quadratic(nn.Module):
    """U = sum of a x^2 / 2 - b x."""

    def __init__(self, dim=3):
        super().__init__()
        self.a = nn.Parameter(torch.full((dim,), 0.7))
        self.b = nn.Parameter(torch.full((dim,), 0.2))

    def forward(self, x):
        return (self.a * x.square() / 2 - self.b * x).sum(-1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(n, *shape, seed=9):
    return torch.randn(n, *shape, generator=seeded(seed))


def linear(latent):
    return Vae(DenseEncoder(()), DenseGenerator((), output="none"), latent)


def test_both_gradients_by_hand():
    """Autograd of each loss alone, on a revision made here from the same numbers."""
    settings = Variational(SMALL, ULA(0.1), 3, walkers=16, data_noise=0.3, gamma=0.7)
    data, energy, own = drawn(10, 3), Quadratic(), seeded()
    method = settings.build((3,), 0, Batch(data))
    loss, state, info = method.step(energy, Batch(data), None, seeded())
    assert state is None
    loss.backward()

    a, b = energy.a.detach(), energy.b.detach()
    x = settings.build((3,), 0, Batch(data)).base.decode(torch.randn(16, 2, generator=own)).detach()
    for _ in range(3):
        x = x - 0.1 * (a * x - b) + math.sqrt(0.2) * torch.randn(16, 3, generator=own)
    noisy = data + 0.3 * torch.randn(10, 3, generator=own)
    gap = energy(noisy).mean() - energy(x).mean()
    of_energy = torch.autograd.grad(gap, list(energy.parameters()))
    for parameter, expected in zip(energy.parameters(), of_energy, strict=True):
        torch.testing.assert_close(parameter.grad, expected)

    mean, log_std = method.base.encode(x)
    z = mean + log_std.exp() * torch.randn(16, 2, generator=own)
    dense, norm, act, last = method.base.decoder.trunk
    hidden = nn.functional.linear(z, dense.weight, dense.bias)
    hidden = nn.functional.batch_norm(hidden, None, None, norm.weight, norm.bias, training=True)
    made = nn.functional.linear(act(hidden), last.weight, last.bias)
    errors = (x - made).square().sum(1)
    prior = Normal(torch.zeros(2), torch.ones(2))
    divergences = kl_divergence(Normal(mean, log_std.exp()), prior).sum(1)
    teaching = (errors + 0.7 * divergences).mean()
    parameters = list(method.base.parameters())
    of_vae = torch.autograd.grad(teaching, parameters)
    for parameter, expected in zip(parameters, of_vae, strict=True):
        torch.testing.assert_close(parameter.grad, expected)
    torch.testing.assert_close(loss.detach(), (gap + teaching).detach())
    torch.testing.assert_close(info["energy_gap"], gap.detach())
    torch.testing.assert_close(info["reconstruction"], errors.detach().mean())
    torch.testing.assert_close(info["kl"], divergences.detach().mean())
    assert info["active"] == (mean.detach().var(0, correction=0) > 0.01).sum()


def test_with_data_as_teacher_it_learns_as_a_vae_alone_does():
    """The gradient is that of the evidence bound of the batch; the energy learns all the same."""
    settings = Variational(SMALL, ULA(0.1), 3, walkers=16, gamma=0.7, teacher="data")
    data, energy = drawn(10, 3), Quadratic()
    method, alone = settings.build((3,), 0, Batch(data)), settings.build((3,), 0, Batch(data)).base
    loss, _, _ = method.step(energy, Batch(data), None, seeded())
    loss.backward()

    own = seeded()
    torch.randn(16, 2, generator=own)  # latent variables of the proposals
    for _ in range(3):
        torch.randn(16, 3, generator=own)  # noise of the chain
    torch.randn(10, 3, generator=own)  # noise on the data, of deviation zero
    with batch_statistics(alone, own):
        vae_loss(alone, data, 0.7, own)[0].backward()
    for ours, theirs in zip(method.base.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0)
    assert energy.b.grad.abs().sum() > 0


def test_the_losses_do_not_meet():
    """An autoencoder that is not taught leaves the energy's gradient as it is, and conversely."""
    data, settings = drawn(10, 3), Variational(SMALL, ULA(0.1), steps=3)
    grads = {}
    for kept in ("both", "energy", "vae"):
        energy, method = Quadratic(), settings.build((3,), 0, Batch(data))
        energy.requires_grad_(kept != "vae")
        method.requires_grad_(kept != "energy")
        method.step(energy, Batch(data), None, seeded())[0].backward()
        grads[kept] = [p.grad for p in (*energy.parameters(), *method.parameters())]
    for both, alone in zip(grads["both"][:2], grads["energy"][:2], strict=True):
        assert torch.equal(both, alone)
    for both, alone in zip(grads["both"][2:], grads["vae"][2:], strict=True):
        assert torch.equal(both, alone)
    assert all(g is None for g in grads["energy"][2:])
    assert all(g is None for g in grads["vae"][:2])


def test_the_encoder_learns_from_the_reconstruction_after_a_step():
    """One published port regresses on events that were not encoded, and its encoder dies."""
    data = drawn(40, 3)
    plain = Vae(DenseEncoder((8,)), DenseGenerator((8,), norm=False), 2)
    method = Variational(plain, ULA(0.1), steps=3, gamma=1e-100).build((3,), 0, Batch(data))
    optimizer, energy = torch.optim.Adam(method.parameter_groups()), Quadratic()
    for update in range(
        2
    ):  # the divergence weighs nothing, so the gradient is the reconstruction's
        optimizer.zero_grad()
        method.step(energy, Batch(data), None, seeded(update))[0].backward()
        optimizer.step()
        grads = [p.grad.norm() for p in method.base.encoder.parameters()]
        assert min(grads) > 1e-4, update


def taught(energy, settings, updates, dim):
    """A linear autoencoder after so many updates, with the mean of W W' over the last tenth."""
    data = drawn(10, dim)
    method = settings.build((dim,), 0, Batch(data))
    optimizer = torch.optim.Adam(method.parameter_groups())
    rng, total, count = seeded(), torch.zeros(dim, dim), 0
    (layer,) = method.base.decoder.trunk
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = settings.base_rate * min(1.0, 2 * (1 - update / updates))
        optimizer.zero_grad()
        loss, _, info = method.step(energy, Batch(data), None, rng)
        loss.backward()
        optimizer.step()
        if update >= 0.9 * updates:
            total, count = total + (layer.weight @ layer.weight.T).detach(), count + 1
    return method, total / count, info


@pytest.mark.parametrize("steps", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_teaching_recovers_the_known_solution(steps):
    r"""The decoder has the principal part of the chains' covariance, less \gamma / 2.

    Along an eigenvector of C with eigenvalue l, Langevin steps of size e multiply by a = 1 - e / l
    and have the variance s = 2 e / (1 - a^2) in the end. K steps from the proposals, of variance
    w, leave v = a^(2K) w + s (1 - a^(2K)). Probabilistic PCA of noise \gamma / 2 fits
    w = max(0, v - \gamma / 2), so that teaching ends where w = s - (\gamma / 2) / (1 - a^(2K)), or
    at 0 where that is negative. For K -> oo this is C less \gamma / 2.
    """
    gamma, step, dim = 0.8, 0.15, 3
    eigenvalues = torch.tensor([2.0, 0.9, 0.2])
    basis = torch.linalg.qr(drawn(dim, dim))[0]
    mean = torch.tensor([1.0, -0.5, 2.0])
    energy = Correlated(mean, basis @ eigenvalues.diag() @ basis.T)
    settings = Variational(linear(3), ULA(step), steps, walkers=500, gamma=gamma, base_rate=0.05)
    method, found, info = taught(energy, settings, 800, dim)

    a = 1 - step / eigenvalues
    forgotten = 1 - a ** (2 * steps)
    variances = (2 * step / (1 - a**2) - gamma / 2 / forgotten).clamp(min=0)
    assert [v > 0 for v in variances] == [True, True, False]
    expected = basis @ variances.diag() @ basis.T
    assert (found - expected).abs().max() < 0.04, (found, expected)
    (layer,) = method.base.decoder.trunk
    torch.testing.assert_close(layer.bias.detach(), mean, rtol=0, atol=0.05)
    assert info["active"] == 2

    # The encoder is the posterior: of variance (gamma / 2) / (w + gamma / 2) along each axis.
    x = method.sample(energy, Batch(drawn(10, dim)), None, 4000, seeded(1)).x
    assert active_dimensions(method.base, x) == 2
    w = layer.weight.detach().square().sum(0)
    log_std = method.base.encode(x)[1].detach().mean(0)
    torch.testing.assert_close((2 * log_std).exp(), gamma / 2 / (w + gamma / 2), rtol=0.1, atol=0)

    # What is drawn are proposals of the decoder after K steps.
    v = a ** (2 * steps) * variances + 2 * step / (1 - a**2) * forgotten
    for i in range(dim):
        along = (x - mean) @ basis[:, i]
        assert along.var().item() == pytest.approx(v[i].item(), rel=0.12), i


@pytest.mark.slow
def test_a_divergence_that_weighs_too_much_switches_all_latents_off():
    energy = Correlated(torch.ones(3), torch.diag(torch.tensor([2.0, 1.0, 0.5])))
    settings = Variational(linear(2), ULA(0.3), 2, walkers=200, gamma=50.0, base_rate=0.02)
    method, found, info = taught(energy, settings, 400, 3)
    assert info["active"] == 0
    assert info["kl"] < 0.01
    assert active_dimensions(method.base, energy.mean + drawn(500, 3)) == 0
    assert found.abs().max() < 0.02
    torch.testing.assert_close(
        method.base.decoder.trunk[0].bias.detach(), energy.mean, rtol=0, atol=0.1
    )


def test_the_weight_comes_from_the_data_unless_it_is_given():
    data = 3 * drawn(50, 3)
    assert Variational(SMALL).build((3,), 0, Batch(data)).settings.gamma == default_gamma(data)
    total = data.var(0).sum().item()
    assert default_gamma(data) == pytest.approx(2 * total / 763.2)
    assert Variational(SMALL, gamma=0.7).build((3,), 0, Batch(data)).settings.gamma == 0.7
    # It is this weight that the loss has.
    losses = {}
    for gamma in (0.0, default_gamma(data), 5.0):
        method = Variational(SMALL, ULA(0.1), gamma=gamma).build((3,), 0, Batch(data))
        loss, _, info = method.step(Quadratic(), Batch(data), None, seeded())
        losses[gamma] = loss.item()
        parts = info["energy_gap"] + info["reconstruction"] + method.settings.gamma * info["kl"]
        assert loss.item() == pytest.approx(parts.item())
    assert losses[0.0] == losses[default_gamma(data)] != losses[5.0]


def test_an_explicit_weight_needs_no_variance():
    """Equal rows have none, so that there is no default."""
    with pytest.raises(ValueError, match="write gamma as a number"):
        Variational(SMALL).build((3,), 0, Batch(torch.ones(5, 3)))
    assert (
        Variational(SMALL, gamma=1.0).build((3,), 0, Batch(torch.ones(5, 3))).settings.gamma == 1.0
    )


def test_means_are_decoded_without_noise_of_the_pixels():
    """Proposals of a linear decoder have the covariance W W' and no more."""
    method = Variational(linear(1), ULA(1e-12), steps=1).build((3,), 0, Batch(drawn(10, 3)))
    found = method.sample(Quadratic(), Batch(drawn(10, 3)), None, 4000, seeded()).x
    (layer,) = method.base.decoder.trunk
    direction = layer.weight.detach()[:, 0]
    off = found - layer.bias.detach()
    along = off @ direction / direction.norm()
    assert_mean(along.square(), direction.square().sum().item(), "variance along the column")
    across = off - along[:, None] * direction / direction.norm()
    assert across.abs().max() < 1e-4


def test_the_vae_has_a_rate_and_a_moment_of_its_own():
    method = Variational(SMALL, base_rate=3e-3, base_beta1=0.2).build((3,), 0, Batch(drawn(10, 3)))
    (group,) = method.parameter_groups()
    assert (group["lr"], group["betas"]) == (3e-3, (0.2, 0.999))
    assert [id(p) for p in group["params"]] == [id(p) for p in method.parameters()]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"walkers": -1}, "walkers must be >= 0, got -1"),
        ({"data_noise": -0.1}, "data_noise must be >= 0, got -0.1"),
        ({"sample_steps": -1}, "sample_steps must be >= 0, got -1"),
        ({"gamma": -0.1}, "gamma must be >= 0, got -0.1"),
        ({"gamma": float("nan")}, "gamma must be >= 0, got nan"),
        ({"base_rate": 0.0}, "base_rate must be > 0, got 0.0"),
        ({"base_beta1": 1.0}, r"base_beta1 must be in \[0, 1\), got 1.0"),
        ({"base_beta1": -0.1}, r"base_beta1 must be in \[0, 1\), got -0.1"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Variational(**wrong)


def test_an_autoencoder_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="latent must be at least 1, got 0"):
        Variational(Vae(latent=0))
    images = 0.5 + 3 * drawn(10, 1, 2, 2)
    with pytest.raises(ValueError, match=r"tanh makes events in \[-1, 1\].*write output='none'"):
        Variational(SMALL).build((1, 2, 2), 0, Batch(images))


# Loss of the 20th update, sums of the energy's and of the autoencoder's parameters, float64; change
# only with a reason.
GOLDEN = {
    0.0: (1.03190921029, 0.09379935096575, 15.29441650945),
    0.5: (1.155917122444, 0.09393853828359, 15.02739048353),
}


@pytest.mark.parametrize("gamma", GOLDEN)
def test_golden(gamma):
    """Twenty updates of small networks: any change of the numbers must be meant.

    SGD, because Adam divides a gradient that is zero but for rounding (that of a constant added to
    the energy) by its size. Kernels of other processors change the numbers by 1e-13 at most.
    """
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 1), nn.Flatten(0))
    rng = seeded()
    data = torch.randn(64, 2, generator=rng)
    vae = Vae(DenseEncoder((16,), dropout=0.1), DenseGenerator((16,)), 3)
    settings = Variational(vae, ULA(0.05), 5, 50, data_noise=0.1, gamma=gamma, base_rate=1e-2)
    method = settings.build((2,), 0, Batch(data))
    optimizer = torch.optim.SGD(
        [{"params": list(net.parameters())}, *method.parameter_groups()], 1e-2
    )
    for _ in range(20):
        loss, _, _ = method.step(net, Batch(data), None, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    totals = [sum(p.sum().item() for p in part.parameters()) for part in (net, method)]
    found = (loss.item(), *totals)
    assert found == pytest.approx(GOLDEN[gamma], rel=1e-9), found
