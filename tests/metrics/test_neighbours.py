"""Overlap and memorisation against loops over all pairs and scikit-learn's neighbours."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from boltzwalk.metrics import neighbours
from boltzwalk.metrics.neighbours import manifold_overlap, memorisation, nearest_neighbours


def oracle(x, y, k):
    """The definitions, pair by pair."""
    x, y = x.flatten(1).numpy(), y.flatten(1).numpy()

    def radii(rows):
        result = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(rows)
        return result.kneighbors(rows)[0][:, k]  # the 0-th is the row itself

    of_x, of_y = radii(x), radii(y)
    among = np.zeros((len(x), len(y)), dtype=bool)
    samples = np.zeros_like(among)
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            distance = math.dist(a, b)
            among[i, j], samples[i, j] = distance <= of_y[j], distance <= of_x[i]
    return (
        among.any(1).mean(),
        samples.any(0).mean(),
        among.sum() / (k * len(x)),
        among.any(0).mean(),
    )


@pytest.mark.parametrize("entries", [2**21, 700, 1])
@pytest.mark.parametrize(("n", "m", "k"), [(60, 90, 3), (80, 50, 1), (12, 40, 5)])
def test_overlap_against_all_pairs(rng, monkeypatch, entries, n, m, k):
    monkeypatch.setattr(neighbours, "ENTRIES", entries)
    x = 1.5 * torch.randn(n, 2, 2, generator=rng) + 0.5
    y = torch.randn(m, 2, 2, generator=rng)
    assert manifold_overlap(x, y, k) == pytest.approx(oracle(x, y, k), abs=1e-12)


def test_overlap_with_itself_is_the_row_and_its_k_reverse_neighbours(rng):
    """A row lies in its own ball and each ball holds k others, on its very edge one of them."""
    for x in (torch.randn(300, 8, generator=rng), torch.randn(300, 8, generator=rng).float() + 100):
        assert manifold_overlap(x, x, 4) == pytest.approx((1, 1, 5 / 4, 1), abs=1e-12)


def test_overlap_of_one_mode_of_two(rng):
    y = torch.randn(1000, 2, generator=rng)
    y[500:] += 100
    result = manifold_overlap(torch.randn(1000, 2, generator=rng), y)
    assert result.precision > 0.95
    assert result.coverage == pytest.approx(0.5, abs=0.03)
    assert result.recall == pytest.approx(0.5, abs=0.03)
    # The 500 balls of the mode each hold k in 500 of it: k of them around a sample.
    assert result.density == pytest.approx(1, abs=0.2)


def test_one_stray_sample_makes_recall_good_and_leaves_coverage(rng):
    y = torch.randn(500, 2, generator=rng)
    x = torch.randn(500, 2, generator=rng) / 1000 + 20
    x[0] = 0
    result = manifold_overlap(x, y)
    assert result.recall == 1
    assert result.coverage < 0.05


def test_overlap_does_not_change_when_both_are_shifted(rng):
    x, y = torch.randn(2, 200, 5, generator=rng)
    assert manifold_overlap(x + 1e6, y + 1e6) == manifold_overlap(x, y)


def test_constant_rows_overlap_where_they_are_equal():
    x = torch.full((10, 3), 0.1)
    assert manifold_overlap(x, x) == (1, 1, 2, 1)
    assert manifold_overlap(x + 1, x) == (0, 0, 0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearest_against_scikit_learn(rng, monkeypatch, dtype):
    monkeypatch.setattr(neighbours, "ENTRIES", 1000)
    x, y = torch.randn(200, 6, generator=rng), torch.randn(300, 6, generator=rng)
    x, y = x.to(dtype), y.to(dtype)
    expected, indices = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(y).kneighbors(x)
    distance, index = nearest_neighbours(x, y)
    assert index.tolist() == indices[:, 0].tolist()
    assert distance.numpy() == pytest.approx(expected[:, 0], rel=1e-12)


def test_copies_are_at_distance_nought_in_float32(rng):
    """A fast distance in float32 is off by the rounding of squared norms, here about 1e-3."""
    y = torch.randn(500, 64, generator=rng).float() + 50
    y[0] += 1000
    distance, index = nearest_neighbours(y[:100], y)
    assert index.tolist() == list(range(100))
    assert bool((distance == 0).all())
    assert nearest_neighbours(y[:1], y[:2])[1].tolist() == [0]


def test_the_nearest_of_four_is_found_where_fast_distances_cannot_tell(rng):
    """Two tight clusters far apart: squared distances of 3e-3 in sums of 3e5, in float32."""
    for _ in range(5):
        y = torch.randn(8, 16, generator=rng) / 100
        y[:4] += 100
        y[4:] -= 100
        distance, index = nearest_neighbours(y.float(), y.float())
        assert index.tolist() == list(range(8))
        assert bool((distance == 0).all())


def test_pixels_of_whole_numbers_have_neighbours(rng):
    y = torch.randint(0, 256, (50, 4, 4), generator=rng, dtype=torch.uint8)
    distance, index = nearest_neighbours(y[7:9], y)
    assert index.tolist() == [7, 8]
    assert distance.tolist() == [0, 0]
    assert nearest_neighbours(y[7:8], y.double() + 0.5)[0].tolist() == [2]  # nothing is cut off


def test_memorisation_against_loops(rng):
    training, x, unseen = (torch.randn(n, 3, generator=rng) for n in (80, 41, 33))
    result = memorisation(x, training, unseen, rng, resamples=8000)

    def distances(rows):
        return [min(math.dist(a, b) for b in training.tolist()) for a in rows.tolist()]

    a, b = distances(x), distances(unseen)
    assert result.ratio == pytest.approx(np.median(a) / np.median(b), rel=1e-12)
    draw = np.random.default_rng(0)
    ratios = [
        np.median(draw.choice(a, len(a))) / np.median(draw.choice(b, len(b))) for _ in range(8000)
    ]
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert result.low == pytest.approx(low, rel=0.02)
    assert result.high == pytest.approx(high, rel=0.02)


@pytest.mark.slow
def test_memorisation_interval_holds_1_of_unseen_samples(rng):
    """95 of 100 expected; fewer than 86 has a chance below 1 in 1000."""
    training = torch.randn(300, 2, generator=rng)
    inside = 0
    for _ in range(100):
        x, unseen = torch.randn(2, 60, 2, generator=rng)
        result = memorisation(x, training, unseen, rng, resamples=200)
        inside += result.low <= 1 <= result.high
    assert inside >= 86


def test_memorisation_sees_copies_and_their_share(rng):
    training, unseen, fresh = torch.randn(3, 500, 4, generator=rng)
    near = training + 1e-3 * torch.randn(500, 4, generator=rng)
    result = memorisation(near, training, unseen, rng)
    assert result.high < 0.05
    assert result.copies == 1
    mixed = torch.cat([near[:50], fresh[:450]])
    result = memorisation(mixed, training, unseen, rng)
    assert 0.1 <= result.copies < 0.12
    assert result.ratio > 0.8
    assert memorisation(fresh, training, unseen, rng).copies < 0.01
    assert memorisation(fresh + 9, training, unseen, rng).low > 1


def test_memorisation_is_the_same_from_the_same_generator(rng):
    rows = torch.randn(3, 50, 2, generator=rng)
    first, second = (memorisation(*rows, torch.Generator().manual_seed(seed)) for seed in (3, 3))
    assert first == second
    assert first != memorisation(*rows, torch.Generator().manual_seed(4))


@pytest.mark.parametrize(
    ("x", "y", "k", "message"),
    [
        (torch.zeros(5, 2), torch.zeros(9, 2), 5, "samples must have 6 rows or more, got 5"),
        (torch.zeros(9, 2), torch.zeros(5, 2), 5, "reference must have 6 rows or more, got 5"),
        (torch.zeros(9, 2), torch.zeros(9, 3), 5, r"got \(9, 2\) and \(9, 3\)"),
        (torch.zeros(9, 2), torch.zeros(9, 2), 0, "k must be 1 or more, got 0"),
        (
            torch.tensor([[0.0], [math.nan], [1.0], [math.inf]]),
            torch.zeros(9, 1),
            1,
            r"samples must be finite, got 2 of 4 rows .*\(rows 1, 3\)",
        ),
    ],
)
def test_bad_input_to_overlap_is_refused(x, y, k, message):
    with pytest.raises(ValueError, match=message):
        manifold_overlap(x, y, k)


def test_bad_input_to_memorisation_is_refused(rng):
    x = torch.randn(20, 2, generator=rng)
    with pytest.raises(ValueError, match="most are equal to a training row"):
        memorisation(x, x, x[:9], rng)
    with pytest.raises(ValueError, match="samples must have 2 rows or more, got 1"):
        memorisation(x[:1], x, x + 1, rng)
    with pytest.raises(ValueError, match="must have 1 rows or more, got 0"):
        nearest_neighbours(x, x[:0])
