"""Masks: which entries of an image or a row are hidden, as a user says it.

==========================  ======================================================================
``lower upper left right``  a half of an image
``center``                  the square in its middle with half of its height and width
``2,0,4,8``                 a box: top, left, height, width in pixels
``mask.npy``, ``mask.png``  nonzero where hidden: one mask for all images, or one for each
``height,weight``           columns of a table by name
==========================  ======================================================================

Empty fields of a table, and nan in any array, are hidden beside what a mask says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from ..data.arrays import read_array
from ..data.boxes import box

__all__ = ["parse_mask", "refuse_mask"]


def parse_mask(
    text: str, event: tuple[int, ...], n: int, columns: tuple[str, ...]
) -> Bool[Tensor, "n *event"]:
    r"""Returns where entries are hidden, shape (n, \*event).

    Arguments:
        text: A name, a box, a file or names of columns, see above.
        event: The shape of a row: (channels, height, width), or (D,).
        n: The number of rows.
        columns: The names of the columns of a table.

    Raises:
        ValueError: If the mask means nothing for such rows, or hides everything or nothing.

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
        hidden = box(text, event).expand(n, *event)
    else:
        hidden = _columns(text, event, columns).expand(n, *event)
    refuse_mask(hidden)
    return hidden


def refuse_mask(hidden: Bool[Tensor, "N *event"]) -> None:
    r"""Raises unless something is hidden, and something visible in every row.

    Arguments:
        hidden: Where entries are hidden, shape (N, \*event).

    Raises:
        ValueError: If nothing is hidden at all, or a row hides everything.

    Example:
        >>> refuse_mask(torch.tensor([[True, False]]))
    """
    flat = hidden.flatten(1)
    if not bool(flat.any()):
        raise ValueError(
            "a mask must hide something, got one that hides nothing; write --mask lower, or leave "
            "fields of the table empty"
        )
    whole = flat.all(1).nonzero().flatten().tolist()
    if whole:
        raise ValueError(
            f"a mask must leave something visible in every row, got row {whole[0]} with everything "
            "hidden; delete it, or draw whole rows with `boltzwalk sample`"
        )


def _columns(text: str, event: tuple[int, ...], columns: tuple[str, ...]) -> Tensor:
    """Columns of a table by name; shape (D,)."""
    names = columns or tuple(f"column{i}" for i in range(event[0]))
    hidden = torch.zeros(event, dtype=torch.bool)
    for name in text.split(","):
        if name.strip() not in names:
            raise ValueError(
                f"a mask of a table must name its columns ({', '.join(names)}), or be a .npy file, "
                f"got {name.strip()!r}; write --mask {names[-1]}, or leave fields of FILE empty"
            )
        hidden[names.index(name.strip())] = True
    return hidden


def _from_file(path: Path, event: tuple[int, ...], n: int) -> Tensor:
    """A mask that was drawn or computed, for all rows or one for each; shape (n, *event)."""
    if not path.exists():
        raise FileNotFoundError(f"there must be a mask at {path}, found nothing")
    if path.suffix == ".png":
        with Image.open(path) as image:
            drawn = np.asarray(image.convert("L"))
    else:
        drawn = read_array(path, None)
    mask = torch.from_numpy(np.ascontiguousarray(drawn != 0))
    flat = event[1:] if len(event) == 3 else event
    if mask.shape[-len(flat) :] == flat and mask.ndim <= len(flat) + 1 and len(event) == 3:
        mask = mask.unsqueeze(-3)  # the same for all channels
    try:
        return mask.expand(n, *event)
    except RuntimeError as error:
        sizes = " or ".join(str(shape) for shape in (flat, (n, *flat)))
        raise ValueError(
            f"{path} must hold a mask of shape {sizes}, those of the rows, got {drawn.shape}; "
            "scale the mask to the size that the model knows"
        ) from error
