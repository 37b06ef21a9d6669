import math

import numpy as np
import pytest
import scipy.linalg
import torch

from boltzwalk.metrics.frechet import frechet_distance


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


def test_weights_of_a_single_sample_are_refused(rng):
    a = torch.randn(10, 2, generator=rng)
    with pytest.raises(ValueError, match="effective sample size of 2 or more, got 1:"):
        frechet_distance(a, a, torch.eye(10)[0])


def test_gaussians_of_known_distance(rng):
    """Means 3 apart and standard deviations 1 and 2 in each of 4 dimensions: 9 + 4."""
    a = torch.randn(200_000, 4, generator=rng)
    b = 2 * torch.randn(200_000, 4, generator=rng)
    b[:, 0] += 3
    assert frechet_distance(a, b) == pytest.approx(13.0, abs=0.1)


def test_fewer_samples_than_dimensions(rng):
    """Singular covariances, as with 40 samples of 64 features."""
    a = torch.randn(20, 32, generator=rng)
    value = frechet_distance(a, a)
    assert math.isfinite(value)
    assert abs(value) < 1e-6


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (torch.zeros(1, 2), r"N >= 2, got \(1, 2\)"),
        (torch.zeros(5), r"got \(5,\)"),
        (torch.full((5, 2), torch.nan), "must be finite"),
    ],
)
def test_bad_input_is_refused(a, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, torch.zeros(5, 2))
