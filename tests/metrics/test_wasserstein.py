"""Distances of transport against SciPy in one dimension, and against every permutation."""

import itertools
import math

import pytest
import scipy.optimize
import scipy.stats
import torch

from boltzwalk.metrics import wasserstein
from boltzwalk.metrics.wasserstein import exact_wasserstein, sliced_wasserstein


def one_dimension(x, y):
    """W_2 of two samples on the line, by a linear programme over all couplings."""
    n, m = len(x), len(y)
    cost = (x[:, None] - y[None]).square().flatten().numpy()
    rows = torch.kron(torch.eye(n), torch.ones(1, m))
    columns = torch.kron(torch.ones(1, n), torch.eye(m))
    mass = torch.cat([torch.full((n,), 1 / n), torch.full((m,), 1 / m)])
    result = scipy.optimize.linprog(
        cost, A_eq=torch.cat([rows, columns]).numpy(), b_eq=mass.numpy()
    )
    return math.sqrt(result.fun)


@pytest.mark.parametrize(("n", "m"), [(7, 7), (6, 4), (5, 7), (1, 8), (12, 3)])
def test_sliced_in_one_dimension_is_exact_for_any_sizes(n, m, rng):
    x, y = torch.randn(n, 1, generator=rng), 2 * torch.randn(m, 1, generator=rng) + 1
    result = sliced_wasserstein(x, y, rng, projections=3)
    assert result == pytest.approx(one_dimension(x[:, 0], y[:, 0]), rel=1e-7)
    assert sliced_wasserstein(y, x, rng, projections=3) == pytest.approx(result, rel=1e-12)


def test_sorted_samples_in_one_dimension(rng):
    x, y = torch.randn(500, 1, generator=rng), torch.randn(500, 1, generator=rng).exp()
    expected = float((x.sort(0).values - y.sort(0).values).square().mean().sqrt())
    assert sliced_wasserstein(x, y, rng, projections=2) == pytest.approx(expected, rel=1e-12)
    assert exact_wasserstein(x, y) == pytest.approx(expected, rel=1e-12)


def test_a_shift_agrees_with_scipy(rng):
    """Of samples that a shift joins, the distances of order 1 and 2 are the same."""
    x = torch.randn(200, 1, generator=rng)
    expected = scipy.stats.wasserstein_distance(x[:, 0].numpy(), x[:, 0].numpy() + 1.7)
    assert exact_wasserstein(x, x + 1.7) == pytest.approx(expected)
    assert sliced_wasserstein(x, x + 1.7, rng, projections=2) == pytest.approx(expected)


def test_copies_change_nothing(rng):
    x, y = torch.randn(20, 5, generator=rng), torch.randn(30, 5, generator=rng)
    first, second = (
        sliced_wasserstein(a, b, torch.Generator().manual_seed(1), projections=20)
        for a, b in ((x, y), (x.repeat(3, 1), y.repeat_interleave(7, 0)))
    )
    assert first == pytest.approx(second, rel=1e-12)


def test_sliced_is_the_mean_over_directions_of_length_one(rng):
    x, y = torch.randn(40, 3, generator=rng), torch.randn(30, 3, generator=rng) + 1
    result = sliced_wasserstein(x, y, torch.Generator().manual_seed(1), projections=6)
    theta = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    theta = theta / theta.norm(dim=1, keepdim=True)
    squares = [one_dimension(x @ each, y @ each) ** 2 for each in theta]
    assert result == pytest.approx(math.sqrt(sum(squares) / 6), rel=1e-7)


def test_parts_of_directions_change_nothing(rng, monkeypatch):
    x, y = torch.randn(40, 3, generator=rng), torch.randn(30, 3, generator=rng)
    whole = sliced_wasserstein(x, y, torch.Generator().manual_seed(1), projections=23)
    monkeypatch.setattr(wasserstein, "VALUES", 350)  # five directions at once
    again = sliced_wasserstein(x, y, torch.Generator().manual_seed(1), projections=23)
    assert again == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("d", [2, 16])
def test_a_shift_is_smaller_by_the_root_of_the_dimension(d, rng):
    x = torch.randn(100, d, generator=rng)
    shift = torch.randn(d, generator=rng)
    # the squares of a direction's cosine have mean 1 / d and deviation sqrt(2) / d at most
    result = sliced_wasserstein(x, x + shift, rng, projections=20_000) ** 2 * d
    assert result == pytest.approx(float(shift @ shift), rel=5 * math.sqrt(2 / 20_000))
    assert exact_wasserstein(x, x + shift) == pytest.approx(float(shift.norm()))


@pytest.mark.parametrize("d", [1, 3])
def test_assignment_against_every_permutation(d, rng):
    x, y = torch.randn(5, d, generator=rng), torch.randn(5, d, generator=rng)
    squares = torch.cdist(x, y).square()
    least = min(
        sum(float(squares[i, j]) for i, j in enumerate(order)) / 5
        for order in itertools.permutations(range(5))
    )
    assert exact_wasserstein(x, y) == pytest.approx(math.sqrt(least), rel=1e-12)


def test_gaussians_have_their_closed_form(rng):
    """Between N(0, I) and N((2, 0), 9 I) in the plane: sqrt(4 + 2 (3 - 1)²)."""
    x, y = torch.randn(1000, 2, generator=rng), 3 * torch.randn(1000, 2, generator=rng)
    y[:, 0] += 2
    assert exact_wasserstein(x, y) == pytest.approx(math.sqrt(12), rel=0.04)


def test_the_same_samples_in_any_order_have_distance_zero(rng):
    x = torch.randn(50, 1, 2, 2, generator=rng) + 1e4
    y = x[torch.randperm(50, generator=rng)]
    assert exact_wasserstein(x, y) == 0
    assert sliced_wasserstein(x, y, rng) == pytest.approx(0, abs=1e-10)
    ones = torch.ones(10, 3)
    assert exact_wasserstein(ones, ones) == sliced_wasserstein(ones, ones, rng) == 0
    assert exact_wasserstein(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])) == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, rng: exact_wasserstein(x, x[:4]), r"got 9 and 4; write samples\[:4\].*sliced"),
        (
            lambda x, rng: exact_wasserstein(x.repeat(400, 1), x.repeat(400, 1)),
            r"3000 rows or fewer, got 3600.*write samples\[:3000\].*or sliced",
        ),
        (lambda x, rng: exact_wasserstein(x / x, x), "1 of 9 rows with nan or inf"),
        (lambda x, rng: exact_wasserstein(x, x[:, :2]), r"got \(9, 3\) and \(9, 2\)"),
        (lambda x, rng: exact_wasserstein(x[:0], x[:0]), "1 rows or more, got 0"),
        (lambda x, rng: sliced_wasserstein(x / x, x, rng), "1 of 9 rows with nan or inf"),
        (lambda x, rng: sliced_wasserstein(x, x[:, :2], rng), r"got \(9, 3\) and \(9, 2\)"),
        (lambda x, rng: sliced_wasserstein(x, x[:0], rng), "1 rows or more, got 0"),
        (
            lambda x, rng: sliced_wasserstein(x, x, rng, projections=0),
            "projections must be 1 or more",
        ),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    x = torch.arange(27.0).reshape(9, 3)
    with pytest.raises(ValueError, match=message):
        call(x, rng)
