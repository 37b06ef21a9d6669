"""External rows: from a file or another data set into the units of a model.

Images are resized to the size of the model's images, and grey levels scaled to theirs. An anomaly
score may see the blur of resizing. So where external images are compared with held-out ones, both
are resized in the same way: :func:`resize_round_trip` resizes images to another size and back.
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
from .image_files import IMAGE_SUFFIXES, read_image_array, read_image_folder, resize_image
from .image_values import ImageFormat, require_picture_range
from .new_rows import read_new_rows

__all__ = [
    "grey_to_model",
    "load_external_rows",
    "model_to_grey",
    "resize_round_trip",
    "top_level",
]


def load_external_rows(path: Path, dataset: Dataset, rng: torch.Generator) -> Tensor:
    r"""Returns the rows of a file in the units of a model, shape (N, \*event).

    A table must have the columns of the data, by name where both have names; other columns are
    ignored. Images are a folder of files, or an array in a .npy or .npz file: uint8 images, which
    are resized, or floats of the event shape in original units. From a .npz file of `boltzwalk
    sample` the array in original units is read. Rows of dequantised data are dequantised.

    Arguments:
        path: The file or folder.
        dataset: The data of the model.
        rng: The source of the noise of dequantisation.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If the file does not hold such rows, or a value is missing or not finite.
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


def grey_to_model(grey: Tensor, dataset: Dataset) -> Tensor:
    """Maps grey levels from 0 to 255 to model units.

    Arguments:
        grey: Images, uint8, shape (N, channels, height, width).
        dataset: The data of the model, images.
    """
    top = top_level(dataset)
    return dataset.from_original(grey.float() * (top / 255)).to(dataset.train)


def top_level(dataset: Dataset) -> float:
    """Returns the largest grey level of images in original units.

    Arguments:
        dataset: The data of the model, images.

    Raises:
        ValueError: If the data are numbers of another range, which are no grey levels.

    Example:
        >>> from boltzwalk.data import Digits
        >>> top_level(Digits().load())
        16.0
    """
    if float(dataset.shift):
        return 2 * float(dataset.shift)
    largest = float(dataset.to_original(dataset.train.amax()[None]))
    if largest <= 1:
        raise ValueError(
            "the data of the model must be grey levels to compare them with pictures, got numbers "
            f"up to {largest:.4g}; give an array of numbers in the units of the data"
        )
    return 255.0


def model_to_grey(x: Tensor, dataset: Dataset) -> Tensor:
    """Maps model units to grey levels from 0 to 255, uint8.

    Arguments:
        x: Images, shape (N, channels, height, width).
        dataset: The data of the model, images.
    """
    top = top_level(dataset)
    return (dataset.to_original(x) * (255 / top)).round().clamp(0, 255).byte().cpu()


def resize_round_trip(
    grey: Tensor, size: int, channels: int, event: tuple[int, int, int]
) -> Tensor:
    """Resizes images to an intermediate size and to an event shape, so that blur is the same.

    Arguments:
        grey: Images, uint8, shape (N, channels, height, width).
        size: Height and width of the intermediate images, in pixels.
        channels: The channels of the intermediate images, 1 or 3.
        event: The shape of the result, (channels, size, size).

    Example:
        >>> images = torch.full((2, 1, 28, 28), 128, dtype=torch.uint8)
        >>> resize_round_trip(images, 32, 3, (1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """
    if (channels, size, size) == event and tuple(grey.shape[1:]) == event:
        return grey
    resized = []
    for pixels in grey.permute(0, 2, 3, 1).numpy():
        image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        for side, colours in ((size, channels), (event[-1], event[0])):
            image = resize_image(image, side, colours, "stretch")
        resized.append(np.asarray(image))
    stacked = torch.from_numpy(np.stack(resized))
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
            require_picture_range(array, 2 * float(dataset.shift), path)
            return dataset.from_original(torch.from_numpy(array)).to(dataset.train)
    if height != width:
        raise ValueError(
            f"pictures can be scaled to square images only, and the model has {height}x{width}; "
            f"give an array of the shape (N, {channels}, {height}, {width}) in original units"
        )
    form = ImageFormat(height, channels, levels=round(top_level(dataset)) + 1, of_model=True)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        grey = read_image_folder(path, form).grey
    else:
        grey = read_image_array(path, _key(path), form).grey
    return grey_to_model(torch.from_numpy(np.ascontiguousarray(grey)), dataset)


def _read_table(path: Path, dataset: Dataset) -> np.ndarray:
    """Rows of a table in original units, float64, shape (N, D)."""
    rows = read_new_rows(path, dataset)
    bad = [(row, note) for row, note in enumerate(rows.notes) if note]
    if bad:
        row, note = bad[0]
        raise ValueError(
            f"{path} must hold finite numbers, got gaps or text in {len(bad):,} rows, the first "
            f"is {rows.table.location(row)} ({note}); delete these rows"
        )
    return rows.values


def _key(path: Path) -> str | None:
    """The array that `boltzwalk sample` wrote in original units, where the file has one."""
    if path.suffix != ".npz":
        return None
    try:
        with zipfile.ZipFile(path) as content:
            return "original" if "original.npy" in content.namelist() else None
    except zipfile.BadZipFile:
        return None  # reading the array reports the damage
