r"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 pixels in ten classes.

The files lie in MNIST/raw/... (torchvision's layout), in MNIST/... or directly in the root, packed
or unpacked; missing ones are downloaded. The file names of the two sets are the same, so the class
counts are checked: files of the other set are refused.

The idx format: two zero bytes, a type, the number of axes, their sizes, the values, all big-endian.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad as pad_image

from .dataset import Dataset
from .files import RemoteFile, download_if_missing, read_bytes
from .images import image_dataset
from .splits import LabelledRows, check_classes, check_share, hold_out, select_classes

__all__ = ["FashionMnist", "Mnist", "read_idx"]


@dataclass(frozen=True)
class Mnist:
    """Handwritten digits, event shape (1, 28, 28), in [-1, 1].

    Arguments:
        root: The folder that holds MNIST/; None for the environment variable BOLTZWALK_DATA, else
            ./data.
        classes: The digits to load; None for all.
        proportions: The relative numbers of these digits; None for all rows.
        dequantise: Whether to add uniform noise of the width of one grey level.
        validation: The share of the training images that is held out for validation.
        split_seed: Determines which images are held out, and the noise of held-out images.
        pad: Black pixels added on each of the four sides; 2 makes images of 32x32.

    Raises:
        ValueError: If a class is unknown, or a number makes no sense.

    References:
        | Gradient-based learning applied to document recognition (LeCun et al., 1998)

    Example:
        >>> Mnist(classes=(2, 3, 6), proportions=(4, 2, 1)).validation
        0.1
    """

    root: str | None = None
    classes: tuple[int, ...] | None = None
    proportions: tuple[float, ...] | None = None
    dequantise: bool = False
    validation: float = 0.1
    split_seed: int = 0
    pad: int = 0

    def __post_init__(self) -> None:
        _check(self, MNIST)

    def load(self) -> Dataset:
        """Loads the images, after downloading them if they are not there.

        Raises:
            FileNotFoundError: If a file is missing and cannot be downloaded.
            ValueError: If a file is damaged.
        """
        return _load(self, MNIST)


@dataclass(frozen=True)
class FashionMnist:
    """Photographs of clothes, event shape (1, 28, 28), in [-1, 1].

    Arguments:
        root: The folder that holds FashionMNIST/; None for the environment variable
            BOLTZWALK_DATA, else ./data.
        classes: The labels of the classes to load; None for all.
        proportions: The relative numbers of these classes; None for all rows.
        dequantise: Whether to add uniform noise of the width of one grey level.
        validation: The share of the training images that is held out for validation.
        split_seed: Determines which images are held out, and the noise of held-out images.
        pad: Black pixels added on each of the four sides; 2 makes images of 32x32.

    Raises:
        ValueError: If a class is unknown, or a number makes no sense.

    References:
        | Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms
        | (Xiao, Rasul and Vollgraf, 2017), arXiv:1708.07747

    Example:
        >>> FashionMnist(pad=2).pad
        2
    """

    root: str | None = None
    classes: tuple[int, ...] | None = None
    proportions: tuple[float, ...] | None = None
    dequantise: bool = False
    validation: float = 0.1
    split_seed: int = 0
    pad: int = 0

    def __post_init__(self) -> None:
        _check(self, FASHION_MNIST)

    def load(self) -> Dataset:
        """Loads the images, after downloading them if they are not there.

        Raises:
            FileNotFoundError: If a file is missing and cannot be downloaded.
            ValueError: If a file is damaged.
        """
        return _load(self, FASHION_MNIST)


class _ImageSet(NamedTuple):
    """The published files of a set of 28x28 images, and how to recognise them."""

    folder: str
    standard: str
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    urls: tuple[str, ...]
    digests: tuple[str, str, str, str]


FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

MNIST = _ImageSet(
    folder="MNIST",
    standard="mnist",
    class_names=tuple("0123456789"),
    train_counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    urls=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    digests=(
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)

FASHION_MNIST = _ImageSet(
    folder="FashionMNIST",
    standard="fashion_mnist",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    train_counts=(6000,) * 10,
    urls=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    digests=(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)


def _check(settings: Mnist | FashionMnist, images: _ImageSet) -> None:
    """Raises ValueError where a setting makes no sense."""
    check_classes(settings.classes, settings.proportions, images.class_names)
    check_share(settings.validation)
    if settings.pad < 0:
        raise ValueError(
            f"pad must be a number of pixels, 0 or more, got {settings.pad}; write data.pad=2 "
            "for images of 32x32"
        )


def _load(settings: Mnist | FashionMnist, images: _ImageSet) -> Dataset:
    """Reads the four files of a set as a data set."""
    paths = [
        download_if_missing(
            settings.root,
            images.folder,
            RemoteFile(name, tuple(url + name for url in images.urls), f"sha256:{digest}"),
        )
        for name, digest in zip(FILES, images.digests, strict=True)
    ]
    every, test = (_read_pair(paths[i], paths[i + 1]) for i in (0, 2))
    _check_counts(every, images, paths[1])
    train, validation = hold_out(every, settings.validation, settings.split_seed)
    selected = [
        select_classes(rows, settings.classes, settings.proportions, name)
        for rows, name in ((train, "train"), (validation, "validation"), (test, "test"))
    ]
    padded = [rows._replace(x=pad_image(rows.x, [settings.pad] * 4)) for rows in selected]
    return image_dataset(
        (padded[0], padded[1], padded[2]),
        levels=256,
        dequantise=settings.dequantise,
        seed=settings.split_seed,
        class_names=images.class_names,
        source=f"{images.folder} in {paths[0].parent}",
        standard="" if settings.pad else images.standard,
    )


def _read_pair(images_path: Path, labels_path: Path) -> LabelledRows:
    """Reads images, shape (N, 1, height, width), and their labels, shape (N,)."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    fits = images.ndim == 3 and images.dtype == labels.dtype == np.uint8
    if not fits or labels.shape != images.shape[:1] or not (labels < 10).all():
        raise ValueError(
            f"{images_path} must hold uint8 images of shape (N, height, width) and "
            f"{labels_path.name} their N labels from 0 to 9, got {images.dtype} of shape "
            f"{images.shape} and {labels.dtype} of shape {labels.shape}; fetch both again"
        )
    return LabelledRows(
        torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).to(torch.int64)
    )


def _check_counts(every: LabelledRows, images: _ImageSet, path: Path) -> None:
    """Raises ValueError if the labels are those of the other set with the same file names."""
    assert every.labels is not None
    counts = tuple(every.labels.bincount(minlength=10).tolist())
    for other in (MNIST, FASHION_MNIST):
        if other is not images and counts == other.train_counts:
            raise ValueError(
                f"{path} must be a file of {images.folder}, got the class counts of "
                f"{other.folder}, whose files have the same names; write data.root=... with the "
                f"folder that holds {images.folder}/"
            )


TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """Reads an idx file, packed with gzip or not, as an array in the byte order of this machine.

    Arguments:
        path: The file.

    Raises:
        ValueError: If the file is no idx file, is cut off or has bytes left over.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise ValueError(
            f"{path} must be an idx file, beginning with two zero bytes, a type and the number of "
            f"axes, got the bytes {content[:4].hex(' ') or 'of an empty file'}; fetch it again"
        )
    dtype, axes = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(
            f"{path} must hold the sizes of its {axes} axes in {start} bytes, got {len(content)} "
            "bytes: it is cut off; fetch it again"
        )
    shape = struct.unpack(f">{axes}I", content[4:start])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        raise ValueError(
            f"{path} must hold {expected} bytes after its header, for the shape {shape}, got "
            f"{len(content) - start}; fetch it again"
        )
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
