"""Random generators, each derived from (seed, purpose, index).

No generator state is saved. The generator of an update is made from (seed, purpose, update), so a
resumed run draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib

import torch

__all__ = ["generator"]


def generator(
    seed: int, purpose: str, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Returns the generator of a seed, purpose and index, independent of all others.

    Arguments:
        seed: The seed of the run.
        purpose: The use of the numbers, such as "data" or "sample".
        index: The update, the rank or the number of the chain.
        device: The device of the generator.

    Example:
        >>> a, b = generator(0, "data", 7), generator(0, "data", 7)
        >>> bool(torch.rand((), generator=a) == torch.rand((), generator=b))
        True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
