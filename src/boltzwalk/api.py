"""The front door: train a model from Python, load it, judge it, complete rows with it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from . import references
from .completion.inputs import make_inputs
from .completion.variants import CompletionPlan, complete_rows
from .data.affine import require_digits
from .data.dataset import Dataset
from .data.in_memory import InMemory
from .energy import check_energy
from .evaluation.answer import failure_line, final_verdict
from .evaluation.cache import format_lines
from .evaluation.evaluate import SECTIONS, EvaluationPlan, evaluate_sections
from .evaluation.measure import EvaluationSection
from .method import with_defaults
from .methods.contrastive import Contrastive
from .model import Model
from .reporting.page import write_report
from .rng import generator
from .settings.given import GivenEnergy, given_energy
from .settings.optimizers import SGD, Adam, Schedule
from .settings.settings import Output, Settings, resolve_auto
from .settings.tree import from_tree, to_tree
from .training.execute import execute
from .training.progress import shown
from .training.run import open_model, open_run
from .training.signals import stop_on_signal

__all__ = ["Evaluation", "complete", "evaluate", "load", "report", "train"]

T = TypeVar("T")


def train(
    energy: Any,  # noqa: ANN401  # a module, or the settings of one
    data: Any,  # noqa: ANN401  # a Dataset, rows in memory, or a data source
    method: Any = None,  # noqa: ANN401  # any method
    *,
    updates: int = 1000,
    batch: int | None = None,
    out: str | Path | None = None,
    optimizer: Adam | SGD | None = None,
    schedule: Schedule | None = None,
    clip_gradient: float = 0.0,
    average: float = 0.0,
    precision: Literal["fp32", "bf16", "auto"] = "fp32",
    device: str = "auto",
    threads: int = 0,
    seed: int = 0,
    output: Output | None = None,
    quiet: bool = False,
) -> Model:
    r"""Trains an energy and returns the model.

    The energy learns in place. `Model.verdict` says whether training is healthy; one that is nan,
    exploded or collapsed warns. With `out` the run has a folder like any other, which every command
    reads; the same call again resumes an unfinished run bit for bit and returns a finished one.

    Arguments:
        energy: Any `torch.nn.Module` that maps rows, shape (B, \*event), to energies, shape (B,);
            or the settings of a network, such as ``bw.energies.NetworkEnergy(...)``.
        data: A `Dataset`, a data source such as ``bw.data.Toy("rings")``, or rows that
            `Dataset.of` takes.
        method: How the energy learns, such as ``bw.methods.Contrastive(...)``; None for that.
        updates: The number of updates.
        batch: The rows of data of one update; None for 64, or all where there are fewer.
        out: The run folder; None keeps none.
        optimizer: How parameters follow the gradient; None for Adam at 1e-3.
        schedule: The factor on the learning rate.
        clip_gradient: The largest norm of the gradient of all parameters; 0 leaves it.
        average: The decay of the running average of the parameters, which then draws the samples.
        precision: The arithmetic of the networks: "fp32", "bf16" or "auto".
        device: "auto" takes a GPU where there is one.
        threads: The threads of the processor; 0 takes all.
        seed: The seed of everything that is random.
        output: How often the run writes its log, checkpoints and pictures.
        quiet: Whether to show no progress.

    Raises:
        ValueError: With every problem of the arguments, before the first update.
        FloatingPointError: If the loss or its gradient is not finite.
        KeyboardInterrupt: If Ctrl-C or SIGTERM stops it; the run is saved before.
        OSError: If the folder cannot be written.

    Example:
        >>> import boltzwalk as bw
        >>> net = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 1), nn.Flatten(0))
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> model = bw.train(net, x, bw.methods.Contrastive(steps=5), updates=3, quiet=True)
        >>> model.update, model.sample(10).shape, model.energy(x[:4]).shape
        (3, torch.Size([10, 2]), torch.Size([4]))
    """
    dataset, source = _dataset(data)
    _print_reading(dataset, quiet)
    problems: list[str] = []
    method = _checked(problems, lambda: _method(method)) or Contrastive()
    given = _checked(problems, lambda: _energy(energy, dataset, method))
    module, energy_settings = given or (None, GivenEnergy(""))
    batch = _checked(problems, lambda: _batch(batch, dataset))
    settings = _checked(
        problems,
        lambda: _readable(
            Settings(
                data=source,
                energy=energy_settings,
                method=method,
                optimizer=optimizer or Adam(1e-3),
                schedule=schedule or Schedule(),
                updates=updates,
                batch=batch or 1,
                clip_gradient=clip_gradient,
                average=average,
                precision=precision,
                device=device,
                threads=threads,
                seed=seed,
                output=output or Output(pictures=out is not None, events=out is not None),
            )
        ),
    )
    if settings is None or problems:
        raise ValueError("; ".join(problems))
    return _trained(settings, None if out is None else Path(out), dataset, module, quiet)


def _print_reading(dataset: Dataset, quiet: bool) -> None:
    """Prints how a table was read."""
    if dataset.reading is not None and not quiet:
        print("\n".join(dataset.reading.lines()))


def _trained(
    settings: Settings, folder: Path | None, dataset: Dataset, module: nn.Module | None, quiet: bool
) -> Model:
    """Trains a run in its folder, or resumes it, and returns its model."""
    if folder is None:
        with tempfile.TemporaryDirectory() as scratch:
            model = _trained(settings, Path(scratch), dataset, module, quiet)
            return replace(model, folder=None)
    rows = dataset.to(settings.device)
    with stop_on_signal() as stop:
        progress = execute(settings, folder, stop, rows, energy=module)
        for _ in progress if quiet else shown(progress, settings, folder.name, quiet):
            pass
    model = open_run(folder, settings.device, rows, module).model(folder)
    model = _with_verdict(model, folder)
    if stop.asked and model.update < settings.updates:
        raise KeyboardInterrupt(
            f"stopped at update {model.update} of {settings.updates}, saved in {folder}; the same "
            "call with this out=... resumes it"
        )
    return model


def _with_verdict(model: Model, folder: Path) -> Model:
    """The model with the verdict on its training; warns where training gave no model."""
    training = final_verdict(model, folder)
    failure = failure_line(training)
    if failure:
        warnings.warn(failure, RuntimeWarning, stacklevel=4)
    return replace(model, verdict=(training.label, training.reason))


def _dataset(data: Any) -> tuple[Dataset, Any]:  # noqa: ANN401
    """The rows, and the settings that stand for them."""
    known = isinstance(data, Dataset)
    if not known and callable(getattr(data, "load", None)):
        return data.load(), data
    dataset = data if known else Dataset.of(data)
    rows = sum(map(len, (dataset.train, dataset.validation, dataset.test)))
    split = dataset.split or (1.0, 0.0, 0.0)
    return dataset, InMemory(
        dataset.digest,
        rows,
        dataset.whitening,
        split,
        dataset.split_seed,
        repeats=dataset.repeats,
        tails=dataset.heavy_tails,
    )


def _energy(energy: Any, dataset: Dataset, method: Any) -> tuple[nn.Module | None, Any]:  # noqa: ANN401
    """The module that was given, if any, and the settings of the energy."""
    if callable(getattr(energy, "build", None)) and not isinstance(energy, nn.Module | type):
        return None, energy
    if not isinstance(energy, nn.Module):
        got = f"the class {energy.__name__}" if isinstance(energy, type) else type(energy).__name__
        instead = f"{energy.__name__}()" if isinstance(energy, type) else "a class with that parent"
        raise ValueError(
            "energy must be a torch.nn.Module x (N, *event) -> (N,), or settings such as "
            f"bw.energies.NetworkEnergy(...), got {got}; write {instead}"
        )
    if not with_defaults(method).condition.unconditional:
        raise ValueError(
            "the energy of a model with a condition must be settings that take the condition as an "
            "input, got a torch.nn.Module; write bw.energies.NetworkEnergy(...)"
        )
    check_energy(energy, dataset.train[:4])
    try:
        reference = references.reference(type(energy))
    except ValueError:
        reference = type(energy).__qualname__
    return energy, given_energy(energy, reference)


def _method(method: Any) -> Any:  # noqa: ANN401
    """The settings of a method, checked."""
    if method is None:
        return Contrastive()
    name = method.__name__ if isinstance(method, type) else type(method).__name__
    if isinstance(method, type):
        raise ValueError(f"method must be an instance, got the class {name}; write {name}()")
    with_defaults(method)
    if not is_dataclass(method):
        raise ValueError(
            f"method must be a dataclass, whose fields are its settings, got the plain class "
            f"{name}; write @dataclass(frozen=True) above it"
        )
    references.reference(type(method))
    return method


def _batch(batch: int | None, dataset: Dataset) -> int:
    """The rows of data of one update."""
    rows = len(dataset.train)
    if batch is not None and not 1 <= batch <= rows:
        raise ValueError(
            f"batch must be at least 1 and at most the {rows} rows of training data, got {batch}; "
            f"write batch={min(64, rows)}"
        )
    return min(64, rows) if batch is None else batch


def _readable(settings: Settings) -> Settings:
    """The settings of a run, resolved, with which its folder can be read again."""
    tree = to_tree(settings)
    for path, value in _leaves(tree):
        if type(value) not in (bool, int, float, str, type(None)):
            raise ValueError(
                f"{path} must be a number, a text, or a dataclass of such, got {value!r:.80}; "
                "settings are written to a file"
            )
    from_tree(Settings, tree)
    return resolve_auto(settings)


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """The values of a tree with their dotted paths."""
    if isinstance(tree, dict | list):
        parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in parts:
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree


def _checked(problems: list[str], make: Callable[[], T]) -> T | None:
    """The result of a function; None where it refuses, with its reason among the problems."""
    try:
        return make()
    except ValueError as error:
        problems.append(str(error))
        return None


def load(folder: str | Path, energy: nn.Module | None = None, device: str | None = None) -> Model:
    """Loads the model of a run folder, or of one of its checkpoints; needs no training data.

    No code in the folder is executed. A model of a user's module needs that module again, where
    its class is not imported.

    Arguments:
        folder: The run folder, or a checkpoint.
        energy: The module that learnt, with any parameters; None builds it from the settings.
        device: The device; None takes the one it was trained on.

    Raises:
        FileNotFoundError: If there is no run, or nothing was saved.
        ValueError: If the folder is damaged, of a newer version, or needs code.
    """
    given: object = energy
    if given is not None and not isinstance(given, nn.Module):
        name = given.__name__ if isinstance(given, type) else type(given).__name__
        raise ValueError(f"energy must be a torch.nn.Module, got {name}; write energy=MyNet()")
    return open_model(Path(folder), device, energy)


@dataclass(frozen=True)
class Evaluation:
    """The sections of an evaluation by name; it prints as their numbers.

    Attributes:
        sections: The sections.
    """

    sections: dict[str, EvaluationSection]

    def __getitem__(self, name: str) -> EvaluationSection:
        return self.sections[name]

    def __str__(self) -> str:
        texts = (
            f"{name.replace('_', ' ')}\n" + "\n".join(f"  {line}" for line in format_lines(part))
            for name, part in self.sections.items()
        )
        return "\n\n".join(texts)


def evaluate(
    model: Model,
    data: Any = None,  # noqa: ANN401
    *,
    sections: Sequence[str] = SECTIONS,
    samples: int = 10_000,
    seed: int = 0,
) -> Evaluation:
    """Judges a model: its samples, modes, density, anomalies, long chains and likelihood.

    Arguments:
        model: The model.
        data: Its data, as `train` took them; None judges against the rows of its folder.
        sections: The sections.
        samples: The number of samples.
        seed: The seed of all noise.

    Raises:
        ValueError: If a section is unknown, or the data are others.
    """
    rows = model.data if data is None else _dataset(data)[0]
    if not rows.has_digest(model.data.digest):
        raise ValueError("data must be those that the model was trained on, got others")
    plan = EvaluationPlan(samples=samples, sections=tuple(sections), seed=seed)
    judged = replace(model, data=rows.to(model.device))
    with tempfile.TemporaryDirectory() as scratch:
        folder = model.folder or Path(scratch)
        return Evaluation(dict(evaluate_sections(judged, folder, plan)))


def report(model: Model, out: str | Path | None = None) -> Path:
    """Writes the report of a model, one page that needs no network, and returns its path.

    Arguments:
        model: A model with a run folder.
        out: The .html file; None for ``report.html`` in the run folder.

    Raises:
        ValueError: If the model has no run folder.
    """
    if model.folder is None:
        raise ValueError("a report needs a run folder, got a model without one; train with out=...")
    return write_report(model, model.folder, out=None if out is None else Path(out))


def complete(model: Model, rows: Tensor, n: int = 1, steps: int = 0, seed: int = 0) -> Tensor:
    r"""Fills in missing entries of rows, several times each, shape (N, n, \*event).

    Arguments:
        model: The model.
        rows: Rows in the units of the data, shape (N, \*event), nan where missing.
        n: The completions of each row.
        steps: The kernel steps; 0 takes those that the model needs.
        seed: The seed of the noise.

    Raises:
        ValueError: If the model cannot complete such rows.
    """
    variant = "latent" if model.method.latent else "conditional"
    plan = CompletionPlan(variant=cast(Any, variant), n=n, steps=steps)
    rows = rows if isinstance(rows, Tensor) else torch.as_tensor(np.asarray(rows))
    rows = rows if rows.is_floating_point() else rows.double()
    if tuple(rows.shape[1:]) != model.data.event_shape:
        shape = ", ".join(["N", *map(str, model.data.event_shape)])
        raise ValueError(
            f"rows must have shape ({shape}), got {tuple(rows.shape)}; write nan for an entry that "
            "is missing"
        )
    require_digits(rows, model.data.shift, model.data.scale, model.data.columns)
    inputs = make_inputs(model.data, rows.double(), None, None)
    rng = generator(seed, "complete", 0, model.device)
    completed = complete_rows(model, inputs, plan, rng).original
    return completed.to(torch.promote_types(torch.float32, model.data.scale.dtype))
