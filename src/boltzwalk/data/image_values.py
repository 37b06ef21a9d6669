r"""The values of images: which are black and which are white.

Without a setting, 8 bits are 0 to 255 and 16 bits of grey are divided by 257. Floats, negative
numbers, and sets whose brightest value is below a quarter of the range are refused, with the
settings to choose from: binarised images read as 0 to 255 would be black.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

__all__ = [
    "ImageFormat",
    "Resize",
    "array_limits",
    "as_grey",
    "dark_message",
    "file_limits",
    "is_dark",
    "levels_limits",
    "range_advice",
    "require_picture_range",
]

Resize: TypeAlias = Literal["crop", "stretch"]
"""Keep the aspect ratio and crop the longer side, or stretch both sides to the size."""

SHOWN_SHARE = 4
"""The brightest value must be at least the range divided by this."""


class ImageFormat(NamedTuple):
    """How images are brought to one form.

    Attributes:
        size: Height and width of the result in pixels; None to leave them.
        channels: 1 or 3; None for 1 if all images are grey, else 3.
        resize: How an image becomes square.
        value_range: The values of black and white; None for those of the files.
        levels: The number of grey levels: the values are then 0 to levels - 1; None for 256.
        skip_unreadable: Whether to pass over files that cannot be read.
        of_model: Whether a trained model sets the levels: values up to levels - 1 are levels, and
            others grey from 0 to 255.
    """

    size: int | None = None
    channels: int | None = None
    resize: Resize = "crop"
    value_range: tuple[float, float] | None = None
    levels: int | None = None
    skip_unreadable: bool = False
    of_model: bool = False


def require_picture_range(array: np.ndarray, top: float, path: Path) -> None:
    """Raises where images that should be grey levels have values from 0 or -1 to 1.

    Arguments:
        array: Images in the units of the data, any shape; nan where missing.
        top: The largest grey level of the data.
        path: Their file, for the message.

    Raises:
        ValueError: If all values are at most 1 and the data have 8 levels or more.
    """
    known = array[~np.isnan(array)] if array.dtype.kind == "f" else array
    if top < 7 or known.size == 0 or float(known.max()) > 1 or not known.any():
        return
    low = -1 if float(known.min()) < 0 else 0
    factor = f"(x + 1) * {top / 2:g}" if low else f"x * {top:g}"
    raise ValueError(
        f"{path} must hold grey levels from 0 to {top:g}, those of the data, got values from "
        f"{float(known.min()):.4g} to {float(known.max()):.4g}, which would be black; where white "
        f"is 1 and black is {low}, write {factor}"
    )


def file_limits(form: ImageFormat, top: float) -> tuple[float, float]:
    """Returns the values of black and white in a file.

    Arguments:
        form: The form of images.
        top: The largest value that the file can hold.
    """
    if form.value_range is not None:
        return form.value_range
    return (0.0, top) if form.levels is None or form.of_model else levels_limits(form)


def levels_limits(form: ImageFormat) -> tuple[float, float]:
    """Returns the lowest and the highest grey level.

    Arguments:
        form: The form of images.
    """
    return (0.0, float((form.levels or 256) - 1))


def array_limits(array: np.ndarray, path: Path, form: ImageFormat) -> tuple[float, float]:
    """Returns the values of black and white of an array.

    Arguments:
        array: The images, any shape.
        path: Their file, for messages.
        form: The form of images.

    Raises:
        ValueError: If they are unknown, or some values are outside.
    """
    low, high = float(array.min()), float(array.max())
    got = f"got {array.dtype} of shape {array.shape} with values from {low:.4g} to {high:.4g}"
    if not np.isfinite(low + high):
        raise ValueError(f"{path} must hold finite numbers, {got}; replace nan and inf")
    is_integral = array.dtype.kind != "f" or bool((array == np.round(array)).all())
    limits = _known_limits(array, high, form)
    if limits is None:
        return _guessed_limits(array, path, form, got if is_integral else f"{got}, not all whole")
    if not limits[0] <= low <= high <= limits[1] or (form.value_range is None and not is_integral):
        raise ValueError(
            f"{path} must hold {'values' if form.value_range else 'whole levels'} from "
            f"{limits[0]:g} to {limits[1]:g}, {got}; {range_advice(form, low, high)}"
        )
    return limits


def _known_limits(array: np.ndarray, high: float, form: ImageFormat) -> tuple[float, float] | None:
    """The values of black and white by a setting, a model with few levels, or booleans."""
    if form.value_range is not None:
        return form.value_range
    if form.levels is not None and not form.of_model:
        return levels_limits(form)
    top = levels_limits(form)[1]
    if form.of_model and 0 < high <= top < 255:
        return (0.0, top)
    return (0.0, 1.0) if array.dtype.kind == "b" else None


def _guessed_limits(
    array: np.ndarray, path: Path, form: ImageFormat, got: str
) -> tuple[float, float]:
    """The values of black and white by the type and the range of the values."""
    low, high = float(array.min()), float(array.max())
    is_fraction = array.dtype.kind == "f" and high <= 1
    top = 255.0 if array.dtype == np.uint8 or high <= 255 else 65535.0
    if low < 0 or high > top or is_fraction or "not all whole" in got:
        raise ValueError(
            f"{path} must hold images of grey levels from 0 to 255, {got}; "
            f"{range_advice(form, low, high)}"
        )
    if is_dark(high / top, high, form):
        raise ValueError(dark_message(path, high, top, form))
    return (0.0, top)


def is_dark(share: float, high: float, form: ImageFormat) -> bool:
    """Returns whether images would be nearly black, so that their range is doubtful.

    Arguments:
        share: The largest value as a share of white.
        high: The largest value.
        form: The form of images; those for a model may be darker.
    """
    return 0 < high <= 1 if form.of_model else share * SHOWN_SHARE < 1


def range_advice(form: ImageFormat, low: float = 0.0, high: float = 255.0) -> str:
    """Returns the remedy for values of another range.

    Arguments:
        form: The form of images.
        low: The smallest value.
        high: The largest value.
    """
    if form.of_model:
        return "scale them to the grey levels 0 to 255 of pictures, as uint8"
    if high <= 1 and low >= -1:
        guess = "-1,1" if low < 0 else "0,1"
        black, _, white = guess.partition(",")
        binary = ", or data.levels=2 for black and white alone" if low >= 0 else ""
        return f"write data.value_range={guess} where black is {black} and white is {white}{binary}"
    if low >= 0 and high <= 255:
        return "write data.value_range=0,255 where black is 0 and white is 255"
    return "write data.value_range=LOW,HIGH with the values of black and of white"


def dark_message(path: Path, high: float, top: float, form: ImageFormat) -> str:
    """Returns the message for images that would be nearly black.

    Arguments:
        path: Their file or folder.
        high: The largest value.
        top: The value of white.
        form: The form of images.
    """
    message = (
        f"the images of {path} have no value above {high:g}, where white is {top:g}: they would be "
        "nearly black; "
    )
    if form.of_model:
        return f"{message}scale them to the grey levels 0 to 255 of pictures"
    high = max(high, 1.0)
    levels = f"data.levels={high + 1:g}" if high < 255 else f"data.value_range=0,{high:g}"
    return (
        f"{message}write {levels} where {high:g} is white, or data.value_range=0,{top:g} where "
        f"{top:g} is white"
    )


def as_grey(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Returns grey levels from 0 to 255, uint8.

    Arguments:
        values: Numbers between black and white.
        limits: The values of black and of white.

    Example:
        >>> as_grey(np.array([0.0, 0.5, 1.0]), (0, 1))
        array([  0, 128, 255], dtype=uint8)
    """
    low, high = limits
    if values.dtype == np.uint8 and low == 0 and high == 255:
        return values
    return np.rint((values.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
