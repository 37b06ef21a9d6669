"""The architecture of a network as plain values, and back, without running code from a file.

A description holds the class of every module, its plain attributes, and the shapes of its
parameters and buffers; their values come from a state dict::

    tree = describe(network)
    copy = rebuild(tree)
    copy.load_state_dict(network.state_dict())

It is a dictionary of plain values that JSON and YAML hold. Parameters, buffers and submodules are
pairs of a name and a description, since their order counts and writers of files sort dictionaries.
:func:`rebuild` calls no constructor and imports nothing: the classes must be those of `torch.nn` or
of modules that are already imported.

Parametrizations of `torch.nn.utils.parametrize`, such as spectral normalisation, are described by
their modules. Not described: hooks, tensors as plain attributes, arbitrary objects.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from .attributes import decode_value, encode_value, module_class, module_class_reference
from .tensor_forms import describe_buffer, describe_parameter, make_buffer, make_parameter, part_at

__all__ = ["describe", "rebuild"]

OWNED = frozenset({*vars(nn.Module()), "_compiled_call_impl"} - {"training"})
"""Attributes in which `nn.Module` keeps its parameters, buffers, submodules and hooks."""

RECURRENT = frozenset({"_flat_weights", "_flat_weight_refs"})
"""Attributes of recurrent layers that repeat their parameters."""

KEYS = ("class", "attributes", "parameters", "buffers", "modules")
"""The keys of the description of one module."""


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
        >>> tree["parameters"][0]
        ['weight', {'shape': [3, 2], 'dtype': 'float32', 'requires_grad': True}]
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
        >>> bool((copy.get_parameter("0.weight") == network[0].weight).all())
        True
    """
    try:
        return _rebuild(tree, "", {}, {})
    except RecursionError as error:
        raise ValueError("a description must not be nested as deeply as this one") from error


def _describe(module: nn.Module, path: str, known: dict[int, str]) -> dict[str, Any]:
    """The description of one module; `known` has the paths of all that were described before."""
    known[id(module)] = path
    _require_describable(module, path)
    cls = parametrize.type_before_parametrizations(module)
    try:
        ref = module_class_reference(cls)
    except ValueError as error:
        raise ValueError(f"{_subject(path)} cannot be described: {error}") from error
    transient = module._non_persistent_buffers_set
    return {
        "class": ref,
        "attributes": _attributes(module, cls, path),
        "parameters": [
            [name, describe_parameter(parameter, _join(path, name), known)]
            for name, parameter in module._parameters.items()
        ],
        "buffers": [
            [name, describe_buffer(buffer, name not in transient, where, known)]
            for name, buffer in module._buffers.items()
            for where in [_join(path, name)]
        ],
        "modules": [
            [name, _submodule(child, _join(path, name), known)]
            for name, child in module._modules.items()
        ],
    }


def _submodule(module: nn.Module | None, path: str, known: dict[int, str]) -> dict[str, Any] | None:
    """The description of a submodule, or the path under which it was described before."""
    if module is None:
        return None
    if id(module) in known:
        return {"same_as": known[id(module)]}
    return _describe(module, path, known)


def _attributes(module: nn.Module, cls: type[nn.Module], path: str) -> dict[str, Any]:
    """The plain attributes of a module."""
    skipped = OWNED | RECURRENT if isinstance(module, nn.RNNBase) else OWNED
    values = {}
    for name, value in vars(module).items():
        if name in skipped:
            continue
        try:
            _require_attribute_name(cls, name)
            values[name] = encode_value(value, cls)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"the attribute {_join(path, name)} cannot be described: {error}"
            ) from error
    return values


def _require_describable(module: nn.Module, path: str) -> None:
    """Raises where a module has hooks, but for PyTorch's own, or parameters without a shape."""
    if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters(recurse=False)):
        raise ValueError(
            f"{_subject(path)} cannot be described: its parameters have no shape yet; call the "
            "network once on a batch of data"
        )
    hooks = [
        name
        for name, value in vars(module).items()
        if name in OWNED and "hooks" in name
        for hook in value.values()
        if getattr(getattr(hook, "hook", hook), "__module__", "") != parametrizations.__name__
    ]
    if hooks:
        raise ValueError(
            f"{_subject(path)} cannot be described: it has a hook ({hooks[0].strip('_')}); remove "
            "the hook, and write its work into forward"
        )


def _rebuild(
    tree: Any,  # noqa: ANN401
    path: str,
    modules: dict[str, nn.Module],
    tensors: dict[str, Tensor],
) -> nn.Module:
    """One module; `modules` and `tensors` have all that were made before, by path."""
    if type(tree) is not dict or set(tree) != set(KEYS):
        raise ValueError(f"{_subject(path)} must be described by {', '.join(KEYS)}")
    if type(tree["class"]) is not str:
        raise ValueError(f"the class of {_subject(path)} must be a reference")
    subject = _subject(path)
    attributes = tree["attributes"]
    if type(attributes) is not dict:
        raise ValueError(
            f"the attributes of {subject} must be a dictionary, got {attributes!r:.80}"
        )
    parts = {key: _pairs(tree[key], f"the {key} of {subject}") for key in KEYS[2:]}
    cls = module_class(tree["class"])
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    modules[path] = module
    for name, value in attributes.items():
        _require_name(name, f"the attributes of {subject}")
        _require_attribute_name(cls, name)
        if any(name in named for named in parts.values()):
            raise ValueError(f"the attribute {_join(path, name)} would hide a part of this name")
        if name == "training" and type(value) is not bool:
            raise ValueError(f"{_join(path, name)} must be true or false, got {value!r:.80}")
        vars(module)[name] = decode_value(value, cls)
    for name, form in parts["parameters"].items():
        module._parameters[name] = make_parameter(form, _join(path, name), tensors)
    for name, form in parts["buffers"].items():
        buffer, persistent = make_buffer(form, _join(path, name), tensors)
        module._buffers[name] = buffer
        if not persistent:
            module._non_persistent_buffers_set.add(name)
    for name, child in parts["modules"].items():
        module._modules[name] = _make_submodule(child, _join(path, name), modules, tensors)
    _parametrise(module)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()
    return module


def _parametrise(module: nn.Module) -> None:
    """Makes a module compute the tensors for which it has parametrizations, as PyTorch does."""
    parts = module._modules.get("parametrizations")
    if not isinstance(parts, nn.ModuleDict):
        return
    cls = type(module)
    for name, part in parts._modules.items():
        _require_attribute_name(cls, name)
        if type(part) is not parametrize.ParametrizationList or not name.isidentifier():
            raise ValueError(f"{name!r} must have a ParametrizationList, got {type(part).__name__}")
    parametrize._inject_new_class(module)
    for name in parts._modules:
        parametrize._inject_property(module, name)


def _make_submodule(
    tree: Any,  # noqa: ANN401
    path: str,
    modules: dict[str, nn.Module],
    tensors: dict[str, Tensor],
) -> nn.Module | None:
    """A submodule, or one that was made before."""
    if tree is None:
        return None
    if type(tree) is dict and set(tree) == {"same_as"}:
        shared: nn.Module = part_at(tree, path, modules)
        return shared
    return _rebuild(tree, path, modules, tensors)


def _pairs(tree: Any, subject: str) -> dict[str, Any]:  # noqa: ANN401
    """The parts of a module by name, in their order."""
    if type(tree) is not list or not all(type(pair) is list and len(pair) == 2 for pair in tree):
        raise ValueError(f"{subject} must be a list of pairs, got {tree!r:.80}")
    for name, _ in tree:
        _require_name(name, subject)
    if len({name for name, _ in tree}) < len(tree):
        raise ValueError(f"{subject} must have different names, got {[name for name, _ in tree]}")
    return dict(tree)


def _require_name(name: Any, subject: str) -> None:  # noqa: ANN401
    """Raises unless it is the name of a part."""
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
