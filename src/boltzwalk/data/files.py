r"""Data files: their location, their download, and arrays in .npy and .npz files.

Known sets lie in one folder, the root: the setting `root`, else the environment variable
BOLTZWALK_DATA, else ./data. A missing file is downloaded from its public address, checked against
its published digest and moved to its path in one step, so that no other process reads half a file.

Reading an array executes no code: pickled objects are refused.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import lzma
import math
import os
import struct
import tempfile
import time
import tokenize
import urllib.request
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from .file_kinds import byte_blocks, kind_of_file, unpacked_limit

__all__ = [
    "RemoteFile",
    "array_headers",
    "data_root",
    "download_if_missing",
    "find_user_path",
    "locate",
    "read_array",
    "read_bytes",
]


TIMEOUT_S = 15.0
"""The longest silence of a server, in seconds."""

DEADLINE_S = 900.0
"""The longest duration of a download, in seconds."""

logger = logging.getLogger(__name__)


class RemoteFile(NamedTuple):
    """A public file: its name, addresses to try in order, and its digest as "sha256:ab12..."."""

    name: str
    urls: tuple[str, ...]
    digest: str


def data_root(root: str | None) -> Path:
    """Returns the folder of the known sets.

    Arguments:
        root: The setting; None for the environment variable BOLTZWALK_DATA, else ./data.

    Example:
        >>> data_root("/sets").as_posix()
        '/sets'
    """
    return Path(root or os.environ.get("BOLTZWALK_DATA") or "data").expanduser()


def locate(root: Path, folder: str, name: str) -> Path | None:
    """Returns the path of a file or folder of a known set; None if it does not exist.

    Searched in this order: root/folder/raw, root/folder, root/raw and root. A file may be unpacked,
    without its suffix .gz.

    Arguments:
        root: The folder of the known sets.
        folder: The folder of this set.
        name: The name of the file or folder.
    """
    for parent in (root / folder / "raw", root / folder, root / "raw", root):
        for candidate in (parent / name, parent / name.removesuffix(".gz")):
            if candidate.exists():
                return candidate
    return None


def find_user_path(path: str, root: str | None) -> Path:
    """Returns the path of a user's file or folder: as written, else below the root.

    Arguments:
        path: The path as the user wrote it.
        root: The setting; None for the environment variable BOLTZWALK_DATA, else ./data.

    Raises:
        FileNotFoundError: If neither path exists.
    """
    if path.startswith(("http://", "https://", "ftp://", "s3://")):
        raise FileNotFoundError(
            f"path must name a file on this machine, got an address; fetch it first, by "
            f"`curl -LO {path}`, and give the file"
        )
    written = Path(path).expanduser()
    for candidate in (written, data_root(root) / written):
        if path and candidate.exists():
            return candidate
    raise FileNotFoundError(
        f"path must name a file or folder, got {path!r}, which is neither below {Path.cwd()} nor "
        f"below {data_root(root)}; write data.path=... with the full path, or name the folder of "
        "your data with data.root=... or the environment variable BOLTZWALK_DATA"
    )


def read_bytes(path: Path, unpacked_gb: float = 1.0) -> bytes:
    """Returns the content of a file, unpacked if it is gzip, whatever its name.

    Arguments:
        path: The file.
        unpacked_gb: The largest unpacked size of a gzip file, in gigabytes.

    Raises:
        ValueError: If a gzip file is damaged or unpacks to more.
    """
    return b"".join(byte_blocks(path, unpacked_gb))


def download_if_missing(root: str | None, folder: str, remote: RemoteFile) -> Path:
    """Returns the path of a file of a known set, after downloading it if it is missing.

    Arguments:
        root: The setting; None for the environment variable BOLTZWALK_DATA, else ./data.
        folder: The folder of the set below the root.
        remote: The file.

    Raises:
        FileNotFoundError: If the file is missing and cannot be downloaded.
        ValueError: If the download is not the published file.
    """
    existing = locate(data_root(root), folder, remote.name)
    if existing is not None:
        return existing
    target = data_root(root) / folder / "raw" / remote.name
    reasons = []
    for url in remote.urls:
        try:
            download(url, target, remote.digest)
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {error}")
        else:
            return target
    raise FileNotFoundError(
        f"expected the file {target}, which is not there and could not be downloaded "
        f"({'; '.join(reasons)}); put it there, or name the folder that holds {folder}/ with "
        "data.root=... or the environment variable BOLTZWALK_DATA"
    )


def download(url: str, target: Path, digest: str) -> None:
    """Downloads a file, checks its digest and moves it to its path.

    Arguments:
        url: The address.
        target: The path; missing folders are made.
        digest: The digest that the file must have, as "sha256:ab12...".

    Raises:
        OSError: If the address cannot be reached or the path cannot be written.
        ValueError: If the file has another digest; then nothing is left behind.
    """
    algorithm, expected = digest.split(":")
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    deadline = time.monotonic() + DEADLINE_S
    request = urllib.request.Request(url, headers={"User-Agent": "boltzwalk"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        logger.info("downloading %s to %s", url, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with open(descriptor, "wb") as file:
                while block := response.read(1 << 18):
                    file.write(block)
                    hasher.update(block)
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"not complete after {DEADLINE_S:.0f} s")
            if hasher.hexdigest() != expected:
                raise ValueError(
                    f"{url} must have the {algorithm} {expected}, got {hasher.hexdigest()}; the "
                    f"download was damaged or the file has changed: put the right one at {target}"
                )
            os.chmod(partial, 0o644)
            os.replace(partial, target)
        finally:
            Path(partial).unlink(missing_ok=True)


DAMAGED = (
    ValueError,
    EOFError,
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,  # RecursionError, NotImplementedError
)
"""Errors of NumPy for files that are damaged, or made to do harm."""

LONGEST_HEADER = 1 << 16
"""The longest header of an array, in bytes."""

ARRAY_MAGIC = b"\x93NUMPY"
PACKED_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


def read_array(path: Path, key: str | None, unpacked_gb: float = 8.0) -> np.ndarray:
    """Returns the array of a .npy file, or one array of a .npz file.

    Arguments:
        path: The file.
        key: The name of the array in a .npz file; None where there is only one.
        unpacked_gb: The largest size of an array of a .npz file, in gigabytes.

    Raises:
        ValueError: If the file is damaged, holds Python objects, or the key does not fit.
    """
    headers = array_headers(path)
    names = list(headers)
    if "" in names:
        key = ""
    if key is None and len(names) == 1:
        key = names[0]
    if key is None or key not in names:
        raise ValueError(
            f"key must name one of the arrays in {path}, which are "
            f"{', '.join(names) or 'none'}, got {key!r}; write data.key=..."
        )
    shape, dtype, size = headers[key]
    if dtype.hasobject:
        raise _unreadable(path, "it holds Python objects, which may execute code")
    expected = math.prod(shape) * dtype.itemsize
    if expected > size:
        raise _unreadable(path, f"shape {shape} needs {expected:,} bytes, and it has {size:,}")
    if key:
        unpacked_limit(path, expected, unpacked_gb)
    try:
        with open(path, "rb") as file:
            content = np.load(file, allow_pickle=False)
            return np.asarray(content[key] if key else content)
    except DAMAGED as error:
        raise _unreadable(path, _first_line(error)) from error


def array_headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype, int]]:
    """Returns the shape, the type and the size in bytes of each array of a .npy or .npz file.

    The array of a .npy file has the name "". No array is loaded.

    Arguments:
        path: The file.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
            file.seek(0)
            if start.startswith(ARRAY_MAGIC):
                shape, dtype = _header(file)
                return {"": (shape, dtype, path.stat().st_size - file.tell())}
            if not start.startswith(PACKED_MAGIC):
                kind = kind_of_file(start) or ("text; give it the suffix .csv" if start else "")
                raise _unreadable(path, f"it is {kind}" if kind else "it is empty")
            result = {}
            with zipfile.ZipFile(file) as packed:
                for member in packed.infolist():
                    if member.filename.endswith(".npy"):
                        with packed.open(member) as part:
                            shape, dtype = _header(part)
                            size = member.file_size - part.tell()
                        result[member.filename.removesuffix(".npy")] = (shape, dtype, size)
            return result
    except DAMAGED as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{path} must be"):
            raise
        raise _unreadable(path, _first_line(error)) from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type that the header of an array states."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
        length = file.read(4)
        if int.from_bytes(length, "little") > LONGEST_HEADER:  # which NumPy would read first
            raise ValueError(f"its header is longer than {LONGEST_HEADER:,} bytes")
        file.seek(-len(length), os.SEEK_CUR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape, _, dtype = read(file)
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"its header states the shape {shape}")
    return shape, dtype


def _first_line(error: BaseException) -> str:
    """The reason of an error, without advice to load objects."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "it holds Python objects, which may execute code" if "pickle" in reason else reason


def _unreadable(path: Path, reason: str) -> ValueError:
    """Returns the error for a file that cannot be read, with the reason."""
    return ValueError(
        f"{path} must be a complete .npy or .npz file of numbers, got one that cannot be read "
        f"({reason}); write it anew with numpy.savez(path, x=array), where array.dtype is not "
        "object"
    )
