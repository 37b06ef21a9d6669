"""All metrics of samples and a reference under a shift, a scale, rows far away and bad input."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from boltzwalk.metrics.anomaly import auroc, false_positive_rate
from boltzwalk.metrics.chains import bulk_effective_sample_size, r_hat
from boltzwalk.metrics.distances import nearest_pairs, squared_distances
from boltzwalk.metrics.frechet import frechet_distance, unbiased_frechet_distance
from boltzwalk.metrics.mean_discrepancy import (
    kernel_distance,
    mean_discrepancy,
    permutation_p_value,
)
from boltzwalk.metrics.neighbours import manifold_overlap, memorisation, nearest_neighbours
from boltzwalk.metrics.similarity import (
    DistanceKernel,
    InverseMultiquadric,
    LaplacianKernel,
    PolynomialKernel,
)
from boltzwalk.metrics.stein import stein_discrepancy_of_scores
from boltzwalk.metrics.two_sample import two_sample_test
from boltzwalk.metrics.wasserstein import exact_wasserstein, sliced_wasserstein


def seeded():
    return torch.Generator().manual_seed(7)


# The number of each metric, and the power of the unit of the rows in it.
METRICS = {
    "Fréchet": (lambda x, y: [frechet_distance(x, y)], 2),
    "unbiased Fréchet": (lambda x, y: unbiased_frechet_distance(x, y, seeded()), 2),
    "Gaussian MMD": (lambda x, y: [mean_discrepancy(x, y)], 0),
    "Laplacian MMD": (lambda x, y: [mean_discrepancy(x, y, LaplacianKernel())], 0),
    "multiquadric MMD": (lambda x, y: [mean_discrepancy(x, y, InverseMultiquadric())], 0),
    "energy distance": (lambda x, y: [mean_discrepancy(x, y, DistanceKernel())], 1),
    "biased": (lambda x, y: [mean_discrepancy(x, y, DistanceKernel(), None, False)], 1),
    "permutation": (lambda x, y: [permutation_p_value(x, y, seeded(), None, 50)], 0),
    "overlap": (manifold_overlap, 0),
    "nearest": (lambda x, y: nearest_neighbours(x, y)[0].tolist(), 1),
    "nearest index": (lambda x, y: nearest_neighbours(x, y)[1].tolist(), 0),
    "memorisation": (lambda x, y: memorisation(x, y, y.flip(0) + 1e-3, seeded(), 50)[:1], 0),
    "sliced Wasserstein": (lambda x, y: [sliced_wasserstein(x, y, seeded(), 50)], 1),
    "Wasserstein": (lambda x, y: [exact_wasserstein(x, y)], 1),
    "C2ST": (lambda x, y: [two_sample_test(x, y).accuracy], 0),
    "R-hat": (lambda x, y: r_hat(torch.stack([x, y])).tolist(), 0),
    "ESS": (lambda x, y: bulk_effective_sample_size(torch.stack([x, y])).tolist(), 0),
    "AUROC": (lambda x, y: auroc(x[:, 0], y[:, 0]), 0),
    "FPR95": (lambda x, y: [false_positive_rate(x[:, 0], y[:, 0])], 0),
}
EQUIVARIANT = [name for name in METRICS if name != "memorisation"]  # its rows have a fixed distance


def rows(dtype=torch.float64):
    x, y = torch.randn(2, 120, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    return 1.3 * x + 0.4, y


@pytest.mark.parametrize("name", METRICS)
def test_a_shift_of_both_sides_changes_nothing(name):
    metric, _ = METRICS[name]
    x, y = rows()
    for offset in (1.0, 1e6, -1e9):
        shifted = metric(x + offset, y + offset)
        # The entries themselves lose 1e-16 of the offset.
        assert list(shifted) == pytest.approx(list(metric(x, y)), rel=1e-4, abs=1e-5), offset


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_a_scale_of_both_sides_scales_the_number(name):
    metric, power = METRICS[name]
    x, y = rows()
    for unit in (1e-9, 8.0, 1e9, 1e15):
        expected = [value * unit**power for value in metric(x, y)]
        assert list(metric(unit * x, unit * y)) == pytest.approx(
            expected, rel=1e-4 if name == "R-hat" else 1e-6
        ), unit


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_values_whose_squares_overflow_or_vanish_are_refused_or_right(name):
    metric, power = METRICS[name]
    x, y = rows()
    for unit in (1e200, 1e-200, 1e300):
        try:
            result = metric(unit * x, unit * y)
        except ValueError:
            continue
        if power == 0:
            assert list(result) == pytest.approx(list(metric(x, y)), rel=1e-4)
        else:
            assert all(math.isfinite(value) for value in result)


@pytest.mark.parametrize("name", [n for n in METRICS if n not in ("AUROC", "FPR95")])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_values_that_are_not_finite_are_refused(name, bad, side):
    pair = [part.clone() for part in rows()]
    pair[side][5, 1] = bad
    with pytest.raises(ValueError, match="must be finite"):
        METRICS[name][0](*pair)


@pytest.mark.parametrize("name", METRICS)
def test_constant_rows_have_a_stated_answer_or_a_reason(name):
    """No nan, and nothing that looks like agreement for sets that have nothing in common."""
    x, y = torch.full((40, 3), 2.0), torch.full((40, 3), -1.0)
    try:
        result = list(METRICS[name][0](x, y))
    except ValueError:
        return
    assert not any(math.isnan(value) for value in result)
    expected = {
        "Fréchet": [27.0],
        "energy distance": [2 * math.sqrt(27)],
        "biased": [2 * math.sqrt(27)],
        "overlap": [0.0, 0.0, 0.0, 0.0],
        "Wasserstein": [math.sqrt(27)],
        "C2ST": [1.0],
        "permutation": [1 / 51],
    }
    if name in expected:
        assert result == pytest.approx(expected[name], rel=1e-9), name


def brute_overlap(x, y, k=5):
    """Distances of SciPy from differences, compared pair by pair."""
    xx, yy, xy = cdist(x, x), cdist(y, y), cdist(x, y)
    radius_x, radius_y = np.sort(xx, 1)[:, k], np.sort(yy, 1)[:, k]
    inside = xy <= radius_y * (1 + 1e-12)
    around = xy <= radius_x[:, None] * (1 + 1e-12)
    return (
        inside.any(1).mean(),
        around.any(0).mean(),
        inside.sum() / k / len(x),
        inside.any(0).mean(),
    )


@pytest.mark.parametrize("far", [0.0, 1e3, 1e7, 1e15, 1e30])
@pytest.mark.parametrize("side", [0, 1])
def test_one_row_far_away_leaves_the_overlap_of_the_others(far, side):
    rng = torch.Generator().manual_seed(1)
    pair = torch.randn(2, 1000, 4, generator=rng).double()
    pair[0] += 2
    pair[side, 3] += far
    x, y = pair
    assert manifold_overlap(x, y) == pytest.approx(brute_overlap(x, y), abs=1e-12)
    # By its definition the ball of a reference row far away has all samples in it.
    assert (far and side) or manifold_overlap(x, y).precision < 0.6
    assert manifold_overlap(x, y).coverage < 0.6


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_ties_copies_and_constant_columns_against_all_pairs(offset):
    rng = torch.Generator().manual_seed(2)
    x, y = (torch.randint(0, 4, (n, 3), generator=rng).double() for n in (150, 120))
    x[:, 2], y[:, 2] = 1.5, 1.5
    y[:20] = x[:20]
    assert manifold_overlap(x + offset, y + offset, 3) == pytest.approx(brute_overlap(x, y, 3))
    expected = cdist(x, y)
    distance, index = nearest_neighbours(x + offset, y + offset)
    assert distance.tolist() == expected.min(1).tolist()
    assert index.tolist() == expected.argmin(1).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1.0, 1e-6, 0.0])
def test_distances_within_clusters_far_apart_against_scipy(dtype, spread):
    rng = torch.Generator().manual_seed(3)
    x = spread * torch.randn(60, 5, generator=rng).double()
    x[30:] += 1e3
    x = x.to(dtype)
    expected = cdist(x.double(), x.double(), "sqeuclidean")
    allowed = 1e-2 if dtype == torch.float32 else 1e-5
    assert squared_distances(x, x).double().numpy() == pytest.approx(expected, rel=allowed)
    nearest, _ = nearest_pairs(x, x, 1, start=0)
    np.fill_diagonal(expected, np.inf)
    assert nearest.numpy() == pytest.approx(expected.min(1), rel=1e-9)


def test_whole_numbers_are_compared_as_numbers():
    """uint8 samples against halves: nothing is cut off, nothing wraps around."""
    x = torch.randint(0, 9, (60, 2), generator=seeded(), dtype=torch.uint8)
    y = x.double() + 0.5
    assert exact_wasserstein(x, y) == pytest.approx(math.sqrt(0.5))
    assert sliced_wasserstein(x, y, seeded()) == pytest.approx(0.5, rel=0.1)
    assert frechet_distance(x, y) == pytest.approx(0.5)
    assert mean_discrepancy(x, y) == mean_discrepancy(x.double(), y)
    assert manifold_overlap(x, y) == manifold_overlap(x.double(), y)


def test_the_two_sample_test_keeps_its_power_with_one_row_far_away():
    rng = torch.Generator().manual_seed(4)
    x, y = torch.randn(2, 600, 2, generator=rng).double()
    x += 1.5
    for far in (1e4, 1e7, 1e12):
        y[0] = far
        assert two_sample_test(x, y).accuracy > 0.75


def test_a_polynomial_kernel_far_from_0_is_refused():
    x, y = rows()
    assert kernel_distance(x, y, seeded(), 20, 50).value > 0
    for metric in (
        lambda a, b: kernel_distance(a, b, seeded(), 20, 50),
        lambda a, b: mean_discrepancy(a, b, PolynomialKernel()),
    ):
        with pytest.raises(ValueError, match="subtract the mean"):
            metric(x + 1e9, y + 1e9)


def test_stein_discrepancy_does_not_depend_on_the_place_of_the_density():
    x, _ = rows()
    near = stein_discrepancy_of_scores(x, -x, seeded(), bootstraps=100)
    for offset in (1e6, 1e10):
        far = stein_discrepancy_of_scores(x + offset, -x, seeded(), bootstraps=100)
        assert far.squared == pytest.approx(near.squared, rel=1e-3)
    far = x.clone()
    far[0] = 1e7
    assert math.isfinite(stein_discrepancy_of_scores(far, -x, seeded(), bootstraps=100).squared)
    assert stein_discrepancy_of_scores(3 * x, -x / 3, seeded(), bootstraps=100).squared == (
        pytest.approx(near.squared / 9)
    )
