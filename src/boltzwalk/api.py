"""The front door: train a model from Python, load it, judge it, complete rows with it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from . import references
from .completion.inputs import make_inputs
from .completion.variants import CompletionPlan, complete_rows
from .data.dataset import Dataset
from .data.in_memory import InMemory
from .evaluation.cache import format_lines
from .evaluation.evaluate import SECTIONS, EvaluationPlan, evaluate_sections
from .evaluation.measure import EvaluationSection
from .method import with_defaults
from .model import Model
from .reporting.page import write_report
from .rng import generator
from .settings.given import given_energy
from .settings.optimizers import SGD, Adam, Schedule
from .settings.settings import Output, Settings, resolve_auto
from .training.execute import execute
from .training.progress import shown
from .training.run import open_model, open_run
from .training.signals import stop_on_signal

__all__ = ["Evaluation", "complete", "evaluate", "load", "report", "train"]


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

    The energy learns in place. With `out` the run has a folder like any other, which every command
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
    module, energy_settings = _energy(energy, dataset)
    settings = resolve_auto(
        Settings(
            data=source,
            energy=energy_settings,
            method=_method(method),
            optimizer=optimizer or Adam(1e-3),
            schedule=schedule or Schedule(),
            updates=updates,
            batch=batch or min(64, len(dataset.train)),
            clip_gradient=clip_gradient,
            average=average,
            precision=precision,
            device=device,
            threads=threads,
            seed=seed,
            output=output or Output(pictures=out is not None, events=out is not None),
        )
    )
    if out is not None:
        return _trained(settings, Path(out), dataset, module, quiet)
    with tempfile.TemporaryDirectory() as folder:
        return replace(_trained(settings, Path(folder), dataset, module, quiet), folder=None)


def _trained(
    settings: Settings, folder: Path, dataset: Dataset, module: nn.Module | None, quiet: bool
) -> Model:
    """Trains a run in its folder, or takes it up, and returns its model."""
    rows = dataset.to(settings.device)
    with stop_on_signal() as stop:
        progress = execute(settings, folder, stop, rows, energy=module)
        for _ in progress if quiet else shown(progress, settings, folder.name, quiet):
            pass
    return open_run(folder, settings.device, rows, module).model(folder)


def _dataset(data: Any) -> tuple[Dataset, Any]:  # noqa: ANN401
    """The rows, and the settings that stand for them."""
    if not isinstance(data, Dataset) and callable(getattr(data, "load", None)):
        return data.load(), data
    dataset = data if isinstance(data, Dataset) else Dataset.of(data)
    rows = sum(map(len, (dataset.train, dataset.validation, dataset.test)))
    split = dataset.split or (1.0, 0.0, 0.0)
    return dataset, InMemory(dataset.digest, rows, dataset.whitening, split, dataset.split_seed)


def _energy(energy: Any, dataset: Dataset) -> tuple[nn.Module | None, Any]:  # noqa: ANN401
    """The module that was given, if any, and the settings of the energy."""
    if callable(getattr(energy, "build", None)) and not isinstance(energy, nn.Module):
        return None, energy
    if not isinstance(energy, nn.Module):
        raise ValueError(
            "energy must be a torch.nn.Module x (N, *event) -> (N,), or settings with "
            f"build(event_shape, seed, data), got {type(energy).__name__}; write "
            "bw.energies.NetworkEnergy(...), or a class with nn.Module as its parent"
        )
    check_energy(energy, dataset)
    try:
        reference = references.reference(type(energy))
    except ValueError:
        reference = type(energy).__qualname__
    return energy, given_energy(energy, reference)


def check_energy(energy: nn.Module, dataset: Dataset) -> None:
    """Raises where a module cannot be trained as an energy, with every problem.

    Arguments:
        energy: The module.
        dataset: The data that it is to learn.

    Raises:
        ValueError: For no parameters, parameters of several devices or types, a result of another
            shape, not finite, random, or that depends on the other rows of the batch.
    """
    problems = list(_parameter_problems(energy))
    first = next(energy.parameters(), None)
    if first is not None and not problems:
        problems += _result_problems(energy.eval(), dataset.train[:4].to(first))
    if problems:
        raise ValueError(f"{type(energy).__name__} is no energy: {'; '.join(problems)}")


def _parameter_problems(energy: nn.Module) -> Sequence[str]:
    parameters = list(energy.parameters())
    if not any(p.requires_grad for p in parameters):
        return ["it must have parameters that learn, got none; an energy without them needs no run"]
    problems = []
    devices = sorted({str(p.device) for p in parameters})
    kinds = sorted({str(p.dtype) for p in parameters})
    if len(devices) > 1:
        problems.append(f"its parameters must be on one device, got {', '.join(devices)}")
    if kinds != ["torch.float32"]:
        problems.append(f"its parameters must be float32, got {', '.join(kinds)}; write .float()")
    if not all(bool(p.isfinite().all()) for p in parameters):
        problems.append("its parameters must be finite")
    return problems


def _result_problems(energy: nn.Module, x: Tensor) -> Sequence[str]:
    try:
        with torch.no_grad():
            u, again, alone = energy(x), energy(x), energy(x[:1])
    except RuntimeError as error:
        shape = tuple(x.shape[1:])
        return [f"it must take rows of shape {shape}, got the error {str(error).splitlines()[0]}"]
    if not torch.is_tensor(u) or u.shape != x.shape[:1]:
        got = tuple(u.shape) if torch.is_tensor(u) else type(u).__name__
        return [
            f"its result must have shape (N,) = ({len(x)},), got {got}; end it with .squeeze(-1) "
            "or .sum(-1)"
        ]
    if not bool(u.isfinite().all()):
        return ["its energies of training rows must be finite; scale its input"]
    if not torch.equal(u, again):
        return ["it must be deterministic, got two results for the same rows; remove dropout"]
    if not torch.allclose(u[:1], alone, rtol=1e-3, atol=1e-4):
        return [
            "the energy of a row must not depend on the other rows, got "
            f"{float(u[0]):.6g} and {float(alone[0]):.6g}; use GroupNorm instead of BatchNorm"
        ]
    return []


def _method(method: Any) -> Any:  # noqa: ANN401
    """The settings of a method, checked."""
    from .methods.contrastive import Contrastive

    if method is None:
        return Contrastive()
    if isinstance(method, type):
        raise ValueError(
            f"method must be an instance, got the class {method.__name__}; write "
            f"{method.__name__}()"
        )
    with_defaults(method)
    return method


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
    if rows.digest != model.data.digest:
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
    inputs = make_inputs(model.data, torch.as_tensor(rows).double(), None, None)
    rng = generator(seed, "complete", 0, model.device)
    return complete_rows(model, inputs, plan, rng).original.to(torch.float32)
