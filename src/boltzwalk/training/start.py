"""A run in memory before its first update, and its parts by their names in a checkpoint."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..base import as_base
from ..checkpoint import flatten, optimizer_tensors
from ..data import Dataset
from ..energy import require_rowwise_energy
from ..method import Method, learned_module, with_defaults
from ..model import Model
from ..rng import generator
from ..settings.settings import Settings
from ..settings.tree import to_tree
from ..walkers import Walkers
from .process import keep_freed_memory

__all__ = ["Run", "content", "fitted", "networks_of", "start"]


@dataclass(frozen=True, eq=False)
class Run:
    """A run in memory. The energy, its average and the optimizer are updated in place.

    Attributes:
        settings: What determines it.
        dataset: The data, or the sample of a run folder, on the device of the run.
        energy: The energy that learns.
        method: How it learns; a network itself where it learns something beside the energy.
        average: The running average of its parameters, if there is one.
        optimizer: The optimizer of its parameters.
        state: The state of the method.
        witness: The witness, if there is one.
        update: How many updates have been done.
        remembered: The values that the guard remembers, as text.
    """

    settings: Settings
    dataset: Dataset
    energy: nn.Module
    method: Method[Any]
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    state: Any  # of the type that the method returns
    witness: Walkers | None
    update: int = 0
    remembered: str = ""

    def model(self, folder: Path | None = None) -> Model:
        """Returns the model, with a sample of the data.

        Arguments:
            folder: The run folder; None for a run that is not kept.
        """
        return self.judged_on(self.dataset.sample(), folder)

    def judged_on(self, data: Dataset, folder: Path | None = None) -> Model:
        """Returns the model with other rows of its data, such as all of them.

        Arguments:
            data: The rows.
            folder: The run folder; None for a run that is not kept.
        """
        module = self.energy if self.average is None else self.average.module
        digest = functools.partial(content, self)
        return Model(
            module, self.method, self.state, data, self.settings, self.update, digest, folder
        )

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint, by dotted name."""
        networks = {
            f"{name}.{key}": tensor
            for name, network in networks_of(self).items()
            for key, tensor in network.state_dict().items()
        }
        averages = optimizer_tensors(self.optimizer, "optimizer")
        walkers = flatten(self.state, "state") | flatten(self.witness, "witness")
        return networks | averages | walkers


def start(
    settings: Settings,
    dataset: Dataset | None = None,
    energy: nn.Module | None = None,
    restoring: bool = False,
) -> Run:
    """Returns a run before its first update, from resolved settings.

    Arguments:
        settings: The settings.
        dataset: Their data on their device, where they were loaded before; None loads them.
        energy: The module that learns, where it was given in Python; None builds it.
        restoring: Whether a checkpoint follows, so that nothing is fitted to the rows.

    Raises:
        ValueError: If the data, the network, the walkers and the batch do not fit each other.
    """
    keep_freed_memory()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    dataset = dataset or settings.data.load().to(settings.device)
    settings, most = fitted(settings, dataset), _rows(dataset)
    if settings.batch > most:
        raise ValueError(
            f"batch must be at most the {most} rows of training data, got {settings.batch}; write "
            f"batch={most}"
        )
    unbuilt = with_defaults(settings.method)
    rows = unbuilt.condition.rows(dataset)
    seed = generator(settings.seed, "method network").initial_seed()
    method = with_defaults(unbuilt.build(dataset.event_shape, seed, rows), built=True)
    if method.base is not None and method.condition.unconditional:
        as_base(method.base)
    method.check_batch(settings.batch)
    network: Any = energy or _network(settings, method, dataset)
    network = network.to(settings.device, dataset.train.dtype)
    require_rowwise_energy(network)
    if hasattr(network, "initialise") and not restoring:
        rng = generator(settings.seed, "initialise", 0, settings.device)
        network.initialise(dataset.dequantised(dataset.train, rng), rng)
    average = None
    if settings.average:
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
        average.requires_grad_(requires_grad=False)
    groups: list[dict[str, Any]] = [{"params": list(network.parameters())}]
    if (module := learned_module(method)) is not None:
        module.to(settings.device, dataset.train.dtype)
        groups += method.parameter_groups()
    rng = generator(settings.seed, "init", 0, settings.device)
    state = method.init(network, rows, rng)
    flatten(state, "state")  # a checkpoint must be able to hold it
    witness = None
    if settings.witness.walkers:
        assert method.kernel is not None
        rng = generator(settings.seed, "witness init", 0, settings.device)
        witness = settings.witness.init(method.kernel, network, dataset.train, rng)
    optimizer = settings.optimizer.build(groups)
    return Run(settings, dataset, network, method, average, optimizer, state, witness)


def fitted(settings: Settings, dataset: Dataset) -> Settings:
    """Returns settings with the rows of a batch that there are, where the energy takes any."""
    any_rows = getattr(settings.energy, "any_rows", False)
    return replace(settings, batch=min(settings.batch, _rows(dataset))) if any_rows else settings


def _rows(dataset: Dataset) -> int:
    """The number of training rows, where a run folder has a sample of them."""
    return len(dataset.train) if dataset.full is None else dataset.full.train


def _network(settings: Settings, method: Method[Any], dataset: Dataset) -> nn.Module:
    """The energy of the settings, with its first parameters."""
    seed = generator(settings.seed, "network").initial_seed()
    shape, rows = dataset.event_shape, dataset.train
    return method.condition.build_energy(settings.energy, shape, seed, rows)


def content(run: Run) -> str:
    """Returns a digest of all that the samples and numbers of a run depend on."""
    free = ("output", "data", "guard")  # the rows count, wherever they lie
    settings = {key: value for key, value in to_tree(run.settings).items() if key not in free}
    state = [settings, run.dataset.digest, run.update]
    digest = hashlib.sha256(json.dumps(state).encode())
    for name, tensor in sorted(run.tensors().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def networks_of(run: Run) -> dict[str, nn.Module]:
    """Returns the networks of a run by the name that they have in a checkpoint."""
    parts = {"energy": run.energy, "average": run.average, "method": learned_module(run.method)}
    return {name: part for name, part in parts.items() if part is not None}
