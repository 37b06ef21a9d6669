"""The architecture of a network as plain values, and back, without running code from a file.

A description holds the class of every module, its plain attributes, and the shapes of its
parameters and buffers; their values come from a state dict::

    tree = describe(network)
    copy = rebuild(tree)
    copy.load_state_dict(network.state_dict())

It is a dictionary of plain values that JSON and YAML hold. :func:`rebuild` calls no constructor and
imports nothing: the classes must be those of `torch.nn` or of modules that are already imported.

Not described: hooks, parametrizations, tensors as plain attributes, arbitrary objects.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin
from torch.nn.utils import parametrize

from .attributes import (
    decode_dtype,
    decode_value,
    encode_value,
    integers,
    module_class,
    module_class_reference,
)

__all__ = ["describe", "rebuild"]

OWNED = frozenset({*vars(nn.Module()), "_compiled_call_impl"} - {"training"})
"""Attributes in which `nn.Module` keeps its parameters, buffers, submodules and hooks."""

RECURRENT = frozenset({"_flat_weights", "_flat_weight_refs"})
"""Attributes of recurrent layers that repeat their parameters."""

KEYS = ("class", "attributes", "parameters", "buffers", "modules")
"""The keys of the description of one module."""

SMALL = 16
"""The most numbers of a non-persistent buffer, which the description holds itself."""

DEPTH = 200
"""The most levels of submodules."""


def describe(module: nn.Module) -> dict[str, Any]:
    r"""Returns the architecture of a module as plain values.

    Arguments:
        module: The module. Parameters and submodules that it uses twice are described once.

    Returns:
        A dictionary with the keys class, attributes, parameters, buffers and modules.

    Raises:
        ValueError: If a part of it has no description; the message names the part, the reason and
            the remedy.

    Example:
        >>> tree = describe(nn.Linear(2, 3))
        >>> tree["class"], tree["attributes"]["in_features"]
        ('torch.nn.modules.linear:Linear', 2)
        >>> tree["parameters"]["weight"]
        {'shape': [3, 2], 'dtype': 'float32', 'requires_grad': True}
    """
    return _describe(module, "", {})


def rebuild(tree: dict[str, Any]) -> nn.Module:
    r"""Returns a module of this architecture on the CPU, its parameters and buffers zero.

    Arguments:
        tree: The description, as :func:`describe` returns it or a file holds it.

    Raises:
        ValueError: If it is no description, or names anything but modules and functions of
            `torch.nn` and of code that is already imported.
        LookupError: If it names code that is not imported.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1))
        >>> copy = rebuild(describe(network))
        >>> copy.load_state_dict(network.state_dict())
        <All keys matched successfully>
        >>> x = torch.randn(5, 2)
        >>> torch.equal(copy(x), network(x))
        True
    """
    return _rebuild(tree, "", {}, {})


def _describe(module: nn.Module, path: str, known: dict[int, str]) -> dict[str, Any]:
    """The description of one module; `known` has the paths of all that were described before."""
    known[id(module)] = path
    _require_describable(module, path)
    try:
        ref = module_class_reference(type(module))
    except ValueError as error:
        raise ValueError(f"{_subject(path)} cannot be described: {error}") from error
    return {
        "class": ref,
        "attributes": _attributes(module, path),
        "parameters": {
            name: _parameter(parameter, _join(path, name), known)
            for name, parameter in module._parameters.items()
        },
        "buffers": {
            name: _buffer(
                buffer, name not in module._non_persistent_buffers_set, _join(path, name), known
            )
            for name, buffer in module._buffers.items()
        },
        "modules": {
            name: None
            if child is None
            else {"same_as": known[id(child)]}
            if id(child) in known
            else _describe(child, _join(path, name), known)
            for name, child in module._modules.items()
        },
    }


def _attributes(module: nn.Module, path: str) -> dict[str, Any]:
    """The plain attributes of a module."""
    skipped = OWNED | RECURRENT if isinstance(module, nn.RNNBase) else OWNED
    values = {}
    for name, value in vars(module).items():
        if name in skipped:
            continue
        try:
            _require_attribute_name(type(module), name)
            values[name] = encode_value(value, type(module))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"the attribute {_join(path, name)} cannot be described: {error}"
            ) from error
    return values


def _require_describable(module: nn.Module, path: str) -> None:
    """Raises where a module has more than parameters, buffers, submodules and attributes."""
    hooks = [name for name in OWNED if "hooks" in name and getattr(module, name, None)]
    if hooks:
        raise ValueError(
            f"{_subject(path)} cannot be described: it has a hook ({hooks[0].strip('_')}); remove "
            "the hook, and write its work into forward"
        )
    if parametrize.is_parametrized(module):
        raise ValueError(
            f"{_subject(path)} cannot be described: its parameters are parametrized; call "
            "torch.nn.utils.parametrize.remove_parametrizations first, or normalise in forward"
        )


def _parameter(
    parameter: nn.Parameter | None, path: str, known: dict[int, str]
) -> dict[str, Any] | None:
    """The shape and type of a parameter, or the path under which it was described before."""
    if parameter is None:
        return None
    if id(parameter) in known:
        return {"same_as": known[id(parameter)]}
    known[id(parameter)] = path
    _require_plain_tensor(parameter, nn.Parameter, path)
    return _form(parameter) | {"requires_grad": parameter.requires_grad}


def _buffer(
    buffer: Tensor | None, persistent: bool, path: str, known: dict[int, str]
) -> dict[str, Any] | None:
    """The shape and type of a buffer, and its values where a state dict leaves it out."""
    if buffer is None:
        return None
    if id(buffer) in known:
        return {"same_as": known[id(buffer)], "persistent": persistent}
    known[id(buffer)] = path
    _require_plain_tensor(buffer, Tensor, path)
    form = _form(buffer) | {"persistent": persistent}
    if not persistent:
        if buffer.numel() > SMALL or buffer.is_complex():
            raise ValueError(
                f"the buffer {path} cannot be described: it is not persistent, so that no state "
                f"dict holds its {buffer.numel()} values; write persistent=True"
            )
        form["values"] = [encode_value(value, nn.Module) for value in buffer.flatten().tolist()]
    return form


def _require_plain_tensor(tensor: Tensor, kind: type, path: str) -> None:
    """Raises where shape and type do not determine a tensor but for its values."""
    if isinstance(tensor, UninitializedTensorMixin):
        raise ValueError(f"{path} has no shape yet; call the module once on a batch of data")
    if type(tensor) is not kind or tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(
            f"{path} cannot be described: it is a {type(tensor).__name__} of layout "
            f"{tensor.layout}; write a plain, dense {kind.__name__}"
        )


def _form(tensor: Tensor) -> dict[str, Any]:
    """The shape and type of a tensor, and the order of its axes in memory where not the usual."""
    form: dict[str, Any] = {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
    }
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    if not tensor.is_contiguous() and tensor.permute(order).is_contiguous():
        form["order"] = order  # convolutions give other last bits in another layout
    return form


def _rebuild(
    tree: Any,  # noqa: ANN401
    path: str,
    modules: dict[str, nn.Module],
    tensors: dict[str, Tensor],
) -> nn.Module:
    """One module; `modules` and `tensors` have all that were made before, by path."""
    if type(tree) is not dict or set(tree) != set(KEYS):
        raise ValueError(f"{_subject(path)} must be described by {', '.join(KEYS)}")
    if path.count(".") >= DEPTH:
        raise ValueError(f"{_subject(path)} is nested more than {DEPTH} levels deep")
    if type(tree["class"]) is not str:
        raise ValueError(f"the class of {_subject(path)} must be a reference")
    for key in KEYS[1:]:
        _require_names(tree[key], f"the {key} of {_subject(path)}")
    cls = module_class(tree["class"])
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    modules[path] = module
    for name, value in tree["attributes"].items():
        _require_attribute_name(cls, name)
        if any(name in tree[key] for key in KEYS[2:]):
            raise ValueError(f"the attribute {_join(path, name)} would hide a part of this name")
        if name == "training" and type(value) is not bool:
            raise ValueError(f"{_join(path, name)} must be true or false, got {value!r:.80}")
        vars(module)[name] = decode_value(value, cls)
    for name, form in tree["parameters"].items():
        module._parameters[name] = _make_parameter(form, _join(path, name), tensors)
    for name, form in tree["buffers"].items():
        buffer, persistent = _make_buffer(form, _join(path, name), tensors)
        module._buffers[name] = buffer
        if not persistent:
            module._non_persistent_buffers_set.add(name)
    for name, child in tree["modules"].items():
        where = _join(path, name)
        if child is None:
            module._modules[name] = None
        elif type(child) is dict and set(child) == {"same_as"}:
            module._modules[name] = _same(child, where, modules)
        else:
            module._modules[name] = _rebuild(child, where, modules, tensors)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()
    return module


def _make_parameter(form: Any, path: str, tensors: dict[str, Tensor]) -> nn.Parameter | None:  # noqa: ANN401
    """A parameter of zeros."""
    if form is None:
        return None
    if type(form) is dict and set(form) == {"same_as"}:
        parameter = _same(form, path, tensors)
        if not isinstance(parameter, nn.Parameter):
            raise ValueError(f"{path} must be the same as a parameter, got {form['same_as']!r}")
        return parameter
    if type(form) is not dict or type(form.get("requires_grad")) is not bool:
        raise ValueError(f"{path} must have shape, dtype and requires_grad, got {form!r:.80}")
    try:
        parameter = nn.Parameter(_zeros(form, {"requires_grad"}, path), form["requires_grad"])
    except RuntimeError as error:  # gradients of integers
        raise ValueError(f"{path} must be a parameter of torch: {error}") from error
    tensors[path] = parameter
    return parameter


def _make_buffer(form: Any, path: str, tensors: dict[str, Tensor]) -> tuple[Tensor | None, bool]:  # noqa: ANN401
    """A buffer of zeros, or of its values, and whether a state dict holds it."""
    if form is None:
        return None, True
    if type(form) is not dict or type(form.get("persistent")) is not bool:
        raise ValueError(f"{path} must have shape, dtype and persistent, got {form!r:.80}")
    persistent: bool = form["persistent"]
    if set(form) == {"same_as", "persistent"}:
        return _same(form, path, tensors), persistent
    buffer = _zeros(form, {"persistent"} if persistent else {"persistent", "values"}, path)
    if not persistent:
        values = decode_value(form["values"], nn.Module)
        if type(values) is not list or len(values) != buffer.numel() or len(values) > SMALL:
            raise ValueError(f"{path} must have {buffer.numel()} values, at most {SMALL}")
        if not all(type(value) in (bool, int, float) for value in values):
            raise ValueError(f"the values of {path} must be numbers, got {values!r:.80}")
        buffer.copy_(torch.tensor(values, dtype=buffer.dtype).reshape(buffer.shape))
    tensors[path] = buffer
    return buffer, persistent


def _zeros(form: dict[str, Any], others: set[str], path: str) -> Tensor:
    """Zeros of a shape and a type, their axes in this order in memory."""
    if set(form) - {"order"} != {"shape", "dtype"} | others:
        raise ValueError(f"{path} must have shape, dtype, {', '.join(others)}, got {sorted(form)}")
    shape, dtype = integers(form["shape"]), decode_dtype(form["dtype"])
    order = integers(form["order"]) if "order" in form else list(range(len(shape)))
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"{path} must have its axes in some order, got {order}")
    try:
        zeros = torch.zeros([shape[axis] for axis in order], dtype=dtype)
    except (RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} must have a shape that fits in memory, got {shape}") from error
    return zeros.permute([order.index(axis) for axis in range(len(shape))])


def _same(form: dict[str, Any], path: str, known: dict[str, Any]) -> Any:  # noqa: ANN401
    """The part under another path."""
    other = form["same_as"]
    if type(other) is not str or other not in known:
        raise ValueError(f"{path} must be the same as a part before it, got {other!r:.80}")
    return known[other]


def _require_names(tree: Any, subject: str) -> None:  # noqa: ANN401
    """Raises unless it is a dictionary of names."""
    if type(tree) is not dict:
        raise ValueError(f"{subject} must be a dictionary, got {tree!r:.80}")
    for name in tree:
        if type(name) is not str or not name or "." in name or name.startswith("__"):
            raise ValueError(f"{subject} must have names without dots, got {name!r:.80}")


def _require_attribute_name(cls: type[nn.Module], name: str) -> None:
    """Raises where an attribute would replace a method, or a part of `nn.Module` itself."""
    default = inspect.getattr_static(cls, name, None)
    has_code = callable(default) or hasattr(type(default), "__get__")
    if name.startswith("__") or name in OWNED or has_code:
        raise ValueError(
            f"{name!r} is a method or an internal name of {cls.__name__}, which an attribute must "
            "not replace; give the attribute another name"
        )


def _subject(path: str) -> str:
    return f"the submodule {path}" if path else "the module"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
