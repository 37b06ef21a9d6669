"""The three layouts of CIFAR-10 as uint8 images, shape (N, 3, 32, 32), with labels, shape (N,)."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from .arrays import read_array
from .files import read_bytes
from .parts import Part
from .unpickle import read_pickled_arrays

__all__ = ["read_batch", "read_batches", "read_jpeg", "read_subset"]

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
