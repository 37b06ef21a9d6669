"""Bytes of a file: unpacked, counted, and the kind of file that they look like."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["byte_blocks", "kind_of_file", "text_blocks", "unpacked_limit"]

BLOCK = 1 << 18
LONGEST_LINE = 1 << 26
"""The longest line of a text file, in characters."""

KINDS = (
    (b"PK\x03\x04", "a zip archive; unpack it, or give it the suffix .xlsx if it is a workbook"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls); save it as .xlsx or .csv"),
    (b"\x93NUMPY", "an array of NumPy; give it the suffix .npy"),
    (b"PAR1", "a Parquet file; give it the suffix .parquet"),
    (b"ARROW1", "a Feather file; save it as .parquet or .csv"),
    (b"%PDF", "a PDF document; save the table as .csv"),
    (b"\x89HDF", "an HDF5 file; save the array as .npy"),
    (b"SQLite format 3", "an SQLite database; save the table as .csv"),
    (b"BZh", "a file packed with bzip2; unpack it"),
    (b"\xfd7zXZ", "a file packed with xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a file packed with zstd; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"\x89PNG", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"RDX", "data of R; save them by write.csv"),
    (b"version https://git-lfs", "a pointer of git-lfs; fetch the file itself by `git lfs pull`"),
    (b"{\\rtf", "a document (RTF); save the table as .csv"),
)
WEB = (b"<!doctype", b"<html", b"<head", b"<body", b"<table", b"<?xml", b"<script", b"<!--")


def kind_of_file(start: bytes) -> str:
    """Returns the kind of a file that is no table of text, with the cure; "" for text.

    Arguments:
        start: The first bytes of the file.

    Example:
        >>> kind_of_file(b"<!DOCTYPE html><html>")
        'a saved web page; download the file itself'
        >>> kind_of_file(b"a,b")
        ''
    """
    for magic, kind in KINDS:
        if start.startswith(magic):
            return kind
    if start.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith(WEB):
        return "a saved web page; download the file itself"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a pickle, which is never loaded since it may execute code; save it as .csv or .npy"
    stripped = start.lstrip()
    if stripped.startswith((b'{"', b"[{", b"[[", b"{\n", b"{\r")):
        return "JSON; save the table as .csv"
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
    if b"\x00" in start and not start.startswith(marks):
        pairs = start[1::2].count(0) > len(start) // 4 or start[::2].count(0) > len(start) // 4
        return (
            "text in UTF-16 without a byte order mark; write data.encoding=utf-16-le, or save it "
            "as UTF-8"
            if pairs
            else "a binary file; give arrays the suffix .npy or .npz"
        )
    return ""


def unpacked_limit(path: Path, size: float, limit_gb: float) -> None:
    """Raises where a packed file unpacks to more than the limit.

    Arguments:
        path: The file.
        size: Its unpacked size in bytes, as far as it is known.
        limit_gb: The limit, in gigabytes.

    Raises:
        ValueError: If the size exceeds the limit.
    """
    if size > limit_gb * 1e9:
        raise ValueError(
            f"{path} must unpack to at most {limit_gb:g} GB, got more; write "
            f"data.unpacked_gb={4 * limit_gb:g} for a larger limit if the file is yours"
        )


def byte_blocks(path: Path, limit_gb: float) -> Iterator[bytes]:
    """Yields the content of a file in blocks, unpacked if it is gzip, whatever its name.

    Arguments:
        path: The file.
        limit_gb: The largest unpacked size of a gzip file, in gigabytes.

    Raises:
        ValueError: If a gzip file is damaged or unpacks to more.
    """
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            while block := raw.read(BLOCK):
                yield block
            return
        size = 0
        try:
            with gzip.GzipFile(fileobj=raw) as file:
                while block := file.read(BLOCK):
                    size += len(block)
                    unpacked_limit(path, size, limit_gb)
                    yield block
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} must be a complete gzip file, got {path.stat().st_size} bytes that do not "
                f"unpack ({error}); delete it and fetch it again"
            ) from error


def text_blocks(path: Path, encoding: str, limit_gb: float) -> Iterator[str]:
    """Yields a text file in blocks of complete lines.

    Arguments:
        path: The file, packed with gzip or not.
        encoding: The encoding; "auto" for UTF-8, or that of a byte order mark.
        limit_gb: The largest unpacked size of a gzip file, in gigabytes.

    Raises:
        ValueError: If the file is of another kind or encoding, or has a line without end.
    """
    rest, position, decoder = "", 0, None
    for block in byte_blocks(path, limit_gb):
        if decoder is None:
            kind = kind_of_file(block[:4096]) if encoding == "auto" else ""
            if kind:
                raise ValueError(f"{path} must be a table of text, got {kind}")
            decoder = _decoder(block[:4], encoding)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as error:
            raise _wrong_encoding(path, error, position - pending) from error
        position += len(block)
        end = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
        end = len(rest) + end if end else 0
        rest += text
        if len(rest) - end > LONGEST_LINE:
            raise ValueError(
                f"{path} must have lines of at most {LONGEST_LINE:,} characters, got a longer one; "
                "a table has one row a line"
            )
        if end:
            yield rest[:end]
            rest = rest[end:]
    if decoder is not None:
        try:
            rest += decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise _wrong_encoding(path, error, position) from error
    if rest:
        yield rest


def _decoder(start: bytes, encoding: str) -> codecs.IncrementalDecoder:
    """The decoder of an encoding, or of a byte order mark."""
    if encoding == "auto":
        encoding = "utf-8-sig"
        if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            encoding = "utf-32"
        elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
    return codecs.getincrementaldecoder(encoding)()


def _wrong_encoding(path: Path, error: UnicodeDecodeError, before: int) -> ValueError:
    """The error for bytes that the encoding does not have."""
    byte = error.object[error.start]
    return ValueError(
        f"{path} must be text in UTF-8, got the byte {byte:#04x} at position "
        f"{before + error.start}; write data.encoding=cp1252 for a file of Windows in Western "
        "Europe, save it as UTF-8, or give arrays the suffix .npy or .npz"
        if error.encoding.startswith("utf")
        else f"{path} must be text in {error.encoding}, got the byte {byte:#04x}; write another "
        "data.encoding=..."
    )
