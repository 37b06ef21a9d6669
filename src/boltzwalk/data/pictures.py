"""Pictures of any kind as uint8 arrays of one shape, (N, channels, size, size).

Pillow reads and scales. A picture is turned as its camera noted and loses its transparency; one
with more than 8 bits a channel is refused, because it would be clipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from .arrays import read_array

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Resize", "fit_picture", "read_array_of_pictures", "read_folder"]

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
