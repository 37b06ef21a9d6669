"""Your own images: a folder of files, or one array in a .npy or .npz file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from .dataset import Dataset
from .files import resolve
from .greys import image_dataset
from .parts import Part, check_split, split
from .pictures import Resize, read_array_of_pictures, read_folder

__all__ = ["Images"]


@dataclass(frozen=True)
class Images:
    """Your own images, event shape (channels, height, width), in [-1, 1].

    Arguments:
        path: A folder with .png, .jpg and other image files, also in folders below it, or a .npy or
            .npz file with uint8 images of shape (N, height, width) or (N, height, width, channels).
        root: Where to look if there is nothing at the path; None for the environment variable
            BOLTZWALK_DATA, else ./data.
        key: Which array of a .npz file to use; None where there is only one.
        size: Height and width in pixels; None to leave them, if all are equal.
        channels: 1 for grey, 3 for colour; None for grey if all images are grey, else colour.
        resize: "crop" scales the shorter side to the size and cuts the longer one at both ends,
            "stretch" scales each side on its own.
        dequantise: Whether to add uniform noise of the width of one grey level.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines which image goes where, and the noise of held-out images.

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
    dequantise: bool = False
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
        check_split(self.split)

    def load(self) -> Dataset:
        """Loads the images.

        Raises:
            FileNotFoundError: If there is nothing at the path.
            ValueError: If there are no images, one cannot be read, or they differ in size and
                `size` is None.
        """
        path = resolve(self.path, self.root)
        if path.is_dir():
            grey = read_folder(path, self.size, self.channels, self.resize)
        else:
            grey = read_array_of_pictures(path, self.key, self.size, self.channels, self.resize)
        every = Part(torch.from_numpy(np.ascontiguousarray(grey)))
        return image_dataset(
            split(every, self.split, self.split_seed),
            levels=256,
            dequantise=self.dequantise,
            seed=self.split_seed,
            source=str(path),
        )
