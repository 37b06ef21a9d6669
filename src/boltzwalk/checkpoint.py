"""One file a checkpoint: tensors and text in safetensors, which cannot hold code.

A checkpoint is written to a temporary file, flushed to the disk and renamed, so a reader finds
either the whole of it or nothing, whenever the process is killed.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor

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

HEADER = "boltzwalk"
"""The key of the header under which the text is kept."""


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all.

    Raises:
        OSError: If the disk is full or the folder cannot be written; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Brings a renaming to the disk, which a file of its own does not."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    # One key: the order of several is not kept, and equal runs should leave equal files.
    header = {HEADER: json.dumps(dict(text))}
    write_atomically(path, safetensors.torch.save(plain, header))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the tensors and the text of a checkpoint. No code in the file is executed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, or no safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"a checkpoint must be a file, found none at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            # Cloned: a view into the file's own storage would pin the file in memory.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, text  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"a checkpoint must be a whole safetensors file, got {path} ({error}); "
            "it is damaged or of another kind; another one of its folder may be whole"
        ) from error


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
