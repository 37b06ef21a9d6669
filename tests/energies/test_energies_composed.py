"""Compositions: identities, and closed forms kept."""

import math

import pytest
import torch
from torch import nn

from boltzwalk.energies.analytic import Gaussian, GaussianMixture, GumbelProduct
from boltzwalk.energies.composed import GaussianReference, Product, Tempered
from boltzwalk.energy import energy_and_grad
from boltzwalk.networks import Convolutional, Multilayer


class Closed:
    """A closed form that counts its calls and cannot be differentiated."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        raise AssertionError("the closed form must be used")

    def energy_and_grad(self, x):
        self.calls += 1
        return x.square().sum(1) / 2, x.clone()


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Multilayer((8, 8)).build((2,))


def compositions(part):
    other = GumbelProduct(2)
    return {
        "tempered": (Tempered(part, 3.0), lambda x: part(x) / 3),
        "product": (Product(part, other, part), lambda x: 2 * part(x) + other(x)),
        "reference": (GaussianReference(part, 0.5), lambda x: part(x) + 2 * (x * x).sum(1)),
        "nested": (
            Tempered(Product(GaussianReference(part, 2.0), other), 0.5),
            lambda x: 2 * (part(x) + (x * x).sum(1) / 8 + other(x)),
        ),
    }


@pytest.mark.parametrize("kind", ["tempered", "product", "reference", "nested"])
@pytest.mark.parametrize("part", ["network", "target"])
def test_energy_and_gradient_are_those_written_out(kind, part, network, rng):
    composed, direct = compositions(network if part == "network" else GaussianMixture.ring())[kind]
    x = torch.randn(7, 2, generator=rng)
    torch.testing.assert_close(composed(x), direct(x))
    u, grad = energy_and_grad(composed, x)
    torch.testing.assert_close(u, direct(x))
    torch.testing.assert_close(grad, energy_and_grad(direct, x)[1])
    assert not u.requires_grad
    assert not grad.requires_grad


@pytest.mark.parametrize("kind", ["tempered", "product", "reference", "nested"])
def test_gradients_reach_the_parameters(kind, network, rng):
    composed, direct = compositions(network)[kind]
    assert list(composed.parameters()) == list(network.parameters())
    x = torch.randn(7, 2, generator=rng)
    got = torch.autograd.grad(composed(x).mean(), list(network.parameters()))
    expected = torch.autograd.grad(direct(x).mean(), list(network.parameters()))
    torch.testing.assert_close(got, expected)


def test_closed_forms_are_used():
    part = Closed()
    x = torch.tensor([[3.0, 4.0]])
    for composed, u, factor in (
        (Tempered(part, 2.0), 6.25, 0.5),
        (Product(part, part), 25.0, 2.0),
        (GaussianReference(part, 1.0), 25.0, 2.0),
    ):
        energy, grad = energy_and_grad(composed, x)
        assert energy.tolist() == [u]
        assert torch.equal(grad, factor * x)
    assert part.calls == 4


def test_product_of_gaussians_is_the_gaussian(rng):
    """Precisions add, and the mean is their weighted mean."""
    a, b = Gaussian(2, 1.0, 2.0), Gaussian(2, (-3.0, 0.5), (1.0, 0.5))
    precision = [1 / 4 + 1 / 1, 1 / 4 + 1 / 0.25]
    mean = ((1 / 4 - 3 / 1) / precision[0], (1 / 4 + 0.5 / 0.25) / precision[1])
    expected = Gaussian(2, mean, tuple(1 / math.sqrt(p) for p in precision))
    x = 3 * torch.randn(50, 2, generator=rng)
    difference = Product(a, b)(x) - expected(x)
    torch.testing.assert_close(difference, difference[:1].expand(50))
    torch.testing.assert_close(
        energy_and_grad(Product(a, b), x)[1], energy_and_grad(expected, x)[1]
    )


def test_tempered_gaussian_is_wider(rng):
    x = torch.randn(5, 3, generator=rng)
    torch.testing.assert_close(Tempered(Gaussian(3), 4.0)(x), Gaussian(3, scale=2.0)(x))


def test_events_of_any_shape(rng):
    with torch.random.fork_rng(devices=[]):
        network = Convolutional(4).build((1, 8, 8))
    x = torch.randn(3, 1, 8, 8, generator=rng)
    composed = Tempered(GaussianReference(network, 2.0), 0.5)
    u, grad = energy_and_grad(composed, x)
    torch.testing.assert_close(u, 2 * network(x) + x.square().sum((1, 2, 3)) / 4)
    torch.testing.assert_close(grad, 2 * energy_and_grad(network, x)[1] + x / 2)


@pytest.mark.parametrize("kind", [lambda e: Tempered(e, 2.0), Product])
def test_a_part_of_the_wrong_shape_is_refused(kind):
    with pytest.raises(ValueError, match=r"must have shape \(N,\)"):
        energy_and_grad(kind(nn.Linear(2, 1)), torch.ones(3, 2))


def test_states_are_saved_with_their_parts(network):
    for composed in (Tempered(network, 2.0), GaussianReference(network, 1.0)):
        assert {name.split(".")[0] for name in composed.state_dict()} == {"energy"}
    both = Product(GumbelProduct(2), network)
    assert {name.split(".")[0] for name in both.state_dict()} == {"networks"}
    assert both.float()(torch.ones(1, 2, dtype=torch.float32)).dtype == torch.float32


def test_hyper_parameters_are_printed(network):
    assert "temperature=2.5" in repr(Tempered(network, 2.5))
    assert "scale=0.25" in repr(GaussianReference(network, 0.25))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_impossible_compositions_are_refused(value):
    with pytest.raises(ValueError, match=f"temperature must be positive, got {value}"):
        Tempered(Gaussian(2), value)
    with pytest.raises(ValueError, match=f"scale must be positive, got {value}"):
        GaussianReference(Gaussian(2), value)
    with pytest.raises(ValueError, match="one or more energies"):
        Product()
