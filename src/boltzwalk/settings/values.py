"""The values of settings: text from the command line and YAML, coerced to declared types."""

from __future__ import annotations

import functools
import re
import types
import typing
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

__all__ = ["coerce", "is_null", "union_members"]

NULL = ("", "~", "null", "none")
"""The words for null, in small letters."""

POWER_OF_TEN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""A number such as 1e4, which YAML 1.1 takes for text."""


def coerce(schema: Any, value: Any, path: str) -> Any:  # noqa: ANN401
    """Coerces one value; a text may mean several things."""
    adapter = _adapter(schema)
    for attempt in _meanings(schema, value) if isinstance(value, str) else [value]:
        if _holds_bool(attempt) and not _allows_bool(schema):
            reason = "Input should not be a boolean"  # which pydantic takes for 0 or 1
            continue
        try:
            return adapter.validate_python(attempt)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
    name = getattr(schema, "__name__", None) if not typing.get_args(schema) else str(schema)
    wanted = str(name).replace("typing.", "")
    raise ValueError(f"{path} must be of type {wanted}, got {value!r} ({reason})")


def union_members(schema: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """The members of a union; any other type is its only member."""
    if typing.get_origin(schema) is typing.Annotated:
        return union_members(typing.get_args(schema)[0])
    is_union = typing.get_origin(schema) in (typing.Union, types.UnionType)
    if not is_union:
        return (schema,)
    return tuple(m for member in typing.get_args(schema) for m in union_members(member))


def is_null(schema: Any, text: str) -> bool:  # noqa: ANN401
    """Returns whether a text means null, where the declared type has it."""
    return type(None) in union_members(schema) and text.strip().lower() in NULL


def _meanings(schema: Any, text: str) -> list[Any]:  # noqa: ANN401
    """The readings of a text, the likeliest first."""
    if str in union_members(schema):
        return [text]
    as_list = _plain(f"[{text.strip().removeprefix('(').removesuffix(')')}]")
    readings = [*_plain(text), text, *as_list]
    return [*([None] if is_null(schema, text) else []), *readings, *map(_powers, readings)]


def _powers(value: Any) -> Any:  # noqa: ANN401
    """The same with numbers such as 1e4, which YAML takes for text, as numbers."""
    if isinstance(value, list):
        return [_powers(item) for item in value]
    is_number = isinstance(value, str) and POWER_OF_TEN.fullmatch(value.strip())
    return float(value) if is_number else value


def _holds_bool(value: Any) -> bool:  # noqa: ANN401
    items = value if isinstance(value, list | tuple) else ()
    return isinstance(value, bool) or any(_holds_bool(item) for item in items)


def _allows_bool(schema: Any) -> bool:  # noqa: ANN401
    """Whether a declared type has bool, True or False somewhere in it."""
    return (
        schema is bool
        or isinstance(schema, bool)
        or any(_allows_bool(part) for part in typing.get_args(schema))
    )


def _plain(text: str) -> list[Any]:
    """The reading of a text as YAML, if it is YAML."""
    try:
        return [yaml.safe_load(text)]
    except yaml.YAMLError:
        return []


@functools.cache
def _adapter(schema: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    """The adapter that coerces values to a declared type."""
    return TypeAdapter(schema, config=ConfigDict(allow_inf_nan=False))
