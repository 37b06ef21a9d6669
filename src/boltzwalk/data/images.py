r"""Your own images: a folder of files, or one array in a .npy or .npz file.

Pictures of any kind as uint8 arrays of one shape, (N, channels, size, size).

Pillow reads and scales. A picture is turned as its camera noted and loses its transparency; one
with more than 8 bits a channel is refused, because it would be clipped.

Grey levels and model units: images come in [-1, 1].

A grey level :math:`k` of :math:`K` becomes :math:`x = (k - (K - 1) / 2) / s`. Without
dequantisation :math:`s = (K - 1) / 2`, so that the darkest and the brightest level are -1 and 1.
With it :math:`s = K / 2`: the K cells have width :math:`2 / K` and fill [-1, 1] exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch

from .dataset import Dataset
from .files import read_array, resolve
from .splits import Part, check_split, split

if TYPE_CHECKING:
    from PIL import Image
from jaxtyping import Float
from torch import Tensor

from .dataset import dequantise_held_out

__all__ = [
    "Images",
    "Resize",
    "fit_picture",
    "from_grey",
    "image_dataset",
    "read_array_of_pictures",
    "read_folder",
]


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


Resize: TypeAlias = Literal["crop", "stretch"]
"""Keep the aspect and cut off what is over, or give it up and keep everything."""

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read_folder(folder: Path, size: int | None, channels: int | None, resize: Resize) -> np.ndarray:
    """Reads the image files of a folder and of those in it, sorted by their paths.

    Arguments:
        folder: The folder; files of other kinds are passed over.
        size: Height and width of the result in pixels; None to leave them, if all are equal.
        channels: 1 or 3; None for 1 if all images are grey, else 3.
        resize: How an image that is not square becomes so.

    Raises:
        ValueError: If there are no images, one cannot be read, or they differ in size.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise ValueError(
            f"{folder} must hold image files ({', '.join(SUFFIXES)}), got none; write "
            "data.path=... with the folder of your images"
        )
    pictures = []
    for path in paths:
        pictures.append(fit_picture(_open(path), size, channels, resize))
        if pictures[-1].size != pictures[0].size:
            (w, h), (w0, h0) = pictures[-1].size, pictures[0].size
            raise ValueError(
                f"the images in {folder} must have one size, got {paths[0].name} of {h0}x{w0} and "
                f"{path.name} of {h}x{w} (height x width); write data.size=64 to scale them"
            )
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    stacked = np.stack([np.asarray(picture.convert(mode)) for picture in pictures])
    return stacked[:, None] if mode == "L" else stacked.transpose(0, 3, 1, 2)


def read_array_of_pictures(
    path: Path, key: str | None, size: int | None, channels: int | None, resize: Resize
) -> np.ndarray:
    """Reads an array of images from a .npy or .npz file.

    Arguments:
        path: The file, uint8 of shape (N, height, width), (N, height, width, channels) or (N,
            channels, height, width).
        key: Which array of a .npz file to use; None where there is only one.
        size: Height and width of the result in pixels; None to leave them.
        channels: 1 or 3; None to leave them.
        resize: How an image that is not square becomes so.

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
        pictures = (fit_picture(Image.fromarray(a), size, channels, resize) for a in array)
        array = np.stack([np.asarray(picture) for picture in pictures])
    return array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)


def fit_picture(
    picture: Image.Image, size: int | None, channels: int | None, resize: Resize
) -> Image.Image:
    """Gives a picture the wanted channels and size, by a Lanczos filter.

    Arguments:
        picture: A picture of mode "L" or "RGB".
        size: Height and width of the result in pixels; None to leave them.
        channels: 1 or 3; None to leave them.
        resize: "crop" scales the shorter side to the size and cuts the longer one at both ends,
            "stretch" scales each side on its own.

    Example:
        >>> from PIL import Image
        >>> fit_picture(Image.new("RGB", (40, 20)), 8, 1, "crop").size
        (8, 8)
    """
    from PIL import Image, ImageOps

    if channels is not None:
        picture = picture.convert("L" if channels == 1 else "RGB")
    if size is None or picture.size == (size, size):
        return picture
    if resize == "crop":
        return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def _open(path: Path) -> Image.Image:
    """Reads an image file as a picture of mode "L" or "RGB"."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} must be a whole image file, got one that cannot be read ({error}); delete or "
            "replace it"
        ) from error
    if picture.mode.startswith(("I", "F")):
        raise ValueError(
            f"{path} must have 8 bits a channel, got the mode {picture.mode!r} with more; convert "
            "it to 8 bits, so that its range is your choice"
        )
    return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")


def from_grey(grey: Tensor, levels: int, dequantise: bool) -> Float[Tensor, "N *event"]:
    r"""Maps grey levels to [-1, 1], float32, shape (N, \*event).

    Arguments:
        grey: Levels from 0 to levels - 1, shape (N, \*event).
        levels: The number of levels :math:`K`.
        dequantise: Whether to leave room for the cells of the outermost levels.

    Example:
        >>> from_grey(torch.tensor([0, 255]), 256, False), from_grey(torch.tensor([0, 1]), 2, True)
        (tensor([-1.,  1.]), tensor([-0.5000,  0.5000]))
    """
    scale = (levels if dequantise else levels - 1) / 2
    return grey.to(torch.float32, copy=True).sub_((levels - 1) / 2).div_(scale)


def image_dataset(
    parts: tuple[Part, Part, Part],
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
        parts: Training, validation and test images as grey levels, shape (N, channels, height,
            width), with their labels.
        levels: The number of grey levels.
        dequantise: Whether training rows get fresh uniform noise in every batch, and validation
            and test rows fixed noise.
        seed: Determines the noise of validation and test rows.
        class_names: The meaning of the labels.
        source: Where the images came from.
        standard: Which well-known set they are of, "" for none.
    """
    train, validation, test = parts
    scale = (levels if dequantise else levels - 1) / 2
    data = Dataset(
        from_grey(train.x, levels, dequantise),
        from_grey(validation.x, levels, dequantise),
        from_grey(test.x, levels, dequantise),
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
