"""The numbers against torchmetrics and by hand."""

import math

import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from boltzwalk.completion import diversity, masked_error, psnr, ssim


@pytest.fixture
def pair(rng):
    def make(shape):
        truth = torch.rand(shape, generator=rng) * 2 - 1
        return truth + 0.2 * torch.randn(shape, generator=rng), truth

    return make


def test_psnr_is_that_of_torchmetrics(pair):
    x, truth = pair((5, 3, 9, 7))
    ours = psnr(x, truth, 2.0)
    oracle = PeakSignalNoiseRatio(data_range=2.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(ours, oracle(x, truth))
    assert psnr(truth, truth, 2.0).isinf().all()


@pytest.mark.parametrize("shape", [(4, 1, 28, 28), (2, 3, 32, 20), (3, 1, 11, 12)])
def test_ssim_is_that_of_torchmetrics(pair, shape):
    x, truth = pair(shape)
    oracle = StructuralSimilarityIndexMeasure(data_range=2.0, reduction="none")
    torch.testing.assert_close(ssim(x, truth, 2.0), oracle(x, truth))


@pytest.mark.parametrize(("side", "width"), [(10, 9), (8, 7), (6, 5), (4, 3), (2, 1)])
def test_ssim_of_small_images_has_a_smaller_window(pair, side, width):
    x, truth = pair((3, 1, side, side))
    # From the deviation alone torchmetrics makes a window of just this width.
    oracle = StructuralSimilarityIndexMeasure(
        data_range=2.0, reduction="none", sigma=1.5 * width / 11
    )
    torch.testing.assert_close(ssim(x, truth, 2.0), oracle(x, truth))


def test_the_error_is_of_what_is_hidden_alone():
    x = torch.tensor([[1.0, 100.0, 3.0], [5.0, 2.0, 100.0]])
    hidden = torch.tensor([[True, False, True], [False, True, False]])
    assert masked_error(x, torch.zeros(2, 3), hidden).tolist() == [5.0, 4.0]


def test_of_whitened_data_the_error_is_along_the_free_directions(rng):
    scale = torch.tensor([[2.0, 1.0], [0.0, 0.5]])
    hidden = torch.tensor([[True, False]])
    y = torch.tensor([[3.0, 1.0]])
    other = torch.tensor([[7.0, 1.0]])
    x, truth = (torch.linalg.solve(scale, row, left=False) for row in (y, other))
    expected = (x - truth).square().sum(1)
    torch.testing.assert_close(masked_error(x, truth, hidden, scale), expected)


def test_of_exact_draws_the_error_of_one_is_twice_the_diversity(rng):
    x, truth = torch.randn(4000, 5, 3, generator=rng), torch.randn(4000, 3, generator=rng)
    hidden = torch.tensor([[True, True, False]]).expand(4000, 3)
    spread = diversity(x, hidden)
    assert abs(spread.mean() - 1) < 5 * spread.std() / math.sqrt(4000)
    error = masked_error(x[:, 0], truth, hidden)
    assert abs(error.mean() - 2) < 5 * error.std() / math.sqrt(4000)
    with pytest.raises(ValueError, match="two completions or more, got 1"):
        diversity(x[:, :1], hidden)
