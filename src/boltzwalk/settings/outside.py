"""A user's classes and functions as settings: `FILE.py:Name`, or `package.module:Name`.

A setting that is open takes a class from outside of boltzwalk under its reference. A frozen
dataclass with the members of the contract is taken as it is: its fields are the settings. Any other
class, or a function, is a factory: its arguments are the settings, and its result is an energy, a
base or a data set. An argument ``event_shape`` is filled in.

Nothing is imported here: a reference is looked up among the modules that are already imported. A
factory is called with arguments from a file, so it must be a `torch.nn.Module` or a function of a
file of the user. Functions of Python, of installed packages and of boltzwalk are refused, whatever
their name there, so that no settings file can run them.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .. import references
from ..data.dataset import Dataset
from ..extension import CONDITION, DATA, KERNEL, METHOD, Open

__all__ = ["MissingCodeError", "outside_schema"]


class MissingCodeError(ValueError):
    """A file names a class whose module is not imported.

    Attributes:
        reference: The reference of the class.
    """

    def __init__(self, reference: str, message: str) -> None:
        super().__init__(message)
        self.reference = reference


def outside_schema(reference: str, role: Open, path: str) -> type:
    """Returns the dataclass whose fields are the settings of a user's class or function.

    Arguments:
        reference: The reference, such as ``my_models.py:MyNet``.
        role: The kind of value that the setting takes.
        path: The dotted path of the setting, for messages.

    Raises:
        MissingCodeError: If its module is not imported.
        ValueError: If the class lacks a member of its contract.
    """
    try:
        target = references.resolve(reference)
    except LookupError as error:
        raise MissingCodeError(
            reference, f"{path}={reference} is code of yours ({error})"
        ) from error
    if not callable(target):
        raise ValueError(f"{path}={reference} must be a class or a function, got {target!r}")
    return _schema(target, reference, role, path)


@functools.cache
def _schema(target: Callable[..., Any], reference: str, role: Open, path: str) -> type:
    members = (role.member, "build") if role is METHOD else (role.member,)
    if isinstance(target, type) and any(callable(getattr(target, m, None)) for m in members):
        if not dataclasses.is_dataclass(target):
            raise ValueError(
                f"{path}={reference} must be a dataclass, whose fields are its settings, got a "
                "plain class; write @dataclass(frozen=True) above it"
            )
        return target
    is_network = isinstance(target, type) and issubclass(target, nn.Module)
    if role in (METHOD, KERNEL, CONDITION) or (dataclasses.is_dataclass(target) and not is_network):
        raise ValueError(
            f"{path}={reference} must be {role.role} with {role.signature}, got a class without "
            f"{role.member}; add the method"
        )
    _require_safe_factory(target, f"{path}={reference}", role)
    return _factory_settings(target, reference, role)


def _require_safe_factory(target: Callable[..., Any], name: str, role: Open) -> None:
    """Raises for a factory that a file must not call, such as ``os:system``."""
    module = str(getattr(target, "__module__", ""))
    package = module.partition(".")[0]
    is_network = isinstance(target, type) and issubclass(target, nn.Module)
    if role is not DATA and is_network and (package != "torch" or module.startswith("torch.nn.")):
        return
    file = references.file_of(target)
    if package == "boltzwalk" or file is None or references.is_installed(file):
        raise ValueError(
            f"{name} must be a class or a function of a file of yours, got one of {module}; a "
            "settings file may call no other: write a function of your own that calls it"
        )


def _factory_settings(target: Callable[..., Any], reference: str, role: Open) -> type:
    """A dataclass of the arguments of a factory, with the member that calls it."""
    fields: list[Any] = []
    hints = _hints(target)
    arguments = inspect.signature(target).parameters.values()
    for argument in arguments:
        if argument.name == "event_shape" or argument.kind in (
            argument.VAR_POSITIONAL,
            argument.VAR_KEYWORD,
        ):
            continue
        default = argument.default
        missing = default is argument.empty
        declared = hints.get(argument.name, Any if missing or default is None else type(default))
        if missing:
            fields.append((argument.name, declared))
        else:
            make = functools.partial(_value, default)
            fields.append((argument.name, declared, dataclasses.field(default_factory=make)))
    fields.sort(key=len)  # fields without defaults come first
    shaped = any(argument.name == "event_shape" for argument in arguments)
    member = _load if role is DATA else _build
    namespace = {
        role.member: functools.partialmethod(member, target, shaped),
        "__reference__": reference,
    }
    name = getattr(target, "__name__", "Settings")
    return dataclasses.make_dataclass(name, fields, frozen=True, namespace=namespace)


def _value(default: Any) -> Any:  # noqa: ANN401
    return default


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The declared types of the arguments of a class or function, where they can be read."""
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}


def _arguments(settings: Any) -> dict[str, Any]:  # noqa: ANN401
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}


def _build(
    settings: Any,  # noqa: ANN401
    target: Callable[..., Any],
    shaped: bool,
    event_shape: tuple[int, ...],
    seed: int,
    data: Any = None,  # noqa: ANN401
) -> nn.Module:
    """Calls a factory of networks; the same seed gives the same parameters."""
    arguments = _arguments(settings) | ({"event_shape": event_shape} if shaped else {})
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = target(**arguments)
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"{settings.__reference__} must return a torch.nn.Module, got {type(network).__name__}"
        )
    return network


def _load(settings: Any, target: Callable[..., Any], shaped: bool) -> Dataset:  # noqa: ANN401
    """Calls a factory of data; arrays and tensors become a data set."""
    result = target(**_arguments(settings))
    return result if isinstance(result, Dataset) else Dataset.of(result)
