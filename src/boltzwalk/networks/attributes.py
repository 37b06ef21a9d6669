"""Attributes of a network as plain values for JSON and YAML, and back, without running code.

Plain values stand for themselves. A value of any other type is a dictionary with one key, the name
of its type: `{"tuple": [3, 3]}`, `{"dtype": "float32"}`, `{"function": "torch:tanh"}`. Functions,
classes and dataclasses are written by reference and come back only from modules that are already
imported. Not described: arbitrary objects, tensors, sets, subclasses of the plain types.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..references import file_of, is_installed, reference, resolve

__all__ = [
    "decode_dtype",
    "decode_value",
    "encode_value",
    "integers",
    "module_class",
    "module_class_reference",
]

DTYPES: dict[str, torch.dtype] = {
    str(value).removeprefix("torch."): value
    for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}
"""The types of numbers by name."""

ROOMS = tuple(f"boltzwalk.{room}." for room in ("networks", "energies", "bases"))
"""The rooms of this package whose functions a network may hold."""

FORBIDDEN = ("from_file",)
"""Built-in functions of torch that read or write files."""


def encode_value(value: Any, owner: type[nn.Module]) -> Any:  # noqa: ANN401
    """Returns the value of an attribute as plain values.

    Arguments:
        value: None, a bool, int, float or str; a tuple, list or dict of such; a `torch.Size`,
            `torch.dtype` or `torch.device`; a function, an `nn.Module` class or a dataclass.
        owner: The class that has the attribute; its package may have functions of its own.

    Raises:
        ValueError: If it is anything else; the message says what to write instead.

    Example:
        >>> encode_value((3, [torch.float32]), nn.Linear)
        {'tuple': [3, [{'dtype': 'float32'}]]}
        >>> encode_value(nn.functional.relu, nn.Linear)
        {'function': 'torch.nn.functional:relu'}
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind is list:
        return [encode_value(item, owner) for item in value]
    if kind is tuple:
        return {"tuple": [encode_value(item, owner) for item in value]}
    if kind is dict:
        pairs = value.items()
        return {"dict": [[encode_value(k, owner), encode_value(v, owner)] for k, v in pairs]}
    if kind is torch.Size:
        return {"size": list(value)}
    if kind is torch.dtype:
        return {"dtype": str(value).removeprefix("torch.")}
    if kind is torch.device:
        return {"device": str(value)}
    if isinstance(value, FunctionType | BuiltinFunctionType):
        return {"function": _function_reference(value, owner)}
    if isinstance(value, type):
        return {"class": module_class_reference(value)}
    if dataclasses.is_dataclass(value):
        return {"dataclass": _encode_dataclass(value, owner)}
    raise ValueError(_unsupported(value))


def decode_value(tree: Any, owner: type[nn.Module]) -> Any:  # noqa: ANN401
    """Returns the value of plain values.

    Arguments:
        tree: The plain values, as `encode_value` returns them.
        owner: The class that has the attribute; its package may name functions of its own.

    Raises:
        ValueError: If they stand for nothing that may be in a file.
        LookupError: If they refer to a module that is not imported.

    Example:
        >>> decode_value({"tuple": [3, [{"dtype": "float32"}]]}, nn.Linear)
        (3, [torch.float32])
    """
    if tree is None or type(tree) in (bool, int, float, str):
        return tree
    if type(tree) is list:
        return [decode_value(item, owner) for item in tree]
    decoders: dict[str, Callable[[Any], Any]] = {
        "float": _decode_float,
        "tuple": lambda items: tuple(decode_value(_checked(items, list), owner)),
        "dict": lambda pairs: _decode_dict(pairs, owner),
        "size": lambda sizes: torch.Size(integers(sizes)),
        "dtype": decode_dtype,
        "device": _decode_device,
        "function": lambda ref: _function(_checked(ref, str), owner),
        "class": lambda ref: module_class(_checked(ref, str)),
        "dataclass": lambda fields: _decode_dataclass(_checked(fields, dict), owner),
    }
    if type(tree) is dict and len(tree) == 1 and set(tree) <= set(decoders):
        [(kind, content)] = tree.items()
        return decoders[kind](content)
    raise ValueError(
        f"an attribute must be a plain value or one of {', '.join(decoders)}, got {tree!r:.80}"
    )


def module_class_reference(cls: type) -> str:
    """Returns the reference of a class of modules.

    Raises:
        ValueError: If it is no class of modules, or a file could not refer to it.

    Example:
        >>> module_class_reference(nn.Linear)
        'torch.nn.modules.linear:Linear'
    """
    ref = reference(cls)
    _require_module_class(ref, cls)
    return ref


def module_class(ref: str) -> type[nn.Module]:
    """Returns the class of modules with a reference: of `torch.nn`, or of an imported module.

    Raises:
        ValueError: If the reference is to anything else.
        LookupError: If its module is not imported.

    Example:
        >>> module_class("torch.nn.modules.linear:Linear")
        <class 'torch.nn.modules.linear.Linear'>
    """
    return _require_module_class(ref, _resolve(ref))


def integers(tree: Any) -> list[int]:  # noqa: ANN401
    """Returns a list of sizes, if it is one.

    Raises:
        ValueError: If it is not.
    """
    sizes: list[int] = _checked(tree, list)
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError(f"a shape must be a list of integers >= 0, got {tree!r:.80}")
    return sizes


def decode_dtype(name: Any) -> torch.dtype:  # noqa: ANN401
    """Returns the type of numbers with a name, such as "float32".

    Raises:
        ValueError: If there is none.
    """
    if type(name) is not str or name not in DTYPES:
        raise ValueError(f"a dtype must be the name of one of torch, got {name!r:.80}")
    return DTYPES[name]


def _checked(tree: Any, kind: type) -> Any:  # noqa: ANN401
    if type(tree) is not kind:
        raise ValueError(f"a description must have a {kind.__name__} here, got {tree!r:.80}")
    return tree


def _unsupported(value: object) -> str:
    """The reason why a value has no description, and the remedy."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, nn.Module):
        return f"it hides a module ({kind}); assign it as a submodule or put it in an nn.ModuleList"
    if isinstance(value, Tensor):
        return 'it is a tensor; write self.register_buffer("name", tensor)'
    if isinstance(value, bool | int | float | str | tuple | list | dict):
        plain = next(k for k in (bool, int, float, str, tuple, list, dict) if isinstance(value, k))
        return f"it is a {kind}; write {plain.__name__}(...) around the value"
    return f"it is a {kind}; store plain values in the module, or give a dataclass of such"


def _resolve(ref: str) -> Any:  # noqa: ANN401
    """Resolves a reference that is the one and only name of its object."""
    value = resolve(ref)
    canonical = None
    if isinstance(value, type | FunctionType):
        canonical = reference(value)
    if canonical != ref:
        raise ValueError(
            f"a file may refer to classes and functions where they are defined, got {ref!r}"
        )
    return value


def _require_module_class(ref: str, value: Any) -> type[nn.Module]:  # noqa: ANN401
    """Raises unless it is a class of modules, and not one of torch's beyond `torch.nn`."""
    if not (isinstance(value, type) and issubclass(value, nn.Module)):
        raise ValueError(f"{ref} must be a class of torch.nn.Module")
    parts = value.__module__.split(".")
    if parts[0] == "torch" and parts[:2] != ["torch", "nn"]:
        raise ValueError(
            f"{ref} is part of PyTorch outside of torch.nn, which a file may not name; "
            "describe the module that it wraps"
        )
    return value


def _function_reference(function: Any, owner: type[nn.Module]) -> str:  # noqa: ANN401
    """The reference of a function: of torch by its public name, or of the user's."""
    name = function.__name__
    for home in (functional, torch):
        if _is_torch_function(function) and vars(home).get(name) is function:
            return f"{home.__name__}:{name}"
    ref = reference(function)
    _require_user_code(ref, function, owner)
    return ref


def _function(ref: str, owner: type[nn.Module]) -> Any:  # noqa: ANN401
    """The function of a reference: of torch's, or of imported code of the user's."""
    where, _, name = ref.partition(":")
    for home in (functional, torch):
        if where == home.__name__:
            function = vars(home).get(name)
            if not _is_torch_function(function):
                raise ValueError(f"{ref} must be a built-in or functional operation of torch")
            return function
    function = _resolve(ref)
    _require_user_code(ref, function, owner)
    return function


def _is_torch_function(value: object) -> bool:
    """Whether it is an operation on tensors of `torch` or `torch.nn.functional`."""
    if not isinstance(value, FunctionType | BuiltinFunctionType):
        return False
    if value.__name__.startswith("_") or value.__name__ in FORBIDDEN:
        return False
    if isinstance(value, FunctionType):
        return value.__module__ == functional.__name__
    operation = value.__qualname__ == f"_VariableFunctionsClass.{value.__name__}"
    return operation or value.__module__ == "torch._C._nn"


def _require_user_code(ref: str, value: Any, owner: type[nn.Module]) -> None:  # noqa: ANN401
    """Raises unless a function or a dataclass is code of the user's or of the owner's package.

    Installed packages hold functions that read files or run programs. Of this package, functions
    may be of the rooms of networks alone.
    """
    package = value.__module__.partition(".")[0]
    if package == __name__.partition(".")[0]:
        allowed = isinstance(value, type) or value.__module__.startswith(ROOMS)
    elif package == "torch":
        allowed = False
    else:
        path = file_of(value)
        in_notebook = value.__module__ == "__main__" and path is None
        is_user = path is not None and not is_installed(path)
        allowed = in_notebook or is_user or package == owner.__module__.partition(".")[0]
    if not allowed:
        raise ValueError(
            f"{ref} is part of an installed package, which a file may not name; "
            "wrap it in a function of your own"
        )


def _encode_dataclass(value: Any, owner: type[nn.Module]) -> dict[str, Any]:  # noqa: ANN401
    """The class and the fields of a dataclass; it must hold nothing else."""
    ref = reference(type(value))
    _require_user_code(ref, type(value), owner)
    names = [field.name for field in dataclasses.fields(value)]
    extra = sorted(set(getattr(value, "__dict__", {})) - set(names))
    if extra:
        raise ValueError(f"it is a {ref} with {extra[0]} beside its fields; make it a field")
    return {
        "class": ref,
        "fields": {name: encode_value(getattr(value, name), owner) for name in names},
    }


def _decode_dataclass(tree: dict[str, Any], owner: type[nn.Module]) -> Any:  # noqa: ANN401
    """A dataclass with its fields, without its `__init__`."""
    if set(tree) != {"class", "fields"}:
        raise ValueError(f"a dataclass must have a class and fields, got {sorted(tree)}")
    ref, fields = _checked(tree["class"], str), _checked(tree["fields"], dict)
    cls = _resolve(ref)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ValueError(f"{ref} must be a dataclass")
    _require_user_code(ref, cls, owner)
    names = [field.name for field in dataclasses.fields(cls)]
    if set(fields) != set(names):
        raise ValueError(f"{ref} must have the fields {names}, got {sorted(map(str, fields))}")
    value = object.__new__(cls)
    for name in names:
        object.__setattr__(value, name, decode_value(fields[name], owner))
    return value


def _decode_dict(tree: Any, owner: type[nn.Module]) -> dict[Any, Any]:  # noqa: ANN401
    pairs = [_checked(pair, list) for pair in _checked(tree, list)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"a dict must be pairs of a key and a value, got {tree!r:.80}")
    try:
        return {decode_value(key, owner): decode_value(item, owner) for key, item in pairs}
    except TypeError as error:
        raise ValueError(f"the keys of a dict must be hashable, got {tree!r:.80}") from error


def _decode_float(text: Any) -> float:  # noqa: ANN401
    if text not in ("inf", "-inf", "nan"):
        raise ValueError(f"a float must be a number, inf, -inf or nan, got {text!r:.80}")
    return float(text)


def _decode_device(text: Any) -> torch.device:  # noqa: ANN401
    try:
        return torch.device(_checked(text, str))
    except RuntimeError as error:
        raise ValueError(f"a device must be such as cpu or cuda:0, got {text!r:.80}") from error
