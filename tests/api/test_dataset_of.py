"""`bw.Dataset.of`: every kind of rows, and one clear message for each that cannot be used."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

import boltzwalk as bw

of = bw.Dataset.of
NUMBERS = np.arange(40).reshape(20, 2)


class Items(TorchDataset):
    """Items as they are given."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def all_rows(data):
    """All rows in original units, sorted by their first entry."""
    rows = data.to_original(torch.cat([data.train, data.validation, data.test]))
    return rows[rows.flatten(1)[:, 0].argsort()]


@pytest.mark.parametrize(
    "source",
    [
        torch.tensor(NUMBERS),
        torch.tensor(NUMBERS).double().requires_grad_(),
        NUMBERS,
        NUMBERS.astype(np.float64),
        NUMBERS.astype(np.uint8),
        np.asfortranarray(NUMBERS),
        NUMBERS.tolist(),
        tuple(map(tuple, NUMBERS)),
        pd.DataFrame({"a": NUMBERS[:, 0], "b": NUMBERS[:, 1] * 1.0}),
        TensorDataset(torch.tensor(NUMBERS)),
        Items(*NUMBERS),
    ],
    ids=lambda source: type(source).__name__,
)
def test_the_same_numbers_are_the_same_data(source):
    data = of(source)
    assert torch.equal(all_rows(data), torch.tensor(NUMBERS).float())
    assert data.train.dtype == torch.float32
    assert not data.train.requires_grad
    assert data.digest == of(NUMBERS).digest
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 2, 2)


def test_a_frame_of_pandas_gives_names_and_numbers():
    frame = pd.DataFrame({"a": range(20), "b": np.arange(20) / 2})
    data = of(frame)
    assert data.columns == ("a", "b")
    assert torch.equal(all_rows(data)[:, 1], torch.arange(20) / 2)
    others = {"c": [True, False] * 10, "name": ["x"] * 20, "day": pd.to_datetime("2020-01-01")}
    with pytest.warns(UserWarning, match="left out: c .*name .*day") as caught:
        assert of(frame.assign(**others)).digest == data.digest
    assert len(caught) == 1


def test_names_of_columns_and_classes_are_kept():
    assert of(pd.DataFrame({"a": range(20), "b": range(20)})).columns == ("a", "b")
    data = of(NUMBERS, ["dog", "cat"] * 10)
    assert data.class_names == ("cat", "dog")
    labels = torch.cat([data.train_labels, data.validation_labels, data.test_labels])
    rows = torch.cat([data.train, data.validation, data.test])
    assert torch.equal(labels, (rows[:, 0] % 4 == 0).long())  # every second row is a dog


def test_numbers_in_one_dimension_are_one_column():
    assert of(np.arange(20.0)).event_shape == (1,)
    assert of(list(range(20))).event_shape == (1,)


def test_images_keep_their_shape():
    assert of(torch.zeros(20, 3, 4, 4)).event_shape == (3, 4, 4)


@pytest.mark.parametrize(
    "labels",
    [
        torch.arange(20) % 3,
        np.arange(20, dtype=np.uint8) % 3,
        (np.arange(20) % 3).astype(float),
        list(np.arange(20) % 3),
    ],
)
def test_labels_follow_their_rows(labels):
    for data in (of(NUMBERS, labels), of(Items(*zip(NUMBERS, labels, strict=True)))):
        for part in ("train", "validation", "test"):
            rows = getattr(data, part)
            assert torch.equal(getattr(data, f"{part}_labels"), (rows[:, 0] / 2 % 3).long())


def test_labels_of_a_tensor_dataset():
    data = of(TensorDataset(torch.tensor(NUMBERS), torch.arange(20) % 2))
    assert torch.equal(data.train_labels, (data.train[:, 0] / 2 % 2).long())


def test_images_of_pillow_with_labels_are_read():
    image = pytest.importorskip("PIL.Image")
    pictures = [image.fromarray(np.full((3, 3), i, np.uint8)) for i in range(20)]
    data = of(Items(*((picture, i % 2) for i, picture in enumerate(pictures))))
    assert data.event_shape == (3, 3)
    assert torch.equal(data.train_labels, (data.train[:, 0, 0] % 2).long())


def test_standard_whitening_has_mean_zero_and_variance_one_and_comes_back():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(3, 100, 50), rng.normal(-1, 0.1, 50), np.full(50, 7.0)])
    data = of(x, whitening="standard")
    assert data.train[:, :2].mean(0).abs().max() < 1e-5
    assert (data.train[:, :2].std(0, correction=0) - 1).abs().max() < 1e-5
    assert not data.train[:, 2].any()  # a constant column stays constant, and finite
    assert float(data.scale[2]) == 1
    rows = torch.tensor(x[:5], dtype=torch.float32)
    torch.testing.assert_close(data.to_original(data.from_original(rows)), rows.double())
    deviation = data.to_original(data.train).double().std(0, correction=0)[:2]
    assert data.log_volume == pytest.approx(float(deviation.log().sum()), rel=1e-4)


def test_plain_rows_are_in_the_units_of_the_model():
    data = of(NUMBERS)
    assert data.log_volume == 0
    assert torch.equal(data.to_original(data.train), data.train)


@pytest.mark.parametrize(
    ("split", "sizes"),
    [((0.5, 0.25, 0.25), (10, 5, 5)), ((1, 0, 0), (20, 0, 0)), ((16, 4, 0), (16, 4, 0))],
)
def test_sizes_of_splits(split, sizes):
    data = of(NUMBERS, split=split)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes


def test_the_seed_decides_the_split_alone():
    one, two = of(NUMBERS, seed=1), of(NUMBERS, seed=2)
    assert torch.equal(one.train, of(NUMBERS, seed=1).train)
    assert not torch.equal(one.train, two.train)
    assert torch.equal(all_rows(one), all_rows(two))


NAN = NUMBERS.astype(float)
NAN[7, 1], NAN[9, 0] = np.nan, np.inf

BAD = {
    "no rows": (np.zeros((0, 2)), {}, "one row at least, got shape \\(0, 2\\)"),
    "empty list": ([], {}, "one row at least"),
    "empty dataset": (Items(), {}, "one row at least"),
    "rows without numbers": (np.zeros((5, 0)), {}, r"every row must have a number.*\(5, 0\)"),
    "nan": (NAN, {}, r"must be finite.*got 2 rows.*first is row 7; drop them"),
    "too large": (
        np.full((20, 2), 1e300),
        {},
        r"finite float32.*got 1e\+300 in row 0.*and 39 more; write data.whitening=standard",
    ),
    "few labels": (NUMBERS, {"labels": [0, 1]}, r"labels must have shape \(20,\).*got \(2,\)"),
    "label columns": (NUMBERS, {"labels": np.zeros((20, 1))}, r"labels must have shape \(20,\)"),
    "negative labels": (NUMBERS, {"labels": [-1] * 20}, "labels must be numbers from 0, got -1"),
    "fractions": (NUMBERS, {"labels": [0.5] * 20}, "labels must be whole numbers or names"),
    "nan label": (NUMBERS, {"labels": [np.nan] * 20}, "labels must be whole numbers.*got nan"),
    "text columns": (
        pd.DataFrame({"name": ["x"], "day": pd.to_datetime(["2020-01-01"])}),
        {},
        "name.*day",
    ),
    "shapes": (Items(np.zeros(1), np.zeros(2)), {}, r"same shape, got \(1,\), \(2,\); resize"),
    "ragged list": ([[1, 2], [3]], {}, "every row must have the same shape"),
    "objects": (np.array([[1, "a"]], dtype=object), {}, "array of numbers.*type object"),
    "text": (np.array([["1", "2"]]), {}, "array of numbers.*write x.astype"),
    "a name": ("rings", {}, r"got str 'rings'; write a data source, such as bw.data.Toy"),
    "a dictionary": ({"a": [1]}, {}, "rows of numbers, got dict"),
    "a number": (3.0, {}, r"array of numbers, got float of type float64 and shape \(\)"),
    "nothing": (None, {}, "array of numbers, got NoneType"),
    "complex": (torch.zeros(20, 2, dtype=torch.complex64), {}, "real numbers, got torch.complex64"),
    "three parts": (Items((1, 2, 3)), {}, r"x or \(x, label\), got 3 parts"),
    "dictionaries": (Items({"image": 1}), {}, r"x or \(x, label\), got a dictionary"),
    "whitening": (NUMBERS, {"whitening": "zca"}, "none, standard or pca, got 'zca'"),
    "white images": (np.zeros((20, 4, 4)), {"whitening": "standard"}, "needs a table.*write"),
    "split": (NUMBERS, {"split": (0, 1, 0)}, r"split must be.*write split=\(0.8, 0.1, 0.1\)"),
    "small": (NUMBERS[:3], {}, r"got 3 rows.*as in split=\(1, 0, 0\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_cannot_be_used_are_refused_in_one_message(case):
    source, options, message = BAD[case]
    with pytest.raises(ValueError, match=message) as caught:
        of(source, **options)
    assert "\n" not in str(caught.value)


def test_all_problems_are_in_one_message():
    with pytest.raises(ValueError, match=r"first is row 7.*labels must be numbers from 0"):
        of(NAN, [-1] * 20)


def test_other_labels_are_other_data(tmp_path):
    first, second = (of(NUMBERS, np.arange(20) % k) for k in (2, 3))
    assert first.digest != second.digest
    assert first.digest == of(NUMBERS, np.arange(20) % 2).digest
