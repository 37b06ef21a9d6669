r"""Your own images, from a folder of files or one array in a .npy or .npz file; pixel scaling.

Images become grey levels of one shape, (N, channels, height, width); :mod:`.image_files` says which
files are read and what their values mean.

Model units: a grey level :math:`k` of :math:`K` becomes :math:`x = (k - (K - 1) / 2) / s` in
[-1, 1]. Without dequantisation :math:`s = (K - 1) / 2`, so that the darkest and the brightest level
are -1 and 1. With it :math:`s = K / 2`: the K cells have width :math:`2 / K` and fill [-1, 1]
exactly.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .dataset import Dataset
from .files import find_user_path
from .held_out import dequantise_held_out
from .image_files import read_image_array, read_image_folder
from .image_values import ImageFormat, Resize
from .splits import LabelledRows, check_split, split_rows

__all__ = [
    "Images",
    "image_dataset",
    "image_groups",
    "scale_grey_levels",
]


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Images:
    """Your own images, event shape (channels, height, width), in [-1, 1].

    Arguments:
        path: A folder with .png, .jpg and other image files, also in folders below it, or a .npy or
            .npz file with images of shape (N, height, width) or (N, height, width, channels).
        root: The folder that a relative path may start from; None for the environment variable
            BOLTZWALK_DATA, else ./data.
        key: The array of a .npz file; None where there is only one.
        size: Height and width in pixels; None to leave them, if all are equal.
        channels: 1 for grey, 3 for colour; None for grey if all images are grey, else colour.
        resize: "crop" scales the shorter side to the size and cuts the longer one at both ends,
            "stretch" scales each side on its own.
        levels: The number of grey levels, 2 for binarised images; the values of the files are then
            0 to levels - 1. None for 256, or 2 for an array of booleans.
        value_range: The values of black and white in the files, such as (0, 1) for floats or (0,
            4095) for 12 bits; None for 0 to 255, and 0 to 65535 for 16 bits.
        skip_unreadable: Whether to pass over damaged files instead of refusing the folder.
        dequantise: Whether to add uniform noise of the width of one grey level.
        repeats: "together" keeps equal images in one split, "anywhere" splits them one by one.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines the split and the noise of held-out images.

    Raises:
        ValueError: If a setting makes no sense.

    Example:
        >>> Images("photos", size=64).resize
        'crop'
    """

    path: str
    root: str | None = None
    key: str | None = None
    size: int | None = None
    channels: Literal[1, 3] | None = None
    resize: Resize = "crop"
    levels: int | None = None
    value_range: tuple[float, float] | None = None
    skip_unreadable: bool = False
    dequantise: bool = False
    repeats: Literal["together", "anywhere"] = "together"
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(
                f"size must be a number of pixels, 1 or more, got {self.size}; write data.size=64"
            )
        if self.channels not in (None, 1, 3):
            raise ValueError(
                f"channels must be 1 (grey) or 3 (colour), got {self.channels}; write "
                "data.channels=3"
            )
        if self.resize not in ("crop", "stretch"):
            raise ValueError(
                f"resize must be crop or stretch, got {self.resize!r}; write data.resize=crop"
            )
        if self.levels is not None and not 2 <= self.levels <= 256:
            raise ValueError(
                f"levels must be from 2 to 256, got {self.levels}; write data.levels=2 for black "
                "and white"
            )
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(
                "value_range must be the values of black and of white, the smaller first, got "
                f"{self.value_range}; write data.value_range=0,1"
            )
        if self.repeats not in ("together", "anywhere"):
            raise ValueError(
                f"repeats must be together or anywhere, got {self.repeats!r}; write "
                "data.repeats=together to keep equal images in one split"
            )
        check_split(self.split)

    def load(self) -> Dataset:
        """Loads the images.

        Raises:
            FileNotFoundError: If the path does not exist.
            ValueError: If there are no images, one cannot be read, or they differ in size and
                `size` is None.
        """
        path = find_user_path(self.path, self.root)
        form = ImageFormat(
            self.size,
            self.channels,
            self.resize,
            self.value_range,
            self.levels,
            self.skip_unreadable,
        )
        if path.is_dir():
            grey, levels = read_image_folder(path, form)
        else:
            grey, levels = read_image_array(path, self.key, form)
        if len(grey) > 1 and bool((grey == grey[:1]).all()):
            raise ValueError(
                f"the images of {path} must differ, got {len(grey)} that are equal; name the "
                "folder of your images with data.path=..."
            )
        if levels < 256:
            grey = np.rint(grey * ((levels - 1) / 255)).astype(np.uint8)
        every = LabelledRows(torch.from_numpy(np.ascontiguousarray(grey)))
        return image_dataset(
            split_rows(every, self.split, self.split_seed, self._groups(every.x, path)),
            levels=levels,
            dequantise=self.dequantise,
            seed=self.split_seed,
            source=str(path),
        )

    def _groups(self, images: Tensor, path: Path) -> Tensor | None:
        """The groups of equal images that stay in one split; None to split them one by one."""
        groups = image_groups(images)
        copies = len(groups) - (int(groups.max()) + 1)
        if not copies:
            return None
        apart = self.repeats == "anywhere"
        where = "split one by one" if apart else "in one split"
        logger.info("%s: %s images repeat another, equal images are %s", path, f"{copies:,}", where)
        return None if apart else groups


def image_groups(images: Tensor) -> Tensor:
    """Returns the number of the group of equal images of each image, from 0, shape (N,).

    Arguments:
        images: The images, uint8, shape (N, channels, height, width).

    Example:
        >>> image_groups(torch.tensor([5, 7, 5], dtype=torch.uint8)[:, None, None, None])
        tensor([0, 1, 0])
    """
    numbers: dict[bytes, int] = {}
    groups = [
        numbers.setdefault(hashlib.sha256(image.tobytes()).digest(), len(numbers))
        for image in images.numpy()
    ]
    return torch.tensor(groups)


def scale_grey_levels(grey: Tensor, levels: int, dequantise: bool) -> Float[Tensor, "N *event"]:
    r"""Maps grey levels to [-1, 1], float32, shape (N, \*event).

    Arguments:
        grey: Levels from 0 to levels - 1, shape (N, \*event).
        levels: The number of levels :math:`K`.
        dequantise: Whether to leave room for the cells of the outermost levels.

    Example:
        >>> scale_grey_levels(torch.tensor([0, 255]), 256, False)
        tensor([-1.,  1.])
        >>> scale_grey_levels(torch.tensor([0, 1]), 2, True)
        tensor([-0.5000,  0.5000])
    """
    scale = (levels if dequantise else levels - 1) / 2
    return grey.to(torch.float32, copy=True).sub_((levels - 1) / 2).div_(scale)


def image_dataset(
    splits: tuple[LabelledRows, LabelledRows, LabelledRows],
    *,
    levels: int,
    dequantise: bool,
    seed: int,
    class_names: tuple[str, ...] = (),
    source: str,
    standard: str = "",
) -> Dataset:
    """Makes a data set of images in [-1, 1] from grey levels.

    Arguments:
        splits: Training, validation and test images as grey levels, shape (N, channels, height,
            width), with their labels.
        levels: The number of grey levels.
        dequantise: Whether training rows get fresh uniform noise in every batch, and validation
            and test rows fixed noise.
        seed: Determines the noise of validation and test rows.
        class_names: The meaning of the labels.
        source: The origin of the images, for people to read.
        standard: The well-known set that they are from, "" for none.
    """
    train, validation, test = splits
    scale = (levels if dequantise else levels - 1) / 2
    data = Dataset(
        scale_grey_levels(train.x, levels, dequantise),
        scale_grey_levels(validation.x, levels, dequantise),
        scale_grey_levels(test.x, levels, dequantise),
        train_labels=train.labels,
        validation_labels=validation.labels,
        test_labels=test.labels,
        class_names=class_names,
        low=-1.0,
        high=1.0,
        quantum=1 / scale if dequantise else 0.0,
        shift=torch.tensor((levels - 1) / 2, dtype=torch.float32),
        scale=torch.tensor(scale, dtype=torch.float32),
        source=source,
        standard=standard,
    )
    return dequantise_held_out(data, seed)
