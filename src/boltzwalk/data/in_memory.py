"""Rows that were given in Python, as the settings of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .dataset import Dataset
from .files import array_headers, read_array
from .repeats import Repeats
from .tails import HeavyTails
from .whitening import Whitening

__all__ = ["InMemory"]


@dataclass(frozen=True)
class InMemory:
    """Rows from Python. A run folder keeps their digest; `path` names a file with the same rows.

    Arguments:
        digest: The digest of the training rows and of their units.
        rows: The number of rows.
        whitening: The units of the model, as `Dataset.of` made them.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines the split.
        path: A .npy or .npz file that holds all the rows, in the order in which they were given;
            an array ``labels`` of a .npz file holds their classes. None for no file.
        repeats: Where equal rows of a table go, as `Dataset.of` put them.
        tails: What happens to heavy tails of whitened columns, as `Dataset.of` did it.
    """

    digest: str
    rows: int
    whitening: Whitening = "none"
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    split_seed: int = 0
    path: str | None = None
    repeats: Repeats = "auto"
    tails: HeavyTails = "compress"

    def load(self) -> Dataset:
        """Loads the rows from the file.

        Raises:
            ValueError: If no file is named, or it holds other rows.
            FileNotFoundError: If there is no file.
        """
        if self.path is None:
            raise ValueError(
                f"the {self.rows:,} rows of this run were given in Python; write data.path=FILE "
                "for a .npy file with the same rows, or go on in Python with boltzwalk.train"
            )
        path = Path(self.path)
        names = list(array_headers(path))
        rows = [name for name in names if name != "labels"][:1]
        x = read_array(path, rows[0] if rows else None)
        labels = read_array(path, "labels") if "labels" in names else None
        data = Dataset.of(
            x,
            labels,
            whitening=self.whitening,
            split=self.split,
            seed=self.split_seed,
            repeats=self.repeats,
            tails=self.tails,
        )
        if not data.has_digest(self.digest):
            raise ValueError(
                f"{self.path} must hold the rows that the run was trained on, got others (digest "
                f"{data.digest[:12]}, not {self.digest[:12]})"
            )
        return data
