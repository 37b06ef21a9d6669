r"""The contract of a method: how an energy learns from data.

A method is a frozen dataclass; its fields are its settings and the command line. One member is
required:

``step(energy, data, state, rng) -> (loss, state, info)``
    The loss of one update, whose gradient is the update; the next state; and scalars to log.
    ``data`` is a `Batch`: rows ``data.x``, shape (B, \*event), and ``data.labels`` where the
    condition asks for them. Log ``energy_gap``, ``energy_data`` and ``energy_walkers`` where they
    exist: the verdict of a run reads them.

All other members of `Method` have the defaults that `DEFAULTS` lists. A method without walkers
needs no kernel and no steps. A method that has networks is a dataclass whose ``build`` returns an
`nn.Module` with the same members; its parameters learn with those of the energy.

`with_defaults` checks a method and fills in its defaults: everything outside of the methods
themselves reads that.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from .base import Base
from .condition import Condition, NoCondition
from .data.rows import Batch
from .energy import Energy
from .kernel import Kernel, kernel_problems, takes
from .walkers import Walkers, walkers_at

__all__ = [
    "DEFAULTS",
    "Batch",
    "Method",
    "can_sample",
    "learned_module",
    "require_fields",
    "with_defaults",
]

State = TypeVar("State")


class Method(Protocol[State]):
    r"""How an energy learns. Only `step` is required.

    Members that are values are fields or properties; the state is a tensor, a (nested) frozen
    dataclass or tuple of tensors, or None, so that a checkpoint can hold it.
    """

    def step(
        self, energy: nn.Module, data: Batch, state: State, rng: torch.Generator
    ) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Returns the loss of one update, the next state and scalars to log. Required."""

    def build(self, event_shape: tuple[int, ...], seed: int, data: Batch) -> Method[State]:
        """Returns the method ready to train. Default: itself."""

    def init(self, energy: Energy, data: Batch, rng: torch.Generator) -> State:
        """Returns the state before the first update, from all training rows. Default: None."""

    def sample(
        self,
        energy: Energy,
        data: Batch,
        state: State,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
        c: Tensor | None = None,
    ) -> Walkers:
        """Draws n samples of the model.

        Default: `steps` steps of `kernel` from Gaussian noise with the mean and deviation of the
        data; an error without a kernel.
        """

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Returns groups for the optimizer beside the energy. Default: the module's parameters."""

    def check_batch(self, batch: int) -> None:
        """Raises ValueError where the settings do not fit a batch size. Default: nothing."""

    def gradients(self, batch: int) -> int:
        """Returns the input gradients of the energy in one update. Default: 0."""

    def max_samples(self, state: State) -> int | None:
        """Returns how many samples the state can give; None, the default, for any number."""

    def weighted_walkers(self, energy: Energy, state: State) -> Walkers | None:
        """Returns all weighted walkers of the state. Default: None, no walker has a weight."""

    def density_energy(self, energy: nn.Module) -> nn.Module:
        r"""Returns U with :math:`p = e^{-U / T} / Z`. Default: the energy that learns."""

    def relative_energy(self, energy: nn.Module) -> Energy:
        """Returns the energy relative to the base. Default: the energy that learns."""

    def log_z(self, energy: nn.Module) -> float | None:
        r"""Returns :math:`\log Z` where it is known exactly. Default: ``energy.log_z``, or None."""

    def trajectory(
        self, energy: nn.Module, n: int, steps: Sequence[int], rng: torch.Generator
    ) -> Iterator[Walkers]:
        """Yields n samples after each number of kernel steps; only of methods that are latent."""

    @property
    def kernel(self) -> Kernel | None:
        """How walkers move. Default: None."""

    @property
    def steps(self) -> int:
        """The kernel steps of an update, and of a sample. Default: 0."""

    @property
    def walkers(self) -> int:
        """The walkers of an update; 0, the default, for as many as the batch has rows."""

    @property
    def temperature(self) -> float:
        """The temperature T of the density. Default: that of the kernel; 1 without one."""

    @property
    def condition(self) -> Condition:
        """The condition. Default: `NoCondition`."""

    @property
    def base(self) -> Base | None:
        """The network that proposes. Default: None."""

    @property
    def noise_start(self) -> Any:  # noqa: ANN401
        """The start of chains from noise, if training has one. Default: None."""

    @property
    def from_noise(self) -> bool:
        """Whether every chain of training starts from noise. Default: False."""

    @property
    def latent(self) -> bool:
        """Whether walkers are latent variables of the base. Default: False."""

    @property
    def relative(self) -> bool:
        """Whether the energy that learns is relative to the base. Default: False."""

    @property
    def inverse_temperature(self) -> float:
        """The factor of the energy when samples are drawn. Default: 1."""

    @property
    def weighted(self) -> bool:
        """Whether walkers carry log-weights. Default: False."""

    @property
    def decoder_std(self) -> float:
        """The deviation of an entry around the decoded one. Default: 0.3, as published."""


def with_defaults(method: object, built: bool = False) -> Method[Any]:
    """Returns a method with all members of the contract, its defaults filled in.

    Arguments:
        method: A method, with `step` at least; or its settings, with `build` at least.
        built: Whether the method comes from `build`: `step` must be there then.

    Raises:
        ValueError: If both `step` and `build` are missing, `step` takes other arguments, or a
            member has the wrong kind.

    Example:
        >>> class Mine:
        ...     def step(self, energy, data, state, rng):
        ...         return energy(data.x).mean(), None, {}
        >>> method = with_defaults(Mine())
        >>> method.steps, method.temperature, method.gradients(64)
        (0, 1.0, 0)
    """
    problems = _problems(method, built)
    if problems:
        raise ValueError(
            f"{type(method).__name__} is no method: {'; '.join(problems)}; see boltzwalk.method"
        )
    if all(hasattr(method, name) for name in DEFAULTS):
        return cast("Method[Any]", method)
    return cast("Method[Any]", _WithDefaults(method))


class _WithDefaults(Generic[State]):
    """A method whose missing members are those of `DEFAULTS`."""

    def __init__(self, method: object) -> None:
        self.method = method

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        method = self.__dict__.get("method")
        if name not in DEFAULTS or hasattr(method, name):
            return getattr(method, name)
        default = DEFAULTS[name]
        if isinstance(default, property):
            return cast("Callable[[Any], Any]", default.fget)(self)
        return default.__get__(self) if inspect.isfunction(default) else default


def require_fields(
    settings: object, least: Mapping[str, float], positive: Sequence[str] = ()
) -> None:
    """Raises where fields of settings are too small.

    Arguments:
        settings: A dataclass.
        least: The smallest value of each field.
        positive: The fields that must be above 0.

    Raises:
        ValueError: With all fields that are too small, or nan.
    """
    bad = [
        f"{name} must be >= {low}, got {getattr(settings, name)}"
        for name, low in least.items()
        if not getattr(settings, name) >= low
    ]
    bad += [
        f"{name} must be > 0, got {getattr(settings, name)}"
        for name in positive
        if not getattr(settings, name) > 0
    ]
    if bad:
        raise ValueError("; ".join(bad))


def can_sample(method: Method[Any]) -> bool:
    """Returns whether a method draws samples: by its function `sample`, or by kernel and steps.

    Arguments:
        method: A method, as `with_defaults` returns it.
    """
    inner = method.method if isinstance(method, _WithDefaults) else method
    return hasattr(inner, "sample") or (method.kernel is not None and method.steps > 0)


def learned_module(method: Method[Any]) -> nn.Module | None:
    """Returns the networks that a method learns beside the energy, as one module; None of none.

    Arguments:
        method: A method, as `with_defaults` returns it.
    """
    module = method.method if isinstance(method, _WithDefaults) else method
    return module if isinstance(module, nn.Module) else None


@functools.lru_cache
def _contract_arguments(name: str) -> tuple[str, ...]:
    """The names of the arguments of a member of the contract."""
    return tuple(inspect.signature(getattr(Method, name)).parameters)[1:]


def _problems(method: object, built: bool) -> list[str]:
    """The ways in which a value breaks the contract."""
    signature = "step(energy, data, state, rng) -> (loss, state, info)"
    step, problems = getattr(method, "step", None), []
    if not callable(step):
        if built or not callable(getattr(method, "build", None)):
            return [f"it must have {signature}, got none"]
    elif not takes(step, 4):
        problems.append(f"it must have {signature}, got step{inspect.signature(step)}")
    for name, default in DEFAULTS.items():
        member = getattr(method, name, None)
        if not inspect.isfunction(default) or member is None:
            continue
        arguments = _contract_arguments(name)
        if not callable(member):
            got = repr(member)
        elif not takes(member, len([a for a in arguments if a != "c"])):
            got = f"{name}{inspect.signature(member)}"
        else:
            continue
        problems.append(f"{name} must be a function {name}({', '.join(arguments)}), got {got}")
    return problems + kernel_problems(getattr(method, "kernel", None))


def _build(self: Any, event_shape: tuple[int, ...], seed: int, data: Batch) -> Any:  # noqa: ANN401
    return self.method


def _init(self: Any, energy: Energy, data: Batch, rng: torch.Generator) -> None:  # noqa: ANN401
    return None


def _sample(
    self: Any,  # noqa: ANN401
    energy: Energy,
    data: Batch,
    state: Any,  # noqa: ANN401
    n: int,
    rng: torch.Generator,
    steps: int = 0,
    from_noise: bool = False,
    c: Tensor | None = None,
) -> Walkers:
    steps = steps or self.steps
    if self.kernel is None or steps < 1:
        name = type(self.method).__name__
        raise ValueError(
            f"{name} must have a kernel and steps to draw samples, got kernel={self.kernel!r} and "
            f"steps={steps}; add the fields kernel and steps to {name}, or a method sample(energy, "
            "data, state, n, rng, steps, from_noise)"
        )
    x = data.x
    noise = torch.randn((n, *x.shape[1:]), generator=rng, device=rng.device, dtype=x.dtype).to(x)
    walkers = walkers_at(energy, x.mean(0) + x.std(0) * noise)
    for _ in range(steps):
        walkers, _info = self.kernel.step(energy, walkers, rng)
    return walkers


def _parameter_groups(self: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    return [{"params": list(self.method.parameters())}]


def _check_batch(self: Any, batch: int) -> None:  # noqa: ANN401
    return None


def _gradients(self: Any, batch: int) -> int:  # noqa: ANN401
    return 0


def _nothing(self: Any, *arguments: Any) -> None:  # noqa: ANN401
    return None


def _trajectory(
    self: Any,  # noqa: ANN401
    energy: nn.Module,
    n: int,
    steps: Sequence[int],
    rng: torch.Generator,
) -> Iterator[Walkers]:
    raise ValueError(f"{type(self.method).__name__} moves no latent variables of a base")


def _same_energy(self: Any, energy: nn.Module) -> nn.Module:  # noqa: ANN401
    return energy


def _log_z(self: Any, energy: nn.Module) -> float | None:  # noqa: ANN401
    known = getattr(energy, "log_z", None)
    return None if known is None else float(known)


def _temperature(self: Any) -> float:  # noqa: ANN401
    return 1.0 if self.kernel is None else float(self.kernel.temperature)


DEFAULTS: dict[str, Any] = {
    "build": _build,
    "init": _init,
    "sample": _sample,
    "parameter_groups": _parameter_groups,
    "check_batch": _check_batch,
    "gradients": _gradients,
    "max_samples": _nothing,
    "weighted_walkers": _nothing,
    "density_energy": _same_energy,
    "relative_energy": _same_energy,
    "log_z": _log_z,
    "trajectory": _trajectory,
    "kernel": None,
    "steps": 0,
    "walkers": 0,
    "temperature": property(_temperature),
    "condition": NoCondition(),
    "base": None,
    "noise_start": None,
    "from_noise": False,
    "latent": False,
    "relative": False,
    "inverse_temperature": 1.0,
    "weighted": False,
    "decoder_std": 0.3,
}
"""The members that a method need not have, with their defaults."""
