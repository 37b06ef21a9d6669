"""Boxes at random: where and how large they are, and which masks are such boxes."""

import pytest
import torch

from boltzwalk.data.masks import are_random_boxes, box_mask, random_boxes


@pytest.mark.parametrize("event", [(1, 8, 8), (3, 16, 9), (1, 2, 3)])
def test_boxes_have_a_quarter_to_a_half_of_every_side(event):
    inside = random_boxes(4000, event, torch.Generator().manual_seed(0))
    assert inside.shape == (4000, *event)
    assert are_random_boxes(inside)
    for axis, side in ((2, event[1]), (3, event[2])):
        along = inside[:, 0].any(4 - axis + 0 if axis == 3 else 2)
        tall = along.sum(1)
        sizes = range(max(1, side // 4), max(1, side // 2) + 1)
        assert sorted(set(tall.tolist())) == list(sizes)
        for size in sizes:
            # All places are as likely: the first pixel of those of one size.
            begin = along[tall == size].int().argmax(1).double()
            places = side - size + 1
            expected, deviation = (places - 1) / 2, ((places**2 - 1) / 12) ** 0.5
            error = deviation / len(begin) ** 0.5
            assert abs(float(begin.mean()) - expected) <= 5 * error + 1e-9
        share = (tall == sizes[0]).double().mean()
        assert abs(float(share) - 1 / len(sizes)) < 5 * (0.25 / 4000) ** 0.5


def test_other_masks_are_no_such_boxes():
    event = (2, 8, 8)
    assert are_random_boxes(box_mask("center", event)[None])
    for text in ("lower", "left", "0,0,1,4", "0,0,4,5"):
        assert not are_random_boxes(box_mask(text, event)[None])
    two = box_mask("0,0,2,2", event) | box_mask("4,4,2,2", event)
    assert not are_random_boxes(two[None])
    uneven = box_mask("center", event)
    uneven[1, 3, 3] = False
    assert not are_random_boxes(uneven[None])
    assert not are_random_boxes(torch.zeros(1, *event, dtype=torch.bool))
    mixed = torch.stack([box_mask("center", event), box_mask("lower", event)])
    assert not are_random_boxes(mixed)
