r"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes.

Three layouts are read: the original batches, as a folder or the published .tar.gz; a subset of
original pixels, 4,000 + 1,000 images; and a complete copy that went through JPEG, with errors of
some 8 grey levels, whose numbers must not be compared with published ones.

The three layouts of CIFAR-10 as uint8 images, shape (N, 3, 32, 32), with labels, shape (N,).

Reading the pickled batches of CIFAR-10 without running what is in them.

A pickle is a program: it may name any function of any module and have it called. The batches need
four names, those that put a numpy array together. Here these four stand for functions of our own,
every other name is refused, and nothing is imported because a file says so.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from .dataset import Dataset
from .files import Remote, data_root, find, obtain, read_array, read_bytes
from .images import image_dataset
from .splits import Part, check_classes, check_share, choose, hold_out

__all__ = [
    "Cifar10",
    "read_batch",
    "read_batches",
    "read_jpeg",
    "read_pickled_arrays",
    "read_subset",
]


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


BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
TEST_BATCH = "test_batch"


def read_batches(path: Path) -> tuple[Part, Part]:
    """Reads training and test rows of the original batches.

    Arguments:
        path: The folder cifar-10-batches-py, or the archive that holds it.

    Raises:
        FileNotFoundError: If a batch is missing.
        ValueError: If the archive or a batch is damaged or holds anything but arrays.
    """
    contents = dict(_in_folder(path) if path.is_dir() else _in_archive(path))
    missing = [name for name in (*BATCHES, TEST_BATCH) if name not in contents]
    if missing:
        raise FileNotFoundError(
            f"{path} must hold the files {', '.join((*BATCHES, TEST_BATCH))}, of which "
            f"{', '.join(missing)} are not there; fetch cifar-10-python.tar.gz again"
        )
    train = [read_batch(contents[name], str(path / name)) for name in BATCHES]
    test = read_batch(contents[TEST_BATCH], str(path / TEST_BATCH))
    return _part([x for x, _ in train], [labels for _, labels in train]), _part(
        [test[0]], [test[1]]
    )


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of the batches in a folder."""
    for name in (*BATCHES, TEST_BATCH):
        if (path / name).is_file():
            yield name, read_bytes(path / name)


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of the batches in an archive, of which nothing is unpacked."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if name in (*BATCHES, TEST_BATCH) and (file := archive.extractfile(member)):
                    yield name, file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(
            f"{path} must be a whole .tar.gz file, got one that does not unpack ({error}); delete "
            "it and fetch it again"
        ) from error


def read_batch(content: bytes, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one batch: images, shape (N, 3, 32, 32), and labels, shape (N,).

    Arguments:
        content: The bytes of the file.
        source: What to call it in an error.

    Raises:
        ValueError: If the batch is damaged or holds anything but arrays.
    """
    batch = read_pickled_arrays(content, source)
    fields = batch if isinstance(batch, dict) else {}
    data = np.asarray(fields.get("data"))
    labels = np.asarray(fields.get("labels"))
    fits = data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == 3 * 32 * 32
    if not fits or not _are_labels(labels, len(data)):
        raise ValueError(
            f"{source} must hold uint8 data of shape (N, 3072) and N labels from 0 to 9, got "
            f"{data.dtype} of shape {data.shape} and labels of shape {labels.shape}; fetch it again"
        )
    return data.reshape(-1, 3, 32, 32), labels


def read_subset(path: Path) -> tuple[Part, Part]:
    """Reads training and test rows of the subset of original images.

    Arguments:
        path: The file, with train_images, train_labels, test_images and test_labels.

    Raises:
        ValueError: If the file is damaged.
    """
    train, test = (
        _from_hwc(read_array(path, f"{p}_images"), read_array(path, f"{p}_labels"), path)
        for p in ("train", "test")
    )
    return train, test


def read_jpeg(path: Path) -> Part:
    """Reads and decodes rows of the JPEG copy.

    Arguments:
        path: The file, with jpeg (all JPEG files end to end), offsets (N + 1) and labels (N).

    Raises:
        ValueError: If the file is damaged.
    """
    from PIL import Image

    jpeg, offsets, labels = (read_array(path, key) for key in ("jpeg", "offsets", "labels"))
    content = jpeg.tobytes()
    images = np.empty((len(offsets) - 1, 32, 32, 3), np.uint8)
    for i, (start, stop) in enumerate(pairwise(offsets.tolist())):
        try:
            images[i] = np.asarray(Image.open(io.BytesIO(content[start:stop])).convert("RGB"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} must hold JPEG files of 32x32 pixels, got image {i} which cannot be "
                f"decoded ({error}); fetch it again"
            ) from error
    return _from_hwc(images, labels, path)


def _from_hwc(images: np.ndarray, labels: np.ndarray, path: Path) -> Part:
    """Puts the channels of images, shape (N, 32, 32, 3), first."""
    fits = images.dtype == np.uint8 and images.shape[1:] == (32, 32, 3)
    if not fits or not _are_labels(labels, len(images)):
        raise ValueError(
            f"{path} must hold uint8 images of shape (N, 32, 32, 3) and N labels from 0 to 9, got "
            f"{images.dtype} of shape {images.shape} and labels of shape {labels.shape}; fetch it "
            "again"
        )
    return _part([images.transpose(0, 3, 1, 2)], [labels])


def _are_labels(labels: np.ndarray, n: int) -> bool:
    """Whether these are n whole numbers from 0 to 9."""
    return (
        labels.shape == (n,)
        and np.issubdtype(labels.dtype, np.integer)
        and bool(((labels >= 0) & (labels < 10)).all())
    )


def _part(images: list[np.ndarray], labels: list[np.ndarray]) -> Part:
    """Joins images and labels, each in order."""
    return Part(
        torch.from_numpy(np.ascontiguousarray(np.concatenate(images))),
        torch.from_numpy(np.concatenate(labels).astype(np.int64)),
    )


def read_pickled_arrays(content: bytes, source: str) -> object:
    """Returns the dictionaries, lists, numbers, strings and arrays of a pickle.

    Strings of Python 2 come back as str, decoded as latin-1.

    Arguments:
        content: The bytes of the pickle.
        source: What to call it in an error.

    Raises:
        ValueError: If the pickle names anything else than the parts of an array, or is damaged.

    Example:
        >>> read_pickled_arrays(pickle.dumps({"data": np.arange(3)}), "memory")
        {'data': array([0, 1, 2])}
        >>> read_pickled_arrays(pickle.dumps(print), "memory")
        Traceback (most recent call last):
        ...
        ValueError: memory must hold nothing but arrays, lists and numbers, got a pickle that asks
        for builtins.print, which was not run; ...
    """
    unpickler = _ArrayUnpickler(io.BytesIO(content), encoding="latin1")
    unpickler.allowed, unpickler.refused = _allowed(), ""
    try:
        return unpickler.load()
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        TypeError,
        ValueError,
    ) as error:
        if unpickler.refused:
            raise ValueError(
                f"{source} must hold nothing but arrays, lists and numbers, got a pickle that asks "
                f"for {unpickler.refused}, which was not run; delete the file and fetch it again "
                "from its public address"
            ) from None
        raise ValueError(
            f"{source} must be a whole pickle, got {len(content)} bytes that cannot be read "
            f"({error}); fetch it again"
        ) from error


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names that make up a numpy array and no others."""

    allowed: dict[tuple[str, str], Callable[..., object]]
    refused: str

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """Returns what a name stands for; remembers and refuses any other name."""
        if (module, name) not in self.allowed:
            self.refused = f"{module}.{name}"
            raise pickle.UnpicklingError(f"{self.refused} is refused")
        return self.allowed[module, name]


def _allowed() -> dict[tuple[str, str], Callable[..., object]]:
    """Returns the names that a pickled array needs and what they stand for.

    The functions are made anew each time, so that no file can change those of the next.
    """

    def dtype(code: str, align: object = False, copy: object = False) -> np.dtype:
        # Python 2 wrote 0 and 1 for False and True.
        return np.dtype(code, align=bool(align), copy=bool(copy))

    def encode(text: str, encoding: str) -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"an array must be encoded as latin1, got {encoding!r}")
        return text.encode("latin1")

    reconstruct = cast(Callable[..., object], np.empty(0).__reduce__()[0])
    return {
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): dtype,
        ("_codecs", "encode"): encode,
    }
