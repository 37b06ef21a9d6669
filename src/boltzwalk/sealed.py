"""Text files that tell damage: JSON objects and settings with a checksum.

A JSON object has the start of the SHA-256 of all before it as its last entry; a text has its
SHA-256 in a comment on its first line. Checksums tell accidents: who can write a file can write its
checksum as well. Files of older versions have none and are read as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

__all__ = [
    "open_object",
    "open_text",
    "seal_object",
    "seal_text",
]

SEAL = re.compile(r',\s*"checksum": "([0-9a-f]{16})"\s*\}\s*\Z')
"""The last entry of an object: the first 16 digits of the SHA-256 of the text before it."""

FIRST_LINE = "# SHA-256 of the lines below: "


def seal_object(text: str, name: str = "") -> str:
    """Returns the text of a JSON object with a checksum as its last entry.

    Arguments:
        text: The object, with at least one entry.
        name: The name of its file, so that it is none of another file.

    Example:
        >>> seal_object('{"update": 2}')
        '{"update": 2, "checksum": "f1bed5f66e6cf711"}'
    """
    body = text.rstrip().removesuffix("}").rstrip()
    between = "\n " if "\n" in body else " "
    return f'{body},{between}"checksum": "{_digest(name + body)}"' + (
        "\n}" if "\n" in body else "}"
    )


def open_object(text: str | bytes, name: str = "") -> dict[str, Any]:
    """Returns a JSON object without its checksum; objects of older versions have none.

    Arguments:
        text: The text, or its bytes.
        name: The name of its file.

    Raises:
        ValueError: If it is no JSON object, or not the one that the checksum was taken of.

    Example:
        >>> open_object('{"update": 2, "checksum": "f1bed5f66e6cf711"}')
        {'update': 2}
        >>> open_object('{"update": 3, "checksum": "f1bed5f66e6cf711"}')
        Traceback (most recent call last):
        ValueError: it must be as it was written, got other text than its checksum is of
    """
    text = _decoded(text) if isinstance(text, bytes) else text
    seal = SEAL.search(text, max(0, len(text) - 60))
    if seal is not None and _digest(name + text[: seal.start()]) != seal[1]:
        raise ValueError("it must be as it was written, got other text than its checksum is of")
    try:
        tree = json.loads(text)
    except RecursionError as error:
        raise ValueError("it must be JSON of few levels, got very many") from error
    if not isinstance(tree, dict):
        raise ValueError(f"it must be a JSON object, got {type(tree).__name__}")
    if (seal is None) != ("checksum" not in tree):
        raise ValueError("it must end with a checksum of 16 digits, or have none")
    tree.pop("checksum", None)
    return tree


def seal_text(text: str) -> str:
    """Returns a text with its SHA-256 as a comment on a line before it.

    Arguments:
        text: The text, of a language whose comments begin with #.
    """
    return f"{FIRST_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def open_text(content: bytes) -> str:
    """Returns a text without the checksum on its first line; older versions wrote none.

    Arguments:
        content: The bytes of the text.

    Raises:
        ValueError: If it is not the text that the checksum was taken of.
    """
    first, _, text = content.partition(b"\n")
    if not (first.startswith(b"#") or b"SHA-256" in first or b"lines below" in first):
        return _decoded(content)
    if first.decode(errors="replace") != FIRST_LINE + hashlib.sha256(text).hexdigest():
        raise ValueError("it must be as it was written, got other text than its checksum is of")
    return _decoded(text)


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"it must be text in UTF-8, got {content[error.start]:#04x} at byte {error.start}"
        ) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
