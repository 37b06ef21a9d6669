r"""Training, scores and files shared by the estimators.

An estimator trains on whitened rows,

.. math:: y = z\, L^\top \mathrm{diag}(s) + b , \qquad
    L L^\top = \mathrm{Cov}[(y - b) / s] + 10^{-6} I ,

with the mean b and the deviations s of the columns y. In these units the mean is 0 and the
covariance I, so that one step size of the kernel fits all columns. The default energy is
:math:`U(z) = f(z) + |z|^2 / 2` with a network f that is 0 at first: training starts at the Gaussian
of maximum likelihood, whose samples and :math:`\log Z` are exact.

The ridge gives a constant column, or one that others determine, a deviation of a thousandth. Values
far from the median of a column with heavy tails enter by their logarithm
(:mod:`boltzwalk.data.tails`), and rows that are equal are not held out from each other.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from .. import api
from ..checkpoint import write_atomically
from ..data.affine import to_model
from ..data.dataset import Dataset
from ..data.repeats import split_table
from ..data.splits import LabelledRows
from ..data.tails import compress, fit_tails
from ..energies import NetworkEnergy
from ..kernels import MALA
from ..method import with_defaults
from ..methods.contrastive import Contrastive
from ..methods.starts import NoiseStart, ReplayStart
from ..model import CHUNK, Model
from ..networks import Multilayer
from ..settings.optimizers import Adam, Schedule
from ..settings.settings import Output

__all__ = [
    "estimator_state",
    "fit_model",
    "load_estimator",
    "new_seed",
    "restore_model",
    "save_estimator",
    "scaled_energies",
    "whitening_of",
]

RIDGE = 1e-6
"""The variance that is added to standardised columns, as in scikit-learn's mixtures."""

STORE = 1000
"""The number of persistent walkers."""

NAME = "estimator.json"
"""The file that makes a run folder that of an estimator."""

FILES = (
    "settings.yaml",
    "environment.yaml",
    "code.yaml",
    "data.safetensors",
    "log.jsonl",
    "trace.jsonl",
    "cost.jsonl",
    "checkpoints/*.safetensors",
)
"""The files of a run folder that an estimator keeps."""

SETTINGS = ("energy", "method")
"""The parameters that are settings or a module instead of plain values."""


def new_seed(random_state: Any) -> int:  # noqa: ANN401
    """Returns a seed for a `random_state` as scikit-learn knows it.

    Arguments:
        random_state: An int, a `numpy.random.RandomState`, or None for that of NumPy.
    """
    return int(check_random_state(random_state).randint(2**31 - 1))


def whitening_of(y: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the shift b, shape (D,), and the matrix :math:`S` of :math:`y = z S + b`, (D, D).

    Arguments:
        y: Rows, float64, shape (N, D).
    """
    shift, deviation = y.mean(0), y.std(0, correction=0)
    deviation = torch.where(deviation > 1e-10 * y.abs().amax(0), deviation, 1.0)
    z = (y - shift) / deviation
    covariance = z.T @ z / len(z) + RIDGE * torch.eye(len(shift), dtype=y.dtype)
    return shift, torch.linalg.cholesky(covariance).T * deviation


def fit_model(estimator: Any, x: np.ndarray, seed: int, held_out: int = 0) -> None:  # noqa: ANN401
    """Trains the energy of an estimator and gives it `seed_`, `model_` and `files_`.

    Arguments:
        estimator: The estimator, with its parameters.
        x: The rows, shape (N, D).
        seed: The seed of everything that is random.
        held_out: The number of rows that are not trained on; they become the validation rows.

    Raises:
        ValueError: If a parameter is out of its range.
        FloatingPointError: If training goes wrong.
        KeyboardInterrupt: If the user stops it.
    """
    data = _dataset(estimator, x, seed, held_out)
    with tempfile.TemporaryDirectory() as scratch:
        model = api.train(
            _energy(estimator),
            data,
            _method(estimator),
            updates=estimator.updates,
            batch=min(estimator.batch_size, len(data.train)),
            out=scratch,
            optimizer=Adam(estimator.learning_rate),
            schedule=Schedule(anneal=0.5),
            average=0.99,
            seed=seed,
            output=Output(
                log_every=max(1, estimator.updates // 20),
                save_every=estimator.updates,
                keep=1,
                pictures=False,
                events=False,
            ),
            quiet=True,
        )
        estimator.files_ = _read_files(Path(scratch))
    estimator.seed_, estimator.model_ = seed, replace(model, folder=None)


def _dataset(estimator: Any, x: np.ndarray, seed: int, held_out: int) -> Dataset:  # noqa: ANN401
    """The whitened rows; only training rows determine the units."""
    relative = (float(len(x) - held_out), float(held_out), 0.0)
    split = split_table(LabelledRows(torch.tensor(x, dtype=torch.float64)), relative, seed)
    parts = [part.x for part in (split.train, split.validation, split.test)]
    if (tails := fit_tails(parts[0])) is not None:
        parts = [compress(part, tails) for part in parts]
    shift, scale = whitening_of(parts[0])
    train, validation, test = (to_model(part, shift, scale).float() for part in parts)
    return Dataset(
        train,
        validation,
        test,
        columns=tuple(map(str, getattr(estimator, "feature_names_in_", ()))),
        shift=shift,
        scale=scale,
        tails=tails,
        source="rows in memory",
        split=relative,
        split_seed=seed,
        repeats="auto",
        validation_copies=split.validation_copies,
        test_copies=split.test_copies,
        notes=(split.note,) if split.note else (),
    )


def _energy(estimator: Any) -> Any:  # noqa: ANN401
    """The energy to train; a module of the user's is copied, since parameters do not change."""
    if isinstance(estimator.energy, nn.Module):
        _require_double(estimator.energy, estimator.n_features_in_)
    if estimator.energy is not None:
        return copy.deepcopy(estimator.energy)
    network = Multilayer(tuple(map(int, estimator.hidden)))
    return NetworkEnergy(network, reference_scale=1.0, zero_start=True)


def _require_double(energy: nn.Module, columns: int) -> None:
    """Raises where a module takes rows in single precision, but not in double."""
    rows = torch.zeros(2, columns, dtype=torch.float32)
    try:
        with torch.no_grad():
            copy.deepcopy(energy).eval()(rows)
    except RuntimeError:
        return  # `train` says why
    try:
        with torch.no_grad():
            copy.deepcopy(energy).eval().double()(rows.double())
    except RuntimeError as error:
        raise ValueError(
            "the energy of an estimator must work in double precision after .double(), got the "
            f"error {str(error).splitlines()[0]}; register its tensors as parameters or buffers"
        ) from error


def _method(estimator: Any) -> Any:  # noqa: ANN401
    """The method that trains: persistent walkers, which start as exact samples."""
    if estimator.method is not None:
        condition = with_defaults(estimator.method).condition
        if not condition.unconditional:
            raise ValueError(
                "an estimator must have a method of p(x), got the condition "
                f"{type(condition).__name__}; write condition=NoCondition()"
            )
        return estimator.method
    size = max(STORE, int(estimator.batch_size))
    start = ReplayStart(size=size, restart_share=0.01, noise=NoiseStart("gaussian"))
    return Contrastive(start, MALA(step_size=estimator.step_size), steps=estimator.steps)


@torch.no_grad()
def scaled_energies(model: Model, x: np.ndarray) -> np.ndarray:
    r"""Returns :math:`U(x) / T` in double precision, shape (N,).

    Single precision would make the score of a row depend on the rows that share its batch.

    Arguments:
        model: The model.
        x: Rows in the units of the data, shape (N, D).

    Raises:
        ValueError: If the model has no density.
    """
    if not model.temperature > 0:
        raise ValueError(
            "scores must have a temperature above 0, got a method of noiseless descent, which has "
            "no density; write method=None"
        )
    energy = copy.deepcopy(model.density_energy()).double()
    rows = model.data.from_original(torch.from_numpy(np.array(x, np.float64)).to(model.device))
    u = torch.cat([energy(part).double() for part in rows.split(CHUNK)])
    scores: np.ndarray = (u / model.temperature).cpu().numpy()
    return scores


def estimator_state(state: dict[str, Any]) -> dict[str, Any]:
    """Returns the state of an estimator to pickle: the files of its run in place of its model.

    Arguments:
        state: The attributes.
    """
    return {key: value for key, value in state.items() if key != "model_"}


def restore_model(estimator: Any) -> None:  # noqa: ANN401
    """Gives an estimator its model again, from the files of its run; does nothing before `fit`.

    Arguments:
        estimator: The estimator.
    """
    if not hasattr(estimator, "files_"):
        return
    with tempfile.TemporaryDirectory() as scratch:
        _write_files(estimator.files_, Path(scratch))
        energy = estimator.energy
        module = copy.deepcopy(energy) if isinstance(energy, nn.Module) else None
        estimator.model_ = replace(api.load(scratch, energy=module), folder=None)


def save_estimator(estimator: Any, folder: str | Path) -> Path:  # noqa: ANN401
    """Writes a run folder with the parameters and results of an estimator, and returns its path.

    Arguments:
        estimator: The fitted estimator.
        folder: The folder; that of a saved estimator is replaced.

    Raises:
        NotFittedError: Before `fit`.
        ValueError: If the folder holds something else.
        OSError: If it cannot be written.
    """
    check_is_fitted(estimator)
    folder = Path(folder)
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / NAME).is_file()):
            raise ValueError(
                f"{folder} must be a saved estimator, an empty folder or none, got something else; "
                "take another folder"
            )
        shutil.rmtree(folder)
    _write_files(estimator.files_, folder)
    parameters = estimator.get_params(deep=False)
    results = {k: v for k, v in vars(estimator).items() if k.endswith("_") and k != "files_"}
    results.pop("model_")
    seed = parameters.get("random_state")
    parameters["random_state"] = seed if isinstance(seed, int | None) else estimator.seed_
    given = {name: _kind(parameters.pop(name)) for name in SETTINGS}
    tree = {
        "estimator": type(estimator).__name__,
        "parameters": {key: _plain(value) for key, value in parameters.items()},
        "given": given,
        "results": {key: _plain(value) for key, value in results.items()},
    }
    write_atomically(folder / NAME, json.dumps(tree, indent=1).encode())
    return folder


def load_estimator(kind: Any, folder: str | Path, energy: nn.Module | None) -> Any:  # noqa: ANN401
    """Returns the estimator that `save_estimator` wrote. No code in the folder is executed.

    Arguments:
        kind: The class of the estimator.
        folder: The folder.
        energy: The module that was trained, where it was given in Python.

    Raises:
        FileNotFoundError: If the folder holds no estimator.
        ValueError: If it holds another one, is damaged, or needs code.
    """
    folder = Path(folder)
    path = folder / NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"a saved estimator must hold {NAME}, got none in {folder}; write it with "
            f"{kind.__name__}.save, or open a run folder with boltzwalk.load"
        )
    tree = _read_tree(path)
    if tree["estimator"] != kind.__name__:
        raise ValueError(
            f"{folder} must hold a {kind.__name__}, got a {tree['estimator']}; write "
            f"{tree['estimator']}.load"
        )
    names = set(kind._get_param_names()) - set(SETTINGS)
    if set(tree["parameters"]) != names:
        raise ValueError(
            f"{path} must hold the parameters {', '.join(sorted(names))}, got "
            f"{', '.join(sorted(tree['parameters']))}; fit the estimator again"
        )
    model = api.load(folder, energy=copy.deepcopy(energy))
    given = {name: _given(tree["given"][name], model, name, energy) for name in SETTINGS}
    lists = {key: tuple(v) if isinstance(v, list) else v for key, v in tree["parameters"].items()}
    estimator = kind(**lists, **given)
    for key, value in tree["results"].items():
        names_in = key == "feature_names_in_"
        setattr(estimator, key, np.array(value, dtype=object) if names_in else value)
    estimator.files_ = _read_files(folder)
    estimator.model_ = replace(model, folder=None)
    return estimator


def _read_tree(path: Path) -> dict[str, Any]:
    """The values of an estimator's file."""
    try:
        tree = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON: {error}; save the estimator again") from error
    keys = {"estimator": str, "parameters": dict, "given": dict, "results": dict}
    if not isinstance(tree, dict) or not all(
        isinstance(tree.get(key), kind) for key, kind in keys.items()
    ):
        raise ValueError(
            f"{path} must hold {', '.join(keys)}, got something else; save the estimator again"
        )
    return tree


def _given(kind: str, model: Model, name: str, energy: nn.Module | None) -> Any:  # noqa: ANN401
    """The parameter `energy` or `method` of a saved estimator."""
    if kind == "none":
        return None
    if kind == "settings":
        return getattr(model.settings, name)
    if energy is not None:
        return energy
    shape, seed = model.data.event_shape, model.settings.seed
    return model.method.condition.build_energy(model.settings.energy, shape, seed, model.data.train)


def _kind(value: Any) -> str:  # noqa: ANN401
    """How a parameter was given."""
    if value is None:
        return "none"
    return "module" if isinstance(value, nn.Module) else "settings"


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A parameter or result as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _read_files(folder: Path) -> dict[str, bytes]:
    """The files of a run folder that an estimator keeps, by their paths."""
    paths = sorted({path for pattern in FILES for path in folder.glob(pattern) if path.is_file()})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _write_files(files: dict[str, bytes], folder: Path) -> None:
    """Writes the files of a run folder."""
    for name, content in files.items():
        write_atomically(folder / name, content)
