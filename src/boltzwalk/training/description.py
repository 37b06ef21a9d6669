"""The description of the data in a run folder: their units, and a sample of their rows.

With it a model draws, scores and completes when its folder is moved and the data are gone. One
safetensors file holds the tensors, its header the text; loading it executes no code.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import torch

from ..checkpoint import load_checkpoint, save_checkpoint
from ..data import Dataset
from ..data.reading import TableReading
from ..data.rows import FullData
from ..settings.settings import Settings

__all__ = ["read_description", "training_data", "write_description"]

NAME = "data.safetensors"

TENSORS = (
    "train",
    "validation",
    "test",
    "train_labels",
    "validation_labels",
    "test_labels",
    "quantum",
    "shift",
    "scale",
    "tails",
    "validation_copies",
    "test_copies",
)
OPTIONAL = ("labels", "copies", "tails")
"""The last words of the names of tensors that not all data have."""

TEXT = (
    "class_names",
    "columns",
    "low",
    "high",
    "source",
    "standard",
    "whitening",
    "split_seed",
    "repeats",
    "heavy_tails",
    "notes",
)


def write_description(folder: Path, dataset: Dataset) -> None:
    """Writes the description of data, unless the folder has that of the same data.

    Arguments:
        folder: The run folder.
        dataset: The data.

    Raises:
        OSError: If it cannot be written.
    """
    path = folder / NAME
    try:
        written = read_description(folder)
    except ValueError:  # a damaged one is written again
        written = None
    if written is not None and written.digest == dataset.digest:
        return
    sample = dataset.sample().to("cpu")
    assert sample.full is not None
    tensors = {name: getattr(sample, name) for name in TENSORS}
    present = {n: torch.as_tensor(t) for n, t in tensors.items() if t is not None}
    values = {name: getattr(sample, name) for name in TEXT}
    values["reading"] = None if sample.reading is None else sample.reading.tree()
    text = {
        "digest": sample.digest,
        "full": json.dumps(sample.full),
        "split": json.dumps(sample.split),
        "values": json.dumps(values),
    }
    save_checkpoint(path, present, text)


def training_data(settings: Settings, folder: Path, moved: bool = False) -> Dataset:
    """Returns the data of a run: loaded, or from its folder where that has every row.

    Arguments:
        settings: The settings of the run.
        folder: The run folder.
        moved: Whether another place of the data was named: they must be there then.

    Raises:
        ValueError: If the data cannot be loaded, and the folder has a sample of the rows only.
        FileNotFoundError: If there is no such file.
    """
    try:
        return settings.data.load()
    except (FileNotFoundError, ValueError) as error:
        description = None if moved else read_description(folder)
        if description is not None and description.complete:
            return description
        if moved or isinstance(error, ValueError) or not (folder / "settings.yaml").is_file():
            raise
        resume = shlex.join(["boltzwalk", "resume", str(folder), "data.path=FILE"])
        raise FileNotFoundError(f"{error}; `{resume}` notes where the data are now") from error


def read_description(folder: Path) -> Dataset | None:
    """Returns the sample of rows of a run folder, with the units of its data; None without one.

    Arguments:
        folder: The run folder.

    Raises:
        ValueError: If the file is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        tensors, text = load_checkpoint(path)
        values = json.loads(text["values"])
        values |= {name: tuple(values[name]) for name in ("class_names", "columns")}
        reading = values.pop("reading", None)
        values["reading"] = None if reading is None else TableReading.from_plain(reading)
        values["notes"] = tuple(values.get("notes", ()))
        full, split = FullData(*json.loads(text["full"])), json.loads(text["split"])
        rows = {name: tensors[name] for name in TENSORS if not name.endswith(OPTIONAL)}
        others = {name: tensors.get(name) for name in TENSORS if name.endswith(OPTIONAL)}
        return Dataset(**rows, **others, **values, full=full, split=split and tuple(split))  # type: ignore[arg-type]
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} must describe data, got a damaged or another file ({error}); "
            f"`boltzwalk resume {shlex.quote(str(folder))}` writes it again, where the data are"
        ) from error
