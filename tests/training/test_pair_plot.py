"""The pair plot shows the columns that samples miss, and survives every name and value."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp

from boltzwalk.training.pair_plot import column_distances, pair_plot, worst_columns

RNG = np.random.default_rng(0)


def test_distances_are_those_of_scipy():
    x, y = RNG.normal(size=(300, 4)), RNG.normal((0, 0.2, 1, 0), (1, 1, 1, 3), (170, 4))
    expected = [ks_2samp(a, b).statistic for a, b in zip(x.T, y.T, strict=True)]
    assert column_distances(x, y) == pytest.approx(expected, abs=1e-12)


def test_distances_with_ties_are_those_of_scipy():
    x, y = RNG.integers(0, 3, (50, 2)).astype(float), RNG.integers(1, 4, (70, 2)).astype(float)
    expected = [ks_2samp(a, b).statistic for a, b in zip(x.T, y.T, strict=True)]
    assert column_distances(x, y) == pytest.approx(expected, abs=1e-12)


def test_the_columns_that_samples_miss_are_shown_in_their_order():
    y = RNG.normal(size=(400, 8))
    x = RNG.normal(size=(400, 8))
    x[:, [6, 2]] += 3
    assert worst_columns(x, y, 2) == [2, 6]


@pytest.mark.parametrize("columns", [1, 7])
def test_every_number_of_columns_fills_a_square(columns):
    png = pair_plot(RNG.normal(size=(60, columns)), RNG.normal(size=(40, columns)))
    image = Image.open(io.BytesIO(png))
    assert 0.9 < image.width / image.height < 1.1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: np.full_like(x, np.nan), id="no sample finite"),
        pytest.param(lambda x: np.where(np.arange(len(x))[:, None] == 3, np.inf, x), id="infinity"),
        pytest.param(lambda x: x * 0 + 5.0, id="constant"),
        pytest.param(lambda x: x + 1e9, id="far away"),
        pytest.param(lambda x: x[:1], id="one row"),
    ],
)
def test_no_sample_stops_the_picture(change):
    y = RNG.normal(size=(40, 2))
    png = pair_plot(change(RNG.normal(size=(60, 2))), y)
    assert Image.open(io.BytesIO(png)).width > 300


def test_no_name_stops_the_picture():
    names = ("$\\frac{$", "x$^^$", "日本 α")
    assert pair_plot(RNG.normal(size=(60, 3)), RNG.normal(size=(40, 3)), names)


def test_a_constant_column_of_data_has_an_axis():
    y = np.column_stack([RNG.normal(size=40), np.full(40, 7.0)])
    assert pair_plot(RNG.normal(size=(30, 2)), y)
