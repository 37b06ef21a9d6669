"""Modes: exact numbers of rows, in random order, and the density that they have."""

import math

import pytest
import torch

from boltzwalk.data import Modes
from boltzwalk.energy import energy_and_grad
from statistics_helpers import assert_mean


def test_the_published_rows_are_2500_and_7500():
    data = Modes().load()
    assert data.event_shape == (50,)
    for name in ("train", "validation", "test"):
        labels = getattr(data, f"{name}_labels")
        assert labels.bincount().tolist() == [2500, 7500], name
        assert len(getattr(data, name)) == 10_000
        left = getattr(data, name)[:, 0] < -2
        assert torch.equal(left, labels == 0), name
    assert data.class_names == ("mode -10", "mode 6")


@pytest.mark.parametrize(
    ("proportions", "rows", "counts"),
    [
        ((1.0, 3.0), 8, [2, 6]),
        ((0.5, 0.25, 0.25), 100, [50, 25, 25]),
        ((4.0, 2.0, 1.0), 7, [4, 2, 1]),
    ],
)
def test_any_proportions_are_exact(proportions, rows, counts):
    settings = Modes(3, tuple(range(0, 20 * len(counts), 20)), proportions, rows)
    data = settings.load()
    for labels in (data.train_labels, data.validation_labels, data.test_labels):
        assert labels.bincount().tolist() == counts


def test_the_order_is_shuffled_and_the_splits_differ():
    data = Modes(dim=2).load()
    first = (data.train_labels[:5000] == 0).double()
    # Without replacement, so the error is a little below that of independent draws.
    assert_mean(first, 0.25, "share of the left mode in the first half")
    assert not torch.equal(data.train_labels, data.test_labels)
    shared = torch.isin(data.train[:, 0], data.test[:, 0]) & torch.isin(
        data.train[:, 1], data.test[:, 1]
    )
    assert shared.sum() < 10  # of 10,000: float32 has few values so near to each other


def test_rows_have_unit_covariance_around_their_centre():
    data = Modes(dim=5).load()
    for label, centre in enumerate((-10.0, 6.0)):
        x = data.train[data.train_labels == label].double()
        for i, mean in enumerate((centre, 0.0)):
            assert_mean(x[:, i], mean, f"mean {i} of mode {label}")
            assert_mean((x[:, i] - mean).square(), 1.0, f"variance {i} of mode {label}")
        assert_mean((x[:, 0] - centre) * x[:, 1], 0.0, f"covariance of mode {label}")


def test_the_density_is_that_of_the_rows():
    settings = Modes(dim=3, proportions=(2.0, 5.0), rows=70_000)
    truth, x = settings.density(), settings.load().train.double()
    assert (truth.dim, truth.log_z) == (3, pytest.approx(1.5 * math.log(2 * math.pi)))
    for i in range(3):
        assert_mean(x[:, i], truth.mean[i].item(), f"E[x_{i}]")
        assert_mean((x[:, i] - truth.mean[i]).square(), truth.variance[i].item(), f"Var[x_{i}]")
    _, grad = energy_and_grad(truth, x)
    assert_mean(grad[:, 0], 0.0, "E[dU/dx_0]")
    assert_mean((x[:, 0] - truth.mean[0]) * grad[:, 0], 1.0, "E[x_0 dU/dx_0]")


def test_the_seed_determines_the_rows():
    first, again, other = (Modes(dim=2, rows=40, seed=seed).load().train for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": 0}, "dim must be 1 or more, got 0"),
        ({"centres": ()}, "centres must be one or more finite numbers"),
        ({"centres": (1.0, math.nan)}, "centres must be one or more finite numbers"),
        ({"proportions": (1.0,)}, r"one for each of the 2 centres, got \(1.0,\)"),
        ({"proportions": (1.0, -1.0)}, "proportions must be positive"),
        ({"proportions": (0.0, 1.0)}, "proportions must be positive"),
        ({"rows": 10_001}, "a multiple of 4, to be divided 1:3, got 10001; write data.rows=10000"),
        ({"rows": 1}, "write data.rows=4"),
        ({"rows": 0}, "write data.rows=4"),
        ({"rows": -8}, "write data.rows=4"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Modes(**fields)
