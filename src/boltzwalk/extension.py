"""Marks of the settings that take a user's class, and the contract of each.

A declared type such as ``Annotated[ULA | MALA, KERNEL]`` takes the classes of the union by name,
further classes that the room of the contract imports by name, and any class of a user by reference,
``FILE.py:NAME``.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BASE", "CONDITION", "DATA", "ENERGY", "KERNEL", "METHOD", "Open"]


class Open(NamedTuple):
    """Marks the declared type of a setting that takes a user's class.

    Attributes:
        role: The kind of value, for messages.
        member: The function that every such value has.
        signature: Its arguments and result, for messages.
        room: The subpackage whose classes have names of their own.
    """

    role: str
    member: str
    signature: str
    room: str


ENERGY = Open(
    "an energy", "build", "build(event_shape, seed, data) -> nn.Module", "boltzwalk.energies"
)
BASE = Open("a base", "build", "build(event_shape, seed, data) -> nn.Module", "boltzwalk.bases")
CONDITION = Open(
    "a condition",
    "of",
    "of(data, rng) -> Tensor | None",
    "boltzwalk.methods",
)
DATA = Open("a data set", "load", "load() -> Dataset", "boltzwalk.data")
METHOD = Open(
    "a method", "step", "step(energy, data, state, rng) -> (loss, state, info)", "boltzwalk.methods"
)
KERNEL = Open(
    "a kernel", "step", "step(energy, walkers, rng) -> (walkers, info)", "boltzwalk.kernels"
)
