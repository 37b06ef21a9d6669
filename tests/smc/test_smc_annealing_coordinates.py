"""Coordinates: the same log Z in x and in z, and the Gaussian that is fitted."""

import math

import pytest
import torch

from boltzwalk.energies.analytic import GaussianMixture, GumbelProduct
from boltzwalk.energy import energy_and_grad
from boltzwalk.smc.coordinates import AffineMap, Bijection, PulledBackEnergy, fit_affine

DIAGONAL = AffineMap(
    torch.tensor([[1.0, -2.0, 0.5]]).double(), torch.tensor([0.5, 2.0, 3.0]).double()
)
FULL = AffineMap(
    torch.tensor([[1.0, -2.0, 0.5]]).double(),
    torch.tensor([[0.5, 0.0, 0.0], [1.0, 2.0, 0.0], [-0.3, 0.7, 3.0]]).double(),
)
each = pytest.mark.parametrize("bijection", [DIAGONAL, FULL], ids=["diagonal", "full"])


def skewed(x):
    """An energy of events of shape (1, 3)."""
    return GumbelProduct(3)(x[:, 0] - 0.3 * x[:, 0].roll(1, 1))


@each
def test_there_and_back(bijection, rng):
    z = torch.randn(20, 3, generator=rng)
    x, _ = bijection.to_x(z)
    assert x.shape == (20, 1, 3)
    torch.testing.assert_close(bijection.to_z(x), z)
    assert isinstance(bijection, Bijection)


@each
def test_the_determinant_is_that_of_the_jacobian(bijection, rng):
    z = torch.randn(3, generator=rng)
    jacobian = torch.autograd.functional.jacobian(lambda z: bijection.to_x(z[None])[0][0, 0], z)
    _, log_det = bijection.to_x(z[None])
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian).logabsdet)


@each
def test_the_pulled_back_gradient_is_that_of_the_pulled_back_energy(bijection, rng):
    z = torch.randn(20, 3, generator=rng)
    pulled = PulledBackEnergy(skewed, bijection)
    u, grad = energy_and_grad(pulled, z)
    expected = energy_and_grad(lambda z: pulled(z), z)  # by automatic differentiation
    torch.testing.assert_close((u, grad), expected)
    torch.testing.assert_close(pulled(z), u)


def test_the_closed_form_of_the_energy_is_used(rng):
    class Closed:
        def __call__(self, x):
            raise AssertionError("the slow way")

        def energy_and_grad(self, x):
            return GumbelProduct(3).energy_and_grad(x[:, 0])[0], torch.ones_like(x)

    energy_and_grad(PulledBackEnergy(Closed(), FULL), torch.randn(4, 3, generator=rng))


@pytest.mark.parametrize("factor", [[[0.7, 0.0], [0.5, 1.3]], [0.7, 1.3]], ids=["full", "diagonal"])
def test_log_z_is_the_same_number_in_z(factor):
    """By the midpoint rule over z."""
    target = GaussianMixture(((-1.0, 0.0), (1.0, 0.5)), (0.4, 0.7), (1.0, 2.0))
    pulled = PulledBackEnergy(target, AffineMap(torch.tensor([0.2, -0.1]), torch.tensor(factor)))
    side = 20 * (torch.arange(800) + 0.5) / 800 - 10
    z = torch.cartesian_prod(side, side)
    log_z = torch.logsumexp(-pulled(z), 0) + 2 * math.log(20 / 800)
    assert log_z.item() == pytest.approx(target.log_z, abs=1e-10)


def test_the_fit_has_the_mean_and_the_shrunk_covariance_of_the_samples(rng):
    like = (torch.randn(40, 4, generator=rng) @ torch.randn(4, 4, generator=rng) + 3).reshape(
        40, 2, 2
    )
    fitted = fit_affine(like)
    rows = like.flatten(1) - like.flatten(1).mean(0)
    sample = rows.t() @ rows / 39
    shrunk = sample * 40 / 44 + torch.diag(sample.diagonal()) * 4 / 44
    torch.testing.assert_close(fitted.factor @ fitted.factor.t(), shrunk)
    torch.testing.assert_close(fitted.location, like.mean(0))


def test_few_samples_or_many_dimensions_fit_the_deviations_alone(rng, monkeypatch):
    like = torch.randn(19, 4, generator=rng)
    torch.testing.assert_close(fit_affine(like).factor, like.std(0))
    assert fit_affine(torch.randn(20, 4, generator=rng)).factor.shape == (4, 4)
    monkeypatch.setattr("boltzwalk.smc.coordinates.LARGEST_FACTOR", 3)
    assert fit_affine(torch.randn(20, 4, generator=rng)).factor.shape == (4,)
    assert fit_affine(torch.randn(20, 1, generator=rng)).factor.shape == (1,)


def test_a_coordinate_that_never_changes_keeps_a_width(rng):
    like = torch.randn(50, 2, generator=rng)
    like[:, 1] = 7
    typical = like.var(0).mean().sqrt()
    assert fit_affine(like).factor[1, 1].item() == pytest.approx(0.01 * typical.item())
    assert fit_affine(like).factor[1, 0] == 0


@pytest.mark.parametrize(
    ("like", "words"),
    [
        (torch.zeros(1, 2), "two or more finite samples .* shape \\(1, 2\\)"),
        (torch.full((5, 2), math.nan), "with 10 entries that are not finite"),
        (torch.ones(5, 2), "5 copies of one point"),
    ],
)
def test_what_cannot_be_fitted_is_refused(like, words):
    with pytest.raises(ValueError, match=words):
        fit_affine(like)
