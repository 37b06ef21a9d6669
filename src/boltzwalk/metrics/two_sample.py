r"""Classifier two-sample test of samples against data.

Equally many rows of both, as labels 1 and 0, are split into two stratified halves. A classifier is
fitted to one half; its accuracy on the other, of n rows each, is 1/2 if both have one distribution.
Given the classifier, the labels of that half are then exchangeable, so if it calls K rows samples
and is right for T of them, T is hypergeometric, and

.. math:: p = P[H \ge T], \quad H \sim \mathrm{Hypergeometric}(2n, n, K)

is exact for any n (Fisher's exact test), where the usual normal approximation is not.

The classifier is a perceptron of one hidden layer of 64 on standardised features. A linear one
compares means alone; trees split along axes and miss correlations; nearest neighbours lose power
with the dimension. A hidden layer detects variances, correlations and separate modes.

Not guaranteed: that a large p means equal distributions: this classifier, with this many rows,
detects no difference. The accuracy rises with the number of rows: compare it at one
number. Rows must be independent: walkers of one chain, or copies of rows, make p too small.

References:
    | Revisiting classifier two-sample tests
    | (Lopez-Paz and Oquab, 2017), https://arxiv.org/abs/1610.06545
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import hypergeom
from torch import Tensor

from .proportions import share_interval
from .rows import check_samples

__all__ = ["TwoSampleTest", "two_sample_test"]

MIN_ROWS = 20
"""The minimum number of rows of either: ten to fit and ten to test."""

FARTHEST = 50.0
"""The largest standardised entry: few rows far away must not drown the others."""

EPOCHS = 30
BATCH = 100


class TwoSampleTest(NamedTuple):
    """Held-out accuracy of a classifier of samples against reference."""

    accuracy: float  # on held-out rows: 0.5 for equal distributions, 1 for disjoint ones
    low: float  # of the 95 % interval of the accuracy of this classifier
    high: float  # of the same
    p_value: float  # of an accuracy as high or higher if both have one distribution
    rows: int  # the number of held-out rows, half of them samples


def two_sample_test(
    samples: Tensor, reference: Tensor, seed: int = 0, max_rows: int = 4000
) -> TwoSampleTest:
    r"""Returns the held-out accuracy of a classifier of samples against reference.

    .. math:: \text{accuracy} = \tfrac{1}{2n} \textstyle\sum_i 1[c(x_i) = 1] + 1[c(y_i) = 0]

    Arguments:
        samples: The samples or their features, shape (N, \*event).
        reference: The reference or its features, shape (M, \*event).
        seed: The seed of the choice of rows and of the classifier.
        max_rows: The maximum number of rows, of both together.

    Raises:
        ValueError: If either has fewer than 20 rows, ``max_rows`` is less than 40, the shapes do
            not match, or one is not finite.

    Example:
        >>> x, y = torch.randn(2, 200, 2, generator=torch.Generator().manual_seed(0))
        >>> two_sample_test(x + 3, y).accuracy > 0.9, two_sample_test(x, y).p_value > 0.05
        (True, True)
    """
    if max_rows < 2 * MIN_ROWS:
        raise ValueError(f"max_rows must be {2 * MIN_ROWS} or more, got {max_rows}")
    pair = check_samples(samples.detach().double(), reference.detach().double(), MIN_ROWS)
    x, y = (rows.cpu().numpy() for rows in pair)
    draw = np.random.default_rng(seed)
    half = min(len(x), len(y), max_rows // 2) // 2
    x, y = (rows[draw.permutation(len(rows))[: 2 * half]] for rows in (x, y))
    guess = _guess(np.concatenate([x[:half], y[:half]]), np.concatenate([x[half:], y[half:]]), draw)
    called, right = int(guess.sum()), int(guess[:half].sum())
    accuracy = (half - called + 2 * right) / (2 * half)
    low, high = share_interval(torch.tensor(accuracy, dtype=torch.float64), 2 * half)
    p_value = float(hypergeom.sf(right - 1, 2 * half, half, called))
    return TwoSampleTest(accuracy, float(low), float(high), p_value, 2 * half)


def _guess(
    fit: np.ndarray, held_out: np.ndarray, draw: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Predicts the held-out rows that are samples; the first half of the rows to fit are."""
    from sklearn.neural_network import MLPClassifier

    centre, spread = _centre_and_spread(np.concatenate([fit, held_out]))
    fit, held_out = (
        np.clip((rows - centre) / spread, -FARTHEST, FARTHEST) for rows in (fit, held_out)
    )
    labels = np.arange(len(fit)) < len(fit) // 2
    network = MLPClassifier(
        (64,),
        alpha=0.1,
        batch_size=min(BATCH, len(fit)),
        learning_rate_init=0.003,
        random_state=int(draw.integers(2**31)),
    )
    for _ in range(EPOCHS):
        network.partial_fit(fit, labels, classes=[False, True])
    called: np.ndarray[tuple[int], np.dtype[np.bool_]] = network.predict(held_out)
    return called


def _centre_and_spread(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centre and the spread of each column of all rows, made without labels.

    They are the mean and the standard deviation. A few rows far away have most of the deviation of
    a column; where it is ten times that of the middle half of the rows, the median and the spread
    of this half take their places. A constant column has an infinite spread, and tells nothing.
    """
    low, centre, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
    middle, spread = (high - low) / 1.349, rows.std(0)
    far = (middle > 0) & (spread > 10 * middle)
    centre, spread = np.where(far, centre, rows.mean(0)), np.where(far, middle, spread)
    constant = spread <= 1e-12 * np.abs(rows).max(0)
    return centre, np.where(constant & ~far, np.inf, spread)
