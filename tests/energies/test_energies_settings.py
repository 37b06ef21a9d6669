"""NetworkEnergy: one value, one network."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.exact import exact_samples
from boltzwalk.energy import energy_and_grad, require_rowwise_energy
from boltzwalk.networks import Convolutional, Multilayer, NonLocal, Residual, published

NETWORKS = {
    "multilayer": (Multilayer((8, 8)), (3,)),
    "convolutional": (Convolutional(4), (1, 8, 8)),
    "normalised": (published.spectral_gan_network(2), (3, 16, 16)),
    "non-local": (NonLocal(4, 8), (1, 8, 8)),
    "residual": (Residual(4), (3, 8, 8)),
}
each = pytest.mark.parametrize(("network", "event_shape"), NETWORKS.values(), ids=NETWORKS)


@each
def test_the_seed_determines_the_parameters(network, event_shape):
    settings = NetworkEnergy(network, reference_scale=2.0)
    first, second, other = (settings.build(event_shape, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@each
def test_building_touches_no_global_generator(network, event_shape):
    before = torch.get_rng_state()
    energy = NetworkEnergy(network).build(event_shape, 7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    again = NetworkEnergy(network).build(event_shape, 7)
    torch.set_rng_state(before)
    pairs = zip(energy.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@each
def test_what_is_built_is_pure_and_uncoupled(network, event_shape):
    energy = NetworkEnergy(network, reference_scale=1.0).build(event_shape, 0)
    require_rowwise_energy(energy)
    assert not any(module.training for module in energy.energy.modules())
    assert energy(torch.zeros(4, *event_shape)).shape == (4,)


def test_the_reference_is_added(rng):
    settings = NetworkEnergy(Multilayer((8, 8)))
    plain = settings.build((2, 3), 0)
    with_reference = dataclasses.replace(settings, reference_scale=0.5).build((2, 3), 0)
    x = torch.randn(5, 2, 3, generator=rng)
    expected = plain(x) + 2 * x.square().sum((1, 2))
    torch.testing.assert_close(with_reference(x), expected)
    u, grad = energy_and_grad(with_reference, x)
    torch.testing.assert_close(u, expected)
    torch.testing.assert_close(grad, energy_and_grad(plain, x)[1] + 4 * x)


@pytest.mark.parametrize("name", ["multilayer", "convolutional", "normalised", "non-local"])
def test_a_start_at_zero_is_the_reference_exactly(name, rng):
    network, event_shape = NETWORKS[name]
    settings = NetworkEnergy(network, reference_scale=0.7, zero_start=True)
    energy = settings.build(event_shape, 0)
    x = torch.randn(5, *event_shape, generator=rng)
    u, grad = energy_and_grad(energy, x)
    reference = torch.distributions.Normal(0, 0.7)
    _, log_z = exact_samples(energy, 1, x, rng)
    torch.testing.assert_close(-u - log_z, reference.log_prob(x).flatten(1).sum(1))
    torch.testing.assert_close(grad, x / 0.49)
    assert torch.equal(energy.energy(x), torch.zeros(5))


def test_a_start_at_zero_learns(rng):
    energy = NetworkEnergy(Multilayer((8,)), reference_scale=1.0, zero_start=True).build((2,), 0)
    optimizer = torch.optim.SGD(energy.parameters(), 0.1)
    x = torch.randn(20, 2, generator=rng)
    for _ in range(2):
        optimizer.zero_grad()
        energy(x).mean().backward()
        optimizer.step()
    assert all(parameter.grad.any() for parameter in energy.parameters())


def test_only_the_head_starts_at_zero():
    plain, zero = (
        NetworkEnergy(Multilayer((8,)), zero_start=flag).build((2,), 0) for flag in (False, True)
    )
    assert torch.equal(plain.trunk[0][0].weight, zero.trunk[0][0].weight)
    assert not zero.head.weight.any()
    assert not zero.head.bias.any()
    assert plain.head.weight.any()


@pytest.mark.parametrize("name", ["multilayer", "convolutional", "normalised", "residual"])
def test_spectral_norm_is_on_every_layer(name):
    network, event_shape = NETWORKS[name]
    energy = NetworkEnergy(network, spectral_norm=True).build(event_shape, 0)
    for module in energy.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert parametrize.is_parametrized(module, "weight")
            assert len(module.parametrizations.weight) == 1
    assert not any(module.training for module in energy.modules())
    assert energy(torch.zeros(2, *event_shape)).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "event_shape", "words"),
    [
        (NetworkEnergy(Multilayer((8,)), spectral_norm=True, zero_start=True), (2,), "'head'"),
        (NetworkEnergy(Residual(4), zero_start=True), (3, 8, 8), "normalise=False"),
        (NetworkEnergy(NonLocal(4, 8), spectral_norm=True), (1, 8, 8), "all zeros"),
        (NetworkEnergy(Multilayer((8,)), reference_scale=-1.0), (2,), "scale must be positive"),
        (NetworkEnergy(Convolutional()), (2,), "sides of at least 8"),
    ],
)
def test_contradictions_are_refused(settings, event_shape, words):
    with pytest.raises(ValueError, match=words):
        settings.build(event_shape, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_the_default(dtype):
    torch.set_default_dtype(dtype)
    energy = NetworkEnergy(reference_scale=1.0).build((2,), 0)
    assert energy(torch.ones(3, 2)).dtype == dtype


def test_a_default_device_is_ignored():
    with torch.device("meta"):
        energy = NetworkEnergy().build((2,), 0)
    assert all(parameter.device.type == "cpu" for parameter in energy.parameters())


@each
def test_copies_and_saved_states_agree(network, event_shape, rng):
    """A running average copies the energy; a checkpoint loads into one of another seed."""
    spectral = not isinstance(network, NonLocal)
    settings = NetworkEnergy(network, spectral_norm=spectral, reference_scale=1.0)
    energy, other = settings.build(event_shape, 0), settings.build(event_shape, 1)
    x = torch.randn(3, *event_shape, generator=rng)
    twin = copy.deepcopy(energy)
    assert torch.equal(twin(x), energy(x))
    other.load_state_dict(energy.state_dict())
    assert torch.equal(other(x), energy(x))


def test_it_is_a_value():
    settings = NetworkEnergy(
        published.short_run_network(32), spectral_norm=True, reference_scale=1.5
    )
    assert eval(repr(settings)) == settings
    assert hash(dataclasses.replace(settings)) == hash(settings)
    names = [{f.name for f in dataclasses.fields(network)} for network, _ in NETWORKS.values()]
    assert len({frozenset(fields) for fields in names}) == 4  # each kind has fields of its own
