r"""Rows to complete: rows of a file with missing entries, or held-out rows, and their masks.

Visible entries are taken as they are: no scaling of pictures, no noise of dequantisation. A mask
says which entries are hidden:

==========================  ======================================================================
``lower upper left right``  a half of an image
``center``                  the square in its middle with half of its height and width
``2,0,4,8``                 a box: top, left, height, width in pixels
``mask.npy``, ``mask.png``  nonzero where hidden: one mask for all images, or one for each
``height,weight``           columns of a table by name
==========================  ======================================================================

Empty fields of a table, and nan in any array, are hidden as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..data import Dataset
from ..data.external import top_level
from ..data.files import read_array
from ..data.image_files import read_image_array, read_image_folder
from ..data.image_values import ImageFormat, require_picture_range
from ..data.masks import box_mask
from ..data.new_rows import read_new_rows
from ..data.readable import readable_rows

__all__ = [
    "Inputs",
    "held_out_examples",
    "make_inputs",
    "parse_mask",
    "read_partial",
    "require_mask",
]


class Inputs(NamedTuple):
    r"""Rows to complete.

    Attributes:
        x: The rows in model units, hidden values filled with their training mean, (N, \*event).
        hidden: Which values are hidden in the units of the data, shape (N, \*event).
        original: The rows in the units of the data, float64; nan where unknown.
        truth: The full rows in model units, shape (N, \*event); None where they are not known.
    """

    x: Float[Tensor, "N *event"]
    hidden: Bool[Tensor, "N *event"]
    original: Float[Tensor, "N *event"]
    truth: Float[Tensor, "N *event"] | None


def make_inputs(
    dataset: Dataset, original: Tensor, mask: str | None, truth: Tensor | None
) -> Inputs:
    r"""Returns rows to complete: entries that are nan or masked are hidden.

    Arguments:
        dataset: The data of the model.
        original: Rows in the units of the data, float64, nan where missing, shape (N, \*event).
        mask: The mask as text, see above; None hides missing entries alone.
        truth: The full rows in the units of the data; None takes the rows themselves, if full.

    Raises:
        ValueError: If everything or nothing is hidden, or the truth has another shape or gaps.

    Example:
        >>> data = Dataset(torch.zeros(4, 2), torch.zeros(0, 2), torch.zeros(0, 2))
        >>> make_inputs(data, torch.tensor([[1.0, torch.nan]]).double(), None, None).x
        tensor([[1., 0.]])
    """
    hidden = original.isnan()
    if mask is not None:
        hidden = hidden | parse_mask(mask, dataset.event_shape, len(original), dataset.columns)
    require_mask(hidden)
    if truth is None and not bool(original.isnan().any()):
        truth = original
    if truth is not None and (truth.shape != original.shape or bool(truth.isnan().any())):
        raise ValueError(
            f"the truth must be {len(original)} full rows like those to complete, got "
            f"{len(truth)} rows with {int(truth.isnan().sum())} missing entries; give the same "
            "rows in the same order"
        )
    mean = dataset.to_original(dataset.train.mean(0, keepdim=True)).cpu().double()
    x = _to_model(dataset, torch.where(hidden, mean, original))
    known = None if truth is None else _to_model(dataset, truth)
    return Inputs(x, hidden.to(x.device), original, known)


def held_out_examples(dataset: Dataset, n: int = 16) -> tuple[Tensor, str]:
    r"""Returns the first held-out rows, in the units of the data, and their name.

    Arguments:
        dataset: The data.
        n: Their number.
    """
    rows, name = torch.cat([dataset.validation, dataset.test])[:n], "held-out rows"
    if len(rows) == 0:
        rows, name = dataset.train[:n], "training rows, as none were held out"
    # With few digits: 8.1 in a file was rounded to float32, and 8.1 comes back.
    return torch.from_numpy(readable_rows(dataset, rows)), f"the first {len(rows)} {name}"


def read_partial(path: Path, dataset: Dataset) -> Tensor:
    r"""Returns the rows of a file in the units of the data, nan where missing, shape (N, \*event).

    Images are one file, a folder, or a .npy or .npz file, of the size of the data: uint8 pictures,
    or numbers in the units of the data with nan where missing. A table is text with empty fields or
    nan, or an array.

    Arguments:
        path: The file or folder.
        dataset: The data of the model.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If it does not hold such rows, or a value is outside of the range of the data.
    """
    if not path.exists():
        raise FileNotFoundError(f"there must be a file or folder of rows at {path}, found nothing")
    image = len(dataset.event_shape) == 3
    y = _images(path, dataset) if image else torch.from_numpy(_table(path, dataset))
    if y.shape[1:] != dataset.event_shape or len(y) == 0:
        expected = ", ".join(map(str, dataset.event_shape))
        raise ValueError(
            f"{path} must hold rows of shape ({expected}), that of the data, got "
            f"{tuple(y.shape[1:])}; {'scale the images' if image else 'give these columns'}"
        )
    if bool(y.isinf().any()):
        raise ValueError(f"{path} must hold finite numbers, or nan where missing, got inf")
    if image and dataset.low is not None and dataset.high is not None:
        ends = torch.tensor([dataset.low, dataset.high]).reshape(2, *[1] * 3)
        low, high = dataset.to_original(ends.to(dataset.train)).flatten().tolist()
        known = y[~y.isnan()]
        if len(known) and not low <= float(known.min()) <= float(known.max()) <= high:
            raise ValueError(
                f"{path} must hold values from {low:g} to {high:g}, the units of the data, got "
                f"{float(known.min()):g} to {float(known.max()):g}; scale them, or give uint8 "
                "pictures"
            )
    return y


def _table(path: Path, dataset: Dataset) -> np.ndarray:
    """Rows of a table in the units of the data, float64, nan where missing, shape (N, D)."""
    rows = read_new_rows(path, dataset)
    if rows.unreadable.any():
        row = int(rows.unreadable.argmax())
        raise ValueError(
            f"{path} must hold numbers, or nothing where they are missing, got "
            f"{int(rows.unreadable.sum()):,} rows with other fields, the first is "
            f"{rows.table.location(row)} ({rows.notes[row]}); leave these fields empty"
        )
    return rows.values


def _to_model(dataset: Dataset, original: Tensor) -> Tensor:
    """Rows in model units, through float64, of the type and on the device of the data."""
    return dataset.from_original(original).to(dataset.train)


def _images(path: Path, dataset: Dataset) -> Tensor:
    """Images in the units of the data, float64."""
    channels, height, width = dataset.event_shape
    is_array = path.suffix in (".npy", ".npz") and path.is_file()
    if is_array:
        array = read_array(path, None)
        if array.dtype.kind == "f":
            require_picture_range(array, 2 * float(dataset.shift), path)
            images = torch.from_numpy(array.astype(np.float64))
            bare = channels == 1 and images.shape[1:] == (height, width)
            return images[:, None] if bare else images
    top = top_level(dataset)
    form = ImageFormat(channels=channels, levels=round(top) + 1, of_model=True)
    if is_array:
        grey = read_image_array(path, None, form._replace(channels=None)).grey
    else:
        grey = read_image_folder(path, form).grey
    if tuple(grey.shape[1:]) != dataset.event_shape:
        return torch.from_numpy(np.ascontiguousarray(grey)).double()  # refused by its shape
    return torch.from_numpy(grey * (top / 255))


def parse_mask(
    text: str, event: tuple[int, ...], n: int, columns: tuple[str, ...]
) -> Bool[Tensor, "n *event"]:
    r"""Returns the hidden entries of a mask, shape (n, \*event).

    Arguments:
        text: A name, a box, a file or names of columns, see above.
        event: The shape of a row: (channels, height, width), or (D,).
        n: The number of rows.
        columns: The names of the columns of a table.

    Raises:
        ValueError: If the mask does not fit such rows, or hides everything or nothing.

    Example:
        >>> parse_mask("lower", (1, 4, 2), 1, ())[0, 0].int()
        tensor([[0, 0],
                [0, 0],
                [1, 1],
                [1, 1]], dtype=torch.int32)
    """
    if Path(text).suffix in (".npy", ".png"):
        hidden = _from_file(Path(text), event, n)
    elif len(event) == 3:
        hidden = box_mask(text, event).expand(n, *event)
    else:
        hidden = _columns(text, event, columns).expand(n, *event)
    require_mask(hidden)
    return hidden


def require_mask(hidden: Bool[Tensor, "N *event"]) -> None:
    r"""Raises unless something is hidden, and something visible in every row.

    Arguments:
        hidden: The hidden entries, shape (N, \*event).

    Raises:
        ValueError: If nothing is hidden at all, or a row hides everything.

    Example:
        >>> require_mask(torch.tensor([[True, False]]))
    """
    flat = hidden.flatten(1)
    if not bool(flat.any()):
        raise ValueError(
            "a mask must hide something, got one that hides nothing; write --mask lower, or leave "
            "fields of the table empty"
        )
    empty = flat.all(1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"a mask must leave something visible in every row, got row {empty[0]} with everything "
            "hidden; delete it, or draw full rows with `boltzwalk sample`"
        )


def _columns(text: str, event: tuple[int, ...], columns: tuple[str, ...]) -> Tensor:
    """Columns of a table by name; shape (D,)."""
    names = columns or tuple(f"column{i}" for i in range(event[0]))
    hidden = torch.zeros(event, dtype=torch.bool)
    for name in text.split(","):
        levels = [i for i, column in enumerate(names) if column.startswith(f"{name.strip()}=")]
        if levels:  # a category, which is hidden in all its columns
            hidden[levels] = True
            continue
        if name.strip() not in names:
            raise ValueError(
                f"a mask of a table must name its columns ({', '.join(names)}), or be a .npy file, "
                f"got {name.strip()!r}; write --mask {names[-1]}, or leave fields of FILE empty"
            )
        hidden[names.index(name.strip())] = True
    return hidden


def _from_file(path: Path, event: tuple[int, ...], n: int) -> Tensor:
    """The mask in a picture or an array, one for all rows or one for each; shape (n, *event)."""
    if not path.exists():
        raise FileNotFoundError(f"there must be a mask at {path}, found nothing")
    if path.suffix == ".png":
        form = ImageFormat(channels=1, value_range=(0, 255))  # dark ones are masks as well
        values = read_image_folder(path, form).grey[0, 0]
    else:
        values = read_array(path, None)
    mask = torch.from_numpy(np.ascontiguousarray(values != 0))
    flat = event[1:] if len(event) == 3 else event
    if mask.shape[-len(flat) :] == flat and mask.ndim <= len(flat) + 1 and len(event) == 3:
        mask = mask.unsqueeze(-3)  # the same for all channels
    try:
        return mask.expand(n, *event)
    except RuntimeError as error:
        sizes = " or ".join(str(shape) for shape in (flat, (n, *flat)))
        raise ValueError(
            f"{path} must hold a mask of shape {sizes}, those of the rows, got {values.shape}; "
            "scale the mask to the size of the rows"
        ) from error
