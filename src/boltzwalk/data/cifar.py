r"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes.

Three layouts are read as uint8 images, shape (N, 3, 32, 32), with labels, shape (N,): the original
batches, as a folder or the published .tar.gz; a subset of original pixels, 4,000 + 1,000 images;
and a complete copy that was compressed by JPEG, with errors of some 8 grey levels, whose numbers
must not be compared with published ones.

The batches are pickles, and a pickle is a program: it may call any function of any module. Loading
them executes nothing. The four names that a numpy array needs stand for functions of this module;
any other name is refused, and nothing is imported.
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
from .file_kinds import unpacked_limit
from .files import RemoteFile, data_root, download_if_missing, locate, read_array, read_bytes
from .images import image_dataset
from .splits import LabelledRows, check_classes, check_share, hold_out, select_classes

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
ARCHIVE = RemoteFile(
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
        layout: The files to read; "auto" takes the first that exists of "batches",
            "lossless_subset" and "jpeg", and downloads the batches if there is none.
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
        """Loads the images, after downloading the batches if there is no layout.

        Raises:
            FileNotFoundError: If files are missing and cannot be downloaded.
            ValueError: If a file is damaged, or a batch holds anything but arrays.
        """
        every, test, source = self._read()
        train, validation = hold_out(every, self.validation, self.split_seed)
        selected = [
            select_classes(rows, self.classes, self.proportions, name)
            for rows, name in ((train, "train"), (validation, "validation"), (test, "test"))
        ]
        return image_dataset(
            (selected[0], selected[1], selected[2]),
            levels=256,
            dequantise=self.dequantise,
            seed=self.split_seed,
            class_names=CLASS_NAMES,
            source=f"CIFAR-10, {source}",
        )

    def _read(self) -> tuple[LabelledRows, LabelledRows, str]:
        """Reads training and test rows in the layout of the settings, with the source's name."""
        root, auto = data_root(self.root), self.layout == "auto"
        batches = locate(root, FOLDER, "cifar-10-batches-py") or locate(root, FOLDER, ARCHIVE.name)
        if self.layout == "batches" or (auto and batches):
            path = batches or download_if_missing(self.root, FOLDER, ARCHIVE)
            return *read_batches(path), f"original batches in {path}"
        subset = locate(root, FOLDER, "cifar10_lossless_subset.npz")
        if self.layout == "lossless_subset" or (auto and subset):
            path = subset or _missing(root, "cifar10_lossless_subset.npz")
            return *read_subset(path), f"subset of original images in {path}"
        jpegs = [locate(root, FOLDER, f"cifar10_jpeg_{name}.npz") for name in ("train", "test")]
        if self.layout == "jpeg" or (auto and all(jpegs)):
            train = jpegs[0] or _missing(root, "cifar10_jpeg_train.npz")
            test = jpegs[1] or _missing(root, "cifar10_jpeg_test.npz")
            return read_jpeg(train), read_jpeg(test), f"lossy JPEG copy in {train.parent}"
        path = download_if_missing(self.root, FOLDER, ARCHIVE)
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


def read_batches(path: Path) -> tuple[LabelledRows, LabelledRows]:
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
    return _joined(train), _joined([test])


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of the batches in a folder."""
    for name in (*BATCHES, TEST_BATCH):
        if (path / name).is_file():
            yield name, read_bytes(path / name)


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of the batches in an archive, without unpacking it to disk."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if name in (*BATCHES, TEST_BATCH) and (file := archive.extractfile(member)):
                    unpacked_limit(path, member.size, 1.0)
                    yield name, file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(
            f"{path} must be a complete .tar.gz file, got one that does not unpack ({error}); "
            "delete it and fetch it again"
        ) from error


def read_batch(content: bytes, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one batch: images, shape (N, 3, 32, 32), and labels, shape (N,).

    Arguments:
        content: The bytes of the file.
        source: The name of the file in errors.

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


def read_subset(path: Path) -> tuple[LabelledRows, LabelledRows]:
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


def read_jpeg(path: Path) -> LabelledRows:
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
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{path} must hold JPEG files of 32x32 pixels, got image {i} which cannot be "
                f"decoded ({error}); fetch it again"
            ) from error
    return _from_hwc(images, labels, path)


def _from_hwc(images: np.ndarray, labels: np.ndarray, path: Path) -> LabelledRows:
    """Puts the channels of images, shape (N, 32, 32, 3), first."""
    fits = images.dtype == np.uint8 and images.shape[1:] == (32, 32, 3)
    if not fits or not _are_labels(labels, len(images)):
        raise ValueError(
            f"{path} must hold uint8 images of shape (N, 32, 32, 3) and N labels from 0 to 9, got "
            f"{images.dtype} of shape {images.shape} and labels of shape {labels.shape}; fetch it "
            "again"
        )
    return _joined([(images.transpose(0, 3, 1, 2), labels)])


def _are_labels(labels: np.ndarray, n: int) -> bool:
    """Whether these are n integers from 0 to 9."""
    return (
        labels.shape == (n,)
        and np.issubdtype(labels.dtype, np.integer)
        and bool(((labels >= 0) & (labels < 10)).all())
    )


def _joined(batches: list[tuple[np.ndarray, np.ndarray]]) -> LabelledRows:
    """Concatenates batches of images and labels, in order."""
    images = np.concatenate([batch[0] for batch in batches])
    labels = np.concatenate([batch[1] for batch in batches])
    return LabelledRows(
        torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64))
    )


def read_pickled_arrays(content: bytes, source: str) -> object:
    """Returns the dictionaries, lists, numbers, strings and arrays of a pickle.

    Strings of Python 2 come back as str, decoded as latin-1.

    Arguments:
        content: The bytes of the pickle.
        source: The name of the file in errors.

    Raises:
        ValueError: If the pickle names anything but the parts of an array, or is damaged.

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
            f"{source} must be a complete pickle, got {len(content)} bytes that cannot be read "
            f"({error}); fetch it again"
        ) from error


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that resolves the names of a numpy array only."""

    allowed: dict[tuple[str, str], Callable[..., object]]
    refused: str

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """Returns the object of an allowed name; records and refuses any other name."""
        if (module, name) not in self.allowed:
            self.refused = f"{module}.{name}"
            raise pickle.UnpicklingError(f"{self.refused} is refused")
        return self.allowed[module, name]


def _allowed() -> dict[tuple[str, str], Callable[..., object]]:
    """Returns the names that a pickled array needs, with their objects.

    The functions are made anew for each file, so that no file can change those of the next.
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
