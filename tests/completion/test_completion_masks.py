"""What is hidden, as a user says it."""

import numpy as np
import pytest
import torch
from PIL import Image

from boltzwalk.completion.inputs import parse_mask

EVENT = (3, 8, 6)


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("lower", slice(4, 8), slice(0, 6)),
        ("upper", slice(0, 4), slice(0, 6)),
        ("left", slice(0, 8), slice(0, 3)),
        ("right", slice(0, 8), slice(3, 6)),
        ("center", slice(2, 6), slice(1, 4)),
        ("1, 2,3,4", slice(1, 4), slice(2, 6)),
    ],
)
def test_a_part_of_an_image(text, rows, columns):
    expected = torch.zeros(2, *EVENT, dtype=torch.bool)
    expected[:, :, rows, columns] = True
    assert torch.equal(parse_mask(text, EVENT, 2, ()), expected)


def test_an_odd_image_is_hidden_but_for_its_smaller_half():
    assert parse_mask("lower", (1, 5, 5), 1, ()).sum() == 15
    assert parse_mask("upper", (1, 5, 5), 1, ()).sum() == 10


def test_columns_of_a_table_by_name():
    assert parse_mask("b, c", (3,), 2, ("a", "b", "c")).int().tolist() == [[0, 1, 1]] * 2
    assert parse_mask("column1", (3,), 1, ()).int().tolist() == [[0, 1, 0]]


def test_masks_from_files(tmp_path):
    drawn = np.zeros((8, 6), np.uint8)
    drawn[1, 2] = 1
    Image.fromarray(drawn).save(tmp_path / "m.png")
    np.save(tmp_path / "m.npy", drawn)
    for name in ("m.png", "m.npy"):
        hidden = parse_mask(str(tmp_path / name), EVENT, 4, ())
        assert hidden.nonzero().tolist() == [[i, c, 1, 2] for i in range(4) for c in range(3)]
    each = np.zeros((2, 8, 6), bool)
    each[0, 0, 0] = each[1, 7, 5] = True
    np.save(tmp_path / "each.npy", each)
    hidden = parse_mask(str(tmp_path / "each.npy"), EVENT, 2, ())
    assert hidden[:, 1].nonzero().tolist() == [[0, 0, 0], [1, 7, 5]]
    np.save(tmp_path / "rows.npy", np.array([[1, 0], [0, 1]]))
    hidden = parse_mask(str(tmp_path / "rows.npy"), (2,), 2, ())
    assert hidden.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bottom", "one of lower, upper"),
        ("1,2,3", "a box top,left,height,width"),
        ("1,2,-3,4", "a box top,left,height,width"),
        ("4,0,5,6", "must lie within images of 8x6"),
        ("0,5,1,2", "must lie within images of 8x6"),
        ("0,0,8,6", "leave something visible in every row, got row 0"),
        ("0,0,0,6", "got one that hides nothing"),
    ],
)
def test_a_mask_that_means_nothing_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_mask(text, EVENT, 2, ())


def test_other_masks_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must name its columns \(a, b\).*got 'lower'"):
        parse_mask("lower", (2,), 1, ("a", "b"))
    with pytest.raises(FileNotFoundError, match="there must be a mask"):
        parse_mask(str(tmp_path / "no.npy"), EVENT, 1, ())
    np.save(tmp_path / "m.npy", np.ones((6, 8)))
    with pytest.raises(ValueError, match=r"mask of shape \(8, 6\) or \(5, 8, 6\)"):
        parse_mask(str(tmp_path / "m.npy"), EVENT, 5, ())
