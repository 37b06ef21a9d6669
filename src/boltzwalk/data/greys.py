r"""Grey levels and model units: images come in [-1, 1].

A grey level :math:`k` of :math:`K` becomes :math:`x = (k - (K - 1) / 2) / s`. Without
dequantisation :math:`s = (K - 1) / 2`, so that the darkest and the brightest level are -1 and 1.
With it :math:`s = K / 2`: the K cells have width :math:`2 / K` and fill [-1, 1] exactly.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .dataset import Dataset, dequantise_held_out
from .parts import Part

__all__ = ["from_grey", "image_dataset"]


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
