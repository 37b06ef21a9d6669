"""Randomness as an argument: every generator is derived from what it is for.

No generator is ever saved. The one of an update is made from (seed, purpose, update), so a run that
is resumed draws the same numbers as one that was never interrupted.
"""

from __future__ import annotations

import hashlib

import torch

__all__ = ["generator"]


def generator(
    seed: int, purpose: str, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Returns the generator of this seed, purpose and index; others are independent of it.

    Arguments:
        seed: The seed of the run.
        purpose: What the numbers are for, such as "data" or "sample".
        index: The update, the rank, the number of the chain.
        device: Where the numbers are drawn.

    Example:
        >>> a, b = generator(0, "data", 7), generator(0, "data", 7)
        >>> bool(torch.rand((), generator=a) == torch.rand((), generator=b))
        True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
