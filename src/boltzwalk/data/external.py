"""Rows that a model was not trained on, from a file or from another data set, in its units.

Pictures are scaled to the size of the images that the model knows, and grey levels to theirs. Where
pictures of another size are to be told from held-out ones, both must have been scaled the same way:
:func:`through` takes images to another size and back, so that a blur on one side only cannot give
them away.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .dataset import Dataset
from .files import read_array
from .images import fit_picture, read_array_of_pictures, read_folder
from .tables import choose_columns
from .text_tables import read_text_table, to_numbers

__all__ = ["from_grey", "read_rows", "through", "to_grey"]


def read_rows(path: Path, dataset: Dataset, rng: torch.Generator) -> Tensor:
    r"""Returns the rows of a file in the units of a model, shape (N, \*event).

    A table must have the columns of the data, by name where both have names; others that it has
    are left out. Images are a folder of files, uint8 pictures in a .npy or .npz file, which are
    scaled, or numbers of the event shape in original units. Of a .npz file that `boltzwalk sample`
    wrote the rows in original units are taken. Rows of dequantised data are dequantised.

    Arguments:
        path: The file or folder.
        dataset: The data of the model.
        rng: The source of the noise of dequantisation.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If it does not hold such rows, or a value is missing or not finite.
    """
    if not path.exists():
        raise FileNotFoundError(f"there must be a file or folder of rows at {path}, found nothing")
    if len(dataset.event_shape) == 3:
        x = _read_images(path, dataset)
    else:
        x = dataset.from_original(torch.from_numpy(_read_table(path, dataset))).float()
    wrong = (~x.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"{path} must hold finite numbers, got nan or inf in {len(wrong)} rows, the first is "
            f"row {wrong[0]}; delete these rows"
        )
    return dataset.dequantised(x.to(dataset.train.device), rng)


def from_grey(grey: Tensor, dataset: Dataset) -> Tensor:
    """Maps grey levels from 0 to 255 to model units.

    Arguments:
        grey: Pictures, uint8, shape (N, channels, height, width).
        dataset: The data of the model, images.
    """
    top = 2 * float(dataset.shift) or 255.0  # the largest grey level in original units
    return dataset.from_original(grey.float() * (top / 255)).to(dataset.train)


def to_grey(x: Tensor, dataset: Dataset) -> Tensor:
    """Maps model units to grey levels from 0 to 255, uint8.

    Arguments:
        x: Images, shape (N, channels, height, width).
        dataset: The data of the model, images.
    """
    top = 2 * float(dataset.shift) or 255.0
    return (dataset.to_original(x) * (255 / top)).round().clamp(0, 255).byte().cpu()


def through(grey: Tensor, size: int, channels: int, event: tuple[int, int, int]) -> Tensor:
    """Takes pictures to a size and a number of channels, and from there to those of an event.

    Arguments:
        grey: Pictures, uint8, shape (N, channels, height, width).
        size: Height and width on the way, in pixels.
        channels: The channels on the way, 1 or 3.
        event: The shape of the result, (channels, size, size).

    Example:
        >>> pictures = torch.full((2, 1, 28, 28), 128, dtype=torch.uint8)
        >>> through(pictures, 32, 3, (1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """
    if (channels, size, size) == event and tuple(grey.shape[1:]) == event:
        return grey
    found = []
    for picture in grey.permute(0, 2, 3, 1).numpy():
        image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
        for wide, deep in ((size, channels), (event[-1], event[0])):
            image = fit_picture(image, wide, deep, "stretch")
        found.append(np.asarray(image))
    stacked = torch.from_numpy(np.stack(found))
    return stacked[:, None] if event[0] == 1 else stacked.permute(0, 3, 1, 2).contiguous()


def _read_images(path: Path, dataset: Dataset) -> Tensor:
    """Images in model units."""
    channels, height, width = dataset.event_shape
    if path.is_file() and path.suffix in (".npy", ".npz"):
        array = read_array(path, _key(path))
        if array.dtype.kind == "f":
            if array.shape[1:] != dataset.event_shape:
                raise ValueError(
                    f"{path} must hold images of shape (N, {channels}, {height}, {width}) in "
                    f"original units, or uint8 pictures, got {array.dtype} of shape {array.shape}"
                )
            return dataset.from_original(torch.from_numpy(array)).to(dataset.train)
    if height != width:
        raise ValueError(
            f"pictures can be scaled to square images only, and the model has {height}x{width}; "
            f"give an array of the shape (N, {channels}, {height}, {width}) in original units"
        )
    size, deep = height, channels
    if path.is_dir():
        grey = read_folder(path, size, deep, "crop")
    else:
        grey = read_array_of_pictures(path, _key(path), size, deep, "crop")
    return from_grey(torch.from_numpy(np.ascontiguousarray(grey)), dataset)


def _read_table(path: Path, dataset: Dataset) -> np.ndarray:
    """Rows of a table in original units, float64, shape (N, D)."""
    (wide,) = dataset.event_shape
    if path.is_dir():
        raise ValueError(f"a table must be a file, got the folder {path}; name a file in it")
    if path.suffix in (".npy", ".npz"):
        array = read_array(path, _key(path))
        if array.ndim != 2 or array.shape[1] != wide or array.dtype.kind not in "fiub":
            raise ValueError(
                f"{path} must hold numbers of shape (N, {wide}), the columns of the data, got "
                f"{array.dtype} of shape {array.shape}"
            )
        return array.astype(np.float64)
    table = read_text_table(path, "auto", None)
    if _numbered(table.names) or _numbered(dataset.columns):
        if len(table.names) != wide:
            raise ValueError(
                f"{path} must have {wide} columns, those of the data, got {len(table.names)}; name "
                f"them in the first line: {', '.join(dataset.columns) or 'x, y'}"
            )
        return to_numbers(table, table.names, path)
    return to_numbers(table, choose_columns(table.names, dataset.columns, ()), path)


def _numbered(names: tuple[str, ...]) -> bool:
    """Whether columns have no names but their numbers."""
    return names == tuple(f"column{i}" for i in range(len(names)))


def _key(path: Path) -> str | None:
    """The array that `boltzwalk sample` wrote in original units, where the file has one."""
    if path.suffix != ".npz":
        return None
    try:
        with zipfile.ZipFile(path) as content:
            return "original" if "original.npy" in content.namelist() else None
    except zipfile.BadZipFile:
        return None  # damaged, which is said where it is read
