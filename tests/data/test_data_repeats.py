"""Equal rows of a table: counted, in one split, and marked where they are not."""

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boltzwalk.data import Dataset, Table, Uci
from boltzwalk.data.repeats import row_groups, split_table
from boltzwalk.data.splits import LabelledRows, split_rows

SHARES = (0.8, 0.1, 0.1)


def rows(n, repeated, seed=0, columns=3):
    """Rows in a random order, some of which repeat another."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n - repeated, columns))
    x = np.concatenate([x, x[rng.integers(0, len(x), repeated)]])
    return x[rng.permutation(n)]


def as_sets(split):
    return [{tuple(row) for row in part.x.tolist()} for part in split[:3]]


@settings(deadline=None, max_examples=60)
@given(
    values=st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.5, -2.0]), st.integers(0, 3))),
)
def test_groups_are_those_of_pandas(values):
    x = np.array(values, dtype=np.float64).reshape(-1, 2)
    groups = row_groups(torch.from_numpy(x)).numpy()
    frame = pandas.DataFrame(x)
    assert len(np.unique(groups)) == len(frame.drop_duplicates())
    if len(x):
        expected = frame.groupby([0, 1]).ngroup().to_numpy()
        pairs = pandas.DataFrame({"one": groups, "other": expected}).drop_duplicates()
        assert pairs["one"].is_unique
        assert pairs["other"].is_unique


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(60, 400),
    repeated=st.integers(0, 25),
    seed=st.integers(0, 2**32),
    relative=st.sampled_from([SHARES, (1, 1, 1), (3, 1, 0), (1, 0, 0)]),
)
def test_equal_rows_are_in_one_split_of_the_size_asked(n, repeated, seed, relative):
    x = torch.from_numpy(rows(n, repeated, seed % 1000))
    split = split_table(LabelledRows(x, torch.arange(n)), relative, seed)
    train, validation, test = as_sets(split)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert not split.validation_copies.any()
    assert not split.test_copies.any()
    every = torch.cat([part.labels for part in split[:3]])
    assert every.sort().values.tolist() == list(range(n))
    assert all((part.labels.diff() > 0).all() for part in split[:3])
    alone = split_rows(LabelledRows(x), relative, seed)
    for part, other in zip(split[:3], alone, strict=True):
        assert abs(len(part.x) - len(other.x)) <= 2
    again = split_table(LabelledRows(x), relative, seed)
    assert all(torch.equal(a.x, b.x) for a, b in zip(split[:3], again[:3], strict=True))


def test_without_repeats_the_split_is_as_before():
    x = LabelledRows(torch.from_numpy(rows(300, 0)))
    for a, b in zip(split_table(x, SHARES, 5)[:3], split_rows(x, SHARES, 5), strict=True):
        assert torch.equal(a.x, b.x)


def test_a_group_goes_to_a_split_with_the_share_of_that_split():
    x = torch.from_numpy(rows(100, 10, seed=2))
    groups = row_groups(x)
    several = torch.isin(groups, (groups.bincount() > 1).nonzero())
    seeds = 400
    in_train = 0.0
    for seed in range(seeds):
        labels = torch.arange(100)
        train = split_table(LabelledRows(x, labels), (0.6, 0.2, 0.2), seed).train.labels
        in_train += float(several[train].double().sum() / several.sum())
    # Ten groups a seed, which share the room of a split: less than binomial scatter.
    assert abs(in_train / seeds - 0.6) < 5 * (0.24 / (10 * seeds)) ** 0.5


def test_repeats_are_counted_as_by_pandas():
    x = rows(1000, 120)
    count = int(pandas.DataFrame(x).duplicated().sum())
    assert count == 120
    split = split_table(LabelledRows(torch.from_numpy(x)), SHARES, 0)
    assert split.note == "120 of 1,000 rows repeat an earlier row: equal rows are in one split"
    split = split_table(LabelledRows(torch.from_numpy(x)), SHARES, 0, "anywhere")
    train, validation, test = (pandas.DataFrame(part.x.numpy()) for part in split[:3])
    for part, marks, name in (
        (validation, split.validation_copies, "validation"),
        (test, split.test_copies, "test"),
    ):
        both = part.merge(train.drop_duplicates(), how="left", indicator=True)
        expected = (both["_merge"] == "both").to_numpy()
        np.testing.assert_array_equal(marks.numpy(), expected)
        assert f"{int(expected.sum())} of {len(part)} {name} rows" in split.note


def test_kinds_are_split_one_by_one_unless_told_otherwise():
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 4, size=(500, 2)).astype(float))
    split = split_table(LabelledRows(x), SHARES, 0)
    assert split.test_copies.all()
    assert "484 of 500 rows repeat an earlier row: as values that recur by chance" in split.note
    together = split_table(LabelledRows(x), SHARES, 0, "together")
    assert not together.test_copies.any()


def test_groups_that_leave_a_split_empty():
    x = torch.zeros(20, 2)
    with pytest.raises(ValueError, match=r"20 rows of which 1 differ.*data\.repeats=anywhere"):
        split_table(LabelledRows(x), SHARES, 0, "together")
    half = torch.cat([torch.zeros(10, 1), torch.ones(10, 1), torch.arange(2.0, 22.0)[:, None]])
    split = split_table(LabelledRows(half), SHARES, 0)
    assert [len(part.x) for part in split[:3]] == [32, 4, 4]


def test_rows_in_one_cell_are_equal_where_values_are_spread_over_it(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 400, size=(300, 2)) * 0.25
    x[::10] = x[1::10] + rng.uniform(-0.1, 0.1, size=(30, 2))
    np.save(tmp_path / "t.npy", np.round(x, 3))
    path = str(tmp_path / "t.npy")
    cells = torch.tensor([0.25, 0.25]).double()
    split = split_table(LabelledRows(torch.from_numpy(x)), SHARES, 0, "auto", cells)
    assert split.note.startswith("30 of 300 rows repeat an earlier row within the step")
    assert not split.test_copies.any()
    assert not Table(path, dequantise=False).load().notes


@pytest.mark.parametrize("kind", ["table", "memory"])
def test_tables_keep_equal_rows_together(kind, tmp_path):
    x = rows(500, 80, seed=4)
    pandas.DataFrame(x, columns=list("abc")).to_csv(tmp_path / "t.csv", index=False)
    path = str(tmp_path / "t.csv")
    data = Table(path).load() if kind == "table" else Dataset.of(x, whitening="standard")
    train = {tuple(row) for row in data.train.tolist()}
    for part in (data.validation, data.test):
        assert not train & {tuple(row) for row in part.tolist()}
    assert data.notes[0].startswith("80 of 500 rows repeat an earlier row")
    assert (len(data.validation), len(data.test)) == (50, 50)


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_published_splits_stay_and_count(real_data, protocol):
    data = Uci("red_wine", real_data, protocol).load()
    assert (len(data.train), len(data.validation), len(data.test)) == (1296, 144, 159)
    assert data.test_copies.any()
    (note,) = data.notes
    assert f"{int(data.test_copies.sum())} of 159 test rows" in note


def test_the_copies_of_the_red_wine(real_data):
    data = Uci("red_wine", real_data).load()
    frame = pandas.read_csv(f"{real_data}/UCI/winequality-red.csv.gz", sep=";")
    values = torch.from_numpy(frame.drop(columns="quality").to_numpy(np.float64))
    parts = split_rows(LabelledRows(values, torch.arange(1599)), (1296, 144, 159), 1)
    train = values[parts[0].labels].numpy()
    exact = [(train == row.numpy()).all(1).any() for row in values[parts[2].labels]]
    # Values in one cell are equal too, so that there are no fewer copies than exact ones.
    assert (data.test_copies.numpy() >= np.array(exact)).all()
    assert (int(data.validation_copies.sum()), int(data.test_copies.sum())) == (43, 30)
