"""The Fréchet distance against a general matrix square root, torchmetrics and known Gaussians."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from boltzwalk.metrics.frechet import (
    frechet_distance,
    frechet_of_moments,
    unbiased_frechet_distance,
)


def oracle(a, b):
    """The textbook formula with a general matrix square root."""
    a, b = a.numpy(), b.numpy()
    c, d = np.cov(a.T), np.cov(b.T)
    cross = scipy.linalg.sqrtm(c @ d).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(c + d - 2 * cross)


@pytest.mark.parametrize(("n", "m", "d"), [(500, 300, 8), (50, 400, 3)])
def test_against_the_matrix_square_root(rng, n, m, d):
    a = torch.randn(n, d, generator=rng) @ torch.randn(d, d, generator=rng) + 1
    b = torch.randn(m, d, generator=rng) @ torch.randn(d, d, generator=rng)
    assert frechet_distance(a, b) == pytest.approx(oracle(a, b), rel=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-8)


def test_weights_against_weighted_moments(rng):
    a = torch.randn(300, 4, generator=rng) @ torch.randn(4, 4, generator=rng) + 1
    b = torch.randn(200, 4, generator=rng)
    share = torch.rand(300, generator=rng)
    mean = np.average(a.numpy(), axis=0, weights=share.numpy())
    c, d = np.cov(a.numpy().T, aweights=share.numpy()), np.cov(b.numpy().T)
    cross = scipy.linalg.sqrtm(c @ d).real
    expected = np.sum((mean - b.numpy().mean(0)) ** 2) + np.trace(c + d - 2 * cross)
    assert frechet_distance(a, b, share) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(a, b, 7 * torch.ones(300)) == pytest.approx(frechet_distance(a, b))


class Identity(nn.Module):
    num_features = 8

    def forward(self, x):
        return x


def test_against_torchmetrics(rng):
    a = torch.randn(300, 8, generator=rng) @ torch.randn(8, 8, generator=rng) + 1
    b = torch.randn(200, 8, generator=rng)
    metric = FrechetInceptionDistance(feature=Identity(), input_img_size=(8,)).set_dtype(a.dtype)
    metric.update(b, real=True)
    metric.update(a, real=False)
    assert frechet_distance(a, b) == pytest.approx(float(metric.compute()), rel=1e-6)


@pytest.mark.parametrize("d", [1, 5])
def test_moments_against_the_matrix_square_root(d, rng):
    a, b = torch.randn(2, d, d, generator=rng)
    a, b = a @ a.T, b @ b.T
    mean_a, mean_b = torch.randn(2, d, generator=rng)
    cross = scipy.linalg.sqrtm((a @ b).numpy()).real
    expected = float((mean_a - mean_b).square().sum() + (a + b).trace()) - 2 * np.trace(cross)
    assert frechet_of_moments(mean_a, a, mean_b, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_of_moments(mean_b, b, mean_a, a) == pytest.approx(expected, rel=1e-8)


def test_covariances_that_commute():
    """In common axes it is the sum of squared differences of means and of deviations."""
    turn = torch.linalg.qr(torch.arange(9.0).reshape(3, 3).cos()).Q
    first, second = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([4.0, 0.0, 3.0])
    a, b = turn @ first.square().diag() @ turn.T, turn @ second.square().diag() @ turn.T
    result = frechet_of_moments(torch.zeros(3), a, torch.ones(3), b)
    assert result == pytest.approx(3 + 9 + 4 + 9, abs=1e-6)


@pytest.mark.parametrize("d", [1, 6])
def test_one_feature_or_more_of_exact_moments(d, rng):
    a, b = torch.randn(40, d, generator=rng), 2 * torch.randn(30, d, generator=rng) + 1
    moments = [each for x in (a, b) for each in (x.mean(0), torch.cov(x.T).reshape(d, d))]
    assert frechet_distance(a, b) == pytest.approx(frechet_of_moments(*moments), rel=1e-10)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ((torch.zeros(2), torch.eye(3), torch.zeros(2), torch.eye(2)), r"covariance_a.*\(2, 2\)"),
        ((torch.zeros(2), torch.eye(2), torch.zeros(3), torch.eye(2)), r"mean_b.*\(2,\)"),
        ((torch.zeros(2), torch.eye(2), torch.zeros(2), torch.ones(2)), "covariance_b must have"),
        ((torch.zeros(2), torch.eye(2) / 0, torch.zeros(2), torch.eye(2)), "covariance_a.*finite"),
        ((torch.tensor(0.0), torch.eye(1), torch.zeros(1), torch.eye(1)), "mean_a must have"),
    ],
)
def test_bad_moments_are_refused(moments, message):
    with pytest.raises(ValueError, match=message):
        frechet_of_moments(*moments)


def test_weights_of_a_single_sample_are_refused(rng):
    a = torch.randn(10, 2, generator=rng)
    with pytest.raises(ValueError, match="effective sample size of 3 or more, got 1:"):
        frechet_distance(a, a, torch.eye(10)[0])


def test_weights_that_leave_as_few_samples_as_features_are_refused(rng):
    """Two of ten samples carry the weight: two features need three."""
    a = torch.randn(10, 2, generator=rng)
    share = torch.cat([torch.ones(2), torch.full((8,), 1e-3)])
    with pytest.raises(ValueError, match=r"effective sample size of 3 or more, got 2\.02:"):
        frechet_distance(a, a, share)
    share[2] = 1.0
    assert frechet_distance(a, a, share) > 0


def test_gaussians_of_known_distance(rng):
    """Means 3 apart and standard deviations 1 and 2 in each of 4 dimensions: 9 + 4."""
    a = torch.randn(200_000, 4, generator=rng)
    b = 2 * torch.randn(200_000, 4, generator=rng)
    b[:, 0] += 3
    assert frechet_distance(a, b) == pytest.approx(13.0, abs=0.1)


@pytest.mark.parametrize(("n", "m", "side"), [(32, 100, "features"), (100, 32, "reference")])
def test_as_few_samples_as_features_are_refused(n, m, side, rng):
    """Their covariance is singular, and the distance would measure how few they are."""
    a, b = torch.randn(n, 32, generator=rng), torch.randn(m, 32, generator=rng)
    with pytest.raises(ValueError, match=f"{side} must have 33 rows or more.*got 32"):
        frechet_distance(a, b)


def test_one_more_sample_than_features_is_enough(rng):
    a = torch.randn(33, 32, generator=rng)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    share = torch.full((33,), 0.1, dtype=torch.float32)
    assert frechet_distance(a, a, share) == pytest.approx(0, abs=1e-6)


def test_constant_samples():
    """A covariance of zero is one: only the means differ."""
    a = torch.full((10, 3), 0.1)
    assert frechet_distance(a, a + 2) == pytest.approx(12)


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (torch.zeros(1, 2), r"features must have 3 rows or more.*got 1"),
        (torch.zeros(5), r"got \(5,\)"),
        (torch.zeros(5, 3), r"got \(5, 3\) and \(5, 2\)"),
        (torch.full((5, 2), torch.nan), "must be finite, got 5 of 5 rows with nan or inf"),
    ],
)
def test_bad_input_is_refused(a, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, torch.zeros(5, 2))


def gaussians(rng, n, m, size, case):
    """Rows of two Gaussians and their distance in closed form."""
    x, y = torch.randn(n, size, generator=rng), torch.randn(m, size, generator=rng)
    if case == "equal":
        return x, y, 0.0
    if case == "shifted":
        return x + 0.3, y, 0.09 * size
    widths = torch.linspace(0.5, 1.5, size)
    return widths * x, y, float((widths - 1).square().sum())


@pytest.mark.parametrize("case", ["equal", "shifted", "scaled"])
@pytest.mark.parametrize(("n", "m", "size"), [(500, 500, 32), (10_000, 10_000, 8), (500, 4000, 32)])
def test_the_unbiased_distance_has_the_truth_in_its_interval_for_any_size(n, m, size, case):
    """In 38 of 40 by chance; at 500 rows of 32 features the biased one is 1.1 to 2.2 too large."""
    rng = torch.Generator().manual_seed(n + size)
    errors, inside = [], 0
    for _ in range(8):
        x, y, truth = gaussians(rng, n, m, size, case)
        result = unbiased_frechet_distance(x, y, rng)
        inside += result.low <= truth <= result.high
        errors.append((result.value - truth) / (result.high - result.low))
    assert inside >= 7
    assert abs(sum(errors) / 8) < 0.25  # of the width, of which one error is a quarter or less
    assert frechet_distance(x, y) > result.value


def test_the_unbiased_distance_of_weighted_samples(rng):
    """Rows of N(0, 1) weighted to N(0.5, 1), of which 78 % are in effect."""
    x, y = torch.randn(2, 4000, 2, generator=rng)
    share = torch.softmax(0.5 * x[:, 0], 0)
    result = unbiased_frechet_distance(x, y, rng, share)
    assert result.low <= 0.25 <= result.high
    assert result.high - result.low < 0.12


def test_the_unbiased_distance_refuses_halves_with_a_singular_covariance(rng):
    x = torch.randn(20, 4, generator=rng)
    assert unbiased_frechet_distance(x[:10], x, rng).high > -10
    with pytest.raises(ValueError, match=r"features must have 10 rows or more.* got 9"):
        unbiased_frechet_distance(x[:9], x, rng)
    with pytest.raises(ValueError, match="effective sample size of 10 or more"):
        unbiased_frechet_distance(x, x, rng, torch.arange(20) < 9)


def test_the_distance_keeps_its_digits_far_from_the_origin_and_in_unequal_units(rng):
    """By products of covariances the small column is off by the root of the rounding error."""
    x, y = torch.randn(2, 500, 3, generator=rng, dtype=torch.float64)
    x[:, 2] = 2 * x[:, 2]
    units = torch.tensor([1e5, 1e-5, 1.0], dtype=torch.float64)
    near = frechet_distance(x, y)
    assert frechet_distance(x + 1e6, y + 1e6) == pytest.approx(near, rel=1e-7)
    moments = [(v.mean(0), torch.cov(v.T)) for v in (units * x, units * y)]
    a, b = (m.double() for m, _ in moments)
    root = scipy.linalg.sqrtm((moments[0][1] @ moments[1][1]).numpy()).real
    expected = (a - b).square().sum() + (moments[0][1] + moments[1][1]).trace() - 2 * root.trace()
    assert frechet_distance(units * x, units * y) == pytest.approx(float(expected), rel=1e-6)
