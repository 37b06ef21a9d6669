import pytest
import torch

from boltzwalk.data import Digits

COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_all_digits_have_the_published_mean_and_counts():
    data = Digits(split=(1, 0, 0)).load()
    assert data.train.shape == (1797, 1, 8, 8)
    assert data.to_original(data.train).double().mean() == pytest.approx(4.884164, abs=1e-5)
    assert data.train_labels.bincount().tolist() == COUNTS
    assert data.to_original(data.train[0, 0, 0]).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_the_default_split():
    data = Digits().load()
    assert [len(x) for x in (data.train, data.validation, data.test)] == [1200, 297, 300]
    assert (data.low, data.high, data.event_shape) == (-1, 1, (1, 8, 8))
    labels = torch.cat([data.train_labels, data.validation_labels, data.test_labels])
    assert labels.bincount().tolist() == COUNTS


def test_images_keep_their_labels():
    full, data = Digits(split=(1, 0, 0)).load(), Digits(split_seed=5).load()
    pairs = {
        x.numpy().tobytes(): int(y) for x, y in zip(full.train, full.train_labels, strict=True)
    }
    assert all(
        pairs[x.numpy().tobytes()] == y for x, y in zip(data.test, data.test_labels, strict=True)
    )


def test_classes_in_proportions():
    data = Digits(classes=(2, 3, 6), proportions=(4, 2, 1)).load()
    for labels in (data.train_labels, data.validation_labels, data.test_labels):
        two, three, six = (int((labels == c).sum()) for c in (2, 3, 6))
        assert (two, three) == (4 * six, 2 * six)
        assert two + three + six == len(labels)
    assert data.class_names[6] == "6"


def test_unknown_class():
    with pytest.raises(ValueError, match=r"got \(2, 10\)"):
        Digits(classes=(2, 10))
