r"""The density of a table.

.. math:: \log p(x) = -U(x) / T - \log Z - \log |\partial x / \partial z|

with the energy U of whitened rows z. Annealing estimates :math:`\log Z` once, in `fit`; its 95 %
interval is that of every score, which shares the error.

Not guaranteed: a density where the columns have none. A column of few values, or one that others
determine, gets the density that training arrives at, which more updates make higher.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from ..data.frames import require_numbers
from ..rng import generator
from ..smc.from_samples import Effort
from ..smc.log_z import Annealing
from .fitting import (
    estimator_state,
    fit_model,
    load_estimator,
    new_seed,
    restore_model,
    save_estimator,
    scaled_energies,
)

__all__ = ["EnergyDensity"]

EFFORT = Effort(samples=512, steps=20, annealing=Annealing(walkers=256))
"""The work of an estimate of log Z; rows are white, so that short chains are enough."""

LONG = 200
"""Kernel steps between samples that the same stored walkers give."""


class EnergyDensity(DensityMixin, BaseEstimator):  # type: ignore[misc]
    r"""The density of the rows of a table, by an energy and its log Z.

    Arguments:
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
        model_: The `boltzwalk.Model`, whose samples and energies are in the units of the rows.
        log_z_: log Z of the energy of whitened rows; nan where it is refused.
        log_z_interval_: The ends of its 95 % interval; nan where it is refused.
        log_z_refusal_: The reason why there is no log Z; "" where there is one.
        seed_: The seed of training.
        files_: The files of the run folder by their paths.
        n_features_in_: The number of columns.
        feature_names_in_: The names of the columns of a frame.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(200, 2))
        >>> density = EnergyDensity(hidden=(8,), updates=5, random_state=0).fit(rows)
        >>> density.score_samples(rows).shape, density.sample(3, random_state=1).shape
        ((200,), (3, 2))
        >>> low, high = density.log_z_interval_
        >>> bool(low < np.log(2 * np.pi) < high)  # log Z of the standard normal
        True
    """

    def __init__(
        self,
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
        self.hidden = hidden
        self.updates = updates
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.steps = steps
        self.step_size = step_size
        self.energy = energy
        self.method = method
        self.random_state = random_state

    def fit(self, X: Any, y: None = None) -> EnergyDensity:  # noqa: ANN401
        """Trains the energy on rows and estimates log Z; warns where this is refused.

        Arguments:
            X: The rows, shape (N, D), two at least.
            y: Not used.

        Raises:
            ValueError: If the rows or a parameter cannot be used.
            FloatingPointError: If training goes wrong.
        """
        require_numbers(X)
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        fit_model(self, rows, new_seed(self.random_state))
        rng = generator(self.seed_, "likelihood", 0, self.model_.device)
        log_z = self.model_.estimate_log_z(rng, EFFORT)
        self.log_z_ = log_z.estimate
        self.log_z_interval_ = (log_z.low, log_z.high)
        self.log_z_refusal_ = log_z.refusal
        if log_z.refusal:
            warnings.warn(
                f"there is no log Z, so that score_samples will raise: {log_z.refusal}",
                stacklevel=2,
            )
        return self

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: ANN401
        """Returns log p of rows in nats and the units of X, shape (N,).

        Arguments:
            X: The rows, shape (N, D).

        Raises:
            NotFittedError: Before `fit`.
            ValueError: If log Z was refused; the message has the reason.
        """
        check_is_fitted(self)
        require_numbers(X)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        if self.log_z_refusal_ or not math.isfinite(self.log_z_):
            raise ValueError(f"log p must have a log Z, got none: {self.log_z_refusal_}")
        data = self.model_.data
        x = data.from_original(torch.from_numpy(np.array(rows)))
        jacobian = data.log_jacobian(x.to(data.train.device)).cpu().numpy()
        log_p: np.ndarray = -scaled_energies(self.model_, rows) - self.log_z_ - jacobian
        return log_p

    def score(self, X: Any, y: None = None) -> float:  # noqa: ANN401
        """Returns the sum of log p of rows, as scikit-learn's `KernelDensity` does.

        Arguments:
            X: The rows, shape (N, D).
            y: Not used.

        Raises:
            NotFittedError: Before `fit`.
            ValueError: If log Z was refused.
        """
        return float(self.score_samples(X).sum())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:  # noqa: ANN401
        """Draws rows, shape (n_samples, D).

        Arguments:
            n_samples: The number of rows.
            random_state: The seed of the noise; None takes one from NumPy.

        Raises:
            NotFittedError: Before `fit`.
            ValueError: If n_samples is below 1.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"n_samples must be >= 1, got {n_samples}")
        model, seed = self.model_, new_seed(random_state)
        block = model.available(n_samples)
        steps = 0 if block == n_samples else LONG
        sizes = [min(block, n_samples - first) for first in range(0, n_samples, block)]
        rngs = (generator(seed, "sample", i, model.device) for i in range(len(sizes)))
        parts = [model.draw(n, rng, steps).x for n, rng in zip(sizes, rngs, strict=True)]
        rows: np.ndarray = model.data.to_original(torch.cat(parts).double()).cpu().numpy()
        return rows

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
    def load(cls, folder: str | Path, energy: nn.Module | None = None) -> EnergyDensity:
        """Returns an estimator that `save` wrote. No code in the folder is executed.

        Arguments:
            folder: The folder.
            energy: The module that was given as the parameter `energy`, where there was one.

        Raises:
            FileNotFoundError: If the folder holds no estimator.
            ValueError: If it holds another one, is damaged, or needs code.
        """
        estimator: EnergyDensity = load_estimator(cls, folder, energy)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        return estimator_state(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        restore_model(self)
