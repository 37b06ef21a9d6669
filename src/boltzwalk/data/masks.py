"""Masks of images: boxes of pixels by name, by their edges, or at random.

==========================  ======================================================================
``lower upper left right``  a half of an image
``center``                  the square in its middle with half of its height and width
``2,0,4,8``                 a box: top, left, height, width in pixels
==========================  ======================================================================
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

__all__ = ["BOX_NAMES", "are_random_boxes", "box_mask", "random_boxes"]

BOX_NAMES = ("lower", "upper", "left", "right", "center")
"""The names of boxes."""


def box_mask(text: str, event: tuple[int, ...]) -> Bool[Tensor, " *event"]:
    r"""Returns the mask of a box of pixels, True inside, shape (\*event).

    Arguments:
        text: A name, or top,left,height,width in pixels.
        event: The shape (channels, height, width) of an image.

    Raises:
        ValueError: If the name is unknown, or the box is not within the image.

    Example:
        >>> box_mask("lower", (1, 4, 2))[0].int()
        tensor([[0, 0],
                [0, 0],
                [1, 1],
                [1, 1]], dtype=torch.int32)
    """
    _, height, width = event
    half, middle = height // 2, width // 2
    boxes = {
        "upper": (0, 0, half, width),
        "lower": (half, 0, height - half, width),
        "left": (0, 0, height, middle),
        "right": (0, middle, height, width - middle),
        "center": (height // 4, width // 4, half, middle),
    }
    edges = boxes.get(text)
    if edges is None:
        words = text.split(",")
        if len(words) != 4 or not all(word.strip().isdigit() for word in words):
            raise ValueError(
                f"a mask of images must be one of {', '.join(BOX_NAMES)}, a box "
                f"top,left,height,width in pixels, or a .npy or .png file, got {text!r}; write "
                f"--mask lower or --mask {half},0,{height - half},{width}"
            )
        edges = tuple(map(int, words))  # type: ignore[assignment]
    assert edges is not None
    top, left, box_height, box_width = edges
    if top + box_height > height or left + box_width > width:
        raise ValueError(
            f"a box must lie within images of {height}x{width} (height x width), got rows {top} to "
            f"{top + box_height} and columns {left} to {left + box_width}; write --mask "
            f"{min(top, height - 1)},{min(left, width - 1)},..."
        )
    inside = torch.zeros(event, dtype=torch.bool)
    inside[:, top : top + box_height, left : left + box_width] = True
    return inside


def random_boxes(n: int, event: tuple[int, ...], rng: torch.Generator) -> Bool[Tensor, "n *event"]:
    r"""Draws the mask of a random box for each of n images, shape (n, \*event).

    Height and width are uniform from a quarter to a half of those of the image, its position is
    uniform too.

    Arguments:
        n: The number of images.
        event: The shape (channels, height, width) of an image.
        rng: The source of the boxes.

    Example:
        >>> inside = random_boxes(100, (1, 8, 8), torch.Generator().manual_seed(0))
        >>> inside.sum((1, 2, 3)).amin().item(), inside.sum((1, 2, 3)).amax().item()
        (4, 16)
    """

    def interval(side: int) -> Tensor:
        u, v = torch.rand(2, n, 1, generator=rng, device=rng.device)
        least, most = _extent(side)
        length = least + (u * (most - least + 1)).floor()
        start = (v * (side - length + 1)).floor()
        pixel = torch.arange(side, device=rng.device)
        return torch.logical_and(pixel >= start, pixel < start + length)

    rows, columns = interval(event[1]), interval(event[2])
    return (rows[:, None, :, None] & columns[:, None, None, :]).expand(n, *event)


def are_random_boxes(hidden: Bool[Tensor, "N *event"]) -> bool:
    r"""Whether every row hides one box of the sizes that :func:`random_boxes` draws.

    Arguments:
        hidden: The mask, True where an entry is hidden, shape (N, \*event).

    Example:
        >>> [are_random_boxes(box_mask(name, (1, 8, 8))[None]) for name in ("center", "left")]
        [True, False]
    """
    rows, columns = hidden.any(3).any(1), hidden.any(2).any(1)
    boxes = (rows[:, None, :, None] & columns[:, None, None, :]).expand_as(hidden)
    fits = [bool((hidden == boxes).all())]
    for inside in (rows, columns):
        least, most = _extent(inside.shape[1])
        # A single interval starts once.
        starts = (inside[:, 1:] & ~inside[:, :-1]).sum(1) + inside[:, 0]
        length = inside.sum(1)
        fits.append(bool(((starts == 1) & (length >= least) & (length <= most)).all()))
    return all(fits)


def _extent(side: int) -> tuple[int, int]:
    """The smallest and the largest length of a random box along a side, in pixels."""
    return max(1, side // 4), max(1, side // 2)
