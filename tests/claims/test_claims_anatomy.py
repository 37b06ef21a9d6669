"""Claims of the anatomy paper: two axes of learning, and equivalences of its two notations."""

import math

import pytest
import torch

from boltzwalk.data import Toy
from boltzwalk.data.toy_densities import EightGaussians
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.composed import Tempered
from boltzwalk.kernels import ULA, noise_temperature, run_chain
from boltzwalk.method import Batch
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart, ReplayStart
from boltzwalk.networks.published import anatomy_toy_network
from boltzwalk.rng import generator
from boltzwalk.settings.optimizers import SGD, Adam
from boltzwalk.training.loop import train_loop
from boltzwalk.walkers import walkers_at


def learn(method, optimizer, updates, seed):
    """Trains on the eight Gaussians of the paper; every batch is fresh."""
    truth = EightGaussians()
    energy = NetworkEnergy(anatomy_toy_network()).build((2,), seed)
    state = method.init(energy, Batch(torch.zeros(1, 2)), generator(seed, "init"))
    loop = train_loop(
        energy,
        method,
        lambda rng: Batch(truth.sample(100, rng).float()),
        optimizer.build(energy.parameters()),
        state=state,
        updates=updates,
        seed=seed,
    )
    for done in loop:
        state = done.state
    return energy, state


@torch.no_grad()
def distance_of_densities(energy, temperature):
    """Total variation and KL(q || p) between the truth and exp(-U / T), by quadrature."""
    side, truth = torch.linspace(-3, 3, 301), EightGaussians()
    grid = torch.cartesian_prod(side, side)
    log_p = torch.log_softmax(-energy(grid).double() / temperature, 0)
    log_q = torch.log_softmax(truth.log_density(grid).double(), 0)
    variation = (log_p.exp() - log_q.exp()).abs().sum().item() / 2
    divergence = (log_q.exp() * (log_q - log_p)).sum().item()
    return variation, divergence


def coverage(x):
    """The share of samples within three standard deviations of a mode, and the modes they find."""
    angles = torch.arange(8) * 2 * math.pi / 8
    centres = torch.stack([angles.cos(), angles.sin()], 1)
    distance, mode = torch.cdist(x, centres).min(1)
    inside = distance < 3 * 0.15
    return inside.float().mean().item(), len(mode[inside].unique())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_non_convergent_learning_samples_well_and_has_a_wrong_density(seed):
    """R1, first half."""
    kernel = ULA(1.0, noise_temperature(1.0, 0.01))
    method = Contrastive(NoiseStart("gaussian"), kernel, steps=100)
    energy, state = learn(method, Adam(1e-4), 4000, seed)
    x = method.sample(energy, Batch(torch.zeros(1, 2)), state, 2000, generator(seed, "sample")).x
    share, modes = coverage(x)
    variation, divergence = distance_of_densities(energy, kernel.temperature)
    print(
        f"seed {seed}: {share:.3f} within 3 sd, {modes} modes, TV {variation:.2f}, "
        f"KL {divergence:.1f}"
    )
    assert share >= 0.95
    assert modes == 8
    assert variation > 0.8


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_convergent_learning_has_the_right_density(seed):
    """R1, second half."""
    kernel = ULA(1.0, noise_temperature(1.0, 0.125))
    method = Contrastive(ReplayStart(size=10_000), kernel, steps=200)
    energy, _ = learn(method, SGD(0.1), 2500, seed)
    variation, divergence = distance_of_densities(energy, kernel.temperature)
    print(f"seed {seed}: TV {variation:.2f}, KL {divergence:.2f}")
    assert variation < 0.4
    assert divergence < 0.5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_convergent_learning_goes_on_improving():
    """R1: four times the updates bring the density nearer."""
    kernel = ULA(1.0, noise_temperature(1.0, 0.125))
    method = Contrastive(ReplayStart(size=10_000), kernel, steps=200)
    found = [
        distance_of_densities(learn(method, SGD(0.1), n, 0)[0], kernel.temperature)
        for n in (1000, 4000)
    ]
    print("TV and KL after 1,000 and 4,000 updates", found)
    assert found[1][0] < found[0][0]
    assert found[1][1] < found[0][1]


@pytest.mark.parametrize("epsilon", [0.01, 0.125, 0.5])
def test_both_notations_make_the_same_chain(epsilon):
    """R15: U = 2F / eps^2 with steps eps^2 / 2 at T = 1, and F with step 1 at T = eps^2 / 2."""
    torch.set_default_dtype(torch.float64)
    network = NetworkEnergy(anatomy_toy_network()).build((2,), 0)
    temperature = noise_temperature(1.0, epsilon)
    assert temperature == pytest.approx(epsilon**2 / 2)
    scaled = Tempered(network, temperature)
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    chains = [
        run_chain(kernel, energy, walkers_at(energy, x), 50, torch.Generator().manual_seed(1))[0].x
        for kernel, energy in (
            (ULA(temperature), scaled),
            (ULA(1.0, temperature), network),
        )
    ]
    torch.testing.assert_close(*chains, rtol=1e-9, atol=1e-9)


def test_the_sgd_rate_on_the_network_does_not_depend_on_epsilon():
    """R15: lr * eps^2 / 2 on the loss of U = 2F / eps^2 is lr on the loss of F."""
    torch.set_default_dtype(torch.float64)
    data = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))

    def updated(epsilon, form):
        network = NetworkEnergy(anatomy_toy_network()).build((2,), 0)
        temperature = noise_temperature(1.0, epsilon)
        energy, kernel, rate = {
            "U": (Tempered(network, temperature), ULA(temperature), 0.1 * temperature),
            "F": (network, ULA(1.0, temperature), 0.1),
        }[form]
        method = Contrastive(NoiseStart("gaussian"), kernel, steps=5)
        optimizer = SGD(rate).build(network.parameters())
        loss, _, _ = method.step(energy, Batch(data), None, torch.Generator().manual_seed(1))
        loss.backward()
        optimizer.step()
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    for epsilon in (0.01, 0.125):
        torch.testing.assert_close(updated(epsilon, "U"), updated(epsilon, "F"))


def test_the_toy_is_that_of_the_paper():
    rows = Toy("eight_gaussians", n=50_000).load().train
    share, modes = coverage(rows)
    assert modes == 8
    assert share == pytest.approx(1 - math.exp(-4.5), abs=0.005)
