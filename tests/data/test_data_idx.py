import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from boltzwalk.data.mnist import read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    """The bytes of an idx file, from the format's description."""
    header = struct.pack(">HBB", 0, CODES[array.dtype.str[1:]], array.ndim)
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CODES)).flatmap(lambda c: arrays(c, array_shapes(max_dims=4))),
    st.booleans(),
)
def test_round_trip(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got the bytes of an empty file"),
        (b"<html>", "got the bytes 3c 68 74 6d"),
        (b"\0\0\x07\x01", "beginning with two zero bytes"),
        (idx(np.zeros((3, 4), "u1"))[:7], "sizes of its 2 axes in 12 bytes, got 7 bytes"),
        (idx(np.zeros((3, 4), "i4"))[:-1], r"48 bytes.*shape \(3, 4\), got 47"),
        (idx(np.zeros((3, 4), "u1")) + b"x", r"12 bytes.*got 13"),
        (gzip.compress(idx(np.arange(999, dtype="i4")))[:-40], "complete gzip file"),
        (gzip.compress(b"")[:4] + b"rubbish" * 9, "complete gzip file"),
    ],
)
def test_damaged_files_name_themselves(tmp_path, content, message):
    path = tmp_path / "damaged-idx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as info:
        read_idx(path)
    assert str(path) in str(info.value)
