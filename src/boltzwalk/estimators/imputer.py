r"""Missing values, by samples of the energy given the values that are there.

.. math:: h \sim p(h \mid v) \propto e^{-U(h, v) / T}

Rows of `fit` may have gaps too. Training starts from the rows without any and fills the gaps of
the others by samples; each further round trains on all rows and fills the gaps again (Monte Carlo
EM).

Not guaranteed: right values where a gap says something about its own value, such as high incomes
that are left out (missing not at random).

References:
    | A Monte Carlo implementation of the EM algorithm and the poor man's data augmentation
    | algorithms (Wei and Tanner, 1990), https://doi.org/10.1080/01621459.1990.10474930
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data
from torch import nn

from ..completion.inputs import make_inputs
from ..completion.variants import CompletionPlan, Variant, complete_rows
from ..data.frames import require_numbers
from ..model import Model
from ..rng import generator
from .fitting import (
    estimator_state,
    fit_model,
    load_estimator,
    new_seed,
    restore_model,
    save_estimator,
)

__all__ = ["EnergyImputer"]

ROWS_A_COLUMN = 5
"""Rows without gaps for each column from which training may start."""

FLOATS = (np.float64, np.float32)


class EnergyImputer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""A transformer that fills nan by samples given the other values of the row.

    The same rows give the same values each time.

    Arguments:
        draws: The samples of each row. One keeps the spread of the columns; the mean of more is
            nearer to the missing values.
        sample_steps: The kernel steps of the walkers that fill the gaps.
        rounds: The number of trainings where rows of `fit` have gaps.
        hidden: The widths of the hidden layers of the network.
        updates: The number of updates of one training.
        batch_size: The rows of one update, or all where there are fewer.
        learning_rate: The learning rate of Adam; it falls to 0 over the second half.
        steps: The kernel steps of the walkers in one update.
        step_size: The step size :math:`\epsilon` of the kernel, in whitened units.
        energy: A module :math:`(N, D) \to (N,)` of whitened rows, or the settings of one, in place
            of the network; None for the network.
        method: The settings of a method, in place of persistent walkers; None for these.
        random_state: The seed of everything that is random; None takes one from NumPy.

    Attributes:
        model_: The `boltzwalk.Model`.
        seed_: The seed of training and of the samples.
        files_: The files of the run folder by their paths.
        n_features_in_: The number of columns.
        feature_names_in_: The names of the columns of a frame.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 1))
        >>> rows = np.hstack([x, 2 * x])
        >>> imputer = EnergyImputer(hidden=(8,), updates=5, random_state=0).fit(rows)
        >>> bool(abs(imputer.transform([[1.0, np.nan]])[0, 1] - 2) < 0.1)
        True
    """

    def __init__(
        self,
        draws: int = 1,
        sample_steps: int = 100,
        rounds: int = 2,
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
        self.draws = draws
        self.sample_steps = sample_steps
        self.rounds = rounds
        self.hidden = hidden
        self.updates = updates
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.steps = steps
        self.step_size = step_size
        self.energy = energy
        self.method = method
        self.random_state = random_state

    def fit(self, X: Any, y: None = None) -> EnergyImputer:  # noqa: ANN401
        """Trains the energy on rows, which may have gaps.

        Arguments:
            X: The rows, nan where missing, shape (N, D), two at least.
            y: Not used.

        Raises:
            ValueError: If the rows or a parameter cannot be used, or a column is empty.
            FloatingPointError: If training goes wrong.
        """
        for name in ("draws", "sample_steps", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        rows = self._checked(X, reset=True).astype(np.float64)
        empty = np.flatnonzero(np.isnan(rows).all(0)).tolist()
        if empty:
            raise ValueError(
                f"every column must have a known value, got none in the columns {empty}; leave "
                "them out"
            )
        seed, gaps = new_seed(self.random_state), np.isnan(rows).any(1)
        if not gaps.any():
            fit_model(self, rows, seed)
            return self
        enough = (~gaps).sum() >= max(2, ROWS_A_COLUMN * rows.shape[1])
        start = rows[~gaps] if enough else _filled_at_random(rows, seed)
        fit_model(self, start, seed)
        for number in range(1, self.rounds):
            fit_model(self, self._filled(rows, draws=1, number=number), seed)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: ANN401
        """Returns the rows with every nan filled, shape (N, D); other values stay as they are.

        Arguments:
            X: The rows, nan where missing, shape (N, D).

        Raises:
            NotFittedError: Before `fit`.
            ValueError: If the method cannot complete rows.
        """
        check_is_fitted(self)
        return self._filled(self._checked(X, reset=False), self.draws)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:  # noqa: ANN401
        """Returns the names of the columns, which are those of the input, shape (D,).

        Arguments:
            input_features: The names, where a frame gave none; None for x0, x1, ...

        Raises:
            NotFittedError: Before `fit`.
            ValueError: If they are not those of `fit`.
        """
        check_is_fitted(self, "n_features_in_")
        names: np.ndarray = _check_feature_names_in(self, input_features)
        return names

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
    def load(cls, folder: str | Path, energy: nn.Module | None = None) -> EnergyImputer:
        """Returns an estimator that `save` wrote. No code in the folder is executed.

        Arguments:
            folder: The folder.
            energy: The module that was given as the parameter `energy`, where there was one.

        Raises:
            FileNotFoundError: If the folder holds no estimator.
            ValueError: If it holds another one, is damaged, or needs code.
        """
        estimator: EnergyImputer = load_estimator(cls, folder, energy)
        return estimator

    def _checked(self, X: Any, reset: bool) -> np.ndarray:  # noqa: ANN401
        """The rows, with gaps, in single or double precision as they came."""
        require_numbers(X, gaps=True)
        rows: np.ndarray = validate_data(
            self,
            X,
            dtype=FLOATS,
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
            reset=reset,
        )
        return rows

    def _filled(self, rows: np.ndarray, draws: int, number: int = 0) -> np.ndarray:
        """The rows with their gaps filled; number tells the noise of several passes apart."""
        hidden = np.isnan(rows)
        empty, partial = hidden.all(1), hidden.any(1) & ~hidden.all(1)
        result = rows.copy()
        if partial.any():
            rng = generator(self.seed_, "impute", number, self.model_.device)
            values = _completed(self.model_, rows[partial], draws, self.sample_steps, rng)
            result[partial] = np.where(hidden[partial], values, rows[partial])
        if empty.any():
            rng = generator(self.seed_, "impute all", number, self.model_.device)
            result[empty] = _sampled(self.model_, int(empty.sum()), draws, self.sample_steps, rng)
        return result

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return estimator_state(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        restore_model(self)


def _filled_at_random(rows: np.ndarray, seed: int) -> np.ndarray:
    """The rows with each gap filled by a known value of its column."""
    rng, result = np.random.default_rng(seed), rows.copy()
    for column in result.T:
        gaps = np.isnan(column)
        column[gaps] = rng.choice(column[~gaps], int(gaps.sum()))
    return result


def _completed(
    model: Model, rows: np.ndarray, draws: int, steps: int, rng: torch.Generator
) -> np.ndarray:
    """The mean of samples of each row given its known values, in the units of the data."""
    inputs = make_inputs(model.data, torch.from_numpy(rows.astype(np.float64)), None, None)
    variant: Variant = "latent" if model.method.latent else "conditional"
    plan = CompletionPlan(variant=variant, n=draws, steps=steps)
    return _original(model, complete_rows(model, inputs, plan, rng).x)


def _sampled(model: Model, n: int, draws: int, steps: int, rng: torch.Generator) -> np.ndarray:
    """The mean of samples of the model for each of n rows, in the units of the data."""
    x = model.draw(n * draws, rng, steps, from_noise=True).x
    return _original(model, x.unflatten(0, (n, draws)))


def _original(model: Model, x: torch.Tensor) -> np.ndarray:
    """The means over the second axis, in the units of the data, float64."""
    original = model.data.to_original(x.double().flatten(0, 1)).unflatten(0, x.shape[:2])
    rows: np.ndarray = original.mean(1).cpu().numpy()
    return rows
