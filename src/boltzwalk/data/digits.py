"""Handwritten digits bundled with scikit-learn: real images without a download.

1,797 handwritten digits of 8x8 pixels with 17 grey levels, the test part of a set of the University
of California, Irvine.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .dataset import Dataset
from .images import image_dataset
from .splits import (
    SPLIT_NAMES,
    LabelledRows,
    check_classes,
    check_split,
    select_classes,
    split_rows,
)

__all__ = ["Digits"]

CLASS_NAMES = tuple("0123456789")
SPLIT = (1200, 297, 300)


@dataclass(frozen=True)
class Digits:
    """1,797 handwritten digits, event shape (1, 8, 8), in [-1, 1].

    Arguments:
        classes: The digits to load; None for all.
        proportions: The relative numbers of these digits; None for all rows.
        dequantise: Whether to add uniform noise of the width of one of the 17 grey levels.
        split: Relative sizes of training, validation and test split.
        split_seed: Determines the split and the noise of held-out images.

    Raises:
        ValueError: If a class is unknown, or proportions or split make no sense.

    References:
        | Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI, 1998)

    Example:
        >>> Digits(classes=(2, 3, 6), proportions=(4, 2, 1)).load()
        Dataset(train=217, validation=42, test=42, event_shape=(1, 8, 8))
    """

    classes: tuple[int, ...] | None = None
    proportions: tuple[float, ...] | None = None
    dequantise: bool = False
    split: tuple[float, float, float] = SPLIT
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_classes(self.classes, self.proportions, CLASS_NAMES)
        check_split(self.split)

    def load(self) -> Dataset:
        """Loads the digits."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        every = LabelledRows(
            torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1),
            torch.from_numpy(bunch.target).to(torch.int64),
        )
        splits = split_rows(every, self.split, self.split_seed)
        train, validation, test = (
            select_classes(rows, self.classes, self.proportions, name)
            for rows, name in zip(splits, SPLIT_NAMES, strict=True)
        )
        return image_dataset(
            (train, validation, test),
            levels=17,
            dequantise=self.dequantise,
            seed=self.split_seed,
            class_names=CLASS_NAMES,
            source="digits of scikit-learn",
            # The shipped classifier was fitted on the training rows of this split only.
            standard="digits" if (self.split, self.split_seed) == (SPLIT, 0) else "",
        )
