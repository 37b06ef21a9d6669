"""Whitening that few rows cannot over-fit."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.datasets import load_breast_cancer

from boltzwalk.data import Dataset, Table
from boltzwalk.data.whitening import fit_whitening


def names(count):
    return tuple(f"c{i}" for i in range(count))


def whitened(train, rows, shrinkage=True):
    shift, scale = fit_whitening(torch.from_numpy(train), "pca", names(train.shape[1]), shrinkage)
    return np.linalg.solve(scale.numpy().T, (rows - shift.numpy()).T).T


def by_hand(z, folds=5):
    """Variances of the components by a loop over rows."""
    fold = np.arange(len(z)) % folds
    total = np.zeros(z.shape[1])
    for k in range(folds):
        rest = z[fold != k]
        _, vectors = np.linalg.eigh(rest.T @ rest / len(rest))
        for row in z[fold == k]:
            total += (row @ vectors) ** 2
    return total / len(z)


def test_the_variances_are_those_of_rows_that_did_not_determine_them():
    train = np.random.default_rng(0).normal(size=(60, 4)) @ np.diag([1.0, 2.0, 3.0, 4.0])
    z = (train - train.mean(0)) / train.std(0)
    sample = np.linalg.eigvalsh(z.T @ z / len(z))
    x = whitened(train, train)
    variance = np.sort((x**2).mean(0))
    np.testing.assert_allclose(variance, np.sort(sample / by_hand(z)), rtol=1e-8)


@pytest.mark.parametrize("shape", [(8, 3), (700, 520)])
def test_few_rows_or_many_columns_take_the_covariance_of_ledoit_and_wolf(shape):
    train = np.random.default_rng(1).normal(size=shape)
    z = (train - train.mean(0)) / train.std(0)
    covariance = ledoit_wolf(z, assume_centered=True)[0]
    _, scale = fit_whitening(torch.from_numpy(train), "pca", names(shape[1]), True)
    mixed = (scale / torch.from_numpy(train.std(0))).numpy()
    np.testing.assert_allclose(mixed.T @ mixed, covariance, atol=1e-9)


@pytest.mark.parametrize("shape", [(300, 250), (40, 60)])
def test_whitened_test_rows_have_the_variance_of_training_rows(shape):
    rng = np.random.default_rng(2)
    train, test = rng.normal(size=shape), rng.normal(size=(500, shape[1]))
    x = whitened(train, test)
    # Without shrinkage the least components have hundreds of times the variance, or none.
    assert 0.7 < (x**2).mean() < 1.5
    assert (x**2).mean(0).max() < 4
    if shape[0] > shape[1]:
        assert (whitened(train, test, False) ** 2).mean(0).max() > 50


@pytest.mark.slow
def test_two_thousand_columns():
    rng = np.random.default_rng(3)
    data = Dataset.of(rng.normal(size=(2400, 2000)), whitening="pca")
    train, test = (float(part.square().mean()) for part in (data.train, data.test))
    assert 0.8 < train < 1.25
    assert 0.8 < test / train < 1.25


def test_components_of_little_variance_stay_white():
    # Linear shrinkage would squash the least components of such columns to a tenth.
    rows = load_breast_cancer().data
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows))
    train, test = rows[order[:455]], rows[order[455:]]
    x, y = whitened(train, train), whitened(train, test)
    assert (x**2).mean(0).min() > 0.4
    assert (y**2).mean(0).mean() < 1.6


@pytest.mark.parametrize("shrinkage", [False, True])
def test_the_map_does_not_depend_on_the_units_of_the_columns(shrinkage):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    units = np.array([1e6, 1e-6, 3.0, 1e12])
    one = whitened(rows, rows, shrinkage)
    other = whitened(rows * units + units, rows * units + units, shrinkage)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_fewer_rows_than_columns_can_be_whitened():
    rows = np.random.default_rng(5).normal(size=(20, 30))
    assert np.isfinite(whitened(rows, rows)).all()
    with pytest.raises(ValueError, match="without shrinkage more rows than columns"):
        whitened(rows, rows, False)


@pytest.mark.parametrize("shape", [(100, 3), (700, 520)])
def test_columns_that_determine_each_other_are_refused_still(shape):
    rows = np.random.default_rng(6).normal(size=shape)
    rows = np.column_stack([rows, rows[:, 0] - 2 * rows[:, 2]])
    with pytest.raises(ValueError, match="is constant; leave one out"):
        whitened(rows, rows)


def test_a_table_shrinks_unless_told_otherwise(tmp_path):
    np.save(tmp_path / "t.npy", np.random.default_rng(7).normal(size=(60, 20)))
    path = str(tmp_path / "t.npy")
    variances = [
        Table(path, whitening="pca", split=(1, 0, 0), shrinkage=on).load().train.var(0)
        for on in (True, False)
    ]
    assert float((variances[1] - 60 / 59).abs().max()) < 1e-3
    assert float(variances[0].min()) < 0.6
