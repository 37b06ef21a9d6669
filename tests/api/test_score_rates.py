"""Scores of a model: the interval of their rate of false alarms, and the rows that set it."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import boltzwalk as bw
from boltzwalk.data import Dataset
from boltzwalk.settings.settings import Output


class Quadratic(nn.Module):
    """U = |x|^2 / 2, with a parameter that does nothing."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x.square().flatten(1).sum(1) / 2 + 0 * self.unused


def model_of(split, best=False, n=300):
    data = Dataset.of(np.random.default_rng(0).normal(size=(n, 2)), split=split)
    output = Output(best=best, pictures=False, events=False)
    method = bw.methods.Contrastive(steps=1)
    return bw.train(Quadratic(), data, method, updates=1, quiet=True, output=output)


def test_a_model_states_the_interval_and_the_rows():
    model = model_of((0.5, 0.2, 0.3))
    scores = model.score(model.sample(10), false_alarm=0.1)
    assert scores.reference == "150 held-out rows"
    assert scores.false_alarms[:2] == (0.1, 150)
    assert scores.false_alarms[2:] == pytest.approx(stats.beta(15, 136).ppf((0.025, 0.975)))
    assert "10 % of ordinary rows asked; with 150 held-out rows" in str(scores.false_alarms)


def test_training_rows_in_their_place_are_said_to_be_too_low():
    scores = model_of((1, 0, 0)).score(torch.zeros(1, 2))
    assert "training rows, as none were held out, whose energies are too low" in scores.reference


def test_rows_that_chose_the_checkpoint_set_no_threshold_where_others_are_enough():
    model = model_of((0.5, 0.2, 0.3), best=True)
    rows, name = model.reference_rows(0.05)
    assert name == "90 test rows"
    assert torch.equal(rows, model.data.test)
    assert model.reference_rows(0.01)[1] == "150 held-out rows, 60 of which chose the checkpoint"
    assert model_of((0.5, 0.5, 0), best=True).reference_rows(0.05)[1].startswith("150 held-out")
