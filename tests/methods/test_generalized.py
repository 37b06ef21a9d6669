"""A generalized model: whose turn it is, every gradient by hand, and samples that agree."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from boltzwalk.bases import Generator
from boltzwalk.kernels import MALA, ULA
from boltzwalk.method import Batch
from boltzwalk.methods.generalized import Generalized, GeneralizedMethod
from boltzwalk.methods.objectives import log_partition
from boltzwalk.networks import DenseGenerator, Multilayer
from statistics_helpers import assert_mean

SMALL = Generator(DenseGenerator((8,)), 2)
LINEAR = Generator(DenseGenerator((), output="none"), 2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(n, *shape, seed=9):
    return torch.randn(n, *shape, generator=seeded(seed))


def network(dim=3):
    torch.manual_seed(0)
    return Multilayer((8, 8)).build((dim,))


class Affine(nn.Module):
    """A base with a density: x = m + exp(s) z in each coordinate."""

    def __init__(self, dim=3):
        super().__init__()
        self.m = nn.Parameter(torch.full((dim,), 0.4))
        self.s = nn.Parameter(torch.linspace(-0.3, 0.2, dim))

    def latents(self, n, rng):
        return torch.randn(n, len(self.m), generator=rng)

    def decode(self, z):
        return self.m + self.s.exp() * z

    def log_density(self, x):
        z = (x - self.m) * torch.exp(-self.s)
        return -z.square().sum(1) / 2 - self.s.sum() - len(self.m) / 2 * math.log(2 * math.pi)


def schedule_of(settings, updates, data=None):
    data = drawn(10, 3) if data is None else data
    method, energy = settings.build((3,), 0, Batch(data)), network()
    state, found = method.init(energy, Batch(data), seeded()), []
    for _ in range(updates):
        found.append("base" if method.next_is_base(state) else "energy")
        _, state, _ = method.step(energy, Batch(data), state, seeded())
    return "".join(turn[0] for turn in found)


def test_the_schedule():
    """Long visits before the first two steps of the base and after every third, else two."""
    settings = Generalized(SMALL, energy_steps=2, first_energy_steps=4, refresh_every=3)
    visits = schedule_of(settings, 41).split("b")[:-1]
    assert [len(v) for v in visits] == [4, 4, 2, 4, 2, 2, 4, 2, 2, 4]
    assert set("".join(visits)) == {"e"}
    assert schedule_of(replace(settings, learns="energy"), 12) == "e" * 12
    assert schedule_of(replace(settings, learns="base"), 12) == "b" * 12


def test_the_published_schedule():
    """100, 100, then 5, and 100 again after every 500 steps of the base."""
    settings = Generalized()
    method = settings.build((3,), 0, Batch(drawn(10, 3)))
    state, visits, steps = method.init(network(), Batch(drawn(10, 3)), seeded()), [], 0
    while len(visits) < 1002:
        if method.next_is_base(state):
            visits.append(steps)
            steps = 0
            state = replace(state, energy_steps=0 * state.energy_steps)
            state = replace(state, base_steps=state.base_steps + 1)
        else:
            steps += 1
            state = replace(state, energy_steps=state.energy_steps + 1)
    long = [i for i, n in enumerate(visits) if n == 100]
    assert long == [0, 1, 500, 1000]
    assert {n for i, n in enumerate(visits) if i not in long} == {5}


@pytest.mark.parametrize("objective", ["kale", "donsker_varadhan", "logistic", "hinge"])
@pytest.mark.parametrize("turn", ["energy", "base"])
def test_a_turn_teaches_one_network(objective, turn):
    data = drawn(10, 3)
    settings = Generalized(SMALL, objective, learns=turn, gradient_penalty=0.1)
    method, energy = settings.build((3,), 0, Batch(data)), network()
    state = method.init(energy, Batch(data), seeded())
    loss, _, info = method.step(energy, Batch(data), state, seeded())
    loss.backward()
    taught = {name: p.grad is not None for name, p in method.named_parameters()}
    c = taught.pop("log_partition")
    assert set(taught.values()) == {turn == "base"}
    assert {p.grad is not None for p in energy.parameters()} == {turn == "energy"}
    assert c == (turn == "energy" and objective in ("kale", "donsker_varadhan"))
    assert {p.requires_grad for p in method.parameters()} == {True}
    assert all(math.isfinite(value) for value in info.values())


def test_the_energy_by_hand():
    """Its loss and gradient with both penalties, from the same numbers."""
    settings = Generalized(SMALL, learns="energy", noise_factor=2, gradient_penalty=0.7)
    settings = replace(settings, parameter_penalty=0.01)
    data, energy, own = drawn(10, 3), network(), seeded()
    method = settings.build((3,), 0, Batch(data))
    with torch.no_grad():
        method.log_partition.fill_(0.3)
    state = method.init(energy, Batch(data), seeded(1))
    loss, _, info = method.step(energy, Batch(data), state, seeded())
    loss.backward()

    y = method.base(torch.randn(20, 2, generator=own)).detach()
    share = torch.rand(10, 1, generator=own)
    x = (share * data + (1 - share) * y[:10]).requires_grad_()
    (slope,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    sizes = slope.square().sum(1)
    squares = sum(p.square().sum() for p in energy.parameters())
    value = energy(data).mean() + 0.3 + torch.exp(-energy(y) - 0.3).mean() - 1
    expected = value + 0.7 * sizes.mean() + 0.01 * squares
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = torch.autograd.grad(expected, list(energy.parameters()), allow_unused=True)
    for p, g in zip(energy.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, g)
    a = log_partition(energy(y)).item()
    assert method.log_partition.grad.item() == pytest.approx(math.expm1(0.3 - a), rel=1e-10)
    weights = torch.softmax(-energy(y), 0)
    assert info["ess"].item() == pytest.approx(1 / weights.square().sum().item() / 20, rel=1e-10)
    assert info["kale"].item() == pytest.approx(-value.item(), rel=1e-10)
    assert info["gradient_penalty"].item() == pytest.approx(sizes.mean().item(), rel=1e-10)
    assert info["log_partition_estimate"].item() == pytest.approx(a, rel=1e-10)


def test_the_squash():
    """Every entry g of the gradient of the energy becomes 2 g / (1 + g^2)."""
    grads = []
    for squash in (False, True):
        data, energy = 50 * drawn(10, 3), network()
        settings = Generalized(SMALL, learns="energy", gradient_penalty=3.0, squash=squash)
        method = settings.build((3,), 0, Batch(data))
        loss, *_ = method.step(
            energy, Batch(data), method.init(energy, Batch(data), seeded()), seeded()
        )
        loss.backward()
        grads.append([p.grad for p in (*energy.parameters(), method.log_partition)])
    for plain, squashed in list(zip(*grads, strict=True))[:-1]:
        torch.testing.assert_close(squashed, 2 * plain / (1 + plain.square()))
    assert grads[0][-1] == grads[1][-1]
    assert max(g.abs().max() for g in grads[0]) > 1 >= max(g.abs().max() for g in grads[1][:-1])


def test_the_floor():
    settings = Generalized(LINEAR, floor=-10.0)
    method = settings.build((3,), 0, Batch(drawn(10, 3)))
    e = method.relative_energy(lambda x: x[:, 0])
    x = torch.tensor([[-50.0, 0.0, 0.0], [-9.0, 0.0, 0.0], [3.0, 0.0, 0.0]], requires_grad=True)
    torch.testing.assert_close(e(x), torch.tensor([-10.0, -9.0, 3.0]))
    (slope,) = torch.autograd.grad(e(x).sum(), x)
    assert slope[:, 0].tolist() == [0.0, 1.0, 1.0]


def test_c_starts_at_an_estimate():
    data, energy = drawn(10, 3), network()
    method = Generalized(SMALL, initial_samples=1500).build((3,), 0, Batch(data))
    method.init(energy, Batch(data), seeded())
    own = seeded()
    z = torch.cat([torch.randn(n, 2, generator=own) for n in (1000, 500)])
    expected = -torch.log(torch.exp(-energy(method.base(z))).mean())
    assert method.log_partition.item() == pytest.approx(-expected.item(), rel=1e-10)


@pytest.mark.parametrize("objective", ["kale", "donsker_varadhan"])
def test_the_base_of_an_energy_of_its_own_learns_by_maximum_likelihood(objective):
    """U3, last part: Z does not depend on the base, so the gradient is that of ML on average."""
    data, base, net = drawn(400, 3) + 0.3, Affine(), network()

    def energy(x):  # with a Z, and weights of finite variance
        return net(x) + x.square().sum(1)

    settings = Generalized(objective=objective, learns="base", relative=False, noise_factor=1000)
    method = GeneralizedMethod(settings, base)
    state = method.init(energy, Batch(data), seeded())
    method.step(energy, Batch(data), state, seeded())[0].backward()
    found = [base.m.grad, base.s.grad]
    expected = torch.autograd.grad(-base.log_density(data).mean(), [base.m, base.s])
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=0, atol=0.01)
        assert e.abs().max() > 0.1


def test_the_base_of_an_energy_of_its_own_by_autograd():
    data, base, energy, own = drawn(10, 3), Affine(), network(), seeded()
    method = GeneralizedMethod(Generalized(learns="base", relative=False, noise_factor=3), base)
    method.step(energy, Batch(data), method.init(energy, Batch(data), seeded()), seeded())[
        0
    ].backward()
    y = base.decode(torch.randn(30, 3, generator=own))
    at_data = energy(data) + base.log_density(data)
    at_base = energy(y) + base.log_density(y)
    loss = -at_data.mean() - log_partition(at_base)
    for p, g in zip(base.parameters(), torch.autograd.grad(loss, base.parameters()), strict=True):
        torch.testing.assert_close(p.grad, g)
    assert all(p.grad is None for p in energy.parameters())


def test_own_and_relative_energies_are_each_the_other_less_the_base():
    x, base, energy = drawn(5, 3), Affine(), network()
    relative = GeneralizedMethod(Generalized(), base)
    torch.testing.assert_close(relative.relative_energy(energy)(x), energy(x))
    torch.testing.assert_close(relative.density_energy(energy)(x), energy(x) - base.log_density(x))
    own = GeneralizedMethod(Generalized(relative=False), base)
    torch.testing.assert_close(own.density_energy(energy)(x), energy(x))
    torch.testing.assert_close(own.relative_energy(energy)(x), energy(x) + base.log_density(x))


def test_a_base_without_a_density_has_no_energy_of_its_own():
    data = drawn(10, 3)
    with pytest.raises(ValueError, match="needs a base with a density, got Decoder"):
        Generalized(SMALL, relative=False).build((3,), 0, Batch(data))
    with pytest.raises(ValueError, match="needs a base with a density, got Decoder"):
        Generalized(SMALL).build((3,), 0, Batch(data)).density_energy(network())


@pytest.mark.slow
def test_the_energy_learns_the_ratio_of_a_known_base():
    """P = N(m, s^2) on B = N(0, 1) in one dimension: KALE reaches KL, c its A."""
    m, s = 0.7, 0.8
    kl = -math.log(s) + (s**2 + m**2 - 1) / 2

    class Quadratic(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.zeros(2))

        def forward(self, x):
            return self.a[0] * x[:, 0] + self.a[1] * x[:, 0].square()

    base = Affine(1)
    with torch.no_grad():
        base.m.zero_()
        base.s.zero_()
    settings = Generalized(learns="energy", noise_factor=1)
    method, energy, rng = GeneralizedMethod(settings, base), Quadratic(), seeded()
    groups = [{"params": list(energy.parameters())}, {"params": [method.log_partition]}]
    optimizer = torch.optim.Adam(groups, 0.02)
    state, found = method.init(energy, Batch(torch.zeros(1, 1)), rng), []
    for t in range(1200):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * min(1, (1200 - t) / 600)
        data = m + s * torch.randn(2000, 1, generator=rng)
        loss, state, info = method.step(energy, Batch(data), state, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(info["kale"].item())
    # E = x^2 / 2 s^2 - m x / s^2 - x^2 / 2 up to a constant, and A = log s + m^2 / 2 s^2.
    a = energy.a.detach()
    assert a[0].item() == pytest.approx(-m / s**2, abs=0.03)
    assert a[1].item() == pytest.approx((1 / s**2 - 1) / 2, abs=0.03)
    partition = math.log(s) + m**2 / (2 * s**2)
    assert method.log_partition.item() == pytest.approx(partition, abs=0.03)
    assert sum(found[-100:]) / 100 == pytest.approx(kl, abs=0.02)


def test_samples_of_an_energy_of_its_own_do_not_depend_on_the_base():
    """U of a normal, relative=False: whatever the base is, latent chains have its moments."""
    settings = Generalized(relative=False, kernel=MALA(0.15), sample_steps=150)

    def normal(x):
        return (x - 0.5).square().sum(1) / (2 * 0.8**2)

    method = GeneralizedMethod(settings, Affine())
    data = drawn(10, 3)
    state = method.init(normal, Batch(data), seeded())
    walkers = method.sample(normal, Batch(data), state, 4000, seeded())
    for i in range(3):
        assert_mean(walkers.x[:, i], 0.5, f"E[x_{i}]")
        assert_mean((walkers.x[:, i] - 0.5).square(), 0.64, f"Var[x_{i}]")
    expected = normal(walkers.x) + method.base.log_density(walkers.x)
    torch.testing.assert_close(walkers.energy, expected.detach())


def test_a_trajectory_is_what_samples_were_on_their_way():
    settings, data, energy = (
        Generalized(SMALL, kernel=ULA(0.1), sample_steps=6),
        drawn(10, 3),
        network(),
    )
    method = settings.build((3,), 0, Batch(data))
    state = method.init(energy, Batch(data), seeded())
    frames = list(method.trajectory(energy, 20, [0, 2, 6], seeded()))
    assert torch.equal(frames[-1].x, method.sample(energy, Batch(data), state, 20, seeded()).x)
    z = method.base.latents(20, seeded())
    torch.testing.assert_close(frames[0].x, method.base.decode(z).detach())
    assert torch.equal(
        frames[1].x, method.sample(energy, Batch(data), state, 20, seeded(), steps=2).x
    )


def test_the_turn_of_the_energy_leaves_the_base_alone():
    """Where E = U + log b it depends on the base, which must get no gradient from it."""
    method = GeneralizedMethod(Generalized(SMALL, relative=False, gradient_penalty=0.1), Affine())
    energy, data = network(), drawn(10, 3)
    loss, _, _ = method.step(
        energy, Batch(data), method.init(energy, Batch(data), seeded()), seeded()
    )
    loss.backward()
    assert all(p.grad is None for p in method.base.parameters())
    assert all(p.requires_grad for p in method.base.parameters())
    assert any(p.grad is not None for p in energy.parameters())


def test_samples_have_the_inverse_temperature_of_the_settings():
    """At 0 the energy does nothing, at another value it does as much."""
    base, data, energy = LINEAR.build((3,), 0), drawn(10, 3), network()
    for beta in (0.0, 3.0):
        settings = Generalized(SMALL, kernel=ULA(0.1), sample_steps=4, inverse_temperature=beta)
        method = GeneralizedMethod(settings, base)
        state = method.init(energy, Batch(data), seeded())
        x = method.sample(energy, Batch(data), state, 5, seeded()).x
        rng = seeded()
        z = base.latents(5, rng)
        for _ in range(4):
            z = z.detach().requires_grad_()
            u = (z.square().sum(1) / 2 + beta * energy(base.decode(z))).sum()
            noise = torch.randn(z.shape, generator=rng)
            z = z - 0.1 * torch.autograd.grad(u, z)[0] + 0.2**0.5 * noise
        torch.testing.assert_close(x, base.decode(z).detach())


# The last loss, c, sums of the energy's and of the base's parameters, float64; change only with a
# reason.
GOLDEN = {
    "kale": (0.01316581639692, 0.005694400196827, 0.02478465357286, 8.642023647255),
    "donsker_varadhan": (0.01277472969674, 0.006187885873634, 0.01453084147152, 8.642099171297),
    "logistic": (1.393589487166, 0.0, 0.02814210701399, 8.638297123314),
    "hinge": (2.012738702929, 0.0, 0.01439122598147, 8.642086209103),
}


@pytest.mark.parametrize("objective", GOLDEN)
def test_golden(objective):
    """Twenty updates of small networks: any change of the numbers must be meant.

    SGD, because Adam divides a gradient that is zero but for rounding (that of a constant added to
    the energy) by its size. Kernels of other processors change the numbers by 1e-13 at most.
    """
    data, energy, rng = drawn(64, 3), network(), seeded()
    settings = Generalized(SMALL, objective, energy_steps=2, first_energy_steps=4)
    settings = replace(settings, gradient_penalty=0.5, base_rate=1e-2, log_partition_rate=1e-2)
    method = settings.build((3,), 0, Batch(data))
    optimizer = torch.optim.SGD(
        [{"params": list(energy.parameters())}, *method.parameter_groups()], 1e-2
    )
    state = method.init(energy, Batch(data), rng)
    for _ in range(20):
        loss, state, _ = method.step(energy, Batch(data), state, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    totals = [sum(p.sum().item() for p in part.parameters()) for part in (energy, method.base)]
    found = (loss.item(), method.log_partition.item(), *totals)
    assert found == pytest.approx(GOLDEN[objective], rel=1e-9), found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"energy_steps": 0}, "energy_steps must be >= 1, got 0"),
        ({"noise_factor": 0}, "noise_factor must be >= 1, got 0"),
        ({"refresh_every": 0}, "refresh_every must be >= 1, got 0"),
        ({"gradient_penalty": -1.0}, "gradient_penalty must be >= 0, got -1.0"),
        ({"inverse_temperature": float("nan")}, "inverse_temperature must be >= 0, got nan"),
        ({"sample_steps": -1}, "sample_steps must be >= 0, got -1"),
        ({"base_rate": 0.0}, "base_rate must be > 0, got 0.0"),
        ({"log_partition_rate": 0.0}, "log_partition_rate must be > 0, got 0.0"),
        ({"base_beta1": 1.0}, r"base_beta1 must be in \[0, 1\), got 1.0"),
        ({"objective": "hinge", "relative": False}, "critic of a GAN is relative"),
        ({"kernel": ULA(0.1, temperature=0.5)}, "would temper the prior as well"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Generalized(**wrong)


def test_latents_of_the_wrong_size_are_refused():
    method = Generalized(SMALL).build((3,), 0, Batch(drawn(10, 3)))
    with pytest.raises(ValueError, match=r"takes z of shape \(N, 2\), got \(4, 3\)"):
        method.base.decode(torch.zeros(4, 3))


def test_the_gradients_of_a_cycle_are_counted():
    """Input gradients: of the penalty, and of the energies that teach the base."""
    settings = Generalized(SMALL, energy_steps=3, first_energy_steps=3, gradient_penalty=1.0)
    settings = replace(settings, noise_factor=2)
    data, calls = drawn(10, 3), []

    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, x):
            if x.requires_grad:
                calls.append(len(x))
            return self.inner(x)

    energy, method = Counted(), settings.build((3,), 0, Batch(data))
    state = method.init(energy, Batch(data), seeded())
    for _ in range(4):
        _, state, _ = method.step(energy, Batch(data), state, seeded())
    assert calls == [10, 10, 10, 20]
    assert method.gradients(10) == math.ceil(sum(calls) / 4)
    assert replace(settings, learns="base").build((3,), 0, Batch(data)).gradients(10) == 20
    unpenalised = replace(settings, learns="energy", gradient_penalty=0.0)
    assert unpenalised.build((3,), 0, Batch(data)).gradients(10) == 0
