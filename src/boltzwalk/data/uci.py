r"""Small UCI tables for comparing density models: red wine, white wine, Parkinsons.

Both protocols drop columns that are no measurement, spread each value over its step, split the rows
81 : 9 : 10 and whiten by PCA, so that a standard normal has :math:`\tfrac D2 (1 + \log 2 \pi)`
nats a row: 15.61 for the wines, 21.28 for Parkinsons.

===========  =======================================================================================
clean        Widths and whitening come from the training split. The noise is as wide as the median
             gap :math:`\delta` of the distinct values of a column, :math:`U(-\delta/2, \delta/2)`;
             training rows get fresh noise in every batch.
published    Twice that noise, :math:`U(-\delta, \delta)`, is drawn once for all rows; the
             whitening is that of the first 10,000 of all rows, test rows included.
===========  =======================================================================================

Numbers of the two differ, since wider noise has more entropy. The published split is not known, so
the rows of the splits differ from it.

Not guaranteed: that test rows are new. As published, equal rows go anywhere: a seventh of the red
wines and a fifth of the white ones repeat an earlier row. Copies of training rows are counted and
marked, and `boltzwalk evaluate` prints the likelihood of new rows next to that of all. The 5,875
recordings of Parkinsons are of 42 people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from . import affine
from .dataset import Dataset
from .files import data_root, locate
from .repeats import mark_copies, repeats_note, row_groups
from .table_units import cell_widths
from .tables import Table
from .whitening import fit_whitening

__all__ = ["Uci"]

WHITENED = 10_000
"""The rows that give the statistics of whitening, as published."""


class _Source(NamedTuple):
    """A file, the columns to leave out, and the sizes of the splits."""

    file: str
    drop: tuple[str, ...]
    split: tuple[int, int, int]


SOURCES = {
    "red_wine": _Source("winequality-red.csv.gz", ("quality",), (1296, 144, 159)),
    "white_wine": _Source("winequality-white.csv.gz", ("quality",), (3969, 440, 489)),
    "parkinsons": _Source(
        "parkinsons_updrs.data.gz",
        # No measurements; then one of each pair of a correlation above 0.98.
        ("subject#", "age", "sex", "Jitter(%)", "Jitter:RAP", "Shimmer", "Shimmer:APQ3"),
        (4760, 528, 587),
    ),
}


@dataclass(frozen=True)
class Uci:
    """A table of UCI, whitened, event shape (11,) or (15,).

    Arguments:
        name: The table.
        root: The folder of the known sets; None for the environment variable BOLTZWALK_DATA, else
            ./data. The file lies there or in the folder UCI.
        protocol: "clean", with statistics of the training split, or "published".
        split_seed: Determines the split, and all noise that is drawn once.

    Raises:
        ValueError: If there is no such table or protocol.

    Example:
        >>> Uci("white_wine").protocol
        'clean'
    """

    name: Literal["red_wine", "white_wine", "parkinsons"] = "red_wine"
    root: str | None = None
    protocol: Literal["clean", "published"] = "clean"
    split_seed: int = 1

    def __post_init__(self) -> None:
        if self.name not in SOURCES:
            raise ValueError(
                f"name must be one of {', '.join(SOURCES)}, got {self.name!r}; write "
                "data.name=red_wine"
            )
        if self.protocol not in ("clean", "published"):
            raise ValueError(
                f"protocol must be clean or published, got {self.protocol!r}; write "
                "data.protocol=clean"
            )

    def load(self) -> Dataset:
        """Loads the table.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is damaged.
        """
        source = SOURCES[self.name]
        path = locate(data_root(self.root), "UCI", source.file)
        if path is None:
            raise FileNotFoundError(
                f"{source.file} must be in {data_root(self.root) / 'UCI'}, found none; get it from "
                "archive.ics.uci.edu, and name the folder with data.root=... or the environment "
                "variable BOLTZWALK_DATA"
            )
        table = Table(
            str(path),
            drop=source.drop,
            whitening="pca",
            dequantise=True,
            split=source.split,
            split_seed=self.split_seed,
            shrinkage=False,
            tails="keep",
            repeats="anywhere",
        )
        if self.protocol == "clean":
            return table.load()
        return self._published(table, source.split)

    def _published(self, table: Table, sizes: tuple[int, int, int]) -> Dataset:
        """The rows with noise, in another order, whitened by statistics of all of them."""
        columns, values = table.read()
        y = torch.from_numpy(values)
        rng = torch.Generator().manual_seed(self.split_seed)
        cells = cell_widths(y)
        groups = row_groups(y, cells)
        y += (2 * torch.rand(y.shape, generator=rng, dtype=y.dtype) - 1) * cells
        shuffled = torch.randperm(len(y), generator=rng)
        y = y[shuffled]
        copies = mark_copies(groups, *shuffled.split(sizes))
        note = repeats_note(groups, copies, together=False, cells=cells)
        order = torch.randperm(len(columns), generator=rng)
        y, columns = y[:, order], tuple(columns[i] for i in order.tolist())
        shift, scale = fit_whitening(y[:WHITENED], "pca", columns)
        train, validation, test = affine.to_model(y, shift, scale).float().split(sizes)
        return Dataset(
            train,
            validation,
            test,
            columns=columns,
            shift=shift,
            scale=scale,
            validation_copies=copies[0],
            test_copies=copies[1],
            notes=(note,) if note else (),
            source=table.path,
        )
