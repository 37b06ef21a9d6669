r"""Image files and arrays of images as grey levels of 8 bits.

A folder is read with the folders in it. Passed over are files and folders whose name begins with a
dot, thumbnails and resource forks of other systems (``__MACOSX``, ``@eaDir``), links to folders,
and files without the ending of an image. A line of the log counts them.

Black and white are those of :mod:`.image_values`; of 16 bits of colour Pillow takes the upper 8. An
image is rotated as its camera noted, loses its transparency, and gives its first frame.
"""

from __future__ import annotations

import logging
import os
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .files import read_array
from .image_values import (
    ImageFormat,
    Resize,
    array_limits,
    as_grey,
    dark_message,
    file_limits,
    is_dark,
    levels_limits,
    range_advice,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["IMAGE_SUFFIXES", "Pictures", "read_image_array", "read_image_folder", "resize_image"]


IMAGE_SUFFIXES = (
    *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)

SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information")
"""Folders of other systems, with copies or thumbnails of the images next to them."""

LISTED = 10
"""The most files that a message names."""

BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(OverflowError, ZeroDivisionError, NotImplementedError, struct.error, zlib.error),
)
"""The errors by which Pillow reports a damaged file."""

MOST_PIXELS = 1 << 26
"""The most pixels of an image: a small file can hold very many of one colour."""

logger = logging.getLogger(__name__)


class Pictures(NamedTuple):
    """Images as they were read.

    Attributes:
        grey: Grey levels from 0 to 255, uint8, shape (N, channels, height, width).
        levels: How many different levels the files can have.
    """

    grey: np.ndarray
    levels: int


def read_image_folder(folder: Path, form: ImageFormat) -> Pictures:
    """Reads the images of a folder and of those in it, sorted by their paths, or one image file.

    Arguments:
        folder: The folder, or the file of one image.
        form: How they are brought to one form.

    Raises:
        ValueError: With every problem: no images, files that cannot be read, several sizes, values
            of an unknown range.
    """
    paths, passed_over = _image_paths(folder)
    if not paths:
        left = f" ({_counted(passed_over)})" if passed_over else ""
        raise ValueError(
            f"{folder} must hold image files ({', '.join(IMAGE_SUFFIXES)}), got none{left}; name "
            "the folder of your images"
        )
    batch = _Pictures(folder, form)
    for path in paths:
        batch.add(path)
    if form.of_model and batch.has_levels:
        batch = _Pictures(folder, form._replace(value_range=levels_limits(form)))
        for path in paths:
            batch.add(path)
    images = batch.checked(passed_over)
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    stacked = np.stack([np.asarray(image.convert(mode)) for image in images])
    result = stacked[:, None] if mode == "L" else stacked.transpose(0, 3, 1, 2)
    logger.info("%s: %s", folder, batch.summary(result.shape, passed_over))
    return Pictures(result, form.levels or 256)


def read_image_array(path: Path, key: str | None, form: ImageFormat) -> Pictures:
    """Reads an array of images from a .npy or .npz file.

    Arguments:
        path: The file: numbers or booleans of shape (N, height, width), (N, height, width,
            channels) or (N, channels, height, width).
        key: The array of a .npz file; None where there is only one.
        form: How the images are brought to one form.

    Raises:
        ValueError: If the file is damaged, does not hold images, or their values have an unknown
            range.
    """
    from PIL import Image

    array = read_array(path, key)
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    fits = array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))
    if array.dtype.kind not in "buif" or not fits or 0 in array.shape:
        raise ValueError(
            f"{path} must hold images of numbers, of shape (N, height, width), (N, height, width, "
            f"1 or 3) or (N, 1 or 3, height, width), got {array.dtype} of shape {array.shape}"
        )
    levels = form.levels or (2 if array.dtype.kind == "b" and form.value_range is None else 256)
    array = as_grey(array, array_limits(array, path, form))
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if form.size is not None or form.channels is not None:
        pictures = (
            resize_image(Image.fromarray(a), form.size, form.channels, form.resize) for a in array
        )
        array = np.stack([np.asarray(picture) for picture in pictures])
    result = array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)
    logger.info("%s: %s images read as %s", path, f"{len(result):,}", _shape(result.shape))
    return Pictures(result, levels)


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


class _Pictures:
    """Images of a folder as they are read, with the problems of all of them."""

    def __init__(self, folder: Path, form: ImageFormat) -> None:
        self.folder, self.form = folder, form
        self.images: list[Image.Image] = []
        self.sizes: dict[tuple[int, int], Path] = {}
        self.unreadable: list[str] = []
        self.wrong_range: list[str] = []
        self.extremes: dict[float, tuple[float, float]] = {}  # by the top of the range
        self.remarks: Counter[str] = Counter()

    @property
    def has_levels(self) -> bool:
        """Whether all values are levels of a model with fewer than 256."""
        largest = max((high for _, high in self.extremes.values()), default=0.0)
        levels = self.form.levels or 256
        return levels < 256 and 0 < largest <= levels - 1

    def add(self, path: Path) -> None:
        """Reads one file."""
        from PIL import Image

        form = self.form
        try:
            pixels, remarks = _pixels(path)
        except (*BROKEN, Image.DecompressionBombError) as error:
            self.unreadable.append(f"{path.relative_to(self.folder.parent)} ({error})")
            return
        self.remarks.update(remarks)
        top = 255.0 if pixels.dtype == np.uint8 else 65535.0
        low, high = float(pixels.min()), float(pixels.max())
        before = self.extremes.get(top, (low, high))
        self.extremes[top] = (min(low, before[0]), max(high, before[1]))
        limits = file_limits(form, top)
        if pixels.dtype.kind == "f" and form.value_range is None:
            self.wrong_range.append(f"{path.name} has floats from {low:.4g} to {high:.4g}")
            return
        if not limits[0] <= low <= high <= limits[1]:
            self.wrong_range.append(f"{path.name} has values from {low:g} to {high:g}")
            return
        image = resize_image(
            Image.fromarray(as_grey(pixels, limits)), form.size, form.channels, form.resize
        )
        self.sizes.setdefault((pixels.shape[0], pixels.shape[1]), path)
        self.images.append(image)

    def checked(self, passed_over: Counter[str]) -> list[Image.Image]:
        """Returns the images, if they can be stacked.

        Raises:
            ValueError: With every problem of the folder.
        """
        problems = []
        if self.unreadable and not (self.form.skip_unreadable and self.images):
            advice = "" if self.form.of_model else ", or write data.skip_unreadable=true"
            problems.append(
                f"every image of {self.folder} must be a complete image file, got "
                f"{len(self.unreadable)} that cannot be read: {_listed(self.unreadable)}; delete "
                f"or replace them{advice}"
            )
        if self.wrong_range:
            limits = file_limits(self.form, 65535.0)
            problems.append(
                f"the images of {self.folder} must have values from {limits[0]:g} to "
                f"{limits[1]:g}, got {_listed(self.wrong_range)}; {range_advice(self.form)}"
            )
        if self.form.size is None and len(self.sizes) > 1:
            (h0, w0), (h, w) = list(self.sizes)[:2]
            first, second = (path.name for path in list(self.sizes.values())[:2])
            problems.append(
                f"the images in {self.folder} must have one size, got {first} of {h0}x{w0} and "
                f"{second} of {h}x{w} (height x width); write data.size=64 to scale them"
            )
        if not problems and self.form.value_range is None and not self._levels_are_set:
            top = max(self.extremes)
            share = max(high / t for t, (_, high) in self.extremes.items())
            if is_dark(share, max(high for _, high in self.extremes.values()), self.form):
                problems.append(dark_message(self.folder, self.extremes[top][1], top, self.form))
        if problems:
            raise ValueError("; and ".join(problems))
        if self.unreadable:
            passed_over["unreadable"] = len(self.unreadable)
        return self.images

    @property
    def _levels_are_set(self) -> bool:
        return self.form.levels is not None and not self.form.of_model

    def summary(self, shape: tuple[int, ...], passed_over: Counter[str]) -> str:
        """One line about the images that were read and the files that were not."""
        heights, widths = zip(*self.sizes, strict=True)
        text = f"{shape[0]:,} images read as {_shape(shape)}"
        if set(self.sizes) != {shape[2:]}:
            small, large = f"{min(heights)}x{min(widths)}", f"{max(heights)}x{max(widths)}"
            way = "scaled and cropped" if self.form.resize == "crop" else "stretched"
            text += f", {way} from {small}" + (f" to {large}" if large != small else "")
        if self.remarks:
            text += f"; {_counted(self.remarks)}"
        return text + (f"; passed over: {_counted(passed_over)}" if passed_over else "")


def _image_paths(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The image files, sorted, and the number of files passed over, by kind."""
    if folder.is_file():
        return [folder], Counter()
    paths, passed_over = [], Counter[str]()
    for path in _files(folder):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            passed_over["hidden"] += 1
        elif any(part in SYSTEM_FOLDERS for part in parts):
            passed_over["in folders of other systems"] += 1
        elif path.is_dir():
            passed_over["links to folders"] += 1
        elif path.suffix.lower() not in IMAGE_SUFFIXES:
            passed_over[path.suffix.lower() or "without an ending"] += 1
        elif not path.is_file():
            passed_over["links to nothing"] += 1
        else:
            paths.append(path)
    return sorted(paths), passed_over


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, and links to folders, which are not followed."""
    for parent, folders, files in os.walk(folder):
        for name in (*files, *(f for f in folders if Path(parent, f).is_symlink())):
            yield Path(parent, name)


def _pixels(path: Path) -> tuple[np.ndarray, list[str]]:
    """The values of an image, shape (H, W) or (H, W, 3), and remarks about it."""
    from PIL import Image, ImageOps

    remarks = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged EXIF data and of palettes with transparency
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:  # before they are unpacked
                raise ValueError(f"{opened.width:,} x {opened.height:,} pixels, too many to read")
            opened.load()
            if getattr(opened, "is_animated", False):
                remarks.append("with several frames, the first is taken")
            image = ImageOps.exif_transpose(opened)
        if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
            remarks.append("with transparency, which is dropped")
        if image.mode.startswith("I"):
            remarks.append("of 16 bits")
            return np.asarray(image).astype(np.int64), remarks
        if image.mode == "F":
            values = np.asarray(image).astype(np.float64)
            if not np.isfinite(values).all():
                raise ValueError("values that are not finite")
            return values, remarks
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")), remarks


def _shape(shape: tuple[int, ...]) -> str:
    """The form of images of shape (N, channels, height, width), in words."""
    return f"{'colour' if shape[1] == 3 else 'grey'} {shape[2]}x{shape[3]}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


def _listed(names: Sequence[str] | Iterable[str]) -> str:
    """The first names, and how many follow."""
    every = list(names)
    more = f" and {len(every) - LISTED:,} more" if len(every) > LISTED else ""
    return ", ".join(every[:LISTED]) + more
