"""Boxes of pixels: by name, by their edges, or at random.

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

__all__ = ["NAMES", "box", "boxes_only", "random_boxes"]

NAMES = ("lower", "upper", "left", "right", "center")
"""The boxes that have a name."""


def box(text: str, event: tuple[int, ...]) -> Bool[Tensor, " *event"]:
    r"""Returns where a box is in an image, shape (\*event).

    Arguments:
        text: A name, or top,left,height,width in pixels.
        event: The shape (channels, height, width) of an image.

    Raises:
        ValueError: If there is no such name, or the box is beyond the image.

    Example:
        >>> box("lower", (1, 4, 2))[0].int()
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
                f"a mask of images must be one of {', '.join(NAMES)}, a box top,left,height,width "
                f"in pixels, or a .npy or .png file, got {text!r}; write --mask lower or --mask "
                f"{half},0,{height - half},{width}"
            )
        edges = tuple(map(int, words))  # type: ignore[assignment]
    assert edges is not None
    top, left, tall, wide = edges
    if top + tall > height or left + wide > width:
        raise ValueError(
            f"a box must lie within images of {height}x{width} (height x width), got rows {top} to "
            f"{top + tall} and columns {left} to {left + wide}; write --mask "
            f"{min(top, height - 1)},{min(left, width - 1)},..."
        )
    inside = torch.zeros(event, dtype=torch.bool)
    inside[:, top : top + tall, left : left + wide] = True
    return inside


def random_boxes(n: int, event: tuple[int, ...], rng: torch.Generator) -> Bool[Tensor, "n *event"]:
    r"""Draws a box for each of n images, shape (n, \*event).

    Height and width are uniform from a quarter to a half of those of the image, and so is its
    place.

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
        long = least + (u * (most - least + 1)).floor()
        begin = (v * (side - long + 1)).floor()
        place = torch.arange(side, device=rng.device)
        return torch.logical_and(place >= begin, place < begin + long)

    rows, columns = interval(event[1]), interval(event[2])
    return (rows[:, None, :, None] & columns[:, None, None, :]).expand(n, *event)


def boxes_only(hidden: Bool[Tensor, "N *event"]) -> bool:
    r"""Returns whether every row hides one box as :func:`random_boxes` may draw it.

    Arguments:
        hidden: Where entries are hidden, shape (N, \*event).

    Example:
        >>> boxes_only(box("center", (1, 8, 8))[None]), boxes_only(box("left", (1, 8, 8))[None])
        (True, False)
    """
    rows, columns = hidden.any(3).any(1), hidden.any(2).any(1)
    whole = (rows[:, None, :, None] & columns[:, None, None, :]).expand_as(hidden)
    fits = [bool((hidden == whole).all())]
    for inside in (rows, columns):
        least, most = _extent(inside.shape[1])
        # One interval: it begins once.
        begins = (inside[:, 1:] & ~inside[:, :-1]).sum(1) + inside[:, 0]
        long = inside.sum(1)
        fits.append(bool(((begins == 1) & (long >= least) & (long <= most)).all()))
    return all(fits)


def _extent(side: int) -> tuple[int, int]:
    """The least and the most pixels that a random box has of a side."""
    return max(1, side // 4), max(1, side // 2)
