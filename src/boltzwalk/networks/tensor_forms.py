"""Shapes and types of parameters and buffers as plain values, and tensors of zeros from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .attributes import decode_dtype, decode_value, encode_value, integers

__all__ = ["describe_buffer", "describe_parameter", "make_buffer", "make_parameter", "part_at"]

SMALL = 16
"""The most numbers of a non-persistent buffer, which the description holds itself."""


def describe_parameter(
    parameter: nn.Parameter | None, path: str, known: dict[int, str]
) -> dict[str, Any] | None:
    """Returns the shape and type of a parameter, or the path under which it was described before.

    Arguments:
        parameter: The parameter; None is described by None.
        path: Its dotted name.
        known: The paths of all tensors described before, by their `id`; this one is added.

    Raises:
        ValueError: If its shape and type do not determine it but for its values.

    Example:
        >>> describe_parameter(nn.Parameter(torch.zeros(2)), "scale", {})
        {'shape': [2], 'dtype': 'float32', 'requires_grad': True}
    """
    if parameter is None:
        return None
    if id(parameter) in known:
        return {"same_as": known[id(parameter)]}
    known[id(parameter)] = path
    _require_plain_tensor(parameter, nn.Parameter, path)
    return _form(parameter) | {"requires_grad": parameter.requires_grad}


def describe_buffer(
    buffer: Tensor | None, persistent: bool, path: str, known: dict[int, str]
) -> dict[str, Any] | None:
    """Returns the shape and type of a buffer, and its values where a state dict leaves it out.

    Arguments:
        buffer: The buffer; None is described by None.
        persistent: Whether a state dict holds it.
        path: Its dotted name.
        known: The paths of all tensors described before, by their `id`; this one is added.

    Raises:
        ValueError: If it is large and not persistent, or no plain tensor.

    Example:
        >>> describe_buffer(torch.ones(1), True, "scale", {})
        {'shape': [1], 'dtype': 'float32', 'persistent': True}
    """
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
    if type(tensor) is not kind or tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(
            f"{path} cannot be described: it is a {type(tensor).__name__} of layout "
            f"{tensor.layout}; write a plain, dense {kind.__name__}"
        )


def _form(tensor: Tensor) -> dict[str, Any]:
    """The shape and type of a tensor, and its strides where they are not the usual ones."""
    shape, strides = list(tensor.shape), list(tensor.stride())
    form: dict[str, Any] = {"shape": shape, "dtype": str(tensor.dtype).removeprefix("torch.")}
    if strides != list(torch.empty(shape, device="meta").stride()) and _is_dense(shape, strides):
        form["strides"] = strides  # convolutions give other last bits in another layout
    return form


def _is_dense(shape: list[int], strides: list[int]) -> bool:
    """Whether strides are those of a block of memory without gaps."""
    expected = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def make_parameter(form: Any, path: str, tensors: dict[str, Tensor]) -> nn.Parameter | None:  # noqa: ANN401
    """Returns a parameter of zeros, or the one that its description refers to.

    Arguments:
        form: The description, of :func:`describe_parameter`.
        path: Its dotted name.
        tensors: All tensors made before, by their dotted names; this one is added.

    Raises:
        ValueError: If it describes no parameter.
    """
    if form is None:
        return None
    if type(form) is dict and set(form) == {"same_as"}:
        parameter = part_at(form, path, tensors)
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


def make_buffer(form: Any, path: str, tensors: dict[str, Tensor]) -> tuple[Tensor | None, bool]:  # noqa: ANN401
    """Returns a buffer of zeros, or of its values, and whether a state dict holds it.

    Arguments:
        form: The description, of :func:`describe_buffer`.
        path: Its dotted name.
        tensors: All tensors made before, by their dotted names; this one is added.

    Raises:
        ValueError: If it describes no buffer.
    """
    if form is None:
        return None, True
    if type(form) is not dict or type(form.get("persistent")) is not bool:
        raise ValueError(f"{path} must have shape, dtype and persistent, got {form!r:.80}")
    persistent: bool = form["persistent"]
    if set(form) == {"same_as", "persistent"}:
        return part_at(form, path, tensors), persistent
    buffer = _zeros(form, {"persistent"} if persistent else {"persistent", "values"}, path)
    if not persistent:
        values = decode_value(form["values"], nn.Module)
        if type(values) is not list or len(values) != buffer.numel() or len(values) > SMALL:
            raise ValueError(f"{path} must have {buffer.numel()} values, at most {SMALL}")
        if not all(type(value) in (bool, int, float) for value in values):
            raise ValueError(f"the values of {path} must be numbers, got {values!r:.80}")
        buffer.copy_(torch.tensor(values, dtype=buffer.dtype).reshape(buffer.shape))
    return tensors.setdefault(path, buffer), persistent


def _zeros(form: dict[str, Any], others: set[str], path: str) -> Tensor:
    """Zeros of a shape, a type and strides."""
    if set(form) - {"strides"} != {"shape", "dtype"} | others:
        raise ValueError(f"{path} must have shape, dtype, {', '.join(others)}, got {sorted(form)}")
    shape, dtype = integers(form["shape"]), decode_dtype(form["dtype"])
    try:
        if "strides" not in form:
            return torch.zeros(shape, dtype=dtype)
        strides = integers(form["strides"])
        if len(strides) != len(shape) or not _is_dense(shape, strides):
            raise ValueError(f"{path} must have strides without gaps, got {strides} for {shape}")
        return torch.empty_strided(shape, strides, dtype=dtype).zero_()
    except (RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} must have a shape that fits in memory, got {shape}") from error


def part_at(form: dict[str, Any], path: str, known: dict[str, Any]) -> Any:  # noqa: ANN401
    """Returns the part that a description `{"same_as": path}` refers to.

    Arguments:
        form: The description.
        path: The dotted name of the part that is described so.
        known: All parts made before, by their dotted names.

    Raises:
        ValueError: If there is no such part.
    """
    other = form["same_as"]
    if type(other) is not str or other not in known:
        raise ValueError(f"{path} must be the same as a part before it, got {other!r:.80}")
    return known[other]
