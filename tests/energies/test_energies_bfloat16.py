"""Statistics survive bfloat16: how far energies and gradients move, and that moments do not.

Under autocast only the products of a network are in bfloat16; positions, noise, the reference, the
head of the network and the accept step stay in float32. What was measured is in the bounds.
"""

import pytest
import torch
from torch import nn

from boltzwalk.energies.analytic import GaussianMixture
from boltzwalk.energies.composed import GaussianReference
from boltzwalk.energy import energy_and_grad
from boltzwalk.kernels import HMC, MALA, run_chain
from boltzwalk.networks import Convolutional, Multilayer, published
from boltzwalk.walkers import walkers_at
from statistics_helpers import BOUND


@pytest.fixture(autouse=True)
def float32(float64):
    torch.set_default_dtype(torch.float32)


def amplified(network, factor):
    """A network of steep energies, such as training makes: every weight is multiplied."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.weight *= factor
    return network


def error(found, exact):
    """The relative error, root mean square; an energy is known up to a constant."""
    if exact.ndim == 1:
        found, exact = found - found.mean(), exact - exact.mean()
    return ((found - exact).norm() / exact.norm()).item()


SMOOTH = Convolutional(
    width=32, layers=((1, 4, 2, 1), (2, 4, 2, 1), (4, 3, 2, 1)), activation="silu"
)
NETWORKS = {  # with the errors of energy and gradient, the largest of three seeds
    "dense": (Multilayer((128, 128)), (2,), 0.017, 0.011),
    "dense, steep": (Multilayer((128, 128)), (2,), 0.014, 0.014),
    "residual": (Multilayer((64, 64, 64), residual=True), (2,), 0.006, 0.006),
    "mnist": (published.jarzynski_mnist_network(), (1, 28, 28), 0.054, 0.007),
    "smooth": (SMOOTH, (1, 28, 28), 0.008, 0.006),
    # The slopes of leaky_relu jump, and some units end up on the other side of zero.
    "short-run": (published.short_run_network(16), (3, 32, 32), 0.009, 0.072),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_errors_of_energies_and_gradients(name):
    settings, event_shape, u_measured, grad_measured = NETWORKS[name]
    torch.manual_seed(0)
    network = amplified(settings.build(event_shape), 2.0 if "steep" in name else 1.0)
    x = torch.randn(64, *event_shape)
    u, grad = energy_and_grad(network, x)
    with torch.autocast("cpu", torch.bfloat16):
        u_low, grad_low = energy_and_grad(network, x)
    # Below the lower bound, nothing was computed in bfloat16.
    assert 1e-4 < error(u_low, u) < 2 * u_measured
    assert 1e-4 < error(grad_low, grad) < 2 * grad_measured


def test_the_head_is_exact_both_ways(rng):
    """Backward as forward: the gradient of a linear energy is its weights, not rounded."""
    network, x = Multilayer(()).build((3,)), torch.randn(4, 3, generator=rng)
    exact = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        u, grad = energy_and_grad(network, x)
    assert torch.equal(u, exact)
    assert torch.equal(grad, network.head.weight.expand(4, 3))


def test_closed_forms_are_exact_all_the_same(rng):
    target, x = GaussianMixture.ring(), torch.randn(50, 2, generator=rng)
    exact = energy_and_grad(target, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = energy_and_grad(target, x)
    for a, b in zip(found, exact, strict=True):
        assert torch.equal(a, b)


CHAINS = {  # energy, event shape, chains, kernel at a temperature, steps
    "dense": (
        lambda: amplified(Multilayer((32, 32)).build((2,)), 3.0),
        (2,),
        40_000,
        lambda t: MALA(0.3, t),
        30,
    ),
    "convolutional": (
        lambda: amplified(Convolutional(8, ((1, 3, 1, 1), (2, 4, 2, 1))).build((1, 6, 6)), 4.0),
        (1, 6, 6),
        8_000,
        lambda t: MALA(0.1, t),
        30,
    ),
    "dense, hmc": (
        lambda: amplified(Multilayer((32, 32)).build((2,)), 3.0),
        (2,),
        40_000,
        lambda t: HMC(0.6, 3, t),
        10,
    ),
}


def moments(energy, x):
    """What is compared, each of shape (N,): the energy, and moments of one and two pixels."""
    flat = x.flatten(1)
    first, last = flat[:, 0], flat[:, -1]
    return {
        "U": energy(x).detach(),
        "U^2": energy(x).detach().square(),
        "x_0": first,
        "x_1": last,
        "x_0^2": first.square(),
        "x_1^2": last.square(),
        "x_0 x_1": first * last,
        "|x|^2": flat.square().sum(1),
    }


def deviations(a, b):
    """The differences of two independent sets of moments, in standard errors."""
    return {
        name: (
            (a[name].mean() - b[name].mean())
            / ((a[name].var() + b[name].var()) / len(a[name])).sqrt()
        ).item()
        for name in a
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_moments_of_chains_in_bfloat16(name):
    """Chains from one distribution, with other noise: any number of steps may be compared.

    The same comparison finds a temperature of 1.1, so it has the power to find something.
    """
    build, event_shape, n, kernel, steps = CHAINS[name]
    torch.manual_seed(0)
    energy = GaussianReference(build(), scale=1.0)

    def sample(seed, temperature=1.0, bfloat16=False):
        rng = torch.Generator().manual_seed(seed)
        x = torch.randn(n, *event_shape, generator=rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            walkers, info = run_chain(
                kernel(temperature), energy, walkers_at(energy, x), steps, rng
            )
        assert 0.3 < info.acceptance < 0.98
        return moments(energy, walkers.x)

    exact = sample(0)
    largest = {
        what: max(map(abs, deviations(exact, other).values()))
        for what, other in (
            ("bfloat16", sample(1, bfloat16=True)),
            ("start", moments(energy, torch.randn(n, *event_shape))),
            ("hotter", sample(2, temperature=1.1)),
        )
    }
    assert largest["bfloat16"] < BOUND, largest
    assert largest["start"] > 4 * BOUND, largest  # the network matters
    assert largest["hotter"] > BOUND, largest
