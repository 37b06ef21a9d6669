"""The values of settings: text from the command line and YAML, coerced to declared types."""

from __future__ import annotations

import csv
import functools
import re
import types
import typing
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from .plain_yaml import NUMBER, load_yaml

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
        if _holds_odd_number(attempt, schema):
            reason = "numbers are decimal or scientific, such as 10, 0.5 or 1e-3"
            continue
        try:
            return adapter.validate_python(attempt)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
    raise ValueError(f"{path} must be {_in_words(schema)}, got {value!r} ({reason})")


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
    if _is_texts(schema):  # [0] and 2019 are names as well
        bare = text.strip().removeprefix("[").removesuffix("]")
        items = _plain(f"[{bare}]", as_text=True)
        names = next(csv.reader([text], skipinitialspace=True), [])  # such as "ratio: a/b, T [K]"
        return [*([None] if is_null(schema, text) else []), *items, names]
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


def _holds_odd_number(value: Any, schema: Any) -> bool:  # noqa: ANN401
    """Whether a text stands for a number in a way that only some readers know, such as 6_4."""
    if isinstance(value, list | tuple):
        return any(_holds_odd_number(item, schema) for item in value)
    if not isinstance(value, str) or not _is_numeric(schema):
        return False
    text = value.strip()
    return any(c.isdigit() for c in text) and not NUMBER.fullmatch(text)


def _is_numeric(schema: Any) -> bool:  # noqa: ANN401
    """Whether a declared type has numbers only, or null."""
    parts = typing.get_args(schema)
    if parts:
        return all(_is_numeric(part) for part in parts)
    return schema in (int, float, type(None), ...) or type(schema) in (int, float)


def _is_texts(schema: Any) -> bool:  # noqa: ANN401
    """Whether a declared type is a tuple of texts, or null."""
    tuples = [m for m in union_members(schema) if m is not type(None)]
    return bool(tuples) and all(typing.get_args(m) == (str, ...) for m in tuples)


def _in_words(schema: Any) -> str:  # noqa: ANN401
    """A declared type in words."""
    tuples = [m for m in union_members(schema) if typing.get_origin(m) is tuple]
    if not tuples:
        name = getattr(schema, "__name__", None) if not typing.get_args(schema) else str(schema)
        return f"of type {name}".replace("typing.", "")
    items = typing.get_args(tuples[0])
    kind = {int: "whole numbers", float: "numbers", bool: "times true or false"}.get(
        items[0], "texts"
    )
    if items[-1] is ...:
        return f"{kind} separated by commas"
    example = ",".join(
        {3: ["0.8", "0.1", "0.1"], 2: ["0", "1"]}.get(len(items), ["0"] * len(items))
    )
    return f"{len(items)} {kind} separated by commas, such as {example}"


def _allows_bool(schema: Any) -> bool:  # noqa: ANN401
    """Whether a declared type has bool, True or False somewhere in it."""
    return (
        schema is bool
        or isinstance(schema, bool)
        or any(_allows_bool(part) for part in typing.get_args(schema))
    )


def _plain(text: str, as_text: bool = False) -> list[Any]:
    """The reading of a text as YAML, if it is YAML."""
    try:
        return [load_yaml(text, as_text)]
    except yaml.YAMLError:
        return []


@functools.cache
def _adapter(schema: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    """The adapter that coerces values to a declared type."""
    return TypeAdapter(schema, config=ConfigDict(allow_inf_nan=False))
