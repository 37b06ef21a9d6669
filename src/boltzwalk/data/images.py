r"""Your own images, from a folder of files or one array in a .npy or .npz file; pixel scaling.

Images are uint8 arrays of one shape, (N, channels, size, size). Pillow reads and resizes them. An
image is rotated as its camera noted and loses its transparency. One with more than 8 bits a channel
is refused, because it would be clipped.

Model units: a grey level :math:`k` of :math:`K` becomes :math:`x = (k - (K - 1) / 2) / s` in
[-1, 1]. Without dequantisation :math:`s = (K - 1) / 2`, so that the darkest and the brightest level
are -1 and 1. With it :math:`s = K / 2`: the K cells have width :math:`2 / K` and fill [-1, 1]
exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .dataset import Dataset, dequantise_held_out
from .files import find_user_path, read_array
from .splits import LabelledRows, check_split, split_rows

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Images",
    "Resize",
    "image_dataset",
    "read_image_array",
    "read_image_folder",
    "resize_image",
    "scale_grey_levels",
]


@dataclass(frozen=True)
class Images:
    """Your own images, event shape (channels, height, width), in [-1, 1].

    Arguments:
        path: A folder with .png, .jpg and other image files, also in folders below it, or a .npy or
            .npz file with uint8 images of shape (N, height, width) or (N, height, width, channels).
        root: The folder that a relative path may start from; None for the environment variable
            BOLTZWALK_DATA, else ./data.
        key: The array of a .npz file; None where there is only one.
        size: Height and width in pixels; None to leave them, if all are equal.
        channels: 1 for grey, 3 for colour; None for grey if all images are grey, else colour.
        resize: "crop" scales the shorter side to the size and cuts the longer one at both ends,
            "stretch" scales each side on its own.
        dequantise: Whether to add uniform noise of the width of one grey level.
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
            FileNotFoundError: If the path does not exist.
            ValueError: If there are no images, one cannot be read, or they differ in size and
                `size` is None.
        """
        path = find_user_path(self.path, self.root)
        if path.is_dir():
            grey = read_image_folder(path, self.size, self.channels, self.resize)
        else:
            grey = read_image_array(path, self.key, self.size, self.channels, self.resize)
        every = LabelledRows(torch.from_numpy(np.ascontiguousarray(grey)))
        return image_dataset(
            split_rows(every, self.split, self.split_seed),
            levels=256,
            dequantise=self.dequantise,
            seed=self.split_seed,
            source=str(path),
        )


Resize: TypeAlias = Literal["crop", "stretch"]
"""Keep the aspect ratio and crop the longer side, or stretch both sides to the size."""

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read_image_folder(
    folder: Path, size: int | None, channels: int | None, resize: Resize
) -> np.ndarray:
    """Reads the image files of a folder and of those in it, sorted by their paths.

    Arguments:
        folder: The folder; files of other kinds are ignored.
        size: Height and width of the result in pixels; None to leave them, if all are equal.
        channels: 1 or 3; None for 1 if all images are grey, else 3.
        resize: How an image becomes square.

    Raises:
        ValueError: If there are no images, one cannot be read, or they differ in size.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise ValueError(
            f"{folder} must hold image files ({', '.join(SUFFIXES)}), got none; write "
            "data.path=... with the folder of your images"
        )
    images = []
    for path in paths:
        images.append(resize_image(_open(path), size, channels, resize))
        if images[-1].size != images[0].size:
            (w, h), (w0, h0) = images[-1].size, images[0].size
            raise ValueError(
                f"the images in {folder} must have one size, got {paths[0].name} of {h0}x{w0} and "
                f"{path.name} of {h}x{w} (height x width); write data.size=64 to scale them"
            )
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    stacked = np.stack([np.asarray(image.convert(mode)) for image in images])
    return stacked[:, None] if mode == "L" else stacked.transpose(0, 3, 1, 2)


def read_image_array(
    path: Path, key: str | None, size: int | None, channels: int | None, resize: Resize
) -> np.ndarray:
    """Reads an array of images from a .npy or .npz file.

    Arguments:
        path: The file, uint8 of shape (N, height, width), (N, height, width, channels) or (N,
            channels, height, width).
        key: The array of a .npz file; None where there is only one.
        size: Height and width of the result in pixels; None to leave them.
        channels: 1 or 3; None to leave them.
        resize: How an image becomes square.

    Raises:
        ValueError: If the file is damaged or does not hold images.
    """
    from PIL import Image

    array = read_array(path, key)
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    fits = array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))
    if array.dtype != np.uint8 or not fits or 0 in array.shape:
        raise ValueError(
            f"{path} must hold uint8 images from 0 to 255 of shape (N, height, width), (N, height, "
            f"width, 1 or 3) or (N, 1 or 3, height, width), got {array.dtype} of shape "
            f"{array.shape}; from values in [0, 1] write (255 * x).round().astype(numpy.uint8)"
        )
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if size is not None or channels is not None:
        images = (resize_image(Image.fromarray(a), size, channels, resize) for a in array)
        array = np.stack([np.asarray(image) for image in images])
    return array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)


def resize_image(
    image: Image.Image, size: int | None, channels: int | None, resize: Resize
) -> Image.Image:
    """Converts an image to the given channels and size, by a Lanczos filter.

    Arguments:
        image: An image of mode "L" or "RGB".
        size: Height and width of the result in pixels; None to leave them.
        channels: 1 or 3; None to leave them.
        resize: "crop" scales the shorter side to the size and cuts the longer one at both ends,
            "stretch" scales each side on its own.

    Example:
        >>> from PIL import Image
        >>> resize_image(Image.new("RGB", (40, 20)), 8, 1, "crop").size
        (8, 8)
    """
    from PIL import Image, ImageOps

    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if size is None or image.size == (size, size):
        return image
    if resize == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    return image.resize((size, size), Image.Resampling.LANCZOS)


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


def _open(path: Path) -> Image.Image:
    """Reads an image file as an image of mode "L" or "RGB"."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            opened.load()
            image = ImageOps.exif_transpose(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} must be a complete image file, got one that cannot be read ({error}); "
            "delete or replace it"
        ) from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{path} must have 8 bits a channel, got the mode {image.mode!r} with more; convert "
            "it to 8 bits, so that its range is your choice"
        )
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
