r"""Outliers: rows of a higher energy than held-out rows have.

The score of a row is :math:`-U(x) / T`, its log density up to a constant. A row is flagged where
its score is below that of all but a share :math:`\alpha` of N rows which training did not use:

.. math:: \text{offset} = s_{(k)} , \qquad k = \lfloor \alpha (N + 1) \rfloor ,

the k-th lowest. An ordinary new row is then flagged with a chance of at most :math:`\alpha`,
whatever its distribution (split conformal prediction).

The rate of one fitted detector scatters around :math:`\alpha`: over held-out rows it has the
distribution :math:`\mathrm{Beta}(k, N + 1 - k)`, whose 95 % interval is `false_alarm_interval_`.

Not guaranteed: the rate where the rows of `fit` hold outliers already.

References:
    | Algorithmic learning in a random world
    | (Vovk et al., 2005), https://doi.org/10.1007/b106715
"""

from __future__ import annotations

import math
import warnings
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from ..data.frames import require_numbers
from ..metrics.anomaly import conformal_threshold
from ..metrics.false_alarms import false_alarms
from .fitting import (
    estimator_state,
    fit_model,
    load_estimator,
    new_seed,
    restore_model,
    save_estimator,
    scaled_energies,
)

__all__ = ["EnergyOutlierDetector"]


class EnergyOutlierDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    r"""A detector of rows that are unlike the training rows, at a chosen rate of false alarms.

    Arguments:
        contamination: The rate :math:`\alpha` at which ordinary new rows may be flagged, in
            (0, 0.5]. With ``held_out=0`` the share of training rows that are flagged, as in
            scikit-learn's own detectors.
        held_out: The share of rows that set the threshold instead of training, in [0, 0.5]; more
            are taken where the rate needs them, at most half.
        hidden: The widths of the hidden layers of the network.
        updates: The number of updates.
        batch_size: The rows of one update, or all where there are fewer.
        learning_rate: The learning rate of Adam; it falls to 0 over the second half.
        steps: The kernel steps of the walkers in one update.
        step_size: The step size :math:`\epsilon` of the kernel, in whitened units.
        energy: A module :math:`(N, D) \to (N,)` of whitened rows, or the settings of one, in place
            of the network; None for the network.
        method: The settings of a method, in place of persistent walkers; None for these.
        random_state: The seed of everything that is random; None takes one from NumPy.

    Attributes:
        offset_: The score below which a row is flagged; -inf where too few rows were held out for
            the rate, so that none is.
        n_held_out_: The number N of rows that set it.
        false_alarm_interval_: The ends of the 95 % interval of the rate at which it flags ordinary
            new rows; (0, 0) where none is flagged, nan with ``held_out=0``.
        model_: The `boltzwalk.Model`.
        seed_: The seed of training.
        files_: The files of the run folder by their paths.
        n_features_in_: The number of columns.
        feature_names_in_: The names of the columns of a frame.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(200, 2))
        >>> detector = EnergyOutlierDetector(hidden=(8,), updates=5, random_state=0).fit(rows)
        >>> detector.predict([[0.0, 0.0], [9.0, -9.0]])
        array([ 1, -1])
    """

    _parameter_constraints = {"contamination": [Interval(Real, 0, 0.5, closed="right")]}  # noqa: RUF012

    def __init__(
        self,
        contamination: float = 0.1,
        held_out: float = 0.2,
        hidden: tuple[int, ...] = (64, 64),
        updates: int = 300,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        steps: int = 10,
        step_size: float = 0.1,
        energy: Any = None,  # noqa: ANN401
        method: Any = None,  # noqa: ANN401
        random_state: Any = None,  # noqa: ANN401
    ) -> None:
        self.contamination = contamination
        self.held_out = held_out
        self.hidden = hidden
        self.updates = updates
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.steps = steps
        self.step_size = step_size
        self.energy = energy
        self.method = method
        self.random_state = random_state

    def fit(self, X: Any, y: None = None) -> EnergyOutlierDetector:  # noqa: ANN401
        """Trains the energy on ordinary rows and sets the threshold.

        Arguments:
            X: The rows, shape (N, D), two at least.
            y: Not used.

        Raises:
            ValueError: If the rows or a parameter cannot be used.
            FloatingPointError: If training goes wrong.
        """
        for name, bottom in (("contamination", "(0"), ("held_out", "[0")):
            value = getattr(self, name)
            if not 0 <= value <= 0.5 or (name == "contamination" and value == 0):
                raise ValueError(f"{name} must be in {bottom}, 0.5], got {value}; 0.1 is usual")
        require_numbers(X)
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        count = self._held_out_count(len(rows))
        fit_model(self, rows, new_seed(self.random_state), count)
        self.n_held_out_ = len(self.model_.data.validation)
        self.offset_, self.false_alarm_interval_ = self._offset(rows)
        return self

    def _held_out_count(self, n: int) -> int:
        """The number of n rows that set the threshold."""
        if self.held_out == 0:
            return 0
        needed = math.ceil(1 / self.contamination - 1e-9) - 1
        return min(max(math.ceil(self.held_out * n), needed), n // 2)

    def _offset(self, rows: np.ndarray) -> tuple[float, tuple[float, float]]:
        """The threshold of scores, and the interval of its rate of false alarms."""
        if self.n_held_out_ == 0:
            offset = float(np.percentile(self._scores(rows), 100 * self.contamination))
            return offset, (math.nan, math.nan)
        data = self.model_.data
        held_out = data.to_original(data.validation.double()).cpu().numpy()
        scores = self._scores(held_out)
        if math.floor((len(scores) + 1) * self.contamination + 1e-9) < 1:
            needed = 2 * (math.ceil(1 / self.contamination - 1e-9) - 1)
            warnings.warn(
                f"a false-alarm rate of {self.contamination} needs {needed} rows, got "
                f"{len(rows)}: no row will be flagged; pass more rows or a higher contamination",
                stacklevel=3,
            )
            return -math.inf, (0.0, 0.0)
        energies = torch.from_numpy(-scores)
        limit = conformal_threshold(energies, self.contamination)
        rate = false_alarms(energies, limit, self.contamination)
        return -limit, (rate.low, rate.high)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """The scores of rows that were checked."""
        return -scaled_energies(self.model_, rows)

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: ANN401
        r"""Returns :math:`-U(x) / T`, shape (N,): the log density up to a constant.

        Arguments:
            X: The rows, shape (N, D).

        Raises:
            NotFittedError: Before `fit`.
        """
        check_is_fitted(self)
        require_numbers(X)
        return self._scores(validate_data(self, X, dtype=np.float64, reset=False))

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: ANN401
        """Returns the score minus the threshold, shape (N,): negative for outliers.

        Arguments:
            X: The rows, shape (N, D).

        Raises:
            NotFittedError: Before `fit`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:  # noqa: ANN401
        """Returns -1 for outliers and 1 for other rows, shape (N,).

        Arguments:
            X: The rows, shape (N, D).

        Raises:
            NotFittedError: Before `fit`.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def save(self, folder: str | Path) -> Path:
        """Writes the estimator as a run folder, without pickle, and returns its path.

        Arguments:
            folder: The folder; that of a saved estimator is replaced.

        Raises:
            NotFittedError: Before `fit`.
            ValueError: If the folder holds something else.
        """
        return save_estimator(self, folder)

    @classmethod
    def load(cls, folder: str | Path, energy: nn.Module | None = None) -> EnergyOutlierDetector:
        """Returns an estimator that `save` wrote. No code in the folder is executed.

        Arguments:
            folder: The folder.
            energy: The module that was given as the parameter `energy`, where there was one.

        Raises:
            FileNotFoundError: If the folder holds no estimator.
            ValueError: If it holds another one, is damaged, or needs code.
        """
        estimator: EnergyOutlierDetector = load_estimator(cls, folder, energy)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        return estimator_state(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        restore_model(self)
