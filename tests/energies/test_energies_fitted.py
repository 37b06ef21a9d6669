"""A Gaussian reference fitted to data, against torch.distributions."""

import math

import pytest
import torch

from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.composed import FittedReference
from boltzwalk.energies.exact import exact_samples
from boltzwalk.energy import energy_and_grad
from boltzwalk.networks import Multilayer
from statistics_helpers import assert_mean

SETTINGS = NetworkEnergy(Multilayer((8,)), reference_fit=0.3, zero_start=True)


def skewed(n, rng):
    z = torch.randn(n, 2, 3, generator=rng)
    z[:, 0] = 2 * z[:, 0] + z[:, 1] ** 2
    return z + torch.arange(3)


def oracle(data, blur, temperature=1.0):
    rows = data.flatten(1)
    covariance = torch.cov(rows.t(), correction=0) + blur**2 * torch.eye(rows.shape[1])
    return torch.distributions.MultivariateNormal(rows.mean(0), temperature * covariance)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_a_start_at_zero_is_the_gaussian_exactly(rng, temperature):
    data = skewed(50, rng)
    energy = SETTINGS.build((2, 3), 0, data)
    x, log_z = exact_samples(energy, 20, data, rng, temperature)
    expected = oracle(data, 0.3, temperature).log_prob(x.flatten(1))
    torch.testing.assert_close(-energy(x) / temperature - log_z, expected, rtol=0, atol=1e-9)


def test_the_samples_are_those_of_the_gaussian(rng):
    data = skewed(50, rng)
    x, _ = exact_samples(SETTINGS.build((2, 3), 0, data), 20_000, data, rng, temperature=2.0)
    gaussian = oracle(data, 0.3, 2.0)
    residual = torch.linalg.solve_triangular(
        gaussian.scale_tril, (x.flatten(1) - gaussian.mean).t(), upper=False
    )
    for i in range(6):
        assert_mean(residual[i], 0.0, f"mean {i}")
        for j in range(i + 1):
            assert_mean(residual[i] * residual[j], float(i == j), f"covariance {i} {j}")


def test_the_closed_form_is_the_gradient(rng):
    data = skewed(50, rng)
    energy = NetworkEnergy(Multilayer((8,)), reference_fit=0.3).build((2, 3), 0, data)
    x = skewed(5, rng).requires_grad_()
    u = energy(x)
    (expected,) = torch.autograd.grad(u.sum(), x)
    found, grad = energy_and_grad(energy, x)
    torch.testing.assert_close(found, u.detach())
    torch.testing.assert_close(grad, expected)


def test_a_column_that_never_changes_has_the_variance_of_the_blur(rng):
    data = torch.randn(50, 3, generator=rng)
    data[:, 1] = 4.0
    x, log_z = exact_samples(FittedReference(lambda x: 0 * x.sum(1), data, 0.1), 20_000, data, rng)
    assert_mean((x[:, 1] - 4).square(), 0.01, "variance of a constant column")
    assert math.isfinite(log_z)


def test_what_it_was_fitted_to_is_saved_with_the_network(rng):
    data = skewed(50, rng)
    energy, other = (SETTINGS.build((2, 3), 0, rows) for rows in (data, 2 * data))
    assert not torch.equal(energy(data), other(data))
    other.load_state_dict(energy.state_dict())
    assert torch.equal(energy(data), other(data))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FittedReference(torch.sum, torch.zeros(5, 2), 0.0), "blur > 0"),
        (lambda: FittedReference(torch.sum, torch.zeros(5, 2), math.nan), "blur > 0"),
        (lambda: FittedReference(torch.sum, torch.zeros(1, 2), 1.0), "two rows"),
        (lambda: SETTINGS.build((2,), 0), "needs the data"),
        (lambda: NetworkEnergy(reference_scale=1.0, reference_fit=1.0), "one reference"),
    ],
)
def test_what_is_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
