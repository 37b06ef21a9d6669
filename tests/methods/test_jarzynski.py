"""Weighted walkers: the gradient is exact, and what is logged is what it says."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from weighted_cases import (
    RARELY,
    Net,
    Normal,
    each_kernel,
    relaxed,
    start,
    weighted,
)

from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import MALA, ULA, run_chain
from boltzwalk.method import Batch
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski, RelaxedStart, Weighted
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.networks import Multilayer
from boltzwalk.smc.resampling import ancestors
from boltzwalk.walkers import effective_sample_size, log_mean_weight, walkers_at
from statistics_helpers import assert_mean, assert_same_walkers

# The gradient.


@each_kernel
def test_the_gradient_is_the_weighted_difference_of_moments(kernel):
    """d/da = (E[x^2] of the data - of the weighted walkers) / 2, d/db minus that of the means."""
    energy, data = Normal(), torch.randn(8, 2) + 1
    method = Jarzynski(ExactStart(50), kernel, steps=3, threshold=RARELY)
    state, rng = start(method, energy, data)
    state = weighted(state.walkers, torch.linspace(-1, 3, 50))
    energy.set(1.3, 0.4)
    loss, state, info = method.step(energy, Batch(data), state, rng)
    loss.backward()
    share, x = torch.softmax(state.walkers.log_w, 0), state.walkers.x
    torch.testing.assert_close(energy.b.grad, -(data.mean(0) - share @ x))
    torch.testing.assert_close(energy.a.grad, (data.square().mean(0) - share @ x.square()) / 2)
    torch.testing.assert_close(info["energy_gap"], loss.detach())
    torch.testing.assert_close(info["energy_data"], energy(data).mean().detach())
    torch.testing.assert_close(info["energy_walkers"], (share @ energy(x)).detach())


def alpha(energy, x, y, h):
    """As the reference prints it: U(x) + (y - x) . grad U(x) / 2 + h |grad U(x)|^2 / 4."""
    x = x.detach().requires_grad_()
    u = energy(x)
    (grad,) = torch.autograd.grad(u.sum(), x)
    return (u + ((y - x) * grad).sum(1) / 2 + h / 4 * grad.square().sum(1)).detach(), grad


def gradients(energy, x, data, log_w):
    """sum_i p_i dU(x_i) - mean dU(data), the other way round."""
    p = log_w.exp() / log_w.exp().sum()
    return torch.autograd.grad(energy(data).mean() - (p * energy(x)).sum(), energy.parameters())


def test_twenty_updates_of_algorithm_1_by_hand():
    """The published recursion, naively, with systematic resampling: every number agrees."""
    h, n, data = 0.1, 40, torch.randn(16, 3, generator=torch.Generator().manual_seed(9))
    method, energy = relaxed(n, kernel=ULA(h), threshold=0.9), Net()
    state, rng = start(method, energy, data)
    x, log_w, old = state.walkers.x, torch.zeros(n), copy.deepcopy(energy)
    hand = torch.Generator()
    hand.set_state(rng.get_state())
    optimizer, resamplings = torch.optim.SGD(energy.parameters(), 0.2), 0
    for _ in range(20):
        loss, state, info = method.step(energy, Batch(data), state, rng)
        optimizer.zero_grad()
        loss.backward()

        torch.randn(data.shape, generator=hand)  # the noise of the data, times zero
        torch.randperm(n, generator=hand)
        forward, drift = alpha(old, x, x, h)
        y = x - h * drift + math.sqrt(2 * h) * torch.randn(n, 3, generator=hand)
        forward, _ = alpha(old, x, y, h)
        backward, _ = alpha(energy, y, x, h)
        x, log_w = y, log_w + forward - backward
        for parameter, expected in zip(
            energy.parameters(), gradients(energy, x, data, log_w), strict=True
        ):
            torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(info["log_z_change"], log_w.exp().mean().log())
        ess = log_w.exp().sum() ** 2 / (2 * log_w).exp().sum() / n
        torch.testing.assert_close(info["ess"], ess)
        if ess < 0.9:
            chosen = ancestors(log_w, hand)
            x, log_w, resamplings = x[chosen], log_mean_weight(log_w).expand(n), resamplings + 1
        assert_same_walkers(state.walkers, walkers_at(energy, x, log_w))
        assert state.resamplings == info["resamplings"] == resamplings
        old = copy.deepcopy(energy)
        optimizer.step()
    assert 1 <= resamplings < 20


@pytest.mark.parametrize("threshold", [RARELY, 0.9])
def test_idle_walkers_are_as_if_they_had_never_been_idle(threshold):
    """Lazy is eager: a version that reweighs all N walkers at every update, to 1e-9."""
    h, size, n, inner = 0.1, 30, 10, 2
    data = torch.randn(16, 3, generator=torch.Generator().manual_seed(9))
    method = relaxed(size, kernel=ULA(h), threshold=threshold, walkers=n, steps=inner)
    energy = Net()
    state, rng = start(method, energy, data)
    x, log_w, u = state.walkers.x.clone(), torch.zeros(size), energy(state.walkers.x).detach()
    hand = torch.Generator()
    hand.set_state(rng.get_state())
    optimizer, resamplings = torch.optim.SGD(energy.parameters(), 0.1), 0
    for _ in range(30):
        loss, state, info = method.step(energy, Batch(data), state, rng)
        optimizer.zero_grad()
        loss.backward()

        torch.randn(data.shape, generator=hand)
        batch = torch.randperm(size, generator=hand)[:n]
        now = energy(x).detach()
        log_w, u = log_w + u - now, now
        for _ in range(inner):
            _, drift = alpha(energy, x[batch], x[batch], h)
            y = x[batch] - h * drift + math.sqrt(2 * h) * torch.randn(n, 3, generator=hand)
            gain = alpha(energy, x[batch], y, h)[0] - alpha(energy, y, x[batch], h)[0]
            x, log_w = x.index_copy(0, batch, y), log_w.index_add(0, batch, gain)
        u = energy(x).detach()
        for parameter, expected in zip(
            energy.parameters(), gradients(energy, x[batch], data, log_w[batch]), strict=True
        ):
            torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-9)
        ess = effective_sample_size(log_w[batch]) / n
        torch.testing.assert_close(info["ess"], ess)
        if ess < threshold:
            chosen = ancestors(log_w, hand)
            x, u, log_w = x[chosen], u[chosen], log_mean_weight(log_w).expand(size)
            resamplings += 1
        lazy = method.weighted_walkers(energy, state)
        torch.testing.assert_close(lazy.x, x, rtol=0, atol=1e-9)
        torch.testing.assert_close(lazy.log_w, log_w, rtol=0, atol=1e-9)
        optimizer.step()
    assert state.resamplings == resamplings
    assert (resamplings > 3) == (threshold == 0.9)


def test_the_energy_penalty_adds_the_weighted_squares():
    energy, data = Normal(), torch.randn(8, 2)
    plain = Jarzynski(ExactStart(20), ULA(0.1), threshold=RARELY)
    state, _ = start(plain, energy, data)
    state = weighted(state.walkers, torch.linspace(-1, 3, 20))
    energy.set(1.3, 0.4)
    losses = []
    for method in (plain, replace(plain, energy_penalty=0.3)):
        loss, after, _ = method.step(energy, Batch(data), state, torch.Generator().manual_seed(1))
        losses.append(loss)
    share = torch.softmax(after.walkers.log_w, 0)
    squares = energy(data).square().mean() + share @ after.walkers.energy.square()
    torch.testing.assert_close(losses[1], losses[0] + 0.3 * squares)


def test_data_noise_has_its_standard_deviation():
    energy, data = Normal(), torch.zeros(20_000, 2)
    method = Jarzynski(ExactStart(10), ULA(0.1), data_noise=0.3)
    state, rng = start(method, energy, data)
    seen = []
    energy.register_forward_hook(lambda module, args, out: seen.append(args[0].detach()))
    method.step(energy, Batch(data), state, rng)
    (noisy,) = (x for x in seen if len(x) == 20_000)
    assert_mean(noisy.flatten(), 0.0, "mean of the noise")
    assert_mean(noisy.flatten().square(), 0.09, "variance of the noise")


class Lifted(Normal):
    """Energies of about 1000."""

    def forward(self, x):
        return super().forward(x) + 1000

    @property
    def log_z(self):
        return super().log_z - 1000


def test_autocast_does_not_round_the_weights():
    """Energies of 1000 and weights of 1/N have eight bits in bfloat16: the gap would be noise."""
    torch.set_default_dtype(torch.float32)
    energy, data = Lifted(2, 1.0, 3.0), torch.randn(300, 2) + 3
    method = Jarzynski(ExactStart(300), ULA(0.01), energy_penalty=1e-6)
    state, _ = start(method, energy, data)
    found = []
    for enabled in (False, True):
        rng = torch.Generator().manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss, _, info = method.step(energy, Batch(data), state, rng)
        energy.zero_grad()
        loss.backward()
        logged = [info["energy_gap"], info["energy_walkers"]]
        found.append(torch.stack([loss.detach(), *logged, *energy.a.grad, *energy.b.grad]))
    torch.testing.assert_close(found[0], found[1])


# What is logged.


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_log_z_and_cross_entropy_are_absolute(temperature):
    """At every update the mean weight is Z, to five standard errors; by a path set by hand."""
    energy, data = Normal(2, 1.0, 0.5), torch.randn(50, 2) + 1
    if temperature != 1:
        settings = NetworkEnergy(Multilayer((8,)), reference_scale=1.0, zero_start=True)
        energy = settings.build((2,), 0)
    method = Jarzynski(ExactStart(20_000), ULA(0.1, temperature), threshold=RARELY)
    state, rng = start(method, energy, data)
    for k in range(1, 5):
        if temperature == 1:
            energy.set(1 + 0.1 * k, 0.5 + 0.1 * k)
            log_z = energy.log_z
        else:  # a network that becomes another constant
            nn.init.constant_(energy.energy.head.bias, 0.3 * k)
            log_z = math.log(2 * math.pi * temperature) - 0.3 * k / temperature
        _, state, info = method.step(energy, Batch(data), state, rng)
        assert_mean(torch.exp(state.walkers.log_w - log_z), 1.0, f"Z at update {k}")
        mean = energy(data).mean().detach()
        torch.testing.assert_close(info["log_z"], log_mean_weight(state.walkers.log_w))
        torch.testing.assert_close(info["cross_entropy"], info["log_z"] + mean / temperature)
        torch.testing.assert_close(info["energy_data"], mean)
    assert info["temperature"] == temperature
    assert "log_z_change" not in info


@each_kernel
@pytest.mark.parametrize("walkers", [0, 7])
def test_every_kernel_logs_finite_numbers(kernel, walkers):
    energy, data = Normal(), torch.randn(10, 2)
    method = Jarzynski(ExactStart(20), kernel, steps=2, walkers=walkers)
    state, rng = start(method, energy, data)
    _, state, info = method.step(energy, Batch(data), state, rng)
    assert len(state) == 20
    for name, value in info.items():
        assert value.shape == (), name
        assert value.isfinite(), name
        assert not value.requires_grad, name
    assert (info["acceptance"] == 1) == isinstance(kernel, ULA)
    assert 0 < info["ess"] < 1 + 1e-12


def test_a_relaxed_start_logs_the_change_of_log_z_only(rng):
    energy, data = Normal(), torch.randn(10, 2)
    kernel = MALA(0.3)
    method = Jarzynski(RelaxedStart(20, NoiseStart("gaussian", 3.0), steps=4), kernel)
    state, _ = start(method, energy, data, seed=4)
    other = torch.Generator().manual_seed(4)
    noise = walkers_at(energy, NoiseStart("gaussian", 3.0).noise(data, 20, other))
    assert_same_walkers(state.walkers, run_chain(kernel, energy, noise, 4, other)[0])
    assert not state.walkers.log_w.any()
    _, _, info = method.step(energy, Batch(data), state, rng)
    assert "log_z" not in info
    assert "cross_entropy" not in info
    assert info["log_z_change"].abs() < 1e-12, "the energy has not changed"


def test_an_exact_start_needs_a_known_log_z():
    """The error says what to write."""
    energy = NetworkEnergy(Multilayer((8,))).build((2,), 0)
    words = r"exact weights need a start.*energy.reference_scale=1.0 energy.zero_start=true"
    with pytest.raises(ValueError, match=words):
        start(Jarzynski(ExactStart(20), ULA(0.1)), energy, torch.randn(10, 2))


def test_out_of_range_is_of_the_walkers():
    energy, data = Normal(1), torch.tensor([[-1.0], [1.0]])
    method = Jarzynski(ExactStart(10), ULA(1e-12))
    x = torch.tensor([[0.0], [1.09], [1.11], [-1.09], [-1.11]])
    state = Weighted(walkers_at(energy, x), torch.tensor(0))
    _, _, info = method.step(energy, Batch(data), state, torch.Generator().manual_seed(0))
    assert info["out_of_range"].item() == pytest.approx(0.4)


# What cannot be.


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("walkers", [0, 5])
@each_kernel
def test_walkers_without_weight_are_an_error(kernel, value, walkers):
    energy, data = Normal(), torch.randn(8, 2)
    method = Jarzynski(ExactStart(10), kernel, walkers=walkers)
    state, rng = start(method, energy, data)
    nn.init.constant_(energy.a, value)
    with pytest.raises(FloatingPointError, match="resampling needs a walker of positive finite"):
        method.step(energy, Batch(data), state, rng)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\], got 0.0"),
        ({"threshold": 1.5}, r"threshold must be in \(0, 1\], got 1.5"),
        ({"threshold": math.nan}, r"threshold must be in \(0, 1\], got nan"),
        ({"steps": 0}, "steps must be >= 1, got 0; Algorithm 1 has steps=1"),
        ({"walkers": -1}, "walkers must be >= 0, got -1"),
        ({"chunk": -1}, "chunk must be >= 0, got -1"),
        ({"data_noise": -0.1}, "data_noise must be >= 0, got -0.1"),
        ({"energy_penalty": math.nan}, "energy_penalty must be >= 0, got nan"),
        ({"walkers": 1001}, "start.size must be at least the 1001 walkers.*got 1000"),
        ({"kernel": ULA(0.1, gradient_clip=1.0)}, "without gradient_clip and box"),
        ({"kernel": ULA(0.1, box=(-1.0, 1.0))}, "without gradient_clip and box"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Jarzynski(**wrong)


def test_wrong_starts_are_refused():
    for kind in (ExactStart, RelaxedStart):
        with pytest.raises(ValueError, match="size must be >= 1 walker, got 0"):
            kind(0)
    with pytest.raises(ValueError, match="steps must be >= 1, got 0; write steps=1000"):
        RelaxedStart(10, steps=0)


GOLDEN = {  # last loss, log Z and sum of the walkers, float64; change only with a reason
    "Algorithm 1": (-0.05896932110528902, 2.2182379016277656, 206.536932649492),
    "mini-batch": (0.038836446535677416, 2.5087035675043965, 195.1845216649379),
    "MALA": (-0.060262831127188, 2.3286546439156393, 166.81775063064623),
    "chunked": (-0.2882572554551951, 2.246981836693805, 198.30543540952345),
}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Algorithm 1", {}),
        ("mini-batch", {"walkers": 30, "steps": 2}),
        ("MALA", {"kernel": MALA(0.2)}),
        ("chunked", {"chunk": 33, "resampling": "residual"}),
    ],
)
def test_golden(name, settings):
    """Twenty updates of a small network: any change of the numbers must be meant."""
    network = NetworkEnergy(Multilayer((16,)), reference_scale=1.0, zero_start=True)
    energy = network.build((2,), 0)
    rng = torch.Generator().manual_seed(0)
    data = torch.randn(64, 2, generator=rng) + 1
    method = Jarzynski(ExactStart(100), ULA(0.05), data_noise=0.1, threshold=0.98)
    method = replace(method, **settings)
    state = method.init(energy, Batch(data), rng)
    optimizer = torch.optim.SGD(energy.parameters(), 0.1)
    for _ in range(20):
        loss, state, info = method.step(energy, Batch(data), state, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    got = (loss.item(), info["log_z"].item(), state.walkers.x.sum().item())
    assert got == pytest.approx(GOLDEN[name], rel=1e-9), got
