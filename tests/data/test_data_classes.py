from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boltzwalk.data.splits import LabelledRows, check_classes, integer_ratio, select_classes

NAMES = ("cat", "dog", "eel")


def labelled(*labels):
    return LabelledRows(torch.arange(len(labels)), torch.tensor(labels))


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=40, max_size=200), st.data())
def test_proportions_are_exact_and_the_set_is_the_largest(labels, data):
    units = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    part = labelled(*([0] * 3), *([2] * 3), *labels)
    chosen = select_classes(part, (2, 0), units, "train")
    twos, zeros = (int((chosen.labels == c).sum()) for c in (2, 0))
    assert Fraction(twos, zeros) == Fraction(*units)
    assert set(chosen.labels.tolist()) == {0, 2}
    left = [int((part.labels == c).sum()) - n for c, n in ((2, twos), (0, zeros))]
    smallest = integer_ratio(units)
    assert any(rest < unit for rest, unit in zip(left, smallest, strict=True))


def test_chosen_rows_keep_order_and_labels():
    chosen = select_classes(labelled(2, 0, 1, 2, 0), (2, 0), None, "train")
    assert (chosen.x.tolist(), chosen.labels.tolist()) == ([0, 1, 3, 4], [2, 0, 2, 0])


def test_proportions_belong_to_classes_in_their_order():
    chosen = select_classes(labelled(0, 1, 0, 1, 0, 1), (1, 0), (2, 1), "train")
    assert chosen.labels.tolist().count(1) == 2
    assert chosen.labels.tolist().count(0) == 1


@pytest.mark.parametrize(
    ("proportions", "units"),
    [((4.0, 2.0, 1.0), (4, 2, 1)), ((0.1, 0.2, 0.7), (1, 2, 7)), ((1.5, 1), (3, 2)), ((6,), (1,))],
)
def test_whole_numbers(proportions, units):
    assert integer_ratio(proportions) == units


def test_too_few_rows_for_the_proportions():
    with pytest.raises(ValueError, match=r"validation split must have at least 4:1 rows.*got 3 of"):
        select_classes(labelled(0, 0, 0, 1), (0, 1), (4, 1), "validation")


def test_an_empty_split_stays_empty():
    empty = LabelledRows(torch.zeros(0, 2), torch.zeros(0).long())
    assert select_classes(empty, (0, 1), (4, 1), "test").x.shape == (0, 2)


@pytest.mark.parametrize("classes", [(3,), (-1,), (0, 0), ()])
def test_unknown_classes_are_refused_with_the_known_ones(classes):
    with pytest.raises(ValueError, match=r"choose from 0 \(cat\), 1 \(dog\), 2 \(eel\)"):
        check_classes(classes, None, NAMES)


def test_proportions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got 1 of them, \(4,\), for classes=\(0, 1\)"):
        check_classes((0, 1), (4,), NAMES)
    with pytest.raises(ValueError, match="for classes=None"):
        check_classes(None, (4, 2, 1), NAMES)
    with pytest.raises(ValueError, match=r"above 0, got \(1, 0\)"):
        check_classes((0, 1), (1, 0), NAMES)
