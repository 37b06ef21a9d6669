r"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 pixels in ten classes.

The files are looked for as MNIST/raw/... (torchvision's layout), MNIST/... or directly in the root,
packed or unpacked, and downloaded where they are missing. The two sets have the same file names, so
one that was found in the place of the other is refused.

The idx format of MNIST: two zero bytes, a type, the number of axes, their sizes, the values.

All numbers are big-endian. A file may be packed with gzip.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad as pad_image

from .dataset import Dataset
from .files import Remote, obtain, read_bytes
from .images import image_dataset
from .splits import Part, check_classes, check_share, choose, hold_out

__all__ = ["FashionMnist", "Mnist", "read_idx"]


DIGITS = tuple("0123456789")
CLOTHES = (
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
)

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
DIGESTS = {
    "MNIST": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "FashionMNIST": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}
ADDRESSES = {
    "MNIST": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "FashionMNIST": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
}
STANDARD = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist"}
TRAIN_COUNTS = {
    "MNIST": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "FashionMNIST": [6000] * 10,
}


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
        _check(self)

    def load(self) -> Dataset:
        """Loads the images, after downloading them if they are not there.

        Raises:
            FileNotFoundError: If a file is missing and cannot be downloaded.
            ValueError: If a file is damaged.
        """
        return _load(self, "MNIST", DIGITS)


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
        _check(self)

    def load(self) -> Dataset:
        """Loads the images, after downloading them if they are not there.

        Raises:
            FileNotFoundError: If a file is missing and cannot be downloaded.
            ValueError: If a file is damaged.
        """
        return _load(self, "FashionMNIST", CLOTHES)


def _check(settings: Mnist | FashionMnist) -> None:
    """Raises ValueError where a setting makes no sense."""
    check_classes(settings.classes, settings.proportions, DIGITS)
    check_share(settings.validation)
    if settings.pad < 0:
        raise ValueError(
            f"pad must be a number of pixels, 0 or more, got {settings.pad}; write data.pad=2 "
            "for images of 32x32"
        )


def _load(settings: Mnist | FashionMnist, folder: str, class_names: tuple[str, ...]) -> Dataset:
    """Reads the four files of a set and makes the data set of them."""
    paths = [
        obtain(
            settings.root,
            folder,
            Remote(name, tuple(a + name for a in ADDRESSES[folder]), f"sha256:{digest}"),
        )
        for name, digest in zip(NAMES, DIGESTS[folder], strict=True)
    ]
    every, test = (_read_part(paths[i], paths[i + 1]) for i in (0, 2))
    _refuse_the_other_set(every, folder, paths[1])
    train, validation = hold_out(every, settings.validation, settings.split_seed)
    parts = [
        choose(part, settings.classes, settings.proportions, name)
        for part, name in ((train, "train"), (validation, "validation"), (test, "test"))
    ]
    padded = [part._replace(x=pad_image(part.x, [settings.pad] * 4)) for part in parts]
    return image_dataset(
        (padded[0], padded[1], padded[2]),
        levels=256,
        dequantise=settings.dequantise,
        seed=settings.split_seed,
        class_names=class_names,
        source=f"{folder} in {paths[0].parent}",
        standard="" if settings.pad else STANDARD[folder],
    )


def _read_part(images_path: Path, labels_path: Path) -> Part:
    """Reads images, shape (N, 1, height, width), and their labels, shape (N,)."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    fits = images.ndim == 3 and images.dtype == labels.dtype == np.uint8
    if not fits or labels.shape != images.shape[:1] or not (labels < 10).all():
        raise ValueError(
            f"{images_path} must hold uint8 images of shape (N, height, width) and "
            f"{labels_path.name} their N labels from 0 to 9, got {images.dtype} of shape "
            f"{images.shape} and {labels.dtype} of shape {labels.shape}; fetch both again"
        )
    return Part(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).to(torch.int64))


def _refuse_the_other_set(every: Part, folder: str, path: Path) -> None:
    """Raises ValueError if the labels are those of the set with the same file names."""
    assert every.labels is not None
    counts = every.labels.bincount(minlength=10).tolist()
    for other, other_counts in TRAIN_COUNTS.items():
        if other != folder and counts == other_counts:
            raise ValueError(
                f"{path} must be a file of {folder}, got the class counts of {other}, whose files "
                f"have the same names; write data.root=... with the folder that holds {folder}/"
            )


TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """Reads an idx file, unpacked or .gz, as an array in the byte order of this machine.

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
