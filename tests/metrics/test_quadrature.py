import pytest

from boltzwalk.energies.analytic import Gaussian, GaussianMixture
from boltzwalk.metrics.quadrature import log_z_in_the_plane


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
