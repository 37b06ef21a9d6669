"""The idx format of MNIST: two zero bytes, a type, the number of axes, their sizes, the values.

All numbers are big-endian. A file may be packed with gzip.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from .files import read_bytes

__all__ = ["read_idx"]

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
