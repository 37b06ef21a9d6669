import pytest
import torch

from boltzwalk.data.images import image_dataset, scale_grey_levels
from boltzwalk.data.splits import LabelledRows


def every_level(levels, dequantise):
    grey = torch.arange(levels, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    part = LabelledRows(grey.repeat(1, 1, 20, 20))
    return image_dataset(
        (part, part, part), levels=levels, dequantise=dequantise, seed=0, source="test"
    )


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_levels_without_dequantisation_reach_both_bounds(levels):
    data = every_level(levels, False)
    assert (data.train.min(), data.train.max()) == (data.low, data.high) == (-1, 1)
    assert data.quantum == 0
    assert torch.equal(data.batch(levels, torch.Generator()).unique(), data.train.unique())


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_cells_fill_the_range_and_do_not_overlap(levels):
    data = every_level(levels, True)
    for x in (data.validation, data.test, data.dequantised(data.train, torch.Generator())):
        assert x.min() >= data.low
        assert x.max() <= data.high
        # In original units every pixel is within half a level of its own: cells are disjoint.
        off = data.to_original(x) - data.to_original(data.train).round()
        assert -0.5001 < off.min() < -0.49
        assert 0.49 < off.max() < 0.5001
    edges = data.train[:, 0, 0, 0].diff()
    assert torch.allclose(edges, torch.tensor(2 / levels))
    assert data.quantum == pytest.approx(2 / levels)


@pytest.mark.parametrize("dequantise", [False, True])
def test_original_units_are_grey_levels(dequantise):
    data = every_level(256, dequantise)
    grey = data.to_original(data.train)[:, 0, 0, 0]
    assert torch.allclose(grey, torch.arange(256.0), atol=1e-4)


def test_grey_levels_stay_as_they_were():
    grey = torch.tensor([3, 7], dtype=torch.uint8)
    scale_grey_levels(grey, 256, True)
    assert grey.tolist() == [3, 7]
    already = torch.tensor([3.0, 7.0])
    scale_grey_levels(already, 256, True)
    assert already.tolist() == [3.0, 7.0]
