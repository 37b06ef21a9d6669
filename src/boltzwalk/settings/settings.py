"""The settings of a run, as one value: recipes return it, and a run folder holds it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml

from ..bases.flow_energy import FlowEnergy
from ..bases.stacked import StackedEnergy
from ..data import Cifar10, Digits, FashionMnist, Images, Mnist, Modes, Table, Toy, Uci
from ..data.in_memory import InMemory
from ..energies import NetworkEnergy
from ..energies.learnt_mixture import MixtureEnergy
from ..extension import DATA, ENERGY, METHOD
from ..kernels import require_weighable
from ..method import Method, with_defaults
from ..methods.contrastive import Contrastive
from ..methods.cooperative import Cooperative
from ..methods.generalized import Generalized
from ..methods.jarzynski import Jarzynski
from ..methods.maximum_likelihood import MaximumLikelihood
from ..methods.variational import Variational
from ..smc.witness import Witness
from .former import with_former_values
from .given import GivenEnergy
from .optimizers import SGD, Adam, Schedule
from .outside import MissingCodeError
from .plain_yaml import load_yaml
from .tree import from_tree, to_tree

__all__ = ["Output", "Settings", "carries_weights", "from_yaml", "resolve_auto", "to_yaml"]


@dataclass(frozen=True)
class Output:
    """How often a run writes.

    Arguments:
        log_every: Updates between two rows of the log.
        save_every: Updates between two checkpoints.
        picture_every: Updates between two pictures of samples; 0 draws the last only.
        keep: How many of the newest checkpoints are kept.
        best: Whether to keep the checkpoint whose validation rows are the likeliest as well, and to
            sample and judge from it. The log must have a row at its update, and log Z be known.
        pictures: Whether to draw pictures of samples.
        events: Whether to write TensorBoard events, where it is installed.
    """

    log_every: int = 10
    save_every: int = 500
    picture_every: int = 500
    keep: int = 3
    best: bool = False
    pictures: bool = True
    events: bool = True

    def __post_init__(self) -> None:
        for name, least in {"log_every": 1, "save_every": 1, "picture_every": 0, "keep": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        if self.best and self.save_every % self.log_every:
            raise ValueError(
                "the best checkpoint is found by rows of the log, so save_every must be a multiple "
                f"of log_every, got {self.save_every} and {self.log_every}; write "
                f"output.save_every={self.log_every * -(-self.save_every // self.log_every)}"
            )


@dataclass(frozen=True)
class Settings:
    """A run.

    Arguments:
        data: What is learnt.
        energy: The network that learns it.
        method: How it learns.
        optimizer: How the parameters follow the gradient.
        schedule: The factor on the learning rate.
        updates: The number of updates.
        batch: The rows of data of one update.
        clip_gradient: The largest norm of the gradient of all parameters; 0 leaves it.
        average: The decay of the running average of the parameters, which then draws the samples;
            0 keeps none.
        precision: The arithmetic of the networks; "auto" takes bf16 where the processor has it.
            Positions, noise and energies stay in fp32.
        device: "auto" takes a GPU where there is one.
        threads: The threads of the processor; 0 takes all cores. Resuming bit for bit needs the
            same number.
        seed: The seed of everything that is random.
        witness: Weighted walkers that watch, for a likelihood of held-out rows all along.
        guard: What happens where a run leaves its way: "act" goes back to a proven checkpoint and
            takes a remedy, "watch" only tells, "off" looks at nothing.
        output: How often the run writes.
    """

    data: Annotated[
        Digits
        | Mnist
        | FashionMnist
        | Cifar10
        | Table
        | Images
        | Toy
        | Modes
        | Uci
        | InMemory
        | Any,
        DATA,
    ]
    energy: Annotated[
        NetworkEnergy | MixtureEnergy | FlowEnergy | StackedEnergy | GivenEnergy | Any, ENERGY
    ]
    method: Annotated[
        Contrastive | Jarzynski | Cooperative | Variational | Generalized | MaximumLikelihood | Any,
        METHOD,
    ]
    optimizer: Adam | SGD = field(default_factory=Adam)
    schedule: Schedule = field(default_factory=Schedule)
    updates: int = 1000
    batch: int = 64
    clip_gradient: float = 0.0
    average: float = 0.0
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    device: str = "auto"
    threads: int = 0
    seed: int = 0
    witness: Witness = field(default_factory=Witness)
    guard: Literal["off", "watch", "act"] = "act"
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        for name, least in {"updates": 1, "batch": 1, "clip_gradient": 0, "threads": 0}.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in [0, 2^63), got {self.seed}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be in [0, 1), got {self.average}; 0.999 is usual")
        method = with_defaults(self.method)
        if self.witness.walkers:
            _check_witness(method)


def _check_witness(method: Method[Any]) -> None:
    """Raises where no witness can watch a method."""
    if method.latent:
        raise ValueError(
            "a witness watches the density of an energy in the space of events, and a "
            "generalized model moves latent variables; write witness.walkers=0"
        )
    if method.kernel is None:
        raise ValueError(
            "a witness moves by the kernel of the method, got a method without one; write "
            "witness.walkers=0"
        )
    require_weighable(method.kernel)
    if not method.condition.unconditional:
        raise ValueError(
            f"a witness weighs a model of p(x), got the condition "
            f"{type(method.condition).__name__}; write witness.walkers=0"
        )


def carries_weights(settings: Settings) -> bool:
    """Returns whether walkers of a run carry weights: those that train, or a witness."""
    return with_defaults(settings.method).weighted or settings.witness.walkers > 0


def resolve_auto(settings: Settings) -> Settings:
    """Returns the settings with every "auto" replaced by the best of this machine.

    Raises:
        ValueError: If the device does not exist here.
    """
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        kind = settings.device.partition(":")[0]
        reason = str(error).splitlines()[0].partition(" device type at start")[0]
        remedy = "device=cuda for an NVIDIA GPU, or device=cpu" if kind == "gpu" else "device=cpu"
        raise ValueError(
            f"device must exist here, got {settings.device!r} ({reason[:100]}); write {remedy}; "
            "there are auto, cpu, cuda, cuda:1 and mps"
        ) from error
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if _has_bfloat16(torch.device(name)) else "fp32"
    threads = settings.threads or torch.get_num_threads()
    return replace(settings, device=name, precision=precision, threads=threads)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether bf16 is the faster arithmetic: any recent GPU, a processor with AVX-512 BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def to_yaml(settings: Settings) -> str:
    """Returns the settings as YAML, which `from_yaml` takes back as they are."""
    return yaml.safe_dump(to_tree(settings), sort_keys=False, allow_unicode=True)


def from_yaml(text: str, source: Path | str = "the text") -> Settings:
    """Returns the settings in a YAML text.

    Raises:
        ValueError: If it is no YAML, or holds unknown, missing or wrong settings.
    """
    try:
        tree = load_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{source} must be YAML: {error}") from error
    try:
        return from_tree(Settings, with_former_values(tree))
    except MissingCodeError:
        raise
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
