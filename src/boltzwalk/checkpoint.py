"""One file a checkpoint: tensors and text in safetensors, which cannot hold code.

The header has the SHA-256 of the names, types, shapes and values of the tensors and of the text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .durable import write_atomically

__all__ = [
    "flatten",
    "load_checkpoint",
    "load_optimizer",
    "optimizer_tensors",
    "save_checkpoint",
    "unflatten",
    "write_atomically",
]

T = TypeVar("T")

DAMAGE = (LookupError, RecursionError, TypeError, ValueError, safetensors.SafetensorError)
"""The errors by which a damaged file shows."""

HEADER = "boltzwalk"
"""The key of the header under which the text is kept."""


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], text: Mapping[str, str]) -> None:
    """Writes tensors and text to one safetensors file.

    Raises:
        FloatingPointError: If a tensor is not finite: what is saved is good.
        OSError: If it cannot be written.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise FloatingPointError(f"{name} is not finite, so {path.name} was not written")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sealed = {"sha256": _digest(plain, text), "text": dict(text)}
    # One key: the order of several is not kept, and equal runs should leave equal files.
    write_atomically(path, safetensors.torch.save(plain, {HEADER: json.dumps(sealed)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the tensors and the text of a checkpoint. No code in the file is executed.

    Files of older versions have no checksum; then every value must be finite, as it was saved.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated or damaged in any other way, or no safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"a checkpoint must be a file, got none at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            # Cloned: a view into the file's own storage would pin the file in memory.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, _checked_text(tensors, header)
    except DAMAGE as error:
        raise ValueError(
            f"a checkpoint must be a whole safetensors file, got {path} ({error}); "
            "it is damaged or of another kind; another one of its folder may be whole"
        ) from error


def _checked_text(tensors: Mapping[str, Tensor], header: Any) -> dict[str, str]:  # noqa: ANN401
    """The text of a header, if it and the tensors are as they were written."""
    if not isinstance(header, dict):
        raise ValueError(f"its header must hold texts by name, got {type(header).__name__}")
    sealed = set(header) == {"sha256", "text"} and isinstance(header["text"], dict)
    text: dict[str, str] = header["text"] if sealed else header
    if not all(isinstance(value, str) for value in text.values()):
        raise ValueError("its header must hold texts, got other values")
    if sealed and header["sha256"] != _digest(tensors, text):
        raise ValueError("it must be as it was written, got other content than its SHA-256 is of")
    for name, tensor in () if sealed else tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} is not finite, which no checkpoint is when it is written")
    return text


def _digest(tensors: Mapping[str, Tensor], text: Mapping[str, str]) -> str:
    """The SHA-256 of text, and of tensors: their names in order, types, shapes and values."""
    digest = hashlib.sha256(json.dumps(dict(text)).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def flatten(value: Any, prefix: str) -> dict[str, Tensor]:  # noqa: ANN401
    """Returns the tensors in nested dataclasses and tuples by dotted name; None has none.

    Example:
        >>> from boltzwalk.methods.replay import Replay
        >>> flatten(Replay(torch.zeros(3, 2)), "state")
        {'state.x': tensor([[0., 0.], [0., 0.], [0., 0.]])}
    """
    if value is None:
        return {}
    if torch.is_tensor(value):
        return {prefix: value}
    return {
        name: tensor
        for key, part in _parts(value).items()
        for name, tensor in flatten(part, f"{prefix}.{key}").items()
    }


def unflatten(template: T, tensors: Mapping[str, Tensor], prefix: str) -> T:
    """Returns a value like the template with the tensors of these names.

    Raises:
        ValueError: If a tensor is missing or has another shape.
    """
    if template is None:
        return template
    if torch.is_tensor(template):
        tensor = tensors.get(prefix)
        if tensor is None or tensor.shape != template.shape:
            shape = "none" if tensor is None else tuple(tensor.shape)
            raise ValueError(f"{prefix} must have shape {tuple(template.shape)}, got {shape}")
        return tensor.to(template.device)  # type: ignore[return-value]
    parts = {
        key: unflatten(part, tensors, f"{prefix}.{key}") for key, part in _parts(template).items()
    }
    if isinstance(template, tuple):  # also a NamedTuple, whose own constructor takes arguments
        return tuple.__new__(type(template), parts.values())
    return type(template)(**parts)


def _parts(value: Any) -> dict[str, Any]:  # noqa: ANN401
    if isinstance(value, tuple):
        return {str(i): part for i, part in enumerate(value)}
    if not dataclasses.is_dataclass(value):
        raise ValueError(
            "the state of a method must be None, a tensor, or a tuple or dataclass of such, got "
            f"{type(value).__name__}; write a frozen dataclass with its parts as fields"
        )
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """Returns the running averages of an optimizer by the number of the parameter and name."""
    return {
        f"{prefix}.{index}.{name}": torch.as_tensor(value)
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
        if value is not None
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str
) -> None:
    """Puts running averages back; learning rates come from the settings."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
