"""Rows of data: a batch, and the sample of rows that a run folder keeps."""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Batch", "FullData", "check_rows", "kept_rows", "random_rows", "tensors_digest"]

KEPT_ROWS = 10_000
KEPT_BYTES = 2 * 2**20
"""The rows of a split, and their size, that a run folder keeps at most."""


class FullData(NamedTuple):
    """The data that a sample of rows is of.

    Attributes:
        digest: The digest of the training rows and of their units.
        train: The number of training rows.
        validation: The number of validation rows.
        test: The number of test rows.
        bits: The digest of rows that are generated, as version 0.1.0 had it; "" for others.
    """

    digest: str
    train: int
    validation: int
    test: int
    bits: str = ""


class Batch(NamedTuple):
    r"""Rows of data, with their labels where a model needs them.

    Attributes:
        x: The rows, shape (N, \*event).
        labels: The class of each row, shape (N,); None without classes.
    """

    x: Float[Tensor, "N *event"]
    labels: Int[Tensor, " N"] | None = None


def check_rows(name: str, rows: Tensor, labels: Tensor | None, event: tuple[int, ...]) -> None:
    r"""Checks the rows of a split.

    Arguments:
        name: The name of the split.
        rows: The rows in model units, shape (N, \*event).
        labels: Their classes, shape (N,), or None.
        event: The shape of a training row.

    Raises:
        ValueError: If they do not fit the training rows or each other, or a value is not finite.
    """
    if name == "train" and len(rows) == 0:
        raise ValueError(
            f"train must have at least one row, got shape {tuple(rows.shape)}; give the training "
            "split a larger share"
        )
    if rows.shape[1:] != event:
        raise ValueError(
            f"{name} must have rows of shape {event} as train has, got {tuple(rows.shape[1:])}; "
            f"for no rows write {name}=train[:0]"
        )
    if labels is not None and labels.shape != rows.shape[:1]:
        raise ValueError(
            f"{name}_labels must have shape ({len(rows)},), one label a row, "
            f"got {tuple(labels.shape)}"
        )
    if rows.dtype != torch.float32 or not rows.isfinite().all():
        raise ValueError(
            f"{name} must hold finite float32 values, got {rows.dtype} with "
            f"{int((~rows.isfinite()).sum())} values that are not finite; remove these "
            "rows and write x.float()"
        )


def kept_rows(rows: Tensor, labels: Tensor | None = None) -> Tensor:
    r"""Returns the numbers of the rows of a split that a run folder keeps, ascending.

    Arguments:
        rows: The rows, shape (N, \*event).
        labels: Their classes, shape (N,), of each of which one row is kept at least; or None.
    """
    size = rows[0].numel() * rows.element_size() if len(rows) else 1
    n = min(len(rows), KEPT_ROWS, max(KEPT_BYTES // max(size, 1), 1))
    if n == len(rows):
        return torch.arange(n, device=rows.device)
    index = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:n]
    if labels is not None:
        cpu = labels.cpu()
        first = [int((cpu == label).nonzero()[0]) for label in cpu.unique()]
        index = torch.cat([index, torch.tensor(first)]).unique()
    return index.sort().values.to(rows.device)


def random_rows(rows: Tensor, n: int, rng: torch.Generator) -> Int[Tensor, " n"]:
    r"""Draws the numbers of n different rows of a training set.

    Arguments:
        rows: The training rows, shape (N, \*event).
        n: How many to draw.
        rng: Determines them.

    Raises:
        ValueError: If there are fewer than n.
    """
    if not 1 <= n <= len(rows):
        raise ValueError(
            f"a batch must have between 1 and {len(rows)} rows, the size of the "
            f"training set, got {n}; write a smaller batch size"
        )
    return torch.randperm(len(rows), generator=rng, device=rng.device)[:n].to(rows.device)


@functools.lru_cache(maxsize=4)  # the same objects are the same data: they are immutable
def tensors_digest(*tensors: Tensor) -> str:
    """Returns the SHA-256 digest of the bits of tensors.

    Arguments:
        tensors: The tensors.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
