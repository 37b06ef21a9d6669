r"""A store of walkers larger than a batch: persistent chains of which each update moves some.

A walker that was drawn goes back to its own slot. (Writing back first-in-first-out lets a few
lineages take over the store.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Replay"]


@dataclass(frozen=True, eq=False)
class Replay:
    r"""Positions of persistent walkers. Immutable: `put` returns another store.

    Attributes:
        x: The positions, shape (M, \*event).

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> replay = Replay(torch.zeros(10, 2))
        >>> index = replay.draw(4, rng)
        >>> replay = replay.put(index, torch.ones(4, 2))
        >>> replay.x.sum()
        tensor(8.)
    """

    x: Float[Tensor, "M *event"]

    def __len__(self) -> int:
        return len(self.x)

    def draw(self, n: int, rng: torch.Generator) -> Int[Tensor, " n"]:
        """Returns the slots of n different walkers, shape (n,).

        Raises:
            ValueError: If the store holds fewer than n walkers.
        """
        if n > len(self):
            raise ValueError(
                f"the replay store must hold at least the {n} walkers of one update, "
                f"got {len(self)}; set start.size={n} or more"
            )
        return torch.randperm(len(self), generator=rng, device=rng.device)[:n]

    def put(self, index: Int[Tensor, " n"], x: Float[Tensor, "n *event"]) -> Replay:
        r"""Returns the store with walkers x, shape (n, \*event), in the slots index, shape (n,)."""
        return Replay(self.x.index_copy(0, index, x))
