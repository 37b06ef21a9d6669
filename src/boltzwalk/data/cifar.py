"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes.

Three layouts are read: the original batches, as a folder or the published .tar.gz; a subset of
original pixels, 4,000 + 1,000 images; and a complete copy that went through JPEG, with errors of
some 8 grey levels, whose numbers must not be compared with published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .cifar_files import read_batches, read_jpeg, read_subset
from .classes import check_classes, choose
from .dataset import Dataset
from .files import Remote, data_root, find, obtain
from .greys import image_dataset
from .parts import Part, check_share, hold_out

__all__ = ["Cifar10"]

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
FOLDER = "CIFAR10"
ARCHIVE = Remote(
    "cifar-10-python.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    "md5:c58f30108f718f92721af3b95e74349a",
)


@dataclass(frozen=True)
class Cifar10:
    """Small colour photographs, event shape (3, 32, 32), in [-1, 1].

    Arguments:
        root: The folder that holds CIFAR10/; None for the environment variable BOLTZWALK_DATA, else
            ./data.
        layout: Which files to read; "auto" takes the first that is there of "batches",
            "lossless_subset" and "jpeg", and downloads the batches where none is.
        classes: The labels of the classes to load; None for all.
        proportions: The relative numbers of these classes; None for all rows.
        dequantise: Whether to add uniform noise of the width of one grey level.
        validation: The share of the training images that is held out for validation.
        split_seed: Determines which images are held out, and the noise of held-out images.

    Raises:
        ValueError: If a class is unknown, or a number makes no sense.

    References:
        | Learning multiple layers of features from tiny images (Krizhevsky, 2009)

    Example:
        >>> Cifar10(layout="jpeg").layout
        'jpeg'
    """

    root: str | None = None
    layout: Literal["auto", "batches", "lossless_subset", "jpeg"] = "auto"
    classes: tuple[int, ...] | None = None
    proportions: tuple[float, ...] | None = None
    dequantise: bool = False
    validation: float = 0.1
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.layout not in ("auto", "batches", "lossless_subset", "jpeg"):
            raise ValueError(
                f"layout must be auto, batches, lossless_subset or jpeg, got {self.layout!r}; "
                "write data.layout=auto"
            )
        check_classes(self.classes, self.proportions, CLASS_NAMES)
        check_share(self.validation)

    def load(self) -> Dataset:
        """Loads the images, after downloading the batches if no layout is there.

        Raises:
            FileNotFoundError: If files are missing and cannot be downloaded.
            ValueError: If a file is damaged, or a batch holds anything but arrays.
        """
        every, test, source = self._read()
        train, validation = hold_out(every, self.validation, self.split_seed)
        chosen = [
            choose(part, self.classes, self.proportions, name)
            for part, name in ((train, "train"), (validation, "validation"), (test, "test"))
        ]
        return image_dataset(
            (chosen[0], chosen[1], chosen[2]),
            levels=256,
            dequantise=self.dequantise,
            seed=self.split_seed,
            class_names=CLASS_NAMES,
            source=f"CIFAR-10, {source}",
        )

    def _read(self) -> tuple[Part, Part, str]:
        """Reads training and test rows in the wanted layout and says which it was."""
        root, auto = data_root(self.root), self.layout == "auto"
        batches = find(root, FOLDER, "cifar-10-batches-py") or find(root, FOLDER, ARCHIVE.name)
        if self.layout == "batches" or (auto and batches):
            path = batches or obtain(self.root, FOLDER, ARCHIVE)
            return *read_batches(path), f"original batches in {path}"
        subset = find(root, FOLDER, "cifar10_lossless_subset.npz")
        if self.layout == "lossless_subset" or (auto and subset):
            path = subset or _missing(root, "cifar10_lossless_subset.npz")
            return *read_subset(path), f"subset of original images in {path}"
        jpegs = [find(root, FOLDER, f"cifar10_jpeg_{part}.npz") for part in ("train", "test")]
        if self.layout == "jpeg" or (auto and all(jpegs)):
            train = jpegs[0] or _missing(root, "cifar10_jpeg_train.npz")
            test = jpegs[1] or _missing(root, "cifar10_jpeg_test.npz")
            return read_jpeg(train), read_jpeg(test), f"lossy JPEG copy in {train.parent}"
        path = obtain(self.root, FOLDER, ARCHIVE)
        return *read_batches(path), f"original batches in {path}"


def _missing(root: Path, name: str) -> Path:
    """Raises FileNotFoundError for a file that has no public address."""
    raise FileNotFoundError(
        f"expected the file {root / FOLDER / name}, which is not there and has no public address; "
        f"name the folder that holds {FOLDER}/ with data.root=... or the environment variable "
        "BOLTZWALK_DATA, or write data.layout=batches to download the original"
    )
