"""Each network learns from its own loss alone, and a linear generator has a known posterior."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from boltzwalk.bases import Generator
from boltzwalk.kernels import ULA, Descent
from boltzwalk.method import Batch
from boltzwalk.methods.cooperative import Cooperative
from boltzwalk.networks import DenseGenerator, batch_statistics
from statistics_helpers import assert_mean

LINEAR = Generator(DenseGenerator((), output="none"), 2)
FORGETS = ULA(1.0)
"""Under U = |x - t|^2 / 2 one step gives t + sqrt(2) xi, wherever it starts."""


class Quadratic(nn.Module):
    """U = sum of a x^2 / 2 - b x."""

    def __init__(self, dim=3):
        super().__init__()
        self.a = nn.Parameter(torch.full((dim,), 0.7))
        self.b = nn.Parameter(torch.full((dim,), 0.2))

    def forward(self, x):
        return (self.a * x.square() / 2 - self.b * x).sum(-1)


def around(t):
    return lambda x: (x - t).square().sum(1) / 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(n, *shape, seed=9):
    return torch.randn(n, *shape, generator=seeded(seed))


def watched(method, energy, data, rng):
    """The loss and the log of a step, the revised walkers and the latents that G2 took."""
    seen_x, seen_z = [], []

    def listening(x):
        seen_x.append(x.detach())
        return energy(x)

    hook = method.base.register_forward_pre_hook(lambda module, args: seen_z.append(args[0]))
    loss, state, info = method.step(listening, Batch(data), None, rng)
    hook.remove()
    assert state is None
    return loss, info, seen_x[-1], seen_z[-1].detach()


def test_both_gradients_by_hand():
    """Autograd of each loss alone, on a revision made here from the same numbers."""
    settings = Cooperative(Generator(DenseGenerator((8,)), 2), ULA(0.1), steps=3, walkers=16)
    settings = replace(settings, latent_steps=2, latent_step_size=0.01, sigma=0.5, data_noise=0.3)
    data, energy, own = drawn(10, 3), Quadratic(), seeded()
    method = settings.build((3,), 0, Batch(data))
    loss, _, info = method.step(energy, Batch(data), None, seeded())
    loss.backward()

    dense, norm, _, last = method.base.trunk
    a, b = energy.a.detach(), energy.b.detach()
    fresh = settings.build((3,), 0, Batch(data)).base  # the step moved the running statistics
    z = torch.randn(16, 2, generator=own)
    x = fresh(z).detach()
    for _ in range(3):
        x = x - 0.1 * (a * x - b) + math.sqrt(0.2) * torch.randn(16, 3, generator=own)
    noisy = data + 0.3 * torch.randn(10, 3, generator=own)
    for _ in range(2):
        z = z.requires_grad_()
        u = z.square().sum() / 2 + (x - fresh(z)).square().sum() / (2 * 0.5**2)
        (slope,) = torch.autograd.grad(u, z)
        z = (z - 0.01 * slope + math.sqrt(0.02) * torch.randn(16, 2, generator=own)).detach()

    gap = energy(noisy).mean() - energy(x).mean()
    of_energy = torch.autograd.grad(gap, list(energy.parameters()))
    for parameter, expected in zip(energy.parameters(), of_energy, strict=True):
        torch.testing.assert_close(parameter.grad, expected)

    hidden = functional.linear(z, dense.weight, dense.bias)
    hidden = functional.batch_norm(hidden, None, None, norm.weight, norm.bias, training=True)
    made = functional.linear(functional.leaky_relu(hidden, 0.2), last.weight, last.bias)
    misfit = (x - made).square().sum(1).mean()
    parameters = list(method.base.parameters())
    of_generator = torch.autograd.grad(misfit / (2 * 0.5**2), parameters)
    for parameter, expected in zip(parameters, of_generator, strict=True):
        torch.testing.assert_close(parameter.grad, expected)
    torch.testing.assert_close(info["energy_gap"], gap.detach())
    torch.testing.assert_close(info["reconstruction"], misfit.detach())
    torch.testing.assert_close(loss.detach(), (gap + misfit / 0.5).detach())


@pytest.mark.parametrize("latent_steps", [0, 3])
def test_the_losses_do_not_meet(latent_steps):
    """A generator that is not taught leaves the energy's gradient as it is, and conversely."""
    data, settings = drawn(10, 3), Cooperative(LINEAR, ULA(0.1), steps=3)
    settings = replace(settings, latent_steps=latent_steps)
    grads = {}
    for kept in ("both", "energy", "generator"):
        energy, method = Quadratic(), settings.build((3,), 0, Batch(data))
        energy.requires_grad_(kept != "generator")
        method.requires_grad_(kept != "energy")
        method.step(energy, Batch(data), None, seeded())[0].backward()
        grads[kept] = [p.grad for p in (*energy.parameters(), *method.parameters())]
    for both, alone in zip(grads["both"][:2], grads["energy"][:2], strict=True):
        assert torch.equal(both, alone)
    for both, alone in zip(grads["both"][2:], grads["generator"][2:], strict=True):
        assert torch.equal(both, alone)
    assert [g is None for g in grads["energy"]] == [False] * 2 + [True] * 2
    assert [g is None for g in grads["generator"]] == [True] * 2 + [False] * 2


def test_without_latent_steps_the_latents_are_those_that_proposed():
    data, settings = drawn(10, 3), Cooperative(LINEAR, FORGETS, steps=1, walkers=20)
    _, _, _, z = watched(settings.build((3,), 0, Batch(data)), around(1.0), data, seeded(4))
    assert torch.equal(z, torch.randn(20, 2, generator=seeded(4)))
    moved = replace(settings, latent_steps=1).build((3,), 0, Batch(data))
    _, _, _, z = watched(moved, around(1.0), data, seeded(4))
    assert not torch.isclose(z, torch.randn(20, 2, generator=seeded(4))).any()


@pytest.mark.parametrize("walkers", [4000, 20_000])
def test_latents_reach_the_posterior_of_a_linear_generator(walkers):
    r"""P = I + W'W / s^2 has its mean P^-1 W'(x - b) / s^2.

    Langevin steps of size e give that mean and the covariance (P (I - e P / 2))^-1, exactly. A
    likelihood divided by the number of chains would leave the prior.
    """
    sigma, step = 0.6, 0.1
    settings = Cooperative(LINEAR, FORGETS, steps=1, walkers=walkers, sigma=sigma)
    settings = replace(settings, latent_steps=120, latent_step_size=step)
    data = drawn(10, 3)
    method = settings.build((3,), 0, Batch(data))
    W = torch.tensor([[1.0, 0.3], [-0.5, 0.8], [0.2, -0.4]])
    with torch.no_grad():
        method.base.trunk[0].weight.copy_(W)
        method.base.trunk[0].bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
    _, info, x, z = watched(method, around(0.7), data, seeded())
    precision = torch.eye(2) + W.T @ W / sigma**2
    assert (1 - step * torch.linalg.eigvalsh(precision)).abs().max() ** 120 < 1e-4
    mean = torch.linalg.solve(precision, W.T @ (x - method.base.trunk[0].bias).T / sigma**2).T
    covariance = torch.linalg.inv(precision @ (torch.eye(2) - step / 2 * precision))
    off = z - mean.detach()
    for i in range(2):
        assert_mean(off[:, i], 0.0, f"mean of z_{i}")
        for j in range(i + 1):
            assert_mean(off[:, i] * off[:, j], covariance[i, j].item(), f"covariance {i}, {j}")
            assert_mean(off[:, i] * x[:, j], 0.0, f"z_{i} against x_{j}")
    misfit = (x - method.base(z)).square().sum(1).mean()
    torch.testing.assert_close(info["reconstruction"], misfit.detach())


def test_inference_leaves_nothing_behind():
    """No gradient and no statistics of the generator come from G1."""
    settings = Cooperative(Generator(DenseGenerator((8,)), 2), FORGETS, steps=1, latent_steps=5)
    data = drawn(10, 3)
    method = settings.build((3,), 0, Batch(data))
    _, _, _, z = watched(method, around(0.0), data, seeded())
    found = {key: value.clone() for key, value in method.base.state_dict().items()}
    assert all(parameter.grad is None for parameter in method.parameters())
    fresh = settings.build((3,), 0, Batch(data)).base
    with batch_statistics(fresh, seeded()):
        fresh(z)
    for key, value in fresh.state_dict().items():
        assert torch.equal(found[key], value), key


def test_the_generator_is_taught_the_regression_on_its_revision():
    """The same numbers give the same z and revised walkers, whatever the generator is by now."""
    settings = Cooperative(LINEAR, FORGETS, steps=1, walkers=30, sigma=0.3)
    data = drawn(10, 3)
    method, own = settings.build((3,), 0, Batch(data)), seeded(2)
    z = torch.randn(30, 2, generator=own)
    x = 0.5 + math.sqrt(2) * torch.randn(30, 3, generator=own)
    best = torch.linalg.lstsq(torch.cat([z, torch.ones(30, 1)], 1), x).solution
    optimizer = torch.optim.LBFGS(method.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss, _, info = method.step(around(0.5), Batch(data), None, seeded(2))
        loss.backward()
        misfits.append(info["reconstruction"].item())
        return loss

    misfits = []
    optimizer.step(closure)
    (layer,) = method.base.trunk
    torch.testing.assert_close(layer.weight, best[:2].T, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.bias, best[2], rtol=1e-4, atol=1e-5)
    residual = x - z @ best[:2] - best[2]
    assert misfits[-1] == pytest.approx(residual.square().sum(1).mean().item(), rel=1e-6)
    assert misfits[0] > 1.1 * misfits[-1]


def test_a_generator_learns_the_mean_of_an_energy_that_stays():
    """Taught by short chains only: each moves its proposals a tenth of the way."""
    data, t = drawn(10, 3), torch.tensor([1.0, -2.0, 0.5])
    settings = Cooperative(LINEAR, Descent(0.1), steps=1, walkers=200)
    method = replace(settings, base_rate=0.02, sigma=1.0).build((3,), 0, Batch(data))
    optimizer = torch.optim.Adam(method.parameter_groups())
    rng = seeded()
    for _ in range(400):
        optimizer.zero_grad()
        method.step(around(t), Batch(data), None, rng)[0].backward()
        optimizer.step()
    torch.testing.assert_close(method.base.trunk[0].bias, t, rtol=0, atol=0.02)
    assert method.base.trunk[0].weight.abs().max() < 0.02


def test_the_generator_has_a_rate_and_a_moment_of_its_own():
    settings = Cooperative(LINEAR, base_rate=3e-3, base_beta1=0.2)
    method = settings.build((3,), 0, Batch(drawn(10, 3)))
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
        ({"latent_steps": -1}, "latent_steps must be >= 0, got -1"),
        ({"latent_step_size": 0.0}, "latent_step_size must be > 0, got 0.0"),
        ({"sigma": 0.0}, "sigma must be > 0, got 0.0"),
        ({"sigma": float("nan")}, "sigma must be > 0, got nan"),
        ({"base_rate": -1.0}, "base_rate must be > 0, got -1.0"),
        ({"base_beta1": 1.0}, r"base_beta1 must be in \[0, 1\), got 1.0"),
        ({"base_beta1": -0.1}, r"base_beta1 must be in \[0, 1\), got -0.1"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Cooperative(**wrong)


def test_a_generator_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="latent must be at least 1, got 0"):
        Cooperative(Generator(latent=0))
    images = 0.5 + 3 * drawn(10, 1, 2, 2)
    with pytest.raises(ValueError, match=r"tanh makes events in \[-1, 1\].*write output='none'"):
        Cooperative(Generator(DenseGenerator((8,)))).build((1, 2, 2), 0, Batch(images))
    free = Cooperative(Generator(DenseGenerator((8,), output="none")))
    assert free.build((1, 2, 2), 0, Batch(images)).base.event_shape == (1, 2, 2)


# Loss of the 20th update, sums of the energy's and of the generator's parameters, float64; change
# only with a reason.
GOLDEN = {
    0: (5.292597716207, 0.159933130229, 14.71073992221),
    2: (6.44894960938, 0.1435305714705, 14.34673948455),
}


@pytest.mark.parametrize("latent_steps", GOLDEN)
def test_golden(latent_steps):
    """Twenty updates of small networks: any change of the numbers must be meant.

    SGD, because Adam divides a gradient that is zero but for rounding (that of a constant added to
    the energy) by its size. Kernels of other processors change the numbers by 1e-13 at most.
    """
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 1), nn.Flatten(0))
    rng = seeded()
    data = torch.randn(64, 2, generator=rng)
    generator = Generator(DenseGenerator((16,)), 3)
    settings = Cooperative(generator, ULA(0.05), steps=5, latent_steps=latent_steps)
    method = replace(settings, walkers=50, data_noise=0.1, base_rate=1e-2).build(
        (2,), 0, Batch(data)
    )
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
    assert found == pytest.approx(GOLDEN[latent_steps], rel=1e-9), found
