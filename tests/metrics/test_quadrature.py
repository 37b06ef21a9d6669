import math

import pytest
import torch

from boltzwalk.energies.analytic import Gaussian, GaussianMixture
from boltzwalk.metrics.quadrature import divergences_in_the_plane, log_z_in_the_plane


@pytest.mark.parametrize(
    "energy", [Gaussian(2, loc=3.0, scale=0.7), GaussianMixture.ring(), Gaussian(2, scale=5.0)]
)
def test_against_the_exact_log_z(energy, rng):
    x = energy.sample(2000, rng)
    assert log_z_in_the_plane(energy, x) == pytest.approx(energy.log_z, abs=1e-4)


def test_temperature(rng):
    """exp(-U / T) of a Gaussian is a Gaussian of variance T."""
    x = Gaussian(2, scale=2.0).sample(2000, rng)
    hot = Gaussian(2, scale=2.0).log_z
    assert log_z_in_the_plane(Gaussian(2), x, temperature=4.0) == pytest.approx(hot, abs=1e-4)


def test_far_from_the_origin(rng):
    energy = Gaussian(2, loc=100.0, scale=0.7)
    assert log_z_in_the_plane(energy, energy.sample(2000, rng)) == pytest.approx(
        energy.log_z, abs=1e-4
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergences_of_gaussians(temperature, rng):
    """KL(q, p) of q = N(0, 1) and p = N((m, 0), s^2) is (1 + m^2 / 2) / s^2 - 1 + 2 log s."""
    m, s2 = 0.6, 2.25
    centre = torch.tensor([m, 0.0])
    far = divergences_in_the_plane(
        lambda x: (x - centre).square().sum(1) * temperature / (2 * s2),
        lambda x: 7.0 - x.square().sum(1) / 2,
        Gaussian(2, scale=2.0).sample(2000, rng),
        temperature,
    )
    assert far.kl == pytest.approx((1 + m**2 / 2) / s2 - 1 + math.log(s2), abs=1e-6)


def test_total_variation_of_shifted_gaussians(rng):
    """That of N(0, 1) and N(m, 1) is the mass of N(0, 1) within m / 2 of nought."""
    far = divergences_in_the_plane(
        lambda x: (x - torch.tensor([1.0, 0.0])).square().sum(1) / 2,
        lambda x: -x.square().sum(1) / 2,
        Gaussian(2).sample(2000, rng),
    )
    assert far.total_variation == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=1e-3)


def test_the_truth_may_have_no_mass_where_a_model_has():
    """A Gaussian and its right half: log 2, and half of the mass in the wrong place."""
    far = divergences_in_the_plane(
        lambda x: x.square().sum(1) / 2,
        lambda x: torch.where(x[:, 0] > 0, -x.square().sum(1) / 2, -math.inf),
        torch.tensor([[-3.0, -3.0], [3.0, 3.0]]),
    )
    assert far.kl == pytest.approx(math.log(2), abs=1e-6)
    assert far.total_variation == pytest.approx(0.5, abs=1e-6)
