"""A run in memory: from settings, or from what a checkpoint kept of it."""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data import Dataset
from ..energies.conditional import given
from ..energies.energy import refuse_coupled_layers
from ..kernels import run as run_chain
from ..methods.condition import Unconditional, build_energy, condition_of
from ..methods.generalized import Generalized
from ..methods.revision import parts
from ..replay import Replay
from ..rng import generator
from ..walkers import Walkers
from . import folder as run_folder
from .checkpoint import (
    flatten,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
    unflatten,
)
from .process import keep_freed_memory
from .settings import Settings, carries_weights, from_yaml, resolve, to_yaml
from .tree import differences, to_tree

__all__ = [
    "Run",
    "available",
    "content",
    "draw",
    "known_log_z",
    "move",
    "moves_latents",
    "open_run",
    "own_energy",
    "proposals",
    "refuse_conditions",
    "restore",
    "restore_newest",
    "save",
    "start",
    "weighted_walkers",
]


@dataclass(frozen=True, eq=False)
class Run:
    """A run in memory. The energy, its average and the optimizer are updated in place.

    Attributes:
        settings: What determines it.
        dataset: The data, on the device of the run.
        energy: The energy that learns.
        method: How it learns; a network itself where it learns something beside the energy.
        average: The running average of its parameters, if there is one.
        optimizer: The optimizer of its parameters.
        state: The state of the method.
        witness: The walkers that watch, if there are any.
        fingerprint: The digest of the data, which tells whether they have changed.
        update: How many updates have been done.
    """

    settings: Settings
    dataset: Dataset
    energy: nn.Module
    method: Any  # each has a type of its own
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    state: Any  # each method has a type of its own
    witness: Walkers | None
    fingerprint: str
    update: int = 0

    @property
    def model(self) -> nn.Module:
        """The energy that draws samples: the running average where there is one."""
        return self.energy if self.average is None else self.average.module

    def tensors(self) -> dict[str, Tensor]:
        """Returns all that a checkpoint holds, by dotted name."""
        networks = {
            f"{name}.{key}": tensor
            for name, network in _networks(self).items()
            for key, tensor in network.state_dict().items()
        }
        averages = optimizer_tensors(self.optimizer, "optimizer")
        walkers = flatten(self.state, "state") | flatten(self.witness, "witness")
        return networks | averages | walkers


def start(settings: Settings, dataset: Dataset | None = None) -> Run:
    """Returns a run before its first update, from resolved settings.

    Arguments:
        settings: The settings.
        dataset: Their data on their device, where they were loaded before; None loads them.

    Raises:
        ValueError: If the data, the network, the walkers and the batch do not fit each other.
    """
    keep_freed_memory()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    dataset = dataset or settings.data.load().to(settings.device)
    if settings.batch > len(dataset.train):
        raise ValueError(
            f"batch must be at most the {len(dataset.train)} rows of training data, "
            f"got {settings.batch}; write batch={len(dataset.train)}"
        )
    rows: Any = condition_of(settings.method).rows(dataset)  # each method takes its own
    method: Any = settings.method.build(
        dataset.event_shape, generator(settings.seed, "method network").initial_seed(), rows
    )
    weights = generator(settings.seed, "network").initial_seed()
    energy = build_energy(
        condition_of(method), settings.energy, dataset.event_shape, weights, dataset.train
    ).to(settings.device, dataset.train.dtype)
    refuse_coupled_layers(energy)
    average = None
    if settings.average:
        average = AveragedModel(energy, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
        average.requires_grad_(requires_grad=False)
    rng = generator(settings.seed, "init", 0, settings.device)
    groups: list[dict[str, Any]] = [{"params": list(energy.parameters())}]
    learns = isinstance(method, nn.Module)
    if learns:
        method.to(settings.device, dataset.train.dtype)
        groups += method.groups()
    state = method.init(energy, rows, rng)
    needed = getattr(settings.method, "walkers", 0) or settings.batch
    if isinstance(state, Replay) and len(state) < needed:
        raise ValueError(
            f"start.size must be at least the {needed} walkers of one update, got {len(state)}; "
            f"write start.size={needed} or more"
        )
    witness = None
    if settings.witness.walkers:
        rng = generator(settings.seed, "witness init", 0, settings.device)
        witness = settings.witness.init(settings.method.kernel, energy, dataset.train, rng)
    optimizer = settings.optimizer.build(groups)
    digest = _digest(dataset)
    return Run(settings, dataset, energy, method, average, optimizer, state, witness, digest)


def save(run: Run, path: Path) -> None:
    """Writes a checkpoint.

    Raises:
        FloatingPointError: If anything in it is not finite.
        OSError: If it cannot be written.
    """
    text = {
        "settings": to_yaml(run.settings),
        "update": str(run.update),
        "data": run.fingerprint,
    }
    save_checkpoint(path, run.tensors(), text)


def restore(run: Run, path: Path) -> Run:
    """Returns the run as a checkpoint of it left it.

    Raises:
        ValueError: If the checkpoint is damaged, or was written by a run with another network,
            another start of the walkers or other data.
    """
    tensors, text = load_checkpoint(path)
    if not {"settings", "update", "data"} <= text.keys():
        raise ValueError(f"{path} must be a checkpoint of boltzwalk; its header has no settings")
    theirs, ours = (_what_is_kept(s) for s in (from_yaml(text["settings"], path), run.settings))
    if run.witness is None:  # which may leave at any time, but not come in
        theirs["witness"] = ours["witness"]
        if not carries_weights(run.settings):
            theirs["temperature"] = None
    changed = differences(theirs, ours)
    if changed:
        raise ValueError(
            f"{path} was written by a run with other settings ({'; '.join(changed[:4])})"
        )
    if text["data"] != run.fingerprint:
        raise ValueError(
            f"the data are not those that {path} was trained on; put the old file back, or train "
            "the new one under another --name"
        )
    for name, network in _networks(run).items():
        names = [key for key in tensors if key.startswith(f"{name}.")]
        try:
            network.load_state_dict({k.removeprefix(f"{name}."): tensors[k] for k in names})
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold this network: {error}") from error
    load_optimizer(run.optimizer, tensors, "optimizer")
    return replace(
        run,
        state=unflatten(run.state, tensors, "state"),
        witness=unflatten(run.witness, tensors, "witness"),
        update=int(text["update"]),
    )


def restore_newest(fresh: Run, candidates: list[Path]) -> Run:
    """Returns the run at the newest checkpoint that is whole; warns of those that are not.

    Raises:
        ValueError: If none is whole.
    """
    problem = ValueError("there is no checkpoint")
    for path in candidates:
        try:
            found = restore(fresh, path)
        except ValueError as error:
            problem = error
            continue
        if path != candidates[0]:
            warnings.warn(f"{candidates[0]} is damaged, went back to {path}", stacklevel=2)
        return found
    raise problem


def open_run(path: Path, device: str | None = None, dataset: Dataset | None = None) -> Run:
    """Returns the run of a folder, as it was saved last or best, or of one of its checkpoints.

    Arguments:
        path: A run folder, or a checkpoint file.
        device: Where to put it; None takes the device it was trained on.
        dataset: Its data on that device, where they were loaded before; None loads them.

    Raises:
        FileNotFoundError: If there is no run, or nothing was saved yet.
        ValueError: If no checkpoint can be read, or the device does not exist here.
    """
    if path.is_file():
        _, text = load_checkpoint(path)
        settings, candidates = from_yaml(text.get("settings", ""), path), [path]
    else:
        settings, candidates = run_folder.read_settings(path), run_folder.checkpoints(path)
        best = run_folder.best_checkpoint(path) if settings.output.best else None
        candidates.sort(key=lambda candidate: candidate != best)  # the others stay in their order
    if not candidates:
        raise FileNotFoundError(
            f"{path} holds no checkpoint yet; `boltzwalk resume {path}` goes on"
        )
    here = resolve(replace(settings, device=device or settings.device))
    return restore_newest(start(here, dataset), candidates)


def draw(
    run: Run,
    n: int,
    rng: torch.Generator,
    steps: int = 0,
    from_noise: bool = False,
    c: Tensor | None = None,
) -> Walkers:
    """Draws samples the way the run was trained: from the same start, by the same kernel.

    Arguments:
        run: The run.
        n: How many.
        rng: The source of the noise.
        steps: The number of kernel steps; 0 takes those of training.
        from_noise: Whether to leave the walkers that were kept alone and start from noise.
        c: One condition for each sample; None draws them in the proportions of the training data,
            where something is given.

    Raises:
        ValueError: If there are fewer walkers in the store.
    """
    own = () if c is None else (c,)
    rows = condition_of(run.method).rows(run.dataset)
    with _arithmetic(run):
        found: Walkers = run.method.sample(
            run.model, rows, run.state, n, rng, steps, from_noise, *own
        )
    return found


@torch.no_grad()
def proposals(run: Run, n: int, rng: torch.Generator, c: Tensor | None = None) -> Tensor | None:
    """Draws what a network proposes before any walker moves; None where none does.

    With a generator in the same state the first thousand are those that `draw` revises.

    Arguments:
        run: The run.
        n: How many.
        rng: The source of the latent noise.
        c: One condition for each, as `draw` takes them.
    """
    base = getattr(run.method, "base", None)
    if base is None:
        return None
    condition: Any = condition_of(run.method)
    c = condition.drawn(condition.rows(run.dataset), n, rng) if c is None else c
    with _arithmetic(run):
        each = ((given(base, part), size) for size, part in parts(n, c))
        return torch.cat([own.decode(own.latents(size, rng)) for own, size in each]).float()


def refuse_conditions(run: Run, what: str) -> None:
    """Raises where the energy of a run is given something.

    Arguments:
        run: The run.
        what: What needs an energy of x alone, for the message.

    Raises:
        ValueError: If it is.
    """
    condition = condition_of(run.method)
    if not isinstance(condition, Unconditional):
        raise ValueError(
            f"{what} must have a model of p(x), got one that is given {type(condition).__name__}: "
            "its energies hold for one condition each, and differ between them by an unknown "
            "constant; train it with condition=Unconditional"
        )


def move(run: Run, walkers: Walkers, steps: int, rng: torch.Generator) -> Walkers:
    """Moves walkers on by the kernel and in the arithmetic that the run was trained with.

    Arguments:
        run: The run.
        walkers: Where they start, evaluated by its model.
        steps: The number of kernel steps.
        rng: The source of the noise.

    Raises:
        ValueError: If the walkers of the run are latent variables, which events do not tell.
    """
    if moves_latents(run):
        raise ValueError(
            "walkers of a generalized model are latent variables of its base, and events do not "
            "tell them; draw samples with more steps instead"
        )
    kernel = run.settings.method.kernel
    with _arithmetic(run):
        return run_chain(kernel, run.model, walkers, steps, rng, diagnose=False)[0]


def own_energy(run: Run) -> nn.Module:
    r"""Returns the energy of the model itself, whose density is :math:`e^{-U / T} / Z`.

    That is the energy that draws samples, but where a method learns it relative to a base.

    Arguments:
        run: The run.

    Raises:
        ValueError: If the model has no density, since its base has none.
    """
    shift = getattr(run.method, "own_energy", None)
    found: nn.Module = run.model if shift is None else shift(run.model)
    return found


def known_log_z(run: Run) -> float | None:
    r"""Returns :math:`\log Z` of the model itself where it is known exactly; None where it is not.

    Arguments:
        run: The run.
    """
    known, method = getattr(run.model, "log_z", None), run.settings.method
    if isinstance(method, Generalized) and (method.relative or method.floor is not None):
        return None  # that of exp(-E), which is not the model
    return None if known is None else float(known)


def moves_latents(run: Run) -> bool:
    """Returns whether the walkers of a run are latent variables of its base.

    Arguments:
        run: The run.
    """
    return isinstance(run.settings.method, Generalized)


def weighted_walkers(run: Run) -> Walkers | None:
    """Returns all the weighted walkers of a run, for its model; None where they have no weights."""
    with _arithmetic(run):
        found: Walkers | None = run.method.population(run.model, run.state)
    return found


def available(run: Run, n: int) -> int:
    """Returns n, or the number of walkers that the run keeps where it can draw no more than these.

    Arguments:
        run: The run.
        n: How many samples are wanted.
    """
    return min(n, len(run.state)) if isinstance(run.state, Sized) else n


def content(run: Run) -> str:
    """Returns a digest of all that the samples and numbers of a run depend on.

    Arguments:
        run: The run.
    """
    kept = {key: value for key, value in to_tree(run.settings).items() if key != "output"}
    digest = hashlib.sha256(json.dumps([kept, run.fingerprint, run.update]).encode())
    for name, tensor in sorted(run.tensors().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _networks(run: Run) -> dict[str, nn.Module]:
    """The networks of a run by the name that they have in a checkpoint."""
    parts = {"energy": run.energy, "average": run.average, "method": run.method}
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def _arithmetic(run: Run) -> torch.autocast:
    """The precision of the run, for as long as its networks work."""
    kind = torch.device(run.settings.device).type
    return torch.autocast(kind, torch.bfloat16, enabled=run.settings.precision == "bf16")


def _what_is_kept(settings: Settings) -> dict[str, Any]:
    """The settings that give the tensors of a checkpoint their meaning."""
    tree = to_tree(settings)
    return {
        "energy": tree["energy"],
        "method": tree["method"]["kind"],
        "networks": {
            k: tree["method"].get(k)
            for k in ("start", "generator", "vae", "condition", "base", "relative")
        },
        "witness": {key: tree["witness"][key] for key in ("walkers", "replicates")},
        "temperature": settings.method.kernel.temperature if carries_weights(settings) else None,
        "optimizer": tree["optimizer"]["kind"],
        "average": bool(tree["average"]),
    }


@functools.lru_cache(maxsize=4)  # the same object is the same data: they are immutable
def _digest(dataset: Dataset) -> str:
    """A digest of the training rows and of what turns them into original units."""
    digest = hashlib.sha256()
    for tensor in (dataset.train, dataset.shift, dataset.scale):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
