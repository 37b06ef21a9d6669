"""Spectral normalisation: operator norms of one, and no iteration while walkers move."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from boltzwalk.energies.composed import GaussianReference
from boltzwalk.energy import energy_and_grad
from boltzwalk.networks import Multilayer, NonLocal, Residual, published
from boltzwalk.networks.spectral import add_spectral_norm, power_iteration


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def layers(network):
    return [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def norms(network):
    matrices = [layer.weight.detach().flatten(1) for layer in layers(network)]
    return torch.stack([torch.linalg.svdvals(matrix)[0] for matrix in matrices])


def original(layer):
    return layer.parametrizations.weight.original


@pytest.mark.parametrize(
    ("settings", "event_shape"),
    [
        (Multilayer((32, 32, 32)), (8,)),
        (published.short_run_network(8), (3, 16, 16)),
        (published.jarzynski_mnist_network(4), (1, 28, 28)),
        (published.teaching_mnist_network(4), (1, 28, 28)),
    ],
    ids=repr,
)
def test_operator_norms_become_one(settings, event_shape):
    network = settings.build(event_shape)
    add_spectral_norm(network)
    assert all(parametrize.is_parametrized(layer) for layer in layers(network))
    for _ in range(1000):
        power_iteration(network)
    torch.testing.assert_close(norms(network), torch.ones(len(layers(network))), rtol=0, atol=1e-3)


def test_iteration_follows_the_parameters():
    """One iteration an update keeps up with weights that move a little in each."""
    network = Multilayer((16, 16)).build((4,))
    add_spectral_norm(network)
    for _ in range(100):
        for layer in layers(network):
            with torch.no_grad():
                original(layer).mul_(1.05).add_(0.01 * torch.randn_like(original(layer)))
        power_iteration(network)
    assert original(layers(network)[0]).norm() > 50
    torch.testing.assert_close(norms(network), torch.ones(3), rtol=0, atol=0.02)


def test_energies_do_not_iterate(rng):
    network = Multilayer((16, 16)).build((4,))
    add_spectral_norm(network)
    x = torch.randn(5, 4, generator=rng)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = energy_and_grad(network, x)
    network.train()  # what a loop that knows nothing of energies would do
    second = energy_and_grad(network, x)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    power_iteration(network)
    after = network.state_dict()
    changed = {
        name.rpartition(".")[2] for name in before if not torch.equal(after[name], before[name])
    }
    assert changed <= {"_u", "_v"}
    assert changed
    assert not any(module.training for module in network.modules())


def test_the_slope_is_capped(rng):
    """Linear layers of norm one and activations of slope one or less: |∇U| <= 1."""
    network = Multilayer((32, 32), activation="leaky_relu").build((6,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(30)
    x = 3 * torch.randn(200, 6, generator=rng)
    assert energy_and_grad(network, x)[1].norm(dim=1).max() > 100
    add_spectral_norm(network)
    for _ in range(500):
        power_iteration(network)
    assert energy_and_grad(network, x)[1].norm(dim=1).max() <= 1 + 1e-6


def test_published_normalised_networks():
    network = published.spectral_gan_network(2).build((3, 16, 16))
    assert all(parametrize.is_parametrized(m) for m in layers(network.trunk))
    assert not parametrize.is_parametrized(network.head)
    network = Residual(4).build((3, 8, 8))
    assert all(parametrize.is_parametrized(m) for m in layers(network))
    assert not any(module.training for module in network.modules())


def test_normalised_layers_are_left_as_they_are():
    network = published.spectral_gan_network(2).build((3, 16, 16))
    add_spectral_norm(network)
    for layer in layers(network):
        assert len(layer.parametrizations.weight) == 1


def test_gradients_reach_the_original_weights(rng):
    network = Multilayer((8,)).build((3,))
    add_spectral_norm(network)
    network(torch.randn(4, 3, generator=rng)).sum().backward()
    assert all(original(layer).grad.any() for layer in layers(network))


def test_modules_around_and_without_are_fine(rng):
    inner = Multilayer((8,)).build((3,))
    add_spectral_norm(inner)
    outer = GaussianReference(inner, 1.0)
    before = inner.trunk[0][0].parametrizations.weight[0]._u.clone()
    power_iteration(outer)
    assert not torch.equal(inner.trunk[0][0].parametrizations.weight[0]._u, before)
    plain = Multilayer((8,)).build((3,))
    before = {name: t.clone() for name, t in plain.state_dict().items()}
    power_iteration(plain)
    assert all(torch.equal(t, before[name]) for name, t in plain.state_dict().items())


def test_other_parametrizations_keep_their_mode():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)).eval()
    power_iteration(layer)
    assert not any(module.training for module in layer.modules())
    training = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    power_iteration(training)
    assert all(module.training for module in training.modules())


def test_zero_weights_are_refused():
    network = NonLocal(4, 8).build((1, 8, 8))
    with pytest.raises(ValueError, match=r"all zeros in the layer 'trunk.3.inner.out'"):
        add_spectral_norm(network)
