"""Exact samples of an energy that has not learnt yet, and its log Z."""

import math

import pytest
import torch
from torch import nn

from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.analytic import GaussianMixture
from boltzwalk.energies.composed import GaussianReference
from boltzwalk.energies.exact import exact_samples
from boltzwalk.networks import Multilayer
from statistics_helpers import assert_mean

ZERO = NetworkEnergy(Multilayer((8,)), reference_scale=0.7, zero_start=True)


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return x.new_full((len(x),), self.value)


@pytest.mark.parametrize("temperature", [1.0, 0.3, 4.0])
@pytest.mark.parametrize("constant", [0.0, -2.5])
def test_a_constant_network_leaves_the_reference(rng, temperature, constant):
    """exp(-U / T) / Z is the density of a normal, so log Z is known; and the samples are its."""
    energy = GaussianReference(Constant(constant), scale=0.7)
    x, log_z = exact_samples(energy, 20_000, torch.zeros(1, 3), rng, temperature)
    normal = torch.distributions.Normal(0.0, 0.7 * math.sqrt(temperature))
    density = -energy(x) / temperature - log_z
    torch.testing.assert_close(density, normal.log_prob(x).sum(1), rtol=0, atol=1e-10)
    for i in range(3):
        assert_mean(x[:, i], 0.0, f"E[x_{i}]")
        assert_mean(x[:, i].square(), 0.49 * temperature, f"Var[x_{i}]")
        assert_mean((x[:, i] > 0).double(), 0.5, f"P(x_{i} > 0)")
    assert_mean(x[:, 0] * x[:, 1], 0.0, "covariance")


def test_an_image_has_as_many_dimensions_as_pixels(rng):
    like = torch.zeros(1, 1, 3, 4, dtype=torch.float32)
    x, log_z = exact_samples(GaussianReference(Constant(1.0), 2.0), 5, like, rng)
    assert x.shape == (5, 1, 3, 4)
    assert x.dtype == torch.float32
    assert log_z == pytest.approx(6 * math.log(2 * math.pi * 4) - 1)


def test_a_network_that_starts_at_zero(rng):
    x, log_z = exact_samples(ZERO.build((2,), 0), 50, torch.zeros(1, 2), rng)
    assert x.shape == (50, 2)
    assert not x.requires_grad
    assert log_z == pytest.approx(math.log(2 * math.pi * 0.49))


def test_a_bias_of_the_last_layer_is_a_constant(rng):
    energy = ZERO.build((2,), 0)
    nn.init.constant_(energy.energy.head.bias, 0.8)
    _, log_z = exact_samples(energy, 50, torch.zeros(1, 2), rng, temperature=2.0)
    assert log_z == pytest.approx(math.log(2 * math.pi * 0.49 * 2) - 0.4)


def test_energies_that_know_their_samples_and_log_z(rng):
    target = GaussianMixture(((-2.0, 0.0), (3.0, 1.0)), scale=0.5, weights=(0.25, 0.75))
    like = torch.zeros(1, 2, dtype=torch.float32)
    x, log_z = exact_samples(target, 20_000, like, rng)
    assert x.dtype == torch.float32
    assert log_z == target.log_z
    assert_mean((x[:, 0] < 0).double(), 0.25, "mass of the left mode")
    with pytest.raises(
        ValueError, match=r"known at temperature 1, got 2\.0; write kernel\.temperature=1"
    ):
        exact_samples(target, 10, like, rng, temperature=2.0)


class OnlySamples(nn.Module):
    def forward(self, x):
        return x.square().sum(1) / 2

    def sample(self, n, rng):
        return torch.randn(n, 2, generator=rng)


def trained():
    energy = ZERO.build((2,), 0)
    nn.init.normal_(energy.energy.head.weight, generator=torch.Generator().manual_seed(0))
    return energy


@pytest.mark.parametrize("n", [1, 2, 100])
@pytest.mark.parametrize(
    "energy",
    [
        trained,
        lambda: NetworkEnergy(Multilayer((8,)), reference_scale=1.0).build((2,), 0),
        lambda: NetworkEnergy(Multilayer((8,)), zero_start=True).build((2,), 0),
        lambda: NetworkEnergy(Multilayer((8,))).build((2,), 0),
        lambda: GaussianReference(Constant(math.nan), 1.0),
        lambda: GaussianReference(Constant(math.inf), 1.0),
        OnlySamples,
    ],
    ids=["trained", "no zero", "no reference", "neither", "nan", "inf", "samples without log Z"],
)
def test_an_unknown_log_z_is_refused(rng, energy, n):
    """One sample of a network that has learnt is a constant network as well: more are looked at."""
    words = r"energy.reference_scale=1.0 energy.zero_start=true, which starts at a Gaussian"
    with pytest.raises(ValueError, match=words):
        exact_samples(energy(), n, torch.zeros(1, 2), rng)
