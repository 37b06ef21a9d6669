"""The likelihood of rows that equal no training row stands next to that of all."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import boltzwalk as bw
from boltzwalk.data import Dataset
from boltzwalk.evaluation.likelihood import copied_rows, held_out_likelihood, likelihood_section
from boltzwalk.metrics.skewed_mean import skewed_mean
from boltzwalk.rng import generator


class Normal(nn.Module):
    """U = |x|^2 / 2 with its log Z, and a parameter that does nothing."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros((), dtype=torch.float32))
        self.log_z = math.log(2 * math.pi)

    def forward(self, x):
        return x.square().flatten(1).sum(1) / 2 + 0 * self.unused


@pytest.fixture(scope="module")
def repeating():
    """A model of rows of which a fifth repeat, split one by one."""
    rows = np.random.default_rng(0).normal(size=(400, 2))
    rows[320:] = rows[:80]
    data = Dataset.of(rows, split=(0.5, 0.2, 0.3), repeats="anywhere")
    return bw.train(Normal(), data, bw.methods.Contrastive(steps=1), updates=1, quiet=True)


def test_the_likelihood_of_new_rows_is_that_of_scipy(repeating):
    data = repeating.data
    train = {tuple(row) for row in data.train.tolist()}
    new = np.array([row for row in data.test.tolist() if tuple(row) not in train])
    assert 0 < len(new) < len(data.test)
    likelihood = held_out_likelihood(repeating, generator(0, "test", 0))
    assert likelihood.copies == len(data.test) - len(new)
    expected = -stats.norm.logpdf(new).sum(1)
    assert likelihood.new_nll == pytest.approx(expected.mean(), abs=1e-5)
    half = skewed_mean(torch.from_numpy(expected)).half_width
    assert half > 1.96 * expected.std(ddof=1) / math.sqrt(len(new))
    assert likelihood.new_half_width == pytest.approx(half, abs=1e-5)
    every = -stats.norm.logpdf(data.test.numpy()).sum(1)
    assert likelihood.nll == pytest.approx(every.mean(), abs=1e-5)
    names = [measure.name for measure in likelihood_section(likelihood).measures]
    assert names[:2] == ["test -log p", "test -log p, new rows"]


def test_copies_are_told_without_the_marks_of_loading(repeating):
    data = repeating.data
    unmarked = replace(data, validation_copies=None, test_copies=None)
    for split in ("validation", "test"):
        assert torch.equal(copied_rows(unmarked, split), copied_rows(data, split))
    assert not copied_rows(data, "training").any()


def test_without_copies_there_is_no_such_line():
    rows = np.random.default_rng(1).normal(size=(100, 2))
    method = bw.methods.Contrastive(steps=1)
    model = bw.train(Normal(), Dataset.of(rows), method, updates=1, quiet=True)
    likelihood = held_out_likelihood(model, generator(0, "test", 0))
    names = [measure.name for measure in likelihood_section(likelihood).measures]
    assert likelihood.copies == 0
    assert "test -log p, new rows" not in names
