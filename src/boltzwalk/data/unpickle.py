"""Reading the pickled batches of CIFAR-10 without running what is in them.

A pickle is a program: it may name any function of any module and have it called. The batches need
four names, those that put a numpy array together. Here these four stand for functions of our own,
every other name is refused, and nothing is imported because a file says so.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import cast

import numpy as np

__all__ = ["read_pickled_arrays"]


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
