import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boltzwalk.data.splits import (
    LabelledRows,
    check_share,
    check_split,
    hold_out,
    split_rows,
    split_sizes,
)

sizes = st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50))


@settings(deadline=None)
@given(n=st.integers(200, 600), relative=sizes, seed=st.integers(0, 2**32))
def test_split_is_disjoint_complete_ordered_and_deterministic(n, relative, seed):
    part = LabelledRows(torch.arange(n), torch.arange(n) * 2)
    parts = split_rows(part, relative, seed)
    rows = torch.cat([p.x for p in parts])
    assert rows.sort().values.tolist() == list(range(n))
    assert all((p.x.diff() > 0).all() for p in parts)
    assert all(torch.equal(p.labels, 2 * p.x) for p in parts)
    again = split_rows(part, relative, seed)
    assert all(torch.equal(p.x, q.x) for p, q in zip(parts, again, strict=True))


@settings(deadline=None)
@given(n=st.integers(200, 5000), relative=sizes)
def test_sizes_are_as_asked_to_one_row(n, relative):
    for size, share in zip(split_sizes(n, relative), relative, strict=True):
        assert abs(size - n * share / sum(relative)) <= 1


def test_sizes_known_answers():
    assert split_sizes(1797, (1200, 297, 300)) == (1200, 297, 300)
    assert split_sizes(1000, (0.8, 0.1, 0.1)) == split_sizes(1000, (8, 1, 1)) == (800, 100, 100)
    assert split_sizes(7, (1, 0, 0)) == (7, 0, 0)


def test_the_split_of_a_seed_stays_the_same_for_ever():
    # A model that was saved must not find its test rows among the training rows of a later version.
    _, validation, test = split_rows(LabelledRows(torch.arange(20)), (0.8, 0.1, 0.1), seed=0)
    assert (validation.x.tolist(), test.x.tolist()) == ([8, 15], [0, 1])


def test_another_seed_is_another_split():
    tests = {
        tuple(split_rows(LabelledRows(torch.arange(50)), (4, 0, 1), s)[2].x.tolist())
        for s in range(5)
    }
    assert len(tests) == 5


def test_hold_out_takes_the_share():
    train, validation = hold_out(LabelledRows(torch.arange(60)), 0.1, seed=0)
    assert (len(train.x), len(validation.x)) == (54, 6)
    assert len(hold_out(LabelledRows(torch.arange(60)), 0, seed=0)[1].x) == 0


@pytest.mark.parametrize(
    "relative", [(0, 1, 1), (1, -1, 0), (1, float("nan"), 0), (float("inf"), 1, 1), (1, 1)]
)
def test_senseless_splits_are_refused(relative):
    with pytest.raises(ValueError, match=r"three relative sizes.*write split=\(0.8, 0.1, 0.1\)"):
        check_split(relative)


def test_a_split_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"got 1 rows.*gives the validation split 0"):
        split_sizes(1, (0.8, 0.1, 0.1))
    with pytest.raises(ValueError, match="gives the train split 0"):
        split_sizes(2, (1, 50, 50))


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_senseless_shares_are_refused(share):
    with pytest.raises(ValueError, match=f"below 1, got {share}"):
        check_share(share)
